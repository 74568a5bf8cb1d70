//! The function catalog as the frontend sees it.

use crate::Given;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_model::{
    AliasRecord, FunctionArn, FunctionRecord, FunctionRef, FunctionSettings, Origin, Provisioned,
    Qualifier, Scope, Target,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// As what a function is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishTo {
    /// A version with the next number.
    #[default]
    Number,
    /// `$LATEST.PUBLISHED`, in place of the one before.
    Latest,
}

/// What CreateFunction makes.
#[derive(Debug, Clone)]
pub struct NewFunction {
    pub settings: FunctionSettings,
    pub zip: Bytes,
    /// Where it came from, to be kept.
    pub origin: Option<Origin>,
    pub tags: BTreeMap<String, String>,
    /// Kept beside the catalog, and there from the first moment.
    pub belongings: Given,
    /// Makes its first version along with it, and answers with that.
    pub publish: Option<PublishTo>,
}

/// What PublishVersion asks for.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// `$LATEST`'s where none is given.
    pub description: Option<String>,
    /// Of the code that the caller means, in base64.
    pub code_sha256: Option<String>,
    pub revision_id: Option<String>,
    pub to: PublishTo,
}

/// What CreateAlias sets and UpdateAlias changes; what is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct AliasChange {
    /// `$LATEST` or a version.
    pub version: Option<Qualifier>,
    pub description: Option<String>,
    /// Further versions and their share of the calls, 0 to 1.
    pub weights: Option<Vec<(u64, f64)>>,
    pub revision_id: Option<String>,
}

/// What UpdateFunctionCode changes.
#[derive(Debug, Clone, Default)]
pub struct CodeChange {
    pub zip: Bytes,
    /// Where it came from, to be kept.
    pub origin: Option<Origin>,
    pub architectures: Option<Vec<String>>,
    pub revision_id: Option<String>,
    /// Checks everything, changes nothing.
    pub dry_run: bool,
    /// Publishes the changed function, and answers with that version.
    pub publish: Option<PublishTo>,
}

/// What UpdateFunctionConfiguration changes: a pure function over the settings.
pub type SettingsChange = Box<dyn FnOnce(&mut FunctionSettings) -> Result<(), CatalogError> + Send>;

/// What TagResource and UntagResource change: a pure function over the tags.
pub type TagsChange =
    Box<dyn FnOnce(&mut BTreeMap<String, String>) -> Result<(), CatalogError> + Send>;

/// Where a version's zip file is.
#[derive(Debug, Clone)]
pub struct CodeLocation {
    pub path: PathBuf,
}

/// Which part of a listing of functions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Only what comes after this name and version.
    pub after: Option<(&'a str, u64)>,
    pub max: usize,
    /// Published versions too, each after its function.
    pub versions: bool,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct FunctionPage {
    pub functions: Vec<Arc<FunctionRecord>>,
    /// Name and version (0 for `$LATEST`) after which the next page starts.
    pub next: Option<(String, u64)>,
}

/// What an account uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all zip files.
    pub code_size: u64,
    pub functions: u64,
}

/// A refusal; each variant says what the caller may do.
#[derive(Debug, Clone, Error)]
pub enum CatalogError {
    /// AWS: `Function not found: ARN`, with the qualifier where one was given.
    #[error("Function not found: {0}")]
    NotFound(String),
    #[error("Function already exist: {0}")]
    Exists(String),
    /// The text is for the caller.
    #[error("{0}")]
    Invalid(String),
    /// The same, of the few whose answers do not say whose fault it is.
    #[error("{0}")]
    Untyped(String),
    /// Something that belongs to a function is not there. The text is for the caller.
    #[error("{0}")]
    Missing(String),
    /// AWS: an update is in progress, or the function is Pending.
    #[error("{0}")]
    Conflict(String),
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the \
         GetFunction/GetAlias API to retrieve the latest Revision Id"
    )]
    Precondition,
    #[error("Code storage limit exceeded.")]
    StorageExceeded,
    /// The store cannot be reached or is full: nothing was changed, the caller may try again.
    #[error("{0}")]
    Unavailable(String),
}

