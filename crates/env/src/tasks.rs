//! The task group: everything spawned is waited for at shutdown, and told when to stop.

use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Cloned into whatever runs until shutdown.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves once shutdown has begun.
    pub async fn stopped(&mut self) {
        // An error means that the group is gone, which is a stop too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

/// A group of tasks that ends together.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: watch::Sender<bool>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), stop: watch::Sender::new(false) }
    }

    /// Runs `task` until it ends; shutdown waits for it.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Runs blocking work on its own thread pool; shutdown waits for it.
    pub fn spawn_blocking<F, T>(&self, work: F) -> tokio::task::JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker.spawn_blocking(work)
    }

    pub fn stop_signal(&self) -> Stop {
        Stop(self.stop.subscribe())
    }

    /// Tells every holder of a [`Stop`], then waits at most `patience` for the tasks to end.
    /// Returns whether all of them did.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}
