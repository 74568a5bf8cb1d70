//! The memory that bodies may hold together.
//!
//! Invariants: the first piece of every body that is being read has a place of its own, so small
//! bodies wait for nobody; and large payloads of calls never wait for uploads.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of every body that are charged where there is always room.
pub const FIRST: usize = 32 * 1024;
/// How long a body waits for others to give memory back.
const PATIENCE: Duration = Duration::from_secs(1);

const KIB: usize = 1024;
/// KiB for the first pieces: of all connections, and as many bodies again that outlive theirs.
const FIRSTS: usize = 2 * crate::server::CONNECTIONS * FIRST / KIB;
/// KiB for the rest of ordinary bodies.
const PAYLOADS: usize = 256 * 1024;
/// KiB for the rest of uploads.
const UPLOADS: usize = 256 * 1024;

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// Memory for bodies.
pub struct Bodies {
    firsts: Arc<Semaphore>,
    payloads: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::of(FIRSTS, PAYLOADS, UPLOADS)
    }
}

impl Bodies {
    /// All in KiB.
    pub(super) fn of(firsts: usize, payloads: usize, uploads: usize) -> Self {
        let pool = |kib| Arc::new(Semaphore::new(kib));
        Self { firsts: pool(firsts), payloads: pool(payloads), uploads: pool(uploads) }
    }

    pub(super) fn share(&self, upload: bool) -> Share {
        let rest = if upload { &self.uploads } else { &self.payloads };
        Share { first: Part::of(&self.firsts), rest: Part::of(rest) }
    }

    /// KiB that are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> [usize; 3] {
        [&self.firsts, &self.payloads, &self.uploads].map(|pool| pool.available_permits())
    }
}

/// What a body holds of the memory, given back when dropped.
pub struct Share {
    first: Part,
    rest: Part,
}

impl Share {
    /// Makes this the share of a body that takes `bytes`.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        self.first.grow(bytes.min(FIRST)).await?;
        self.rest.grow(bytes.saturating_sub(FIRST)).await
    }
}

struct Part {
    pool: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Part {
    fn of(pool: &Arc<Semaphore>) -> Self {
        Self { pool: Arc::clone(pool), held: None }
    }

    async fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(KIB).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Full)?;
        let taken = timeout(PATIENCE, Arc::clone(&self.pool).acquire_many_owned(more)).await;
        let taken = taken.map_err(|_| Full)?.map_err(|_| Full)?;
        match &mut self.held {
            Some(held) => held.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

/// Bytes that keep `kept` for as long as anybody has any of them.
pub fn hold(bytes: Bytes, kept: impl Send + 'static) -> Bytes {
    struct Held<T>(Bytes, #[allow(dead_code, reason = "held for its Drop")] T);
    impl<T> AsRef<[u8]> for Held<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    if bytes.is_empty() { bytes } else { Bytes::from_owner(Held(bytes, kept)) }
}
