//! What holds whatever happens, in whatever order: the planner is driven as the manager drives it.

use super::{Keep, Line, Place, Serves, Starts, Ticket};
use lamplight_env::{Clock, SystemClock};
use lamplight_model::{AccountId, FunctionArn, Scope};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MOST: usize = 3;
const LINES: usize = 3;

/// What may happen next; the number chooses among those it can happen to.
#[derive(Debug, Clone)]
enum Event {
    Call { line: usize, kind: u8 },
    Later(u64),
    End { of: usize, usable: bool },
    Start { of: usize, works: bool },
    GiveUp(usize),
    Retire { line: usize, generation: u64 },
    Squeeze(usize),
    Delete(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let line = 0..LINES;
    prop_oneof![
        12 => (line.clone(), 0u8..4).prop_map(|(line, kind)| Event::Call { line, kind }),
        4 => (0u64..200_000).prop_map(Event::Later),
        12 => (any::<usize>(), prop::bool::weighted(0.9))
            .prop_map(|(of, usable)| Event::End { of, usable }),
        12 => (any::<usize>(), prop::bool::weighted(0.8))
            .prop_map(|(of, works)| Event::Start { of, works }),
        3 => any::<usize>().prop_map(Event::GiveUp),
        1 => (line.clone(), 1u64..4)
            .prop_map(|(line, generation)| Event::Retire { line, generation }),
        1 => line.clone().prop_map(Event::Squeeze),
        1 => line.prop_map(Event::Delete),
    ]
}

/// An environment: whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Environment {
    number: u64,
    line: usize,
    serves: Serves,
}

struct Waiter {
    line: usize,
    ticket: Ticket,
    until: Option<Instant>,
    serves: Serves,
}

struct World {
    now: Instant,
    lines: Vec<Line<Environment, u64>>,
    functions: Vec<FunctionArn>,
    starts: Starts<(usize, Serves)>,
    /// Those whose turn it is and that are made.
    begun: Vec<(usize, Serves)>,
    waiters: BTreeMap<u64, Waiter>,
    running: BTreeMap<u64, (usize, Ticket, Environment)>,
    live: BTreeMap<u64, Environment>,
    retired: Vec<u64>,
    /// By call: how many ends it had.
    ends: BTreeMap<u64, u32>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let function = |n: usize| {
            let account = AccountId::new(&format!("00000000000{}", n / 2)).unwrap();
            FunctionArn::new(&Scope { account, region: "r".into() }, &format!("f{n}"))
        };
        Self {
            now: SystemClock.instant(),
            lines: (0..LINES).map(|_| Line::default()).collect(),
            functions: (0..LINES).map(function).collect(),
            starts: Starts::new(MOST),
            begun: Vec::new(),
            waiters: BTreeMap::new(),
            running: BTreeMap::new(),
            live: BTreeMap::new(),
            retired: vec![0; LINES],
            ends: BTreeMap::new(),
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn kill(&mut self, gone: Vec<Environment>) {
        for environment in gone {
            assert!(self.live.remove(&environment.number).is_some(), "it is ended once");
        }
    }

    fn run(&mut self, call: u64, of: (usize, Ticket), environment: Environment, serves: &Serves) {
        assert_eq!(environment.line, of.0, "another function's");
        assert_eq!(environment.serves, *serves, "another generation's or tenant's");
        assert!(self.live.contains_key(&environment.number), "one that was ended");
        *self.ends.entry(call).or_default() += 1;
        self.running.insert(call, (of.0, of.1, environment));
    }

    fn follow(&mut self, line: usize, place: Place<Environment, u64>, new: bool) {
        match place {
            Place::Idle => {}
            Place::Surplus(environment) => self.kill(vec![environment]),
            Place::Call(call, environment, ticket) => {
                let waiter = self.waiters.remove(&call).expect("only those that wait are served");
                let earlier = self.waiters.range(..call).map(|(_, waiter)| waiter);
                let mut earlier =
                    earlier.filter(|other| other.line == line && other.serves == waiter.serves);
                assert!(earlier.next().is_none(), "somebody has waited for longer");
                let old = waiter.serves.generation < self.retired[line];
                assert!(new || !old, "an environment of an old generation is used again");
                self.run(call, (line, ticket), environment, &waiter.serves);
            }
        }
    }

    fn order(&mut self, line: usize, serves: &Serves) {
        for _ in 0..self.lines[line].order(serves) {
            self.starts.ask(&self.functions[line], (line, serves.clone()));
        }
        self.pump();
    }

    fn pump(&mut self) {
        while let Some((function, (line, serves))) = self.starts.begin() {
            assert_eq!(function, self.functions[line]);
            if self.lines[line].begin(&serves) {
                self.begun.push((line, serves));
            } else {
                self.starts.done(&function);
            }
        }
        assert!(self.starts.under_way() <= MOST);
    }

    fn call(&mut self, line: usize, serves: Serves) {
        let call = self.number();
        if let Some((environment, ticket)) = self.lines[line].take(&serves, self.now) {
            let old = serves.generation < self.retired[line];
            assert!(!old, "an environment of an old generation is used again");
            return self.run(call, (line, ticket), environment, &serves);
        }
        let (ticket, until) = self.lines[line].wait(&serves, call, self.now);
        let waiter = Waiter { line, ticket, until, serves: serves.clone() };
        self.waiters.insert(call, waiter);
        self.order(line, &serves);
    }

    fn end(&mut self, call: u64, usable: bool) {
        let (line, ticket, environment) = self.running.remove(&call).unwrap();
        if usable {
            let place = self.lines[line].back(ticket, environment, self.now);
            self.follow(line, place, false);
        } else {
            self.lines[line].lost(ticket);
            self.kill(vec![environment]);
        }
    }

    fn start(&mut self, at: usize, works: bool) {
        let (line, serves) = self.begun.remove(at);
        if works {
            let environment = Environment { number: self.number(), line, serves: serves.clone() };
            self.live.insert(environment.number, environment.clone());
            let place = self.lines[line].started(&serves, environment, self.now);
            self.follow(line, place, true);
            self.lines[line].ready(Duration::from_millis(30));
            self.order(line, &serves);
        } else if let Some(call) = self.lines[line].failed(&serves) {
            assert!(self.waiters.remove(&call).is_some(), "only those that wait are told");
            *self.ends.entry(call).or_default() += 1;
        }
        let function = self.functions[line].clone();
        self.starts.done(&function);
        self.pump();
    }

    fn later(&mut self, micros: u64) {
        self.now += Duration::from_micros(micros);
        let now = self.now;
        let tired: Vec<u64> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.until.is_some_and(|until| until <= now))
            .map(|(call, _)| *call)
            .collect();
        for call in tired {
            let Some(waiter) = self.waiters.get_mut(&call) else { continue };
            waiter.until = None;
            let (line, ticket, serves) = (waiter.line, waiter.ticket, waiter.serves.clone());
            self.lines[line].tire(ticket, now);
            self.order(line, &serves);
        }
    }

