//! A limit on how often something may happen: refilled all the time, up to a bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How often: at most `most` at once, each of which comes back in the time `each`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Often {
    pub most: u32,
    pub each: Duration,
}

impl Often {
    /// `most` in a time, however they are spread over it.
    pub fn within(most: u32, time: Duration) -> Self {
        Self { most, each: time / most.max(1) }
    }
}

/// Kept as the moment at which all that was taken will have been refilled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate(Option<Instant>);

impl Rate {
    /// Takes one. Whether there was one.
    pub fn take(&mut self, now: Instant, often: Often) -> bool {
        let Often { most, each } = often;
        let owed = self.0.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        let after = owed.saturating_add(each);
        if after > each.saturating_mul(most) {
            return false;
        }
        self.0 = now.checked_add(after);
        true
    }

    /// Whether nothing is owed, as if nothing had been taken.
    pub fn is_full(&self, now: Instant) -> bool {
        self.0.is_none_or(|full| full <= now)
    }
}

/// The rates of many. Those of which nothing is owed are forgotten now and then.
#[derive(Debug)]
pub struct Rates<K> {
    rates: HashMap<K, Rate>,
    /// When there are more than this, it is time to forget.
    many: usize,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { rates: HashMap::new(), many: 64 }
    }
}

impl<K: Clone + Eq + Hash> Rates<K> {
    pub fn take(&mut self, who: &K, now: Instant, often: Often) -> bool {
        if let Some(rate) = self.rates.get_mut(who) {
            return rate.take(now, often);
        }
        if self.rates.len() >= self.many {
            self.rates.retain(|_, rate| !rate.is_full(now));
            self.many = (2 * self.rates.len()).max(64);
        }
        self.rates.entry(who.clone()).or_default().take(now, often)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, SystemClock};

    #[test]
    fn what_was_taken_comes_back_and_nothing_is_saved_up() {
        let (mut rate, now) = (Rate::default(), SystemClock.instant());
        let often = Often::within(10, Duration::from_secs(1));
        let mut taken = |at: Duration| (0..50).filter(|_| rate.take(now + at, often)).count();
        assert_eq!(taken(Duration::ZERO), 10);
        assert_eq!(taken(Duration::from_millis(99)), 0);
        assert_eq!(taken(Duration::from_millis(350)), 3);
        assert_eq!(taken(Duration::from_secs(60)), 10);
        assert!(!rate.is_full(now + Duration::from_secs(60)));
        assert!(rate.is_full(now + Duration::from_secs(61)));
        assert!(!Rate::default().take(now, Often::within(0, Duration::from_secs(1))));
    }

    #[test]
    fn those_who_owe_nothing_are_forgotten() {
        let (mut rates, now) = (Rates::default(), SystemClock.instant());
        let often = Often::within(1, Duration::from_secs(1));
        for who in 0..10_000u64 {
            assert!(rates.take(&who, now + Duration::from_millis(10 * who), often));
        }
        assert!(rates.rates.len() < 250, "{}", rates.rates.len());
        assert!(!rates.take(&9_999, now + Duration::from_secs(100), often), "it still owes");
    }
}
