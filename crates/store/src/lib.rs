//! What is durable: records in SQLite, blobs in content-addressed files, behind a few seams.
//!
//! - [`Meta`]: small records by key, changed in transactions that compare revisions; every change
//!   is in a gap-free changelog.
//! - [`Queue`]: messages that are leased, retried, moved and done, at least once each.
//! - [`Log`]: records in order, and how far their readers have come.
//! - [`Leases`]: names that one holder has at a time, with an epoch that fences the others.
//! - [`Blobs`]: immutable files named by the SHA-256 of their content.
//!
//! Invariants: what was acknowledged survives `kill -9` and power loss; a refusal changed nothing;
//! one server has a data directory at a time; a damaged record is named, never served. Each seam
//! has one conformance suite (feature `testkit`) that all implementations run.

mod blobs;
#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
mod data_dir;
mod error;
mod files;
mod key;
mod leases;
mod log;
#[cfg(any(test, feature = "testkit"))]
mod memory;
mod meta;
mod queue;
mod sqlite;
#[cfg(test)]
mod tests;

pub use blobs::{Blob, Blobs, Digest};
pub use error::{OpenError, StoreError};
pub use files::FileBlobs;
pub use key::{Key, KeyError};
pub use leases::{Held, Leases};
pub use log::{APPEND_BYTES_MAX, APPEND_MAX, Checkpoint, Log, Record, Seq};
#[cfg(any(test, feature = "testkit"))]
pub use memory::{MemoryMeta, MemoryQueues};
pub use meta::{Change, Entry, Meta, Op, PAGE_MAX, Page, Rev, TXN_BYTES_MAX, TXN_OPS_MAX};
pub use queue::{
    Ask, Dedup, Depth, Message, MessageId, Moved, NAME_BYTES_MAX, NewMessage, ORDERED_SEARCH,
    Queue, Receipt, STEPS_BYTES_MAX, STEPS_MAX, Step, Stored,
};
pub use sqlite::Sqlite;

use data_dir::DataDir;
use lamplight_env::Env;
use std::path::Path;
use std::sync::Arc;

/// An open data directory: `lock`, `state.db` and `blobs/`. The lock is held until the last clone
/// of `meta` and `blobs` is gone.
pub struct Store {
    /// [`Meta`], [`Queue`], [`Log`] and [`Leases`] in one.
    pub meta: Arc<Sqlite>,
    pub blobs: Arc<FileBlobs>,
}

impl Store {
    /// Opens the data directory, making it where there is none. Blocks while SQLite recovers,
    /// checks and migrates; meant for the start of a server.
    ///
    /// The order matters: nothing but the lock file is touched in a directory that is in use, is
    /// damaged or belongs to a newer version.
    pub fn open(path: &Path, env: &Env) -> Result<Self, OpenError> {
        let dir = Arc::new(DataDir::open(path)?);
        let meta = Arc::new(Sqlite::open(Arc::clone(&dir), env)?);
        let blobs = Arc::new(FileBlobs::open(dir, env)?);
        Ok(Self { meta, blobs })
    }
}
