//! Whose turn it is. Pure.
//!
//! Every function has a lane and, of the calls at the same time, a window. Lanes that have
//! something take turns, so that a million events of one function hold up nobody else. A window
//! opens while calls take long and more is waiting, and closes when calls are refused; then its
//! lane also rests for a while.
//!
//! Invariant: a lane that has nothing and runs nothing is forgotten, so what is kept does not grow
//! with what was queued.

use lamplight_env::Timestamp;
use lamplight_store::Key;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Messages that one lease takes.
const BATCH: usize = 64;
/// Bytes that one lease takes, but for its first message: they are promised until it is back.
const TURN: usize = 8 << 20;
/// How long a lane rests after a refusal: this long, then twice as long each time.
const REST: Duration = Duration::from_secs(1);
const REST_DOUBLINGS: u32 = 5;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub running: usize,
    pub bytes: usize,
    /// Of a new lane.
    pub window: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// There was no room for the call.
    Refused,
}

#[derive(Debug)]
struct Lane {
    /// Calls, and what a lease under way has been promised.
    running: usize,
    window: usize,
    leasing: bool,
    /// There is something in the store now.
    more: bool,
    in_turn: bool,
    /// When there will be something, or when its rest is over.
    alarm: Option<Timestamp>,
    rests_until: Option<Timestamp>,
    rests: u32,
    ended: usize,
}

pub struct Lanes {
    limits: Limits,
    lanes: BTreeMap<Key, Lane>,
    turns: VecDeque<Key>,
    alarms: BTreeSet<(Timestamp, Key)>,
    running: usize,
    /// Of payloads, and what leases under way have been promised.
    bytes: usize,
}

/// What to lease.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    pub lane: Key,
    pub messages: usize,
    pub bytes: usize,
}

