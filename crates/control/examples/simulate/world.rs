//! Time, calls and environments, driving the planner as the manager does.

use crate::arrivals::{Calls, Function};
use lamplight_control::planner::{Keep, Line, Place, Serves, Starts, Ticket};
use lamplight_env::{Clock, SystemClock};
use lamplight_model::{AccountId, FunctionArn, Scope};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Starts at the same time.
const STARTS: usize = 64;
/// How often idle environments are looked through.
const LOOK: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    pub calls: u64,
    /// Those that got a new environment.
    pub cold: u64,
    idle_gb_seconds: f64,
    /// Calls and cold ones of each function.
    functions: Vec<(u64, u64)>,
}

impl Figures {
    pub fn cold_percent(&self) -> f64 {
        100.0 * self.cold as f64 / self.calls.max(1) as f64
    }

    pub fn idle_gb_hours(&self) -> f64 {
        self.idle_gb_seconds / 3600.0
    }

    /// The share of cold calls of the function that is in front of `part` of all that were called.
    pub fn functions_cold_percent(&self, part: f64) -> f64 {
        let called = self.functions.iter().filter(|(calls, _)| *calls > 0);
        let mut shares: Vec<f64> =
            called.map(|(calls, cold)| 100.0 * *cold as f64 / *calls as f64).collect();
        shares.sort_by(f64::total_cmp);
        let at = (shares.len() as f64 * part) as usize;
        shares.get(at).copied().unwrap_or_default()
    }
}

/// A call: how long it runs.
type Call = Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives { function: usize, call: Call },
    Tires { function: usize, ticket: Ticket },
    Started { function: usize },
    Ends { function: usize, ticket: Ticket, environment: Environment },
    Look,
}

/// When an environment was last given back, or made.
type Environment = Instant;

struct World<'a> {
    functions: &'a [Function],
    lines: Vec<Line<Environment, Call>>,
    arns: Vec<FunctionArn>,
    starts: Starts<usize>,
    /// The earliest first, those of one moment in the order they were planned.
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    planned: u64,
    now: Instant,
    figures: Figures,
}

const ANY: Serves = Serves { generation: 1, tenant: None };

pub fn replay(functions: &[Function], time: Duration, keep: &Keep) -> Figures {
    let start = SystemClock.instant();
    let account = AccountId::new("000000000000").expect("twelve digits");
    let scope = Scope { account, region: "r".into() };
    let mut world = World {
        functions,
        lines: functions.iter().map(|_| Line::default()).collect(),
        arns: (0..functions.len()).map(|n| FunctionArn::new(&scope, &format!("f{n}"))).collect(),
        starts: Starts::new(STARTS),
        events: BinaryHeap::new(),
        planned: 0,
        now: start,
        figures: Figures { functions: vec![(0, 0); functions.len()], ..Figures::default() },
    };
    let mut calls: Vec<Calls> = functions.iter().map(Calls::new).collect();
    for (function, calls) in calls.iter_mut().enumerate() {
        let (at, call) = calls.draw();
        world.plan(start + at, Event::Arrives { function, call });
    }
    world.plan(start + LOOK, Event::Look);
    while let Some(Reverse((at, _, event))) = world.events.pop() {
        if at > start + time {
            break;
        }
        world.now = at;
        match event {
            Event::Arrives { function, call } => {
                world.arrives(function, call);
                let (next, call) = calls[function].draw();
                world.plan((start + next).max(at), Event::Arrives { function, call });
            }
            Event::Tires { function, ticket } => {
                world.lines[function].tire(ticket, at);
                world.order(function);
            }
            Event::Started { function } => world.started(function),
            Event::Ends { function, ticket, .. } => {
                let place = world.lines[function].back(ticket, at, at);
                world.follow(function, place, false);
            }
            Event::Look => {
                world.look(keep);
                world.plan(at + LOOK, Event::Look);
            }
        }
    }
    world.now = start + time;
    world.look(&Keep::fixed(Duration::ZERO));
    world.figures
}

impl World<'_> {
    fn plan(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    fn arrives(&mut self, function: usize, call: Call) {
        self.figures.calls += 1;
        self.figures.functions[function].0 += 1;
        if let Some((environment, ticket)) = self.lines[function].take(&ANY, self.now) {
            self.was_idle(function, environment);
            self.run(function, call, ticket, environment);
            return;
        }
        let (ticket, until) = self.lines[function].wait(&ANY, call, self.now);
        match until {
            Some(until) => self.plan(until, Event::Tires { function, ticket }),
            None => self.order(function),
        }
    }

    fn was_idle(&mut self, function: usize, since: Environment) {
        let idle = self.now.saturating_duration_since(since).as_secs_f64();
        self.figures.idle_gb_seconds += idle * self.functions[function].memory_gb;
    }

    fn run(&mut self, function: usize, call: Call, ticket: Ticket, environment: Environment) {
        self.plan(self.now + call, Event::Ends { function, ticket, environment });
    }

    fn follow(&mut self, function: usize, place: Place<Environment, Call>, new: bool) {
        match place {
            Place::Call(call, environment, ticket) => {
                if new {
                    self.figures.cold += 1;
                    self.figures.functions[function].1 += 1;
                }
                self.run(function, call, ticket, environment);
            }
            Place::Idle | Place::Surplus(_) => {}
        }
    }

    fn order(&mut self, function: usize) {
        for _ in 0..self.lines[function].order(&ANY) {
            self.starts.ask(&self.arns[function], function);
        }
        self.pump();
    }

    fn pump(&mut self) {
        while let Some((arn, function)) = self.starts.begin() {
            if self.lines[function].begin(&ANY) {
                self.plan(self.now + self.functions[function].start, Event::Started { function });
            } else {
                self.starts.done(&arn);
            }
        }
    }

    fn started(&mut self, function: usize) {
        let place = self.lines[function].started(&ANY, self.now, self.now);
        self.follow(function, place, true);
        self.lines[function].ready(self.functions[function].start);
        self.starts.done(&self.arns[function]);
        self.order(function);
    }

    fn look(&mut self, keep: &Keep) {
        for function in 0..self.lines.len() {
            for since in self.lines[function].expire(self.now, keep) {
                self.was_idle(function, since);
            }
        }
    }
}
