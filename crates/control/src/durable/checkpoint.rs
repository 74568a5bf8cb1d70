//! Whether a checkpoint may be, and the facts that it makes. Pure. A batch counts as a whole or not
//! at all; each of its updates sees what those before it did.

use super::facts::{End, Fact, Start, Text};
use super::state::{Detail, Operation, State, Status, evolve};
use super::updates::{Action, Kind, Target, Update};
use lamplight_rpc::{DurableError, ErrorObject};
use std::collections::HashMap;

/// AWS: operations of one execution.
pub const OPERATIONS: usize = 3_000;
/// AWS: what one execution may store, bytes.
pub const STORED: u64 = 100 * 1024 * 1024;
/// AWS: the payload or the error of an operation, and the result of an execution that nobody waits
/// for, bytes.
pub const PAYLOAD: usize = 1024 * 1024;
/// AWS: the result of an execution that somebody waits for, bytes.
pub const SYNCHRONOUS_RESULT: usize = 6 * 1024 * 1024;

/// A function that is to be called, or why it cannot be.
pub type Resolved = Result<Callee, ErrorObject>;

pub struct Callee {
    pub version: Text,
    /// The execution that the call starts, where the function is durable.
    pub execution: Option<Text>,
}

/// What a batch is judged by besides the state.
pub struct Terms<'a> {
    pub now: i64,
    /// Of the execution, bytes.
    pub result: usize,
    pub resolve: &'a dyn Fn(&Target) -> Result<Resolved, DurableError>,
}

pub fn check(
    state: &State,
    updates: &[Update],
    terms: &Terms<'_>,
) -> Result<Vec<Fact>, DurableError> {
    check_batch(updates)?;
    let mut draft = Draft { state, terms, changed: HashMap::new(), facts: Vec::new(), new: 0 };
    for update in updates {
        draft.add(update)?;
    }
    Ok(match beyond(state, draft.new, &draft.facts) {
        Some(end) => vec![end],
        None => draft.facts,
    })
}

/// The end of an execution that would go beyond its limits by `facts`, which start `new`
/// operations. AWS: it has failed; a checkpoint that did it is answered all the same.
pub fn beyond(state: &State, new: usize, facts: &[Fact]) -> Option<Fact> {
    let over = if state.operations.len() + new > OPERATIONS {
        format!("The execution has more than {OPERATIONS} operations.")
    } else if !fits(state, facts) {
        too_much()
    } else {
        return None;
    };
    let error = Some(ErrorObject::new("ServiceQuotaExceededException", over));
    Some(Fact::ExecutionEnded { end: End::Failed, result: None, error })
}

/// Whether an execution may store `facts`, too.
pub fn fits(state: &State, facts: &[Fact]) -> bool {
    let bytes: u64 = facts.iter().map(Fact::bytes).sum();
    state.bytes + bytes <= STORED
}

pub fn too_much() -> String {
    format!("The execution stores more than {STORED} bytes.")
}

fn invalid(message: impl Into<String>) -> DurableError {
    DurableError::Invalid(message.into())
}

fn check_batch(updates: &[Update]) -> Result<(), DurableError> {
    let of_execution = |update: &&Update| update.kind == Kind::Execution;
    match updates.iter().filter(of_execution).count() {
        0 => {}
        1 if updates.last().is_some_and(|last| last.kind == Kind::Execution) => {}
        1 => return Err(invalid("EXECUTION checkpoint must be the last update.")),
        _ => return Err(invalid("Cannot checkpoint multiple EXECUTION updates.")),
    }
    let mut seen: HashMap<&str, &Update> = HashMap::new();
    for update in updates {
        let Some(before) = seen.insert(&update.id, update) else { continue };
        // AWS: what has only just started may end in the same batch.
        let both = matches!(before.kind, Kind::Step | Kind::Context);
        if !(both && before.action == Action::Start && update.action != Action::Start) {
            return Err(invalid("Cannot checkpoint multiple operations with the same ID."));
        }
    }
    Ok(())
}

struct Draft<'a> {
    state: &'a State,
    terms: &'a Terms<'a>,
    changed: HashMap<Text, Operation>,
    facts: Vec<Fact>,
    /// Operations that start in this batch.
    new: usize,
}

