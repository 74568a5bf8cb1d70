//! A worker, a manager and a server that can be cut off in the middle of anything.

use super::super::{FunctionCatalog, Parts};
use crate::counting::AccountCounting;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::{Env, ManualClock, OsRandom, Tasks, Timestamp};
use lamplight_model::*;
use lamplight_rpc::*;
use lamplight_store::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// What a disk would keep over a restart: unpacked code. Takes `bad…` and `huge…` for what they
/// say.
#[derive(Default)]
pub struct FakeWorker {
    pub unpacked: Mutex<BTreeSet<String>>,
    /// Answered instead of unpacking, where there is one.
    pub failure: Mutex<Option<PrepareError>>,
}

#[async_trait]
impl Worker for FakeWorker {
    async fn start(&self, _: Arc<Target>) -> Result<EnvironmentId, StartError> {
        Err(StartError::Stopping)
    }

    async fn provision(&self, _: Arc<Target>) -> Result<EnvironmentId, StartError> {
        Err(StartError::Stopping)
    }

    async fn invoke(&self, _: EnvironmentId, _: Invocation) -> Result<Outcome, StartError> {
        Err(StartError::Gone)
    }

    async fn end(&self, _: EnvironmentId) {}

    async fn prepare(&self, digest: &str, zip: &Path) -> Result<Prepared, PrepareError> {
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        let content = std::fs::read(zip).map_err(|e| PrepareError::Failed(e.to_string()))?;
        if content.starts_with(b"bad") {
            return Err(PrepareError::BadZip("no directory".into()));
        }
        if content.starts_with(b"huge") {
            return Err(PrepareError::TooLarge);
        }
        self.unpacked.lock().unwrap().insert(digest.to_owned());
        Ok(Prepared { unzipped: content.len() as u64 })
    }

    async fn forget(&self, digest: &str) {
        self.unpacked.lock().unwrap().remove(digest);
    }

    async fn can_run(&self, runtime: &str) -> Result<(), String> {
        match runtime {
            "ruby3.3" => Err("ruby is not installed".to_owned()),
            _ => Ok(()),
        }
    }

    fn can_run_images(&self) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Default)]
pub struct FakeManager(
    pub Mutex<Vec<(String, Outdated)>>,
    /// What is to be ready, by version.
    pub Mutex<Vec<(String, u32)>>,
);

#[async_trait]
impl Manager for FakeManager {
    async fn assign(&self, _: &Arc<Target>, _: Option<&str>) -> Result<Assignment, StartError> {
        Err(StartError::Stopping)
    }

    fn answered(&self, _: &mut Assignment) {}

    async fn settle(&self, _: Assignment, _: bool) {}

    fn provision(&self, wishes: Vec<(Arc<Target>, u32)>) {
        let name = |target: &Target| format!("{}:{}", target.function.name, target.version);
        *self.1.lock().unwrap() = wishes.iter().map(|(target, n)| (name(target), *n)).collect();
    }

    fn provisioned(&self, _: &FunctionArn, _: &Qualifier) -> Provisioning {
        Provisioning::default()
    }

    async fn retire(&self, function: &FunctionArn, outdated: Outdated) {
        self.0.lock().unwrap().push((function.name.to_string(), outdated));
    }
}

/// A server that is cut off after some steps: the step before the cut happens or not, those after
/// it do not.
pub struct Cut {
    pub left: AtomicI64,
    pub last_happens: bool,
}

impl Cut {
    async fn step<T, E>(
        &self,
        dead: E,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1 if self.last_happens => work.await.and(Err(dead)),
            left if left > 1 => work.await,
            _ => Err(dead),
        }
    }

    fn dead() -> StoreError {
        StoreError::Unavailable("cut off".into())
    }
}

pub struct CutMeta(pub Arc<dyn Meta>, pub Arc<Cut>);

#[async_trait]
impl Meta for CutMeta {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &Key, page: Page) -> Result<Vec<Entry>, StoreError> {
        self.0.list(prefix, page).await
    }
    async fn txn(&self, ops: Vec<Op>) -> Result<Rev, StoreError> {
        self.1.step(Cut::dead(), self.0.txn(ops)).await
    }
    async fn changes(&self, after: Rev, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.0.changes(after, limit).await
    }
}

pub struct CutBlobs(pub Arc<dyn Blobs>, pub Arc<Cut>);

#[async_trait]
impl Blobs for CutBlobs {
    async fn put(&self, blob: Blob) -> Result<(), StoreError> {
        self.1.step(Cut::dead(), self.0.put(blob)).await
    }
    async fn path(&self, digest: &Digest, len: u64) -> Result<PathBuf, StoreError> {
        self.0.path(digest, len).await
    }
    async fn delete(&self, digest: &Digest) -> Result<(), StoreError> {
        self.1.step(Cut::dead(), self.0.delete(digest)).await
    }
    async fn list(&self) -> Result<Vec<Digest>, StoreError> {
        self.0.list().await
    }
}

pub struct CutWorker(pub Arc<FakeWorker>, pub Arc<Cut>);

