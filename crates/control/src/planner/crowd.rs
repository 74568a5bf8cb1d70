//! The environments of one version that take several calls at once: pure bookkeeping, no I/O.
//!
//! Unlike those of a [`super::Pool`] they stay here while they have calls. Invariant: one
//! that is given out to be ended has no call that anybody waits for, and is not here any more.
//!
//! A call that is late has timed out, and its worker has not answered yet. It takes its place, but
//! keeps nothing alive: it may never end.

use std::time::{Duration, Instant};

#[derive(Debug)]
struct Member<E> {
    environment: E,
    generation: u64,
    /// Calls that somebody waits for.
    running: u32,
    late: u32,
    /// Takes no further call.
    closed: bool,
    /// Since when it is as it is: idle, where it has no call.
    since: Instant,
}

impl<E> Member<E> {
    /// Has nothing to do.
    fn is_idle(&self) -> bool {
        self.running == 0 && self.late == 0
    }

    /// Is to be ended.
    fn is_over(&self) -> bool {
        self.closed && self.running == 0
    }
}

#[derive(Debug)]
pub struct Crowd<E> {
    /// Older generations take no further call.
    oldest: u64,
    /// The function is gone.
    closed: bool,
    members: Vec<Member<E>>,
}

impl<E> Default for Crowd<E> {
    fn default() -> Self {
        Self { oldest: 0, closed: false, members: Vec::new() }
    }
}

impl<E: Clone> Crowd<E> {
    /// One of `generation` with less than `most` calls, the one with the fewest: it has one more
    /// from here on.
    pub fn take(&mut self, generation: u64, most: u32) -> Option<E> {
        let open = self.members.iter_mut().filter(|member| {
            member.generation == generation
                && !member.closed
                && member.running.saturating_add(member.late) < most
        });
        let member = open.min_by_key(|member| member.running + member.late)?;
        member.running += 1;
        Some(member.environment.clone())
    }

    /// A new one, with its first call.
    pub fn add(&mut self, environment: E, generation: u64, now: Instant) {
        let closed = self.closed || generation < self.oldest;
        let member = Member { environment, generation, running: 1, late: 0, closed, since: now };
        self.members.push(member);
    }

    /// The one for which `is` holds has a call less, and takes further ones if it is `usable`.
    /// Gives it out when it is to be ended.
    pub fn put(&mut self, is: impl Fn(&E) -> bool, usable: bool, now: Instant) -> Option<E> {
        self.change(is, now, |member| {
            member.running = member.running.saturating_sub(1);
            member.closed |= !usable;
        })
    }

    /// A call of the one for which `is` holds is late from here on. Gives it out when it is to be
    /// ended.
    pub fn lag(&mut self, is: impl Fn(&E) -> bool, now: Instant) -> Option<E> {
        self.change(is, now, |member| {
            member.running = member.running.saturating_sub(1);
            member.late += 1;
        })
    }

    /// As [`Crowd::put`], of a call that was late.
    pub fn put_late(&mut self, is: impl Fn(&E) -> bool, usable: bool, now: Instant) -> Option<E> {
        self.change(is, now, |member| {
            member.late = member.late.saturating_sub(1);
            member.closed |= !usable;
        })
    }

    fn change(
        &mut self,
        is: impl Fn(&E) -> bool,
        now: Instant,
        change: impl FnOnce(&mut Member<E>),
    ) -> Option<E> {
        let at = self.members.iter().position(|member| is(&member.environment))?;
        let member = self.members.get_mut(at)?;
        change(member);
        member.since = now;
        member.is_over().then(|| self.members.swap_remove(at).environment)
    }

    /// How many have no call.
    pub fn idle(&self) -> usize {
        self.members.iter().filter(|member| member.is_idle()).count()
    }

    /// One of those that have no call.
    pub fn peek(&self) -> Option<&E> {
        self.members.iter().find(|member| member.is_idle()).map(|member| &member.environment)
    }

