//! One execution: what may happen to it, and what has to. Pure.
//!
//! Decisions are facts; whoever has written them down applies them. Beside the facts there is what
//! lives only as long as the server does: the invocation that goes on, and its tokens.

use super::callback_id;
use super::checkpoint::{self, SYNCHRONOUS_RESULT, Terms};
use super::facts::{After, End, Fact, Text};
use super::handler::{Handler, handler_answer, invalid_output};
use super::show;
use super::state::{Chained, Detail, State, Status as OperationStatus};
use super::tables::{Head, Status};
use super::updates::Update;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplight_rpc::{
    CallbackAnswer, DurableError, ErrorObject, ExecutionArn, Finished, PauseRequest,
};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// How many invocations in a row may fail. AWS: goes on for some minutes.
pub const FAILURES: u32 = 8;
/// How many may wait for nothing. AWS's emulator has as many.
const IDLE_FAILURES: u32 = 3;
const DAY: i64 = 24 * 3600 * 1000;
pub const INVALID_TOKEN: &str = "Invalid checkpoint token";

/// An invocation that goes on.
struct Running {
    id: String,
    checkpoints: u64,
    /// The number of the last change that the handler knows of.
    seen: u64,
    /// A pause has taken its token away.
    withheld: bool,
    last: Option<Last>,
}

/// The last checkpoint, for whoever has not heard the answer.
struct Last {
    token: String,
    client_token: String,
    answer: Map<String, Value>,
}

/// What is to be done outside.
#[derive(Debug)]
pub enum Wish {
    Invoke {
        request_id: String,
        payload: Vec<u8>,
    },
    /// The chained invoke of this operation.
    Call(Text, Box<Chained>),
    /// Whoever waits for its end may be told.
    Tell(Box<Finished>),
}

/// How an invocation ended.
pub struct Invocation {
    pub request_id: String,
    pub started: i64,
    /// The answer of the handler, or the error that it died of.
    pub answer: Result<Vec<u8>, ErrorObject>,
}

/// How a chained invoke ended.
pub type Ended = (End, Option<Text>, Option<ErrorObject>);

/// See the module.
pub struct Machine {
    pub arn: ExecutionArn,
    pub head: Head,
    pub state: State,
    running: Option<Running>,
    /// Chained invokes that are on their way.
    called: HashSet<Text>,
    /// Those that are executions of their own, which tell their end by themselves. After a restart
    /// they are called again, and found to be there.
    handed: HashSet<Text>,
    told: bool,
    /// Not to be invoked before, because the server could not do it.
    held: Option<(i64, u32)>,
}

impl Machine {
    pub fn new(arn: ExecutionArn, head: Head) -> Self {
        let told = !head.status.is_open();
        let (called, handed) = (HashSet::new(), HashSet::new());
        let state = State::default();
        Self { arn, head, state, running: None, called, handed, told, held: None }
    }

    /// Takes over facts that are being written down.
    pub fn apply(&mut self, at: i64, facts: impl IntoIterator<Item = Fact>) {
        for fact in facts {
            self.state.apply(at, fact);
        }
        let ended = self.state.outcome.as_ref();
        self.head.ended = ended.map(|outcome| outcome.at);
        self.head.status = self.status();
        self.head.bytes = self.state.bytes;
        self.head.due = match ended {
            Some(outcome) => outcome.at + i64::from(self.head.retention_days) * DAY,
            None if self.state.open_chained().next().is_some() => 0,
            None => self.next(true),
        };
    }

    pub fn status(&self) -> Status {
        match (&self.state.outcome, &self.state.pause) {
            _ if self.head.status == Status::Deleting => Status::Deleting,
            (Some(outcome), _) => match outcome.end {
                End::Succeeded => Status::Succeeded,
                End::TimedOut => Status::TimedOut,
                End::Stopped => Status::Stopped,
                End::Failed | End::Cancelled => Status::Failed,
            },
            (None, Some(pause)) if pause.since.is_some() => Status::Paused,
            (None, Some(_)) => Status::Pausing,
            (None, None) => Status::Running,
        }
    }