    fn apply(&mut self, event: Event) {
        let pick = |of: usize, len: usize| (len > 0).then(|| of % len);
        match event {
            Event::Call { line, kind } => {
                let tenant = (kind > 1).then(|| ["blue", "green"][usize::from(kind) % 2].into());
                let generation = self.retired[line].max(1);
                self.call(line, Serves { generation, tenant });
            }
            Event::Later(micros) => self.later(micros),
            Event::End { of, usable } => {
                let call = pick(of, self.running.len()).and_then(|n| self.running.keys().nth(n));
                if let Some(call) = call.copied() {
                    self.end(call, usable);
                }
            }
            Event::Start { of, works } => {
                if let Some(at) = pick(of, self.begun.len()) {
                    self.start(at, works);
                }
            }
            Event::GiveUp(of) => {
                let call = pick(of, self.waiters.len()).and_then(|n| self.waiters.keys().nth(n));
                if let Some((call, waiter)) =
                    call.copied().and_then(|call| Some((call, self.waiters.remove(&call)?)))
                {
                    self.lines[waiter.line].leave(waiter.ticket);
                    *self.ends.entry(call).or_default() += 1;
                }
            }
            Event::Retire { line, generation } => {
                self.retired[line] = self.retired[line].max(generation);
                let gone = self.lines[line].retire(generation);
                self.kill(gone);
            }
            Event::Squeeze(line) => {
                let gone = self.lines[line].take_longest_idle();
                self.kill(gone.into_iter().collect());
            }
            Event::Delete(line) => {
                self.retired[line] = u64::MAX - 1;
                let gone = self.lines[line].close();
                self.kill(gone);
            }
        }
        self.check();
    }

    fn check(&self) {
        let idle: usize = self.lines.iter().map(Line::idle).sum();
        assert_eq!(self.live.len(), idle + self.running.len(), "nothing is lost or kept twice");
        for (line, state) in self.lines.iter().enumerate() {
            let of = |other: usize| other == line;
            let waiting = self.waiters.values().filter(|waiter| of(waiter.line)).count();
            assert_eq!(state.waiting(), waiting);
            let busy = self.running.values().filter(|(other, ..)| of(*other)).count();
            assert_eq!(state.busy(), busy);
        }
        assert!(self.ends.values().all(|ends| *ends == 1), "each call ends once");
    }

