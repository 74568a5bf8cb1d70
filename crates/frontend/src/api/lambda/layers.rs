//! PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayerVersions, ListLayers,
//! DeleteLayerVersion, and the `Layers` of functions.

use super::configuration::last_modified;
use super::pages::{marker, next_marker, page_size};
use super::settings::{invalid, text, texts};
use super::{Request, catalog_error, layer_policies, package};
use lamplight_model::{LayerArn, LayerRef, LayerVersionArn, Origin, limits};
use lamplight_rpc::{LayerFilter, LayerUpload, PublishedLayer};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn publish(request: &Request<'_>) -> Result<Output, ApiError> {
    let input = request.input;
    let layer = layer(request)?;
    let package = match input.get("Content") {
        Some(Value::Object(content)) => package::of_layer(request, content).await?,
        _ => return Err(invalid("Please provide a source for layer content.")),
    };
    let upload = LayerUpload {
        zip: package.zip,
        origin: package.origin,
        description: text(input, "Description").unwrap_or_default(),
        runtimes: texts(input, "CompatibleRuntimes"),
        architectures: texts(input, "CompatibleArchitectures"),
        license: text(input, "LicenseInfo"),
    };
    let published = request.parts.layers.publish(&layer, upload).await.map_err(catalog_error)?;
    with_content(request, &published)
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = numbered(request)?;
    shown(request, &arn)
}

pub fn get_by_arn(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = text(request.input, "Arn").unwrap_or_default();
    let arn = LayerVersionArn::parse(&arn).ok_or_else(missing)?;
    check_place(request, &arn.layer)?;
    shown(request, &arn)
}

pub fn list_versions(request: &Request<'_>) -> Result<Output, ApiError> {
    let layer = layer(request)?;
    let before = marker(request)?.map(|(_, number)| number);
    let max = page_size(request);
    let found = request.parts.layers.versions(&layer, &filter(request), before, max + 1);
    let (found, next) = cut(found, max);
    let versions = found.iter().map(|layer| Value::Object(members(layer))).collect::<Value>();
    Output::of(json!({ "LayerVersions": versions, "NextMarker": next }))
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let after = marker(request)?.map(|(name, _)| name);
    let max = page_size(request);
    let found =
        request.parts.layers.latest(request.scope, &filter(request), after.as_deref(), max + 1);
    let (found, next) = cut(found, max);
    let layers = found.iter().map(|latest| {
        json!({
            "LayerName": &*latest.arn.layer.name,
            "LayerArn": latest.arn.layer.to_string(),
            "LatestMatchingVersion": members(latest),
        })
    });
    Output::of(json!({ "Layers": layers.collect::<Value>(), "NextMarker": next }))
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = numbered(request)?;
    request.parts.layers.delete(&arn).await.map_err(catalog_error)?;
    layer_policies::forget(request, &arn).await?;
    Ok(Output { status: Some(204), ..Output::default() })
}

/// The `Layers` of a request about a function; `None` where it has none.
pub fn of_function(request: &Request<'_>) -> Result<Option<Vec<LayerRef>>, ApiError> {
    let Some(arns) = texts(request.input, "Layers") else { return Ok(None) };
    if arns.len() > limits::LAYERS {
        return Err(invalid("Cannot reference more than 5 layers."));
    }
    let mut before: Vec<LayerVersionArn> = Vec::new();
    let mut found = Vec::new();
    for text in arns {
        let unknown = || invalid(format!("Layer version {text} does not exist."));
        let arn = LayerVersionArn::parse(&text).ok_or_else(unknown)?;
        if arn.layer.scope.region != request.scope.region {
            return Err(invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                request.scope.region
            )));
        }
        check_account(request, &arn.layer, &text)?;
        if let Some(other) = before.iter().find(|other| other.layer == arn.layer) {
            return Err(invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {other} and {text} are versions of the same layer."
            )));
        }
        let layer = request.parts.layers.get(&arn).ok_or_else(unknown)?;
        found.push(layer.version.reference(&arn));
        before.push(arn);
    }
    Ok(Some(found))
}

