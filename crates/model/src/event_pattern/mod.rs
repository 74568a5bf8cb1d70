//! Patterns over JSON documents: which messages a subscription wants, which records a filter keeps.
//!
//! A pattern has the shape of what it matches. Below a name stands a list of alternatives, or a
//! pattern of what is below the name; all names of a pattern have to match, and of a list one
//! alternative. `$or` holds patterns of which one has to match. A list in a document matches when
//! one of its elements does.
//!
//! Pure. Parsing refuses what it does not understand, so a pattern that is kept can be evaluated.
//! Patterns are bounded by [`MOST_RULES`], documents by whoever reads them.

mod alternative;

use alternative::Alternative;
use serde_json::{Map, Value};
use thiserror::Error;

/// Alternatives of one pattern.
pub const MOST_RULES: usize = 2_000;
/// Names below names.
const DEEPEST: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("a pattern is a JSON object")]
    NoObject,
    #[error("\"{0}\" must be an object or an array")]
    NoList(String),
    #[error("the list of \"{0}\" is empty")]
    Empty(String),
    #[error("\"{0}\" holds something that cannot be matched")]
    Unknown(String),
    #[error("the pattern is too large")]
    TooLarge,
}

/// All of these have to match.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPattern {
    rules: Vec<Rule>,
    /// Of each list, one pattern has to match.
    choices: Vec<Vec<EventPattern>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Below(String, EventPattern),
    OneOf(String, Vec<Alternative>),
}

impl EventPattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let value: Value = serde_json::from_str(text).map_err(|_| PatternError::NoObject)?;
        Self::read(&value)
    }

    pub fn read(value: &Value) -> Result<Self, PatternError> {
        let mut left = MOST_RULES;
        read(value.as_object().ok_or(PatternError::NoObject)?, 0, &mut left)
    }

    pub fn matches(&self, document: &Value) -> bool {
        let below = |name: &str| match document {
            Value::Object(members) => members.get(name),
            _ => None,
        };
        // AWS: a list of objects matches where one of them does.
        if let Value::Array(elements) = document {
            return elements.iter().any(|element| self.matches(element));
        }
        self.rules.iter().all(|rule| match rule {
            Rule::Below(name, pattern) => pattern.matches(below(name).unwrap_or(&Value::Null)),
            Rule::OneOf(name, alternatives) => {
                let found = below(name);
                alternatives.iter().any(|alternative| alternative.matches(found))
            }
        }) && self.choices.iter().all(|choice| choice.iter().any(|one| one.matches(document)))
    }

    /// The names at the top, those of choices included.
    pub fn names(&self) -> Vec<&str> {
        let own = self.rules.iter().map(|rule| match rule {
            Rule::Below(name, _) | Rule::OneOf(name, _) => name.as_str(),
        });
        own.chain(self.choices.iter().flatten().flat_map(Self::names)).collect()
    }

    /// Whether there are names below names.
    pub fn is_nested(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::Below(..)))
            || self.choices.iter().flatten().any(Self::is_nested)
    }
}

fn read(
    members: &Map<String, Value>,
    depth: usize,
    left: &mut usize,
) -> Result<EventPattern, PatternError> {
    if depth == DEEPEST {
        return Err(PatternError::TooLarge);
    }
    let mut pattern = EventPattern { rules: Vec::new(), choices: Vec::new() };
    for (name, value) in members {
        match value {
            Value::Array(patterns) if name == "$or" && patterns.iter().all(Value::is_object) => {
                if patterns.len() < 2 {
                    return Err(PatternError::Empty(name.clone()));
                }
                let read = patterns.iter().filter_map(Value::as_object);
                let read = read.map(|one| read_counted(one, depth, left));
                pattern.choices.push(read.collect::<Result<_, _>>()?);
            }
            Value::Array(alternatives) => {
                if alternatives.is_empty() {
                    return Err(PatternError::Empty(name.clone()));
                }
                *left = left.checked_sub(alternatives.len()).ok_or(PatternError::TooLarge)?;
                let unknown = || PatternError::Unknown(name.clone());
                let read =
                    alternatives.iter().map(|one| Alternative::read(one).ok_or_else(unknown));
                let rule = Rule::OneOf(name.clone(), read.collect::<Result<_, _>>()?);
                pattern.rules.push(rule);
            }
            Value::Object(below) => {
                if below.is_empty() {
                    return Err(PatternError::Empty(name.clone()));
                }
                let below = read_counted(below, depth, left)?;
                pattern.rules.push(Rule::Below(name.clone(), below));
            }
            _ => return Err(PatternError::NoList(name.clone())),
        }
    }
    Ok(pattern)
}

fn read_counted(
    members: &Map<String, Value>,
    depth: usize,
    left: &mut usize,
) -> Result<EventPattern, PatternError> {
    *left = left.checked_sub(1).ok_or(PatternError::TooLarge)?;
    read(members, depth + 1, left)
}

#[cfg(test)]
mod tests;
