//! One execution environment: a sandbox, the runtime in it, and its one call at a time.

use super::failure::{self, Failure};
use super::program::iso_millis;
use crate::logs::report::{self, Report, Status};
use crate::logs::{Capture, Drained, Pipe};
use crate::runtime_api::{Answer, Delivery, Init, RuntimeApi};
use lamplight_env::Env;
use lamplight_model::{Target, limits};
use lamplight_rpc::{Invocation, Outcome, StartError};
use lamplight_sandbox::{Exit, Program, Sandbox};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

/// A runtime process that was started, and what is known of it.
struct Process {
    started: Instant,
    pipe: Arc<Pipe>,
    exit: watch::Receiver<Option<Exit>>,
    /// Taken by the first call.
    init: Option<oneshot::Receiver<Init>>,
}

/// Why there is no process: a fault of the package, told to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// It has nothing that could be started.
    NoEntrypoint,
    /// The kernel would not start it.
    Refused { errno: i32 },
}

/// How an initialisation ended.
enum InitEnd {
    Ready(Duration),
    Failed(Failure),
    Exited(Exit),
    TimedOut,
}

/// How a call ended, before it is told.
enum CallEnd {
    Answer(Answer),
    Exited(Exit),
    TimedOut,
}

/// A sandbox whose Runtime API is served.
pub struct Home {
    pub sandbox: Sandbox,
    pub api: Arc<RuntimeApi>,
    pub serving: AbortHandle,
}

pub struct Environment {
    target: Arc<Target>,
    env: Env,
    api: Arc<RuntimeApi>,
    serving: AbortHandle,
    capture: Arc<Capture>,
    program: Option<Program>,
    sandbox: Mutex<Option<Sandbox>>,
    process: Mutex<Result<Process, NotStarted>>,
    /// Becomes true when the process ended while nobody was calling.
    died: watch::Sender<bool>,
}

