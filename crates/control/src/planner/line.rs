//! The calls and environments of one version, one call each: who gets which, who waits, and when
//! another environment is started.
//!
//! A call takes the idle environment that was used last. Where there is none it waits for a busy one,
//! if that is likely to be free before a new one would be ready; else, or when it has waited for as
//! long as it should, it asks for a start. Whatever becomes free first, old or new, goes to the call
//! that has waited for longest. A start that nobody needs any more when its turn comes is not made;
//! one that is made already becomes idle.
//!
//! Waiting is rent, a start is the price of buying: when calls have waited for as long in all as a
//! start takes, the next one starts instead. So a version that needs more environments gets them.
//!
//! Invariants: no call waits while an environment is idle that could serve it. For each kind of call
//! at least as many starts are asked for or under way as there are calls that no longer wait for a
//! busy one. An environment serves no other generation and no other tenant than it was made for; one
//! of an old generation, or of a function that is gone, is given to nobody but the call it was
//! started for.

use super::habit::{Habit, Keep};
use super::pace::Pace;
use super::pool::{Pool, Serves};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What was paid for waiting fades: half of it in this time.
const FADE: Duration = Duration::from_secs(10);
/// Ended environments that are remembered, to learn when they would have been used again.
const REMEMBERED: usize = 16;

/// A call, running or waiting; unique in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Where an environment goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Place<E, W> {
    /// To a call that waited, which has this ticket from here on.
    Call(W, E, Ticket),
    Idle,
    /// It has outlived its use, and is to be ended.
    Surplus(E),
}

#[derive(Debug)]
struct Waiting<W> {
    ticket: Ticket,
    serves: Serves,
    who: W,
    since: Instant,
    /// It does not wait for a busy one any more.
    tired: bool,
}

#[derive(Debug)]
struct Busy {
    serves: Serves,
    since: Instant,
    /// It initialises first, which takes another time than calls do.
    new: bool,
}

/// Of one kind of call.
#[derive(Debug)]
struct Starting {
    serves: Serves,
    asked: usize,
    begun: usize,
}

/// `W` is whoever waits.
#[derive(Debug)]
pub struct Line<E, W> {
    pool: Pool<E>,
    waiting: VecDeque<Waiting<W>>,
    /// In the order they began.
    busy: BTreeMap<Ticket, Busy>,
    starting: Vec<Starting>,
    pace: Pace,
    habit: Habit,
    ended: VecDeque<(Serves, Instant)>,
    /// What calls have waited, and when that was reckoned last.
    rent: (Duration, Option<Instant>),
    next: u64,
}

impl<E, W> Default for Line<E, W> {
    fn default() -> Self {
        Self {
            pool: Pool::default(),
            waiting: VecDeque::new(),
            busy: BTreeMap::new(),
            starting: Vec::new(),
            pace: Pace::default(),
            habit: Habit::default(),
            ended: VecDeque::new(),
            rent: (Duration::ZERO, None),
            next: 0,
        }
    }
}

impl<E, W> Line<E, W> {
    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    /// The idle environment for a call.
    pub fn take(&mut self, serves: &Serves, now: Instant) -> Option<(E, Ticket)> {
        let (environment, since) = self.pool.take(serves)?;
        self.habit.pause(now.saturating_duration_since(since));
        Some((environment, self.run(serves.clone(), now, false)))
    }

    fn run(&mut self, serves: Serves, now: Instant, new: bool) -> Ticket {
        let ticket = self.ticket();
        self.busy.insert(ticket, Busy { serves, since: now, new });
        ticket
    }

    /// A call that found no idle environment waits: at most until the moment that is given, and then
    /// is to be [`Line::tire`]d; where none is, for a start. See [`Line::order`] for both.
    pub fn wait(&mut self, serves: &Serves, who: W, now: Instant) -> (Ticket, Option<Instant>) {
        self.would_have_been_used(serves, now);
        let until = self.patience(serves, now).map(|patience| now + patience);
        let (ticket, serves) = (self.ticket(), serves.clone());
        let tired = until.is_none();
        self.waiting.push_back(Waiting { ticket, serves, who, since: now, tired });
        (ticket, until)
    }

