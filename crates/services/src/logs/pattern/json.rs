//! `{ $.a.b[0] = "x*" && ($.n >= 5 || $.gone NOT EXISTS) }`, over messages that are JSON.

use super::cursor::Cursor;
use super::expression::Expression;
use super::test::Test;
use serde_json::Value;

#[derive(Debug)]
pub struct Json(Expression<Property>);

#[derive(Debug)]
struct Property {
    path: Vec<Step>,
    claim: Claim,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
    /// Any element or member.
    Any,
}

#[derive(Debug)]
enum Claim {
    Compares(Test),
    Is(Value),
    Exists,
    NotExists,
}

impl Json {
    pub fn parse(cursor: &mut Cursor) -> Option<Self> {
        cursor.eat("{").then_some(())?;
        let expression = Expression::parse(cursor, &mut Property::parse)?;
        cursor.eat("}").then_some(Self(expression))
    }

    pub fn matches(&self, message: &str) -> bool {
        if !message.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let Ok(event) = serde_json::from_str::<Value>(message) else { return false };
        self.0.holds(&|property| property.holds(&event))
    }
}

impl Property {
    fn parse(cursor: &mut Cursor) -> Option<Self> {
        cursor.eat("$").then_some(())?;
        let mut path = Vec::new();
        while let Some(step) = step(cursor)? {
            path.push(step);
        }
        let claim = if cursor.keyword("IS") {
            let values = [("NULL", Value::Null), ("TRUE", true.into()), ("FALSE", false.into())];
            let value = values.into_iter().find(|(word, _)| cursor.keyword(word));
            Claim::Is(value?.1)
        } else if cursor.keyword("NOT") {
            cursor.keyword("EXISTS").then_some(Claim::NotExists)?
        } else if cursor.keyword("EXISTS") {
            Claim::Exists
        } else {
            Claim::Compares(Test::parse(cursor)?)
        };
        (!path.is_empty()).then_some(Self { path, claim })
    }

    fn holds(&self, event: &Value) -> bool {
        match &self.claim {
            Claim::Compares(test) => any(event, &self.path, &|value| test.on_json(value)),
            Claim::Is(wanted) => any(event, &self.path, &|value| value == wanted),
            Claim::Exists => any(event, &self.path, &|_| true),
            Claim::NotExists => !any(event, &self.path, &|_| true),
        }
    }
}

/// The next step of a path; the outer `None` says that it is malformed, the inner that it is over.
fn step(cursor: &mut Cursor) -> Option<Option<Step>> {
    let dot = cursor.eat(".");
    if cursor.eat("[") {
        cursor.skip_spaces();
        let step = match cursor.peek()? {
            '*' => cursor.eat("*").then_some(Step::Any)?,
            quote @ ('"' | '\'') => Step::Key(cursor.quoted(quote)?),
            _ => Step::Index(cursor.run(|c| c.is_ascii_digit()).parse().ok()?),
        };
        cursor.skip_spaces();
        return cursor.eat("]").then_some(Some(step));
    }
    if !dot {
        return Some(None);
    }
    if cursor.eat("*") {
        return Some(Some(Step::Any));
    }
    let key = cursor.run(|c| c.is_alphanumeric() || "_-@:#/".contains(c));
    (!key.is_empty()).then(|| Some(Step::Key(key.to_owned())))
}

/// Whether `claim` holds for a value that `path` leads to. No deeper than the event is.
fn any(value: &Value, path: &[Step], claim: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, path)) = path.split_first() else { return claim(value) };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            members.get(key).is_some_and(|value| any(value, path, claim))
        }
        (Step::Index(index), Value::Array(elements)) => {
            elements.get(*index).is_some_and(|value| any(value, path, claim))
        }
        (Step::Any, Value::Array(elements)) => elements.iter().any(|value| any(value, path, claim)),
        (Step::Any, Value::Object(members)) => {
            members.values().any(|value| any(value, path, claim))
        }
        _ => false,
    }
}
