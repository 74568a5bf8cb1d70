//! `[ip, ..., status = 4* && status != 404, bytes > 1000]`, over messages in columns.
//!
//! Columns are separated by spaces; what stands in double quotes or in brackets is one column.

use super::cursor::Cursor;
use super::expression::Expression;
use super::test::Test;

type Column = Expression<Option<Test>>;

#[derive(Debug)]
pub struct Columns {
    /// From the left, before `...` where there is one.
    head: Vec<Column>,
    /// To the right end, after `...`.
    tail: Option<Vec<Column>>,
}

impl Columns {
    pub fn parse(cursor: &mut Cursor) -> Option<Self> {
        cursor.eat("[").then_some(())?;
        let (mut head, mut tail): (Vec<Column>, Option<Vec<Column>>) = (Vec::new(), None);
        loop {
            cursor.skip_spaces();
            if cursor.eat("...") {
                if tail.replace(Vec::new()).is_some() {
                    return None;
                }
            } else {
                let mut name: Option<String> = None;
                let column = Expression::parse(cursor, &mut |cursor| test(cursor, &mut name))?;
                tail.as_mut().unwrap_or(&mut head).push(column);
            }
            cursor.skip_spaces();
            if cursor.eat("]") {
                return Some(Self { head, tail });
            }
            cursor.eat(",").then_some(())?;
        }
    }

    pub fn matches(&self, message: &str) -> bool {
        let columns = split(message);
        let fits = |wanted: &[Column], found: &[&str]| {
            let holds = |column: &Column, text: &str| {
                column.holds(&|test| test.as_ref().is_none_or(|test| test.on_text(text)))
            };
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(column, text)| holds(column, text))
        };
        let Some(tail) = &self.tail else { return fits(&self.head, &columns) };
        let Some((head, rest)) = columns.split_at_checked(self.head.len()) else { return false };
        let Some(skipped) = rest.len().checked_sub(tail.len()) else { return false };
        fits(&self.head, head) && rest.get(skipped..).is_some_and(|rest| fits(tail, rest))
    }
}

/// `name`, or `name = value`. All tests of a column speak of the same name.
fn test(cursor: &mut Cursor, known: &mut Option<String>) -> Option<Option<Test>> {
    let name = cursor.run(|c| c.is_alphanumeric() || "_-".contains(c));
    if name.is_empty() || known.as_ref().is_some_and(|known| known != name) {
        return None;
    }
    *known = Some(name.to_owned());
    cursor.skip_spaces();
    match cursor.peek()? {
        '=' | '!' | '<' | '>' => Test::parse(cursor).map(Some),
        _ => Some(None),
    }
}

fn split(message: &str) -> Vec<&str> {
    let mut columns = Vec::new();
    let mut rest = message.trim_start();
    while !rest.is_empty() {
        let enclosed = |open, close| rest.strip_prefix(open)?.split_once::<char>(close);
        let (column, after) = enclosed('"', '"')
            .or_else(|| enclosed('[', ']'))
            .or_else(|| rest.split_once(char::is_whitespace))
            .unwrap_or((rest, ""));
        columns.push(column);
        rest = after.trim_start();
    }
    columns
}