    /// How long it should wait for something that is about to be free; not at all where absent.
    fn patience(&mut self, serves: &Serves, now: Instant) -> Option<Duration> {
        let start = self.pace.start_cost()?;
        let waiting = self.waiting.iter().filter(|waiting| waiting.serves == *serves);
        let (tired, ahead) = waiting.fold((0, 0), |(tired, ahead), waiting| match waiting.tired {
            true => (tired + 1, ahead),
            false => (tired, ahead + 1),
        });
        // A start whose call was served by another environment.
        let spare = self.asked_and_begun(serves).saturating_sub(tired);
        if ahead < spare {
            return Some(start);
        }
        let busy = self.busy.values().filter(|busy| busy.serves == *serves && !busy.new);
        let mut soon: Vec<Duration> = busy
            .filter_map(|busy| self.pace.remaining(now.saturating_duration_since(busy.since)))
            .filter(|remaining| *remaining < start)
            .collect();
        soon.sort_unstable();
        let remaining = *soon.get(ahead - spare)?;
        let rent = self.rent(now);
        (rent + remaining < start).then(|| start.saturating_sub(rent))
    }

    fn rent(&mut self, now: Instant) -> Duration {
        let (rent, since) = &mut self.rent;
        let since = since.get_or_insert(now);
        let halves = now.saturating_duration_since(*since).as_secs() / FADE.as_secs();
        if halves > 0 {
            *rent = u32::try_from(halves)
                .ok()
                .and_then(|halves| 1u32.checked_shl(halves))
                .map_or(Duration::ZERO, |divisor| *rent / divisor);
            *since = now;
        }
        *rent
    }

    fn waited(&mut self, since: Instant, now: Instant) {
        let rent = self.rent(now);
        self.rent.0 = rent + now.saturating_duration_since(since);
    }

    /// The call waits for a start from here on.
    pub fn tire(&mut self, ticket: Ticket, now: Instant) {
        let mut waiting = self.waiting.iter_mut();
        let Some(waiting) = waiting.find(|waiting| waiting.ticket == ticket) else { return };
        if !std::mem::replace(&mut waiting.tired, true) {
            let since = waiting.since;
            self.waited(since, now);
        }
    }

