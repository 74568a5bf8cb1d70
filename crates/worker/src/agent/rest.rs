//! Environments between calls, and what freezes them.
//!
//! AWS: between calls an environment is frozen. Here that waits a moment, so that calls close on each
//! other do not pay for it. Environments that become idle stand in one line, and whoever freezes them
//! sleeps while nobody does: a server at rest has nothing to look after.
//!
//! Invariant: an environment that is idle and not frozen is in the line, and no environment is in it
//! twice.

use super::environment::Environment;
use lamplight_env::{Clock, Stop};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender};

/// An environment that is idle for this long is frozen.
const PATIENCE: Duration = Duration::from_millis(100);

/// The way into the line.
pub type Line = UnboundedSender<Idle>;

/// One in the line.
pub struct Idle {
    environment: Weak<Environment>,
    /// It is looked at a moment after that.
    since: Instant,
}

/// How an environment rests.
pub struct Rest {
    line: Line,
    state: Mutex<State>,
}

struct State {
    now: Now,
    in_line: bool,
}

enum Now {
    Busy,
    /// Idle.
    Since(Instant),
    Frozen,
}

impl Rest {
    pub fn new(line: Line) -> Self {
        Self { line, state: Mutex::new(State { now: Now::Busy, in_line: false }) }
    }
}

impl Environment {
    /// Its call is over.
    pub(super) async fn rest(self: &Arc<Self>) {
        let mut state = self.rest.state.lock().await;
        let since = self.env.clock.instant();
        state.now = Now::Since(since);
        if !std::mem::replace(&mut state.in_line, true) {
            // Nobody is there when the server goes down.
            let _ = self.rest.line.send(Idle { environment: Arc::downgrade(self), since });
        }
    }

    pub(super) async fn wake(&self) {
        let mut state = self.rest.state.lock().await;
        if matches!(state.now, Now::Frozen)
            && let Some(sandbox) = self.sandbox.read().await.as_ref()
        {
            sandbox.thaw().await;
        }
        state.now = Now::Busy;
    }

    /// Freezes it where it has been idle for long enough. Else since when it is idle, if it is.
    async fn freeze_if_idle(&self) -> Option<Instant> {
        let mut state = self.rest.state.lock().await;
        if let Now::Since(since) = state.now {
            if self.env.clock.instant().saturating_duration_since(since) < PATIENCE {
                return Some(since);
            }
            state.now = Now::Frozen;
            // Written by its end alone, and then there is nothing to freeze.
            if let Ok(sandbox) = self.sandbox.try_read()
                && let Some(sandbox) = sandbox.as_ref()
            {
                sandbox.freeze().await;
            }
        }
        state.in_line = false;
        None
    }
}

/// Freezes environments that are between calls, until the server stops.
pub async fn freeze_idle(
    (clock, mut stop): (Arc<dyn Clock>, Stop),
    (mut line, back): (UnboundedReceiver<Idle>, WeakUnboundedSender<Idle>),
) {
    loop {
        let first = tokio::select! {
            () = stop.stopped() => return,
            first = line.recv() => first,
        };
        let Some(Idle { environment, since }) = first else { return };
        let idle = clock.instant().saturating_duration_since(since);
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(PATIENCE.saturating_sub(idle)) => {}
        }
        let Some(there) = environment.upgrade() else { continue };
        if let Some(since) = there.freeze_if_idle().await
            && let Some(back) = back.upgrade()
        {
            let _ = back.send(Idle { environment, since });
        }
    }
}
