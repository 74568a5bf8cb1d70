//! How long calls and starts of a version take, learned from those that were.

use std::time::Duration;

/// Calls that have to be seen before one is foretold.
const ENOUGH: u32 = 4;
/// The weight of a new measurement, as in the round-trip times of TCP.
const WEIGHT: f64 = 1.0 / 8.0;

/// A mean that follows what is measured, and how far off single ones are.
#[derive(Debug, Clone, Copy, Default)]
struct Usual {
    seen: u32,
    mean: f64,
    off: f64,
}

impl Usual {
    fn add(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        // The first ones count more, so that the very first is soon forgotten.
        let weight = WEIGHT.max(1.0 / (f64::from(self.seen) + 1.0));
        let off = took - self.mean;
        self.mean += weight * off;
        self.off += if self.seen == 0 { 0.0 } else { weight * (off.abs() - self.off) };
        self.seen = self.seen.saturating_add(1);
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    calls: Usual,
    starts: Usual,
}

impl Pace {
    /// An environment was busy with a call for so long.
    pub fn call(&mut self, took: Duration) {
        self.calls.add(took);
    }

    /// A new environment was ready after so long.
    pub fn start(&mut self, took: Duration) {
        self.starts.add(took);
    }

    /// What a start costs; none was seen where absent.
    pub fn start_cost(&self) -> Option<Duration> {
        (self.starts.seen > 0).then(|| Duration::from_secs_f64(self.starts.mean))
    }

    /// How long a call will still take that has taken `elapsed`. `None` where too few were seen, and
    /// of one that takes longer than they usually do: it may go on for ever.
    pub fn remaining(&self, elapsed: Duration) -> Option<Duration> {
        if self.calls.seen < ENOUGH {
            return None;
        }
        let most = self.calls.mean + 2.0 * self.calls.off;
        let left = self.calls.mean + self.calls.off - elapsed.as_secs_f64();
        (elapsed.as_secs_f64() <= most).then(|| Duration::from_secs_f64(left.max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_learned_and_the_unusual_is_not_foretold() {
        let mut pace = Pace::default();
        let ms = Duration::from_millis;
        assert_eq!((pace.start_cost(), pace.remaining(ms(0))), (None, None));
        pace.start(ms(30));
        assert_eq!(pace.start_cost(), Some(ms(30)));
        for _ in 0..50 {
            pace.call(ms(50));
        }
        let left = pace.remaining(ms(40)).unwrap();
        assert!(left > ms(9) && left < ms(11), "{left:?}");
        assert_eq!(pace.remaining(ms(80)), None);
        for _ in 0..100 {
            pace.call(ms(1));
        }
        assert!(pace.remaining(ms(0)).unwrap() < ms(2), "it follows what changes");
    }
}
