//! Queue in SQLite: what the writer changes is in `steps` and `taking`, what readers see in `rows`.

mod rows;
mod steps;
mod taking;

use super::{Sqlite, Writer};
use crate::queue::{check_steps, touched};
use crate::{Ask, Depth, Key, Message, MessageId, Queue, Step, StoreError, Stored};
use async_trait::async_trait;
use lamplight_env::Timestamp;
use rusqlite::params;
use tokio::sync::broadcast;

/// Messages that one transaction deletes: others want the writer, too.
const SWEEP: i64 = 1000;

#[async_trait]
impl Queue for Sqlite {
    async fn apply(&self, steps: Vec<Step>, now: Timestamp) -> Result<Vec<Stored>, StoreError> {
        check_steps(&steps)?;
        let hints = touched(&steps);
        let stored = self.write(move |writer| writer.steps(&steps, now)).await?;
        self.hint(hints);
        Ok(stored)
    }

    async fn lease(
        &self,
        queue: &Key,
        ask: Ask,
        now: Timestamp,
    ) -> Result<Vec<Message>, StoreError> {
        let queue = queue.clone();
        self.write(move |writer| writer.take(&queue, ask, now).map(Ok)).await
    }

    async fn peek(
        &self,
        queue: &Key,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let queue = queue.clone();
        self.read(move |connection| rows::peek(connection, &queue, after, limit)).await
    }

    async fn find(&self, queue: &Key, name: &str) -> Result<Vec<Message>, StoreError> {
        let (queue, name) = (queue.clone(), name.to_owned());
        self.read(move |connection| rows::find(connection, &queue, &name)).await
    }

    async fn depths(&self, queue: &Key, now: Timestamp) -> Result<Vec<Depth>, StoreError> {
        let queue = queue.clone();
        self.read(move |connection| rows::depths(connection, &queue, now)).await
    }

    async fn next_due(&self, queue: &Key) -> Result<Option<Timestamp>, StoreError> {
        let queue = queue.clone();
        self.read(move |connection| rows::next_due(connection, &queue)).await
    }

    async fn reclaim(&self, queue: &Key, now: Timestamp) -> Result<u64, StoreError> {
        let reclaimed = queue.clone();
        let ended = self.write(move |writer| writer.reclaim(&reclaimed, now).map(Ok)).await?;
        if ended > 0 {
            self.hint(vec![queue.clone()]);
        }
        Ok(ended)
    }

    async fn purge(&self, queue: &Key) -> Result<u64, StoreError> {
        // What comes later stays: ids go up.
        let last = self.read({
            let queue = queue.clone();
            move |connection| rows::last(connection, &queue)
        });
        let Some(last) = last.await? else { return Ok(0) };
        self.sweep(
            move |writer, queue| {
                writer.delete(
                    "SELECT id FROM message WHERE queue = ?1 AND id <= ?2 LIMIT ?3",
                    params![queue, last, SWEEP],
                )
            },
            queue,
        )
        .await
    }

    async fn trim(&self, queue: &Key, keep: u64) -> Result<u64, StoreError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.sweep(
            move |writer, queue| {
                let surplus = writer.count(queue)?.saturating_sub(keep).clamp(0, SWEEP);
                writer.delete(
                    "SELECT id FROM message WHERE queue = ?1 ORDER BY due, id LIMIT ?2",
                    params![queue, surplus],
                )
            },
            queue,
        )
        .await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let gone = self.write(move |writer| {
                writer
                    .connection
                    .prepare_cached("DELETE FROM dedup WHERE until <= ?1")?
                    .execute([now.millis()])?;
                writer
                    .delete(
                        "SELECT id FROM message WHERE expires <= ?1 LIMIT ?2",
                        params![now.millis(), SWEEP],
                    )
                    .map(Ok)
            });
            let gone = gone.await?;
            all += gone;
            if gone == 0 {
                return Ok(all);
            }
        }
    }

    fn hints(&self) -> broadcast::Receiver<Key> {
        self.hints.subscribe()
    }
}

impl Sqlite {
    fn hint(&self, queues: Vec<Key>) {
        for queue in queues {
            // Nobody listens: nobody waits.
            let _ = self.hints.send(queue);
        }
    }

    /// Deletes part by part until a part is not full.
    async fn sweep(
        &self,
        part: impl Fn(&mut Writer, i64) -> rusqlite::Result<u64> + Copy + Send + 'static,
        queue: &Key,
    ) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let queue = queue.clone();
            let gone = self.write(move |writer| {
                Ok(Ok(match writer.queue_id(&queue)? {
                    Some(id) => part(writer, id)?,
                    None => 0,
                }))
            });
            let gone = gone.await?;
            all += gone;
            if gone == 0 {
                return Ok(all);
            }
        }
    }
}
