//! One execution environment: a sandbox, the runtime in it, and its one call at a time.
//!
//! AWS: a call that times out or kills its runtime ends all processes; the sandbox and its `/tmp`
//! stay, and the next call initialises anew. Only running out of memory ends the sandbox.

use super::failure::{self, Failure};
use super::process::{InitEnd, Launch, NotStarted, Process, Watch};
use crate::logs::{Capture, Drained, Event, Identity, Report, Status};
use crate::runtime_api::{Answer, Delivery, RuntimeApi};
use bytes::Bytes;
use lamplight_env::Env;
use lamplight_model::{Target, limits};
use lamplight_rpc::{Invocation, Outcome, StartError};
use lamplight_sandbox::{Exit, Program, Sandbox};
use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, RwLock};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

/// A sandbox whose Runtime API is served.
pub struct Home {
    pub sandbox: Sandbox,
    pub api: Arc<RuntimeApi>,
    pub serving: AbortHandle,
    /// What opens the metadata to its programs.
    pub metadata_token: String,
    pub visit: Option<Visit>,
    pub capture: Arc<Capture>,
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
    pub identity: Identity,
}

pub struct Environment {
    target: Arc<Target>,
    env: Env,
    api: Arc<RuntimeApi>,
    serving: AbortHandle,
    /// Taken by the end.
    visit: Mutex<Option<Visit>>,
    capture: Arc<Capture>,
    start: Start,
    /// Read by whatever uses the sandbox, written once, by its end.
    sandbox: RwLock<Option<Sandbox>>,
    process: Mutex<Result<Process, NotStarted>>,
    watch: Arc<Watch>,
    rest: Mutex<Rest>,
    /// Of its first call, and so of all.
    tenant: OnceLock<Option<String>>,
}

/// AWS: between calls an environment is frozen. Here that waits a moment, so that calls close on
/// each other do not pay for it.
enum Rest {
    Busy,
    Since(Instant),
    Frozen,
}

/// How soon after an event a runtime has to end for the call to be tried elsewhere.
const MOMENT: Duration = Duration::from_millis(250);

/// How a call ended, before it is told.
enum CallEnd {
    Answer(Answer),
    Exited(Exit),
    TimedOut,
    NotStarted(NotStarted),
    InitFailed(Failure),
}

/// What a call has taken so far.
struct Taken {
    duration: Duration,
    /// Of the initialisation that it waited for.
    init: Option<Duration>,
}

