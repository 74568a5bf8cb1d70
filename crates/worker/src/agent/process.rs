//! The processes of an environment: how they become ready, and how their end is noticed.

use super::crashes::Pausing;
use super::failure::Failure;
use super::programs::{Ended, Programs};
use crate::runtime_api::{Init, RuntimeApi};
use lamplight_env::Env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;

/// Why there is no process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotStarted {
    /// The package has nothing that could be started.
    NoEntrypoint,
    /// The kernel would not start it.
    Refused { errno: i32 },
    /// There are more external extensions than a function may have.
    TooManyExtensions,
    /// The kernel would not start this extension.
    Extension { name: String, errno: i32 },
    /// Its initialisation fails again and again, and it was tried a moment ago.
    Pausing(Pausing),
    /// The one before was ended with its call; the next call starts another.
    Ended,
}

impl NotStarted {
    /// What REPORT calls it.
    pub fn error_type(&self) -> &str {
        match self {
            Self::Pausing(pausing) => &pausing.error_type,
            Self::TooManyExtensions | Self::Extension { .. } => "Extension.LaunchError",
            Self::NoEntrypoint | Self::Refused { .. } | Self::Ended => "Runtime.InvalidEntrypoint",
        }
    }
}

/// How an initialisation ended.
pub enum InitEnd {
    Ready(Duration),
    Failed(Failure),
    Exited(Ended),
    /// The extensions were there; the runtime could not be started.
    NotStarted(NotStarted),
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

    pub fn ended(&self) {
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

/// Processes that were started together.
pub struct Process {
    pub started: Instant,
    pub programs: Arc<Programs>,
    /// AWS: the runtime is started when all external extensions have registered.
    pub has_runtime: bool,
    /// Taken by whoever waits for its end.
    init: Option<oneshot::Receiver<Init>>,
}

impl Process {
    pub fn new(started: Instant, programs: Arc<Programs>, init: oneshot::Receiver<Init>) -> Self {
        Self { started, programs, has_runtime: false, init: Some(init) }
    }

    /// Whether nobody has seen the end of its initialisation yet.
    pub fn is_new(&self) -> bool {
        self.init.is_some()
    }

    pub fn has_ended(&self) -> bool {
        self.programs.has_ended()
    }

    /// Waits for the external extensions to register, at most until `deadline`. `None` when the
    /// runtime can be started.
    pub async fn extensions(&mut self, api: &RuntimeApi, deadline: Instant) -> Option<InitEnd> {
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                () = api.registered() => None,
                ended = self.programs.ended() => Some(InitEnd::Exited(ended)),
            }
        });
        let end = waited.await.unwrap_or(Some(InitEnd::TimedOut));
        if end.is_some() {
            self.init = None;
        }
        end
    }

    /// Waits for everybody to ask for the first event, at most until `deadline`.
    pub async fn initialise(&mut self, env: &Env, deadline: Instant) -> Option<InitEnd> {
        let mut init = self.init.take()?;
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
                ended = self.programs.ended() => InitEnd::Exited(ended),
            }
        });
        Some(waited.await.unwrap_or(InitEnd::TimedOut))
    }
}
