//! Queue without a disk.

use super::{MemoryQueues, State};
use crate::queue::{ORDERED_SEARCH, check_steps, touched};
use crate::{
    Ask, Depth, Key, Message, MessageId, NewMessage, PAGE_MAX, Queue, Receipt, Step, StoreError,
    Stored,
};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use std::collections::BTreeMap;
use tokio::sync::broadcast;

#[derive(Clone)]
pub struct Row {
    message: Message,
    expires: Option<Timestamp>,
}

impl Row {
    fn lives(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

#[derive(Clone)]
pub struct Deduped {
    until: Timestamp,
    id: MessageId,
    name: String,
}

impl State {
    fn step(&mut self, step: Step, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        match step {
            Step::Put(queue, message) => return Ok(Some(self.put(queue, message, now))),
            Step::Done(receipt) => {
                self.held(receipt)?;
                self.messages.remove(&receipt.id.0);
            }
            Step::Retry { receipt, due, state } => {
                let message = &mut self.held(receipt)?.message;
                (message.due, message.leased) = (due, false);
                if let Some(state) = state {
                    message.state = state;
                }
            }
            Step::Extend { receipt, until } => {
                let message = &mut self.held(receipt)?.message;
                (message.due, message.leased) = (until, true);
            }
            Step::Move(receipt, moved) => {
                let row = self.held(receipt)?;
                row.expires = moved.expires;
                let message = &mut row.message;
                (message.due, message.leased) = (moved.due, false);
                message.receipt.lease += 1;
                (message.queue, message.state) = (moved.queue, moved.state);
                if !moved.keep_body {
                    message.body = Bytes::new();
                }
            }
            Step::Fence(held) => {
                if !self.holds(&held) {
                    return Err(StoreError::Fenced(held.name));
                }
            }
        }
        Ok(None)
    }

    fn held(&mut self, receipt: Receipt) -> Result<&mut Row, StoreError> {
        let row = self.messages.get_mut(&receipt.id.0);
        row.filter(|row| row.message.receipt == receipt).ok_or(StoreError::LeaseLost(receipt.id))
    }

    fn put(&mut self, queue: Key, new: NewMessage, now: Timestamp) -> Stored {
        if let Some(dedup) = &new.dedup
            && let Some(found) = self.dedup.get(&(queue.clone(), dedup.id.clone()))
            && found.until > now
        {
            let receipt = Receipt { id: found.id, lease: 0 };
            return Stored { receipt, duplicate_of: Some(found.name.clone()) };
        }
        self.next += 1;
        let lease = i64::from(new.lease.is_some());
        let receipt = Receipt { id: MessageId(self.next), lease };
        if let Some(dedup) = new.dedup {
            let place = (queue.clone(), dedup.id);
            let name = new.name.clone();
            self.dedup.insert(place, Deduped { until: dedup.until, id: receipt.id, name });
        }
        let message = Message {
            receipt,
            queue,
            name: new.name,
            body: new.body,
            state: new.state,
            group: new.group,
            sent: now,
            first_leased: new.lease.map(|_| now),
            due: new.lease.unwrap_or(new.due),
            leased: new.lease.is_some(),
        };
        self.messages.insert(self.next, Row { message, expires: new.expires });
        Stored { receipt, duplicate_of: None }
    }

    fn of<'a>(&'a self, queue: &'a Key) -> impl Iterator<Item = &'a Message> {
        self.messages.values().map(|row| &row.message).filter(move |m| m.queue == *queue)
    }

    fn choose(&self, queue: &Key, ask: Ask, now: Timestamp) -> Vec<i64> {
        let living = |m: &&Message| self.messages[&m.receipt.id.0].lives(now);
        let mut due: Vec<&Message> = if ask.in_order {
            let blocks = |b: &Message, m: &Message| {
                b.group == m.group && b.due > now && (b.leased || b.receipt.id < m.receipt.id)
            };
            self.of(queue)
                .filter(living)
                .filter(|m| m.group.is_some())
                .take(ORDERED_SEARCH)
                .filter(|m| !self.of(queue).any(|b| blocks(b, m)))
                .collect()
        } else {
            self.of(queue).filter(living).collect()
        };
        due.retain(|m| m.due <= now);
        if !ask.in_order {
            due.sort_by_key(|m| (m.due, m.receipt.id));
        }
        let mut bytes = 0;
        let mut chosen = Vec::new();
        for message in due.into_iter().take(ask.messages) {
            bytes += message.body.len();
            if bytes > ask.bytes && !chosen.is_empty() {
                break;
            }
            chosen.push(message.receipt.id.0);
        }
        chosen
    }

    fn retain(&mut self, keep: impl Fn(&Row) -> bool) -> u64 {
        let before = self.messages.len();
        self.messages.retain(|_, row| keep(row));
        (before - self.messages.len()) as u64
    }
}

fn below(queue: &Key, prefix: &Key) -> bool {
    let (from, to) = prefix.below();
    queue == prefix || (queue.encoded() > from.as_str() && queue.encoded() < to.as_str())
}

#[async_trait]
impl Queue for MemoryQueues {
    async fn apply(&self, steps: Vec<Step>, now: Timestamp) -> Result<Vec<Stored>, StoreError> {
        check_steps(&steps)?;
        let hints = touched(&steps);
        let stored = self.with(|state| -> Result<_, StoreError> {
            let mut next = state.clone();
            let mut stored = Vec::new();
            for step in steps {
                stored.extend(next.step(step, now)?);
            }
            *state = next;
            Ok(stored)
        })?;
        for queue in hints {
            let _ = self.hints.send(queue);
        }
        Ok(stored)
    }

    async fn lease(
        &self,
        queue: &Key,
        ask: Ask,
        now: Timestamp,
    ) -> Result<Vec<Message>, StoreError> {
        Ok(self.with(|state| {
            let chosen = state.choose(queue, ask, now);
            let mut taken = Vec::new();
            for id in chosen {
                let Some(Row { message, .. }) = state.messages.get_mut(&id) else { continue };
                message.receipt.lease += 1;
                (message.due, message.leased) = (ask.until, true);
                message.first_leased.get_or_insert(now);
                taken.push(message.clone());
            }
            taken
        }))
    }

    async fn peek(
        &self,
        queue: &Key,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        Ok(self.with(|state| {
            let later = state.of(queue).filter(|m| after.is_none_or(|after| m.receipt.id > after));
            later.take(limit.min(PAGE_MAX)).cloned().collect()
        }))
    }

    async fn find(&self, queue: &Key, name: &str) -> Result<Vec<Message>, StoreError> {
        Ok(self.with(|state| {
            let all = state.messages.values().map(|row| &row.message);
            all.filter(|m| m.name == name && below(&m.queue, queue)).cloned().collect()
        }))
    }

    async fn depths(&self, queue: &Key, now: Timestamp) -> Result<Vec<Depth>, StoreError> {
        Ok(self.with(|state| {
            let mut depths = BTreeMap::<Key, Depth>::new();
            for row in state.messages.values().filter(|row| row.lives(now)) {
                let m = &row.message;
                if !below(&m.queue, queue) {
                    continue;
                }
                let depth = depths.entry(m.queue.clone()).or_insert_with(|| Depth {
                    queue: m.queue.clone(),
                    ready: 0,
                    leased: 0,
                    delayed: 0,
                    bytes: 0,
                    oldest: m.sent,
                    next_due: m.due,
                });
                depth.oldest = depth.oldest.min(m.sent);
                depth.next_due = depth.next_due.min(m.due);
                depth.bytes += m.body.len() as u64;
                match (m.due <= now, m.leased) {
                    (true, _) => depth.ready += 1,
                    (false, true) => depth.leased += 1,
                    (false, false) => depth.delayed += 1,
                }
            }
            depths.into_values().collect()
        }))
    }

    async fn next_due(&self, queue: &Key) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.with(|state| state.of(queue).map(|m| m.due).min()))
    }