/// The layer version that a request names with a name, or an ARN, and a number.
pub fn numbered(request: &Request<'_>) -> Result<LayerVersionArn, ApiError> {
    let layer = layer(request)?;
    let number = request.input.get("VersionNumber").and_then(Value::as_i64).unwrap_or(0);
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(layer.version(number)),
        _ => Err(invalid("Layer Version Cannot be less than 1")),
    }
}

fn layer(request: &Request<'_>) -> Result<LayerArn, ApiError> {
    let name = text(request.input, "LayerName").unwrap_or_default();
    if !name.starts_with("arn:") {
        return Ok(LayerArn::new(request.scope, &name));
    }
    let layer = LayerArn::parse(&name).ok_or_else(missing)?;
    check_place(request, &layer)?;
    Ok(layer)
}

/// Each region and account has layers of its own.
fn check_place(request: &Request<'_>, layer: &LayerArn) -> Result<(), ApiError> {
    check_account(request, layer, &layer.to_string())?;
    match layer.scope.region == request.scope.region {
        true => Ok(()),
        false => Err(missing()),
    }
}

// AWS: no more is said of other accounts' layers.
fn check_account(request: &Request<'_>, layer: &LayerArn, named: &str) -> Result<(), ApiError> {
    if layer.scope.account == request.scope.account {
        return Ok(());
    }
    let user = &request.caller.arn;
    Err(ApiError::new(
        "AccessDeniedException",
        format!(
            "User: {user} is not authorized to perform: lambda:GetLayerVersion on resource: {named} because no resource-based policy allows the lambda:GetLayerVersion action"
        ),
    )
    .with_status(403))
}

fn missing() -> ApiError {
    ApiError::new("ResourceNotFoundException", "The resource you requested does not exist.")
}

fn shown(request: &Request<'_>, arn: &LayerVersionArn) -> Result<Output, ApiError> {
    with_content(request, &request.parts.layers.get(arn).ok_or_else(missing)?)
}

fn with_content(request: &Request<'_>, layer: &PublishedLayer) -> Result<Output, ApiError> {
    let code = &layer.version.code;
    let mut members = members(layer);
    members.insert("LayerArn".to_owned(), json!(layer.arn.layer.to_string()));
    let mut content = json!({
        "Location": request.parts.downloads.location(request, &code.digest)?,
        "CodeSha256": code.code_sha256(),
        "CodeSize": code.size,
    });
    if let Some(Origin::Object(object)) = &code.origin {
        content["ResolvedS3Object"] = package::resolved(object);
    }
    members.insert("Content".to_owned(), content);
    Ok(Output { members, ..Output::default() })
}

/// The members that every operation shows.
fn members(layer: &PublishedLayer) -> Map<String, Value> {
    let version = &layer.version;
    let members = [
        ("LayerVersionArn", json!(layer.arn.to_string())),
        ("Version", json!(layer.arn.version)),
        ("Description", json!(version.description)),
        ("CreatedDate", json!(last_modified(version.created))),
        ("CompatibleRuntimes", json!(version.runtimes)),
        ("CompatibleArchitectures", json!(version.architectures)),
        ("LicenseInfo", json!(version.license)),
    ];
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn filter(request: &Request<'_>) -> LayerFilter {
    LayerFilter {
        runtime: text(request.input, "CompatibleRuntime"),
        architecture: text(request.input, "CompatibleArchitecture"),
    }
}

/// At most `max` of `found`, and the marker of what is left out.
fn cut(mut found: Vec<PublishedLayer>, max: usize) -> (Vec<PublishedLayer>, Option<String>) {
    let more = found.len() > max;
    found.truncate(max);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| next_marker(&(last.arn.layer.name.to_string(), last.arn.version)));
    (found, next)
}
