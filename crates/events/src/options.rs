//! Settings of the event queue.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Options {
    /// Before the second and the third attempt after a function's own error. AWS: 1 and 2 minutes.
    pub retries: [Duration; 2],
    /// How long terminal records are kept.
    pub kept: Duration,
    /// How many terminal records are kept.
    pub records: u64,
    /// How long an outcome is kept that its destination does not take.
    pub owed: Duration,
    /// Events of one function that may wait.
    pub queued: u64,
    /// Payloads of all events that wait, bytes.
    pub queued_bytes: u64,
    /// Calls of events at the same time.
    pub running: usize,
    /// Payloads of events that are with their functions, bytes.
    pub running_bytes: usize,
    /// Calls of one function at the same time, to begin with: more when they take long.
    pub window: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retries: [Duration::from_secs(60), Duration::from_secs(120)],
            kept: Duration::from_secs(24 * 3600),
            records: 100_000,
            owed: Duration::from_secs(14 * 24 * 3600),
            queued: 1_000_000,
            queued_bytes: 8 << 30,
            running: 1_000,
            running_bytes: 64 << 20,
            window: 8,
        }
    }
}
