//! Where lines go.

use async_trait::async_trait;
use lamplight_env::Timestamp;
use lamplight_model::Scope;

/// One event of a log stream. `message` has no trailing newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    pub at: Timestamp,
    pub message: String,
}

/// Takes the lines of functions. Appending never blocks and never fails towards the caller. What
/// cannot be kept is counted and said in the stream itself.
#[async_trait]
pub trait LogSink: Send + Sync {
    /// Appends `events` in order to `stream` of `group`, making both where they are not there yet.
    fn append(&self, scope: &Scope, group: &str, stream: &str, events: Vec<LogEvent>);

    /// Resolves when everything appended before would survive the end of this process.
    async fn settle(&self);
}
