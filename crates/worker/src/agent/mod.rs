//! The agent: the worker of this machine. It owns every environment here, and is the only one who
//! makes and ends sandboxes.
//!
//! Invariants: an environment serves one target for life; it is in the table from the moment its
//! sandbox exists until nothing of it is left. It decides nothing about how many environments
//! there should be: that is the manager's.

mod call;
mod crashes;
mod environment;
mod external;
mod failure;
mod fetching;
mod forking;
mod image;
mod making;
mod memory;
mod process;
mod program;
mod programs;
mod rest;
mod several;
mod shutdown;
mod table;
mod variables;
mod zygotes;

use crate::code::CodeCache;
use crate::logs::{Capture, Destination, Style};
use crate::runtime_api::{self, About, Metadata, RuntimeApi, Side};
use crate::runtimes::{Finding, Runtimes};
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use environment::{Environment, Home, Visit};
use lamplight_env::{Env, Stop};
use lamplight_model::{Target, limits};
use lamplight_rpc::{
    CodeSource, Ended, EnvironmentId, Guests, Invocation, LogSink, Outcome, PrepareError, Prepared,
    StartError, Worker,
};
use lamplight_sandbox::{Launcher, Mode, Sandbox, Spec};
use making::Shown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;
use table::Table;
use tokio::sync::{Semaphore, mpsc};
use zygotes::Zygotes;

/// Where functions find the API in their sandbox; in process mode the port is another.
pub const API_PORT: u16 = 9002;
/// How long an answer waits for its log to be written.
const LOG_PATIENCE: Duration = Duration::from_millis(100);

/// What an agent works with.
pub struct Parts {
    pub env: Env,
    pub launcher: Launcher,
    pub code: CodeCache,
    pub runtimes: Finding,
    pub logs: Arc<dyn LogSink>,
    /// Told when an environment ends without being asked to.
    pub ended: Ended,
    /// Where the runtime clients were installed.
    pub clients: PathBuf,
    /// An empty directory for `/opt` while a function has no layers.
    pub empty: PathBuf,
    /// The availability zone that functions are told; one of their region where absent.
    pub zone: Option<String>,
    /// What all environments together may use, in bytes; what the machine has where absent.
    pub memory_most: Option<u64>,
}

/// An environment whose runtime was started.
type Opened = (EnvironmentId, Arc<Environment>);

pub struct Agent {
    parts: Parts,
    /// Where environments go that are idle.
    line: rest::Line,
    /// Set once after construction: the catalog needs the agent first.
    source: OnceLock<Arc<dyn CodeSource>>,
    environments: Mutex<Table>,
    /// Set once after construction: the API needs the manager first, and that needs the agent.
    guests: OnceLock<Arc<dyn Guests>>,
    next: AtomicU64,
    crashes: Arc<Mutex<crashes::Crashes>>,
    /// Starts at the same time: more than this only makes all of them slower.
    starts: Semaphore,
    zygotes: Arc<Zygotes>,
}

