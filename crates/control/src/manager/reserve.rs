//! The environments of one version that are ready ahead of calls: pure bookkeeping, no I/O.
//!
//! Invariant: `live` counts those that exist, idle here or with a call; `starting` those that
//! somebody is making.

use std::time::{Duration, Instant};

/// After a failure the next attempt waits for this long, and is one alone.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Reserve<E> {
    generation: u64,
    wanted: u32,
    live: u32,
    starting: u32,
    idle: Vec<E>,
    failed: Option<(String, Instant)>,
}

impl<E> Reserve<E> {
    pub fn new(generation: u64) -> Self {
        Self { generation, wanted: 0, live: 0, starting: 0, idle: Vec::new(), failed: None }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many there are to be.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Those that exist and are initialised.
    pub fn ready(&self) -> u32 {
        self.live
    }

    /// Why the last attempt did not work.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_ref().map(|(why, _)| why.as_str())
    }

    /// From now on there are to be so many. Gives out idle ones that are too many; busy ones are
    /// given out when they come back.
    pub fn want(&mut self, wanted: u32) -> Vec<E> {
        self.wanted = wanted;
        let surplus = self.live.saturating_sub(wanted) as usize;
        let gone = self.idle.split_off(self.idle.len().saturating_sub(surplus));
        self.live -= gone.len() as u32;
        gone
    }

    /// How many are to be made now. The caller makes them all.
    pub fn begin(&mut self, now: Instant) -> u32 {
        let missing = self.wanted.saturating_sub(self.live + self.starting);
        let begun = match &self.failed {
            None => missing,
            Some((_, at)) if now.saturating_duration_since(*at) < RETRY => 0,
            Some(_) if self.starting > 0 => 0,
            Some(_) => missing.min(1),
        };
        self.starting += begun;
        begun
    }

    /// One was made. Gives it out again when it is not wanted any more.
    pub fn made(&mut self, environment: E) -> Option<E> {
        self.starting = self.starting.saturating_sub(1);
        self.failed = None;
        if self.live >= self.wanted {
            return Some(environment);
        }
        self.live += 1;
        self.idle.push(environment);
        None
    }

    /// One could not be made.
    pub fn fail(&mut self, why: String, now: Instant) {
        self.starting = self.starting.saturating_sub(1);
        self.failed = Some((why, now));
    }

    /// For a call.
    pub fn take(&mut self, generation: u64) -> Option<E> {
        if generation != self.generation {
            return None;
        }
        self.idle.pop()
    }

    /// Takes one back; gives it out again when it is not wanted any more.
    pub fn put(&mut self, environment: E) -> Option<E> {
        if self.live > self.wanted {
            self.live -= 1;
            return Some(environment);
        }
        self.idle.push(environment);
        None
    }

    /// One that was with a call has ended.
    pub fn lost(&mut self) {
        self.live = self.live.saturating_sub(1);
    }

    /// Gives out the idle ones for which `gone` holds.
    pub fn discard(&mut self, mut gone: impl FnMut(&E) -> bool) -> Vec<E> {
        let gone: Vec<E> = self.idle.extract_if(.., |environment| gone(environment)).collect();
        self.live = self.live.saturating_sub(gone.len() as u32);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, SystemClock};

    fn now() -> Instant {
        SystemClock.instant()
    }

    fn filled(wanted: u32) -> Reserve<u32> {
        let mut reserve = Reserve::new(1);
        reserve.want(wanted);
        for n in 0..reserve.begin(now()) {
            assert_eq!(reserve.made(n), None);
        }
        reserve
    }

    #[test]
    fn what_is_missing_is_made_once() {
        let mut reserve = Reserve::new(1);
        reserve.want(3);
        assert_eq!((reserve.begin(now()), reserve.begin(now())), (3, 0));
        assert_eq!((reserve.made(1), reserve.made(2)), (None, None));
        assert_eq!((reserve.ready(), reserve.begin(now())), (2, 0));
        reserve.want(2);
        assert_eq!(reserve.made(3), Some(3), "it is not wanted any more");
    }

    #[test]
    fn a_lost_one_is_made_again_and_a_busy_one_is_not() {
        let mut reserve = filled(2);
        assert!(reserve.take(2).is_none(), "another generation");
        let busy = reserve.take(1).unwrap();
        assert_eq!((reserve.ready(), reserve.begin(now())), (2, 0));
        reserve.lost();
        assert_eq!(reserve.begin(now()), 1);
        assert_eq!(reserve.made(busy), None);
        assert_eq!(reserve.discard(|n| *n == busy), [busy]);
        assert_eq!((reserve.ready(), reserve.begin(now())), (1, 1));
    }

    #[test]
    fn too_many_go_idle_ones_first() {
        let mut reserve = filled(3);
        let (one, two) = (reserve.take(1).unwrap(), reserve.take(1).unwrap());
        assert_eq!(reserve.want(1).len(), 1);
        assert_eq!(reserve.put(one), Some(one));
        assert_eq!(reserve.put(two), None);
        assert_eq!(reserve.ready(), 1);
        assert_eq!(reserve.want(0), [two]);
    }

    #[test]
    fn after_a_failure_attempts_are_few() {
        let (mut reserve, start) = (Reserve::<u32>::new(1), now());
        reserve.want(5);
        assert_eq!(reserve.begin(start), 5);
        for _ in 0..5 {
            reserve.fail("broken".into(), start);
        }
        assert_eq!(reserve.failure(), Some("broken"));
        assert_eq!(reserve.begin(start), 0);
        assert_eq!((reserve.begin(start + RETRY), reserve.begin(start + RETRY)), (1, 0));
        reserve.made(1);
        assert_eq!(reserve.failure(), None);
        assert_eq!(reserve.begin(start + RETRY), 4);
    }
}
