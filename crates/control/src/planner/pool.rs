//! The environments of one function: pure bookkeeping, no I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which calls an environment serves. Two that are equal may take each other's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serves {
    pub generation: u64,
    /// Of a function that isolates tenants.
    pub tenant: Option<Arc<str>>,
}

#[derive(Debug)]
struct Idle<E> {
    environment: E,
    serves: Serves,
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
    /// The most recently used idle environment for such a call, and since when it was idle.
    pub fn take(&mut self, serves: &Serves) -> Option<(E, Instant)> {
        let at = self.idle.iter().rposition(|idle| idle.serves == *serves)?;
        let idle = self.idle.remove(at);
        Some((idle.environment, idle.since))
    }

    /// Whether one that comes back is used again.
    pub fn keeps(&self, serves: &Serves) -> bool {
        !self.closed && serves.generation >= self.oldest
    }

    pub fn count(&self) -> usize {
        self.idle.len()
    }

    pub fn peek(&self) -> Option<&E> {
        self.idle.first().map(|idle| &idle.environment)
    }

    /// Since when the one that was idle for longest has been.
    pub fn idle_since(&self) -> Option<Instant> {
        self.idle.iter().map(|idle| idle.since).min()
    }

    pub fn take_longest_idle(&mut self) -> Option<(E, Serves, Instant)> {
        let since = self.idle_since()?;
        let at = self.idle.iter().position(|idle| idle.since == since)?;
        let idle = self.idle.remove(at);
        Some((idle.environment, idle.serves, idle.since))
    }

    /// Takes an environment back; gives it out again when it has outlived its use.
    pub fn put(&mut self, environment: E, serves: Serves, now: Instant) -> Option<E> {
        if !self.keeps(&serves) {
            return Some(environment);
        }
        self.idle.push(Idle { environment, serves, since: now });
        None
    }

    /// Environments older than `generation` are not used any more. Gives out the idle ones; busy
    /// ones are given out when they come back.
    pub fn retire(&mut self, generation: u64) -> Vec<E> {
        self.oldest = self.oldest.max(generation);
        let oldest = self.oldest;
        self.remove_if(|idle| idle.serves.generation < oldest)
    }

    /// Keeps nothing from now on.
    pub fn close(&mut self) -> Vec<E> {
        self.closed = true;
        self.remove_if(|_| true)
    }

    /// Gives out what has been idle for `patience`, and since when.
    pub fn expire(&mut self, now: Instant, patience: Duration) -> Vec<(E, Serves, Instant)> {
        let old = |idle: &mut Idle<E>| now.saturating_duration_since(idle.since) >= patience;
        let gone = self.idle.extract_if(.., old);
        gone.map(|idle| (idle.environment, idle.serves, idle.since)).collect()
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

    fn all(generation: u64) -> Serves {
        Serves { generation, tenant: None }
    }

    fn taken<E>(pool: &mut Pool<E>, serves: &Serves) -> Option<E> {
        pool.take(serves).map(|(environment, _)| environment)
    }

    #[test]
    fn a_tenant_gets_what_was_its_own_and_nothing_else() {
        let mut pool = Pool::default();
        let of = |tenant: &str| Serves { generation: 1, tenant: Some(tenant.into()) };
        pool.put("blue", of("blue"), now());
        pool.put("green", of("green"), now());
        assert_eq!(taken(&mut pool, &of("red")), None);
        assert_eq!(taken(&mut pool, &all(1)), None);
        assert_eq!(taken(&mut pool, &of("blue")), Some("blue"));
        assert_eq!(taken(&mut pool, &of("blue")), None);
        assert_eq!(pool.retire(2), ["green"]);
    }

    #[test]
    fn the_most_recently_used_one_is_taken() {
        let mut pool = Pool::default();
        for n in 1..=3 {
            assert_eq!(pool.put(n, all(7), now()), None);
        }
        assert_eq!(taken(&mut pool, &all(7)), Some(3));
        assert_eq!(taken(&mut pool, &all(8)), None);
    }

    #[test]
    fn an_old_generation_is_never_used_again() {
        let mut pool = Pool::default();
        pool.put("idle", all(1), now());
        assert_eq!(pool.retire(2), ["idle"]);
        assert_eq!(pool.put("busy", all(1), now()), Some("busy"));
        assert_eq!(pool.put("new", all(2), now()), None);
        assert_eq!(pool.retire(1), [""; 0], "a late, smaller retirement undoes nothing");
        assert_eq!(taken(&mut pool, &all(2)), Some("new"));
    }

    #[test]
    fn a_closed_pool_keeps_nothing() {
        let mut pool = Pool::default();
        pool.put("idle", all(1), now());
        assert_eq!(pool.close(), ["idle"]);
        assert_eq!(pool.put("busy", all(1), now()), Some("busy"));
    }

    #[test]
    fn idle_ones_expire() {
        let (mut pool, start) = (Pool::default(), now());
        pool.put("a", all(1), start);
        pool.put("b", all(1), start + Duration::from_secs(50));
        let gone = pool.expire(start + Duration::from_secs(60), Duration::from_secs(60));
        assert_eq!(gone, [("a", all(1), start)]);
        pool.put("c", all(1), start + Duration::from_secs(40));
        assert_eq!((pool.count(), pool.idle_since()), (2, Some(start + Duration::from_secs(40))));
        assert_eq!(pool.take_longest_idle().map(|(e, ..)| e), Some("c"));
        assert_eq!(pool.discard(|e| *e == "b"), ["b"]);
    }
}