impl Agent {
    pub fn new(parts: Parts) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let zygotes = Zygotes::new(parts.launcher.clone(), parts.env.clone());
        let (line, idle) = mpsc::unbounded_channel();
        let Env { clock, tasks, .. } = &parts.env;
        let (tasks, back) = (tasks.clone(), line.downgrade());
        let until = (Arc::clone(clock), tasks.stop_signal());
        tasks.spawn(rest::freeze_idle(until, (idle, back)));
        let agent = Arc::new(Self {
            parts,
            zygotes,
            line,
            source: OnceLock::new(),
            guests: OnceLock::new(),
            environments: Mutex::default(),
            next: AtomicU64::new(1),
            crashes: Arc::default(),
            starts: Semaphore::new(cores * 4),
        });
        tasks.spawn(tidy_zygotes(Arc::downgrade(&agent), tasks.stop_signal()));
        agent
    }

    /// Where zip files come from. Must be called before the first start.
    pub fn set_code_source(&self, source: Arc<dyn CodeSource>) {
        let _ = self.source.set(source);
    }

    /// Who has the API for functions. Environments that were started before do without it.
    pub fn set_guests(&self, guests: Arc<dyn Guests>) {
        let _ = self.guests.set(guests);
    }

    pub async fn runtimes(&self) -> Arc<Runtimes> {
        self.parts.runtimes.known().await
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.environments.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends every environment. Returns when nothing of them is left.
    pub async fn shut_down(&self) {
        self.starts.close();
        let all = self.table().close();
        let mut ends = tokio::task::JoinSet::new();
        for environment in all {
            ends.spawn(async move { environment.end().await });
        }
        while ends.join_next().await.is_some() {}
        // Starts that were under way see that it is over, and end what they made.
        while self.table().is_starting() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.zygotes.close().await;
        self.parts.launcher.shut_down().await;
        self.parts.code.close().await;
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

    async fn launch(
        &self,
        id: EnvironmentId,
        target: &Target,
        shown: Shown,
    ) -> Result<Home, StartError> {
        let spec = Spec {
            id: id.to_string(),
            binds: shown.binds,
            system: shown.system,
            memory_mb: target.memory_mb,
            tmp_mb: target.tmp_mb,
        };
        let failed = |error: &dyn std::fmt::Display| StartError::Sandbox(error.to_string());
        let mut sandbox = self.parts.launcher.launch(spec).await.map_err(|e| failed(&e))?;
        let listener = sandbox.listener().ok_or_else(|| failed(&"it has no listener"))?;
        let env = self.parts.env.clone();
        let (tasks, clock) = (env.tasks.clone(), Arc::clone(&env.clock));
        let telemetry = Arc::new(Telemetry::new(tasks.clone(), clock, Arc::new(sandbox.dialer())));
        let capture = self.capture(target, shown.framed, &telemetry);
        let api = RuntimeApi::new(
            about(target),
            env,
            Arc::clone(&telemetry),
            Arc::clone(&capture),
            target.max_concurrency,
        );
        let api = Arc::new(api);
        let metadata_token = self.parts.env.random.uuid();
        let zone = self.parts.zone.clone();
        let zone = zone.unwrap_or_else(|| Metadata::zone_of(&target.function.scope.region));
        let metadata = Metadata::new(&metadata_token, &zone);
        let (fetching, beside, credentials) = match self.offer_credentials(&sandbox, target).await?
        {
            Some(all) => (Some(all.fetching), Some(all.listener), Some(all.credentials)),
            None => (None, None, None),
        };
        let side = Arc::new(Side { metadata, credentials });
        let serve = |at| runtime_api::serve(at, Arc::clone(&api), Arc::clone(&side));
        let serving = match beside {
            None => tasks.spawn(serve(listener)),
            Some(beside) => {
                let both = (serve(listener), serve(beside));
                tasks.spawn(async move {
                    tokio::join!(both.0, both.1);
                })
            }
        };
        let serving = serving.abort_handle();
        let visit = self.visit(&sandbox).await.inspect_err(|_| serving.abort())?;
        Ok(Home { sandbox, api, serving, metadata_token, fetching, visit, capture, telemetry })
    }

    /// Opens the API to the programs in a sandbox.
    async fn visit(&self, sandbox: &Sandbox) -> Result<Option<Visit>, StartError> {
        let Some(guests) = self.guests.get() else { return Ok(None) };
        let listening = sandbox.listen(API_PORT).await;
        let (listener, address) = listening.map_err(|e| StartError::Sandbox(e.to_string()))?;
        let endpoint = format!("http://{address}");
        Ok(Some(Visit { endpoint, serving: guests.serve(listener) }))
    }

    fn capture(&self, target: &Target, framed: bool, telemetry: &Arc<Telemetry>) -> Arc<Capture> {
        let env = &self.parts.env;
        Arc::new(Capture::new(Destination {
            scope: target.function.scope.clone(),
            group: target.log_group.clone(),
            stream: program::log_stream(target, &*env.clock, &*env.random),
            style: Style::of(target),
            framed,
            sink: Arc::clone(&self.parts.logs),
            telemetry: Arc::clone(telemetry),
            clock: Arc::clone(&env.clock),
        }))
    }

    /// Watches for an end that nobody asked for.
    fn watch(&self, id: EnvironmentId, environment: &Environment) {
        let (ended, watch) = (self.parts.ended.clone(), environment.watch());
        self.parts.env.tasks.spawn(async move {
            if watch.died().await {
                let _ = ended.send(id);
            }
        });
    }

    /// Makes an environment and starts its runtime.
    async fn open(&self, target: Arc<Target>, initialization: &str) -> Result<Opened, StartError> {
        let _place = self.starts.acquire().await.map_err(|_| StartError::Stopping)?;
        let id = EnvironmentId(self.next.fetch_add(1, Ordering::Relaxed));
        self.table().begin(id, &target)?;
        let started = self.start_reserved(id, Arc::clone(&target), initialization).await;
        self.table().started(id);
        if started.is_err() {
            self.release(&target).await;
        }
        started.map(|environment| (id, environment))
    }

    async fn start_reserved(
        &self,
        id: EnvironmentId,
        target: Arc<Target>,
        initialization: &str,
    ) -> Result<Arc<Environment>, StartError> {
        let (home, start) = match &target.image {
            None => self.on_runtime(id, &target, initialization).await?,
            Some(overrides) => self.on_image(id, (&target, overrides), initialization).await?,
        };
        let environment = Environment::new(
            target,
            self.parts.env.clone(),
            Arc::clone(&self.crashes),
            home,
            (start, rest::Rest::new(self.line.clone())),
        );
        let environment = Arc::new(environment);
        // Alone in its statement: the table is not locked while the environment ends.
        let refused = self.table().insert(id, Arc::clone(&environment)).err();
        if let Some(environment) = refused {
            environment.end().await;
            return Err(StartError::Stopping);
        }
        if let Err(error) = environment.boot().await {
            self.end(id).await;
            return Err(error);
        }
        Ok(environment)
    }

    /// Removes the code that waited for the last environment to let go of it.
    async fn release(&self, target: &Target) {
        let unused = self.table().release(target);
        for digest in unused {
            self.parts.code.forget(&digest).await;
        }
    }
}

#[async_trait]
impl Worker for Agent {
    async fn start(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        let kind = match target.max_concurrency {
            Some(_) => "lambda-managed-instances",
            None if target.snap_start => "snap-start",
            None => "on-demand",
        };
        let (id, environment) = self.open(target, kind).await?;
        self.watch(id, &environment);
        Ok(id)
    }

    async fn ready(&self, id: EnvironmentId) {
        let environment = self.table().get(id);
        if let Some(environment) = environment {
            environment.ready().await;
        }
    }

    async fn initialise(&self, id: EnvironmentId) -> Result<(), StartError> {
        let environment = self.table().get(id).ok_or(StartError::Gone)?;
        if let Err(why) = environment.initialise(limits::INIT).await {
            self.end(id).await;
            return Err(StartError::Init(why));
        }
        Ok(())
    }

    fn memory_left(&self) -> Option<u64> {
        memory::left(&self.parts.launcher, self.parts.memory_most)
    }

    async fn provision(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        let patience = limits::PROVISIONED_INIT.max(target.timeout);
        let (id, environment) = self.open(target, "provisioned-concurrency").await?;
        if let Err(why) = environment.initialise(patience).await {
            self.end(id).await;
            return Err(StartError::Init(why));
        }
        self.watch(id, &environment);
        Ok(id)
    }

    async fn invoke(&self, id: EnvironmentId, call: Invocation) -> Result<Outcome, StartError> {
        let environment = self.table().get(id).ok_or(StartError::Gone)?;
        let outcome = environment.invoke(call).await;
        // Whoever has the answer can count on the log of it, also when this process is killed in
        // the next moment. A disk that hangs must not hold up answers for long, though.
        let _ = tokio::time::timeout(LOG_PATIENCE, self.parts.logs.settle()).await;
        outcome
    }

    async fn end(&self, id: EnvironmentId) {
        let Some(environment) = self.table().remove(id) else { return };
        environment.end().await;
        self.release(environment.target()).await;
    }

    async fn prepare(&self, digest: &str, zip: &Path) -> Result<Prepared, PrepareError> {
        self.table().remember(digest);
        self.parts.code.prepare(digest, zip).await
    }

    async fn forget(&self, digest: &str) {
        let unused = self.table().forget(digest);
        if unused {
            self.parts.code.forget(digest).await;
        }
    }

    async fn can_run(&self, runtime: &str) -> Result<(), String> {
        let plan = self.runtimes().await.find(runtime).map_err(|missing| missing.to_string())?;
        self.can_run_plan(&plan)
    }

    fn can_run_images(&self) -> Result<(), String> {
        match self.parts.launcher.mode() {
            Mode::Namespaces => Ok(()),
            Mode::Process => Err(
                "Container images need isolation \"namespaces\", which this server does not have."
                    .to_owned(),
            ),
        }
    }
}

fn about(target: &Target) -> About {
    About {
        account: target.function.scope.account.to_string(),
        function: target.function.name.to_string(),
        version: target.version.to_string(),
        handler: target.handler.clone(),
        snap_start: target.snap_start,
    }
}

/// Ends zygotes that are not worth their memory, until the server stops.
async fn tidy_zygotes(agent: Weak<Agent>, mut stop: Stop) {
    let mut tick = tokio::time::interval(zygotes::EVERY);
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            _ = tick.tick() => {}
        }
        let Some(agent) = agent.upgrade() else { return };
        agent.zygotes.tidy();
    }
}
