//! Where lines go.

use lamplight_env::Timestamp;
use lamplight_model::Scope;

/// One event of a log stream. `message` has no trailing newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    pub at: Timestamp,
    pub message: String,
}

/// Takes the lines of functions. Never blocks and never fails towards the caller: an invocation
/// does not wait for its log. What cannot be kept is counted and said in the stream itself.
pub trait LogSink: Send + Sync {
    /// Appends `events` in order to `stream` of `group`, making both where they are not there yet.
    fn append(&self, scope: &Scope, group: &str, stream: &str, events: Vec<LogEvent>);
}