    async fn reclaim(&self, queue: &Key, now: Timestamp) -> Result<u64, StoreError> {
        let ended = self.with(|state| {
            let messages = state.messages.values_mut().map(|row| &mut row.message);
            let leased = messages.filter(|m| m.leased && below(&m.queue, queue));
            leased.map(|m| (m.due, m.leased) = (now, false)).count() as u64
        });
        if ended > 0 {
            let _ = self.hints.send(queue.clone());
        }
        Ok(ended)
    }

    async fn purge(&self, queue: &Key) -> Result<u64, StoreError> {
        Ok(self.with(|state| state.retain(|row| row.message.queue != *queue)))
    }

    async fn trim(&self, queue: &Key, keep: u64) -> Result<u64, StoreError> {
        Ok(self.with(|state| {
            let mut by_due: Vec<_> = state.of(queue).map(|m| (m.due, m.receipt.id.0)).collect();
            by_due.sort_unstable();
            let surplus = by_due.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
            for (_, id) in &by_due[..surplus] {
                state.messages.remove(id);
            }
            surplus as u64
        }))
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.with(|state| {
            state.dedup.retain(|_, found| found.until > now);
            state.retain(|row| row.lives(now))
        }))
    }

    fn hints(&self) -> broadcast::Receiver<Key> {
        self.hints.subscribe()
    }
}
