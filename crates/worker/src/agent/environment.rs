//! One execution environment: a sandbox, the programs in it, and its one call at a time.
//!
//! AWS: a call that times out or kills its runtime ends all processes; the sandbox and its `/tmp`
//! stay, and the next call initialises anew. Only running out of memory ends the sandbox.

use super::crashes::Crashes;
use super::fetching::Fetching;
use super::process::{InitEnd, NotStarted, Process, Watch};
use super::programs::{Launch, Programs, Who};
use super::rest::Rest;
use super::shutdown::{self, Window};
use crate::logs::{Capture, Event, Identity, Init, Status};
use crate::runtime_api::{MOST_EXTENSIONS, Reason, RuntimeApi};
use crate::telemetry::Telemetry;
use lamplight_env::Env;
use lamplight_model::Target;
use lamplight_rpc::StartError;
use lamplight_sandbox::{Program, Sandbox, Zygote};
use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, RwLock};
use tokio::task::AbortHandle;

/// A sandbox whose Runtime API is served.
pub struct Home {
    pub sandbox: Sandbox,
    pub api: Arc<RuntimeApi>,
    pub serving: AbortHandle,
    /// What opens the metadata to its programs.
    pub metadata_token: String,
    /// Absent where its programs have credentials in their variables.
    pub fetching: Option<Fetching>,
    pub visit: Option<Visit>,
    pub capture: Arc<Capture>,
    pub telemetry: Arc<Telemetry>,
}

/// The API as the programs of an environment reach it.
pub struct Visit {
    /// `AWS_ENDPOINT_URL`.
    pub endpoint: String,
    /// Serves it until it is dropped.
    #[expect(dead_code, reason = "held for its Drop")]
    pub serving: Box<dyn Any + Send + Sync>,
}

/// What an environment starts, and what its log says of it first.
pub struct Start {
    /// Absent where the package has nothing that could be started.
    pub program: Option<Program>,
    /// Its external extensions, by name; one too many where there are too many.
    pub extensions: Vec<(String, Program)>,
    pub identity: Identity,
    /// `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub initialization: String,
    /// What the program can be forked from.
    pub zygote: Weak<Zygote>,
}

pub struct Environment {
    pub(super) target: Arc<Target>,
    pub(super) env: Env,
    pub(super) api: Arc<RuntimeApi>,
    serving: AbortHandle,
    /// Taken by the end.
    visit: Mutex<Option<Visit>>,
    pub(super) capture: Arc<Capture>,
    telemetry: Arc<Telemetry>,
    pub(super) start: Start,
    /// Read by whatever uses the sandbox, written once, by its end.
    pub(super) sandbox: RwLock<Option<Sandbox>>,
    /// Held by whoever has the call.
    pub(super) process: Arc<Mutex<Result<Process, NotStarted>>>,
    /// Those of `process`, for the end, which does not wait for the call.
    programs: std::sync::Mutex<Arc<Programs>>,
    pub(super) watch: Arc<Watch>,
    crashes: Arc<std::sync::Mutex<Crashes>>,
    key: Arc<str>,
    pub(super) rest: Rest,
    /// Of its first call, and so of all.
    pub(super) tenant: OnceLock<Option<String>>,
}

