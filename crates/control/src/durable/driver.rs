//! What executions want of the world: timers that go off, invocations, chained invokes, and word to
//! those whose chained invoke has ended.
//!
//! Level-triggered: nothing here decides anything, and what is lost is wished for again.

use super::facts::{End, Text};
use super::machine::{Ended, Invocation};
use super::service::{Core, not_found, read_function};
use super::state::Chained;
use super::tables::{Parent, Status};
use lamplight_model::FunctionRef;
use lamplight_rpc::{
    Call, CatalogError, DurableError, ErrorObject, ExecutionArn, InvokeError, Invoked, NewExecution,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Executions that are looked at at the same time.
const AT_ONCE: usize = 32;
/// The clock may be set, so nobody sleeps for longer.
const NAP: Duration = Duration::from_secs(30);
/// What cannot be read or written is tried again after so long, in milliseconds.
const AGAIN: i64 = 30_000;
/// Between attempts at what a chained invoke needs: the first, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(60);
/// Of a chained invoke, bytes.
const OUTPUT: usize = super::checkpoint::PAYLOAD;

pub async fn run(core: Arc<Core>) {
    let mut stop = core.env.tasks.stop_signal();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        loop {
            let due = core.index().take_due(core.now());
            let Some(arn) = due else { break };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let looking = Arc::clone(&core);
            core.env.tasks.spawn(async move {
                look_at(&looking, &arn).await;
                drop(place);
            });
            if stop.is_stopped() {
                return;
            }
        }
        let next = core.index().next_timer();
        let until = next.map_or(NAP, |at| {
            Duration::from_millis(u64::try_from(at.saturating_sub(core.now())).unwrap_or(0))
                .min(NAP)
        });
        tokio::select! {
            () = tokio::time::sleep(until) => {}
            () = core.nudged() => {}
            () = stop.stopped() => return,
        }
    }
}

async fn look_at(core: &Arc<Core>, arn: &ExecutionArn) {
    let known = core.index().get(&arn.id).map(|(_, head)| (head.status, head.due));
    let Some((status, due)) = known else { return };
    let over = !status.is_open() && (status == Status::Deleting || due <= core.now());
    let looked = match over {
        true => match take_leave(core, arn).await {
            Ok(()) => core.remove(arn).await,
            not_told => not_told,
        },
        false => core.view(arn, |_, _| ()).await,
    };
    if let Err(error) = looked {
        tracing::warn!(%arn, %error, "an execution cannot go on; it is tried again");
        core.arm(&arn.id, core.now().saturating_add(AGAIN));
    }
}

pub struct NewInvocation {
    pub request_id: String,
    pub payload: Vec<u8>,
    pub trace: Option<String>,
    pub tenant: Option<String>,
    /// Milliseconds since the epoch.
    pub started: i64,
}

/// Invokes the function of an execution, and says what came of it.
pub async fn invoke(core: Arc<Core>, arn: ExecutionArn, new: NewInvocation) {
    let stop = core.env.tasks.stop_signal();
    let NewInvocation { request_id, payload, trace, tenant, started } = new;
    let function =
        FunctionRef { function: arn.function.clone(), qualifier: Some(arn.version.clone()) };
    let call = Call {
        trace_id: trace,
        tenant,
        within_execution: true,
        ..Call::new(function, request_id.clone(), payload.into())
    };
    let ended = called(&core, call).await;
    let written = match ended {
        // Whatever the end of the server did to it, the next one makes good.
        Ok(Invoked { outcome, .. }) if outcome.function_error.is_some() && stop.is_stopped() => {
            return;
        }
        Ok(Invoked { outcome, .. }) => {
            let answer = match outcome.function_error {
                None => Ok(outcome.payload.to_vec()),
                Some(_) => Err(function_error(&outcome.payload)),
            };
            let invocation = Invocation { request_id, started, answer };
            let settled = invocation.request_id.clone();
            core.act(
                &arn,
                move |machine, now| Ok(machine.completed(&invocation, now)),
                move |machine, _| machine.settled(&settled),
            )
            .await
        }
        Err(error) if is_final(&error) => {
            let gone = request_id.clone();
            core.act(
                &arn,
                move |machine, _| Ok(machine.fail(&request_id, invoke_error(&error))),
                move |machine, _| machine.settled(&gone),
            )
            .await
        }
        Err(error) => {
            tracing::debug!(%arn, %error, "an execution has to wait for its invocation");
            core.view(&arn, move |machine, now| machine.not_called(&request_id, now)).await
        }
    };
    report(&arn, written);
}

async fn called(core: &Arc<Core>, call: Call) -> Result<Invoked, InvokeError> {
    match core.ways() {
        Ok(ways) => ways.invoker.invoke(call).await,
        Err(error) => Err(InvokeError::Refused(CatalogError::Unavailable(error.to_string()))),
    }
}

