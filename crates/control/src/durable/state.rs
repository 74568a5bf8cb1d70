//! What the facts of an execution add up to. Pure, and without judgement: whatever was written down
//! has happened.

use super::facts::{After, End, Fact, Start, Text};
use lamplight_rpc::ErrorObject;
use std::collections::HashMap;

/// AWS: the longest that an execution may run.
pub const LONGEST: i64 = 31_622_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Started,
    Pending,
    Ready,
    Ended(End),
}

#[derive(Debug, Clone)]
pub struct Operation {
    pub id: Text,
    pub parent: Option<Text>,
    pub name: Option<Text>,
    pub sub_type: Option<Text>,
    pub status: Status,
    /// Milliseconds since the epoch, as all times here.
    pub started: i64,
    pub ended: Option<i64>,
    pub result: Option<Text>,
    pub error: Option<ErrorObject>,
    /// The number of its last change.
    pub touched: u64,
    pub detail: Detail,
}

#[derive(Debug, Clone)]
pub enum Detail {
    Context { replay_children: bool },
    Step { attempt: u32, next: Option<i64> },
    Wait { until: i64 },
    Callback { timeout: Option<i64>, heartbeat_seconds: u32, heartbeat: Option<i64> },
    ChainedInvoke(Chained),
}

#[derive(Debug, Clone)]
pub struct Chained {
    pub function: Text,
    pub tenant: Option<Text>,
    pub trace: Option<Text>,
    pub input: Option<Text>,
    pub execution: Option<Text>,
}

impl Operation {
    pub fn is_open(&self) -> bool {
        !matches!(self.status, Status::Ended(_))
    }

    /// When it changes by itself.
    pub fn due(&self) -> Option<i64> {
        match (&self.detail, self.status) {
            (Detail::Wait { until }, Status::Started) => Some(*until),
            (Detail::Step { next, .. }, Status::Pending) => *next,
            (Detail::Callback { timeout, heartbeat, .. }, Status::Started) => {
                timeout.iter().chain(heartbeat).min().copied()
            }
            _ => None,
        }
    }

    /// Whether the handler may wait for it.
    pub fn is_pending(&self) -> bool {
        match self.detail {
            Detail::Step { .. } => self.status == Status::Pending,
            Detail::Context { .. } => false,
            _ => self.is_open(),
        }
    }
}

/// What becomes of an operation by a fact about it.
pub fn evolve(operation: Option<Operation>, at: i64, fact: &Fact) -> Option<Operation> {
    if let Fact::OperationStarted { id, parent, name, sub_type, start } = fact {
        return Some(Operation {
            id: id.clone(),
            parent: parent.clone(),
            name: name.clone(),
            sub_type: sub_type.clone(),
            status: Status::Started,
            started: at,
            ended: None,
            result: None,
            error: None,
            touched: 0,
            detail: detail(at, start),
        });
    }
    let mut operation = operation?;
    match fact {
        Fact::StepStarted { .. } => operation.status = Status::Started,
        Fact::StepRetried { result, error, delay, .. } => {
            operation.status = Status::Pending;
            operation.result = result.clone();
            operation.error = error.clone();
            if let Detail::Step { attempt, next } = &mut operation.detail {
                *attempt += 1;
                *next = Some(after(at, *delay));
            }
        }
        Fact::StepReady { .. } => {
            operation.status = Status::Ready;
            if let Detail::Step { next, .. } = &mut operation.detail {
                *next = None;
            }
        }
        Fact::OperationEnded { end, result, error, replay_children, .. } => {
            operation.status = Status::Ended(*end);
            operation.ended = Some(at);
            operation.result = result.clone();
            operation.error = error.clone();
            match &mut operation.detail {
                Detail::Step { attempt, .. } => *attempt += 1,
                Detail::Context { replay_children: replay } => *replay = *replay_children,
                _ => {}
            }
        }
        Fact::Heartbeat { .. } => {
            if let Detail::Callback { heartbeat_seconds, heartbeat, .. } = &mut operation.detail {
                *heartbeat = deadline(at, *heartbeat_seconds);
            }
        }
        _ => {}
    }
    Some(operation)
}

fn detail(at: i64, start: &Start) -> Detail {
    match start {
        Start::Context => Detail::Context { replay_children: false },
        Start::Step => Detail::Step { attempt: 0, next: None },
        Start::Wait { seconds } => Detail::Wait { until: after(at, *seconds) },
        Start::Callback { timeout, heartbeat } => Detail::Callback {
            timeout: deadline(at, *timeout),
            heartbeat_seconds: *heartbeat,
            heartbeat: deadline(at, *heartbeat),
        },
        Start::ChainedInvoke { function, tenant, trace, input, execution, .. } => {
            Detail::ChainedInvoke(Chained {
                function: function.clone(),
                tenant: tenant.clone(),
                trace: trace.clone(),
                input: input.clone(),
                execution: execution.clone(),
            })
        }
    }
}