impl Draft<'_> {
    fn operation(&self, id: &str) -> Option<&Operation> {
        self.changed.get(id).or_else(|| self.state.operation(id))
    }

    fn push(&mut self, id: &Text, fact: Fact) {
        let found = self.operation(id).cloned();
        self.new += usize::from(found.is_none());
        if let Some(operation) = evolve(found, self.terms.now, &fact) {
            self.changed.insert(id.clone(), operation);
        }
        self.facts.push(fact);
    }

    fn add(&mut self, update: &Update) -> Result<(), DurableError> {
        let found = self.operation(&update.id);
        if let Some(found) = found {
            consistent(found, update)?;
        }
        if let Some(parent) = &update.parent {
            let parent = self.operation(parent);
            if !parent.is_some_and(|parent| matches!(parent.detail, Detail::Context { .. })) {
                return Err(invalid("Invalid parent operation id."));
            }
        }
        sizes(update, self.terms.result)?;
        let status = found.map(|found| found.status);
        match update.kind {
            Kind::Execution => self.execution(update),
            Kind::Context => self.context(update, status),
            Kind::Step => self.step(update, status),
            Kind::Wait => self.wait(update, status),
            Kind::Callback => self.callback(update, status),
            Kind::ChainedInvoke => self.chained(update, status),
        }
    }

    fn start(&mut self, update: &Update, start: Start) {
        let fact = Fact::OperationStarted {
            id: update.id.clone(),
            parent: update.parent.clone(),
            name: update.name.clone(),
            sub_type: update.sub_type.clone(),
            start,
        };
        self.push(&update.id, fact);
    }

    fn end(&mut self, update: &Update, end: End) {
        let fact = Fact::OperationEnded {
            id: update.id.clone(),
            end,
            result: update.payload.clone(),
            error: update.error.clone(),
            replay_children: update.replay_children,
        };
        self.push(&update.id, fact);
    }

    fn execution(&mut self, update: &Update) -> Result<(), DurableError> {
        let end = end_of(update, "Invalid EXECUTION action.")?;
        let (result, error) = (update.payload.clone(), update.error.clone());
        self.facts.push(Fact::ExecutionEnded { end, result, error });
        Ok(())
    }

    fn context(&mut self, update: &Update, status: Option<Status>) -> Result<(), DurableError> {
        if update.action == Action::Start {
            not_there(status, Kind::Context)?;
            self.start(update, Start::Context);
            return Ok(());
        }
        let end = end_of(update, WRONG_ACTION)?;
        if status != Some(Status::Started) {
            return Err(invalid("Invalid current CONTEXT state to close."));
        }
        self.end(update, end);
        Ok(())
    }

    fn step(&mut self, update: &Update, status: Option<Status>) -> Result<(), DurableError> {
        let retry = update.action == Action::Retry;
        if retry != update.delay.is_some() {
            return Err(invalid("Invalid StepOptions for the given action."));
        }
        let running = matches!(status, None | Some(Status::Started | Status::Ready));
        match update.action {
            Action::Start => match status {
                None => self.start(update, Start::Step),
                Some(Status::Ready) => {
                    let id = update.id.clone();
                    self.push(&update.id, Fact::StepStarted { id });
                }
                Some(_) => return Err(invalid("Invalid current STEP state to start.")),
            },
            Action::Retry if !running => {
                return Err(invalid("Invalid current STEP state to re-attempt."));
            }
            Action::Retry if update.payload.is_some() && update.error.is_some() => {
                return Err(invalid("Cannot provide both error and payload to RETRY a STEP."));
            }
            Action::Retry => {
                self.start_where_new(update, status);
                let (result, error) = (update.payload.clone(), update.error.clone());
                let delay = update.delay.unwrap_or(0);
                let fact = Fact::StepRetried { id: update.id.clone(), result, error, delay };
                self.push(&update.id, fact);
            }
            Action::Succeed | Action::Fail | Action::Cancel => {
                let end = end_of(update, WRONG_ACTION)?;
                if !running {
                    return Err(invalid("Invalid current STEP state to close."));
                }
                self.start_where_new(update, status);
                self.end(update, end);
            }
        }
        Ok(())
    }

    /// AWS: a step need not be started before it ends.
    fn start_where_new(&mut self, update: &Update, status: Option<Status>) {
        if status.is_none() {
            self.start(update, Start::Step);
        }
    }

    fn wait(&mut self, update: &Update, status: Option<Status>) -> Result<(), DurableError> {
        match update.action {
            Action::Start => {
                not_there(status, Kind::Wait)?;
                let seconds = update
                    .wait
                    .ok_or_else(|| invalid("Update for WAIT operation requires WaitOptions."))?;
                self.start(update, Start::Wait { seconds });
            }
            Action::Cancel if status == Some(Status::Started) => self.end(update, End::Cancelled),
            Action::Cancel => {
                return Err(invalid(
                    "Cannot cancel a WAIT that does not exist or has already completed.",
                ));
            }
            _ => return Err(invalid(WRONG_ACTION)),
        }
        Ok(())
    }

    fn callback(&mut self, update: &Update, status: Option<Status>) -> Result<(), DurableError> {
        only_start(update)?;
        not_there(status, Kind::Callback)?;
        let (timeout, heartbeat) = update.timeouts;
        self.start(update, Start::Callback { timeout, heartbeat });
        Ok(())
    }

    fn chained(&mut self, update: &Update, status: Option<Status>) -> Result<(), DurableError> {
        only_start(update)?;
        not_there(status, Kind::ChainedInvoke)?;
        let Some(target) = &update.chained else {
            return Err(invalid(
                "Update for CHAINED_INVOKE operation requires ChainedInvokeOptions.",
            ));
        };
        let start = |input: Option<Text>, version, execution| Start::ChainedInvoke {
            function: target.function.clone(),
            tenant: target.tenant.clone(),
            trace: target.trace.clone(),
            input,
            version,
            execution,
        };
        match (self.terms.resolve)(target)? {
            Ok(Callee { version, execution }) => {
                self.start(update, start(update.payload.clone(), Some(version), execution));
            }
            // AWS: what cannot be called has failed at once, and its input is not kept.
            Err(error) => {
                self.start(update, start(None, None, None));
                let failed = Update { payload: None, error: Some(error), ..update.clone() };
                self.end(&failed, End::Failed);
            }
        }
        Ok(())
    }
}

