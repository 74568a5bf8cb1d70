//! The synchronous way of a call, top to bottom: resolve, count, assign, call, settle.
//!
//! Nothing here waits for the store. A caller that hangs up does not end the call: it runs on, is
//! logged, and gives back what it held.

mod outlive;
mod running;
mod stream;

pub use stream::invoke_with_response_stream;

use crate::Parts;
use crate::api::Request;
use crate::api::lambda::{catalog_error, function_ref};
use base64::Engine as _;
use bytes::Bytes;
use http::HeaderMap;
use lamplight_env::Random;
use lamplight_model::{Target, limits};
use lamplight_rpc::{Invocation, Outcome, Slot, StartError, Throttled};
use lamplight_wire::{ApiError, Output, check_payload};
use outlive::Outlive;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many environments that turn out to be gone a call tries before it gives up.
const TRIES: usize = 16;

/// A call that passed all checks, with its unit of concurrency.
struct Checked {
    target: Arc<Target>,
    call: Invocation,
    slot: Slot,
}

pub async fn invoke(request: &Request<'_>) -> Result<Output, ApiError> {
    let Some(checked) = check(request)? else { return Ok(dry_run()) };
    let (target, trace_id) = (Arc::clone(&checked.target), checked.call.trace_id.clone());
    let outcome = Outlive::new(&request.parts.env.tasks, work(request, checked)).await?;
    Ok(Output { trace_id, ..reply(&target, outcome) })
}

/// What every kind of call has to pass. `None` for a caller that only wants to know.
fn check(request: &Request<'_>) -> Result<Option<Checked>, ApiError> {
    let function = function_ref(request)?;
    let payload = request.payload.clone().unwrap_or_default();
    check_payload(&payload)?;
    let target = request.parts.catalog.resolve(&function).map_err(catalog_error)?;
    let member = |name: &str| request.input.get(name).and_then(Value::as_str);
    match member("InvocationType").unwrap_or("RequestResponse") {
        "RequestResponse" => {}
        "DryRun" => return Ok(None),
        other => {
            return Err(ApiError::new(
                "InvalidParameterValueException",
                format!(
                    "InvocationType {other} is not supported by this server yet. Use RequestResponse."
                ),
            ));
        }
    }
    let call = Invocation {
        request_id: request.request_id.to_owned(),
        // AWS: a call without a payload is an empty event.
        payload: if payload.is_empty() { Bytes::from_static(b"{}") } else { payload },
        invoked_arn: function.arn(),
        client_context: member("ClientContext").map(client_context).transpose()?,
        trace_id: Some(trace_id(&request.head.headers, request)),
        tail: member("LogType") == Some("Tail"),
        stream: None,
    };
    let slot = request.parts.counting.admit(&target.function).map_err(throttled)?;
    Ok(Some(Checked { target, call, slot }))
}

fn dry_run() -> Output {
    Output { status: Some(204), ..Output::default() }
}

/// The call itself, for whoever drives it. It must be driven to its end.
fn work(
    request: &Request<'_>,
    Checked { target, call, slot }: Checked,
) -> impl Future<Output = Result<Outcome, ApiError>> + Send + 'static {
    run(Arc::clone(request.parts), target, call, slot)
}

async fn run(
    parts: Arc<Parts>,
    target: Arc<Target>,
    call: Invocation,
    _slot: Slot,
) -> Result<Outcome, ApiError> {
    for _ in 0..TRIES {
        let assigned = parts.manager.assign(&target).await.map_err(start_error)?;
        let ended = assigned.worker.invoke(assigned.id, call.clone()).await;
        let reusable = ended.as_ref().is_ok_and(|outcome| outcome.reusable);
        parts.manager.settle(assigned, reusable).await;
        match ended {
            // It ended while it was idle and has not seen the call.
            Err(StartError::Gone) => {}
            Err(error) => return Err(start_error(error)),
            Ok(outcome) => return Ok(outcome),
        }
    }
    Err(start_error(StartError::Gone))
}

fn reply(target: &Target, outcome: Outcome) -> Output {
    let mut output = Output { payload: Some(outcome.payload), ..Output::default() };
    let mut set = |name: &str, value: Value| output.members.insert(name.to_owned(), value);
    set("StatusCode", json!(200));
    set("ExecutedVersion", json!(target.version.to_string()));
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

/// The caller's trace where it sent one, else a new one that is not sampled.
fn trace_id(headers: &HeaderMap, request: &Request<'_>) -> String {
    let given = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    match given {
        Some(given) if given.contains("Root=") => given.to_owned(),
        _ => new_trace_id(request.parts.env.clock.now().seconds(), &*request.parts.env.random),
    }
}

fn new_trace_id(seconds: i64, random: &dyn Random) -> String {
    let bits = random.hex(20);
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=0", &bits[..24], &bits[24..])
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
        StartError::Stopping => ApiError::new("ServiceException", message).with_status(503),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::SeededRandom;

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

    #[test]
    fn trace_ids_have_the_xray_shape() {
        let id = new_trace_id(0x6561_0000, &SeededRandom::new(1));
        let parts: Vec<&str> = id.split([';', '=', '-']).collect();
        assert_eq!(parts[..3], ["Root", "1", "65610000"]);
        assert_eq!((parts[3].len(), parts[5].len()), (24, 16));
    }
}
