//! PutFunctionScalingConfig and GetFunctionScalingConfig: how many environments a version on
//! Managed Instances may have. Kept and shown again; there are no such instances here.

use super::documents::{self, SCALING};
use super::settings::invalid;
use super::{Request, catalog_error, function_ref};
use lamplight_model::FunctionRef;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn put(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    if !record.is_managed() {
        // AWS: an odd code for it.
        return Err(ApiError::new(
            "AccessDeniedException",
            "The function provided by the arn does not contain a capacity provider configuration",
        )
        .with_status(403));
    }
    let key = documents::of_qualifier(SCALING, &function);
    let config = request.input.get("FunctionScalingConfig").and_then(Value::as_object);
    let bound = |name: &str| config.and_then(|config| config.get(name)?.as_u64());
    let (least, most) = (bound("MinExecutionEnvironments"), bound("MaxExecutionEnvironments"));
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(invalid(
            "MinExecutionEnvironments must not be greater than MaxExecutionEnvironments.",
        ));
    }
    match (least, most) {
        // A configuration of nothing is none.
        (None, None) => {
            documents::delete(request, &key).await?;
        }
        (least, most) => {
            let mut body = Map::new();
            body.extend(least.map(|n| ("MinExecutionEnvironments".to_owned(), json!(n))));
            body.extend(most.map(|n| ("MaxExecutionEnvironments".to_owned(), json!(n))));
            documents::change(request, &key, |_| Ok(Value::Object(body.clone()))).await?;
        }
    }
    Output::of(json!({ "FunctionState": "Active" }))
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = existing(request)?;
    let mut members = Map::new();
    members.insert("FunctionArn".to_owned(), json!(function.arn()));
    if let Some(config) = documents::get(request, &documents::of_qualifier(SCALING, &function)) {
        members.insert("AppliedFunctionScalingConfig".to_owned(), (*config.body).clone());
        members.insert("RequestedFunctionScalingConfig".to_owned(), (*config.body).clone());
    }
    Ok(Output { members, ..Output::default() })
}

fn existing(request: &Request<'_>) -> Result<FunctionRef, ApiError> {
    let function = function_ref(request)?;
    request.parts.catalog.get(&function).map_err(catalog_error)?;
    Ok(function)
}