    /// Nobody waits for the call any more. A start that it asked for is made for others, or not.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
    }

    fn tired(&self, serves: &Serves) -> usize {
        let tired = self.waiting.iter().filter(|waiting| waiting.tired);
        tired.filter(|waiting| waiting.serves == *serves).count()
    }

    fn asked_and_begun(&self, serves: &Serves) -> usize {
        let of = self.starting.iter().find(|starting| starting.serves == *serves);
        of.map_or(0, |starting| starting.asked + starting.begun)
    }

    /// How many starts are to be asked for now. Each is to [`Line::begin`] when its turn has come.
    pub fn order(&mut self, serves: &Serves) -> usize {
        let missing = self.tired(serves).saturating_sub(self.asked_and_begun(serves));
        if missing > 0 {
            match self.starting.iter_mut().find(|starting| starting.serves == *serves) {
                Some(starting) => starting.asked += missing,
                None => {
                    let serves = serves.clone();
                    self.starting.push(Starting { serves, asked: missing, begun: 0 });
                }
            }
            if let Some(price) = self.pace.start_cost() {
                self.rent.0 =
                    self.rent.0.saturating_sub(price * u32::try_from(missing).unwrap_or(1));
            }
        }
        missing
    }

    /// The turn of a start has come: whether it is made. It then ends in [`Line::started`] or in
    /// [`Line::failed`].
    pub fn begin(&mut self, serves: &Serves) -> bool {
        let tired = self.tired(serves);
        let mut begins = false;
        self.change_starting(serves, |starting| {
            begins = tired > starting.begun;
            starting.asked = starting.asked.saturating_sub(1);
            starting.begun += usize::from(begins);
        });
        begins
    }

    fn change_starting(&mut self, serves: &Serves, change: impl FnOnce(&mut Starting)) {
        let of = self.starting.iter().position(|starting| starting.serves == *serves);
        let Some((at, starting)) = of.and_then(|at| Some((at, self.starting.get_mut(at)?))) else {
            return;
        };
        change(starting);
        if starting.asked == 0 && starting.begun == 0 {
            self.starting.swap_remove(at);
        }
    }

    /// There is a new environment.
    pub fn started(&mut self, serves: &Serves, environment: E, now: Instant) -> Place<E, W> {
        self.change_starting(serves, |starting| starting.begun = starting.begun.saturating_sub(1));
        self.place(environment, serves, now, true)
    }

    /// There is none. Gives out whoever is told.
    pub fn failed(&mut self, serves: &Serves) -> Option<W> {
        self.change_starting(serves, |starting| starting.begun = starting.begun.saturating_sub(1));
        let at = |waiting: &Waiting<W>| waiting.tired && waiting.serves == *serves;
        let at = self.waiting.iter().position(at)?;
        self.waiting.remove(at).map(|waiting| waiting.who)
    }

    /// A new environment was ready after so long.
    pub fn ready(&mut self, took: Duration) {
        self.pace.start(took);
    }

    /// The environment of a call is free again.
    pub fn back(&mut self, ticket: Ticket, environment: E, now: Instant) -> Place<E, W> {
        let Some(busy) = self.busy.remove(&ticket) else { return Place::Surplus(environment) };
        if !busy.new {
            self.pace.call(now.saturating_duration_since(busy.since));
        }
        self.place(environment, &busy.serves, now, false)
    }

    /// As [`Line::back`], of one that was given to a call that nobody waits for: it was not used.
    pub fn unused(&mut self, ticket: Ticket, environment: E, now: Instant) -> Place<E, W> {
        let Some(busy) = self.busy.remove(&ticket) else { return Place::Surplus(environment) };
        self.place(environment, &busy.serves, now, busy.new)
    }

    /// The environment of a call has ended, or is ended by whoever has it.
    pub fn lost(&mut self, ticket: Ticket) {
        self.busy.remove(&ticket);
    }

    fn place(&mut self, environment: E, serves: &Serves, now: Instant, new: bool) -> Place<E, W> {
        if new || self.pool.keeps(serves) {
            let first = self.waiting.iter().position(|waiting| waiting.serves == *serves);
            if let Some(waiting) = first.and_then(|at| self.waiting.remove(at)) {
                if !waiting.tired {
                    self.waited(waiting.since, now);
                }
                let ticket = self.run(waiting.serves, now, new);
                return Place::Call(waiting.who, environment, ticket);
            }
        }
        match self.pool.put(environment, serves.clone(), now) {
            None => Place::Idle,
            Some(environment) => Place::Surplus(environment),
        }
    }

    fn would_have_been_used(&mut self, serves: &Serves, now: Instant) {
        let same = |(ended, _): &(Serves, Instant)| ended.tenant == serves.tenant;
        let Some(at) = self.ended.iter().rposition(same) else { return };
        if let Some((_, since)) = self.ended.remove(at) {
            self.habit.pause(now.saturating_duration_since(since));
        }
    }

    /// How long idle environments are kept.
    pub fn keep(&self, keep: &Keep) -> Duration {
        self.habit.keep(keep)
    }

    /// Gives out what was idle for so long that it is not kept.
    pub fn expire(&mut self, now: Instant, keep: &Keep) -> Vec<E> {
        // Most of the time this is all there is to it.
        let idle = self.pool.idle_since().map(|since| now.saturating_duration_since(since));
        if idle.is_none_or(|idle| idle < keep.least) {
            return Vec::new();
        }
        let patience = self.habit.keep(keep);
        let gone = self.pool.expire(now, patience);
        self.remember(gone)
    }

    fn remember(&mut self, gone: Vec<(E, Serves, Instant)>) -> Vec<E> {
        let gone = gone.into_iter().map(|(environment, serves, since)| {
            self.ended.push_back((serves, since));
            if self.ended.len() > REMEMBERED {
                self.ended.pop_front();
            }
            environment
        });
        gone.collect()
    }

    pub fn idle(&self) -> usize {
        self.pool.count()
    }

    pub fn busy(&self) -> usize {
        self.busy.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// One of the idle ones.
    pub fn peek(&self) -> Option<&E> {
        self.pool.peek()
    }

    /// Since when the one that was idle for longest has been.
    pub fn idle_since(&self) -> Option<Instant> {
        self.pool.idle_since()
    }

    pub fn take_longest_idle(&mut self) -> Option<E> {
        let gone = self.pool.take_longest_idle()?;
        self.remember(vec![gone]).pop()
    }

    /// Environments older than `generation` are not used any more. Gives out the idle ones; busy
    /// ones are given out when they come back.
    pub fn retire(&mut self, generation: u64) -> Vec<E> {
        self.pool.retire(generation)
    }

    /// Keeps nothing from now on.
    pub fn close(&mut self) -> Vec<E> {
        self.pool.close()
    }

    /// Gives out the idle environments for which `gone` holds.
    pub fn discard(&mut self, gone: impl FnMut(&E) -> bool) -> Vec<E> {
        self.pool.discard(gone)
    }
}