impl Environment {
    /// `program` is absent where the package has nothing that could be started.
    pub fn new(
        target: Arc<Target>,
        env: Env,
        capture: Arc<Capture>,
        home: Home,
        program: Option<Program>,
    ) -> Self {
        Self {
            target,
            env,
            api: home.api,
            serving: home.serving,
            capture,
            program,
            sandbox: Mutex::new(Some(home.sandbox)),
            process: Mutex::new(Err(NotStarted::NoEntrypoint)),
            died: watch::Sender::new(false),
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Starts the runtime; it initialises in the background.
    pub async fn boot(&self) -> Result<(), StartError> {
        let mut process = self.process.lock().await;
        *process = self.start_program().await?;
        Ok(())
    }

    /// Resolves when the runtime has ended by itself.
    pub async fn died(&self) {
        let mut died = self.died.subscribe();
        let _ = died.wait_for(|died| *died).await;
    }

    async fn start_program(&self) -> Result<Result<Process, NotStarted>, StartError> {
        let Some(program) = &self.program else { return Ok(Err(NotStarted::NoEntrypoint)) };
        let sandbox = self.sandbox.lock().await;
        let sandbox = sandbox.as_ref().ok_or(StartError::Gone)?;
        let init = self.api.restart();
        let failed = |error: &dyn std::fmt::Display| StartError::Sandbox(error.to_string());
        let started = self.env.clock.instant();
        let running = match sandbox.start(program.clone()).await {
            Ok(running) => running,
            Err(error) => match error.start_errno() {
                Some(errno) => return Ok(Err(NotStarted::Refused { errno })),
                None => return Err(failed(&error)),
            },
        };
        let pipe = Arc::new(Pipe::new(running.output).map_err(|e| failed(&e))?);
        let (exited, exit) = watch::channel(None);
        let (pump, capture) = (Arc::clone(&pipe), Arc::clone(&self.capture));
        self.env.tasks.spawn(async move { pump.pump(&capture).await });
        let died = self.died.clone();
        self.env.tasks.spawn(async move {
            let exit = running.exit.await.unwrap_or(Exit::Lost);
            exited.send_replace(Some(exit));
            died.send_replace(true);
        });
        Ok(Ok(Process { started, pipe, exit, init: Some(init) }))
    }

    /// One call to its end: initialise if that is still owed, deliver, wait, report.
    pub async fn invoke(&self, call: Invocation) -> Result<Outcome, StartError> {
        let mut process = self.process.lock().await;
        let mut init = None;
        let mut failed_init = None;
        match process.as_mut() {
            Ok(process) => match self.first_init(process).await {
                Some(InitEnd::Ready(duration)) => init = Some(duration),
                None if process.exit.borrow().is_some() => return Err(StartError::Gone),
                None => {}
                Some(end) => failed_init = Some(end),
            },
            Err(why) => {
                self.capture.begin_call(call.tail);
                self.capture.platform(report::start(&call.request_id, &self.version()));
                let failure = failure::not_started(&call.request_id, *why);
                return Ok(self.fail(&call, failure, Duration::ZERO, None));
            }
        }

        self.capture.begin_call(call.tail);
        self.capture.platform(report::start(&call.request_id, &self.version()));
        let started = self.env.clock.instant();
        let deadline = started + self.target.timeout;
        if let Some(end) = failed_init {
            // AWS: an initialisation that failed is done again inside the first call, in its time.
            match self.suppressed_init(end, &mut process, deadline).await? {
                InitEnd::Ready(_) => {}
                InitEnd::Failed(failure) => {
                    return Ok(self.fail(&call, failure, self.since(started), None));
                }
                InitEnd::Exited(exit) => {
                    let failure = failure::exited(&call.request_id, &exit);
                    return Ok(self.fail(&call, failure, self.since(started), None));
                }
                InitEnd::TimedOut => return Ok(self.time_out(&call, None)),
            }
        }
        let Ok(process) = process.as_mut() else { return Err(StartError::Gone) };
        let end = self.deliver(&call, process, deadline).await?;
        let duration = self.since(started);
        self.flush(process).await;
        Ok(match end {
            CallEnd::Answer(Answer::Response(payload)) => {
                self.report(&call, duration, init, Status::Success);
                self.outcome(payload, None, true)
            }
            CallEnd::Answer(Answer::Error { body, error_type }) => {
                self.report(&call, duration, init, Status::Error(error_type));
                self.outcome(body, Some("Unhandled"), true)
            }
            CallEnd::Answer(Answer::TooLarge) => {
                let failure = failure::too_large();
                self.report(&call, duration, init, Status::Error(failure.error_type));
                self.outcome(failure.payload, Some("Unhandled"), true)
            }
            CallEnd::Exited(exit) => {
                let failure = failure::exited(&call.request_id, &exit);
                self.fail(&call, failure, duration, init)
            }
            CallEnd::TimedOut => self.time_out(&call, init),
        })
    }

    /// The initialisation that began with the environment, under AWS's ten seconds. `None` when
    /// an earlier call has seen its end.
    async fn first_init(&self, process: &mut Process) -> Option<InitEnd> {
        process.init.as_ref()?;
        let deadline = process.started + limits::INIT;
        let end = self.wait_init(process, deadline).await;
        let status = match &end {
            InitEnd::Ready(_) => return Some(end),
            InitEnd::Failed(failure) => Status::Error(failure.error_type.clone()),
            InitEnd::Exited(_) => Status::Error("Runtime.ExitError".to_owned()),
            InitEnd::TimedOut => Status::Timeout,
        };
        self.flush(process).await;
        self.capture.platform(report::init_report(self.since(process.started), &status));
        Some(end)
    }

    async fn suppressed_init(
        &self,
        failed: InitEnd,
        process: &mut Result<Process, NotStarted>,
        deadline: Instant,
    ) -> Result<InitEnd, StartError> {
        if let InitEnd::Exited(Exit::Lost) = failed {
            return Ok(failed);
        }
        self.kill().await;
        *process = self.start_program().await?;
        let Ok(process) = process.as_mut() else { return Err(StartError::Gone) };
        let end = self.wait_init(process, deadline).await;
        self.flush(process).await;
        Ok(end)
    }

    async fn wait_init(&self, process: &mut Process, deadline: Instant) -> InitEnd {
        let Some(mut init) = process.init.take() else { return InitEnd::Exited(Exit::Lost) };
        let mut exit = process.exit.clone();
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                // A runtime reports its failure and exits; the report is the better answer.
                biased;
                Ok(init) = &mut init => match init {
                    Init::Done => InitEnd::Ready(self.since(process.started)),
                    Init::Failed { body, error_type } => {
                        InitEnd::Failed(Failure { payload: body, error_type })
                    }
                },
                exit = ended(&mut exit) => InitEnd::Exited(exit),
            }
        });
        waited.await.unwrap_or(InitEnd::TimedOut)
    }

    async fn deliver(
        &self,
        call: &Invocation,
        process: &mut Process,
        deadline: Instant,
    ) -> Result<CallEnd, StartError> {
        let left = deadline.saturating_duration_since(self.env.clock.instant());
        let deadline_ms = self.env.clock.now().plus(left).millis();
        let delivery = Delivery { call: call.clone(), deadline_ms };
        let mut answer = self.api.deliver(delivery).ok_or(StartError::Gone)?;
        let mut exit = process.exit.clone();
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                Ok(answer) = &mut answer => CallEnd::Answer(answer),
                exit = ended(&mut exit) => CallEnd::Exited(exit),
            }
        });
        Ok(waited.await.unwrap_or(CallEnd::TimedOut))
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

    fn time_out(&self, call: &Invocation, init: Option<Duration>) -> Outcome {
        let timeout = self.target.timeout;
        let failure = failure::timed_out(&call.request_id, timeout);
        self.capture.platform(format!(
            "{} {} Task timed out after {:.2} seconds",
            iso_millis(self.env.clock.now()),
            call.request_id,
            timeout.as_secs_f64()
        ));
        self.report(call, timeout, init, Status::Timeout);
        self.outcome(failure.payload, Some("Unhandled"), false)
    }

    fn fail(
        &self,
        call: &Invocation,
        failure: Failure,
        duration: Duration,
        init: Option<Duration>,
    ) -> Outcome {
        self.report(call, duration, init, Status::Error(failure.error_type));
        self.outcome(failure.payload, Some("Unhandled"), false)
    }

    fn report(
        &self,
        call: &Invocation,
        duration: Duration,
        init: Option<Duration>,
        status: Status,
    ) {
        let max_memory_used_bytes = self
            .sandbox
            .try_lock()
            .ok()
            .and_then(|sandbox| sandbox.as_ref().and_then(Sandbox::memory_peak_bytes));
        self.capture.platform(report::end(&call.request_id));
        self.capture.platform(report::report(&Report {
            request_id: &call.request_id,
            duration,
            init,
            memory_mb: self.target.memory_mb,
            max_memory_used_bytes,
            status,
        }));
    }

    fn outcome(
        &self,
        payload: bytes::Bytes,
        function_error: Option<&'static str>,
        reusable: bool,
    ) -> Outcome {
        Outcome { payload, function_error, log_tail: self.capture.end_call(), reusable }
    }

    fn since(&self, start: Instant) -> Duration {
        self.env.clock.instant().saturating_duration_since(start)
    }

    fn version(&self) -> String {
        self.target.version.to_string()
    }

    async fn kill(&self) {
        if let Some(sandbox) = self.sandbox.lock().await.as_ref() {
            sandbox.kill_all().await;
        }
    }

    /// Ends everything. Returns when nothing is left.
    pub async fn end(&self) {
        self.serving.abort();
        if let Some(sandbox) = self.sandbox.lock().await.take() {
            sandbox.destroy().await;
        }
    }
}

async fn ended(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await {
        Ok(exit) => exit.unwrap_or(Exit::Lost),
        Err(_) => Exit::Lost,
    }
}
