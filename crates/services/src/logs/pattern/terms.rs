//! `ERROR "time out" -DEBUG ?a ?b %4\d\d%`, over messages of any kind. Case matters.

use super::PatternError;
use super::cursor::Cursor;
use fancy_regex::Regex;

#[derive(Debug, Default)]
pub struct Terms {
    all: Vec<Term>,
    none: Vec<Term>,
    any: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Box<Regex>),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(message).unwrap_or(false),
        }
    }
}

impl Terms {
    pub fn parse(cursor: &mut Cursor) -> Result<Self, PatternError> {
        let mut terms = Self::default();
        loop {
            cursor.skip_spaces();
            let kind = match cursor.peek() {
                None => break,
                Some('-') if cursor.eat("-") => &mut terms.none,
                Some('?') if cursor.eat("?") => &mut terms.any,
                Some(_) => &mut terms.all,
            };
            let term = match cursor.peek() {
                Some('"') => cursor.quoted('"').map(Term::Text),
                Some('%') => cursor.regex().map(|regex| Term::Regex(Box::new(regex))),
                _ => {
                    let word = cursor.run(|c| !c.is_whitespace());
                    // AWS: anything but letters, digits and `_` wants quotes.
                    if !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
                        return Err(PatternError::Term(word.to_owned()));
                    }
                    (!word.is_empty()).then(|| Term::Text(word.to_owned()))
                }
            };
            kind.push(term.ok_or(PatternError::Invalid)?);
        }
        Ok(terms)
    }

    pub fn matches(&self, message: &str) -> bool {
        let is_in = |term: &Term| term.is_in(message);
        if self.none.iter().any(is_in) || !self.all.iter().all(is_in) {
            return false;
        }
        // AWS: beside terms of other kinds, those with `?` are ignored.
        let alone = self.none.is_empty() && self.all.is_empty();
        !alone || self.any.is_empty() || self.any.iter().any(is_in)
    }
}
