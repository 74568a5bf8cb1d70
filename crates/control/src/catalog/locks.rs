//! One lock for each key that somebody is busy with, and none for the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

pub(crate) struct Locks<K>(Mutex<HashMap<K, Weak<Gate<()>>>>);

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Locks<K> {
    /// Waits in turn.
    pub async fn lock(&self, key: &K) -> OwnedMutexGuard<()> {
        self.gate(key).lock_owned().await
    }

    /// `None` while somebody else has it.
    pub fn try_lock(&self, key: &K) -> Option<OwnedMutexGuard<()>> {
        self.gate(key).try_lock_owned().ok()
    }

    fn gate(&self, key: &K) -> Arc<Gate<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A guard keeps its gate alive, so only gates that nobody holds or waits for go.
        gates.retain(|_, gate| gate.strong_count() > 0);
        match gates.get(key).and_then(Weak::upgrade) {
            Some(gate) => gate,
            None => {
                let gate = Arc::new(Gate::new(()));
                gates.insert(key.clone(), Arc::downgrade(&gate));
                gate
            }
        }
    }
}
