//! A model's regular expression: written for Java, compiled on first use, matched whole.

use fancy_regex::Regex;
use std::sync::OnceLock;

/// Matches as Java's `matches()` does: the whole string or not at all. Backtracking is bounded by
/// the engine, and a match given up counts as none.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub fn new(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// As the model has it, which is how messages quote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn compiles(&self) -> bool {
        self.regex().is_some()
    }

    /// A pattern that does not compile constrains nothing; the tests see to it that none does not.
    pub fn matches(&self, value: &str) -> bool {
        self.regex().is_none_or(|regex| regex.is_match(value).unwrap_or(false))
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| Regex::new(&format!(r"\A(?:{})\z", from_java(&self.text))).ok())
            .as_ref()
    }
}

/// Rewrites what Java and Rust read differently: `\d` and `\w` are ASCII in Java, and a hyphen
/// after a class escape (`[\w-_]`) is itself there and an invalid range here.
fn from_java(java: &str) -> String {
    let mut rust = String::with_capacity(java.len() + 16);
    let mut in_class = false;
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next();
                let members = match escaped {
                    Some('d') => Some("0-9"),
                    Some('w') => Some("A-Za-z0-9_"),
                    _ => None,
                };
                match (members, escaped) {
                    (Some(members), _) if in_class => {
                        rust.push_str(members);
                        if chars.peek() == Some(&'-') {
                            chars.next();
                            rust.push_str("\\-");
                        }
                    }
                    (Some(members), _) => {
                        rust.push('[');
                        rust.push_str(members);
                        rust.push(']');
                    }
                    (None, Some(escaped)) => rust.extend(['\\', escaped]),
                    (None, None) => rust.push('\\'),
                }
            }
            '[' if in_class => rust.push_str("\\["),
            '[' => {
                in_class = true;
                rust.push('[');
            }
            ']' => {
                in_class = false;
                rust.push(']');
            }
            other => rust.push(other),
        }
    }
    rust
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern.to_owned()).matches(value)
    }

    #[test]
    fn the_whole_string_has_to_match() {
        assert!(matches("a|ab", "ab"));
        assert!(!matches("[a-z]+", "abc\n"));
        assert!(!matches("[a-z]+", "abc1"));
    }

    #[test]
    fn lookahead_and_hyphens_work_as_in_java() {
        let alias = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)";
        assert!(matches(alias, "v-1_x"));
        assert!(!matches(alias, "2024"));
        assert!(matches(r"[\w-_]*", "a-b_c"));
        assert!(!matches(r"[\w-_]*", "a.b"));
        assert!(matches(r"[0-9A-Za-z\.\-_]*(?<!\.)", "bucket.name"));
        assert!(!matches(r"[0-9A-Za-z\.\-_]*(?<!\.)", "bucket."));
    }

    #[test]
    fn digits_are_ascii() {
        assert!(matches(r"\d{2}", "12"));
        assert!(!matches(r"\d{2}", "٣٤"));
    }
}
