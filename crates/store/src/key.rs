//! Keys of records: a few text segments, ordered segment by segment.
//!
//! A key is kept as one text with U+001F between the segments, and no segment may hold a control
//! character. So no name can reach into another key's room, and the order of the texts is the
//! order of the segment lists (with `/` between them, `a-b/x` would sort before `a/x`).

use std::fmt;
use std::sync::Arc;
use thiserror::Error;

const SEPARATOR: char = '\u{1f}';
/// The character after the separator: no segment begins below it.
const AFTER_SEPARATOR: char = '\u{20}';

/// One to eight segments, 2048 bytes at most in all. Displays with `/` between segments.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("a key has one to eight segments, not {0}")]
    Segments(usize),
    #[error("a segment of a key is empty")]
    Empty,
    #[error("a segment of a key holds a control character")]
    Control,
    #[error("a key of {0} bytes is too long")]
    TooLong(usize),
}

impl Key {
    pub const BYTES_MAX: usize = 2048;

    pub fn new(segments: &[&str]) -> Result<Self, KeyError> {
        if segments.is_empty() || segments.len() > 8 {
            return Err(KeyError::Segments(segments.len()));
        }
        for segment in segments {
            if segment.is_empty() {
                return Err(KeyError::Empty);
            }
            // Only these order below or at the separator; the rest of Unicode is free.
            if segment.chars().any(|c| c < AFTER_SEPARATOR) {
                return Err(KeyError::Control);
            }
        }
        let text = segments.join("\u{1f}");
        match text.len() {
            len if len > Self::BYTES_MAX => Err(KeyError::TooLong(len)),
            _ => Ok(Self(text.into())),
        }
    }

    /// A key as a database has it.
    pub(crate) fn from_encoded(text: &str) -> Result<Self, KeyError> {
        Self::new(&text.split(SEPARATOR).collect::<Vec<_>>())
    }

    pub(crate) fn encoded(&self) -> &str {
        &self.0
    }

    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }

    /// The bounds, both exclusive, of all keys that begin with the segments of this one and have
    /// more, in encoded form.
    pub(crate) fn below(&self) -> (String, String) {
        (format!("{}{SEPARATOR}", self.0), format!("{}{AFTER_SEPARATOR}", self.0))
    }
}

/// Sound, because keys order and hash as their texts do.
impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace(SEPARATOR, "/"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(segments: &[&str]) -> Key {
        Key::new(segments).unwrap()
    }

    #[test]
    fn keys_order_like_their_segment_lists() {
        let lists: [&[&str]; 6] =
            [&["a"], &["a", "/x"], &["a", "b"], &["a", "b", "c"], &["a b", "b"], &["a-b", "x"]];
        for pair in lists.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_name_cannot_reach_into_another_room() {
        assert_eq!(Key::new(&["fn", "a\u{1f}b"]), Err(KeyError::Control));
        assert_eq!(Key::new(&["fn", "a\0"]), Err(KeyError::Control));
        assert_eq!(Key::new(&["fn", ""]), Err(KeyError::Empty));
        assert_eq!(Key::new(&[]), Err(KeyError::Segments(0)));
        assert_eq!(Key::new(&[&"x".repeat(2049)]), Err(KeyError::TooLong(2049)));
        assert_ne!(key(&["fn", "a/b"]), key(&["fn", "a", "b"]));
        assert_eq!(key(&["fn", "a/b"]).segments().collect::<Vec<_>>(), ["fn", "a/b"]);
    }
}
