//! Code signing configurations, and which function has which. Signatures themselves are not
//! verified here: a function whose configuration enforces them takes no code.

use super::documents::{self, CODE_SIGNING, SIGNED_BY, Whose};
use super::settings::text;
use super::{catalog_error, configuration, function_ref, keep_given, tags};
use crate::api::Request;
use lamplight_model::{FunctionArn, FunctionRef};
use lamplight_rpc::{Document, DocumentKey};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

const SETTINGS: [&str; 3] = ["Description", "AllowedPublishers", "CodeSigningPolicies"];

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let mut id = format!("csc-{}", request.parts.env.random.hex(9));
    id.truncate("csc-".len() + 17);
    let scope = request.scope;
    let mut config = json!({
        "CodeSigningConfigId": id,
        "CodeSigningConfigArn":
            format!("arn:aws:lambda:{}:{}:code-signing-config:{id}", scope.region, scope.account),
        "CodeSigningPolicies": { "UntrustedArtifactOnDeployment": "Warn" },
        "LastModified": now(request),
    });
    keep_given(&mut config, request.input, &SETTINGS);
    let body = json!({ "config": config, "tags": tags::given(request.input)? });
    let key = DocumentKey::only(CODE_SIGNING, scope, &id);
    shown(&documents::change(request, &key, |_| Ok(body.clone())).await?)
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    shown(&named(request)?.1)
}

pub async fn update(request: &Request<'_>) -> Result<Output, ApiError> {
    let (arn, config) = named(request)?;
    let updated = documents::change(request, &config.key, |found| {
        let mut body = found.ok_or_else(|| missing(&arn))?.clone();
        keep_given(&mut body["config"], request.input, &SETTINGS);
        body["config"]["LastModified"] = json!(now(request));
        Ok(body)
    });
    shown(&updated.await?)
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let (arn, config) = named(request)?;
    if is_used(request, &arn) {
        return Err(ApiError::new(
            "ResourceConflictException",
            format!("The Lambda code signing configuration {arn} is in use by functions."),
        ));
    }
    documents::delete(request, &config.key).await?;
    Ok(Output::empty())
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    documents::page(request, (CODE_SIGNING, Whose::All), "CodeSigningConfigs", |config| {
        config.body.get("config").cloned()
    })
}

pub fn list_functions(request: &Request<'_>) -> Result<Output, ApiError> {
    let (arn, _) = named(request)?;
    documents::page(request, (SIGNED_BY, Whose::Label(&arn)), "FunctionArns", |document| {
        exists(request, document).then(|| json!(function_of(document).to_string()))
    })
}

pub fn get_of_function(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = existing(request)?;
    match documents::get(request, &key(&function.function)) {
        Some(document) => {
            let name = &*function.function.name;
            Output::of(json!({ "CodeSigningConfigArn": arn_in(&document), "FunctionName": name }))
        }
        // AWS: nothing at all, and not a refusal.
        None => Ok(Output::empty()),
    }
}

pub async fn put_of_function(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let arn = text(request.input, "CodeSigningConfigArn").unwrap_or_default();
    // AWS: looks for the configuration before it looks for the function.
    require(request, &arn)?;
    existing(request)?;
    let (_, body) = of_function(&arn);
    documents::change(request, &key(&function.function), |_| Ok(body.clone())).await?;
    let name = &*function.function.name;
    Output::of(json!({ "CodeSigningConfigArn": arn, "FunctionName": name }))
}

pub async fn delete_of_function(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = existing(request)?;
    documents::delete(request, &key(&function.function)).await?;
    Ok(Output::empty())
}

/// What makes the configuration a function's: the kind of the document and the document.
pub fn of_function(arn: &str) -> (&'static str, Value) {
    (SIGNED_BY, json!({ "CodeSigningConfigArn": arn }))
}

/// Refuses code for a function whose configuration enforces signatures.
pub fn check_code(request: &Request<'_>, function: &FunctionArn) -> Result<(), ApiError> {
    match documents::get(request, &key(function)) {
        Some(document) => require_lenient(request, arn_in(&document).unwrap_or_default()),
        None => Ok(()),
    }
}

/// Refuses code under the configuration `arn`, if it enforces signatures.
pub fn require_lenient(request: &Request<'_>, arn: &str) -> Result<(), ApiError> {
    let config = require(request, arn)?;
    let policy = &config.body["config"]["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"];
    if policy != "Enforce" {
        return Ok(());
    }
    Err(ApiError::new(
        "CodeVerificationFailedException",
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not configured to accept. Check the provided signature for unsigned.",
    ))
}

pub fn missing_text(arn: &str) -> String {
    format!("The Lambda code signing configuration {arn} can not be found.")
}

fn require(request: &Request<'_>, arn: &str) -> Result<Document, ApiError> {
    find(request, arn).ok_or_else(|| {
        ApiError::new(
            "CodeSigningConfigNotFoundException",
            format!(
                "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
            ),
        )
    })
}

fn named(request: &Request<'_>) -> Result<(String, Document), ApiError> {
    let arn = text(request.input, "CodeSigningConfigArn").unwrap_or_default();
    match find(request, &arn) {
        Some(document) => Ok((arn, document)),
        None => Err(missing(&arn)),
    }
}

fn missing(arn: &str) -> ApiError {
    // AWS: this one refusal has no type.
    ApiError::new("ResourceNotFoundException", missing_text(arn)).with("Type", Value::Null)
}

/// One of another region or account is not found, whatever its id.
fn find(request: &Request<'_>, arn: &str) -> Option<Document> {
    let (_, id) = arn.rsplit_once(':')?;
    let found = documents::get(request, &DocumentKey::only(CODE_SIGNING, request.scope, id))?;
    (found.body["config"]["CodeSigningConfigArn"] == arn).then_some(found)
}

fn is_used(request: &Request<'_>, arn: &str) -> bool {
    let place = (SIGNED_BY, request.scope);
    let all = request.parts.documents.labelled(place, arn, None, usize::MAX);
    all.iter().any(|document| exists(request, document))
}

/// Whether the function has been made: what it has from the start is there before it is.
fn exists(request: &Request<'_>, document: &Document) -> bool {
    let function = FunctionRef { function: function_of(document), qualifier: None };
    request.parts.catalog.get(&function).is_ok()
}

fn existing(request: &Request<'_>) -> Result<FunctionRef, ApiError> {
    let function = function_ref(request)?;
    request.parts.catalog.get(&function).map_err(catalog_error)?;
    Ok(function)
}

fn key(function: &FunctionArn) -> DocumentKey {
    DocumentKey::only(SIGNED_BY, &function.scope, &function.name)
}

fn arn_in(document: &Document) -> Option<&str> {
    document.body["CodeSigningConfigArn"].as_str()
}

fn function_of(document: &Document) -> FunctionArn {
    FunctionArn::new(&document.key.scope, &document.key.owner)
}

fn shown(document: &Document) -> Result<Output, ApiError> {
    Output::of(json!({ "CodeSigningConfig": document.body["config"] }))
}

fn now(request: &Request<'_>) -> String {
    configuration::last_modified(request.parts.env.clock.now().millis())
}
