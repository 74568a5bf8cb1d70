//! The seams without a disk, for tests.

mod leases;
mod log;
mod meta;
mod queue;

pub use meta::MemoryMeta;

use crate::{Checkpoint, Key, Record};
use lamplight_env::Timestamp;
use queue::{Deduped, Row};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::broadcast;

/// Queue, Log and Leases.
pub struct MemoryQueues {
    state: Mutex<State>,
    hints: broadcast::Sender<Key>,
}

#[derive(Default, Clone)]
struct State {
    /// By id.
    messages: BTreeMap<i64, Row>,
    next: i64,
    dedup: BTreeMap<(Key, String), Deduped>,
    leases: BTreeMap<Key, Lease>,
    shards: BTreeMap<Key, Vec<Record>>,
    /// Where a shard goes on.
    ends: BTreeMap<Key, i64>,
    /// By reader and shard.
    checkpoints: BTreeMap<(Key, Key), Checkpoint>,
}

#[derive(Clone)]
struct Lease {
    owner: Option<String>,
    epoch: i64,
    until: Timestamp,
}

impl Default for MemoryQueues {
    fn default() -> Self {
        Self { state: Mutex::default(), hints: broadcast::Sender::new(1024) }
    }
}

impl MemoryQueues {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no holder panics"))
    }
}
