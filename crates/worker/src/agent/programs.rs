//! The programs of one life of an environment: the runtime and the external extensions, as
//! processes that were started together and end together.
//!
//! Nothing here is used again for the next life: what an old process still has to say reaches
//! nobody who waits for a new one.

use super::process::Watch;
use crate::logs::{Capture, Drained, Pipe, Source};
use lamplight_env::Tasks;
use lamplight_model::limits;
use lamplight_rpc::StartError;
use lamplight_sandbox::{Exit, Program, ProgramName, Running, Sandbox, SandboxError, Zygote};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Runtime,
    /// With its name.
    Extension(String),
}

/// A program that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub who: Who,
    pub exit: Exit,
}

/// What a program is started with.
pub struct Launch<'a> {
    pub tasks: &'a Tasks,
    pub capture: &'a Arc<Capture>,
    pub watch: &'a Arc<Watch>,
    /// What it can be forked from.
    pub zygote: Option<Arc<Zygote>>,
}

struct Started {
    who: Who,
    name: ProgramName,
    pipe: Arc<Pipe>,
    exit: watch::Receiver<Option<Exit>>,
}

/// The ends of some programs.
pub struct Exits(Vec<watch::Receiver<Option<Exit>>>);

impl Exits {
    /// Resolves when all have ended.
    pub async fn all(mut self) {
        for exit in &mut self.0 {
            // An error means that nobody will tell any more.
            let _ = exit.wait_for(Option::is_some).await;
        }
    }
}

/// Forks a program where it can be, and executes it otherwise.
async fn begin(
    sandbox: &Sandbox,
    program: &Program,
    zygote: Option<&Zygote>,
) -> Result<Running, SandboxError> {
    if let Some(zygote) = zygote {
        match sandbox.fork(program.clone(), zygote).await {
            Ok(running) => return Ok(running),
            Err(SandboxError::Lost) => return Err(SandboxError::Lost),
            Err(error) => tracing::debug!(%error, "a program is not forked but executed"),
        }
    }
    sandbox.start(program.clone()).await
}

#[derive(Default)]
pub struct Programs {
    started: Mutex<Vec<Started>>,
    /// The one that ended first: the others go with it.
    first: watch::Sender<Option<Ended>>,
}

impl Programs {
    fn lock(&self) -> MutexGuard<'_, Vec<Started>> {
        self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts one. The number within is what the kernel says when it will not start it.
    pub async fn start(
        self: &Arc<Self>,
        sandbox: &Sandbox,
        (who, program): (Who, &Program),
        launch: Launch<'_>,
    ) -> Result<Result<(), i32>, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Sandbox(error.to_string());
        let running = match begin(sandbox, program, launch.zygote.as_deref()).await {
            Ok(running) => running,
            Err(error) => match error.start_errno() {
                Some(errno) => return Ok(Err(errno)),
                // Its init is gone, and has seen no call: another environment may take it.
                None if matches!(error, SandboxError::Lost) => return Err(StartError::Gone),
                None => return Err(failed(&error)),
            },
        };
        let source = match who {
            Who::Runtime => Source::Function,
            Who::Extension(_) => Source::Extension,
        };
        let pipe = Arc::new(Pipe::new(running.output, source).map_err(|e| failed(&e))?);
        let (exited, exit) = watch::channel(None);
        let (pump, capture) = (Arc::clone(&pipe), Arc::clone(launch.capture));
        launch.tasks.spawn(async move { pump.pump(&capture).await });
        let (programs, watch) = (Arc::clone(self), Arc::clone(launch.watch));
        let name = running.name;
        let ended = who.clone();
        launch.tasks.spawn(async move {
            let exit = running.exit.await.unwrap_or(Exit::Lost);
            exited.send_replace(Some(exit));
            programs.first.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(Ended { who: ended, exit });
                is_first
            });
            watch.ended();
        });
        self.lock().push(Started { who, name, pipe, exit });
        Ok(Ok(()))
    }

    pub fn has_ended(&self) -> bool {
        self.first.borrow().is_some()
    }

    /// Resolves with the first one that has ended.
    pub async fn ended(&self) -> Ended {
        let mut first = self.first.subscribe();
        let ended = first.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.unwrap_or(Ended { who: Who::Runtime, exit: Exit::Lost })
    }

    /// Those for whom `who` holds: their names, and how to wait for their ends.
    pub fn find(&self, who: impl Fn(&Who) -> bool) -> (Vec<ProgramName>, Exits) {
        let all = self.lock();
        let found = || all.iter().filter(|started| who(&started.who));
        let exits = found().map(|started| started.exit.clone()).collect();
        (found().map(|started| started.name).collect(), Exits(exits))
    }

    /// What they wrote up to now goes before the platform's next line.
    pub async fn flush(&self, capture: &Capture) {
        let pipes: Vec<_> = self.lock().iter().map(|started| Arc::clone(&started.pipe)).collect();
        for pipe in pipes {
            // Bounded: a background process may go on writing for as long as it likes.
            for _ in 0..limits::LOG_PER_CALL / (1024 * 1024) {
                if pipe.drain(capture) != Drained::More {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}