    /// Since when the one that was idle for longest has been.
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = self.members.iter().filter(|member| member.is_idle());
        idle.map(|member| member.since).min()
    }

    pub fn take_longest_idle(&mut self) -> Option<E> {
        let since = self.idle_since()?;
        let mut all = self.members.iter();
        let at = all.position(|member| member.is_idle() && member.since == since)?;
        Some(self.members.swap_remove(at).environment)
    }

    /// Environments older than `generation` take no further call. Gives out those that nobody waits
    /// for; others are given out after their last call.
    pub fn retire(&mut self, generation: u64) -> Vec<E> {
        self.oldest = self.oldest.max(generation);
        let oldest = self.oldest;
        self.close_if(|member| member.generation < oldest)
    }

    /// Takes no further call from now on.
    pub fn close(&mut self) -> Vec<E> {
        self.closed = true;
        self.close_if(|_| true)
    }

    /// Gives out what nobody has waited for during `patience`.
    pub fn expire(&mut self, now: Instant, patience: Duration) -> Vec<E> {
        self.close_if(|member| {
            member.running == 0 && now.saturating_duration_since(member.since) >= patience
        })
    }

    /// Those for which `gone` holds take no further call.
    pub fn discard(&mut self, mut gone: impl FnMut(&E) -> bool) -> Vec<E> {
        self.close_if(|member| gone(&member.environment))
    }

    fn close_if(&mut self, mut what: impl FnMut(&Member<E>) -> bool) -> Vec<E> {
        for member in &mut self.members {
            member.closed |= what(member);
        }
        let over = self.members.extract_if(.., |member| member.is_over());
        over.map(|member| member.environment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, SystemClock};

    fn two(now: Instant) -> Crowd<&'static str> {
        let mut crowd = Crowd::default();
        crowd.add("a", 1, now);
        crowd.add("b", 1, now);
        crowd
    }

    #[test]
    fn calls_go_where_the_fewest_are_until_all_have_their_most() {
        let now = SystemClock.instant();
        let mut crowd = two(now);
        assert_eq!(crowd.put(|e| *e == "b", true, now), None);
        let taken: Vec<_> = (0..4).map(|_| crowd.take(1, 2)).collect();
        assert_eq!(taken, [Some("b"), Some("a"), Some("b"), None]);
        assert_eq!(crowd.take(2, 9), None, "another generation");
    }

    #[test]
    fn one_that_is_spent_ends_with_its_last_call() {
        let now = SystemClock.instant();
        let mut crowd = two(now);
        assert_eq!(crowd.take(1, 9), Some("a"));
        assert_eq!(crowd.put(|e| *e == "a", false, now), None);
        assert_eq!(crowd.take(1, 9), Some("b"));
        assert_eq!(crowd.put(|e| *e == "a", true, now), Some("a"));
        assert_eq!(crowd.put(|e| *e == "a", true, now), None, "it is gone");
        assert_eq!(crowd.retire(2), [""; 0], "b has calls");
        assert_eq!(crowd.put(|e| *e == "b", true, now), None);
        assert_eq!(crowd.put(|e| *e == "b", true, now), Some("b"));
        crowd.add("old", 1, now);
        assert_eq!(crowd.put(|e| *e == "old", true, now), Some("old"));
    }

    #[test]
    fn late_calls_take_places_and_keep_nothing_alive() {
        let now = SystemClock.instant();
        let mut crowd = two(now);
        assert_eq!(crowd.lag(|e| *e == "a", now), None);
        assert_eq!((crowd.idle(), crowd.idle_since()), (0, None), "a worker is still at it");
        assert_eq!(crowd.take(1, 2), Some("a"));
        assert_eq!(crowd.take(1, 2), Some("b"));
        assert_eq!(crowd.take(1, 2), None);
        assert_eq!(crowd.lag(|e| *e == "b", now), None);
        assert_eq!(crowd.retire(2), [""; 0], "somebody waits for a call of each");
        assert_eq!(crowd.put(|e| *e == "a", true, now), Some("a"));
        assert_eq!(crowd.put_late(|e| *e == "a", false, now), None, "it is gone");
        assert_eq!(crowd.lag(|e| *e == "b", now), Some("b"), "its last call is late, too");

        let mut crowd = two(now);
        for of in ["a", "b"] {
            assert_eq!(crowd.lag(|e| *e == of, now), None);
        }
        assert_eq!(crowd.put_late(|e| *e == "a", false, now), Some("a"), "it was not answered");
        assert_eq!(crowd.put_late(|e| *e == "b", true, now), None);
        assert_eq!((crowd.idle(), crowd.take(1, 1)), (1, Some("b")));
        crowd.lag(|e| *e == "b", now);
        let later = now + Duration::from_secs(5);
        assert_eq!(crowd.expire(later, Duration::from_secs(6)), [""; 0]);
        assert_eq!(crowd.expire(later, Duration::from_secs(5)), ["b"]);
        crowd.add("c", 1, now);
        crowd.lag(|e| *e == "c", now);
        assert_eq!(crowd.close(), ["c"]);
    }

    #[test]
    fn idle_ones_expire_and_make_room() {
        let now = SystemClock.instant();
        let mut crowd = two(now);
        assert_eq!((crowd.idle(), crowd.take_longest_idle()), (0, None));
        crowd.put(|e| *e == "a", true, now);
        let later = now + Duration::from_secs(5);
        crowd.put(|e| *e == "b", true, later);
        assert_eq!((crowd.idle(), crowd.idle_since()), (2, Some(now)));
        assert_eq!(crowd.expire(later, Duration::from_secs(5)), ["a"]);
        assert_eq!(crowd.take_longest_idle(), Some("b"));
        assert_eq!(crowd.close(), [""; 0]);
        crowd.add("late", 1, now);
        assert_eq!(crowd.put(|e| *e == "late", true, now), Some("late"));
    }
}
