//! `LoggingConfig`: how a function wants its log, and how much of it.

use super::level::Level;
use super::platform::Event;
use super::{json, text};
use lamplight_env::Timestamp;
use lamplight_model::Target;

/// The shape of the platform's lines, and the least level of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// AWS: everything is kept; levels are for JSON only.
    Text,
    Json {
        system: Level,
        application: Level,
    },
}

impl Style {
    pub fn of(target: &Target) -> Self {
        if target.log_format != "JSON" {
            return Self::Text;
        }
        // AWS: both are INFO where nothing is said.
        let level =
            |name: &Option<String>| name.as_deref().and_then(Level::parse).unwrap_or(Level::Info);
        Self::Json {
            system: level(&target.system_log_level),
            application: level(&target.application_log_level),
        }
    }

    /// The platform's line for an event, if this log has one.
    pub fn line(&self, event: &Event<'_>, at: Timestamp) -> Option<String> {
        match self {
            Self::Text => text::line(event, at),
            Self::Json { system, .. } => {
                json::line(event, at).filter(|(level, _)| level >= system).map(|(_, line)| line)
            }
        }
    }

    /// Whether a line of the function's own is kept. Lines without a level are.
    pub fn keeps(&self, line: &str) -> bool {
        match self {
            Self::Text | Self::Json { application: Level::Trace, .. } => true,
            Self::Json { application, .. } => {
                Level::of_line(line).is_none_or(|level| level >= *application)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_below_the_level_are_left_out() {
        let style = Style::Json { system: Level::Warn, application: Level::Error };
        let at = Timestamp::from_millis(0);
        let start = Event::Start { request_id: "a", version: "1", trace: None, tenant: None };
        assert_eq!(style.line(&start, at), None);
        assert!(style.line(&Event::LogsDropped { bytes: 1 }, at).is_some());
        let line = |level: &str| {
            format!(r#"{{"timestamp":"2026-11-18T11:06:40Z","level":"{level}","message":"m"}}"#)
        };
        assert!(style.keeps(&line("ERROR")));
        assert!(!style.keeps(&line("WARN")));
        assert!(style.keeps("Traceback (most recent call last):"));
        assert!(Style::Text.keeps(&line("TRACE")));
    }
}
