//! Leases without a disk.

use super::{Lease, MemoryQueues, State};
use crate::{Held, Key, Leases, StoreError};
use async_trait::async_trait;
use lamplight_env::Timestamp;

impl State {
    pub fn holds(&self, held: &Held) -> bool {
        let lease = self.leases.get(&held.name);
        lease.is_some_and(|lease| lease.epoch == held.epoch && lease.owner.is_some())
    }
}

#[async_trait]
impl Leases for MemoryQueues {
    async fn acquire(
        &self,
        name: &Key,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Held>, StoreError> {
        Ok(self.with(|state| {
            let none = Lease { owner: None, epoch: 0, until: now };
            let lease = state.leases.entry(name.clone()).or_insert(none);
            if lease.until > now && lease.owner.as_deref() != Some(owner) {
                return None;
            }
            let epoch = lease.epoch + 1;
            *lease = Lease { owner: Some(owner.to_owned()), epoch, until };
            Some(Held { name: name.clone(), epoch })
        }))
    }

    async fn renew(&self, held: &Held, until: Timestamp) -> Result<(), StoreError> {
        self.with(|state| match state.leases.get_mut(&held.name) {
            Some(lease) if lease.epoch == held.epoch && lease.owner.is_some() => {
                lease.until = until;
                Ok(())
            }
            _ => Err(StoreError::Fenced(held.name.clone())),
        })
    }

    async fn release(&self, held: &Held) -> Result<(), StoreError> {
        self.with(|state| {
            if let Some(lease) = state.leases.get_mut(&held.name)
                && lease.epoch == held.epoch
            {
                lease.owner = None;
                lease.until = Timestamp::from_millis(i64::MIN);
            }
        });
        Ok(())
    }
}
