//! Calls of durable functions: each starts an execution, or finds the one that its name has started.

use super::event::check_size;
use super::{dry_run, trace};
use crate::Parts;
use crate::api::Request;
use crate::api::lambda::{durable_error, invalid};
use bytes::Bytes;
use lamplight_model::{DurableSettings, FunctionRef, Target};
use lamplight_rpc::{
    After, DurableError, DurableExecutions, ErrorObject, ExecutionArn, Finished, NewExecution,
    Outcome,
};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// AWS: how long somebody may wait for an execution.
const SYNCHRONOUS: Duration = Duration::from_secs(15 * 60);

/// Invoke of a durable function.
pub async fn invoke(
    request: &Request<'_>,
    (function, target, settings): (&FunctionRef, &Target, DurableSettings),
    payload: &[u8],
) -> Result<Output, ApiError> {
    // AWS: an execution stays with the version that it began with, so that has to be meant.
    if function.qualifier.is_none() {
        return Err(invalid("You cannot invoke a durable function using an unqualified ARN."));
    }
    let member = |name: &str| request.input.get(name).and_then(Value::as_str);
    let synchronous = match member("InvocationType").unwrap_or("RequestResponse") {
        "DryRun" => return Ok(dry_run()),
        "Event" => false,
        _ => true,
    };
    if synchronous && u64::from(settings.timeout) > SYNCHRONOUS.as_secs() {
        return Err(invalid(
            "You cannot synchronously invoke a durable function with an executionTimeout greater than 15 minutes.",
        ));
    }
    if !synchronous {
        check_size(payload.len())?;
    }
    let trace_id = trace::given(&request.head.headers);
    let new = NewExecution {
        name: member("DurableExecutionName").map(str::to_owned),
        trace_id: trace_id.clone(),
        tenant: member("TenantId").map(str::to_owned),
        synchronous,
        ..new(target, settings, payload).map_err(durable_error)?
    };
    let parts = request.parts;
    let arn = parts.durable.start(new).await.map_err(durable_error)?;
    let mut members = Map::new();
    members.insert("DurableExecutionArn".to_owned(), json!(arn.to_string()));
    members.insert("ExecutedVersion".to_owned(), json!(arn.version.to_string()));
    if !synchronous {
        members.insert("StatusCode".to_owned(), json!(202));
        return Ok(Output { members, status: Some(202), trace_id, ..Output::default() });
    }
    let finished = end(parts, &arn).await?;
    members.insert("StatusCode".to_owned(), json!(200));
    if !finished.succeeded {
        members.insert("FunctionError".to_owned(), json!("Unhandled"));
    }
    Ok(Output { members, payload: Some(payload_of(finished)), trace_id, ..Output::default() })
}

async fn end(parts: &Parts, arn: &ExecutionArn) -> Result<Finished, ApiError> {
    let mut stop = parts.env.tasks.stop_signal();
    // The execution goes on in either case, and can be asked for by its name.
    let gone = |message: &str| Err(ApiError::new("ServiceException", message).with_status(503));
    tokio::select! {
        finished = parts.durable.finished(arn) => finished.map_err(durable_error),
        () = tokio::time::sleep(SYNCHRONOUS) => gone("The durable execution is still going on."),
        () = stop.stopped() => gone("The server is shutting down; the durable execution goes on."),
    }
}

pub fn new(
    target: &Target,
    settings: DurableSettings,
    payload: &[u8],
) -> Result<NewExecution, DurableError> {
    let not_text = |_| DurableError::Invalid("The payload is no text in UTF-8.".to_owned());
    let text = std::str::from_utf8(payload).map_err(not_text)?;
    Ok(NewExecution {
        function: target.function.clone(),
        version: target.version.clone(),
        name: None,
        input: (!text.is_empty()).then(|| text.into()),
        synchronous: true,
        trace_id: None,
        tenant: None,
        settings,
    })
}

/// An execution in place of a call, for the rest of the server. Where nobody waits for its result,
/// it is over once it is started: the execution is durable, and tells its end by itself.
pub async fn run(
    durable: &dyn DurableExecutions,
    new: NewExecution,
) -> Result<Outcome, DurableError> {
    let waits = new.synchronous;
    let arn = match durable.start(new).await {
        // Named by its call, so it is of an earlier attempt, whatever its alias means by now.
        Err(DurableError::AlreadyStarted(arn)) => {
            ExecutionArn::parse(&arn).ok_or(DurableError::AlreadyStarted(arn))?
        }
        started => started?,
    };
    let finished = match waits {
        true => durable.finished(&arn).await?,
        false => Finished { succeeded: true, result: None, error: None },
    };
    Ok(Outcome {
        function_error: (!finished.succeeded).then_some("Unhandled"),
        payload: payload_of(finished),
        log_tail: None,
        after: After::Free,
    })
}

fn payload_of(finished: Finished) -> Bytes {
    match finished.succeeded {
        true => finished.result.map_or_else(Bytes::new, |result| result.as_bytes().to_vec().into()),
        false => error_document(&finished.error.unwrap_or_default()),
    }
}

/// The error as functions that are not durable answer it.
fn error_document(error: &ErrorObject) -> Bytes {
    let mut document = Map::new();
    let texts = [("errorMessage", &error.error_message), ("errorType", &error.error_type)];
    for (name, text) in texts {
        if let Some(text) = text {
            document.insert(name.to_owned(), json!(text));
        }
    }
    if let Some(lines) = &error.stack_trace {
        document.insert("stackTrace".to_owned(), json!(lines));
    }
    Value::Object(document).to_string().into()
}
