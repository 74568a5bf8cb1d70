//! The seam for small records.

use crate::{Key, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use std::fmt;

/// Operations of one transaction.
pub const TXN_OPS_MAX: usize = 256;
/// Keys and bodies of one transaction, bytes.
pub const TXN_BYTES_MAX: usize = 1024 * 1024;
/// Entries of one page.
pub const PAGE_MAX: usize = 1000;

/// A place in the changelog. Every change of a record has the next one, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rev(pub i64);

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step of a transaction. Steps see what the steps before them did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The record must have this revision, or be absent.
    Expect(Key, Option<Rev>),
    Put(Key, Bytes),
    /// Of an absent record: no change, and no entry in the changelog.
    Delete(Key),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    /// Of the change that wrote it.
    pub rev: Rev,
    pub body: Bytes,
}

/// Which part of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only keys after this one.
    pub after: Option<Key>,
    /// [`PAGE_MAX`] at most, whatever is asked for; fewer where records are large.
    pub limit: usize,
}

/// An entry of the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub rev: Rev,
    pub key: Key,
    pub deleted: bool,
    pub at: Timestamp,
}

/// Records by key. Reads see every transaction that was acknowledged before they began.
///
/// A transaction whose future is dropped may still happen: a caller that must know its outcome
/// waits in a task of its own.
#[async_trait]
pub trait Meta: Send + Sync {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// The records whose keys begin with the segments of `prefix` and have more, by key. The list
    /// is over when a page is empty.
    async fn list(&self, prefix: &Key, page: Page) -> Result<Vec<Entry>, StoreError>;

    /// All of `ops`, or none. Durable once it returns `Ok` with the revision of the last change.
    ///
    /// Errors: [`StoreError::Conflict`] with the first key whose expectation does not hold,
    /// [`StoreError::TooLarge`], [`StoreError::Unavailable`], [`StoreError::Failed`].
    async fn txn(&self, ops: Vec<Op>) -> Result<Rev, StoreError>;

    /// Changes after `after`, oldest first, [`PAGE_MAX`] at most. Those of the last 24 hours are
    /// kept, but 100 000 at most: older ones answer [`StoreError::Compacted`].
    async fn changes(&self, after: Rev, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// All records below `prefix`. Every page is consistent in itself, the whole is not.
    async fn list_all(&self, prefix: &Key) -> Result<Vec<Entry>, StoreError> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.key.clone());
            let page = self.list(prefix, Page { after, limit: PAGE_MAX }).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

/// Refuses what no implementation takes.
pub(crate) fn check_size(ops: &[Op]) -> Result<(), StoreError> {
    if ops.len() > TXN_OPS_MAX {
        return Err(StoreError::TooLarge(format!("{} operations", ops.len())));
    }
    let bytes: usize = ops.iter().map(Op::bytes).sum();
    if bytes > TXN_BYTES_MAX {
        return Err(StoreError::TooLarge(format!("{bytes} bytes")));
    }
    Ok(())
}

impl Op {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Expect(key, _) | Self::Delete(key) => key.encoded().len(),
            Self::Put(key, body) => key.encoded().len() + body.len(),
        }
    }
}
