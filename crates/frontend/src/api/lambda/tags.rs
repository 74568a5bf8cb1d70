//! TagResource, UntagResource, ListTags: of functions, event source mappings, code signing
//! configurations and capacity providers. A function's tags are in its record, those of the others
//! beside their configuration, in the same document.

use super::documents::{self, CAPACITY, CODE_SIGNING, MAPPING};
use super::settings::{invalid, text};
use super::{catalog_error, name_error};
use crate::api::Request;
use lamplight_model::{FunctionArn, FunctionRef, limits};
use lamplight_rpc::{CatalogError, DocumentKey};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub type Tags = BTreeMap<String, String>;

/// What has tags.
enum Resource {
    Function(FunctionArn),
    /// And what to answer when it is not there.
    Document(DocumentKey, String),
}

pub async fn tag(request: &Request<'_>) -> Result<Output, ApiError> {
    let more = given(request.input)?;
    if more.is_empty() {
        list(request)?;
        // AWS: says no more than this.
        return Err(invalid("An error occurred and the request cannot be processed."));
    }
    edit(request, move |tags| {
        tags.extend(more.clone());
        if tags.len() > limits::TAGS { Err(too_many()) } else { Ok(()) }
    })
    .await
}

pub async fn untag(request: &Request<'_>) -> Result<Output, ApiError> {
    let keys = request.input.get("TagKeys").and_then(Value::as_array).cloned().unwrap_or_default();
    edit(request, move |tags| {
        tags.retain(|name, _| !keys.iter().any(|key| key == name));
        Ok(())
    })
    .await
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let tags = match resource(request)? {
        Resource::Function(function) => {
            let function = FunctionRef { function, qualifier: None };
            json!(request.parts.catalog.get(&function).map_err(catalog_error)?.tags)
        }
        Resource::Document(key, missing) => {
            let document = documents::get(request, &key).ok_or_else(|| not_found(&missing))?;
            json!(of(&document.body))
        }
    };
    Output::of(json!({ "Tags": tags }))
}

/// The `Tags` of a request that makes something.
pub fn given(input: &Map<String, Value>) -> Result<Tags, ApiError> {
    let tags = input.get("Tags").map(read).unwrap_or_default();
    if tags.len() > limits::TAGS { Err(too_many()) } else { Ok(tags) }
}

/// The tags within the body of a document.
pub fn of(body: &Value) -> Tags {
    body.get("tags").map(read).unwrap_or_default()
}

fn read(tags: &Value) -> Tags {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = tags.as_object().into_iter().flatten();
    tags.map(|(name, value)| (name.clone(), text(value))).collect()
}

async fn edit(
    request: &Request<'_>,
    edit: impl Fn(&mut Tags) -> Result<(), ApiError> + Send + Sync + 'static,
) -> Result<Output, ApiError> {
    match resource(request)? {
        Resource::Function(function) => {
            let change = move |tags: &mut Tags| {
                edit(tags).map_err(|error| CatalogError::Invalid(error.message))
            };
            let changed = request.parts.catalog.update_tags(&function, Box::new(change)).await;
            changed.map_err(catalog_error)?;
        }
        Resource::Document(key, missing) => {
            let changed = documents::change(request, &key, |body| {
                let mut body = body.ok_or_else(|| not_found(&missing))?.clone();
                let mut tags = of(&body);
                edit(&mut tags)?;
                body["tags"] = json!(tags);
                Ok(body)
            });
            changed.await?;
        }
    }
    Ok(Output::empty())
}

fn resource(request: &Request<'_>) -> Result<Resource, ApiError> {
    let arn = text(request.input, "Resource").unwrap_or_default();
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, _, _, region, account, kind, name, ..] = parts[..] else {
        return Err(not_found(&format!("Resource not found: {arn}")));
    };
    let scope = request.scope;
    if kind == "function" {
        let named = FunctionRef::parse(scope, &arn, None);
        let function = named.map_err(|error| name_error(request, &arn, error))?;
        if function.qualifier.is_some() {
            return Err(invalid(
                "Tags on function aliases and versions are not supported. Please specify a function ARN.",
            ));
        }
        return Ok(Resource::Function(function.function));
    }
    let (kind, missing) = match kind {
        "event-source-mapping" => (MAPPING, format!("Event source mapping not found: {arn}")),
        "capacity-provider" => (CAPACITY, format!("Capacity provider not found: {arn}")),
        "code-signing-config" => (CODE_SIGNING, super::code_signing::missing_text(&arn)),
        _ => return Err(not_found(&format!("Resource not found: {arn}"))),
    };
    if region != &*scope.region || account != scope.account.as_str() {
        return Err(not_found(&missing));
    }
    Ok(Resource::Document(DocumentKey::only(kind, scope, name), missing))
}

fn not_found(message: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", message)
}

fn too_many() -> ApiError {
    invalid("Number of tags exceeds resource tag limit.")
}
