//! The seam for large immutable files.

use crate::StoreError;
use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::PathBuf;

/// Lower-case hex SHA-256: the only name a blob has. Never anything else, so it is safe in paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Box<str>);

impl Digest {
    /// `None` unless `text` is 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self(text.into()))
    }

    /// Hashes on the spot: about a millisecond for every megabyte.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("{:x}", Sha256::digest(bytes)).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes with their digest, which nobody else can have made up.
#[derive(Debug, Clone)]
pub struct Blob {
    digest: Digest,
    bytes: Bytes,
}

impl Blob {
    /// Hashes on the spot, see [`Digest::of`].
    pub fn new(bytes: Bytes) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Content-addressed files. Who still needs a blob is for the callers to know.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Durable once it returns. Putting a blob again heals a damaged one.
    async fn put(&self, blob: Blob) -> Result<(), StoreError>;

    /// The file, whose length must be `len` bytes; [`StoreError::NoBlob`] or
    /// [`StoreError::Damaged`] otherwise. The content is for the reader to check while reading.
    async fn path(&self, digest: &Digest, len: u64) -> Result<PathBuf, StoreError>;

    /// Deleting an absent blob is no error.
    async fn delete(&self, digest: &Digest) -> Result<(), StoreError>;

    /// All blobs, in no order.
    async fn list(&self) -> Result<Vec<Digest>, StoreError>;
}
