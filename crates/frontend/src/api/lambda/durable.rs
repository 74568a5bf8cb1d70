//! Durable executions, as far as can be said without any: no call here makes one yet, so a list of
//! them is empty and an ARN names none.

use super::settings::text;
use super::{catalog_error, function_ref};
use crate::api::Request;
use lamplight_wire::{ApiError, Output};
use serde_json::json;

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    request.parts.catalog.get(&function).map_err(catalog_error)?;
    Output::of(json!({ "DurableExecutions": [] }))
}

/// Every operation on one execution.
pub fn none(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = text(request.input, "DurableExecutionArn").unwrap_or_default();
    Err(ApiError::new("ResourceNotFoundException", format!("Durable execution not found: {arn}")))
}
