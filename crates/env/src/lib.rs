//! Clock, randomness, ids, task group and stop signal.
//!
//! Everything here is a parameter of the rest of the system, so that tests can move the clock and
//! repeat a run from a seed. No other crate may ask the machine for the time or for randomness.

mod clock;
pub mod faults;
mod ids;
mod tasks;

pub use clock::{Clock, ManualClock, SteadyClock, SystemClock, Timestamp};
pub use ids::{OsRandom, Random, SeededRandom, hex};
pub use tasks::{Stop, Tasks};

use std::sync::Arc;

/// The outside world as the roles see it. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub tasks: Tasks,
}

impl Env {
    /// The machine's own clock and randomness.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(OsRandom), tasks: Tasks::new() }
    }
}