impl Environment {
    pub fn new(target: Arc<Target>, env: Env, home: Home, start: Start) -> Self {
        Self {
            target,
            env,
            api: home.api,
            serving: home.serving,
            visit: Mutex::new(home.visit),
            capture: home.capture,
            start,
            sandbox: RwLock::new(Some(home.sandbox)),
            process: Mutex::new(Err(NotStarted::Ended)),
            watch: Arc::default(),
            rest: Mutex::new(Rest::Busy),
            tenant: OnceLock::new(),
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Starts the runtime; it initialises in the background.
    pub async fn boot(&self) -> Result<(), StartError> {
        self.capture.platform(&Event::InitStart(&self.start.identity));
        *self.process.lock().await = self.start_program().await?;
        Ok(())
    }

    /// Waits until the runtime has initialised, ahead of any call.
    pub async fn initialise(&self) -> Result<(), String> {
        let mut process = self.process.lock().await;
        let process = process.as_mut().map_err(|why| match why {
            NotStarted::NoEntrypoint => "its package has nothing that could be started".to_owned(),
            other => format!("it could not be started ({other:?})"),
        })?;
        let patience = limits::PROVISIONED_INIT.max(self.target.timeout);
        let why = match self.first_init(process, patience).await {
            None => return Ok(()),
            Some(InitEnd::Ready(_)) => {
                self.flush(process).await;
                self.watch.set_idle(true);
                *self.rest.lock().await = Rest::Since(self.env.clock.instant());
                return Ok(());
            }
            Some(InitEnd::Failed(failure)) => failure.error_type,
            Some(InitEnd::Exited(_)) => "Runtime.ExitError".to_owned(),
            Some(InitEnd::TimedOut) => format!("it took more than {} s", patience.as_secs()),
        };
        Err(why)
    }

    /// Freezes the environment when it has been idle for `patience`.
    pub async fn freeze_if_idle(&self, patience: Duration) {
        let mut rest = self.rest.lock().await;
        let Rest::Since(since) = *rest else { return };
        if self.env.clock.instant().saturating_duration_since(since) < patience {
            return;
        }
        *rest = Rest::Frozen;
        if let Some(sandbox) = self.sandbox.read().await.as_ref() {
            sandbox.freeze().await;
        }
    }

    async fn wake(&self) {
        let mut rest = self.rest.lock().await;
        if matches!(*rest, Rest::Frozen)
            && let Some(sandbox) = self.sandbox.read().await.as_ref()
        {
            sandbox.thaw().await;
        }
        *rest = Rest::Busy;
    }

    /// Tells when the runtime has ended while no call was running.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    async fn start_program(&self) -> Result<Result<Process, NotStarted>, StartError> {
        let Some(program) = &self.start.program else { return Ok(Err(NotStarted::NoEntrypoint)) };
        let sandbox = self.sandbox.read().await;
        let sandbox = sandbox.as_ref().ok_or(StartError::Gone)?;
        let (env, api, capture, watch) = (&self.env, &*self.api, &self.capture, &self.watch);
        Process::start(sandbox, program, Launch { env, api, capture, watch }).await
    }

    /// One call to its end: initialise if that is still owed, deliver, wait, report.
    pub async fn invoke(self: &Arc<Self>, call: Invocation) -> Result<Outcome, StartError> {
        // Whoever chose it has erred; what one tenant left here is not for another.
        if *self.tenant.get_or_init(|| call.tenant.clone()) != call.tenant {
            return Err(StartError::Gone);
        }
        let mut process = self.process.lock().await;
        self.watch.set_idle(false);
        self.wake().await;
        if matches!(*process, Err(NotStarted::Ended)) {
            // The last call's end may still be on its way to the processes it left.
            if !self.kill().await {
                return Err(StartError::Gone);
            }
            self.capture.platform(&Event::InitStart(&self.start.identity));
            *process = self.start_program().await?;
        }
        let mut init = None;
        let mut failed_init = None;
        if let Ok(process) = process.as_mut() {
            match self.first_init(process, limits::INIT).await {
                Some(InitEnd::Ready(duration)) => init = Some(duration),
                None if process.has_ended() => return Err(StartError::Gone),
                None => {}
                Some(end) => failed_init = Some(end),
            }
        }
        self.capture.begin_call(call.tail);
        self.capture.platform(&Event::Start {
            request_id: &call.request_id,
            version: &self.start.identity.version,
            tenant: call.tenant.as_deref(),
        });
        let started = self.env.clock.instant();
        let deadline = started + self.target.timeout;
        // AWS: an initialisation that failed is done again inside the first call, in its time.
        let again = match failed_init {
            Some(_) => self.suppressed_init(&mut process, deadline).await?,
            None => None,
        };
        let end = match (again, process.as_mut()) {
            (Some(end), _) => end,
            (None, Err(why)) => CallEnd::NotStarted(*why),
            (None, Ok(process)) => self.deliver(&call, process, deadline).await?,
        };
        let duration = self.env.clock.instant().saturating_duration_since(started);
        if let Ok(process) = process.as_mut() {
            self.flush(process).await;
        }
        let outcome = self.settle(&call, end, Taken { duration, init });
        if outcome.function_error.is_some() && self.must_reset(&process) {
            *process = Err(NotStarted::Ended);
            return Ok(self.reset(outcome));
        }
        self.watch.set_idle(true);
        *self.rest.lock().await = Rest::Since(self.env.clock.instant());
        if process.as_ref().is_ok_and(Process::has_ended) {
            return Ok(Outcome { reusable: false, ..outcome });
        }
        Ok(outcome)
    }

    /// Whether the call left a process that cannot take another one.
    fn must_reset(&self, process: &Result<Process, NotStarted>) -> bool {
        match process {
            Ok(process) => process.has_ended() || self.api.is_busy(),
            Err(_) => false,
        }
    }

    /// Ends all processes behind the caller's back, who has the answer by then. The next call
    /// waits for that.
    fn reset(self: &Arc<Self>, outcome: Outcome) -> Outcome {
        let out_of_memory = self
            .sandbox
            .try_read()
            .is_ok_and(|sandbox| sandbox.as_ref().is_none_or(|s| s.ran_out_of_memory()));
        if out_of_memory {
            return Outcome { reusable: false, ..outcome };
        }
        let environment = Arc::clone(self);
        self.env.tasks.spawn(async move {
            let process = environment.process.lock().await;
            // Else a next call was faster and has done it.
            if matches!(*process, Err(NotStarted::Ended)) {
                let _ = environment.kill().await;
            }
        });
        Outcome { reusable: true, ..outcome }
    }

    /// The initialisation that began with the process, which may take `patience`. `None` when
    /// somebody has seen its end.
    async fn first_init(&self, process: &mut Process, patience: Duration) -> Option<InitEnd> {
        if !process.is_new() {
            return None;
        }
        let end = process.initialise(&self.env, process.started + patience).await;
        let status = match &end {
            InitEnd::Ready(_) => Status::Success,
            InitEnd::Failed(failure) => Status::Error(failure.error_type.clone()),
            InitEnd::Exited(_) => Status::Error("Runtime.ExitError".to_owned()),
            InitEnd::TimedOut => Status::Timeout,
        };
        let duration = match &end {
            InitEnd::Ready(duration) => *duration,
            _ => {
                self.flush(process).await;
                self.env.clock.instant().saturating_duration_since(process.started)
            }
        };
        self.capture.platform(&Event::InitRuntimeDone { status: &status });
        self.capture.platform(&Event::InitReport { duration, status: &status });
        Some(end)
    }

    /// `None` when the process is ready this time.
    async fn suppressed_init(
        &self,
        process: &mut Result<Process, NotStarted>,
        deadline: Instant,
    ) -> Result<Option<CallEnd>, StartError> {
        if !self.kill().await {
            return Err(StartError::Gone);
        }
        *process = self.start_program().await?;
        Ok(match process {
            Err(why) => Some(CallEnd::NotStarted(*why)),
            Ok(process) => match process.initialise(&self.env, deadline).await {
                InitEnd::Ready(_) => None,
                InitEnd::Failed(failure) => Some(CallEnd::InitFailed(failure)),
                InitEnd::Exited(exit) => Some(CallEnd::Exited(exit)),
                InitEnd::TimedOut => Some(CallEnd::TimedOut),
            },
        })
    }

    async fn deliver(
        &self,
        call: &Invocation,
        process: &Process,
        deadline: Instant,
    ) -> Result<CallEnd, StartError> {
        let left = deadline.saturating_duration_since(self.env.clock.instant());
        let deadline_ms = self.env.clock.now().plus(left).millis();
        let delivery = Delivery { call: call.clone(), deadline_ms };
        let mut answer = self.api.deliver(delivery).ok_or(StartError::Gone)?;
        let delivered = self.env.clock.instant();
        let within =
            |moment| self.env.clock.instant().saturating_duration_since(delivered) < moment;
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                Ok(answer) = &mut answer => CallEnd::Answer(answer),
                exit = process.ended() => CallEnd::Exited(exit),
            }
        });
        match waited.await {
            // It was ending with its last answer, and never asked for this event. One that takes its
            // time to end has used up the time of the call.
            Ok(CallEnd::Exited(_)) if self.api.take_back() && within(MOMENT) => {
                Err(StartError::Gone)
            }
            Ok(end) => Ok(end),
            Err(_) => Ok(CallEnd::TimedOut),
        }
    }

    /// What the function wrote up to now goes before the platform's next line.
    async fn flush(&self, process: &Process) {
        // Bounded: a background process may go on writing for as long as it likes.
        for _ in 0..limits::LOG_PER_CALL / (1024 * 1024) {
            if process.pipe.drain(&self.capture) != Drained::More {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Writes the end of the call to its log, and puts what the caller gets.
    fn settle(&self, call: &Invocation, end: CallEnd, mut taken: Taken) -> Outcome {
        let id = &call.request_id;
        let mut streamed = 0;
        let (payload, status) = match end {
            CallEnd::Answer(Answer::Response(payload)) => (payload, Status::Success),
            CallEnd::Answer(Answer::Error { body, error_type }) => {
                (body, Status::Error(error_type))
            }
            CallEnd::Answer(Answer::Streamed { bytes }) => {
                streamed = bytes;
                (Bytes::new(), Status::Success)
            }
            CallEnd::Answer(Answer::TooLarge { limit }) => failed(failure::too_large(limit)),
            CallEnd::Answer(Answer::Truncated) => failed(failure::truncated(id)),
            CallEnd::InitFailed(failure) => failed(failure),
            CallEnd::Exited(exit) => failed(failure::exited(id, &exit)),
            CallEnd::NotStarted(why) => failed(failure::not_started(id, why)),
            CallEnd::TimedOut => {
                let timeout = self.target.timeout;
                taken.duration = timeout;
                self.capture.platform(&Event::TimedOut { request_id: id, timeout });
                (failure::timed_out(id, timeout).payload, Status::Timeout)
            }
        };
        let function_error = (status != Status::Success).then_some("Unhandled");
        self.report(call, (streamed + payload.len()) as u64, taken, status);
        Outcome { payload, function_error, log_tail: self.capture.end_call(), reusable: true }
    }

    fn report(&self, call: &Invocation, produced: u64, taken: Taken, status: Status) {
        let request_id = &call.request_id;
        let max_memory_used_bytes = self
            .sandbox
            .try_read()
            .ok()
            .and_then(|sandbox| sandbox.as_ref().and_then(Sandbox::memory_peak_bytes));
        let report = &Report {
            duration: taken.duration,
            init: taken.init,
            memory_mb: self.target.memory_mb,
            max_memory_used_bytes,
            status,
            tenant: call.tenant.clone(),
        };
        self.capture.platform(&Event::RuntimeDone { request_id, produced, report });
        self.capture.platform(&Event::End { request_id });
        self.capture.platform(&Event::Report { request_id, report });
    }

    /// Whether the sandbox is there and nothing is left in it.
    async fn kill(&self) -> bool {
        match self.sandbox.read().await.as_ref() {
            Some(sandbox) => sandbox.kill_all().await,
            None => false,
        }
    }

    /// Ends everything. Returns when nothing is left.
    pub async fn end(&self) {
        self.serving.abort();
        drop(self.visit.lock().await.take());
        self.watch.close();
        if let Some(sandbox) = self.sandbox.write().await.take() {
            sandbox.destroy().await;
        }
    }
}

fn failed(failure: Failure) -> (Bytes, Status) {
    (failure.payload, Status::Error(failure.error_type))
}
