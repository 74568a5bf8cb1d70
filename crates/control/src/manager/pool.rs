//! The environments of one function: pure bookkeeping, no I/O.

use std::time::{Duration, Instant};

#[derive(Debug)]
struct Idle<E> {
    environment: E,
    generation: u64,
    since: Instant,
}

/// Idle environments, the most recently used one last. Busy ones are with their callers.
#[derive(Debug)]
pub struct Pool<E> {
    /// Older generations are not used any more.
    oldest: u64,
    /// The function is gone: nothing is kept.
    closed: bool,
    idle: Vec<Idle<E>>,
}

impl<E> Default for Pool<E> {
    fn default() -> Self {
        Self { oldest: 0, closed: false, idle: Vec::new() }
    }
}

impl<E> Pool<E> {
    /// The most recently used idle environment of `generation`.
    pub fn take(&mut self, generation: u64) -> Option<E> {
        let at = self.idle.iter().rposition(|idle| idle.generation == generation)?;
        Some(self.idle.remove(at).environment)
    }

    pub fn len(&self) -> usize {
        self.idle.len()
    }

    /// Since when the one that was idle for longest has been.
    pub fn idle_since(&self) -> Option<Instant> {
        self.idle.iter().map(|idle| idle.since).min()
    }

    pub fn take_longest_idle(&mut self) -> Option<E> {
        let since = self.idle_since()?;
        let at = self.idle.iter().position(|idle| idle.since == since)?;
        Some(self.idle.remove(at).environment)
    }

    /// Takes an environment back; gives it out again when it has outlived its use.
    pub fn put(&mut self, environment: E, generation: u64, now: Instant) -> Option<E> {
        if self.closed || generation < self.oldest {
            return Some(environment);
        }
        self.idle.push(Idle { environment, generation, since: now });
        None
    }

    /// Environments older than `generation` are not used any more. Gives out the idle ones; busy
    /// ones are given out when they come back.
    pub fn retire(&mut self, generation: u64) -> Vec<E> {
        self.oldest = self.oldest.max(generation);
        let oldest = self.oldest;
        self.remove_if(|idle| idle.generation < oldest)
    }

    /// Keeps nothing from now on.
    pub fn close(&mut self) -> Vec<E> {
        self.closed = true;
        self.remove_if(|_| true)
    }

    /// Gives out what has been idle for `patience`.
    pub fn expire(&mut self, now: Instant, patience: Duration) -> Vec<E> {
        self.remove_if(|idle| now.saturating_duration_since(idle.since) >= patience)
    }

    /// Gives out the idle environments for which `gone` holds.
    pub fn discard(&mut self, mut gone: impl FnMut(&E) -> bool) -> Vec<E> {
        self.remove_if(|idle| gone(&idle.environment))
    }

    fn remove_if(&mut self, mut what: impl FnMut(&Idle<E>) -> bool) -> Vec<E> {
        self.idle.extract_if(.., |idle| what(idle)).map(|idle| idle.environment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, SystemClock};

    fn now() -> Instant {
        SystemClock.instant()
    }

    #[test]
    fn the_most_recently_used_one_is_taken() {
        let mut pool = Pool::default();
        for n in 1..=3 {
            assert_eq!(pool.put(n, 7, now()), None);
        }
        assert_eq!(pool.take(7), Some(3));
        assert_eq!(pool.take(8), None);
    }

    #[test]
    fn an_old_generation_is_never_used_again() {
        let mut pool = Pool::default();
        pool.put("idle", 1, now());
        assert_eq!(pool.retire(2), ["idle"]);
        assert_eq!(pool.put("busy", 1, now()), Some("busy"));
        assert_eq!(pool.put("new", 2, now()), None);
        assert_eq!(pool.retire(1), [""; 0], "a late, smaller retirement undoes nothing");
        assert_eq!(pool.take(2), Some("new"));
    }

    #[test]
    fn a_closed_pool_keeps_nothing() {
        let mut pool = Pool::default();
        pool.put("idle", 1, now());
        assert_eq!(pool.close(), ["idle"]);
        assert_eq!(pool.put("busy", 1, now()), Some("busy"));
    }

    #[test]
    fn idle_ones_expire() {
        let (mut pool, start) = (Pool::default(), now());
        pool.put("a", 1, start);
        pool.put("b", 1, start + Duration::from_secs(50));
        assert_eq!(pool.expire(start + Duration::from_secs(60), Duration::from_secs(60)), ["a"]);
        pool.put("c", 1, start + Duration::from_secs(40));
        assert_eq!((pool.len(), pool.idle_since()), (2, Some(start + Duration::from_secs(40))));
        assert_eq!(pool.take_longest_idle(), Some("c"));
        assert_eq!(pool.discard(|e| *e == "b"), ["b"]);
    }
}
