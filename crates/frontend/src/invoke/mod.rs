//! Invoke: what HTTP asks for and gets, around the way of every call.
//!
//! Nothing here waits for the store. A caller that hangs up does not end the call: it runs on, is
//! logged, and gives back what it held.

mod event;
mod executions;
mod lineage;
mod outlive;
mod running;
mod shaping;
mod stream;
mod trace;
mod way;

pub use event::invoke_async;
pub use stream::invoke_with_response_stream;
pub use way::Functions;

use crate::api::Request;
use crate::api::lambda::{catalog_error, function_ref, invalid};
use base64::Engine as _;
use bytes::Bytes;
use lamplight_model::{FunctionRef, Target, limits};
use lamplight_rpc::{Call, InvokeError, Invoked, StartError, Throttled};
use lamplight_wire::{ApiError, Output, check_payload};
use outlive::Outlive;
use serde_json::{Value, json};
use std::sync::Arc;
use way::Admitted;

pub async fn invoke(request: &Request<'_>) -> Result<Output, ApiError> {
    let asked = ask(request)?;
    if let Some(settings) = asked.target.durable {
        let called = (&asked.function, &*asked.target, settings);
        return executions::invoke(request, called, &asked.payload).await;
    }
    if request.input.get("InvocationType").and_then(Value::as_str) == Some("Event") {
        return event::accept(request, asked, "StatusCode").await;
    }
    let Some(admitted) = check(request, asked)? else { return Ok(dry_run()) };
    let parts = request.parts;
    let call = Outlive::new(&parts.env.tasks, parts.functions.run(admitted));
    call.await.map(reply).map_err(invoke_error)
}

/// What a request means to call, and with what.
struct Asked {
    function: FunctionRef,
    target: Arc<Target>,
    payload: Bytes,
}

fn ask(request: &Request<'_>) -> Result<Asked, ApiError> {
    let function = function_ref(request)?;
    let payload = request.payload.clone().unwrap_or_default();
    check_payload(&payload)?;
    let tenant = request.input.get("TenantId").and_then(Value::as_str);
    let target = request.parts.functions.resolve(&function, tenant).map_err(catalog_error)?;
    Ok(Asked { function, target, payload })
}

/// What every kind of call has to pass. `None` for a caller that only wants to know.
fn check(request: &Request<'_>, asked: Asked) -> Result<Option<Admitted>, ApiError> {
    let Asked { function, target, payload } = asked;
    let member = |name: &str| request.input.get(name).and_then(Value::as_str);
    let tenant = member("TenantId");
    if member("InvocationType") == Some("DryRun") {
        return Ok(None);
    }
    if member("DurableExecutionName").is_some() {
        return Err(invalid("Only calls of durable functions can have a DurableExecutionName."));
    }
    let call = Call {
        client_context: member("ClientContext").map(client_context).transpose()?,
        trace_id: trace::given(&request.head.headers),
        tenant: tenant.map(str::to_owned),
        tail: member("LogType") == Some("Tail"),
        ..Call::new(function, request.request_id, payload)
    };
    request.parts.functions.admit(target, call).map(Some).map_err(invoke_error)
}

fn dry_run() -> Output {
    Output { status: Some(204), ..Output::default() }
}

fn reply(Invoked { outcome, version, trace_id }: Invoked) -> Output {
    let mut output = Output {
        payload: Some(outcome.payload),
        trace_id: Some(trace_id.to_string()),
        ..Output::default()
    };
    let mut set = |name: &str, value: Value| output.members.insert(name.to_owned(), value);
    set("StatusCode", json!(200));
    set("ExecutedVersion", json!(version.to_string()));
    if let Some(error) = outcome.function_error {
        set("FunctionError", json!(error));
    }
    if let Some(tail) = outcome.log_tail {
        set("LogResult", json!(base64::engine::general_purpose::STANDARD.encode(tail)));
    }
    output
}

/// The client context as functions get it: the JSON text behind the base64.
fn client_context(encoded: &str) -> Result<String, ApiError> {
    let invalid = |why: &str| {
        ApiError::new("InvalidRequestContentException", format!("Client context {why}."))
    };
    if encoded.len() > limits::CLIENT_CONTEXT {
        return Err(invalid("must be no more than 3583 bytes long"));
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|_| invalid("must be a valid Base64-encoded JSON object"))?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|_| invalid("must be a valid Base64-encoded JSON object"))?;
    if !value.is_object() {
        return Err(invalid("must be a valid Base64-encoded JSON object"));
    }
    // Compact text has no line breaks, so it can be a header of the Runtime API.
    Ok(value.to_string())
}

fn invoke_error(error: InvokeError) -> ApiError {
    match error {
        InvokeError::Refused(error) => catalog_error(error),
        InvokeError::Throttled(error) => throttled(error),
        recursive @ InvokeError::Recursive(_) => {
            ApiError::new("RecursiveInvocationException", recursive.to_string())
        }
        InvokeError::Start { error, .. } => start_error(error),
    }
}

fn throttled(throttled: Throttled) -> ApiError {
    ApiError::new("TooManyRequestsException", throttled.to_string())
        .with("Reason", throttled.reason)
        .with("retryAfterSeconds", throttled.retry_after_seconds.to_string())
}

/// The one table from a start's failures to AWS's errors.
fn start_error(error: StartError) -> ApiError {
    let message = error.to_string();
    match error {
        StartError::RuntimeMissing(_) => ApiError::new("InvalidRuntimeException", message),
        StartError::Code(_) => {
            tracing::error!(%message, "code could not be prepared");
            ApiError::new("InvalidZipFileException", message)
        }
        StartError::Sandbox(_) | StartError::Gone | StartError::Init(_) => {
            tracing::error!(%message, "no environment could be started");
            ApiError::new("ServiceException", message).with_status(500)
        }
        StartError::Memory(_) => {
            tracing::warn!(%message, "no environment could be started");
            ApiError::new("ServiceException", message).with_status(503)
        }
        StartError::Throttled(error) => throttled(error),
        StartError::Stopping => ApiError::new("ServiceException", message).with_status(503),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    #[test]
    fn a_client_context_is_a_small_base64_object() {
        assert_eq!(client_context(&encode("{\"custom\":\n{}}")).unwrap(), "{\"custom\":{}}");
        for bad in ["%%%".to_owned(), encode("[]"), encode("nope"), "A".repeat(4000)] {
            assert_eq!(client_context(&bad).unwrap_err().code, "InvalidRequestContentException");
        }
    }
}