#[async_trait]
impl Worker for CutWorker {
    async fn start(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        self.0.start(target).await
    }
    async fn provision(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        self.0.provision(target).await
    }
    async fn invoke(&self, id: EnvironmentId, call: Invocation) -> Result<Outcome, StartError> {
        self.0.invoke(id, call).await
    }
    async fn end(&self, id: EnvironmentId) {
        self.0.end(id).await;
    }
    async fn prepare(&self, digest: &str, zip: &Path) -> Result<Prepared, PrepareError> {
        let dead = PrepareError::Failed("cut off".into());
        self.1.step(dead, self.0.prepare(digest, zip)).await
    }
    async fn forget(&self, digest: &str) {
        let forget = async {
            self.0.forget(digest).await;
            Ok(())
        };
        let _ = self.1.step((), forget).await;
    }
    async fn can_run(&self, runtime: &str) -> Result<(), String> {
        self.0.can_run(runtime).await
    }
    fn can_run_images(&self) -> Result<(), String> {
        self.0.can_run_images()
    }
}

/// Notes what is given and forgotten, and fails when told to.
#[derive(Default)]
pub struct FakeBelongings {
    pub forgotten: Mutex<Vec<String>>,
    pub given: Mutex<Vec<String>>,
    pub fails: AtomicBool,
}

#[async_trait]
impl Belongings for FakeBelongings {
    async fn forget(&self, function: &FunctionRef) -> Result<(), DocumentError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(DocumentError::Unavailable("the disk is full".into()));
        }
        self.forgotten.lock().unwrap().push(function.arn());
        Ok(())
    }

    async fn give(&self, function: &FunctionArn, documents: Given) -> Result<(), DocumentError> {
        let kinds = documents.iter().map(|(kind, _)| format!("{function} has {kind}"));
        self.given.lock().unwrap().extend(kinds);
        Ok(())
    }
}

/// Everything that outlives a catalog.
pub struct World {
    pub meta: Arc<MemoryMeta>,
    pub store: Store,
    pub worker: Arc<FakeWorker>,
    pub manager: Arc<FakeManager>,
    pub belongings: Arc<FakeBelongings>,
    pub counting: Arc<AccountCounting>,
    pub clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            meta: Arc::default(),
            store: Store::open(dir.path(), &Env::system()).unwrap(),
            worker: Arc::default(),
            manager: Arc::default(),
            belongings: Arc::default(),
            counting: Arc::new(AccountCounting::new(1000, Arc::new(lamplight_env::SystemClock))),
            clock: Arc::new(ManualClock::at(Timestamp::from_millis(1_795_000_000_000))),
            _dir: dir,
        }
    }

    pub fn parts(&self) -> Parts {
        Parts {
            meta: self.meta.clone(),
            blobs: self.store.blobs.clone(),
            worker: self.worker.clone(),
            manager: self.manager.clone(),
            belongings: self.belongings.clone(),
            counting: self.counting.clone(),
            env: Env { clock: self.clock.clone(), random: Arc::new(OsRandom), tasks: Tasks::new() },
        }
    }

    pub fn cut_parts(&self, cut: &Arc<Cut>) -> Parts {
        let whole = self.parts();
        Parts {
            meta: Arc::new(CutMeta(whole.meta, cut.clone())),
            blobs: Arc::new(CutBlobs(whole.blobs, cut.clone())),
            worker: Arc::new(CutWorker(self.worker.clone(), cut.clone())),
            ..whole
        }
    }

    pub async fn catalog(&self) -> FunctionCatalog {
        FunctionCatalog::load(self.parts()).await.unwrap()
    }

    pub async fn stored(&self) -> BTreeSet<String> {
        let listed = self.store.blobs.list().await.unwrap();
        listed.iter().map(Digest::to_string).collect()
    }

    pub fn unpacked(&self) -> BTreeSet<String> {
        self.worker.unpacked.lock().unwrap().clone()
    }
}

pub fn scope() -> Scope {
    Scope { account: AccountId::new("000000000000").unwrap(), region: "us-east-1".into() }
}

pub fn arn(name: &str) -> FunctionArn {
    FunctionArn::new(&scope(), name)
}

pub fn named(name: &str) -> FunctionRef {
    FunctionRef::parse(&scope(), name, None).unwrap()
}

pub fn settings() -> FunctionSettings {
    FunctionSettings {
        role: "arn:aws:iam::000000000000:role/any".into(),
        package_type: PackageType::Zip,
        runtime: Some("python3.12".into()),
        handler: Some("app.handler".into()),
        description: String::new(),
        timeout: 3,
        memory_mb: 128,
        tmp_mb: 512,
        architectures: vec!["x86_64".into()],
        environment: None,
        layers: Vec::new(),
        echoed: serde_json::Map::new(),
    }
}

pub fn zip(content: &str) -> Bytes {
    Bytes::copy_from_slice(content.as_bytes())
}

pub fn new(settings: FunctionSettings, content: &str) -> NewFunction {
    let (zip, tags) = (zip(content), BTreeMap::new());
    NewFunction { settings, zip, origin: None, tags, belongings: Vec::new(), publish: None }
}

pub fn code(content: &str) -> CodeChange {
    CodeChange { zip: zip(content), ..CodeChange::default() }
}

pub fn digest(content: &str) -> String {
    Digest::of(content.as_bytes()).to_string()
}

impl FunctionCatalog {
    pub async fn add(
        &self,
        name: &str,
        content: &str,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        self.create(&arn(name), new(settings(), content)).await
    }

    /// One pass of the repair loop over everything.
    pub async fn repair(&self) -> bool {
        super::super::reconciler::pass(self.core(), true).await
    }
}
