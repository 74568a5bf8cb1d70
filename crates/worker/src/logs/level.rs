//! How grave a line is.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// The level of a name, in AWS's words or those of Python's `logging`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" | "WARNING" => Self::Warn,
            "ERROR" => Self::Error,
            "FATAL" | "CRITICAL" => Self::Fatal,
            _ => return None,
        })
    }

    /// The level that a function gave its line. `None` for a line that is no JSON object: it has
    /// no level that could be compared.
    ///
    /// AWS: a line whose level or timestamp makes no sense counts as INFO.
    pub fn of_line(line: &str) -> Option<Self> {
        if !line.trim_start().starts_with('{') {
            return None;
        }
        let said: Said = serde_json::from_str(line).ok()?;
        let timed = said.timestamp.as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok());
        let level = said.level.as_str().and_then(Self::parse).filter(|_| timed);
        Some(level.unwrap_or(Self::Info))
    }
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    level: Value,
    #[serde(default)]
    timestamp: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_their_level() {
        const AT: &str = r#""timestamp":"2026-11-18T11:06:40Z""#;
        let of = |level: &str| Level::of_line(&format!("{{{AT},\"level\":{level},\"x\":[1]}}"));
        assert_eq!(of("\"WARN\""), Some(Level::Warn));
        assert_eq!(of("\"debug\""), Some(Level::Debug));
        assert_eq!(of("\"CRITICAL\""), Some(Level::Fatal));
        for odd in ["\"LOUD\"", "30", "null", "{}"] {
            assert_eq!(of(odd), Some(Level::Info), "{odd}");
        }
        assert_eq!(Level::of_line(r#"{"level":"ERROR"}"#), Some(Level::Info));
        assert_eq!(Level::of_line(r#"{"level":"ERROR","timestamp":"noon"}"#), Some(Level::Info));
        for text in ["ERROR: no oil", "", "[\"ERROR\"]", "{not json}", "{\"level\":\"ERROR\""] {
            assert_eq!(Level::of_line(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_no_trap() {
        let deep = format!("{}{}", "{\"level\":".repeat(50_000), "}".repeat(50_000));
        assert_eq!(Level::of_line(&deep), None);
    }
}
