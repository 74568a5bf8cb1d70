//! The seam for names that one holder has at a time.
//!
//! Whoever holds a name may come to a halt and wake up after somebody else has taken over. So
//! every holder has an epoch, and what it writes is guarded by it ([`crate::Step::Fence`], the
//! epoch of a checkpoint): the clock decides who may take over, the epoch who may write.

use crate::{Key, StoreError};
use async_trait::async_trait;
use lamplight_env::Timestamp;

/// A name that was given to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub name: Key,
    /// One higher with every holder.
    pub epoch: i64,
}

#[async_trait]
pub trait Leases: Send + Sync {
    /// `None` while somebody else has it. The same owner gets it again, with a new epoch.
    async fn acquire(
        &self,
        name: &Key,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Held>, StoreError>;

    /// Has it until then; [`StoreError::Fenced`] when somebody else has had it since. One that ran
    /// out is renewed as long as nobody else has taken it.
    async fn renew(&self, held: &Held, until: Timestamp) -> Result<(), StoreError>;

    /// Of one that was lost: no error, and nothing happens.
    async fn release(&self, held: &Held) -> Result<(), StoreError>;
}
