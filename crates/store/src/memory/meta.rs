//! Meta without a disk, for tests. Keeps the whole changelog.

use crate::meta::check_size;
use crate::{Change, Entry, Key, Meta, Op, PAGE_MAX, Page, Rev, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

#[derive(Default)]
pub struct MemoryMeta(Mutex<State>);

#[derive(Default)]
struct State {
    records: BTreeMap<Key, (Rev, Bytes)>,
    changes: Vec<Change>,
}

impl State {
    fn change(&mut self, key: &Key, deleted: bool) -> Rev {
        let rev = Rev(self.last().0 + 1);
        let at = Timestamp::from_millis(rev.0);
        self.changes.push(Change { rev, key: key.clone(), deleted, at });
        rev
    }

    fn last(&self) -> Rev {
        self.changes.last().map(|change| change.rev).unwrap_or_default()
    }

    /// Adds to `undo` what stood where something was changed.
    fn apply(&mut self, op: Op, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        match op {
            Op::Expect(key, rev) => {
                if self.records.get(&key).map(|(rev, _)| *rev) != rev {
                    return Err(StoreError::Conflict(key));
                }
            }
            Op::Put(key, body) => {
                let rev = self.change(&key, false);
                undo.push((key.clone(), self.records.insert(key, (rev, body))));
            }
            Op::Delete(key) => {
                if let Some(was) = self.records.remove(&key) {
                    self.change(&key, true);
                    undo.push((key, Some(was)));
                }
            }
        }
        Ok(())
    }

    fn undo(&mut self, undo: Vec<Undo>) {
        self.changes.truncate(self.changes.len() - undo.len());
        for (key, was) in undo.into_iter().rev() {
            match was {
                Some(was) => self.records.insert(key, was),
                None => self.records.remove(&key),
            };
        }
    }
}

type Undo = (Key, Option<(Rev, Bytes)>);

impl MemoryMeta {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().expect("no holder panics"))
    }
}

#[async_trait]
impl Meta for MemoryMeta {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.with(|state| {
            let (rev, body) = state.records.get(key)?.clone();
            Some(Entry { key: key.clone(), rev, body })
        }))
    }

    async fn list(&self, prefix: &Key, page: Page) -> Result<Vec<Entry>, StoreError> {
        let (from, to) = prefix.below();
        let after = page.after.as_ref().map_or("", Key::encoded).max(&from);
        if after >= to.as_str() {
            return Ok(Vec::new());
        }
        let range = (Bound::Excluded(after), Bound::Excluded(to.as_str()));
        Ok(self.with(|state| {
            state
                .records
                .range::<str, _>(range)
                .take(page.limit.min(PAGE_MAX))
                .map(|(key, (rev, body))| Entry { key: key.clone(), rev: *rev, body: body.clone() })
                .collect()
        }))
    }

    async fn txn(&self, ops: Vec<Op>) -> Result<Rev, StoreError> {
        check_size(&ops)?;
        self.with(|state| {
            let mut undo = Vec::new();
            for op in ops {
                if let Err(error) = state.apply(op, &mut undo) {
                    state.undo(undo);
                    return Err(error);
                }
            }
            Ok(state.last())
        })
    }

    async fn changes(&self, after: Rev, limit: usize) -> Result<Vec<Change>, StoreError> {
        Ok(self.with(|state| {
            let later = state.changes.iter().filter(|change| change.rev > after);
            later.take(limit.min(PAGE_MAX)).cloned().collect()
        }))
    }
}
