//! The catalog as others see it, and the state behind it.

use super::error::{LoadError, of_store};
use super::locks::Locks;
use super::machine::{self, Stamp};
use super::reconciler::{self, Suspects};
use super::snapshot::{Function, Snapshot};
use super::tables;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Env;
use lamplight_model::{
    FunctionArn, FunctionRecord, FunctionRef, FunctionSettings, Qualifier, Scope, Target,
};
use lamplight_rpc::{
    Catalog, CatalogError, CodeChange, CodeLocation, CodeSource, FunctionPage, Manager,
    SettingsChange, Usage, Worker,
};
use lamplight_store::{Blobs, Meta, Op, Rev, StoreError};
use std::collections::BTreeMap;
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
    nudge: Notify,
}

impl FunctionCatalog {
    /// Reads all functions. A record that cannot be read keeps the catalog from starting: running
    /// without a function would look like it was deleted.
    pub async fn load(parts: Parts) -> Result<Self, LoadError> {
        let mut snapshot = Snapshot::default();
        for function in tables::load(&*parts.meta).await? {
            snapshot.insert(function);
        }
        let core = Core {
            parts,
            snapshot: RwLock::new(snapshot),
            suspects: Mutex::default(),
            functions: Locks::default(),
            codes: Locks::default(),
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

    #[cfg(test)]
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

    pub fn function(&self, arn: &FunctionArn) -> Option<Arc<Function>> {
        self.snapshot().get(arn).cloned()
    }

    pub fn stamp(&self) -> Stamp {
        Stamp { revision_id: self.env().random.uuid(), now: self.env().clock.now() }
    }

    /// The function that a request names. `$LATEST` is the only version so far.
    pub fn named(&self, function: &FunctionRef) -> Result<Arc<Function>, CatalogError> {
        let found = match function.qualifier {
            None | Some(Qualifier::Latest) => self.function(&function.function),
            Some(_) => None,
        };
        found.ok_or_else(|| CatalogError::NotFound(function.arn()))
    }

    /// Makes `record` the truth, if the function still has revision `expected`.
    pub async fn commit(
        &self,
        arn: &FunctionArn,
        expected: Option<Rev>,
        record: FunctionRecord,
    ) -> Result<Arc<FunctionRecord>, StoreError> {
        let key = tables::key(arn)?;
        let body = Bytes::from(record.to_bytes());
        let ops = vec![Op::Expect(key.clone(), expected), Op::Put(key, body)];
        let rev = self.parts.meta.txn(ops).await?;
        let function = Function::new(arn.clone(), record, rev);
        let record = Arc::clone(&function.record);
        self.snapshot_mut().insert(function);
        self.nudge();
        Ok(record)
    }
}

#[async_trait]
impl Catalog for FunctionCatalog {
    async fn create(
        &self,
        function: &FunctionArn,
        settings: FunctionSettings,
        zip: Bytes,
        tags: BTreeMap<String, String>,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = function.clone();
        self.change(|core| async move { core.create(arn, settings, zip, tags).await }).await
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

    async fn delete(&self, function: &FunctionRef) -> Result<(), CatalogError> {
        let function = function.clone();
        self.change(|core| async move { core.delete(function).await }).await
    }

    fn get(&self, function: &FunctionRef) -> Result<Arc<FunctionRecord>, CatalogError> {
        Ok(Arc::clone(&self.core.named(function)?.record))
    }

    fn list(&self, scope: &Scope, after: Option<&str>, max: usize) -> FunctionPage {
        self.core.snapshot().list(scope, after, max)
    }

    fn usage(&self, scope: &Scope) -> Usage {
        self.core.snapshot().usage(scope)
    }

    fn resolve(&self, function: &FunctionRef) -> Result<Arc<Target>, CatalogError> {
        // AWS: names `$LATEST` in the refusal of an invocation that named no qualifier.
        let found = self.core.named(function).map_err(|_| {
            CatalogError::NotFound(function.function.qualified(&function.qualifier_or_latest()))
        })?;
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
