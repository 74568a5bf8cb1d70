//! One comparison: an operator and what stands on its right.

use super::cursor::Cursor;
use fancy_regex::Regex;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug)]
enum Operand {
    /// Text with `*` for anything, and its number where it is one.
    Text(Vec<String>, Option<f64>),
    Regex(Box<Regex>),
}

#[derive(Debug)]
pub struct Test {
    operator: Operator,
    operand: Operand,
}

impl Test {
    /// Reads `= value` and the like. `None` where it is none, or makes no sense.
    pub fn parse(cursor: &mut Cursor) -> Option<Self> {
        cursor.skip_spaces();
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let (_, operator) = operators.into_iter().find(|(text, _)| cursor.eat(text))?;
        cursor.skip_spaces();
        let operand = match cursor.peek()? {
            '"' => Operand::Text(wildcard(&cursor.quoted('"')?), None),
            '%' => Operand::Regex(Box::new(cursor.regex()?)),
            _ => {
                let word = cursor.run(|c| !c.is_whitespace() && !"()[]{},&|=<>!\"%".contains(c));
                let number = word.parse().ok().filter(|n: &f64| n.is_finite());
                Operand::Text((!word.is_empty()).then(|| wildcard(word))?, number)
            }
        };
        let numeric = matches!(&operand, Operand::Text(_, Some(_)));
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        (equality || numeric).then_some(Self { operator, operand })
    }

    pub fn on_text(&self, text: &str) -> bool {
        self.holds(text, text.parse().ok())
    }

    /// Objects, arrays and null compare with nothing.
    pub fn on_json(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.holds(text, None),
            Value::Number(number) => self.holds(&number.to_string(), number.as_f64()),
            Value::Bool(flag) => self.holds(if *flag { "true" } else { "false" }, None),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }

    fn holds(&self, text: &str, number: Option<f64>) -> bool {
        let equal = || match &self.operand {
            Operand::Regex(regex) => regex.is_match(text).unwrap_or(false),
            Operand::Text(pieces, right) => {
                fits(pieces, text) || number.is_some_and(|left| *right == Some(left))
            }
        };
        let order = match (number, &self.operand) {
            (Some(left), Operand::Text(_, Some(right))) => left.partial_cmp(right),
            _ => None,
        };
        match self.operator {
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::Less => order.is_some_and(|order| order.is_lt()),
            Operator::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Operator::Greater => order.is_some_and(|order| order.is_gt()),
            Operator::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    }
}

fn wildcard(text: &str) -> Vec<String> {
    text.split('*').map(str::to_owned).collect()
}

/// Whether `text` is `pieces` with anything between them.
fn fits(pieces: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return pieces.first().is_some_and(|only| only == text);
    };
    let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
    let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
    for piece in middle {
        match rest.split_once(piece.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}
