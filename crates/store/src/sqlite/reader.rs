//! The threads that read.

use super::connect;
use crate::{OpenError, StoreError};
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

const THREADS: usize = 2;
/// Reads that may wait for a thread; more wait in their callers.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Ends with the value: the threads stop once their queues are closed and empty.
pub(super) struct Readers {
    queues: Vec<mpsc::Sender<Job>>,
    next: AtomicUsize,
}

impl Readers {
    pub fn start(path: &Path) -> Result<Self, OpenError> {
        let mut queues = Vec::new();
        for _ in 0..THREADS {
            let connection = connect(path, false).map_err(|source| OpenError::Sqlite {
                step: "read",
                path: path.to_owned(),
                source,
            })?;
            let (sender, mut queue) = mpsc::channel::<Job>(QUEUE);
            std::thread::Builder::new()
                .name("store-reader".into())
                .spawn(move || {
                    while let Some(job) = queue.blocking_recv() {
                        job(&connection);
                    }
                })
                .map_err(|source| OpenError::Io {
                    step: "start a reader of",
                    path: path.to_owned(),
                    source,
                })?;
            queues.push(sender);
        }
        Ok(Self { queues, next: AtomicUsize::new(0) })
    }

    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("a reader is gone".to_owned());
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody to tell where the caller has given up.
            let _ = reply.send(work(connection));
        });
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len().max(1);
        let queue = self.queues.get(turn).ok_or_else(gone)?;
        queue.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