impl Environment {
    pub fn new(
        target: Arc<Target>,
        env: Env,
        crashes: Arc<std::sync::Mutex<Crashes>>,
        home: Home,
        (start, rest): (Start, Rest),
    ) -> Self {
        Self {
            key: target.key(),
            crashes,
            target,
            env,
            api: home.api,
            serving: home.serving,
            visit: Mutex::new(home.visit),
            capture: home.capture,
            telemetry: home.telemetry,
            start,
            sandbox: RwLock::new(Some(home.sandbox)),
            process: Arc::new(Mutex::new(Err(NotStarted::Ended))),
            programs: std::sync::Mutex::default(),
            watch: Arc::default(),
            rest,
            tenant: OnceLock::new(),
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Starts what comes first; it initialises in the background.
    pub async fn boot(&self) -> Result<(), StartError> {
        *self.process.lock().await = self.start_programs("init").await?;
        Ok(())
    }

    /// Resolves when the runtime has initialised, or one of its programs has ended.
    pub async fn ready(&self) {
        let programs = Arc::clone(&*self.programs());
        tokio::select! {
            () = self.api.initialised() => {}
            _ = programs.ended() => {}
        }
    }

    /// Waits until the runtime has initialised, ahead of any call; no longer than `patience`.
    pub async fn initialise(self: &Arc<Self>, patience: Duration) -> Result<(), String> {
        let mut process = self.process.lock().await;
        // A call has had it and ended it, which is not for an initialisation to judge.
        if matches!(*process, Err(NotStarted::Ended)) {
            return Ok(());
        }
        let process = process.as_mut().map_err(|why| match why {
            NotStarted::NoEntrypoint => "its package has nothing that could be started".to_owned(),
            other => format!("it could not be started ({other:?})"),
        })?;
        let end = self.first_init(process, patience).await.map_err(|error| error.to_string())?;
        let why = match end {
            None => return Ok(()),
            Some(InitEnd::Ready(_)) => {
                process.programs.flush(&self.capture).await;
                self.set_idle().await;
                return Ok(());
            }
            Some(InitEnd::TimedOut) => format!("it took more than {} s", patience.as_secs()),
            Some(end) => self.error_type(&end),
        };
        Err(why)
    }

    /// From here on it can be frozen, and its end is not that of a call.
    pub(super) async fn set_idle(self: &Arc<Self>) {
        self.watch.set_idle(true);
        // AWS: with several calls at once it never is: none of them would wake it.
        if self.target.max_concurrency.is_some() {
            return;
        }
        self.rest().await;
    }

    /// Tells when the runtime has ended while no call was running.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    fn programs(&self) -> std::sync::MutexGuard<'_, Arc<Programs>> {
        self.programs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn crashes(&self) -> std::sync::MutexGuard<'_, Crashes> {
        self.crashes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn failed_to_start(&self, error_type: &str) {
        self.crashes().failed(&self.key, error_type, self.env.clock.instant());
    }

    /// Whether initialisation fails so often that one attempt has to do.
    pub(super) fn is_looping(&self) -> bool {
        self.crashes().is_looping(&self.key)
    }

    fn init(&self, phase: &'static str) -> Init<'_> {
        Init { kind: &self.start.initialization, phase }
    }

    /// Starts the external extensions, or the runtime where there are none.
    pub(super) async fn start_programs(
        &self,
        phase: &'static str,
    ) -> Result<Result<Process, NotStarted>, StartError> {
        if let Err(pausing) = self.crashes().start(&self.key, self.env.clock.instant()) {
            return Ok(Err(NotStarted::Pausing(pausing)));
        }
        let init = self.init(phase);
        self.telemetry.restart();
        self.capture.platform(&Event::InitStart { init, identity: &self.start.identity });
        if self.start.program.is_none() {
            return Ok(Err(NotStarted::NoEntrypoint));
        }
        let extensions = &self.start.extensions;
        let names: Vec<_> = extensions.iter().map(|(name, _)| name.clone()).collect();
        let init = self.api.restart(&names);
        let programs = Arc::<Programs>::default();
        *self.programs() = Arc::clone(&programs);
        let mut process = Process::new(self.env.clock.instant(), programs, init);
        for (at, (name, program)) in extensions.iter().enumerate() {
            if at >= MOST_EXTENSIONS {
                self.api.launch_error(name, "TooManyExtensions");
                self.not_launched(&process, phase);
                return Ok(Err(NotStarted::TooManyExtensions));
            }
            let who = Who::Extension(name.clone());
            if let Err(errno) = self.start_program(&process, (who, program)).await? {
                let denied = errno == rustix::io::Errno::ACCESS.raw_os_error();
                // AWS: these two words for whatever the kernel says.
                let why = if denied { "PermissionDenied" } else { "UnknownError" };
                self.api.launch_error(name, why);
                self.not_launched(&process, phase);
                return Ok(Err(NotStarted::Extension { name: name.clone(), errno }));
            }
        }
        if extensions.is_empty()
            && let Err(why) = self.start_runtime(&mut process).await?
        {
            return Ok(Err(why));
        }
        Ok(Ok(process))
    }

    /// An extension could not be started, and nothing else is.
    fn not_launched(&self, process: &Process, phase: &'static str) {
        let init = self.init(phase);
        let duration = self.env.clock.instant().saturating_duration_since(process.started);
        let error_type = "Extension.LaunchError";
        self.failed_to_start(error_type);
        let status = &Status::Error(error_type.to_owned());
        self.telemetry.close();
        self.tell_of_extensions();
        self.capture.platform(&Event::InitReport { init, duration, status });
    }

    async fn start_runtime(
        &self,
        process: &mut Process,
    ) -> Result<Result<(), NotStarted>, StartError> {
        let Some(program) = &self.start.program else { return Ok(Err(NotStarted::NoEntrypoint)) };
        process.has_runtime = true;
        let started = self.start_program(process, (Who::Runtime, program)).await?;
        Ok(started.map_err(|errno| NotStarted::Refused { errno }))
    }

    async fn start_program(
        &self,
        process: &Process,
        what: (Who, &Program),
    ) -> Result<Result<(), i32>, StartError> {
        let sandbox = self.sandbox.read().await;
        let sandbox = sandbox.as_ref().ok_or(StartError::Gone)?;
        let (tasks, capture, watch) = (&self.env.tasks, &self.capture, &self.watch);
        let zygote = if what.0 == Who::Runtime { self.start.zygote.upgrade() } else { None };
        let launch = Launch { tasks, capture, watch, zygote };
        process.programs.start(sandbox, what, launch).await
    }

    /// The initialisation that began with the process, which may take `patience`. `None` when
    /// somebody has seen its end.
    pub(super) async fn first_init(
        &self,
        process: &mut Process,
        patience: Duration,
    ) -> Result<Option<InitEnd>, StartError> {
        let deadline = process.started + patience;
        self.finish_init(process, "init", deadline).await
    }

    /// Drives an initialisation to its end, and tells of it. `None` when that was done before.
    pub(super) async fn finish_init(
        &self,
        process: &mut Process,
        phase: &'static str,
        deadline: Instant,
    ) -> Result<Option<InitEnd>, StartError> {
        if !process.is_new() {
            return Ok(None);
        }
        let end = match self.await_extensions(process, deadline).await? {
            Some(end) => Some(end),
            None => process.initialise(&self.env, deadline).await,
        };
        let Some(end) = end else { return Ok(None) };
        let status = match &end {
            InitEnd::Ready(_) => Status::Success,
            InitEnd::TimedOut => Status::Timeout,
            end => Status::Error(self.error_type(end)),
        };
        match &status {
            Status::Success => self.crashes().succeeded(&self.key),
            Status::Error(error_type) => self.failed_to_start(error_type),
            // One that takes its time is not one that crashes.
            Status::Timeout => {}
        }
        let duration = match &end {
            InitEnd::Ready(duration) => *duration,
            _ => self.env.clock.instant().saturating_duration_since(process.started),
        };
        process.programs.flush(&self.capture).await;
        let init = self.init(phase);
        self.telemetry.close();
        self.capture.platform(&Event::InitRuntimeDone { init, status: &status });
        self.tell_of_extensions();
        self.capture.platform(&Event::InitReport { init, duration, status: &status });
        Ok(Some(end))
    }

    /// `None` when the runtime was started.
    async fn await_extensions(
        &self,
        process: &mut Process,
        deadline: Instant,
    ) -> Result<Option<InitEnd>, StartError> {
        if process.has_runtime {
            return Ok(None);
        }
        if let Some(end) = process.extensions(&self.api, deadline).await {
            return Ok(Some(end));
        }
        Ok(self.start_runtime(process).await?.err().map(InitEnd::NotStarted))
    }

    /// How far each extension came.
    fn tell_of_extensions(&self) {
        for extension in self.api.extensions() {
            self.capture.platform(&Event::Extension {
                name: &extension.name,
                state: &extension.state.to_string(),
                events: &extension.events.names(),
                error_type: extension.error_type.as_deref(),
            });
        }
    }

    fn error_type(&self, end: &InitEnd) -> String {
        match end {
            InitEnd::Failed(failure) => failure.error_type.clone(),
            InitEnd::Exited(ended) => self.blame(&ended.who).to_owned(),
            InitEnd::NotStarted(why) => why.error_type().to_owned(),
            InitEnd::Ready(_) | InitEnd::TimedOut => String::new(),
        }
    }

    /// What the end of this program is called. AWS: what an extension said before counts first.
    pub(super) fn blame(&self, who: &Who) -> &'static str {
        let said = self.api.extension_failure();
        said.unwrap_or(match who {
            Who::Runtime => "Runtime.ExitError",
            Who::Extension(_) => "Extension.Crash",
        })
    }

    /// Whether the sandbox is there and nothing is left in it.
    pub(super) async fn kill(&self) -> bool {
        match self.sandbox.read().await.as_ref() {
            Some(sandbox) => sandbox.kill_all().await,
            None => false,
        }
    }

    /// Ends all processes, after they were asked to where there are extensions.
    pub(super) async fn shut_down(&self, reason: Reason) {
        let Some(window) = Window::of(self.api.kind()) else { return };
        self.wake().await;
        self.telemetry.flush().await;
        let programs = Arc::clone(&self.programs());
        if let Some(sandbox) = self.sandbox.read().await.as_ref() {
            shutdown::ask(&self.env, sandbox, &self.api, &programs, (window, reason)).await;
        }
        programs.flush(&self.capture).await;
    }

    /// Ends everything. Returns when nothing is left.
    pub async fn end(&self) {
        self.watch.close();
        self.shut_down(Reason::Spindown).await;
        self.serving.abort();
        drop(self.visit.lock().await.take());
        // Whoever only asks whether it is there does not wait until it is gone.
        let sandbox = self.sandbox.write().await.take();
        if let Some(sandbox) = sandbox {
            sandbox.destroy().await;
        }
    }
}