    /// When it has to be looked at next.
    pub fn wake(&self) -> i64 {
        match self.state.outcome {
            _ if self.is_doomed() => 0,
            Some(_) => self.head.due,
            None => self.next(self.running.is_none()),
        }
    }

    fn next(&self, may_invoke: bool) -> i64 {
        let timer = self.state.next_timer(self.head.timeout).unwrap_or(i64::MAX);
        let after = &self.state.after;
        if may_invoke && after.owed && !self.state.is_paused() {
            let held = self.held.map_or(0, |(until, _)| until);
            return timer.min(held.max(after.retry_at.unwrap_or(0)));
        }
        timer
    }

    /// Nothing goes on that would be lost with what is in memory.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && (self.called.is_empty() || self.is_ended())
    }

    fn is_doomed(&self) -> bool {
        self.head.status == Status::Deleting
    }

    pub fn is_ended(&self) -> bool {
        self.state.outcome.is_some()
    }

    pub fn finished(&self) -> Option<Finished> {
        let outcome = self.state.outcome.as_ref()?;
        let (result, error) = (outcome.result.clone(), outcome.error.clone());
        Some(Finished { succeeded: outcome.end == End::Succeeded, result, error })
    }

    /// How its end is that of the chained invoke which it was started by.
    pub fn as_chained(&self) -> Option<Ended> {
        let outcome = self.state.outcome.clone()?;
        Some(match outcome.end {
            End::TimedOut => {
                let message =
                    format!("CHAINED_INVOKE timed out after {} seconds.", self.head.timeout);
                (outcome.end, None, Some(ErrorObject::new("ChainedInvoke.Timeout", message)))
            }
            end => (end, outcome.result, outcome.error),
        })
    }

    fn result_limit(&self) -> usize {
        if self.head.synchronous { SYNCHRONOUS_RESULT } else { checkpoint::PAYLOAD }
    }

    /// What has happened by itself until now.
    pub fn due(&self, now: i64) -> Vec<Fact> {
        if self.is_ended() || self.is_doomed() {
            return Vec::new();
        }
        if self.state.timeout_at(self.head.timeout) <= now {
            let message = format!("Execution timed out after {} seconds.", self.head.timeout);
            let error = ErrorObject { error_message: Some(message.into()), ..Default::default() };
            let end = End::TimedOut;
            return vec![Fact::ExecutionEnded { end, result: None, error: Some(error) }];
        }
        let mut facts = Vec::new();
        let due = self.state.operations.iter().filter(|op| op.due().is_some_and(|due| due <= now));
        for operation in due {
            let id = operation.id.clone();
            let ended = |end, error| Fact::OperationEnded {
                id: operation.id.clone(),
                end,
                result: None,
                error,
                replay_children: false,
            };
            facts.push(match operation.detail {
                Detail::Wait { .. } => ended(End::Succeeded, None),
                Detail::Callback { timeout, heartbeat, .. } => {
                    let heartbeat_first =
                        heartbeat.is_some_and(|at| timeout.is_none_or(|timeout| at < timeout));
                    let (kind, message) = match heartbeat_first {
                        true => ("Callback.Heartbeat", "Callback timed out on heartbeat"),
                        false => ("Callback.Timeout", "Callback timed out"),
                    };
                    ended(End::TimedOut, Some(ErrorObject::new(kind, message)))
                }
                _ => Fact::StepReady { id },
            });
        }
        let pausing = self.state.pause.as_ref().is_some_and(|pause| pause.since.is_none());
        if pausing && self.running.is_none() {
            facts.push(Fact::Paused);
        }
        facts
    }

    /// What is to be done outside, each thing once. `id` is for an invocation.
    pub fn wishes(&mut self, now: i64, id: impl FnOnce() -> String) -> Vec<Wish> {
        let mut wishes = Vec::new();
        if self.is_ended() {
            if !self.told {
                self.told = true;
                wishes.extend(self.finished().map(|finished| Wish::Tell(Box::new(finished))));
            }
            return wishes;
        }
        if self.is_doomed() {
            return wishes;
        }
        for (operation, chained) in self.state.open_chained() {
            if !self.handed.contains(&operation.id) && self.called.insert(operation.id.clone()) {
                wishes.push(Wish::Call(operation.id.clone(), Box::new(chained.clone())));
            }
        }
        if self.is_ready(now) {
            let request_id = id();
            let payload = self.begin(&request_id);
            wishes.push(Wish::Invoke { request_id, payload });
        }
        wishes
    }

    /// Whether it has to be invoked.
    fn is_ready(&self, now: i64) -> bool {
        let free = self.running.is_none() && !self.is_ended();
        free && self.state.after.owed && !self.state.is_paused() && self.next(true) <= now
    }

    /// The event of a new invocation.
    fn begin(&mut self, id: &str) -> Vec<u8> {
        let seen = self.state.changes;
        let running =
            Running { id: id.to_owned(), checkpoints: 0, seen, withheld: false, last: None };
        let token = self.token(&running);
        self.running = Some(running);
        let (operations, marker) = show::state(self, 0, show::PAGE_MOST, show::Times::Millis);
        let known = self.state.after.seen;
        let updated: Vec<&Text> = self
            .state
            .operations
            .iter()
            .filter(|operation| operation.touched > known)
            .map(|operation| &operation.id)
            .collect();
        let event = json!({
            "DurableExecutionArn": self.arn.to_string(),
            "CheckpointToken": token,
            "InitialExecutionState": {
                "Operations": operations,
                "NextMarker": marker.unwrap_or_default(),
            },
            "UpdatedOperationIds": updated,
        });
        event.to_string().into_bytes()
    }

    fn token(&self, running: &Running) -> String {
        STANDARD.encode(format!("{} {} {}", self.arn.id, running.id, running.checkpoints))
    }

    /// Whether `token` is the one that is good now.
    pub fn check_token(&self, token: &str) -> Result<(), DurableError> {
        let good = self.running.as_ref().filter(|running| !running.withheld && !self.is_ended());
        if good.is_some_and(|running| self.token(running) == token) {
            return Ok(());
        }
        let text = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let other = text.is_some_and(|text| {
            text.split(' ').count() == 3 && !text.starts_with(&*format!("{} ", self.arn.id))
        });
        Err(DurableError::Invalid(match other {
            true => "Checkpoint token is not valid for the durable execution ARN".to_owned(),
            false => INVALID_TOKEN.to_owned(),
        }))
    }

    /// The answer that a checkpoint has had before.
    pub fn replayed(&self, token: &str, client_token: Option<&str>) -> Option<Map<String, Value>> {
        let last = self.running.as_ref()?.last.as_ref()?;
        let same = last.token == token && Some(&*last.client_token) == client_token;
        same.then(|| last.answer.clone())
    }

    pub fn checkpoint(
        &self,
        updates: &[Update],
        now: i64,
        resolve: super::service::Resolve<'_>,
    ) -> Result<Vec<Fact>, DurableError> {
        let terms = Terms { now, result: self.result_limit(), resolve };
        let mut facts = checkpoint::check(&self.state, updates, &terms)?;
        let ends = facts.iter().any(|fact| matches!(fact, Fact::ExecutionEnded { .. }));
        if !ends && self.state.pause.as_ref().is_some_and(|pause| pause.since.is_none()) {
            facts.push(Fact::Paused);
        }
        Ok(facts)
    }

    /// The answer to a checkpoint whose facts are written. AWS: without a token where the execution
    /// has ended, or is paused from here on.
    pub fn answer(&mut self, token: &str, client_token: Option<String>) -> Map<String, Value> {
        let mut answer = Map::new();
        let Some(mut running) = self.running.take() else { return answer };
        let silent = self.is_ended() || self.state.is_paused();
        let operations = match silent {
            true => Vec::new(),
            false => {
                let (operations, seen) = show::changes(self, running.seen);
                running.seen = seen;
                operations
            }
        };
        answer.insert("NewExecutionState".to_owned(), json!({ "Operations": operations }));
        if silent {
            running.withheld = true;
        } else {
            running.checkpoints += 1;
            answer.insert("CheckpointToken".to_owned(), json!(self.token(&running)));
            let token = token.to_owned();
            running.last = client_token.map(|client_token| {
                let answer = answer.clone();
                Last { token, client_token, answer }
            });
        }
        self.running = Some(running);
        answer
    }

    /// What the end of an invocation means.
    pub fn completed(&self, ended: &Invocation, now: i64) -> Vec<Fact> {
        let seen = self.running.as_ref().map_or(self.state.after.seen, |running| running.seen);
        let withheld = self.running.as_ref().is_some_and(|running| running.withheld);
        let changed = self.state.changes > seen;
        let completed = |error: Option<ErrorObject>, after: After| Fact::InvocationCompleted {
            started: ended.started,
            request_id: ended.request_id.as_str().into(),
            error,
            after,
        };
        let after = |owed| After { seen, owed, failures: 0, retry_at: None };
        let failed = |error: Option<ErrorObject>, most: u32| {
            let failures = self.state.after.failures + 1;
            if failures >= most {
                let end =
                    Fact::ExecutionEnded { end: End::Failed, result: None, error: error.clone() };
                return vec![completed(error, after(false)), end];
            }
            let delay = 1000i64 << (failures - 1).min(16);
            let retry_at = Some(now.saturating_add(delay));
            vec![completed(error, After { seen, owed: true, failures, retry_at })]
        };
        // One that was lost sight of when a write failed: another one is on its way.
        if !self.is_running(&ended.request_id) {
            return Vec::new();
        }
        if self.is_ended() {
            return vec![completed(None, after(false))];
        }
        let waits = || self.state.operations.iter().any(|operation| operation.is_pending());
        let mut facts = match handler_answer(&ended.answer, self.result_limit()) {
            Handler::Ended { end, result, error } => {
                vec![
                    completed(error.clone(), after(false)),
                    Fact::ExecutionEnded { end, result, error },
                ]
            }
            Handler::Pending if withheld || changed || waits() => {
                vec![completed(None, after(withheld || changed))]
            }
            Handler::Pending => {
                let message = "Cannot return PENDING status with no pending operations.";
                failed(Some(invalid_output(message)), IDLE_FAILURES)
            }
            Handler::Failed(error) => failed(error, FAILURES),
        };
        let open = !facts.iter().any(|fact| matches!(fact, Fact::ExecutionEnded { .. }));
        if open && self.state.pause.as_ref().is_some_and(|pause| pause.since.is_none()) {
            facts.push(Fact::Paused);
        }
        match checkpoint::beyond(&self.state, 0, &facts) {
            Some(end) => vec![completed(None, after(false)), end],
            None => facts,
        }
    }

    fn is_running(&self, request_id: &str) -> bool {
        self.running.as_ref().is_some_and(|running| running.id == request_id)
    }

    /// The function is gone.
    pub fn fail(&self, request_id: &str, error: ErrorObject) -> Vec<Fact> {
        if self.is_ended() || !self.is_running(request_id) {
            return Vec::new();
        }
        vec![Fact::ExecutionEnded { end: End::Failed, result: None, error: Some(error) }]
    }

    /// The invocation is over, and what it meant is written.
    pub fn settled(&mut self, request_id: &str) {
        if self.is_running(request_id) {
            (self.running, self.held) = (None, None);
        }
    }

    /// Nothing can be called now; it will be tried again.
    pub fn hold(&mut self, now: i64) {
        let tries = self.held.map_or(0, |(_, tries)| tries);
        let delay = (1000i64 << tries.min(8)).min(300_000);
        self.held = Some((now.saturating_add(delay), tries + 1));
        self.running = None;
    }

    /// No invocation may begin now; one that has to is put off.
    pub fn hold_back(&mut self, now: i64) {
        if self.is_ready(now) {
            self.hold(now);
        }
    }

    /// The function could not be called for this invocation.
    pub fn not_called(&mut self, request_id: &str, now: i64) {
        if self.is_running(request_id) {
            self.hold(now);
        }
    }

    /// The chained invoke of `id` has to be made again, if at all.
    pub fn uncalled(&mut self, id: &str) {
        self.called.remove(id);
        self.handed.remove(id);
    }

    /// The chained invoke of `id` is an execution that goes on without this one.
    pub fn handed_over(&mut self, id: &str) {
        self.handed.extend(self.called.take(id));
    }

    pub fn chained_ended(&self, id: &Text, ended: Ended) -> Vec<Fact> {
        let open = self.state.open_chained().any(|(operation, _)| operation.id == *id);
        if self.is_ended() || !open {
            return Vec::new();
        }
        let (end, result, error) = ended;
        let (id, error) = (id.clone(), error.map(|error| error.cut(checkpoint::PAYLOAD)));
        let fact = Fact::OperationEnded { id, end, result, error, replay_children: false };
        let facts = vec![fact];
        checkpoint::beyond(&self.state, 0, &facts).map_or(facts, |end| vec![end])
    }

    pub fn stop(&self, error: Option<ErrorObject>) -> Vec<Fact> {
        if self.is_ended() {
            return Vec::new();
        }
        // AWS: without an error, an empty one is kept.
        let error = Some(error.unwrap_or_default());
        vec![Fact::ExecutionEnded { end: End::Stopped, result: None, error }]
    }

    pub fn pause(&self, request: &PauseRequest) -> Result<Vec<Fact>, DurableError> {
        let client_token = request.client_token.clone();
        if self.is_ended() {
            return Err(self.conflict("paused"));
        }
        if self.state.pause.is_some() {
            let again = client_token.is_some() && client_token == self.state.pause_tokens[0];
            return if again { Ok(Vec::new()) } else { Err(self.conflict("paused")) };
        }
        let mut facts = vec![Fact::PauseRequested {
            client_token,
            reason: request.reason.clone(),
            timeout_paused: request.timeout_paused,
        }];
        if self.running.is_none() {
            facts.push(Fact::Paused);
        }
        // Whoever has paused may resume, so this bounds both.
        self.room_for(facts)
    }

    /// `facts` that somebody outside asks for. The handler has to have room for what it makes of it.
    fn room_for(&self, facts: Vec<Fact>) -> Result<Vec<Fact>, DurableError> {
        match checkpoint::fits(&self.state, &facts) {
            true => Ok(facts),
            false => Err(DurableError::Invalid(checkpoint::too_much())),
        }
    }

    pub fn resume(&self, request: &PauseRequest) -> Result<Vec<Fact>, DurableError> {
        let client_token = request.client_token.clone();
        match &self.state.pause {
            Some(pause) if pause.since.is_some() => {
                Ok(vec![Fact::Resumed { client_token, reason: request.reason.clone() }])
            }
            Some(_) => Ok(vec![Fact::PauseCancelled { client_token }]),
            None if !self.is_ended()
                && client_token.is_some()
                && client_token == self.state.pause_tokens[1] =>
            {
                Ok(Vec::new())
            }
            None => Err(self.conflict("resumed")),
        }
    }

    fn conflict(&self, what: &str) -> DurableError {
        DurableError::Conflict(format!(
            "The durable execution cannot be {what} in its status {}.",
            self.status().name()
        ))
    }

    pub fn callback(&self, id: &str, answer: &CallbackAnswer) -> Result<Vec<Fact>, DurableError> {
        let operation = self.state.operation(id).filter(|operation| {
            matches!(operation.detail, Detail::Callback { .. })
                && operation.status == OperationStatus::Started
        });
        let Some(operation) = operation.filter(|_| !self.is_ended()) else {
            return Err(DurableError::CallbackClosed);
        };
        let id = operation.id.clone();
        let ended = |end, result, error| Fact::OperationEnded {
            id: id.clone(),
            end,
            result,
            error,
            replay_children: false,
        };
        let fact = match answer {
            CallbackAnswer::Success(result) => ended(End::Succeeded, result.clone(), None),
            CallbackAnswer::Failure(error) => ended(End::Failed, None, error.clone()),
            CallbackAnswer::Heartbeat => match operation.detail {
                Detail::Callback { heartbeat: None, .. } => return Ok(Vec::new()),
                _ => Fact::Heartbeat { id },
            },
        };
        self.room_for(vec![fact])
    }

    pub fn callback_id(&self, operation: &str) -> String {
        callback_id::write(&self.arn, operation)
    }
}