/// AWS: a timeout of 0 is none.
fn deadline(at: i64, seconds: u32) -> Option<i64> {
    (seconds > 0).then(|| after(at, seconds))
}

fn after(at: i64, seconds: u32) -> i64 {
    at.saturating_add(i64::from(seconds) * 1000)
}

#[derive(Debug, Clone)]
pub struct Pause {
    pub requested: i64,
    pub reason: Option<Text>,
    pub timeout_paused: bool,
    /// Since when it holds.
    pub since: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Outcome {
    pub end: End,
    pub at: i64,
    pub result: Option<Text>,
    pub error: Option<ErrorObject>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct State {
    pub started: i64,
    pub input: Option<Text>,
    pub outcome: Option<Outcome>,
    pub pause: Option<Pause>,
    /// The client tokens of the last pause and the last resumption.
    pub pause_tokens: [Option<String>; 2],
    /// How long the timeout has waited, in milliseconds.
    pub timeout_paused: i64,
    /// In the order in which they started.
    pub operations: Vec<Operation>,
    by_id: HashMap<Text, usize>,
    /// Of operations; each has a number.
    pub changes: u64,
    pub after: After,
    pub facts: Vec<(i64, Fact)>,
    /// See [`Fact::bytes`].
    pub bytes: u64,
}

impl Default for After {
    fn default() -> Self {
        Self { seen: 0, owed: true, failures: 0, retry_at: None }
    }
}

impl State {
    pub fn operation(&self, id: &str) -> Option<&Operation> {
        self.operations.get(*self.by_id.get(id)?)
    }

    /// When the execution times out. `timeout` in seconds.
    pub fn timeout_at(&self, timeout: u32) -> i64 {
        let waits = self.pause.as_ref().is_some_and(|p| p.timeout_paused && p.since.is_some());
        match waits {
            // AWS: while the timeout waits it is shown as far away as it can be.
            true => self.started.saturating_add(LONGEST * 1000),
            false => after(self.started, timeout).saturating_add(self.timeout_paused),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.since.is_some())
    }

    pub fn apply(&mut self, at: i64, fact: Fact) {
        self.bytes += fact.bytes();
        match &fact {
            Fact::ExecutionStarted { input } => {
                self.started = at;
                self.input = input.clone();
            }
            Fact::ExecutionEnded { end, result, error } => {
                let (result, error) = (result.clone(), error.clone());
                self.outcome = Some(Outcome { end: *end, at, result, error });
                self.pause = None;
            }
            Fact::PauseRequested { client_token, reason, timeout_paused } => {
                let (reason, timeout_paused) = (reason.clone(), *timeout_paused);
                self.pause = Some(Pause { requested: at, reason, timeout_paused, since: None });
                self.pause_tokens[0] = client_token.clone();
            }
            Fact::Paused => {
                if let Some(pause) = &mut self.pause {
                    pause.since = Some(at);
                }
            }
            Fact::PauseCancelled { client_token } | Fact::Resumed { client_token, .. } => {
                self.pause_tokens[1] = client_token.clone();
                let pause = self.pause.take().filter(|pause| pause.timeout_paused);
                if let Some(since) = pause.and_then(|pause| pause.since) {
                    self.timeout_paused += at.saturating_sub(since).max(0);
                }
            }
            Fact::InvocationCompleted { after, .. } => self.after = after.clone(),
            Fact::OperationStarted { id, .. }
            | Fact::StepStarted { id }
            | Fact::StepRetried { id, .. }
            | Fact::StepReady { id }
            | Fact::OperationEnded { id, .. }
            | Fact::Heartbeat { id } => self.touch(&id.clone(), at, &fact),
        }
        self.facts.push((at, fact));
    }

    fn touch(&mut self, id: &Text, at: i64, fact: &Fact) {
        let place = self.by_id.get(id).copied();
        let found = place.and_then(|place| self.operations.get(place)).cloned();
        let Some(mut operation) = evolve(found, at, fact) else { return };
        if !matches!(fact, Fact::Heartbeat { .. }) {
            self.changes += 1;
            operation.touched = self.changes;
            // Whoever is being invoked learns of it there; what an invocation leaves is said by it.
            self.after.owed = true;
        }
        match place.and_then(|place| self.operations.get_mut(place)) {
            Some(slot) => *slot = operation,
            None => {
                self.by_id.insert(id.clone(), self.operations.len());
                self.operations.push(operation);
            }
        }
    }

    /// The next moment at which something happens by itself, but for invocations.
    pub fn next_timer(&self, timeout: u32) -> Option<i64> {
        let timers = self.operations.iter().filter_map(Operation::due);
        timers.chain([self.timeout_at(timeout)]).min()
    }

    pub fn open_chained(&self) -> impl Iterator<Item = (&Operation, &Chained)> {
        self.operations.iter().filter(|operation| operation.is_open()).filter_map(|operation| {
            match &operation.detail {
                Detail::ChainedInvoke(chained) => Some((operation, chained)),
                _ => None,
            }
        })
    }
}
