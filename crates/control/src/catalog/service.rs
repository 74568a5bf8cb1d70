//! The catalog at work: check, store the code, commit, swap the snapshot, tell the manager.

use super::error::{LoadError, of_prepare, of_store};
use super::locks::Locks;
use super::machine::{self, Birth, Stamp};
use super::reconciler::{self, Suspects};
use super::snapshot::{Function, Snapshot};
use super::tables;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Env;
use lamplight_model::{
    CodeRef, FunctionArn, FunctionRecord, FunctionRef, FunctionSettings, PackageType, Qualifier,
    Runtime, Scope, Target, limits,
};
use lamplight_rpc::{
    Catalog, CatalogError, CodeChange, CodeLocation, CodeSource, FunctionPage, Manager,
    SettingsChange, Usage, Worker,
};
use lamplight_store::{Blob, Blobs, Digest, Meta, Op, Rev, StoreError};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, OwnedMutexGuard};

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

/// Code that is in the store and unpacked; the gate keeps it there until a record names it.
struct Stored {
    code: CodeRef,
    _gate: OwnedMutexGuard<()>,
}

impl Core {
    pub fn env(&self) -> &Env {
        &self.parts.env
    }

    pub fn snapshot(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot_mut(&self) -> RwLockWriteGuard<'_, Snapshot> {
        self.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn named(&self, function: &FunctionRef) -> Result<Arc<Function>, CatalogError> {
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
        self.nudge.notify_one();
        Ok(record)
    }

    /// The zip file of code that is in use, or was a moment ago.
    pub async fn zip(&self, digest: &str) -> Result<PathBuf, StoreError> {
        let used = self.snapshot().code_size(digest);
        let size = used.or_else(|| self.suspects().size(digest));
        match (Digest::parse(digest), size) {
            (Some(name), Some(size)) => self.parts.blobs.path(&name, size).await,
            _ => Err(StoreError::NoBlob(digest.to_owned())),
        }
    }

    /// Removes code that no function uses. The caller holds its gate.
    pub async fn discard(&self, digest: &str) {
        // Of a suspect, calls may still be running: it has its own time.
        if self.snapshot().uses(digest) || self.suspects().contains(digest) {
            return;
        }
        let Some(name) = Digest::parse(digest) else { return };
        // The file goes last: while it is there, a sweep finds what a crash left undone.
        self.parts.worker.forget(digest).await;
        if let Err(error) = self.parts.blobs.delete(&name).await {
            tracing::warn!(digest, %error, "unused code cannot be removed");
        }
    }

    /// Checks, stores and unpacks. What no function uses is gone again after an error.
    async fn store_code(&self, zip: Bytes) -> Result<Stored, CatalogError> {
        let size = zip.len() as u64;
        let hashed = self.env().tasks.spawn_blocking(move || Blob::new(zip)).await;
        let blob = hashed.map_err(|error| CatalogError::Unavailable(error.to_string()))?;
        let name = blob.digest().clone();
        let digest = name.to_string();
        let gate = self.codes.lock(&digest).await;
        let worker = &self.parts.worker;
        let prepared = async {
            self.parts.blobs.put(blob).await.map_err(of_store)?;
            let path = self.parts.blobs.path(&name, size).await.map_err(of_store)?;
            worker.prepare(&digest, &path).await.map_err(|error| {
                tracing::info!(digest, ?error, "code is refused");
                of_prepare(error)
            })
        };
        match prepared.await {
            Ok(_) => Ok(Stored { code: CodeRef { digest, size }, _gate: gate }),
            Err(error) => {
                self.discard(&digest).await;
                Err(error)
            }
        }
    }

    /// Makes a record with new code the truth, or removes the code again.
    async fn commit_code(
        &self,
        arn: &FunctionArn,
        expected: Option<Rev>,
        (record, stored): (FunctionRecord, Stored),
    ) -> Result<Arc<FunctionRecord>, StoreError> {
        let committed = self.commit(arn, expected, record).await;
        match &committed {
            // Nobody knows whether the record was written: the next start will.
            Ok(_) | Err(StoreError::Failed(_)) => {}
            Err(_) => self.discard(&stored.code.digest).await,
        }
        committed
    }

    /// Code that `old` does not need any more goes when its calls have ended.
    fn suspect(&self, old: &Function) {
        let (code, now) = (&old.record.code, self.env().clock.instant());
        if self.snapshot().uses(&code.digest) {
            return;
        }
        self.suspects().add(&code.digest, code.size, old.target.timeout, now);
        self.nudge.notify_one();
    }

    fn check_storage(&self, scope: &Scope, more: usize, less: u64) -> Result<(), CatalogError> {
        let used = self.snapshot().usage(scope).code_size.saturating_sub(less);
        match used.saturating_add(more as u64) > limits::CODE_STORAGE {
            true => Err(CatalogError::StorageExceeded),
            false => Ok(()),
        }
    }

    fn check_runtime(&self, settings: &FunctionSettings) -> Result<(), CatalogError> {
        if settings.package_type == PackageType::Image {
            return Err(CatalogError::Invalid(
                "Functions of package type Image cannot be run here yet.".to_owned(),
            ));
        }
        let (Some(runtime), Some(_)) = (&settings.runtime, &settings.handler) else {
            return Err(CatalogError::Invalid(
                "Runtime and Handler are mandatory parameters for functions created with \
                 deployment packages."
                    .to_owned(),
            ));
        };
        if Runtime::is_blocked(runtime) {
            return Err(CatalogError::Invalid(format!(
                "The runtime parameter of {runtime} is no longer supported for creating or \
                 updating AWS Lambda functions. We recommend you use a supported runtime while \
                 creating or updating functions."
            )));
        }
        self.parts.worker.can_run(runtime).map_err(CatalogError::Invalid)
    }

    async fn create(
        &self,
        arn: FunctionArn,
        settings: FunctionSettings,
        zip: Bytes,
        tags: BTreeMap<String, String>,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        tables::key(&arn).map_err(of_store)?;
        check_zip(&zip)?;
        self.check_runtime(&settings)?;
        let _one_at_a_time = self.functions.lock(&arn).await;
        let exists = || CatalogError::Exists(arn.name.to_string());
        if self.function(&arn).is_some() {
            return Err(exists());
        }
        self.check_storage(&arn.scope, zip.len(), 0)?;
        let stored = self.store_code(zip).await?;
        let birth = Birth {
            name: arn.name.to_string(),
            settings,
            code: stored.code.clone(),
            tags,
            generation: self.snapshot().next_generation(),
        };
        let record = machine::create(birth, self.stamp());
        self.commit_code(&arn, None, (record, stored)).await.map_err(|error| match error {
            StoreError::Conflict(_) => exists(),
            other => of_store(other),
        })
    }

    async fn update_code(
        &self,
        function: FunctionRef,
        change: CodeChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        check_zip(&change.zip)?;
        let arn = &function.function;
        let _one_at_a_time = self.functions.lock(arn).await;
        let old = self.named(&function)?;
        machine::guard_update(arn, &old.record, change.revision_id.as_deref())?;
        self.check_storage(&arn.scope, change.zip.len(), old.record.code.size)?;
        let stored = self.store_code(change.zip).await?;
        if change.dry_run {
            self.discard(&stored.code.digest).await;
            return Ok(Arc::clone(&old.record));
        }
        let (code, architectures) = (stored.code.clone(), change.architectures);
        let record = machine::update_code(&old.record, code, architectures, self.stamp());
        let committed = self.commit_code(arn, Some(old.rev), (record, stored)).await;
        let record = committed.map_err(of_store)?;
        self.parts.manager.retire(arn, Some(record.generation)).await;
        self.suspect(&old);
        Ok(record)
    }

    async fn update_settings(
        &self,
        function: FunctionRef,
        revision_id: Option<String>,
        change: SettingsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = &function.function;
        let _one_at_a_time = self.functions.lock(arn).await;
        let old = self.named(&function)?;
        machine::guard_update(arn, &old.record, revision_id.as_deref())?;
        let mut settings = old.record.settings.clone();
        change(&mut settings)?;
        // A runtime that has gone missing must not keep other settings from being changed.
        if settings.runtime != old.record.settings.runtime {
            self.check_runtime(&settings)?;
        }
        let record = machine::update_settings(&old.record, settings, self.stamp());
        let committed = self.commit(arn, Some(old.rev), record).await;
        let record = committed.map_err(of_store)?;
        self.parts.manager.retire(arn, Some(record.generation)).await;
        Ok(record)
    }

    async fn delete(&self, function: FunctionRef) -> Result<(), CatalogError> {
        let arn = &function.function;
        if function.qualifier == Some(Qualifier::Latest) {
            return Err(CatalogError::Invalid(
                "$LATEST version cannot be deleted without deleting the function.".to_owned(),
            ));
        }
        let _one_at_a_time = self.functions.lock(arn).await;
        let old = self.named(&function)?;
        let key = tables::key(arn).map_err(of_store)?;
        let ops = vec![Op::Expect(key.clone(), Some(old.rev)), Op::Delete(key)];
        self.parts.meta.txn(ops).await.map_err(of_store)?;
        self.snapshot_mut().remove(arn);
        self.parts.manager.retire(arn, None).await;
        self.suspect(&old);
        Ok(())
    }
}

fn check_zip(zip: &Bytes) -> Result<(), CatalogError> {
    match zip.len() > limits::ZIPPED_CODE {
        true => Err(CatalogError::Invalid(format!(
            "Zipped size must be smaller than {} bytes",
            limits::ZIPPED_CODE
        ))),
        false => Ok(()),
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
