//! The runtime process of an environment: how it starts, becomes ready, and ends.

use super::failure::Failure;
use crate::logs::{Capture, Pipe};
use crate::runtime_api::{Init, RuntimeApi};
use lamplight_env::Env;
use lamplight_rpc::StartError;
use lamplight_sandbox::{Exit, Program, Sandbox, SandboxError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;

/// Why there is no process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// The package has nothing that could be started.
    NoEntrypoint,
    /// The kernel would not start it.
    Refused { errno: i32 },
    /// The one before was ended with its call; the next call starts another.
    Ended,
}

/// How an initialisation ended.
pub enum InitEnd {
    Ready(Duration),
    Failed(Failure),
    Exited(Exit),
    TimedOut,
}

/// Tells whoever keeps the environment that its process ended while it was idle. An end during a
/// call is the call's to tell.
#[derive(Default)]
pub struct Watch {
    idle: AtomicBool,
    end: watch::Sender<Option<End>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Died,
    WasEnded,
}

impl Watch {
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::SeqCst);
    }

    /// Resolves with the end of the environment: whether its process ended by itself.
    pub async fn died(&self) -> bool {
        let mut end = self.end.subscribe();
        end.wait_for(Option::is_some).await.is_ok_and(|end| *end == Some(End::Died))
    }

    /// The environment is ended by its owner.
    pub fn close(&self) {
        self.tell(End::WasEnded);
    }

    fn ended(&self) {
        if self.idle.load(Ordering::SeqCst) {
            self.tell(End::Died);
        }
    }

    fn tell(&self, what: End) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(what);
            first
        });
    }
}

/// What a process is started with.
pub struct Launch<'a> {
    pub env: &'a Env,
    pub api: &'a RuntimeApi,
    pub capture: &'a Arc<Capture>,
    pub watch: &'a Arc<Watch>,
}

/// A runtime process that was started.
pub struct Process {
    pub started: Instant,
    pub pipe: Arc<Pipe>,
    exit: watch::Receiver<Option<Exit>>,
    /// Taken by the first call.
    init: Option<oneshot::Receiver<Init>>,
}

impl Process {
    /// Starts `program`; it initialises in the background.
    pub async fn start(
        sandbox: &Sandbox,
        program: &Program,
        launch: Launch<'_>,
    ) -> Result<Result<Self, NotStarted>, StartError> {
        let init = launch.api.restart();
        let failed = |error: &dyn std::fmt::Display| StartError::Sandbox(error.to_string());
        let started = launch.env.clock.instant();
        let running = match sandbox.start(program.clone()).await {
            Ok(running) => running,
            Err(error) => match error.start_errno() {
                Some(errno) => return Ok(Err(NotStarted::Refused { errno })),
                // Its init is gone, and has seen no call: another environment may take it.
                None if matches!(error, SandboxError::Lost) => return Err(StartError::Gone),
                None => return Err(failed(&error)),
            },
        };
        let pipe = Arc::new(Pipe::new(running.output).map_err(|e| failed(&e))?);
        let (exited, exit) = watch::channel(None);
        let (pump, capture) = (Arc::clone(&pipe), Arc::clone(launch.capture));
        launch.env.tasks.spawn(async move { pump.pump(&capture).await });
        let watch = Arc::clone(launch.watch);
        launch.env.tasks.spawn(async move {
            exited.send_replace(Some(running.exit.await.unwrap_or(Exit::Lost)));
            watch.ended();
        });
        Ok(Ok(Self { started, pipe, exit, init: Some(init) }))
    }

    /// Whether nobody has seen the end of its initialisation yet.
    pub fn is_new(&self) -> bool {
        self.init.is_some()
    }

    pub fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Resolves when the process has ended.
    pub fn ended(&self) -> impl Future<Output = Exit> + use<> {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.unwrap_or(Exit::Lost),
                Err(_) => Exit::Lost,
            }
        }
    }

    /// Waits for the runtime to ask for its first event, at most until `deadline`.
    pub async fn initialise(&mut self, env: &Env, deadline: Instant) -> InitEnd {
        let Some(mut init) = self.init.take() else { return InitEnd::Exited(Exit::Lost) };
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                // A runtime reports its failure and exits; the report is the better answer.
                biased;
                Ok(init) = &mut init => match init {
                    Init::Done => {
                        InitEnd::Ready(env.clock.instant().saturating_duration_since(self.started))
                    }
                    Init::Failed { body, error_type } => {
                        InitEnd::Failed(Failure { payload: body, error_type })
                    }
                },
                exit = self.ended() => InitEnd::Exited(exit),
            }
        });
        waited.await.unwrap_or(InitEnd::TimedOut)
    }
}
