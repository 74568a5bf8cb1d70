//! The catalog as others see it, and the state behind it.

use super::aliases;
use super::error::{LoadError, of_store};
use super::locks::Locks;
use super::machine::{self, Stamp};
use super::reconciler::{self, Suspects};
use super::snapshot::{Function, Snapshot};
use super::tables;
use super::versions::Write;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Env;
use lamplight_model::{
    AliasRecord, FunctionArn, FunctionRecord, FunctionRef, Provisioned, Qualifier, Scope, Target,
};
use lamplight_rpc::{
    AliasChange, Belongings, Catalog, CatalogError, CodeChange, CodeLocation, CodeSource, Counting,
    FunctionPage, Given, Listing, Manager, NewFunction, Publication, SettingsChange, TagsChange,
    Usage, Worker,
};
use lamplight_store::{Blobs, Meta, Op, Rev, StoreError};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::Notify;

/// What the catalog stands on.
#[derive(Clone)]
pub struct Parts {
    pub meta: Arc<dyn Meta>,
    pub blobs: Arc<dyn Blobs>,
    pub worker: Arc<dyn Worker>,
    pub manager: Arc<dyn Manager>,
    pub counting: Arc<dyn Counting>,
    pub belongings: Arc<dyn Belongings>,
    pub env: Env,
}

/// See the module.
pub struct FunctionCatalog {
    core: Arc<Core>,
}

pub(super) struct Core {
    pub parts: Parts,
    snapshot: RwLock<Snapshot>,
    suspects: Mutex<Suspects>,
    /// A function that is being changed. Taken before `codes`.
    pub functions: Locks<FunctionArn>,
    /// Code that is being stored, unpacked or removed.
    pub codes: Locks<String>,
    /// Whoever changes what functions have for themselves. Taken before `functions`.
    pub reservations: tokio::sync::Mutex<()>,
    nudge: Notify,
}

