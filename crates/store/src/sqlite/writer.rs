//! The one thread that writes: group commit, changelog, checkpoints.
//!
//! Waiting transactions share a COMMIT, each in a savepoint of its own so that a conflict of one
//! leaves the others alone. Nobody is answered, not even with a conflict, before COMMIT returned:
//! the conflict may be with a neighbour in the same group.

use super::record;
use super::room::Room;
use crate::{Key, Op, Rev, StoreError};
use lamplight_env::{Clock, faults};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi, params};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Transactions that share a COMMIT.
const GROUP_MAX: usize = 256;
/// How much is written between checkpoints, bytes, roughly.
const CHECKPOINT_EVERY: usize = 8 * 1024 * 1024;
/// A row and its index entries dirty about this many bytes of pages.
const OP_OVERHEAD: usize = 4096;
/// And every COMMIT so many more: pages that a single row does not fill.
const COMMIT_OVERHEAD: usize = 12 * 1024;

/// Waits for the writer.
pub(super) enum Request {
    Txn(Box<dyn Work>),
    /// Something only a test does to the connection.
    #[cfg(test)]
    Run(Box<dyn FnOnce(&mut Writer) + Send>),
}

/// One transaction and whoever waits for it.
pub(super) trait Work: Send {
    /// Whether what was written is to be kept. Called once.
    fn apply(&mut self, writer: &mut Writer) -> rusqlite::Result<bool>;

    /// Tells what came of it; `failed` says that nothing of its group was kept.
    fn answer(self: Box<Self>, failed: Option<&StoreError>);
}

/// The way in which every transaction is [`Work`].
pub(super) struct Task<F, T> {
    work: Option<F>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Task<F, T> {
    pub fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work: Some(work), done: None, reply }
    }
}

impl<F, T> Work for Task<F, T>
where
    F: FnOnce(&mut Writer) -> rusqlite::Result<Result<T, StoreError>> + Send,
    T: Send,
{
    fn apply(&mut self, writer: &mut Writer) -> rusqlite::Result<bool> {
        let Some(work) = self.work.take() else { return Ok(false) };
        let done = work(writer)?;
        let keep = done.is_ok();
        self.done = Some(done);
        Ok(keep)
    }

    fn answer(self: Box<Self>, failed: Option<&StoreError>) {
        let unknown = || Err(StoreError::Failed("a transaction was not tried".to_owned()));
        let answer = match failed {
            Some(error) => Err(error.clone()),
            None => self.done.unwrap_or_else(unknown),
        };
        // Nobody to tell where the caller has given up.
        let _ = self.reply.send(answer);
    }
}

/// How much of the changelog is kept.
pub(super) struct Retention {
    pub age: Duration,
    /// At least one.
    pub rows: i64,
    /// Revisions between two looks.
    pub every: i64,
}

pub(super) struct Writer {
    pub connection: Connection,
    clock: Arc<dyn Clock>,
    /// Of the last change that is committed, or in the group being written.
    rev: Rev,
    trimmed_at: Rev,
    pub retention: Retention,
    /// Bytes in the log since it began at its front, roughly.
    unfolded: usize,
    room: Room,
}

/// What an error of SQLite means for the server.
#[derive(Debug, PartialEq, Eq)]
enum Severity {
    /// Rolled back; the next transaction may work.
    Passing(String),
    /// An index has not what its table has: it can be made again out of the table.
    Index(String),
    /// What is on the disk is unknown.
    Fatal(String),
}

fn severity(error: &rusqlite::Error) -> Severity {
    let text = error.to_string();
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Severity::Passing("no space left on the disk".to_owned()),
        // Where there is no space to grow the shared index of the log: nothing was written yet.
        _ if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => Severity::Passing(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory) => {
            Severity::Passing(text)
        }
        Some(ErrorCode::DatabaseCorrupt) if extended == Some(ffi::SQLITE_CORRUPT_INDEX) => {
            Severity::Index(text)
        }
        _ if record::is_damage(error) => Severity::Passing(text),
        // Above all a failed sync: the kernel may have dropped the dirty pages, so a second sync
        // would "succeed" without them. Only a new start reads what is really there.
        _ => Severity::Fatal(text),
    }
}

