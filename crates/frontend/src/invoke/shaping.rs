//! How fast a streamed response may be sent: pure, told what time it is.
//!
//! AWS: the first 6 MB go as fast as the network, the rest at 2 MB/s. Here that is so only where the
//! configuration says a rate. What is not sent yet is held back at the function: nothing is queued.

use std::time::{Duration, Instant};

/// What goes before the rate counts, bytes.
const FREE: u64 = 6 * 1024 * 1024;

pub struct Shaping {
    /// Bytes in a second, at least one.
    rate: u64,
    sent: u64,
    /// When the free part was used up.
    since: Option<Instant>,
}

impl Shaping {
    pub fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), sent: 0, since: None }
    }

    /// How long to wait after `bytes` that were sent `now`.
    pub fn pause(&mut self, bytes: usize, now: Instant) -> Duration {
        self.sent = self.sent.saturating_add(bytes as u64);
        let Some(beyond) = self.sent.checked_sub(FREE) else { return Duration::ZERO };
        let since = *self.since.get_or_insert(now);
        let due = Duration::from_secs_f64(beyond as f64 / self.rate as f64);
        due.saturating_sub(now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, ManualClock, Timestamp};

    const MB: usize = 1024 * 1024;

    #[test]
    fn the_rate_counts_beyond_the_free_part() {
        let now = ManualClock::at(Timestamp::from_millis(0)).instant();
        let mut shaping = Shaping::new(2 * MB as u64);
        assert_eq!(shaping.pause(5 * MB, now), Duration::ZERO);
        assert_eq!(shaping.pause(MB, now), Duration::ZERO);
        assert_eq!(shaping.pause(MB, now), Duration::from_millis(500));
        // A reader that took its time has waited already, and is not made up for in a burst later.
        assert_eq!(shaping.pause(MB, now + Duration::from_secs(1)), Duration::ZERO);
        let later = now + Duration::from_millis(1200);
        assert_eq!(shaping.pause(MB, later), Duration::from_millis(300));
    }

    #[test]
    fn no_rate_is_too_small() {
        let now = ManualClock::at(Timestamp::from_millis(0)).instant();
        assert_eq!(Shaping::new(0).pause(FREE as usize + 3, now), Duration::from_secs(3));
    }
}
