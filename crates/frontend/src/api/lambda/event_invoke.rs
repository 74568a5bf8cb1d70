//! Event invoke configurations: what becomes of asynchronous calls of a qualifier. PUT replaces,
//! POST merges.

use super::documents::{self, EVENT_INVOKE, Whose};
use super::settings::invalid;
use super::{function_ref, keep_given};
use crate::access;
use crate::api::Request;
use lamplight_model::{FunctionRecord, FunctionRef};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};
use std::sync::Arc;

const LIMITS: [&str; 2] = ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"];

pub async fn put(request: &Request<'_>) -> Result<Output, ApiError> {
    write(request, false).await
}

pub async fn update(request: &Request<'_>) -> Result<Output, ApiError> {
    write(request, true).await
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let key = documents::of_qualifier(EVENT_INVOKE, &function);
    Output::of(&*documents::get(request, &key).ok_or_else(|| missing(&function))?.body)
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let key = documents::of_qualifier(EVENT_INVOKE, &function);
    let deleted = documents::delete(request, &key).await?;
    if deleted { Ok(Output::empty()) } else { Err(missing(&function)) }
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let mut function = function_ref(request)?;
    function.qualifier = None;
    require(request, &function)?;
    let owner = (EVENT_INVOKE, Whose::Owner(&function.function.name));
    documents::page(request, owner, "FunctionEventInvokeConfigs", |config| {
        Some((*config.body).clone())
    })
}

async fn write(request: &Request<'_>, merge: bool) -> Result<Output, ApiError> {
    let given = |name: &&str| request.input.get(*name).is_some_and(|value| !value.is_null());
    if !LIMITS.iter().chain(&["DestinationConfig"]).any(given) {
        return Err(invalid(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let function = function_ref(request)?;
    let record = require(request, &function)?;
    let destinations = request.input.get("DestinationConfig").filter(|value| !value.is_null());
    let destinations =
        destinations.map(|config| checked(request, &function, config)).transpose()?;
    for side in ["OnSuccess", "OnFailure"] {
        let named = destinations.as_ref().and_then(|shown| shown[side]["Destination"].as_str());
        if let Some(arn) = named {
            let asks = (&*function.function.name, &*record.settings.role);
            access::destination::check(request.parts, request.scope, asks, arn)?;
        }
    }
    let arn = function.function.qualified(&function.qualifier_or_latest());
    let now = request.parts.env.clock.now().millis() as f64 / 1000.0;
    let key = documents::of_qualifier(EVENT_INVOKE, &function);
    let written = documents::change(request, &key, |found| {
        let mut body = match (merge, found) {
            (true, None) => return Err(missing(&function)),
            (true, Some(found)) => found.clone(),
            (false, _) => json!({ "DestinationConfig": { "OnSuccess": {}, "OnFailure": {} } }),
        };
        keep_given(&mut body, request.input, &LIMITS);
        if let Some(destinations) = &destinations {
            body["DestinationConfig"] = destinations.clone();
        }
        body["FunctionArn"] = json!(arn);
        body["LastModified"] = json!(now);
        Ok(body)
    });
    Output::of(&*written.await?.body)
}

fn require(request: &Request<'_>, function: &FunctionRef) -> Result<Arc<FunctionRecord>, ApiError> {
    let missing = |_| ApiError::new("ResourceNotFoundException", "The function doesn't exist.");
    request.parts.catalog.get(function).map_err(missing)
}

fn missing(function: &FunctionRef) -> ApiError {
    let arn = function.function.qualified(&function.qualifier_or_latest());
    ApiError::new(
        "ResourceNotFoundException",
        format!("The function {arn} doesn't have an EventInvokeConfig"),
    )
}

/// The destinations as they are shown, if events may be sent there.
fn checked(
    request: &Request<'_>,
    function: &FunctionRef,
    config: &Value,
) -> Result<Value, ApiError> {
    let named = |side: &str| config[side]["Destination"].as_str().filter(|arn| !arn.is_empty());
    let (success, failure) = (named("OnSuccess"), named("OnFailure"));
    let possible = |destination: Option<&str>, on_failure: bool| match destination {
        None => Ok(true),
        Some(arn) => is_possible(request, function, (arn, on_failure)),
    };
    if !(possible(failure, true)? && possible(success, false)?) {
        let printed = |name: &str, destination: Option<&str>| match destination {
            Some(arn) => format!("{name}(destination={arn})"),
            None => "null".to_owned(),
        };
        return Err(invalid(format!(
            "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
            printed("OnSuccess", success),
            printed("OnFailure", failure),
        )));
    }
    let shown = |destination: Option<&str>| match destination {
        Some(arn) => json!({ "Destination": arn }),
        None => json!({}),
    };
    Ok(json!({ "OnSuccess": shown(success), "OnFailure": shown(failure) }))
}

fn is_possible(
    request: &Request<'_>,
    function: &FunctionRef,
    (arn, on_failure): (&str, bool),
) -> Result<bool, ApiError> {
    match arn.split(':').nth(2) {
        Some("lambda") => {
            let no_such = || invalid(format!("The destination ARN {arn} is invalid."));
            let other = FunctionRef::parse(request.scope, arn, None).map_err(|_| no_such())?;
            request.parts.catalog.get(&other).map_err(|_| no_such())?;
            if other.function == function.function {
                return Err(invalid("You can't specify the function as a destination for itself."));
            }
            Ok(true)
        }
        Some("sns" | "sqs") => Ok(!arn.ends_with(".fifo")),
        Some("events") => Ok(true),
        // AWS: a bucket takes failures only.
        Some("s3") => Ok(on_failure),
        _ => Ok(false),
    }
}