/// Functions: the truth about what should be. Reads come from memory and go on when the store is
/// gone; writes are durable when they return.
#[async_trait]
pub trait Catalog: Send + Sync {
    async fn create(
        &self,
        function: &FunctionArn,
        new: NewFunction,
    ) -> Result<Arc<FunctionRecord>, CatalogError>;

    async fn update_code(
        &self,
        function: &FunctionRef,
        change: CodeChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError>;

    async fn update_settings(
        &self,
        function: &FunctionRef,
        revision_id: Option<String>,
        change: SettingsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError>;

    /// Makes a version of what `$LATEST` is now, unless the last one is just that.
    async fn publish(
        &self,
        function: &FunctionRef,
        publication: Publication,
    ) -> Result<Arc<FunctionRecord>, CatalogError>;

    /// Changes the tags of a function and nothing that its environments depend on.
    async fn update_tags(
        &self,
        function: &FunctionArn,
        change: TagsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError>;

    /// Without a qualifier the function with all its versions and aliases, else that version.
    async fn delete(&self, function: &FunctionRef) -> Result<(), CatalogError>;

    fn get(&self, function: &FunctionRef) -> Result<Arc<FunctionRecord>, CatalogError>;

    /// Functions of a scope by name.
    fn list(&self, scope: &Scope, listing: Listing<'_>) -> FunctionPage;

    /// `$LATEST` and the versions of one function by number, those after `after`.
    fn versions(
        &self,
        function: &FunctionArn,
        after: Option<u64>,
        max: usize,
    ) -> Result<FunctionPage, CatalogError>;

    async fn create_alias(
        &self,
        function: &FunctionArn,
        name: &str,
        change: AliasChange,
    ) -> Result<Arc<AliasRecord>, CatalogError>;

    async fn update_alias(
        &self,
        function: &FunctionArn,
        name: &str,
        change: AliasChange,
    ) -> Result<Arc<AliasRecord>, CatalogError>;

    async fn delete_alias(&self, function: &FunctionArn, name: &str) -> Result<(), CatalogError>;

    fn alias(&self, function: &FunctionArn, name: &str) -> Result<Arc<AliasRecord>, CatalogError>;

    /// The aliases of a function by name, those after `after`.
    fn aliases(
        &self,
        function: &FunctionArn,
        after: Option<&str>,
    ) -> Result<Vec<Arc<AliasRecord>>, CatalogError>;

    /// Sets or removes the reserved concurrency of a function.
    async fn reserve(
        &self,
        function: &FunctionRef,
        reserved: Option<u32>,
    ) -> Result<(), CatalogError>;

    /// Sets or removes the provisioned concurrency of a version or an alias; answers with what is
    /// there then.
    async fn provision(
        &self,
        function: &FunctionRef,
        requested: Option<u32>,
    ) -> Result<Option<Provisioned>, CatalogError>;

    /// The provisioned concurrency that a version or an alias was given.
    fn provisioned(&self, function: &FunctionRef) -> Result<Option<Provisioned>, CatalogError>;

    /// The same of all aliases and versions of a function, aliases first.
    fn all_provisioned(
        &self,
        function: &FunctionArn,
    ) -> Result<Vec<(Qualifier, Provisioned)>, CatalogError>;

    /// The concurrency that functions of a scope have for themselves, in all.
    fn committed(&self, scope: &Scope) -> u32;

    fn usage(&self, scope: &Scope) -> Usage;

    /// What an invocation of `function` runs; of an alias with weights, each time one of its
    /// versions. No store access.
    fn resolve(&self, function: &FunctionRef) -> Result<Arc<Target>, CatalogError>;

    async fn code(&self, function: &FunctionRef) -> Result<CodeLocation, CatalogError>;
}

/// Gives workers the zip files of functions.
#[async_trait]
pub trait CodeSource: Send + Sync {
    /// The file with this digest, or why it cannot be had.
    async fn fetch(&self, digest: &str) -> Result<PathBuf, String>;
}
