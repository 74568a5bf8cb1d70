//! Space for another environment: idle ones end when there are too many, or when the machine's memory
//! runs short. The one that is least likely to be used again goes first: the one that would not have
//! been kept for much longer. Those that are ready ahead of calls stay: they were promised.

use super::places::Places;
use super::{EnvironmentManager, Kept};
use lamplight_rpc::{StartError, Worker};
use std::sync::Arc;
use std::time::Instant;

/// Of the idle ones, this part is ended at a time, so that memory is looked at again in between.
const PART: usize = 8;
/// But no more than this.
const AT_ONCE: usize = 16;

impl EnvironmentManager {
    /// Makes space for one more environment on the machine of `worker`.
    pub(super) async fn make_space(&self, worker: &Arc<dyn Worker>) -> Result<(), StartError> {
        if let Some(most) = self.options.idle_most {
            let pools = self.all();
            let idle: usize = pools.iter().map(|places| places.idle()).sum();
            let ended = self.least_likely(&pools, (idle + 1).saturating_sub(most.max(1)));
            self.end(ended);
        }
        while worker.memory_left() == Some(0) {
            let ended = self.some_idle();
            if ended.is_empty() {
                return Err(StartError::Memory(
                    "This machine has no memory left for another execution environment.".to_owned(),
                ));
            }
            for end in self.end_now(ended) {
                // A task that was lost has ended nothing; the next look says so.
                let _ = end.await;
            }
        }
        Ok(())
    }

    /// Ends some idle environments where memory runs short.
    pub(super) fn relieve(&self) {
        let pools = self.all();
        let first = pools.iter().find_map(|places| places.idle_worker());
        if first.is_some_and(|worker| worker.memory_left() == Some(0)) {
            let ended = self.some_idle();
            tracing::info!(count = ended.len(), "memory runs short: idle environments end");
            self.end(ended);
        }
    }

    fn some_idle(&self) -> Vec<Kept> {
        let pools = self.all();
        let idle: usize = pools.iter().map(|places| places.idle()).sum();
        self.least_likely(&pools, (idle / PART).clamp(1, AT_ONCE))
    }

    fn least_likely(&self, pools: &[Arc<Places>], count: usize) -> Vec<Kept> {
        let keep = &self.options.keep;
        let mut ended = Vec::new();
        for _ in 0..count {
            let until = |places: &&Arc<Places>| -> Option<Instant> { places.idle_until(keep) };
            let next = pools.iter().filter_map(|places| Some((until(&places)?, places)));
            let Some((_, places)) = next.min_by_key(|(until, _)| *until) else { break };
            ended.extend(places.take_longest_idle());
        }
        ended
    }
}
