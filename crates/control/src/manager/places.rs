//! Where the environments of one version are kept: those that have one call at a time, and those
//! that take several.

use super::queue::Waiter;
use super::{Kept, lock};
use crate::planner::{Crowd, Keep, Line};
use lamplight_rpc::Worker;
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Places {
    pub alone: Mutex<Line<Kept, Waiter>>,
    pub together: Mutex<Crowd<Kept>>,
    /// Held while one that takes several calls is started: those that wait may find room in it.
    pub starting: tokio::sync::Mutex<()>,
}

impl Places {
    /// Gives out what was idle for so long that it is not kept, or is `old`.
    pub fn expire(&self, now: Instant, keep: &Keep, old: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let mut alone = lock(&self.alone);
        let mut ended = alone.expire(now, keep);
        ended.extend(alone.discard(&old));
        drop(alone);
        let mut together = lock(&self.together);
        ended.extend(together.expire(now, keep.first));
        ended.extend(together.discard(old));
        ended
    }

    pub fn discard(&self, gone: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let mut ended = lock(&self.alone).discard(&gone);
        ended.extend(lock(&self.together).discard(gone));
        ended
    }

    pub fn retire(&self, generation: u64) -> Vec<Kept> {
        let mut ended = lock(&self.alone).retire(generation);
        ended.extend(lock(&self.together).retire(generation));
        ended
    }

    pub fn close(&self) -> Vec<Kept> {
        let mut ended = lock(&self.alone).close();
        ended.extend(lock(&self.together).close());
        ended
    }

    /// How many are idle.
    pub fn idle(&self) -> usize {
        lock(&self.alone).idle() + lock(&self.together).idle()
    }

    /// Until when the one that was idle for longest is kept.
    pub fn idle_until(&self, keep: &Keep) -> Option<Instant> {
        let alone = lock(&self.alone);
        let alone = alone.idle_since().map(|since| since + alone.keep(keep));
        let together = lock(&self.together).idle_since().map(|since| since + keep.first);
        [alone, together].into_iter().flatten().min()
    }

    /// Whose one of the idle ones is.
    pub fn idle_worker(&self) -> Option<Arc<dyn Worker>> {
        let alone = lock(&self.alone).peek().map(|kept| Arc::clone(&kept.worker));
        alone.or_else(|| lock(&self.together).peek().map(|kept| Arc::clone(&kept.worker)))
    }

    pub fn take_longest_idle(&self) -> Option<Kept> {
        let (alone, together) = (lock(&self.alone).idle_since(), lock(&self.together).idle_since());
        match (alone, together) {
            (Some(alone), Some(together)) if together < alone => None,
            (Some(_), _) => lock(&self.alone).take_longest_idle(),
            (None, _) => None,
        }
        .or_else(|| lock(&self.together).take_longest_idle())
    }
}
