//! The agent: the worker of this machine. It owns every environment here, and is the only one who
//! makes and ends sandboxes.
//!
//! Invariants: an environment serves one target for life; it is in the table from the moment its
//! sandbox exists until nothing of it is left. It decides nothing about how many environments
//! there should be: that is the manager's.

mod environment;
mod failure;
mod process;
mod program;

use crate::code::CodeCache;
use crate::logs::{Capture, Destination, report};
use crate::runtime_api::{self, RuntimeApi};
use crate::runtimes::{RuntimePlan, Runtimes};
use async_trait::async_trait;
use environment::{Environment, Home, Start};
use lamplight_env::{Env, Stop};
use lamplight_model::{Runtime, Target};
use lamplight_rpc::{
    CodeSource, Ended, EnvironmentId, Invocation, LogSink, Outcome, PrepareError, Prepared,
    StartError, Worker,
};
use lamplight_sandbox::{Bind, Launcher, Program, Spec};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an answer waits for its log to be written.
const LOG_PATIENCE: Duration = Duration::from_millis(100);

/// An environment that is idle for this long is frozen.
const FREEZE_AFTER: Duration = Duration::from_millis(100);

/// What an agent works with.
pub struct Parts {
    pub env: Env,
    pub launcher: Launcher,
    pub code: CodeCache,
    pub runtimes: Runtimes,
    pub logs: Arc<dyn LogSink>,
    /// Told when an environment ends without being asked to.
    pub ended: Ended,
    /// Where the runtime clients were installed.
    pub clients: PathBuf,
    /// An empty directory for `/opt` while a function has no layers.
    pub empty: PathBuf,
}

/// The environments here, and the code that waits for the last of them to end.
#[derive(Default)]
struct Table {
    environments: HashMap<EnvironmentId, Arc<Environment>>,
    forgotten: HashSet<String>,
}

impl Table {
    fn uses(&self, digest: &str) -> bool {
        self.environments
            .values()
            .any(|environment| environment.target().packages().any(|used| used == digest))
    }
}

pub struct Agent {
    parts: Parts,
    /// Set once after construction: the catalog needs the agent first.
    source: OnceLock<Arc<dyn CodeSource>>,
    environments: Mutex<Table>,
    next: AtomicU64,
    /// Starts at the same time: more than this only makes all of them slower.
    starts: Semaphore,
}

impl Agent {
    pub fn new(parts: Parts) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let agent = Arc::new(Self {
            parts,
            source: OnceLock::new(),
            environments: Mutex::default(),
            next: AtomicU64::new(1),
            starts: Semaphore::new(cores * 4),
        });
        let tasks = agent.parts.env.tasks.clone();
        tasks.spawn(freeze_idle(Arc::downgrade(&agent), tasks.stop_signal()));
        agent
    }

    /// Where zip files come from. Must be called before the first start.
    pub fn set_code_source(&self, source: Arc<dyn CodeSource>) {
        let _ = self.source.set(source);
    }

    pub fn runtimes(&self) -> &Runtimes {
        &self.parts.runtimes
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.environments.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends every environment. Returns when nothing of them is left.
    pub async fn shut_down(&self) {
        self.starts.close();
        let all: Vec<_> =
            self.table().environments.drain().map(|(_, environment)| environment).collect();
        let mut ends = tokio::task::JoinSet::new();
        for environment in all {
            ends.spawn(async move { environment.end().await });
        }
        while ends.join_next().await.is_some() {}
        self.parts.launcher.shut_down().await;
    }

    /// The directory with the unpacked code; unpacks it where it is not there.
    async fn code(&self, digest: &str) -> Result<PathBuf, StartError> {
        if let Some(dir) = self.parts.code.unpacked(digest) {
            return Ok(dir);
        }
        let source = self.source.get().ok_or(StartError::Stopping)?;
        let zip = source.fetch(digest).await.map_err(StartError::Code)?;
        let prepared = self.parts.code.prepare(digest, &zip).await;
        prepared.map_err(|error| StartError::Code(error.to_string()))?;
        self.parts
            .code
            .unpacked(digest)
            .ok_or_else(|| StartError::Code("the unpacked code is gone".to_owned()))
    }

    /// The directory to show as `/opt`.
    async fn layers(&self, layers: &[String]) -> Result<PathBuf, StartError> {
        if layers.is_empty() {
            return Ok(self.parts.empty.clone());
        }
        for layer in layers {
            self.code(layer).await?;
        }
        let merged = self.parts.code.merged(layers).await;
        merged.map_err(|error| StartError::Code(error.to_string()))
    }

    async fn launch(
        &self,
        id: EnvironmentId,
        target: &Target,
        plan: &RuntimePlan,
        (code, opt): (PathBuf, PathBuf),
    ) -> Result<Home, StartError> {
        let bind = |source: PathBuf, target: &str| Bind { source, target: target.into() };
        let mut binds = vec![bind(code, "/var/task"), bind(opt, "/opt")];
        binds.extend(plan.binds.iter().map(|(source, inside)| bind(source.clone(), inside)));
        if let Some(client) = plan.client {
            binds.push(bind(client.directory(&self.parts.clients), "/var/runtime"));
        }
        let spec =
            Spec { id: id.to_string(), binds, memory_mb: target.memory_mb, tmp_mb: target.tmp_mb };
        let failed = |error: &dyn std::fmt::Display| StartError::Sandbox(error.to_string());
        let mut sandbox = self.parts.launcher.launch(spec).await.map_err(|e| failed(&e))?;
        let listener = sandbox.listener().ok_or_else(|| failed(&"it has no listener"))?;
        let api = Arc::new(RuntimeApi::default());
        let tasks = self.parts.env.tasks.clone();
        let serving = tasks.spawn(runtime_api::serve(listener, Arc::clone(&api), tasks.clone()));
        Ok(Home { sandbox, api, serving: serving.abort_handle(), capture: self.capture(target) })
    }

    fn capture(&self, target: &Target) -> Arc<Capture> {
        let env = &self.parts.env;
        Arc::new(Capture::new(Destination {
            scope: target.function.scope.clone(),
            group: target.log_group.clone(),
            stream: program::log_stream(target, &*env.clock, &*env.random),
            sink: Arc::clone(&self.parts.logs),
            clock: Arc::clone(&env.clock),
        }))
    }

    /// Watches for an end that nobody asked for.
    fn watch(&self, id: EnvironmentId, environment: &Arc<Environment>) {
        let (ended, environment) = (self.parts.ended.clone(), Arc::downgrade(environment));
        let mut stop = self.parts.env.tasks.stop_signal();
        self.parts.env.tasks.spawn(async move {
            let Some(environment) = environment.upgrade() else { return };
            tokio::select! {
                () = environment.died() => { let _ = ended.send(id); }
                () = stop.stopped() => {}
            }
        });
    }
}

