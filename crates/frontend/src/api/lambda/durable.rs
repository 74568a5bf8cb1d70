//! Durable executions: what the SDK in a function asks for, and what people ask about them.

use super::settings::{flag, invalid, text, texts};
use super::{catalog_error, function_ref};
use crate::api::Request;
use lamplight_model::Qualifier;
use lamplight_rpc::{
    CallbackAnswer, DurableError, ErrorObject, ExecutionArn, ExecutionFilter, ExecutionPage,
    PauseRequest,
};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn checkpoint(request: &Request<'_>) -> Result<Output, ApiError> {
    let token = text(request.input, "CheckpointToken").unwrap_or_default();
    let client_token = text(request.input, "ClientToken");
    let updates = request.input.get("Updates").and_then(Value::as_array).cloned();
    let arn = arn(request)?;
    let updates = updates.unwrap_or_default();
    members(request.parts.durable.checkpoint(&arn, &token, client_token, updates).await)
}

pub async fn state(request: &Request<'_>) -> Result<Output, ApiError> {
    let token = text(request.input, "CheckpointToken").unwrap_or_default();
    members(request.parts.durable.state(&arn(request)?, &token, page(request)).await)
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    members(request.parts.durable.get(&arn(request)?, with_data(request)).await)
}

pub async fn history(request: &Request<'_>) -> Result<Output, ApiError> {
    let (arn, data) = (arn(request)?, with_data(request));
    members(request.parts.durable.history(&arn, page(request), data).await)
}

pub async fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let statuses = texts(request.input, "Statuses").unwrap_or_default();
    if statuses.len() > 1 {
        return Err(invalid("Cannot filter by more than one status"));
    }
    let function = function_ref(request)?;
    // AWS: the function has to be there, and an alias stands for its version.
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    let version = match &function.qualifier {
        None => None,
        Some(Qualifier::Alias(_)) => Some(record.version()),
        Some(version) => Some(version.clone()),
    };
    let time = |name: &str| {
        let seconds = request.input.get(name)?.as_f64()?;
        Some((seconds * 1000.0) as i64)
    };
    let filter = ExecutionFilter {
        version,
        name: text(request.input, "DurableExecutionName"),
        statuses,
        started_after: time("StartedAfter"),
        started_before: time("StartedBefore"),
    };
    members(request.parts.durable.list(&function.function, &filter, &page(request)))
}

pub async fn stop(request: &Request<'_>) -> Result<Output, ApiError> {
    let (arn, error) = (arn(request)?, error(request));
    let at = request.parts.durable.stop(&arn, error).await.map_err(durable_error)?;
    Output::of(json!({ "StopTimestamp": seconds(at) }))
}

pub async fn pause(request: &Request<'_>) -> Result<Output, ApiError> {
    let paused = request.parts.durable.pause(&arn(request)?, pause_request(request)).await;
    paused.map(|()| Output::empty()).map_err(durable_error)
}

pub async fn resume(request: &Request<'_>) -> Result<Output, ApiError> {
    let resumed = request.parts.durable.resume(&arn(request)?, pause_request(request)).await;
    resumed.map(|()| Output::empty()).map_err(durable_error)
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    request.parts.durable.delete(&arn(request)?).await.map_err(durable_error)?;
    let now = request.parts.env.clock.now().millis();
    Output::of(json!({ "DeletionRequestTimestamp": seconds(now) }))
}

pub async fn callback_success(request: &Request<'_>) -> Result<Output, ApiError> {
    let result =
        request.payload.as_ref().map(|payload| std::str::from_utf8(payload).map(Into::into));
    let result = result.transpose();
    let result = result.map_err(|_| invalid("The result of a callback must be text in UTF-8."))?;
    answer(request, CallbackAnswer::Success(result)).await
}

pub async fn callback_failure(request: &Request<'_>) -> Result<Output, ApiError> {
    answer(request, CallbackAnswer::Failure(error(request))).await
}

pub async fn callback_heartbeat(request: &Request<'_>) -> Result<Output, ApiError> {
    answer(request, CallbackAnswer::Heartbeat).await
}

async fn answer(request: &Request<'_>, answer: CallbackAnswer) -> Result<Output, ApiError> {
    let id = text(request.input, "CallbackId").unwrap_or_default();
    let answered = request.parts.durable.callback(request.scope, &id, answer).await;
    answered.map(|()| Output::empty()).map_err(durable_error)
}

/// The execution that a request names. One of another account or region is none here.
fn arn(request: &Request<'_>) -> Result<ExecutionArn, ApiError> {
    let given = text(request.input, "DurableExecutionArn").unwrap_or_default();
    let arn = ExecutionArn::parse(&given).filter(|arn| arn.function.scope == *request.scope);
    arn.ok_or_else(|| durable_error(DurableError::NotFound))
}

fn page(request: &Request<'_>) -> ExecutionPage {
    let max = request.input.get("MaxItems").and_then(Value::as_u64);
    ExecutionPage {
        marker: text(request.input, "Marker"),
        max: max.and_then(|max| usize::try_from(max).ok()).unwrap_or(0),
        reverse: flag(request.input, "ReverseOrder"),
    }
}

/// AWS: data is shown where nothing is said.
fn with_data(request: &Request<'_>) -> bool {
    request.input.get("IncludeExecutionData").and_then(Value::as_bool).unwrap_or(true)
}

fn pause_request(request: &Request<'_>) -> PauseRequest {
    PauseRequest {
        client_token: text(request.input, "ClientToken"),
        reason: text(request.input, "Reason").map(Into::into),
        timeout_paused: flag(request.input, "ExecutionTimeoutPaused"),
    }
}

fn error(request: &Request<'_>) -> Option<ErrorObject> {
    request.input.get("Error").and_then(ErrorObject::read)
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

fn members(answer: Result<Map<String, Value>, DurableError>) -> Result<Output, ApiError> {
    let members = answer.map_err(durable_error)?;
    Ok(Output { members, ..Output::default() })
}

/// The one table from the refusals of executions to AWS's.
pub fn durable_error(error: DurableError) -> ApiError {
    let message = error.to_string();
    let code = match error {
        DurableError::Invalid(_) => "InvalidParameterValueException",
        DurableError::NotFound => "ResourceNotFoundException",
        DurableError::Conflict(_) => "ResourceConflictException",
        DurableError::AlreadyStarted(_) => "DurableExecutionAlreadyStartedException",
        DurableError::CallbackClosed => "CallbackTimeoutException",
        DurableError::Throttled => "TooManyRequestsException",
        DurableError::Unavailable(cause) => return super::unavailable(&cause),
    };
    ApiError::new(code, message)
}
