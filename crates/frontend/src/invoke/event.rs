//! Calls that nobody waits for: answered once the event is stored.

use super::{Asked, ask, trace};
use crate::api::Request;
use crate::api::lambda::unavailable;
use lamplight_model::limits;
use lamplight_rpc::{Event, EventRefused};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

/// The operation of 2014 for what is Invoke with the invocation type `Event` today.
pub async fn invoke_async(request: &Request<'_>) -> Result<Output, ApiError> {
    accept(request, ask(request)?, "Status").await
}

pub async fn accept(
    request: &Request<'_>,
    Asked { function, payload, .. }: Asked,
    status: &str,
) -> Result<Output, ApiError> {
    let parts = request.parts;
    let bytes = payload.len();
    check_size(bytes)?;
    let tenant = request.input.get("TenantId").and_then(Value::as_str);
    let trace_id =
        trace::given(&request.head.headers).unwrap_or_else(|| parts.functions.new_trace());
    let event = Event {
        function,
        request_id: request.request_id.to_owned(),
        payload,
        trace_id: trace_id.clone(),
        tenant: tenant.map(str::to_owned),
    };
    parts.events.accept(event).await.map_err(|error| refused(bytes, error))?;
    let mut output = Output { status: Some(202), trace_id: Some(trace_id), ..Output::default() };
    output.members.insert(status.to_owned(), json!(202));
    Ok(output)
}

fn refused(bytes: usize, error: EventRefused) -> ApiError {
    match error {
        EventRefused::Full | EventRefused::Busy => {
            ApiError::new("TooManyRequestsException", "Rate Exceeded.")
                .with("Reason", "CallerRateLimitExceeded")
                .with("retryAfterSeconds", "1")
        }
        EventRefused::TooLarge => too_large(bytes),
        EventRefused::Unavailable(cause) => unavailable(&cause),
    }
}

/// Refuses what is too large for a call that nobody waits for.
pub fn check_size(bytes: usize) -> Result<(), ApiError> {
    if bytes > limits::EVENT_PAYLOAD { Err(too_large(bytes)) } else { Ok(()) }
}

fn too_large(bytes: usize) -> ApiError {
    let most = limits::EVENT_PAYLOAD;
    ApiError::new(
        "RequestTooLargeException",
        format!(
            "{bytes} byte payload is too large for the Event invocation type (limit {most} bytes)"
        ),
    )
}
