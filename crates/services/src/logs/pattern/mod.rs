//! Filter patterns: which events a caller means.
//!
//! Three languages, told apart by their first character: terms (`ERROR -"time out"`), JSON
//! (`{ $.level = "warn" }`) and columns (`[ip, user, status = 4*]`). Pure; parsing and matching
//! are bounded in depth, and regular expressions run in linear time. Absent: metric filters'
//! extraction of values.

mod columns;
mod cursor;
mod expression;
mod json;
mod terms;
mod test;

use cursor::Cursor;
use thiserror::Error;

/// AWS: longer patterns are refused.
const LONGEST: usize = 1024;

/// A pattern that events are matched against.
#[derive(Debug)]
pub struct FilterPattern(Kind);

#[derive(Debug)]
enum Kind {
    Terms(terms::Terms),
    Json(json::Json),
    Columns(columns::Columns),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("Invalid filter pattern")]
    Invalid,
    // AWS: what answers an unquoted `127.0.0.1`.
    #[error("Invalid character(s) in term '{0}'")]
    Term(String),
}

impl FilterPattern {
    /// An empty pattern matches everything.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.chars().count() > LONGEST {
            return Err(PatternError::Invalid);
        }
        let mut cursor = Cursor::new(text.trim());
        let kind = match cursor.peek() {
            Some('{') => json::Json::parse(&mut cursor).map(Kind::Json),
            Some('[') => columns::Columns::parse(&mut cursor).map(Kind::Columns),
            _ => return terms::Terms::parse(&mut cursor).map(|terms| Self(Kind::Terms(terms))),
        };
        kind.filter(|_| cursor.is_empty()).map(Self).ok_or(PatternError::Invalid)
    }

    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::Terms(terms) => terms.matches(message),
            Kind::Json(json) => json.matches(message),
            Kind::Columns(columns) => columns.matches(message),
        }
    }
}

#[cfg(test)]
mod tests;
