//! Where the environments of one version are kept: those that have one call at a time, and those
//! that take several.

use super::crowd::Crowd;
use super::pool::Pool;
use super::{Kept, lock};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Places {
    pub alone: Mutex<Pool<Kept>>,
    pub together: Mutex<Crowd<Kept>>,
    /// Held while one that takes several calls is started: those that wait may find room in it.
    pub starting: tokio::sync::Mutex<()>,
}

impl Places {
    /// Gives out what was idle for `patience`, or is `old`.
    pub fn expire(
        &self,
        now: Instant,
        patience: Duration,
        old: impl Fn(&Kept) -> bool,
    ) -> Vec<Kept> {
        let mut alone = lock(&self.alone);
        let mut ended = alone.expire(now, patience);
        ended.extend(alone.discard(&old));
        drop(alone);
        let mut together = lock(&self.together);
        ended.extend(together.expire(now, patience));
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
        lock(&self.alone).len() + lock(&self.together).idle()
    }

    /// Since when the one that was idle for longest has been.
    pub fn idle_since(&self) -> Option<Instant> {
        let both = [lock(&self.alone).idle_since(), lock(&self.together).idle_since()];
        both.into_iter().flatten().min()
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