impl FunctionCatalog {
    /// Reads all functions. A record that cannot be read keeps the catalog from starting: running
    /// without a function would look like it was deleted.
    pub async fn load(parts: Parts) -> Result<Self, LoadError> {
        let mut snapshot = Snapshot::default();
        for function in tables::load(&*parts.meta).await? {
            let name = function.arn.qualified(&function.record.version());
            if function.record.published.is_none() {
                parts.counting.reserve(&function.arn, function.record.reserved);
            }
            if !snapshot.insert(function) {
                let reason = "its function is not there".to_owned();
                return Err(LoadError::Record { key: name, reason });
            }
        }
        for (arn, alias) in tables::load_aliases(&*parts.meta).await? {
            let name = arn.qualified(&Qualifier::Alias(alias.record.name.clone()));
            if !snapshot.insert_alias(&arn, alias) {
                let reason = "its function is not there".to_owned();
                return Err(LoadError::Record { key: name, reason });
            }
        }
        let core = Core {
            parts,
            snapshot: RwLock::new(snapshot),
            suspects: Mutex::default(),
            functions: Locks::default(),
            codes: Locks::default(),
            reservations: tokio::sync::Mutex::default(),
            nudge: Notify::new(),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Starts the repair loop, which runs until the server stops. Without it new functions stay
    /// Pending.
    pub fn start(&self) {
        self.core.parts.env.tasks.spawn(reconciler::run(Arc::clone(&self.core)));
    }

    /// Runs a change to its end, also when the caller goes away.
    async fn change<T, F>(&self, change: impl FnOnce(Arc<Core>) -> F) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CatalogError>> + Send + 'static,
    {
        let task = self.core.parts.env.tasks.spawn(change(Arc::clone(&self.core)));
        task.await.unwrap_or_else(|error| Err(CatalogError::Unavailable(error.to_string())))
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Core {
    pub fn env(&self) -> &Env {
        &self.parts.env
    }

    pub fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be something for the repair loop.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    pub async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// `$LATEST` or a published version.
    pub fn version(&self, arn: &FunctionArn, version: &Qualifier) -> Option<Arc<Function>> {
        self.snapshot().get(arn, version).cloned()
    }

    pub fn stamp(&self) -> Stamp {
        Stamp { revision_id: self.env().random.uuid(), now: self.env().clock.now() }
    }

    /// The version that a request names, `$LATEST` where it names none.
    pub fn named(&self, function: &FunctionRef) -> Result<Arc<Function>, CatalogError> {
        let found = self.version(&function.function, &function.qualifier_or_latest());
        found.ok_or_else(|| CatalogError::NotFound(function.arn()))
    }

    /// Lets go what a deleted function, version or alias owned. It is gone all the same when that
    /// fails: the rest is forgotten before there is a namesake. The caller holds the lock, so that
    /// nothing of a namesake is there yet.
    pub async fn forget(&self, gone: &FunctionRef) {
        if let Err(error) = self.parts.belongings.forget(gone).await {
            tracing::warn!(%error, function = gone.arn(), "what a deleted function owned is left");
        }
    }

    /// Makes sure that what is about to be made inherits nothing. The caller holds the lock.
    pub async fn forget_namesake(&self, coming: &FunctionRef) -> Result<(), CatalogError> {
        let forgotten = self.parts.belongings.forget(coming).await;
        forgotten.map_err(|error| CatalogError::Unavailable(error.to_string()))
    }

    /// Gives what is about to be made what it has from the start. The caller holds the lock.
    pub async fn give(&self, arn: &FunctionArn, documents: Given) -> Result<(), CatalogError> {
        if documents.is_empty() {
            return Ok(());
        }
        let given = self.parts.belongings.give(arn, documents).await;
        given.map_err(|error| CatalogError::Unavailable(error.to_string()))
    }

    /// Makes records the truth, all or none, if those that they replace are still there. Answers
    /// with the first of them.
    pub async fn commit(
        &self,
        arn: &FunctionArn,
        writes: Vec<Write>,
    ) -> Result<Arc<FunctionRecord>, StoreError> {
        let mut ops = Vec::new();
        for (expected, record) in &writes {
            let key = tables::key_of(arn, record)?;
            ops.push(Op::Expect(key.clone(), *expected));
            ops.push(Op::Put(key, Bytes::from(record.to_bytes())));
        }
        let last = self.parts.meta.txn(ops).await?;
        let mut first = None;
        // Changes are numbered without gaps, and the transaction answered with its last one.
        for (rev, (_, record)) in (last.0 + 1 - writes.len() as i64..).map(Rev).zip(writes) {
            let function = Function::new(arn.clone(), record, rev);
            first.get_or_insert_with(|| Arc::clone(&function.record));
            if function.record.published.is_none() {
                self.parts.counting.reserve(arn, function.record.reserved);
            }
            self.snapshot_mut().insert(function);
        }
        self.nudge();
        first.ok_or_else(|| StoreError::TooLarge("no record at all".to_owned()))
    }
}

#[async_trait]
impl Catalog for FunctionCatalog {
    async fn create(
        &self,
        function: &FunctionArn,
        new: NewFunction,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = function.clone();
        self.change(|core| async move { core.create(arn, new).await }).await
    }

    async fn update_code(
        &self,
        function: &FunctionRef,
        change: CodeChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.update_code(function, change).await }).await
    }

    async fn update_settings(
        &self,
        function: &FunctionRef,
        revision_id: Option<String>,
        change: SettingsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.update_settings(function, revision_id, change).await })
            .await
    }

