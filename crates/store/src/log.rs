//! The seam for records that are read in order by several readers: shards of streams, and how far
//! each reader has come.

use crate::{Key, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use std::ops::Range;

/// Records of one append.
pub const APPEND_MAX: usize = 1000;
/// Bodies of one append, bytes.
pub const APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A place in a shard, from 1 on, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub seq: Seq,
    pub at: Timestamp,
    pub body: Bytes,
}

/// How far a reader has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that it is done with.
    pub seq: Seq,
    /// Of the reader's lease.
    pub epoch: i64,
    /// What the reader has to remember beside.
    pub state: Bytes,
}

#[async_trait]
pub trait Log: Send + Sync {
    /// All, or none. Durable once it returns with their places.
    async fn append(
        &self,
        shard: &Key,
        bodies: Vec<Bytes>,
        now: Timestamp,
    ) -> Result<Range<Seq>, StoreError>;

    /// Records from `from` on, or from the oldest that is kept; fewer where bodies are large.
    async fn read(&self, shard: &Key, from: Seq, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// The place of the next record.
    async fn end(&self, shard: &Key) -> Result<Seq, StoreError>;

    /// Deletes records before `before`. Their places are never used again.
    async fn trim(&self, shard: &Key, before: Seq) -> Result<(), StoreError>;

    /// [`StoreError::Fenced`] when a reader of a higher epoch has written one.
    async fn checkpoint(
        &self,
        reader: &Key,
        shard: &Key,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError>;

    async fn checkpoint_of(
        &self,
        reader: &Key,
        shard: &Key,
    ) -> Result<Option<Checkpoint>, StoreError>;

    /// Deletes a shard and all checkpoints on it.
    async fn delete(&self, shard: &Key) -> Result<(), StoreError>;
}

pub(crate) fn check_append(bodies: &[Bytes]) -> Result<(), StoreError> {
    let bytes: usize = bodies.iter().map(Bytes::len).sum();
    if bodies.len() > APPEND_MAX || bytes > APPEND_BYTES_MAX {
        return Err(StoreError::TooLarge(format!("{} records of {bytes} bytes", bodies.len())));
    }
    Ok(())
}
