//! Functions whose initialisation fails again and again: they are started once a second at most,
//! and calls in between are answered with what went wrong. Pure: the time is passed in.
//!
//! AWS slows such functions down as well, and does not say how.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As many failures in a row are nothing special: two calls that did what AWS does.
const FREE: u32 = 4;
/// Between two starts beyond that.
const PAUSE: Duration = Duration::from_secs(1);
/// After this long without a failure all is forgotten.
const MEMORY: Duration = Duration::from_secs(60);
/// Functions that are remembered.
const MOST: usize = 1024;

/// Why a function is not started now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pausing {
    /// Failures in a row.
    pub times: u32,
    /// The last one's error type.
    pub error_type: String,
}

struct Failing {
    pausing: Pausing,
    started: Instant,
}

/// By target: a change of code or settings begins anew.
#[derive(Default)]
pub struct Crashes(HashMap<Arc<str>, Failing>);

impl Crashes {
    /// Whether a start of `target` may be made now; then it is made.
    pub fn start(&mut self, target: &Arc<str>, now: Instant) -> Result<(), Pausing> {
        let Some(failing) = self.0.get_mut(target) else { return Ok(()) };
        let since = now.saturating_duration_since(failing.started);
        if failing.pausing.times >= FREE && since < PAUSE {
            return Err(failing.pausing.clone());
        }
        failing.started = now;
        Ok(())
    }

    /// Whether it fails so often that one attempt has to do.
    pub fn is_looping(&self, target: &Arc<str>) -> bool {
        self.0.get(target).is_some_and(|failing| failing.pausing.times >= FREE)
    }

    pub fn failed(&mut self, target: &Arc<str>, error_type: &str, now: Instant) {
        self.0.retain(|_, failing| now.saturating_duration_since(failing.started) < MEMORY);
        if self.0.len() >= MOST && !self.0.contains_key(target) {
            return;
        }
        let failing = self.0.entry(Arc::clone(target)).or_insert_with(|| Failing {
            pausing: Pausing { times: 0, error_type: String::new() },
            started: now,
        });
        failing.pausing.times = failing.pausing.times.saturating_add(1);
        failing.pausing.error_type = error_type.to_owned();
    }

    pub fn succeeded(&mut self, target: &Arc<str>) {
        self.0.remove(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, SystemClock};

    #[test]
    fn repeated_failures_are_started_once_a_second() {
        let (mut crashes, now) = (Crashes::default(), SystemClock.instant());
        let target: Arc<str> = "f".into();
        for _ in 0..FREE {
            assert_eq!(crashes.start(&target, now), Ok(()));
            assert!(!crashes.is_looping(&target));
            crashes.failed(&target, "Runtime.ExitError", now);
        }
        assert!(crashes.is_looping(&target));
        let refused = crashes.start(&target, now + PAUSE / 2).unwrap_err();
        assert_eq!(refused, Pausing { times: FREE, error_type: "Runtime.ExitError".into() });
        assert_eq!(crashes.start(&target, now + PAUSE), Ok(()));
        assert!(crashes.start(&target, now + PAUSE * 3 / 2).is_err());
        assert_eq!(crashes.start(&"other".into(), now), Ok(()));
        crashes.succeeded(&target);
        assert_eq!(crashes.start(&target, now), Ok(()));
    }

    #[test]
    fn what_was_long_ago_and_what_is_too_much_is_not_kept() {
        let (mut crashes, now) = (Crashes::default(), SystemClock.instant());
        for n in 0..=MOST {
            crashes.failed(&n.to_string().into(), "x", now);
        }
        assert_eq!(crashes.0.len(), MOST);
        crashes.failed(&"late".into(), "x", now + MEMORY);
        assert_eq!(crashes.0.len(), 1);
    }
}