    /// Time goes on, calls end and starts work: nobody waits for ever, and nothing stays behind.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.waiters.is_empty() && self.running.is_empty() && self.begun.is_empty() {
                break;
            }
            self.later(10_000);
            if !self.begun.is_empty() {
                self.start(0, true);
            }
            if let Some(call) = self.running.keys().next().copied() {
                self.end(call, true);
            }
            self.check();
        }
        assert!(self.waiters.is_empty(), "{} calls starve", self.waiters.len());
        assert!(self.starts.is_empty(), "a turn is taken for ever");
        let now = self.now + Duration::from_secs(24 * 3600);
        for line in 0..LINES {
            let gone = self.lines[line].expire(now, &Keep::default());
            self.kill(gone);
        }
        assert!(self.live.is_empty());
    }
}

proptest! {
    #[test]
    fn laws_hold_whatever_happens(events in prop::collection::vec(event(), 1..200)) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
        }
        world.settle();
    }

    /// What one function does changes nothing for another while nothing is scarce: the order of
    /// their events among each other does not matter.
    #[test]
    fn functions_do_not_depend_on_the_order_of_others(
        ones in prop::collection::vec((0u8..4, any::<bool>()), 1..30),
        others in prop::collection::vec((0u8..4, any::<bool>()), 1..30),
    ) {
        let run = |line: usize, events: &[(u8, bool)], world: &mut World| {
            for (kind, works) in events {
                world.apply(Event::Call { line, kind: *kind });
                while let Some(at) = world.begun.iter().position(|(of, _)| *of == line) {
                    world.start(at, *works);
                }
                let of = |(_, (of, ..)): &(&u64, &(usize, Ticket, Environment))| *of == line;
                if *works && let Some(call) = world.running.iter().find(of).map(|(call, _)| *call) {
                    world.end(call, true);
                }
            }
        };
        let shape = |world: &World, line: usize| {
            let line = &world.lines[line];
            (line.idle(), line.busy(), line.waiting())
        };
        let (mut apart, mut mixed) = (World::new(), World::new());
        run(0, &ones, &mut apart);
        run(1, &others, &mut apart);
        let longest = ones.len().max(others.len());
        for at in 0..longest {
            run(1, others.get(at..=at).unwrap_or_default(), &mut mixed);
            run(0, ones.get(at..=at).unwrap_or_default(), &mut mixed);
        }
        prop_assert_eq!(shape(&apart, 0), shape(&mixed, 0));
        prop_assert_eq!(shape(&apart, 1), shape(&mixed, 1));
    }
}

/// Calls of 50 ms, one after the other, by more callers than there are environments: those who come
/// last wait for a busy one rather than for a start, until the waiting has cost as much as one.
#[test]
fn waiting_is_bounded_by_the_cost_of_a_start() {
    let mut line: Line<u32, u32> = Line::default();
    let serves = Serves { generation: 1, tenant: None };
    let mut now = SystemClock.instant();
    let (ms, start) = (Duration::from_millis, Duration::from_millis(30));
    assert_eq!(line.wait(&serves, 0, now).1, None, "nothing is known yet");
    assert_eq!((line.order(&serves), line.order(&serves), line.begin(&serves)), (1, 0, true));
    now += start;
    line.ready(start);
    let Place::Call(0, environment, mut ticket) = line.started(&serves, 7, now) else {
        panic!("the call that waits gets it")
    };
    for _ in 0..8 {
        now += ms(50);
        assert_eq!(line.back(ticket, environment, now), Place::Idle);
        ticket = line.take(&serves, now).unwrap().1;
    }
    assert_eq!(
        line.wait(&serves, 1, now + ms(1)).1,
        None,
        "it is busy for longer than a start takes"
    );
    assert_eq!(line.order(&serves), 1);
    now += ms(50);
    let Place::Call(1, _, mut running) = line.back(ticket, environment, now) else {
        panic!("what is free first is for whoever waits")
    };
    assert!(!line.begin(&serves), "the start is not needed any more");
    let mut waits = 0;
    // A call has the only environment, and another comes 10 ms before it is free.
    for caller in 2..100 {
        let (_, until) = line.wait(&serves, caller, now + ms(40));
        let Some(until) = until else { break };
        assert!(until <= now + ms(40) + start, "no longer than a start takes");
        waits += 1;
        now += ms(50);
        let Place::Call(_, _, next) = line.back(running, environment, now) else {
            panic!("the one that waits gets it")
        };
        running = next;
    }
    assert!((1..=3).contains(&waits), "{waits} calls waited for 10 ms each: a start takes 30");
}