fn report(arn: &ExecutionArn, written: Result<(), DurableError>) {
    match written {
        Ok(()) | Err(DurableError::NotFound) => {}
        Err(error) => tracing::warn!(%arn, %error, "what happened to an execution is not written"),
    }
}

/// The error document of a runtime, in the words of executions.
fn function_error(payload: &[u8]) -> ErrorObject {
    let document: Value = serde_json::from_slice(payload).unwrap_or_default();
    if document["errorMessage"].is_null() && document["errorType"].is_null() {
        let text = String::from_utf8_lossy(payload).into_owned();
        return ErrorObject::new("Unhandled", text);
    }
    let error = json!({
        "ErrorMessage": document["errorMessage"],
        "ErrorType": document["errorType"],
        "StackTrace": document["stackTrace"],
    });
    ErrorObject::read(&error).unwrap_or_default()
}

fn failed(error: ErrorObject) -> Ended {
    (End::Failed, None, Some(error))
}

/// Makes the chained invoke of the operation `id`.
pub async fn call(core: Arc<Core>, arn: ExecutionArn, id: Text, mut chained: Chained) {
    let own = core.index().get(&arn.id).and_then(|(_, head)| head.trace.clone());
    if let Ok(ways) = core.ways() {
        let trace = (ways.trace)(chained.trace.as_deref(), own.as_deref(), &arn.function);
        chained.trace = Some(trace.into());
    }
    let ended = match chained.execution.as_deref().map(ExecutionArn::parse) {
        None => call_once(&core, &arn, chained).await,
        Some(None) => Some(failed(not_found(&chained.function))),
        Some(Some(child)) => call_durable(&core, (&arn, &id), child, chained).await,
    };
    // Else it goes on by itself, or the server ends, and the next one calls again.
    if let Some(ended) = ended {
        chained_ended(&core, &arn, &id, ended).await;
    }
}

/// A function that is not durable, called once.
async fn call_once(core: &Arc<Core>, arn: &ExecutionArn, chained: Chained) -> Option<Ended> {
    let stop = core.env.tasks.stop_signal();
    let function = match read_function(arn, &chained.function) {
        Ok(function) => function,
        Err(error) => return Some(failed(error_of(&error))),
    };
    let payload = chained.input.map(|input| input.as_bytes().to_vec()).unwrap_or_default();
    let call = Call {
        trace_id: chained.trace.map(|trace| trace.to_string()),
        tenant: chained.tenant.map(|tenant| tenant.to_string()),
        ..Call::new(function, core.env.random.uuid(), payload.into())
    };
    let outcome = match called(core, call).await {
        Ok(invoked) => invoked.outcome,
        Err(_) if stop.is_stopped() => return None,
        Err(error) => return Some(failed(invoke_error(&error))),
    };
    if outcome.function_error.is_some() {
        return (!stop.is_stopped()).then(|| failed(function_error(&outcome.payload)));
    }
    let text =
        |message: String| ErrorObject { error_message: Some(message.into()), ..Default::default() };
    Some(match std::str::from_utf8(&outcome.payload) {
        _ if outcome.payload.len() > OUTPUT => failed(text(format!(
            "CHAINED_INVOKE output payload size must be less than or equal to {OUTPUT} bytes."
        ))),
        Ok(result) => (End::Succeeded, (!result.is_empty()).then(|| result.into()), None),
        Err(_) => failed(text("CHAINED_INVOKE response could not be decoded as UTF-8.".to_owned())),
    })
}

/// AWS: the error of the API is that of the operation.
pub fn invoke_error(error: &InvokeError) -> ErrorObject {
    let kind = match error {
        InvokeError::Refused(CatalogError::NotFound(_)) => "ResourceNotFoundException",
        InvokeError::Refused(CatalogError::Invalid(_) | CatalogError::Untyped(_)) => {
            "InvalidParameterValueException"
        }
        InvokeError::Refused(CatalogError::Unavailable(_)) => "ServiceException",
        InvokeError::Refused(_) => "ResourceConflictException",
        InvokeError::Throttled(_) => "TooManyRequestsException",
        InvokeError::Recursive(_) => "RecursiveInvocationException",
        InvokeError::Start { .. } => "ServiceException",
    };
    ErrorObject::new(kind, error.to_string())
}

/// Whether it would be refused again.
fn is_final(error: &InvokeError) -> bool {
    use CatalogError::{Invalid, Missing, NotFound, Untyped};
    match error {
        InvokeError::Refused(error) => {
            matches!(error, NotFound(_) | Invalid(_) | Untyped(_) | Missing(_))
        }
        InvokeError::Recursive(_) => true,
        InvokeError::Throttled(_) | InvokeError::Start { .. } => false,
    }
}

fn error_of(error: &DurableError) -> ErrorObject {
    ErrorObject::new("InvalidParameterValueException", error.to_string())
}

