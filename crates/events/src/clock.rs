//! Time that does not jump while the server runs.
//!
//! What is stored are points in wall time, because they have to mean something to the next run. But
//! within a run they are counted from its start with the clock that never jumps: a clock that is set
//! neither ends leases early nor holds up retries.

use lamplight_env::{Clock, Timestamp};
use std::sync::Arc;
use std::time::Instant;

#[derive(Clone)]
pub struct Steady {
    clock: Arc<dyn Clock>,
    start: (Timestamp, Instant),
}

impl Steady {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let start = (clock.now(), clock.instant());
        Self { clock, start }
    }

    pub fn now(&self) -> Timestamp {
        let (wall, instant) = self.start;
        wall.plus(self.clock.instant().saturating_duration_since(instant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::ManualClock;
    use std::time::Duration;

    #[test]
    fn a_jump_of_the_wall_clock_changes_nothing() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(5_000)));
        let steady = Steady::new(Arc::clone(&clock) as _);
        clock.jump_to(Timestamp::from_millis(9_000_000));
        assert_eq!(steady.now().millis(), 5_000);
        clock.advance(Duration::from_secs(2));
        assert_eq!(steady.now().millis(), 7_000);
    }
}