const WRONG_ACTION: &str = "Invalid action for the given operation type.";

fn end_of(update: &Update, otherwise: &str) -> Result<End, DurableError> {
    match update.action {
        Action::Succeed if update.error.is_some() => {
            Err(invalid("Cannot provide an Error for SUCCEED action."))
        }
        Action::Fail if update.payload.is_some() => {
            Err(invalid("Cannot provide a Payload for FAIL action."))
        }
        Action::Succeed => Ok(End::Succeeded),
        Action::Fail => Ok(End::Failed),
        _ => Err(invalid(otherwise)),
    }
}

fn only_start(update: &Update) -> Result<(), DurableError> {
    match update.action {
        Action::Start => Ok(()),
        _ => Err(invalid(WRONG_ACTION)),
    }
}

fn not_there(status: Option<Status>, kind: Kind) -> Result<(), DurableError> {
    match status {
        None => Ok(()),
        Some(_) => Err(invalid(match kind {
            Kind::ChainedInvoke => {
                "Cannot start a CHAINED_INVOKE operation that already exists.".to_owned()
            }
            kind => format!("Cannot start a {} that already exist.", kind.name()),
        })),
    }
}

pub fn kind_of(operation: &Operation) -> Kind {
    match operation.detail {
        Detail::Context { .. } => Kind::Context,
        Detail::Step { .. } => Kind::Step,
        Detail::Wait { .. } => Kind::Wait,
        Detail::Callback { .. } => Kind::Callback,
        Detail::ChainedInvoke(_) => Kind::ChainedInvoke,
    }
}

fn consistent(found: &Operation, update: &Update) -> Result<(), DurableError> {
    let differs = |known: &Option<Text>, given: &Option<Text>| given.is_some() && known != given;
    let what = if kind_of(found) != update.kind {
        "operation type"
    } else if differs(&found.sub_type, &update.sub_type) {
        "operation subtype"
    } else if differs(&found.name, &update.name) {
        "operation name"
    } else if differs(&found.parent, &update.parent) {
        "parent operation id"
    } else {
        return Ok(());
    };
    Err(invalid(format!("Inconsistent {what}.")))
}

fn sizes(update: &Update, result: usize) -> Result<(), DurableError> {
    if update.error.as_ref().is_some_and(|error| error.bytes() > PAYLOAD) {
        return Err(invalid(format!("Error object size must be less than {PAYLOAD} bytes.")));
    }
    let (what, most) = match update.kind {
        Kind::Execution => ("Execution output", result),
        Kind::ChainedInvoke => ("CHAINED_INVOKE input", PAYLOAD),
        kind => (kind.name(), PAYLOAD),
    };
    match &update.payload {
        Some(payload) if payload.len() > most => {
            Err(invalid(format!("{what} payload size must be less than or equal to {most} bytes.")))
        }
        _ => Ok(()),
    }
}
