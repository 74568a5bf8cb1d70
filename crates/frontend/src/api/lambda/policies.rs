//! AddPermission, GetPolicy, RemovePermission, and the whole-document operations on resource
//! policies.
//!
//! A function, each of its versions and each of its aliases has a policy of its own, kept as one
//! document: the policy and its RevisionId. A policy without statements is none.

use super::settings::{invalid, text};
use super::{Request, catalog_error, function_ref, statement};
use lamplight_model::{FunctionRef, Qualifier};
use lamplight_rpc::{CatalogError, Document, DocumentError, DocumentKey, Expected};
use lamplight_services::iam::document;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

/// The kind of the documents: owner is the function's name, id the qualifier.
pub const KIND: &str = "function-policy";
/// AWS: bytes of a policy.
const LARGEST: usize = 20_480;
/// How often a write that met another one is tried again.
const TRIES: usize = 8;

pub async fn add(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    if function.qualifier == Some(Qualifier::Latest) {
        return Err(invalid("We currently do not support adding policies for $LATEST."));
    }
    let revision = existing(request, &function)?;
    let added = statement::build(request.input, &function.arn())?;
    let sid = added.get("Sid").cloned();
    let change = |policy: Option<&Policy>| {
        check_revision(request, policy.map_or(revision.as_str(), |policy| &policy.revision))?;
        let mut document = policy.map_or_else(empty, |policy| policy.document.clone());
        let statements = statements(&mut document);
        if statements.iter().any(|statement| statement.get("Sid") == sid.as_ref()) {
            return Err(ApiError::new(
                "ResourceConflictException",
                format!(
                    "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.",
                    text(request.input, "StatementId").unwrap_or_default()
                ),
            ));
        }
        statements.push(added.clone());
        Ok(document)
    };
    rewrite(request, &function, change).await?;
    Output::of(json!({ "Statement": added.to_string() }))
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    existing(request, &function)?;
    shown(read(request, &function)?.as_ref())
}

pub async fn remove(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    if let Err(CatalogError::NotFound(_)) = request.parts.catalog.get(&whole(&function)) {
        // AWS: this one operation says it in these words.
        let message = format!("No policy found for: {}", function.function);
        return Err(ApiError::new("ResourceNotFoundException", message));
    }
    existing(request, &function)?;
    let sid = json!(text(request.input, "StatementId"));
    let change = |policy: Option<&Policy>| {
        let policy = policy.ok_or_else(|| {
            ApiError::new(
                "ResourceNotFoundException",
                "No policy is associated with the given resource.",
            )
        })?;
        let mut document = policy.document.clone();
        let statements = statements(&mut document);
        let before = statements.len();
        statements.retain(|statement| statement.get("Sid") != Some(&sid));
        if statements.len() == before {
            let sid = sid.as_str().unwrap_or_default();
            let message = format!("Statement {sid} is not found in resource policy.");
            return Err(ApiError::new("ResourceNotFoundException", message));
        }
        check_revision(request, &policy.revision)?;
        Ok(document)
    };
    rewrite(request, &function, change).await?;
    Ok(Output::empty())
}

pub async fn put_whole(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = resource(request)?;
    let revision = existing(request, &function)?;
    let given = text(request.input, "Policy").unwrap_or_default();
    let malformed =
        |why: &dyn std::fmt::Display| invalid(format!("The policy is not valid: {why}"));
    document::Document::parse(&given, document::Kind::Resource).map_err(|e| malformed(&e))?;
    let Ok(Value::Object(mut given)) = serde_json::from_str(&given) else {
        return Err(malformed(&document::Malformed::Json));
    };
    about(&mut given, &function.arn())?;
    let change = |policy: Option<&Policy>| {
        check_revision(request, policy.map_or(revision.as_str(), |policy| &policy.revision))?;
        Ok(given.clone())
    };
    rewrite(request, &function, change).await?;
    shown(read(request, &function)?.as_ref())
}

pub async fn get_whole(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = resource(request)?;
    existing(request, &function)?;
    shown(read(request, &function)?.as_ref())
}

pub async fn delete_whole(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = resource(request)?;
    existing(request, &function)?;
    let change = |policy: Option<&Policy>| {
        let policy = policy.ok_or_else(no_policy)?;
        check_revision(request, &policy.revision)?;
        Ok(Map::new())
    };
    rewrite(request, &function, change).await?;
    Ok(Output::empty())
}

/// Where a function's policy is kept, for those who ask it.
pub fn key(function: &FunctionRef) -> DocumentKey {
    let id = function.qualifier_or_latest().to_string();
    DocumentKey::new(KIND, &function.function.scope, &function.function.name, &id)
}

struct Policy {
    document: Map<String, Value>,
    revision: String,
    rev: i64,
}

impl Policy {
    fn of(stored: &Document) -> Result<Self, ApiError> {
        let document = stored.body.get("Policy").and_then(Value::as_object);
        let revision = stored.body.get("RevisionId").and_then(Value::as_str);
        match (document, revision) {
            (Some(document), Some(revision)) => Ok(Self {
                document: document.clone(),
                revision: revision.to_owned(),
                rev: stored.rev,
            }),
            _ => Err(ApiError::internal("a stored policy has no Policy or no RevisionId")),
        }
    }
}

