//! The store as a bad day shows it: late, out of order for a while, and with whatever bug is
//! planted. Tells the referee what it has committed.

use super::Bug;
use super::world::World;
use crate::record::{EVENTS, root};
use async_trait::async_trait;
use lamplight_env::Timestamp;
use lamplight_store::{
    Ask, Depth, Key, MemoryQueues, Message, MessageId, Queue, Receipt, Step, StoreError, Stored,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

pub struct Shaky {
    pub world: Arc<World>,
    pub store: Arc<MemoryQueues>,
}

impl Shaky {
    /// Before anything is done. An error means that it is not done.
    async fn before(&self) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_millis(self.world.lateness())).await;
        for (steps, times) in self.world.put_off(None) {
            let stored = self.store.apply(steps.clone(), times.0).await?;
            self.world.committed(&steps, &stored, times);
        }
        if self.world.refuses() {
            return Err(StoreError::Unavailable("on purpose".to_owned()));
        }
        Ok(())
    }

    /// After it is done, and nobody knows it yet.
    async fn after(&self) {
        tokio::time::sleep(Duration::from_millis(self.world.lateness())).await;
    }

    /// The same steps with receipts that are good now.
    async fn forged(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut forged = Vec::new();
        for step in steps {
            forged.push(match step {
                Step::Move(receipt, moved) => Step::Move(self.newest(receipt).await, moved),
                Step::Retry { receipt, due, state } => {
                    Step::Retry { receipt: self.newest(receipt).await, due, state }
                }
                other => other,
            });
        }
        forged
    }

    async fn newest(&self, receipt: Receipt) -> Receipt {
        let name = self.world.name_of(receipt.id);
        for place in [EVENTS, crate::record::ENDED] {
            let found = self.store.find(&root(place), &name).await.unwrap_or_default();
            if let Some(message) = found.first() {
                return message.receipt;
            }
        }
        receipt
    }
}

fn later(step: Step, now: Timestamp) -> Step {
    match step {
        Step::Retry { receipt, due, state } => {
            let wait = u64::try_from(due.millis() - now.millis()).unwrap_or(0);
            Step::Retry { receipt, due: now.plus(Duration::from_millis(wait * 1000)), state }
        }
        other => other,
    }
}

#[async_trait]
impl Queue for Shaky {
    async fn apply(&self, mut steps: Vec<Step>, now: Timestamp) -> Result<Vec<Stored>, StoreError> {
        let asked = self.world.elapsed();
        self.before().await?;
        let bug = self.world.bug();
        if let (Bug::EarlyAnswer, [Step::Put(queue, message)]) = (bug, &steps[..])
            && queue.segments().next() == Some(EVENTS)
            && message.lease.is_none()
        {
            self.world.put_off(Some((steps, (now, asked))));
            let receipt = Receipt { id: MessageId(0), lease: 0 };
            return Ok(vec![Stored { receipt, duplicate_of: None }]);
        }
        if bug == Bug::LateRetries {
            steps = steps.into_iter().map(|step| later(step, now)).collect();
        }
        let mut stored = self.store.apply(steps.clone(), now).await;
        if bug == Bug::NoFencing && matches!(stored, Err(StoreError::LeaseLost(_))) {
            steps = self.forged(steps).await;
            stored = self.store.apply(steps.clone(), now).await;
        }
        if let Ok(stored) = &stored {
            self.world.committed(&steps, stored, (now, asked));
        }
        self.after().await;
        stored
    }

    async fn lease(
        &self,
        queue: &Key,
        ask: Ask,
        now: Timestamp,
    ) -> Result<Vec<Message>, StoreError> {
        let asked = self.world.elapsed();
        self.before().await?;
        let leased = self.store.lease(queue, ask, now).await?;
        self.world.leased(&leased, ask.until, (now, asked));
        self.after().await;
        Ok(leased)
    }

    async fn peek(
        &self,
        queue: &Key,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.store.peek(queue, after, limit).await
    }

    async fn find(&self, queue: &Key, name: &str) -> Result<Vec<Message>, StoreError> {
        self.store.find(queue, name).await
    }

    async fn depths(&self, queue: &Key, now: Timestamp) -> Result<Vec<Depth>, StoreError> {
        self.before().await?;
        self.store.depths(queue, now).await
    }

    async fn next_due(&self, queue: &Key) -> Result<Option<Timestamp>, StoreError> {
        self.before().await?;
        self.store.next_due(queue).await
    }

    async fn reclaim(&self, queue: &Key, now: Timestamp) -> Result<u64, StoreError> {
        self.before().await?;
        self.store.reclaim(queue, now).await
    }

    async fn purge(&self, queue: &Key) -> Result<u64, StoreError> {
        self.store.purge(queue).await
    }

    async fn trim(&self, queue: &Key, keep: u64) -> Result<u64, StoreError> {
        self.store.trim(queue, keep).await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.store.expire(now).await
    }

    fn hints(&self) -> broadcast::Receiver<Key> {
        self.store.hints()
    }
}
