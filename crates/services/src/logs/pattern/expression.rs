//! `&&`, `||` and parentheses around tests of any kind.

use super::cursor::Cursor;

/// Parentheses deeper than this are refused.
const DEPTH: usize = 32;

#[derive(Debug)]
pub enum Expression<T> {
    Test(T),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl<T> Expression<T> {
    /// Reads an expression whose tests `test` reads.
    pub fn parse(
        cursor: &mut Cursor,
        test: &mut dyn FnMut(&mut Cursor) -> Option<T>,
    ) -> Option<Self> {
        Self::any(cursor, test, 0)
    }

    fn any(
        cursor: &mut Cursor,
        test: &mut dyn FnMut(&mut Cursor) -> Option<T>,
        depth: usize,
    ) -> Option<Self> {
        let mut parts = vec![Self::all(cursor, test, depth)?];
        while cursor.eat("||") {
            parts.push(Self::all(cursor, test, depth)?);
        }
        Some(Self::Any(parts))
    }

    fn all(
        cursor: &mut Cursor,
        test: &mut dyn FnMut(&mut Cursor) -> Option<T>,
        depth: usize,
    ) -> Option<Self> {
        let mut parts = Vec::new();
        loop {
            cursor.skip_spaces();
            if !cursor.eat("(") {
                parts.push(Self::Test(test(cursor)?));
            } else if depth < DEPTH {
                parts.push(Self::any(cursor, test, depth + 1)?);
                cursor.eat(")").then_some(())?;
            } else {
                return None;
            }
            cursor.skip_spaces();
            if !cursor.eat("&&") {
                return Some(Self::All(parts));
            }
        }
    }

    pub fn holds(&self, test: &dyn Fn(&T) -> bool) -> bool {
        match self {
            Self::Test(inner) => test(inner),
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
        }
    }
}
