//! Reading a pattern from left to right, and the two ways to quote: `"text"` and `%regex%`.

use fancy_regex::{Regex, RegexBuilder};

/// AWS: a pattern has at most two regular expressions.
const REGEXES: usize = 2;

pub struct Cursor<'a> {
    rest: &'a str,
    regexes: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, regexes: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Goes past `text` if it comes next.
    pub fn eat(&mut self, text: &str) -> bool {
        let after = self.rest.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// The longest run of characters that are `wanted`; may be empty.
    pub fn run(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    /// A word in capitals, such as `EXISTS`, after spaces.
    pub fn keyword(&mut self, word: &str) -> bool {
        let before = self.rest;
        self.skip_spaces();
        if self.run(|c| c.is_ascii_alphanumeric()).eq_ignore_ascii_case(word) {
            return true;
        }
        self.rest = before;
        false
    }

    /// The text between two `quote`s that come next; a backslash keeps the character after it.
    pub fn quoted(&mut self, quote: char) -> Option<String> {
        let mut chars = self.rest.strip_prefix(quote)?.chars();
        let mut out = String::new();
        loop {
            match chars.next()? {
                '\\' => match chars.next()? {
                    kept @ ('\\' | '"' | '\'') => out.push(kept),
                    other => out.extend(['\\', other]),
                },
                end if end == quote => break,
                other => out.push(other),
            }
        }
        self.rest = chars.as_str();
        Some(out)
    }

    /// The regular expression between two `%`.
    pub fn regex(&mut self) -> Option<Regex> {
        let (pattern, rest) = self.rest.strip_prefix('%')?.split_once('%')?;
        self.regexes += 1;
        if self.regexes > REGEXES || pattern.is_empty() || !is_plain(pattern) {
            return None;
        }
        self.rest = rest;
        RegexBuilder::new(pattern)
            .delegate_size_limit(1024 * 1024)
            .delegate_dfa_size_limit(1024 * 1024)
            .build()
            .ok()
    }
}

/// AWS: no groups, and few escapes. What is left needs no backtracking.
fn is_plain(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some_and(|c| "dDsSwWx".contains(c) || c.is_ascii_punctuation()),
            _ => c.is_ascii_alphanumeric() || " :_#=@/;,-^$?[]{}|*+.".contains(c),
        };
        if !fine {
            return false;
        }
    }
    true
}
