//! Log without a disk.

use super::MemoryQueues;
use crate::log::check_append;
use crate::{Checkpoint, Key, Log, PAGE_MAX, Record, Seq, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use std::ops::Range;

#[async_trait]
impl Log for MemoryQueues {
    async fn append(
        &self,
        shard: &Key,
        bodies: Vec<Bytes>,
        now: Timestamp,
    ) -> Result<Range<Seq>, StoreError> {
        check_append(&bodies)?;
        Ok(self.with(|state| {
            let end = state.ends.entry(shard.clone()).or_insert(1);
            let first = *end;
            let records = state.shards.entry(shard.clone()).or_default();
            for body in bodies {
                records.push(Record { seq: Seq(*end), at: now, body });
                *end += 1;
            }
            Seq(first)..Seq(*end)
        }))
    }

    async fn read(&self, shard: &Key, from: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.with(|state| {
            let records = state.shards.get(shard).into_iter().flatten();
            records.filter(|r| r.seq >= from).take(limit.min(PAGE_MAX)).cloned().collect()
        }))
    }

    async fn end(&self, shard: &Key) -> Result<Seq, StoreError> {
        Ok(self.with(|state| Seq(state.ends.get(shard).copied().unwrap_or(1))))
    }

    async fn trim(&self, shard: &Key, before: Seq) -> Result<(), StoreError> {
        self.with(|state| {
            if let Some(records) = state.shards.get_mut(shard) {
                records.retain(|record| record.seq >= before);
            }
        });
        Ok(())
    }

    async fn checkpoint(
        &self,
        reader: &Key,
        shard: &Key,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.with(|state| {
            let place = (reader.clone(), shard.clone());
            let epoch = state.checkpoints.get(&place).map_or(i64::MIN, |found| found.epoch);
            if epoch > checkpoint.epoch {
                return Err(StoreError::Fenced(reader.clone()));
            }
            state.checkpoints.insert(place, checkpoint);
            Ok(())
        })
    }

    async fn checkpoint_of(
        &self,
        reader: &Key,
        shard: &Key,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let place = (reader.clone(), shard.clone());
        Ok(self.with(|state| state.checkpoints.get(&place).cloned()))
    }

    async fn delete(&self, shard: &Key) -> Result<(), StoreError> {
        self.with(|state| {
            state.shards.remove(shard);
            state.ends.remove(shard);
            state.checkpoints.retain(|(_, of), _| of != shard);
        });
        Ok(())
    }
}
