//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.

use super::{Request, catalog_error, function_ref};
use lamplight_model::{FunctionRef, Qualifier};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

pub async fn put(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let asked = request.input.get("ReservedConcurrentExecutions").and_then(Value::as_u64);
    // The model says that it is there and not negative; what is too large is more than any limit.
    let reserved = u32::try_from(asked.unwrap_or(0)).unwrap_or(u32::MAX);
    let catalog = &request.parts.catalog;
    catalog.reserve(&function, Some(reserved)).await.map_err(catalog_error)?;
    Output::of(json!({ "ReservedConcurrentExecutions": reserved }))
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    // AWS: names `$LATEST` when there is no such function.
    let latest = FunctionRef { qualifier: Some(Qualifier::Latest), ..function_ref(request)? };
    let latest = request.parts.catalog.get(&latest).map_err(catalog_error)?;
    match latest.reserved {
        Some(reserved) => Output::of(json!({ "ReservedConcurrentExecutions": reserved })),
        None => Ok(Output::empty()),
    }
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    request.parts.catalog.reserve(&function, None).await.map_err(catalog_error)?;
    Ok(Output::empty())
}
