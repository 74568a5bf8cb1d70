//! What can go wrong: while opening, and while reading and writing.

use crate::{Key, KeyError, MessageId};
use std::path::PathBuf;
use thiserror::Error;

/// Why a data directory cannot be used. The texts are for whoever starts the server.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the data directory {} is in use by another server (process {pid})", path.display())]
    InUse { path: PathBuf, pid: String },
    #[error(
        "{} was written by a newer version (format {found}, this version knows {known}); \
         it was not touched. Start it with that version or newer", path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{} is damaged: {detail}. Stop here, keep a copy, then restore a backup or run: \
         sqlite3 {} .recover | sqlite3 recovered.db", path.display(), path.display()
    )]
    Damaged { path: PathBuf, detail: String },
    #[error("cannot {step} {}: {source}", path.display())]
    Io { step: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot {step} {}: {source}", path.display())]
    Sqlite { step: &'static str, path: PathBuf, source: rusqlite::Error },
}

/// Why a read or write was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// An [`crate::Op::Expect`] did not hold. Nothing was changed.
    #[error("{0} was changed by somebody else")]
    Conflict(Key),
    /// The message is gone, or somebody else has been given it. Nothing was changed.
    #[error("message {} is no longer held", .0.0)]
    LeaseLost(MessageId),
    /// Somebody else has the name by now. Nothing was changed.
    #[error("{0} is no longer held")]
    Fenced(Key),
    /// Nothing was changed; it may work later: no space left, or too busy.
    #[error("the store cannot take this now: {0}")]
    Unavailable(String),
    /// The device failed under a commit. Whether this write happened is unknown, no other will be
    /// taken, and the process should end: only a new start can find out what is on the disk.
    #[error("the store has failed: {0}")]
    Failed(String),
    /// What was read is not what was written.
    #[error("{what} is damaged: {detail}")]
    Damaged { what: String, detail: String },
    /// The changelog no longer goes back that far: list again.
    #[error("the changes asked for are no longer kept")]
    Compacted,
    /// More operations or bytes than a transaction may have. Nothing was changed.
    #[error("too large for one transaction: {0}")]
    TooLarge(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("there is no blob {0}")]
    NoBlob(String),
}
