//! Small documents beside functions: what the API stores, shows again, and decides little about.

use async_trait::async_trait;
use lamplight_model::{FunctionArn, FunctionRef, Scope};
use serde_json::Value;
use std::sync::Arc;
use thiserror::Error;

/// The kind of what PutFunctionEventInvokeConfig stores, by qualifier.
pub const EVENT_INVOKE: &str = "event-invoke-config";
/// The kind of what PutFunctionRecursionConfig stores.
pub const RECURSION: &str = "recursion-config";

/// Names one document. Listings are by owner, then id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// What it is, e.g. `url-config`.
    pub kind: &'static str,
    pub scope: Scope,
    /// What it belongs to: a function's name, a layer's name, or the document's own name.
    pub owner: Arc<str>,
    /// Which of the owner's: a qualifier, a version, a statement; `-` where there is only one.
    pub id: Arc<str>,
}

impl DocumentKey {
    pub fn new(kind: &'static str, scope: &Scope, owner: &str, id: &str) -> Self {
        Self { kind, scope: scope.clone(), owner: owner.into(), id: id.into() }
    }

    /// The key of the only document of this kind that `owner` has.
    pub fn only(kind: &'static str, scope: &Scope, owner: &str) -> Self {
        Self::new(kind, scope, owner, "-")
    }
}

/// A document as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub key: DocumentKey,
    pub body: Arc<Value>,
    /// Of the change that wrote it.
    pub rev: i64,
}

/// What a document of a kind is looked for by, besides its key: read from its body and stored
/// nowhere, so that it may change from one version to the next.
pub type Labels = fn(kind: &str, body: &Value) -> Vec<String>;

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Anything,
    Nothing,
    /// The document of this revision.
    Rev(i64),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Somebody else was faster, or the document is (not) there: read again and decide again.
    #[error("the document is not as expected")]
    Conflict,
    /// Nothing was changed; the caller may try again.
    #[error("{0}")]
    Unavailable(String),
}

/// Documents by key. Reads come from memory; writes are durable when they return.
#[async_trait]
pub trait Documents: Send + Sync {
    fn get(&self, key: &DocumentKey) -> Option<Document>;

    /// Documents of a kind in a scope (`place`), those of `owner` where given, that come after the
    /// owner and id of `after`.
    fn list(
        &self,
        place: (&'static str, &Scope),
        owner: Option<&str>,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document>;

    /// The same of those that carry `label`.
    fn labelled(
        &self,
        place: (&'static str, &Scope),
        label: &str,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document>;

    async fn put(
        &self,
        key: DocumentKey,
        expected: Expected,
        body: Value,
    ) -> Result<Document, DocumentError>;

    /// Whether there was one.
    async fn delete(&self, key: &DocumentKey, expected: Expected) -> Result<bool, DocumentError>;

    /// Deletes all documents of `owner` of the given kinds.
    async fn delete_owned(
        &self,
        kinds: &[&'static str],
        scope: &Scope,
        owner: &str,
    ) -> Result<(), DocumentError>;
}

/// What is kept under the name of a function, or of one of its versions and aliases, beside the
/// catalog, and has to end with it.
#[async_trait]
pub trait Belongings: Send + Sync {
    /// Forgets all of it. The catalog calls this while nothing else can happen to the function:
    /// what a namesake gets later is safe. A failure leaves some of it; it is asked again before a
    /// namesake is made.
    async fn forget(&self, function: &FunctionRef) -> Result<(), DocumentError>;

    /// Gives a function that is about to be made what it has from the start, by kind. It may come
    /// to nothing after all: what is given is then forgotten, like that of any function.
    async fn give(&self, function: &FunctionArn, documents: Given) -> Result<(), DocumentError>;
}

/// Documents of which a function has one of each kind.
pub type Given = Vec<(&'static str, Value)>;