fn read(request: &Request<'_>, function: &FunctionRef) -> Result<Option<Policy>, ApiError> {
    request.parts.documents.get(&key(function)).map(|stored| Policy::of(&stored)).transpose()
}

/// Reads, changes and writes. A policy that has no statements left is deleted.
async fn rewrite(
    request: &Request<'_>,
    function: &FunctionRef,
    change: impl Fn(Option<&Policy>) -> Result<Map<String, Value>, ApiError>,
) -> Result<(), ApiError> {
    let documents = &request.parts.documents;
    for _ in 0..TRIES {
        let policy = read(request, function)?;
        let mut document = change(policy.as_ref())?;
        let expected = policy.map_or(Expected::Nothing, |policy| Expected::Rev(policy.rev));
        let written = if statements(&mut document).is_empty() {
            documents.delete(&key(function), expected).await.map(drop)
        } else {
            let document = Value::Object(document);
            let size = document.to_string().len();
            if size > LARGEST {
                return Err(ApiError::new(
                    "PolicyLengthExceededException",
                    format!("The final policy size ({size}) is bigger than the limit ({LARGEST})."),
                ));
            }
            let revision = request.parts.env.random.uuid();
            let body = json!({ "RevisionId": revision, "Policy": document });
            documents.put(key(function), expected, body).await.map(drop)
        };
        match written {
            Ok(()) => return Ok(()),
            Err(DocumentError::Conflict) => {}
            Err(error) => return Err(document_error(error)),
        }
    }
    Err(ApiError::new(
        "ResourceConflictException",
        "The policy is being changed by others. Please try again.",
    ))
}

fn empty() -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("Version".to_owned(), json!("2012-10-17"));
    document.insert("Id".to_owned(), json!("default"));
    document.insert("Statement".to_owned(), json!([]));
    document
}

fn statements(document: &mut Map<String, Value>) -> &mut Vec<Value> {
    let statements = document.entry("Statement").or_insert_with(|| json!([]));
    if !statements.is_array() {
        *statements = Value::Array(vec![statements.take()]);
    }
    match statements {
        Value::Array(statements) => statements,
        _ => unreachable!("made an array above"),
    }
}

/// Statements of a whole document say nothing about other resources.
fn about(document: &mut Map<String, Value>, arn: &str) -> Result<(), ApiError> {
    for statement in statements(document) {
        if let Some(resource) = statement.get("Resource")
            && resource != arn
            && *resource != json!([arn])
        {
            return Err(invalid(format!(
                "The policy is not valid: its statements must have the Resource {arn}"
            )));
        }
        if statement.get("NotResource").is_some() {
            return Err(invalid("The policy is not valid: NotResource is not supported."));
        }
    }
    Ok(())
}

/// The function of a ResourceArn.
fn resource(request: &Request<'_>) -> Result<FunctionRef, ApiError> {
    let arn = text(request.input, "ResourceArn").unwrap_or_default();
    let function = FunctionRef::parse(request.scope, &arn, None).map_err(|_| {
        ApiError::new("ResourceNotFoundException", "The resource you requested does not exist.")
    })?;
    match function.qualifier {
        Some(Qualifier::Latest) => {
            Err(invalid("We currently do not support adding policies for $LATEST."))
        }
        _ => Ok(function),
    }
}

fn whole(function: &FunctionRef) -> FunctionRef {
    FunctionRef { function: function.function.clone(), qualifier: None }
}

/// The function's RevisionId, which counts while there is no policy. Errors where there is no such
/// function, version or alias.
fn existing(request: &Request<'_>, function: &FunctionRef) -> Result<String, ApiError> {
    let catalog = &request.parts.catalog;
    catalog.get(&whole(function)).map_err(catalog_error)?;
    match (catalog.get(function), &function.qualifier) {
        (Ok(record), _) => Ok(record.revision_id.clone()),
        // AWS: what cannot be an alias's name is said to be a function that is not there.
        (Err(CatalogError::NotFound(_)), Some(Qualifier::Alias(name))) if !name.contains('$') => {
            let message = format!("Cannot find alias arn: {}", function.arn());
            Err(ApiError::new("ResourceNotFoundException", message))
        }
        (Err(error), _) => Err(catalog_error(error)),
    }
}

fn check_revision(request: &Request<'_>, current: &str) -> Result<(), ApiError> {
    match text(request.input, "RevisionId") {
        Some(given) if given != current => Err(ApiError::new(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id",
        )),
        _ => Ok(()),
    }
}

fn shown(policy: Option<&Policy>) -> Result<Output, ApiError> {
    let policy = policy.ok_or_else(no_policy)?;
    let document = Value::Object(policy.document.clone());
    Output::of(json!({ "Policy": document.to_string(), "RevisionId": policy.revision }))
}

fn no_policy() -> ApiError {
    ApiError::new("ResourceNotFoundException", "The resource you requested does not exist.")
}

fn document_error(error: DocumentError) -> ApiError {
    catalog_error(CatalogError::Unavailable(error.to_string()))
}
