//! Meta, Queue, Log and Leases in SQLite: one thread writes, two read.
//!
//! Rules: WAL and `synchronous=FULL`; the writer's is the only connection that writes and
//! checkpoints; callers are answered after COMMIT returned; no memory-mapped I/O, because a fault
//! there is a signal instead of an error. Readers see a commit as soon as it is acknowledged.

#[cfg(test)]
mod crash;
mod leases;
mod log;
mod queue;
mod reader;
mod record;
mod room;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use crate::data_dir::DataDir;
use crate::meta::check_size;
use crate::{Change, Entry, Key, Meta, Op, OpenError, Page, Rev, StoreError};
use async_trait::async_trait;
use lamplight_env::Env;
use reader::Readers;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use writer::{Request, Task, Writer};

/// Transactions that may wait for the writer; more wait in their callers.
const WRITE_QUEUE: usize = 256;
/// Hints that a slow listener may be behind.
const HINTS: usize = 1024;

/// `state.db` of a data directory.
pub struct Sqlite {
    /// `None` only while dropping: the threads end when their queues are closed.
    requests: Option<mpsc::Sender<Request>>,
    readers: Option<Readers>,
    writer: Option<JoinHandle<()>>,
    failure: watch::Receiver<Option<String>>,
    /// Of queues that have got something.
    hints: broadcast::Sender<Key>,
    /// Keeps the lock; dropped after the threads have ended.
    _dir: Arc<DataDir>,
}

impl Sqlite {
    pub(crate) fn open(dir: Arc<DataDir>, env: &Env) -> Result<Self, OpenError> {
        let path = dir.join("state.db");
        schema::refuse_newer_file(&path)?;
        let sqlite = |step| {
            let path = path.clone();
            move |source| OpenError::Sqlite { step, path, source }
        };
        let mut connection = connect(&path, true).map_err(sqlite("open"))?;
        schema::prepare(&mut connection, &path)?;
        crate::data_dir::sync_dir(dir.path()).map_err(|source| OpenError::Io {
            step: "sync",
            path: dir.path().to_owned(),
            source,
        })?;
        let readers = Readers::start(&path)?;
        let (requests, queue) = mpsc::channel(WRITE_QUEUE);
        let (failed, failure) = watch::channel(None);
        let writer = Writer::new(connection, &path, Arc::clone(&env.clock))
            .map_err(sqlite("read the end of"))?;
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue, &failed))
            .map_err(|source| OpenError::Io { step: "start the writer of", path, source })?;
        Ok(Self {
            requests: Some(requests),
            readers: Some(readers),
            writer: Some(writer),
            failure,
            hints: broadcast::Sender::new(HINTS),
            _dir: dir,
        })
    }

    /// Resolves with the reason once the store has failed for good, see [`StoreError::Failed`].
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        let reason = match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            Err(_) => None,
        };
        reason.unwrap_or_else(|| "the writer is gone".to_owned())
    }

    fn gone(&self) -> StoreError {
        let reason = self.failure.borrow().clone();
        StoreError::Failed(reason.unwrap_or_else(|| "the writer is gone".to_owned()))
    }

    /// One transaction: kept when `work` ends with `Ok(Ok(_))`, and durable then.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> rusqlite::Result<Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(|| self.gone())?;
        let task = Request::Txn(Box::new(Task::new(work, reply)));
        requests.send(task).await.map_err(|_| self.gone())?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.readers {
            Some(readers) => readers.run(work).await,
            None => Err(StoreError::Unavailable("the store is closed".into())),
        }
    }
}

impl Drop for Sqlite {
    /// Waits for what was already accepted, so that a second open in this process finds the files
    /// free and the log folded in.
    fn drop(&mut self) {
        self.requests = None;
        self.readers = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Meta for Sqlite {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let key = key.clone();
        self.read(move |connection| record::get(connection, &key)).await
    }

    async fn list(&self, prefix: &Key, page: Page) -> Result<Vec<Entry>, StoreError> {
        let prefix = prefix.clone();
        self.read(move |connection| record::list(connection, &prefix, &page)).await
    }

    async fn txn(&self, ops: Vec<Op>) -> Result<Rev, StoreError> {
        check_size(&ops)?;
        self.write(move |writer| writer.change(&ops)).await
    }

    async fn changes(&self, after: Rev, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.read(move |connection| record::changes(connection, after, limit)).await
    }
}

fn connect(path: &Path, writable: bool) -> rusqlite::Result<Connection> {
    let access = if writable {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}