/// Makes the indices again after damage to one of them, or to a value that is in one. The tables
/// have checksums of their own.
pub(super) fn mended(connection: &Connection) -> bool {
    // Names that are there twice stop the first one.
    let mended = ["REINDEX", "REINDEX message"].map(|sql| connection.execute_batch(sql));
    tracing::error!(?mended, "an index of the store was damaged; all are made again");
    mended.iter().any(Result::is_ok)
}

/// Whether an error says that [`mended`] is called for.
pub(super) fn wants_mending(error: &rusqlite::Error) -> bool {
    matches!(severity(error), Severity::Index(_))
}

/// As SQLite says that a sync has failed; only a fault on purpose comes this way.
fn failed_sync(error: std::io::Error) -> rusqlite::Error {
    let code = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

type Group = Vec<Box<dyn Work>>;

impl Writer {
    pub fn new(
        connection: Connection,
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> rusqlite::Result<Self> {
        // The newest entry is never trimmed.
        let last: Option<i64> =
            connection.query_row("SELECT max(rev) FROM changelog", [], |row| row.get(0))?;
        let rev = Rev(last.unwrap_or(0));
        let retention =
            Retention { age: Duration::from_secs(24 * 3600), rows: 100_000, every: 1_000 };
        let room = Room::of(path);
        Ok(Self { connection, clock, rev, trimmed_at: Rev(0), retention, unfolded: 0, room })
    }

    /// Until the queue is closed and empty, or the device fails.
    pub fn run(
        mut self,
        mut queue: mpsc::Receiver<Request>,
        failed: &watch::Sender<Option<String>>,
    ) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Group::new();
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Txn(work) => group.push(work),
                    #[cfg(test)]
                    Request::Run(work) => work(&mut self),
                }
                next = (group.len() < GROUP_MAX).then(|| queue.try_recv().ok()).flatten();
            }
            let fate = self.commit(group);
            self.unfolded += COMMIT_OVERHEAD;
            if let Err(reason) = fate.and_then(|()| self.fold_if_due()) {
                tracing::error!(%reason, "the store has failed; the server has to be restarted");
                // Whoever waits in the queue is told so when it is dropped.
                failed.send_replace(Some(reason));
                // Closing the connection would fold the log, which syncs once more.
                std::mem::forget(self.connection);
                return;
            }
            self.room.keep_ahead(self.unfolded as u64);
        }
    }

    /// Writes a group and answers it. An error is fatal for the writer.
    fn commit(&mut self, mut group: Group) -> Result<(), String> {
        let before = self.rev;
        let (failed, fate) = match self.write(&mut group) {
            Ok(()) => (None, Ok(())),
            Err(error) => {
                self.rev = before;
                // SQLite has already rolled back after some errors.
                let rolled_back = self.connection.is_autocommit()
                    || self.connection.execute_batch("ROLLBACK").is_ok();
                match severity(&error) {
                    Severity::Passing(text) if rolled_back => {
                        (Some(StoreError::Unavailable(text)), Ok(()))
                    }
                    Severity::Index(text) if rolled_back && mended(&self.connection) => {
                        (Some(StoreError::Unavailable(text)), Ok(()))
                    }
                    Severity::Passing(text) | Severity::Index(text) | Severity::Fatal(text) => {
                        (Some(StoreError::Failed(text.clone())), Err(text))
                    }
                }
            }
        };
        for work in group {
            work.answer(failed.as_ref());
        }
        fate
    }

    fn write(&mut self, group: &mut Group) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for work in group {
            let before = self.rev;
            self.run_cached("SAVEPOINT one")?;
            if !work.apply(self)? {
                self.rev = before;
                self.run_cached("ROLLBACK TO one")?;
            }
            self.run_cached("RELEASE one")?;
        }
        if self.rev.0 - self.trimmed_at.0 >= self.retention.every {
            self.trim()?;
        }
        faults::point("store.commit").map_err(failed_sync)?;
        self.connection.execute_batch("COMMIT")?;
        faults::point("store.committed").map_err(failed_sync)
    }

    fn run_cached(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Takes note of what was written, bytes, for the next look at the log's size.
    pub fn wrote(&mut self, bytes: usize) {
        self.unfolded += bytes + OP_OVERHEAD;
    }

    /// Changes records of Meta.
    pub fn change(&mut self, ops: &[Op]) -> rusqlite::Result<Result<Rev, StoreError>> {
        for op in ops {
            self.wrote(op.bytes());
            match op {
                Op::Expect(key, expected) => {
                    if self.rev_of(key)? != *expected {
                        return Ok(Err(StoreError::Conflict(key.clone())));
                    }
                }
                Op::Put(key, body) => {
                    let rev = self.log(key.encoded(), false)?;
                    self.connection
                        .prepare_cached(
                            "INSERT INTO meta (key, rev, sum, body) VALUES (?1, ?2, ?3, ?4) \
                             ON CONFLICT (key) DO UPDATE SET \
                             rev = excluded.rev, sum = excluded.sum, body = excluded.body",
                        )?
                        .execute(params![
                            key.encoded(),
                            rev.0,
                            record::sum(key.encoded(), rev, body),
                            &body[..]
                        ])?;
                }
                Op::Delete(key) => {
                    let deleted = self
                        .connection
                        .prepare_cached("DELETE FROM meta WHERE key = ?1")?
                        .execute([key.encoded()])?;
                    if deleted > 0 {
                        self.log(key.encoded(), true)?;
                    }
                }
            }
        }
        Ok(Ok(self.rev))
    }

    fn rev_of(&self, key: &Key) -> rusqlite::Result<Option<Rev>> {
        self.connection
            .prepare_cached("SELECT rev FROM meta WHERE key = ?1")?
            .query_row([key.encoded()], |row| row.get(0).map(Rev))
            .optional()
    }

    fn log(&mut self, key: &str, deleted: bool) -> rusqlite::Result<Rev> {
        self.rev = Rev(self.rev.0 + 1);
        self.connection
            .prepare_cached(
                "INSERT INTO changelog (rev, key, deleted, at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.rev.0, key, deleted, self.clock.now().millis()])?;
        Ok(self.rev)
    }

    /// Removes a prefix of the changelog and never its newest entry: what is left has no gaps, and
    /// the next revision is known after a restart.
    fn trim(&mut self) -> rusqlite::Result<()> {
        let age = i64::try_from(self.retention.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = self.clock.now().millis().saturating_sub(age);
        // In order of rev, because the wall clock may have jumped.
        let first_kept: Option<i64> = self
            .connection
            .query_row(
                "SELECT rev FROM changelog WHERE at >= ?1 ORDER BY rev LIMIT 1",
                [oldest],
                |r| r.get(0),
            )
            .optional()?;
        let by_age = first_kept.unwrap_or(self.rev.0);
        let cut = by_age.max(self.rev.0 - self.retention.rows + 1);
        self.connection.execute("DELETE FROM changelog WHERE rev < ?1", [cut])?;
        self.trimmed_at = self.rev;
        Ok(())
    }

    /// Copies the log into the database when it has grown.
    fn fold_if_due(&mut self) -> Result<(), String> {
        if self.unfolded < CHECKPOINT_EVERY {
            return Ok(());
        }
        self.unfolded = 0;
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        match folded.as_ref().map_err(severity) {
            Ok(()) => Ok(()),
            Err(Severity::Passing(reason)) => {
                tracing::warn!(%reason, "the log of the store could not be folded in");
                Ok(())
            }
            Err(Severity::Index(reason) | Severity::Fatal(reason)) => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(extended_code: i32) -> Severity {
        severity(&rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), None))
    }

    #[test]
    fn only_what_left_the_disk_untouched_is_passing() {
        for passing in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(of(passing), Severity::Passing(_)), "{passing}");
        }
        for fatal in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_READONLY,
        ] {
            assert!(matches!(of(fatal), Severity::Fatal(_)), "{fatal}");
        }
    }
}
