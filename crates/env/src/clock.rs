//! Time: wall clock for what people read, monotonic clock for deadlines.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment later by `duration`, saturating.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Deadlines use [`Clock::instant`], which never jumps; everything shown or stored uses
/// [`Clock::now`], which may.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    fn instant(&self) -> Instant;
}

/// The machine's clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Timestamp(millis)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// Wall time that does not jump while the server runs.
///
/// What is stored are points in wall time, because they have to mean something to the next run. But
/// within a run they are counted from its start with the clock that never jumps: a clock that is set
/// neither ends leases early nor holds up retries. All that shares stored times shares one of these.
pub struct SteadyClock {
    clock: Arc<dyn Clock>,
    start: (Timestamp, Instant),
}

impl SteadyClock {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let start = (clock.now(), clock.instant());
        Self { clock, start }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let (wall, instant) = self.start;
        wall.plus(self.instant().saturating_duration_since(instant))
    }

    fn instant(&self) -> Instant {
        self.clock.instant()
    }
}

/// A clock that stands still until it is moved.
pub struct ManualClock {
    start: Instant,
    state: Mutex<(i64, Duration)>,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self { start: SystemClock.instant(), state: Mutex::new((now.0, Duration::ZERO)) }
    }

    /// Time passes: both clocks move.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().expect("no holder panics");
        state.0 += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        state.1 += by;
    }

    /// Somebody sets the wall clock: the monotonic clock does not notice.
    pub fn jump_to(&self, now: Timestamp) {
        self.state.lock().expect("no holder panics").0 = now.0;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.state.lock().expect("no holder panics").0)
    }

    fn instant(&self) -> Instant {
        self.start + self.state.lock().expect("no holder panics").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_does_not_move_a_steady_one() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(5_000)));
        let steady = SteadyClock::new(Arc::clone(&clock) as _);
        clock.jump_to(Timestamp::from_millis(9_000_000));
        assert_eq!(steady.now().millis(), 5_000);
        clock.advance(Duration::from_secs(2));
        assert_eq!(steady.now().millis(), 7_000);
    }

    #[test]
    fn a_jump_moves_only_the_wall_clock() {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        let before = clock.instant();
        clock.jump_to(Timestamp::from_millis(90_000));
        assert_eq!(clock.instant(), before);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_millis(91_000));
        assert_eq!(clock.instant(), before + Duration::from_secs(1));
    }
}
