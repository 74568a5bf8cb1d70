//! What executions want of the world: timers that go off, invocations, chained invokes, and word to
//! those whose chained invoke has ended.
//!
//! Level-triggered: nothing here decides anything, and what is lost is wished for again.

use super::facts::{End, Text};
use super::machine::Invocation;
use super::service::{Core, not_found, read_function};
use super::state::Chained;
use super::tables::{Parent, Status};
use super::updates;
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
        true => core.remove(arn).await,
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
        Err(InvokeError::Refused(CatalogError::NotFound(name))) => {
            let gone = request_id.clone();
            core.act(
                &arn,
                move |machine, _| Ok(machine.fail(&request_id, not_found(&name))),
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
    updates::error(&error).unwrap_or_default()
}

type Ended = (End, Option<Text>, Option<ErrorObject>);

fn failed(error: ErrorObject) -> Ended {
    (End::Failed, None, Some(error))
}

/// Makes the chained invoke of the operation `id`.
pub async fn call(core: Arc<Core>, arn: ExecutionArn, id: Text, chained: Chained) {
    let ended = match chained.execution.as_deref().map(ExecutionArn::parse) {
        None => call_once(&core, &arn, chained).await,
        Some(None) => Some(failed(not_found(&chained.function))),
        Some(Some(child)) => match call_durable(&core, (&arn, &id), child, chained).await {
            Ok(()) => return,
            Err(error) => Some(failed(error)),
        },
    };
    // Else the server ends, and the next one calls again.
    if let Some(ended) = ended {
        chained_ended(&core, &arn, id, ended).await;
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
fn invoke_error(error: &InvokeError) -> ErrorObject {
    let kind = match error {
        InvokeError::Refused(CatalogError::NotFound(_)) => "ResourceNotFoundException",
        InvokeError::Refused(_) => "ResourceConflictException",
        InvokeError::Throttled(_) => "TooManyRequestsException",
        _ => "ServiceException",
    };
    ErrorObject::new(kind, error.to_string())
}

fn error_of(error: &DurableError) -> ErrorObject {
    ErrorObject::new("InvalidParameterValueException", error.to_string())
}

/// An execution of its own, which tells its end by itself.
async fn call_durable(
    core: &Arc<Core>,
    (arn, id): (&ExecutionArn, &Text),
    child: ExecutionArn,
    chained: Chained,
) -> Result<(), ErrorObject> {
    let parent = Parent { execution: arn.to_string(), operation: id.to_string() };
    let known = core.index().get(&child.id).map(|(_, head)| head.status);
    match known {
        Some(status) if status.is_open() => return Ok(()),
        Some(_) => {
            tell_parent(Arc::clone(core), child, parent).await;
            return Ok(());
        }
        None => {}
    }
    let function =
        FunctionRef { function: child.function.clone(), qualifier: Some(child.version.clone()) };
    let target = (core.ways().map_err(|error| error_of(&error))?.resolve)(&function);
    let settings = target.ok().and_then(|target| target.durable);
    let settings = settings.ok_or_else(|| not_found(&child.function_arn()))?;
    let new = NewExecution {
        function: child.function.clone(),
        version: child.version.clone(),
        name: None,
        input: chained.input,
        synchronous: false,
        trace_id: chained.trace.map(|trace| trace.to_string()),
        tenant: chained.tenant.map(|tenant| tenant.to_string()),
        settings,
    };
    if let Err(error) = core.make(&child, new, Some(parent)).await {
        tracing::warn!(%child, %error, "a chained execution cannot be started; it is tried again");
        let again = id.clone();
        report(arn, core.view(arn, move |machine, _| machine.uncalled(&again)).await);
        core.arm(&arn.id, core.now().saturating_add(1_000));
    }
    Ok(())
}

/// Lets an execution know how the one that it started has ended.
pub async fn tell_parent(core: Arc<Core>, child: ExecutionArn, parent: Parent) {
    let Some(arn) = ExecutionArn::parse(&parent.execution) else { return };
    let ended = core
        .view(&child, |machine, _| {
            let outcome = machine.state.outcome.clone()?;
            Some(match outcome.end {
                End::TimedOut => {
                    let message =
                        format!("CHAINED_INVOKE timed out after {} seconds.", machine.head.timeout);
                    (outcome.end, None, Some(ErrorObject::new("ChainedInvoke.Timeout", message)))
                }
                end => (end, outcome.result, outcome.error),
            })
        })
        .await;
    if let Ok(Some(ended)) = ended {
        chained_ended(&core, &arn, parent.operation.into(), ended).await;
    }
}

async fn chained_ended(core: &Arc<Core>, arn: &ExecutionArn, id: Text, ended: Ended) {
    let over = id.clone();
    let written = core
        .act(
            arn,
            move |machine, _| Ok(machine.chained_ended(&id, ended)),
            move |machine, _| machine.uncalled(&over),
        )
        .await;
    report(arn, written);
}