    async fn publish(
        &self,
        function: &FunctionRef,
        publication: Publication,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.publish(function, publication).await }).await
    }

    async fn update_tags(
        &self,
        function: &FunctionArn,
        change: TagsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = function.clone();
        self.change(|core| async move { core.update_tags(arn, change).await }).await
    }

    async fn delete(&self, function: &FunctionRef) -> Result<(), CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.delete(function).await }).await
    }

    fn get(&self, function: &FunctionRef) -> Result<Arc<FunctionRecord>, CatalogError> {
        Ok(Arc::clone(&self.core.named(function)?.record))
    }

    fn list(&self, scope: &Scope, listing: Listing<'_>) -> FunctionPage {
        self.core.snapshot().list(scope, listing)
    }

    fn versions(
        &self,
        function: &FunctionArn,
        after: Option<u64>,
        max: usize,
    ) -> Result<FunctionPage, CatalogError> {
        let found = self.core.snapshot().versions(function, after, max);
        found.ok_or_else(|| CatalogError::NotFound(function.to_string()))
    }

    async fn create_alias(
        &self,
        function: &FunctionArn,
        name: &str,
        change: AliasChange,
    ) -> Result<Arc<AliasRecord>, CatalogError> {
        let (arn, name) = (function.clone(), name.to_owned());
        self.change(|core| async move { core.create_alias(arn, name, change).await }).await
    }

    async fn update_alias(
        &self,
        function: &FunctionArn,
        name: &str,
        change: AliasChange,
    ) -> Result<Arc<AliasRecord>, CatalogError> {
        let (arn, name) = (function.clone(), name.to_owned());
        self.change(|core| async move { core.update_alias(arn, name, change).await }).await
    }

    async fn delete_alias(&self, function: &FunctionArn, name: &str) -> Result<(), CatalogError> {
        let (arn, name) = (function.clone(), name.to_owned());
        self.change(|core| async move { core.delete_alias(arn, name).await }).await
    }

    fn alias(&self, function: &FunctionArn, name: &str) -> Result<Arc<AliasRecord>, CatalogError> {
        let found = self.core.alias(function, name);
        let alias = || function.qualified(&Qualifier::Alias(name.to_owned()));
        found
            .map(|alias| Arc::clone(&alias.record))
            .ok_or_else(|| CatalogError::Missing(format!("Cannot find alias arn: {}", alias())))
    }

    fn aliases(
        &self,
        function: &FunctionArn,
        after: Option<&str>,
    ) -> Result<Vec<Arc<AliasRecord>>, CatalogError> {
        let snapshot = self.core.snapshot();
        let found = snapshot.aliases(function, after);
        let found = found.ok_or_else(|| CatalogError::NotFound(function.to_string()))?;
        Ok(found.map(|alias| Arc::clone(&alias.record)).collect())
    }

    async fn reserve(
        &self,
        function: &FunctionRef,
        reserved: Option<u32>,
    ) -> Result<(), CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.reserve(function, reserved).await }).await
    }

    async fn provision(
        &self,
        function: &FunctionRef,
        requested: Option<u32>,
    ) -> Result<Option<Provisioned>, CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.provision(function, requested).await }).await
    }

    fn provisioned(&self, function: &FunctionRef) -> Result<Option<Provisioned>, CatalogError> {
        self.core.provisioned(function)
    }

    fn all_provisioned(
        &self,
        function: &FunctionArn,
    ) -> Result<Vec<(Qualifier, Provisioned)>, CatalogError> {
        self.core.all_provisioned(function)
    }

    fn committed(&self, scope: &Scope) -> u32 {
        self.core.committed(scope)
    }

    fn usage(&self, scope: &Scope) -> Usage {
        self.core.snapshot().usage(scope)
    }

    fn resolve(&self, function: &FunctionRef) -> Result<Arc<Target>, CatalogError> {
        // AWS: names `$LATEST` in the refusal of an invocation that named no qualifier.
        let arn = &function.function;
        let snapshot = self.core.snapshot();
        let asked = function.qualifier.clone().unwrap_or_else(|| snapshot.unqualified(arn));
        let routed = match &asked {
            Qualifier::Alias(name) => snapshot
                .alias(arn, name)
                .map(|alias| aliases::route(&alias.record, &*self.core.env().random)),
            _ => None,
        };
        let found = snapshot.get(arn, routed.as_ref().unwrap_or(&asked));
        let found = found.ok_or_else(|| CatalogError::NotFound(arn.qualified(&asked)))?;
        machine::guard_invoke(&found.record)?;
        Ok(Arc::clone(&found.target))
    }

    async fn code(&self, function: &FunctionRef) -> Result<CodeLocation, CatalogError> {
        let digest = self.core.named(function)?.record.code.digest.clone();
        let path = self.core.zip(&digest).await.map_err(of_store)?;
        Ok(CodeLocation { path })
    }
}

#[async_trait]
impl CodeSource for FunctionCatalog {
    async fn fetch(&self, digest: &str) -> Result<PathBuf, String> {
        self.core.zip(digest).await.map_err(|error| error.to_string())
    }
}
