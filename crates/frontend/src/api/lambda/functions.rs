//! CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, UpdateFunctionCode,
//! UpdateFunctionConfiguration, DeleteFunction, GetAccountSettings.

use super::configuration::{self, Detail};
use super::settings::{self, invalid, text};
use super::{Request, catalog_error, function_ref, policies};
use base64::Engine as _;
use bytes::Bytes;
use lamplight_model::{FunctionRecord, PackageType, limits};
use lamplight_rpc::{CatalogError, CodeChange};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// AWS: pages of 50 whatever more is asked for.
const PAGE: usize = 50;

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let input = request.input;
    let function = function_ref(request)?;
    if function.qualifier.is_some() {
        return Err(invalid("The function name must not have a qualifier."));
    }
    refuse_publish(input)?;
    let settings = settings::create(input)?;
    let zip = match input.get("Code") {
        Some(Value::Object(code)) => zip_file(code, settings.package_type)?,
        _ => return Err(invalid("Please provide a source for function code.")),
    };
    let tags = tags(input)?;
    let catalog = &request.parts.catalog;
    if catalog.get(&function).is_err() {
        // A deletion that was cut short must not leave its permissions to a new function.
        policies::forget(request, &function).await?;
    }
    let created = catalog.create(&function.function, settings, zip, tags).await;
    Ok(shown(request, &*created.map_err(catalog_error)?))
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    let location = request.parts.downloads.location(request, &record.code.digest)?;
    let mut members = Map::new();
    let shown = configuration::of(request.scope, &record, Detail::Full);
    members.insert("Configuration".to_owned(), Value::Object(shown));
    members.insert("Code".to_owned(), json!({ "RepositoryType": "S3", "Location": location }));
    if !record.tags.is_empty() {
        members.insert("Tags".to_owned(), json!(record.tags));
    }
    Ok(Output { members, ..Output::default() })
}

pub async fn get_configuration(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    Ok(shown(request, &record))
}

pub async fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let max = request.input.get("MaxItems").and_then(Value::as_u64).unwrap_or(PAGE as u64);
    let max = usize::try_from(max).unwrap_or(PAGE).clamp(1, PAGE);
    let after = text(request.input, "Marker").map(|marker| read_marker(&marker)).transpose()?;
    let page = request.parts.catalog.list(request.scope, after.as_deref(), max);
    let functions: Vec<Value> = page
        .functions
        .iter()
        .map(|record| Value::Object(configuration::of(request.scope, record, Detail::Listed)))
        .collect();
    let mut members = Map::new();
    members.insert("Functions".to_owned(), Value::Array(functions));
    if let Some(next) = page.next {
        members.insert("NextMarker".to_owned(), json!(marker(&next)));
    }
    Ok(Output { members, ..Output::default() })
}

pub async fn update_code(request: &Request<'_>) -> Result<Output, ApiError> {
    let input = request.input;
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    let change = CodeChange {
        zip: zip_file(input, record.settings.package_type)?,
        architectures: input.get("Architectures").and_then(|list| {
            let list = list.as_array()?.iter();
            Some(list.filter_map(|item| Some(item.as_str()?.to_owned())).collect())
        }),
        revision_id: text(input, "RevisionId"),
        dry_run: input.get("DryRun").and_then(Value::as_bool).unwrap_or(false),
    };
    refuse_publish(input)?;
    let updated = request.parts.catalog.update_code(&function, change).await;
    Ok(shown(request, &*updated.map_err(catalog_error)?))
}

pub async fn update_configuration(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let input = request.input.clone();
    let change = move |settings: &mut lamplight_model::FunctionSettings| {
        settings::apply(settings, &input).map_err(|error| CatalogError::Invalid(error.message))
    };
    let revision_id = text(request.input, "RevisionId");
    let catalog = &request.parts.catalog;
    let updated = catalog.update_settings(&function, revision_id, Box::new(change)).await;
    Ok(shown(request, &*updated.map_err(catalog_error)?))
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    if function.qualifier == Some(lamplight_model::Qualifier::Latest) {
        return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
    }
    request.parts.catalog.delete(&function).await.map_err(catalog_error)?;
    policies::forget(request, &function).await?;
    // AWS: 204, although the model says 200; SDKs show it as the member StatusCode.
    Ok(Output { status: Some(204), ..Output::default() })
}

pub async fn account_settings(request: &Request<'_>) -> Result<Output, ApiError> {
    let usage = request.parts.catalog.usage(request.scope);
    let concurrency = request.parts.options.concurrent_executions;
    Output::of(json!({
        "AccountLimit": {
            "TotalCodeSize": limits::CODE_STORAGE,
            "CodeSizeUnzipped": limits::UNZIPPED_CODE,
            "CodeSizeZipped": limits::ZIPPED_CODE,
            "ConcurrentExecutions": concurrency,
            "UnreservedConcurrentExecutions": concurrency,
        },
        "AccountUsage": { "TotalCodeSize": usage.code_size, "FunctionCount": usage.functions },
    }))
}

fn shown(request: &Request<'_>, record: &FunctionRecord) -> Output {
    let members = configuration::of(request.scope, record, Detail::Full);
    Output { members, ..Output::default() }
}

/// The zip file of a `Code` object or of UpdateFunctionCode's own members.
fn zip_file(code: &Map<String, Value>, package_type: PackageType) -> Result<Bytes, ApiError> {
    let given = |name: &str| code.get(name).is_some_and(|value| !value.is_null());
    match package_type {
        PackageType::Zip if given("ImageUri") => {
            return Err(invalid(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ));
        }
        PackageType::Image => {
            return Err(invalid("Container images are not supported by this server yet."));
        }
        PackageType::Zip => {}
    }
    if given("S3Bucket") || given("S3Key") {
        return Err(invalid(
            "Code from S3 is not supported by this server yet. Send the zip file itself.",
        ));
    }
    let Some(zip) = code.get("ZipFile").and_then(Value::as_str) else {
        return Err(invalid("Please provide a source for function code."));
    };
    let zip = base64::engine::general_purpose::STANDARD
        .decode(zip)
        .map_err(|_| ApiError::new("SerializationException", "ZipFile is not base64"))?;
    if zip.len() > limits::ZIPPED_CODE {
        return Err(ApiError::new(
            "RequestEntityTooLargeException",
            format!("Zipped size must be smaller than {} bytes", limits::ZIPPED_CODE),
        )
        .with_status(413));
    }
    Ok(zip.into())
}

fn refuse_publish(input: &Map<String, Value>) -> Result<(), ApiError> {
    match input.get("Publish").and_then(Value::as_bool) {
        Some(true) => Err(invalid("Versions are not supported by this server yet.")),
        _ => Ok(()),
    }
}

fn tags(input: &Map<String, Value>) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(Value::Object(tags)) = input.get("Tags") else { return Ok(BTreeMap::new()) };
    if tags.len() > limits::TAGS {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(tags.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}

/// Markers are opaque to clients, and say nothing that the listing did not say.
fn marker(name: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(name)
}

fn read_marker(marker: &str) -> Result<String, ApiError> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(marker)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| invalid("The Marker is not one that this operation has given out."))
}
