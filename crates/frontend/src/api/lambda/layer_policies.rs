//! AddLayerVersionPermission, GetLayerVersionPolicy, RemoveLayerVersionPermission.
//!
//! Statements are kept and shown; with one account on a server nobody is let in by them.

use super::settings::text;
use super::{Request, layers, statement};
use lamplight_model::LayerVersionArn;
use lamplight_rpc::{Document, DocumentError, DocumentKey, Expected};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

const KIND: &str = "layer-policy";

pub async fn add(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = existing(request)?;
    let given = |name| text(request.input, name).unwrap_or_default();
    let id = given("StatementId");
    let mut statement = json!({
        "Sid": id,
        "Effect": "Allow",
        "Principal": statement::principal(&given("Principal"))?,
        "Action": given("Action"),
        "Resource": arn.to_string(),
    });
    if let Some(organization) = text(request.input, "OrganizationId") {
        statement["Condition"] = json!({ "StringEquals": { "aws:PrincipalOrgID": organization } });
    }
    let old = find(request, &arn);
    let mut statements = statements(old.as_ref());
    if statements.iter().any(|old| old["Sid"] == id) {
        return Err(ApiError::new(
            "ResourceConflictException",
            format!(
                "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing statement."
            ),
        ));
    }
    check_revision(request, old.as_ref())?;
    statements.push(statement.clone());
    let revision = store(request, &arn, old, statements).await?;
    Output::of(json!({ "Statement": statement.to_string(), "RevisionId": revision }))
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = existing(request)?;
    let Some(document) = find(request, &arn) else {
        let none = "No policy is associated with the given resource.";
        return Err(ApiError::new("ResourceNotFoundException", none));
    };
    let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": document.body["statements"] });
    Output::of(json!({ "Policy": policy.to_string(), "RevisionId": document.body["revision"] }))
}

pub async fn remove(request: &Request<'_>) -> Result<Output, ApiError> {
    let arn = existing(request)?;
    let id = text(request.input, "StatementId").unwrap_or_default();
    let old = find(request, &arn);
    check_revision(request, old.as_ref())?;
    let mut statements = statements(old.as_ref());
    let before = statements.len();
    statements.retain(|statement| statement["Sid"] != id);
    if statements.len() == before {
        return Err(ApiError::new(
            "ResourceNotFoundException",
            format!("Statement {id} is not found in resource policy."),
        ));
    }
    match (statements.is_empty(), old) {
        // AWS: a policy without statements is no policy.
        (true, Some(old)) => {
            let deleted = request.parts.documents.delete(&old.key, Expected::Rev(old.rev)).await;
            deleted.map_err(failed)?;
        }
        (_, old) => drop(store(request, &arn, old, statements).await?),
    }
    Ok(Output { status: Some(204), ..Output::default() })
}

/// Of a layer version that is gone.
pub async fn forget(request: &Request<'_>, arn: &LayerVersionArn) -> Result<(), ApiError> {
    let deleted = request.parts.documents.delete(&key(arn), Expected::Anything).await;
    deleted.map(drop).map_err(failed)
}

fn existing(request: &Request<'_>) -> Result<LayerVersionArn, ApiError> {
    let arn = layers::numbered(request)?;
    match request.parts.layers.get(&arn) {
        Some(_) => Ok(arn),
        None => Err(ApiError::new(
            "ResourceNotFoundException",
            format!("Layer version {arn} does not exist."),
        )),
    }
}

fn key(arn: &LayerVersionArn) -> DocumentKey {
    DocumentKey::new(KIND, &arn.layer.scope, &arn.layer.name, &arn.version.to_string())
}

fn find(request: &Request<'_>, arn: &LayerVersionArn) -> Option<Document> {
    request.parts.documents.get(&key(arn))
}

fn statements(document: Option<&Document>) -> Vec<Value> {
    let list = document.and_then(|document| document.body["statements"].as_array());
    list.cloned().unwrap_or_default()
}

fn check_revision(request: &Request<'_>, document: Option<&Document>) -> Result<(), ApiError> {
    let Some(seen) = text(request.input, "RevisionId") else { return Ok(()) };
    match document.is_some_and(|document| document.body["revision"] == seen) {
        true => Ok(()),
        false => Err(precondition()),
    }
}

async fn store(
    request: &Request<'_>,
    arn: &LayerVersionArn,
    old: Option<Document>,
    statements: Vec<Value>,
) -> Result<String, ApiError> {
    let revision = request.parts.env.random.uuid();
    let body = json!({ "revision": revision, "statements": statements });
    let expected = old.map_or(Expected::Nothing, |old| Expected::Rev(old.rev));
    request.parts.documents.put(key(arn), expected, body).await.map_err(failed)?;
    Ok(revision)
}

fn precondition() -> ApiError {
    ApiError::new(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id",
    )
}

fn failed(error: DocumentError) -> ApiError {
    match error {
        DocumentError::Conflict => precondition(),
        DocumentError::Unavailable(cause) => {
            super::catalog_error(lamplight_rpc::CatalogError::Unavailable(cause))
        }
    }
}
