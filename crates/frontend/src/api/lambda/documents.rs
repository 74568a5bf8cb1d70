//! The documents of the Lambda API: which kinds there are, whose they are, and the one way in
//! which they are changed, listed and forgotten.
//!
//! Invariant: a function's documents end with it. The catalog has them forgotten when it deletes
//! one, and again before it makes a namesake, for the case that the server ended in between.

use super::{pages, policies};
use crate::api::Request;
use async_trait::async_trait;
use lamplight_model::{FunctionArn, FunctionRef};
use lamplight_rpc::{
    Belongings, Document, DocumentError, DocumentKey, Documents, DurableError, DurableExecutions,
    Expected, Given,
};
pub use lamplight_rpc::{EVENT_INVOKE, RECURSION};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub const URL: &str = "url-config";
pub const RUNTIME_MANAGEMENT: &str = "runtime-management-config";
/// How far a version on Managed Instances may scale.
pub const SCALING: &str = "function-scaling-config";
/// Which code signing configuration a function has.
pub const SIGNED_BY: &str = "function-code-signing-config";
pub const CODE_SIGNING: &str = "code-signing-config";
pub const MAPPING: &str = "event-source-mapping";
pub const CAPACITY: &str = "capacity-provider";

/// What a function owns, and of that, what each of its qualifiers has for itself. AWS: event
/// source mappings outlive their function.
const OF_FUNCTION: [&str; 7] =
    [URL, EVENT_INVOKE, RUNTIME_MANAGEMENT, policies::KIND, SCALING, RECURSION, SIGNED_BY];
const OF_QUALIFIER: [&str; 5] = [URL, EVENT_INVOKE, RUNTIME_MANAGEMENT, policies::KIND, SCALING];

/// Attempts of a change that others are always faster than.
const ATTEMPTS: usize = 16;

/// The key of what `function` has for its qualifier, `$LATEST` where it names none.
pub fn of_qualifier(kind: &'static str, function: &FunctionRef) -> DocumentKey {
    let FunctionArn { scope, name } = &function.function;
    DocumentKey::new(kind, scope, name, &function.qualifier_or_latest().to_string())
}

/// The documents and executions that functions own, as the catalog knows them.
pub struct FunctionDocuments {
    pub documents: Arc<dyn Documents>,
    pub durable: Arc<dyn DurableExecutions>,
}

#[async_trait]
impl Belongings for FunctionDocuments {
    async fn forget(&self, function: &FunctionRef) -> Result<(), DocumentError> {
        let FunctionArn { scope, name } = &function.function;
        if function.qualifier.is_none() {
            let unavailable = |error: DurableError| DocumentError::Unavailable(error.to_string());
            self.durable.forget(&function.function).await.map_err(unavailable)?;
            return self.documents.delete_owned(&OF_FUNCTION, scope, name).await;
        }
        for kind in OF_QUALIFIER {
            self.documents.delete(&of_qualifier(kind, function), Expected::Anything).await?;
        }
        Ok(())
    }

    async fn give(&self, function: &FunctionArn, documents: Given) -> Result<(), DocumentError> {
        let FunctionArn { scope, name } = function;
        for (kind, body) in documents {
            let key = DocumentKey::only(kind, scope, name);
            self.documents.put(key, Expected::Anything, body).await?;
        }
        Ok(())
    }
}

pub fn get(request: &Request<'_>, key: &DocumentKey) -> Option<Document> {
    request.parts.documents.get(key)
}

/// Whether there was one.
pub async fn delete(request: &Request<'_>, key: &DocumentKey) -> Result<bool, ApiError> {
    request.parts.documents.delete(key, Expected::Anything).await.map_err(refused)
}

/// Writes what `edit` makes of what is there, which is seen again when somebody else was faster.
pub async fn change(
    request: &Request<'_>,
    key: &DocumentKey,
    edit: impl Fn(Option<&Value>) -> Result<Value, ApiError> + Send + Sync,
) -> Result<Document, ApiError> {
    let documents = &request.parts.documents;
    for _ in 0..ATTEMPTS {
        let found = documents.get(key);
        let body = edit(found.as_ref().map(|document| &*document.body))?;
        let expected = found.map_or(Expected::Nothing, |document| Expected::Rev(document.rev));
        match documents.put(key.clone(), expected, body).await {
            Err(DocumentError::Conflict) => {}
            done => return done.map_err(refused),
        }
    }
    Err(refused(DocumentError::Conflict))
}

/// Which documents of a kind a listing is of.
#[derive(Clone, Copy)]
pub enum Whose<'a> {
    All,
    Owner(&'a str),
    /// See [`labels`].
    Label(&'a str),
}

/// What documents are listed by, so that a listing takes as long as its page.
pub fn labels(kind: &str, body: &Value) -> Vec<String> {
    let told: &[&Value] = match kind {
        MAPPING => &[&body["config"]["FunctionArn"], &body["config"]["EventSourceArn"]],
        SIGNED_BY => &[&body["CodeSigningConfigArn"]],
        _ => &[],
    };
    told.iter().filter_map(|told| told.as_str().map(str::to_owned)).collect()
}

/// Documents that are read at a time.
const BATCH: usize = 64;

/// One page of `kind`: what `show` makes of each document, without those it makes nothing of, as
/// the list `member`.
pub fn page(
    request: &Request<'_>,
    (kind, whose): (&'static str, Whose<'_>),
    member: &str,
    show: impl Fn(&Document) -> Option<Value>,
) -> Result<Output, ApiError> {
    let place = (kind, request.scope);
    let mut after = match pages::after(request)? {
        None => None,
        Some(last) => {
            let (owner, id) = last.split_once('/').ok_or_else(pages::strange)?;
            Some((Arc::from(owner), Arc::from(id)))
        }
    };
    let max = pages::page_size(request);
    let mut items: Vec<(Value, DocumentKey)> = Vec::new();
    while items.len() <= max {
        let from = after.as_ref().map(|(owner, id): &(Arc<str>, Arc<str>)| (&**owner, &**id));
        let documents = &request.parts.documents;
        let listed = match whose {
            Whose::All => documents.list(place, None, from, BATCH),
            Whose::Owner(owner) => documents.list(place, Some(owner), from, BATCH),
            Whose::Label(label) => documents.labelled(place, label, from, BATCH),
        };
        let Some(last) = listed.last() else { break };
        after = Some((Arc::clone(&last.key.owner), Arc::clone(&last.key.id)));
        items.extend(listed.iter().filter_map(|one| Some((show(one)?, one.key.clone()))));
    }
    let mut members = Map::new();
    let more = items.len() > max;
    items.truncate(max);
    if let (Some((_, key)), true) = (items.last(), more) {
        let next = format!("{}/{}", key.owner, key.id);
        members.insert("NextMarker".to_owned(), json!(pages::next(&next)));
    }
    let items = items.into_iter().map(|(item, _)| item).collect();
    members.insert(member.to_owned(), Value::Array(items));
    Ok(Output { members, ..Output::default() })
}

/// The one table from the refusals of documents to AWS's.
pub fn refused(error: DocumentError) -> ApiError {
    match error {
        DocumentError::Conflict => ApiError::new(
            "ResourceConflictException",
            "The operation cannot be performed at this time. Another request is changing the resource.",
        ),
        DocumentError::Unavailable(cause) => super::unavailable(&cause),
    }
}