#[async_trait]
impl Worker for Agent {
    async fn start(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        let _place = self.starts.acquire().await.map_err(|_| StartError::Stopping)?;
        let mut plan = self
            .parts
            .runtimes
            .find(&target.runtime)
            .map_err(|missing| StartError::RuntimeMissing(missing.to_string()))?;
        let id = EnvironmentId(self.next.fetch_add(1, Ordering::Relaxed));
        let code = self.code(&target.code).await?;
        let opt = self.layers(&target.layers).await?;
        let can_start = plan.pick_bootstrap(&|inside| {
            [("/var/task/", &code), ("/opt/", &opt)].iter().any(|(prefix, dir)| {
                inside.strip_prefix(prefix).is_some_and(|below| is_executable(&dir.join(below)))
            })
        });
        let home = self.launch(id, &target, &plan, (code, opt)).await?;
        let program = can_start.then(|| {
            let locate = |inside: &str| home.sandbox.locate(inside);
            let place = program::Place {
                runtime_api: home.sandbox.runtime_api(),
                locate: &locate,
                log_stream: home.capture.stream(),
                execution_env: plan.execution_env.as_deref(),
            };
            Program {
                argv: program::wrapped(plan.argv(&locate), &target, &locate),
                env: program::variables(&target, &place),
                cwd: locate("/var/task").to_string_lossy().into_owned(),
            }
        });
        let arn = Runtime::version_arn(&target.function.scope.region, &target.runtime);
        let init_start = report::init_start(&plan.version(&target.runtime), &arn);
        let start = Start { program, init_start };
        let environment = Environment::new(target, self.parts.env.clone(), home, start);
        let environment = Arc::new(environment);
        self.table().environments.insert(id, Arc::clone(&environment));
        if let Err(error) = environment.boot().await {
            self.end(id).await;
            return Err(error);
        }
        self.watch(id, &environment);
        Ok(id)
    }

    async fn invoke(&self, id: EnvironmentId, call: Invocation) -> Result<Outcome, StartError> {
        let environment = self.table().environments.get(&id).cloned().ok_or(StartError::Gone)?;
        let outcome = environment.invoke(call).await;
        // Whoever has the answer can count on the log of it, also when this process is killed in
        // the next moment. A disk that hangs must not hold up answers for long, though.
        let _ = tokio::time::timeout(LOG_PATIENCE, self.parts.logs.settle()).await;
        outcome
    }

    async fn end(&self, id: EnvironmentId) {
        let Some(environment) = self.table().environments.remove(&id) else { return };
        environment.end().await;
        for digest in environment.target().packages() {
            let unused = {
                let mut table = self.table();
                !table.uses(digest) && table.forgotten.remove(digest)
            };
            if unused {
                self.parts.code.forget(digest).await;
            }
        }
    }

    async fn prepare(&self, digest: &str, zip: &Path) -> Result<Prepared, PrepareError> {
        self.table().forgotten.remove(digest);
        self.parts.code.prepare(digest, zip).await
    }

    async fn forget(&self, digest: &str) {
        {
            let mut table = self.table();
            if table.uses(digest) {
                table.forgotten.insert(digest.to_owned());
                return;
            }
        }
        self.parts.code.forget(digest).await;
    }

    fn can_run(&self, runtime: &str) -> Result<(), String> {
        self.parts.runtimes.find(runtime).map(drop).map_err(|missing| missing.to_string())
    }
}

/// Freezes environments that are between calls, until the server stops.
async fn freeze_idle(agent: Weak<Agent>, mut stop: Stop) {
    let mut tick = tokio::time::interval(FREEZE_AFTER);
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            _ = tick.tick() => {}
        }
        let Some(agent) = agent.upgrade() else { return };
        let all: Vec<_> = agent.table().environments.values().cloned().collect();
        for environment in all {
            environment.freeze_if_idle(FREEZE_AFTER).await;
        }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