/// Of an execution that is not there any more to say how it ended.
fn gone() -> ErrorObject {
    ErrorObject::new("ResourceNotFoundException", DurableError::NotFound.to_string())
}

/// An execution of its own, which tells its end by itself: `None` once it goes on, and where nobody
/// needs it any more.
async fn call_durable(
    core: &Arc<Core>,
    (arn, id): (&ExecutionArn, &Text),
    child: ExecutionArn,
    chained: Chained,
) -> Option<Ended> {
    let known = core.index().get(&child.id).map(|(_, head)| head.status);
    match known {
        Some(status) if status.is_open() => {}
        Some(_) => {
            let ended = insist(core, arn, || core.outcome(&child)).await?;
            return Some(ended.ok().flatten().unwrap_or_else(|| failed(gone())));
        }
        None => {
            let new = match new_execution(core, &child, chained) {
                Ok(new) => new,
                Err(error) => return Some(failed(error)),
            };
            let parent = Parent { execution: arn.to_string(), operation: id.to_string() };
            let make = || core.make(&child, new.clone(), Some(parent.clone()));
            if let Err(error) = insist(core, arn, make).await? {
                return Some(failed(error_of(&error)));
            }
        }
    }
    // It may take long, and needs no memory for that here.
    let handed = id.clone();
    report(arn, core.view(arn, move |machine, _| machine.handed_over(&handed)).await);
    None
}

fn new_execution(
    core: &Core,
    child: &ExecutionArn,
    chained: Chained,
) -> Result<NewExecution, ErrorObject> {
    let function =
        FunctionRef { function: child.function.clone(), qualifier: Some(child.version.clone()) };
    let ways = core.ways().map_err(|error| error_of(&error))?;
    let target = (ways.resolve)(&function, chained.tenant.as_deref());
    let target = target.map_err(|error| invoke_error(&error.into()))?;
    Ok(NewExecution {
        function: child.function.clone(),
        version: child.version.clone(),
        name: None,
        input: chained.input,
        synchronous: false,
        trace_id: chained.trace.map(|trace| trace.to_string()),
        tenant: chained.tenant.map(|tenant| tenant.to_string()),
        settings: target.durable.ok_or_else(|| not_found(&child.function_arn()))?,
    })
}

fn is_open(core: &Core, arn: &ExecutionArn) -> bool {
    core.index().get(&arn.id).is_some_and(|(_, head)| head.status.is_open())
}

/// Does what the execution `arn` needs until it works or can never work, with growing pauses.
/// `None` when the execution does not need it any more, or the server ends: the next one does it.
async fn insist<T, F>(core: &Core, arn: &ExecutionArn, attempt: impl Fn() -> F) -> Option<Done<T>>
where
    F: Future<Output = Done<T>>,
{
    let mut stop = core.env.tasks.stop_signal();
    let mut pause = PAUSE;
    loop {
        match attempt().await {
            Err(error @ (DurableError::Throttled | DurableError::Unavailable(_))) => {
                tracing::warn!(%arn, %error, "an execution waits for its chained invoke");
            }
            done => return Some(done),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.stopped() => return None,
        }
        if !is_open(core, arn) {
            return None;
        }
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

type Done<T> = Result<T, DurableError>;

/// Lets an execution know how the one that it started has ended.
pub async fn tell_parent(core: Arc<Core>, parent: Parent, ended: Ended) {
    let Some(arn) = ExecutionArn::parse(&parent.execution) else { return };
    chained_ended(&core, &arn, &parent.operation.into(), ended).await;
}

/// The same for one that is about to be removed, which could not be asked for its end any more, and
/// would be started again.
async fn take_leave(core: &Arc<Core>, child: &ExecutionArn) -> Result<(), DurableError> {
    let parent = core.index().get(&child.id).and_then(|(_, head)| head.parent.clone());
    let Some(parent) = parent else { return Ok(()) };
    let Some(arn) = ExecutionArn::parse(&parent.execution) else { return Ok(()) };
    if !is_open(core, &arn) {
        return Ok(());
    }
    let ended = core.outcome(child).await?.unwrap_or_else(|| failed(gone()));
    match write_end(core, &arn, &parent.operation.into(), ended).await {
        Err(DurableError::NotFound) => Ok(()),
        written => written,
    }
}

async fn chained_ended(core: &Arc<Core>, arn: &ExecutionArn, id: &Text, ended: Ended) {
    let written = insist(core, arn, || write_end(core, arn, id, ended.clone())).await;
    report(arn, written.unwrap_or(Ok(())));
}

async fn write_end(
    core: &Arc<Core>,
    arn: &ExecutionArn,
    id: &Text,
    ended: Ended,
) -> Result<(), DurableError> {
    let (id, over) = (id.clone(), id.clone());
    core.act(
        arn,
        move |machine, _| Ok(machine.chained_ended(&id, ended)),
        move |machine, _| machine.uncalled(&over),
    )
    .await
}
