//! CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, UpdateFunctionCode,
//! UpdateFunctionConfiguration, DeleteFunction, GetAccountSettings.

use super::configuration::{self, Detail};
use super::pages::{marker, next_marker, page_size};
use super::settings::{self, flag, invalid, text};
use super::{Request, catalog_error, code_signing, function_ref, layers, package, tags};
use lamplight_model::{FunctionRecord, FunctionRef, Origin, Qualifier, limits};
use lamplight_rpc::{CatalogError, CodeChange, Listing, NewFunction, PublishTo};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let input = request.input;
    let function = function_ref(request)?;
    if function.qualifier.is_some() {
        return Err(invalid("The function name must not have a qualifier."));
    }
    let mut settings = settings::create(input)?;
    settings.layers = layers::of_function(request)?.unwrap_or_default();
    let package = match input.get("Code") {
        Some(Value::Object(code)) => package::of_function(request, code, &settings).await?,
        _ => return Err(invalid("Please provide a source for function code.")),
    };
    let tags = tags::given(input)?;
    let signing = text(input, "CodeSigningConfigArn").filter(|arn| !arn.is_empty());
    if let Some(arn) = &signing {
        code_signing::require_lenient(request, arn)?;
    }
    let new = NewFunction {
        settings,
        zip: package.zip,
        origin: package.origin,
        tags,
        belongings: signing.iter().map(|arn| code_signing::of_function(arn)).collect(),
        publish: flag(input, "Publish").then(|| publish_to(input)),
    };
    let created = request.parts.catalog.create(&function.function, new).await;
    let created = created.map_err(catalog_error)?;
    // AWS: without a qualifier also when it shows the version that was published along.
    Ok(shown(request, &created, None))
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    let location = request.parts.downloads.location(request, &record.code.digest)?;
    let mut members = Map::new();
    let shown = shown(request, &record, function.qualifier.as_ref()).members;
    members.insert("Configuration".to_owned(), Value::Object(shown));
    let code = match &record.code.origin {
        // AWS: an image is where its registry has it, and cannot be downloaded from here.
        Some(Origin::Image { name, resolved }) => {
            json!({ "RepositoryType": "ECR", "ImageUri": name, "ResolvedImageUri": resolved })
        }
        Some(Origin::Object(object)) => json!({
            "RepositoryType": "S3",
            "Location": location,
            "ResolvedS3Object": package::resolved(object),
        }),
        None => json!({ "RepositoryType": "S3", "Location": location }),
    };
    members.insert("Code".to_owned(), code);
    let whole = FunctionRef { qualifier: None, ..function };
    let latest = request.parts.catalog.get(&whole).map_err(catalog_error)?;
    if !latest.tags.is_empty() {
        members.insert("Tags".to_owned(), json!(latest.tags));
    }
    if let Some(reserved) = latest.reserved {
        let concurrency = json!({ "ReservedConcurrentExecutions": reserved });
        members.insert("Concurrency".to_owned(), concurrency);
    }
    Ok(Output { members, ..Output::default() })
}

pub async fn get_configuration(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    Ok(shown(request, &record, function.qualifier.as_ref()))
}

pub async fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let after = marker(request)?;
    let versions = text(request.input, "FunctionVersion").is_some();
    let listing = Listing {
        after: after.as_ref().map(|(name, version)| (name.as_str(), *version)),
        max: page_size(request),
        versions,
    };
    let page = request.parts.catalog.list(request.scope, listing);
    let functions: Vec<Value> = page
        .functions
        .iter()
        .map(|record| {
            // AWS: with their versions, functions are listed as `$LATEST`.
            let version = versions.then(|| record.version());
            Value::Object(listed(request, record, version.as_ref()))
        })
        .collect();
    let mut members = Map::new();
    members.insert("Functions".to_owned(), Value::Array(functions));
    if let Some(next) = page.next {
        members.insert("NextMarker".to_owned(), json!(next_marker(&next)));
    }
    Ok(Output { members, ..Output::default() })
}

pub async fn update_code(request: &Request<'_>) -> Result<Output, ApiError> {
    let input = request.input;
    let function = function_ref(request)?;
    let record = request.parts.catalog.get(&function).map_err(catalog_error)?;
    let mut settings = record.settings.clone();
    if let Some(architectures) = settings::texts(input, "Architectures") {
        settings.architectures = architectures;
    }
    let package = package::of_function(request, input, &settings).await?;
    let change = CodeChange {
        zip: package.zip,
        origin: package.origin,
        architectures: input.get("Architectures").and_then(|list| {
            let list = list.as_array()?.iter();
            Some(list.filter_map(|item| Some(item.as_str()?.to_owned())).collect())
        }),
        revision_id: text(input, "RevisionId"),
        dry_run: flag(input, "DryRun"),
        publish: flag(input, "Publish").then(|| publish_to(input)),
    };
    code_signing::check_code(request, &function.function)?;
    let updated = request.parts.catalog.update_code(&function, change).await;
    let updated = updated.map_err(catalog_error)?;
    let version = updated.published.as_ref().map(|_| updated.version());
    Ok(shown(request, &updated, version.as_ref()))
}

pub async fn update_configuration(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let input = request.input.clone();
    let layers = layers::of_function(request)?;
    let change = move |settings: &mut lamplight_model::FunctionSettings| {
        if let Some(layers) = layers {
            settings.layers = layers;
        }
        settings::apply(settings, &input).map_err(|error| CatalogError::Invalid(error.message))
    };
    let revision_id = text(request.input, "RevisionId");
    let catalog = &request.parts.catalog;
    let updated = catalog.update_settings(&function, revision_id, Box::new(change)).await;
    Ok(shown(request, &*updated.map_err(catalog_error)?, None))
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    request.parts.catalog.delete(&function).await.map_err(catalog_error)?;
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
            "UnreservedConcurrentExecutions":
                concurrency.saturating_sub(request.parts.catalog.committed(request.scope)),
        },
        "AccountUsage": { "TotalCodeSize": usage.code_size, "FunctionCount": usage.functions },
    }))
}

/// A version as it is answered alone, under the qualifier it was asked for by.
pub(super) fn shown(
    request: &Request<'_>,
    record: &FunctionRecord,
    qualifier: Option<&Qualifier>,
) -> Output {
    Output { members: members(request, record, Detail::Full, qualifier), ..Output::default() }
}

/// A version as it is listed.
pub(super) fn listed(
    request: &Request<'_>,
    record: &FunctionRecord,
    qualifier: Option<&Qualifier>,
) -> Map<String, Value> {
    members(request, record, Detail::Listed, qualifier)
}

fn members(
    request: &Request<'_>,
    record: &FunctionRecord,
    detail: Detail,
    qualifier: Option<&Qualifier>,
) -> Map<String, Value> {
    match qualifier {
        Some(qualifier) => configuration::qualified(request.scope, record, detail, qualifier),
        None => configuration::of(request.scope, record, detail),
    }
}

/// As what a request publishes, if it does.
pub(super) fn publish_to(input: &Map<String, Value>) -> PublishTo {
    match text(input, "PublishTo") {
        // The only value that the model allows.
        Some(_) => PublishTo::Latest,
        None => PublishTo::Number,
    }
}
