//! Two small settings beside a function: when its runtime is updated, and whether its recursive
//! loops are stopped.

use super::documents::{self, RECURSION, RUNTIME_MANAGEMENT};
use super::settings::{invalid, text};
use super::{catalog_error, function_ref};
use crate::api::Request;
use lamplight_model::{FunctionRecord, FunctionRef, Runtime};
use lamplight_rpc::DocumentKey;
use lamplight_wire::{ApiError, Output};
use serde_json::json;
use std::sync::Arc;

pub fn get_runtime_management(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, _) = existing(request)?;
    let key = documents::of_qualifier(RUNTIME_MANAGEMENT, &function);
    match documents::get(request, &key) {
        Some(config) => Output::of(&*config.body),
        None => Output::of(json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": function.arn() })),
    }
}

/// There is one build of each runtime here, the machine's: another one can be neither kept nor
/// gone back to, so only its ARN is taken.
pub async fn put_runtime_management(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, record) = existing(request)?;
    let update = text(request.input, "UpdateRuntimeOn").unwrap_or_default();
    let mut body = json!({ "UpdateRuntimeOn": update, "FunctionArn": function.arn() });
    match (text(request.input, "RuntimeVersionArn"), update == "Manual") {
        (None, false) => {}
        (None, true) => {
            return Err(invalid(
                "RuntimeVersionArn is required when UpdateRuntimeOn is set to Manual.",
            ));
        }
        (Some(_), false) => {
            return Err(invalid(
                "RuntimeVersionArn is only supported when UpdateRuntimeOn is set to Manual.",
            ));
        }
        (Some(arn), true) => {
            let runtime = record.settings.runtime.as_deref().unwrap_or_default();
            if arn != Runtime::version_arn(&request.scope.region, runtime) {
                return Err(invalid(format!(
                    "The runtime version {arn} is not available for {runtime} on this server."
                )));
            }
            body["RuntimeVersionArn"] = json!(arn);
        }
    }
    let key = documents::of_qualifier(RUNTIME_MANAGEMENT, &function);
    Output::of(&*documents::change(request, &key, |_| Ok(body.clone())).await?.body)
}

pub fn get_recursion(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, _) = existing(request)?;
    match documents::get(request, &recursion(&function)) {
        Some(config) => Output::of(&*config.body),
        None => Output::of(json!({ "RecursiveLoop": "Terminate" })),
    }
}

pub async fn put_recursion(request: &Request<'_>) -> Result<Output, ApiError> {
    let (function, _) = existing(request)?;
    let body = json!({ "RecursiveLoop": text(request.input, "RecursiveLoop") });
    let key = recursion(&function);
    Output::of(&*documents::change(request, &key, |_| Ok(body.clone())).await?.body)
}

fn recursion(function: &FunctionRef) -> DocumentKey {
    DocumentKey::only(RECURSION, &function.function.scope, &function.function.name)
}

fn existing(request: &Request<'_>) -> Result<(FunctionRef, Arc<FunctionRecord>), ApiError> {
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    Ok((function, record))
}