impl Lanes {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            alarms: BTreeSet::new(),
            running: 0,
            bytes: 0,
        }
    }

    /// There is, or will be, something in this lane.
    pub fn hint(&mut self, key: &Key, due: Timestamp, now: Timestamp) {
        self.lane(key);
        if due <= now {
            self.more(key);
        } else {
            self.set_alarm(key, due);
        }
    }

    /// A place for a message that is not in the store yet: only where nothing else waits.
    pub fn reserve(&mut self, key: &Key, bytes: usize) -> bool {
        let (limits, running, all) = (self.limits, self.running, self.bytes);
        let lane = self.lane(key);
        let free = lane.running < lane.window && !lane.more && lane.rests_until.is_none();
        let room = running < limits.running && all + bytes <= limits.bytes;
        if !free || !room {
            self.tidy(key);
            return false;
        }
        lane.running += 1;
        self.running += 1;
        self.bytes += bytes;
        true
    }

    /// Who leases next. Must be followed by [`Lanes::leased`].
    pub fn next(&mut self, now: Timestamp) -> Option<Turn> {
        self.ring(now);
        while let Some(key) = self.turns.pop_front() {
            if self.running >= self.limits.running || self.bytes >= self.limits.bytes {
                self.turns.push_front(key);
                return None;
            }
            let room = (self.limits.running - self.running).min(BATCH);
            let bytes = (self.limits.bytes - self.bytes).min(TURN);
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.in_turn = false;
            // A lane that is full comes back when one of its calls has ended.
            let messages = lane.window.saturating_sub(lane.running).min(room);
            if messages == 0 || lane.leasing || lane.rests_until.is_some() {
                continue;
            }
            lane.leasing = true;
            lane.more = false;
            lane.running += messages;
            self.running += messages;
            self.bytes += bytes;
            return Some(Turn { lane: key, messages, bytes });
        }
        None
    }

    /// What a lease has brought, and when there is something next where it was less than asked for.
    pub fn leased(
        &mut self,
        turn: &Turn,
        sizes: &[usize],
        next: Option<Timestamp>,
        now: Timestamp,
    ) {
        let unused = turn.messages.saturating_sub(sizes.len());
        let lane = self.lane(&turn.lane);
        lane.leasing = false;
        lane.running -= unused;
        self.running -= unused;
        self.bytes = self.bytes.saturating_sub(turn.bytes) + sizes.iter().sum::<usize>();
        if unused == 0 {
            self.more(&turn.lane);
        } else if let Some(next) = next {
            self.hint(&turn.lane, next, now);
        } else if self.lanes.get(&turn.lane).is_some_and(|lane| lane.more) {
            self.more(&turn.lane);
        }
        self.tidy(&turn.lane);
    }

    /// A call has ended and is settled.
    pub fn finished(&mut self, key: &Key, bytes: usize, verdict: Verdict, now: Timestamp) {
        self.running -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        let lane = self.lane(key);
        lane.running -= 1;
        lane.ended += 1;
        match verdict {
            Verdict::Fine => lane.rests = 0,
            // Many calls are refused at once: they are one refusal.
            Verdict::Refused if lane.rests_until.is_some() => {}
            Verdict::Refused => {
                lane.window = (lane.window / 2).max(1);
                let rest = REST * (1 << lane.rests.min(REST_DOUBLINGS));
                lane.rests = lane.rests.saturating_add(1);
                lane.rests_until = Some(now.plus(rest));
                self.set_alarm(key, now.plus(rest));
            }
        }
        if self.lanes.get(key).is_some_and(|lane| lane.more) {
            self.more(key);
        }
        self.tidy(key);
    }

    /// From time to time: opens the windows of lanes whose calls take long.
    pub fn widen(&mut self) {
        let most = (self.limits.running / 4).max(1);
        for lane in self.lanes.values_mut() {
            let busy = lane.more && lane.running >= lane.window && lane.rests_until.is_none();
            if busy && lane.ended < lane.window.div_ceil(4) {
                lane.window = (lane.window + (lane.window / 4).max(1)).min(most.max(lane.window));
            }
            lane.ended = 0;
        }
        let waiting: Vec<Key> =
            self.lanes.iter().filter(|(_, lane)| lane.more).map(|(key, _)| key.clone()).collect();
        for key in waiting {
            self.more(&key);
        }
    }

    /// Whether [`Lanes::widen`] may have something to do.
    pub fn is_busy(&self) -> bool {
        self.lanes.values().any(|lane| lane.more)
    }

    /// When to ask again although nothing has happened.
    pub fn alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    pub fn running(&self, key: &Key) -> usize {
        self.lanes.get(key).map_or(0, |lane| lane.running)
    }

    fn lane(&mut self, key: &Key) -> &mut Lane {
        let window = self.limits.window;
        self.lanes.entry(key.clone()).or_insert_with(|| Lane {
            running: 0,
            window,
            leasing: false,
            more: false,
            in_turn: false,
            alarm: None,
            rests_until: None,
            rests: 0,
            ended: 0,
        })
    }

    fn more(&mut self, key: &Key) {
        let lane = self.lane(key);
        lane.more = true;
        let can = !lane.leasing && lane.rests_until.is_none() && lane.running < lane.window;
        if can && !lane.in_turn {
            lane.in_turn = true;
            self.turns.push_back(key.clone());
        }
    }

    fn set_alarm(&mut self, key: &Key, at: Timestamp) {
        let lane = self.lane(key);
        let sooner = lane.alarm.is_none_or(|alarm| at < alarm);
        if sooner {
            let old = lane.alarm.replace(at);
            if let Some(old) = old {
                self.alarms.remove(&(old, key.clone()));
            }
            self.alarms.insert((at, key.clone()));
        }
    }

    fn ring(&mut self, now: Timestamp) {
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.alarms.pop_first() else { return };
            let lane = self.lane(&key);
            lane.alarm = None;
            match lane.rests_until {
                // Whatever else there was to remember is looked for again after the rest.
                Some(until) if until > now => self.set_alarm(&key, until),
                _ => {
                    lane.rests_until = None;
                    self.more(&key);
                }
            }
        }
    }

    fn tidy(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get(key) else { return };
        let idle = lane.running == 0 && !lane.leasing && !lane.more && lane.alarm.is_none();
        if idle && lane.rests == 0 {
            self.lanes.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(running: usize, window: usize) -> Lanes {
        Lanes::new(Limits { running, bytes: 1000, window })
    }

    fn key(name: &str) -> Key {
        Key::new(&["event", name]).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Leases for whoever is next, from lanes that never run dry.
    fn take(lanes: &mut Lanes, now: i64) -> Option<(String, usize)> {
        let turn = lanes.next(at(now))?;
        lanes.leased(&turn, &vec![1; turn.messages], None, at(now));
        Some((turn.lane.segments().last().unwrap().to_owned(), turn.messages))
    }

    #[test]
    fn l2_lanes_take_turns() {
        let mut lanes = lanes(6, 2);
        for name in ["a", "b", "c", "d"] {
            lanes.hint(&key(name), at(0), at(0));
        }
        for name in ["a", "b", "c"] {
            assert_eq!(take(&mut lanes, 0), Some((name.to_owned(), 2)));
        }
        assert_eq!(take(&mut lanes, 0), None, "all places are taken");
        lanes.finished(&key("a"), 1, Verdict::Fine, at(0));
        assert_eq!(take(&mut lanes, 0), Some(("d".to_owned(), 1)), "not a again");
        lanes.finished(&key("a"), 1, Verdict::Fine, at(0));
        assert_eq!(take(&mut lanes, 0), Some(("a".to_owned(), 1)));
    }

    #[test]
    fn an_idle_lane_hands_over_and_a_full_one_does_not() {
        let mut lanes = lanes(10, 2);
        let a = key("a");
        assert!(lanes.reserve(&a, 500) && lanes.reserve(&a, 400));
        assert!(!lanes.reserve(&a, 1), "its window is full");
        assert!(!lanes.reserve(&key("b"), 200), "too many bytes");
        lanes.finished(&a, 500, Verdict::Fine, at(0));
        lanes.hint(&a, at(0), at(0));
        assert!(!lanes.reserve(&a, 1), "others were first");
        let turn = lanes.next(at(0)).unwrap();
        assert_eq!((turn.messages, turn.bytes), (1, 600));
        lanes.leased(&turn, &[], None, at(0));
        assert!(lanes.reserve(&a, 1), "there was nothing left");
    }

    #[test]
    fn what_is_hinted_while_a_lease_is_under_way_is_not_forgotten() {
        let mut lanes = lanes(10, 4);
        lanes.hint(&key("a"), at(0), at(0));
        let turn = lanes.next(at(0)).unwrap();
        lanes.hint(&key("a"), at(0), at(0));
        assert_eq!(lanes.next(at(0)), None, "one lease at a time");
        lanes.leased(&turn, &[], None, at(0));
        assert!(lanes.next(at(0)).is_some());
    }

    #[test]
    fn bytes_are_promised_once() {
        let limits = Limits { running: 1000, bytes: 3 * TURN - 1, window: 8 };
        let mut lanes = Lanes::new(limits);
        for n in 0..9 {
            lanes.hint(&key(&n.to_string()), at(0), at(0));
        }
        let turns: Vec<Turn> = std::iter::from_fn(|| lanes.next(at(0))).collect();
        assert_eq!(turns.iter().map(|turn| turn.bytes).collect::<Vec<_>>(), [TURN, TURN, TURN - 1]);
        assert!(!lanes.reserve(&key("x"), 1));
        lanes.leased(&turns[0], &[TURN / 2], None, at(0));
        assert_eq!(lanes.next(at(0)).unwrap().bytes, TURN - TURN / 2, "the rest is free again");
        lanes.leased(&turns[1], &[TURN + 5], None, at(0));
        assert_eq!(lanes.next(at(0)), None, "a large message takes its room");
        lanes.finished(&turns[1].lane, TURN + 5, Verdict::Fine, at(0));
        assert!(lanes.next(at(0)).is_some());
    }

    #[test]
    fn refusals_make_a_lane_rest() {
        let mut lanes = lanes(10, 4);
        let a = key("a");
        lanes.hint(&a, at(0), at(0));
        assert_eq!(take(&mut lanes, 0), Some(("a".to_owned(), 4)));
        for _ in 0..4 {
            lanes.finished(&a, 1, Verdict::Refused, at(0));
        }
        assert_eq!(take(&mut lanes, 0), None);
        assert_eq!(lanes.alarm(), Some(at(1)));
        assert_eq!(take(&mut lanes, 1), Some(("a".to_owned(), 2)), "half as many");
        lanes.finished(&a, 1, Verdict::Refused, at(1));
        assert_eq!(take(&mut lanes, 2), None);
        assert_eq!(lanes.alarm(), Some(at(3)), "twice as long");
        assert_eq!(take(&mut lanes, 3), None, "the other call still runs");
        lanes.finished(&a, 1, Verdict::Fine, at(3));
        assert_eq!(take(&mut lanes, 3), Some(("a".to_owned(), 1)));
    }

    #[test]
    fn windows_open_for_slow_calls_alone() {
        let mut lanes = lanes(100, 4);
        let (slow, fast) = (key("slow"), key("fast"));
        for name in [&slow, &fast] {
            lanes.hint(name, at(0), at(0));
            take(&mut lanes, 0);
        }
        for _ in 0..20 {
            for _ in 0..4 {
                lanes.finished(&fast, 1, Verdict::Fine, at(0));
            }
            while take(&mut lanes, 0).is_some() {}
            lanes.widen();
            while take(&mut lanes, 0).is_some() {}
        }
        assert_eq!((lanes.running(&fast), lanes.running(&slow)), (4, 25));
    }

    #[test]
    fn alarms_ring_and_idle_lanes_are_forgotten() {
        let mut lanes = lanes(10, 4);
        for n in 0..100 {
            lanes.hint(&key(&n.to_string()), at(100 - n), at(0));
        }
        assert_eq!(lanes.alarm(), Some(at(1)));
        assert_eq!(lanes.next(at(0)), None);
        while let Some(turn) = lanes.next(at(100)) {
            lanes.leased(&turn, &[], None, at(100));
        }
        assert!(lanes.lanes.is_empty() && lanes.alarm().is_none());
        assert_eq!((lanes.running, lanes.bytes), (0, 0));
    }
}
