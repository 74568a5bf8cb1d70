//! The model's constraints, told in AWS's words:
//! `1 validation error detected: Value 'x' at 'functionName' failed to satisfy constraint: …`.
//!
//! Pure; looks at the call alone. What AWS's own Lambda code checks behind its framework is in
//! [`lambda`]; whether things exist or fit together is decided elsewhere.

mod lambda;
mod show;

pub use lambda::offered_runtimes as runtimes;

use crate::ApiError;
use crate::decode::Call;
use crate::model::{Constraints, Kind, Member, Protocol, Service, Shape, ShapeId};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Further findings are not collected: each echoes a part of the request.
const MOST_ERRORS: usize = 10;

/// Longest text, in bytes, that is matched when its length is wrong anyway.
const LONGEST_MATCHED: usize = 65_536;

/// AWS: prints a set of choices in the order of its hash table. These orders were recorded; other
/// sets are printed in the model's order.
const RECORDED_ORDERS: [&[&str]; 4] = [
    &["Terminate", "Allow"],
    &["RESPONSE_STREAM", "BUFFERED"],
    &["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"],
    &["PublishedVersions", "None"],
];

const NOT_NULL: &str = "Member must not be null";

/// # Errors
/// `ValidationException` (`InvalidParameterException` for CloudWatch Logs, `ValidationError` in the
/// query protocol), or `InvalidParameterValueException` where Lambda answers so.
pub fn validate(call: &Call) -> Result<(), ApiError> {
    // AWS: these refuse in words of their own, whatever it is.
    if matches!(call.service.name.as_str(), "sns" | "sqs") {
        return Ok(());
    }
    let mut findings = Findings { service: call.service, errors: Vec::new() };
    if is_lambda(call) {
        findings.errors.extend(lambda::runtime_list(call));
    }
    let payload = call.service.payload(call.operation.input).filter(|_| call.payload.is_some());
    let members = call.service.members(call.operation.input);
    for member in members {
        if payload.is_some_and(|payload| payload.name == member.name) {
            let length = call.payload.as_ref().map_or(0, |bytes| bytes.len());
            findings.payload(member, length);
        } else if !(is_lambda(call) && lambda::checks_itself(call, member)) {
            findings.member(member, call.input.get(&member.name), &Path::Root);
        }
    }
    if !findings.errors.is_empty() {
        return Err(refusal(call.service, &findings.errors));
    }
    if is_lambda(call) { lambda::validate(call) } else { Ok(()) }
}

fn is_lambda(call: &Call) -> bool {
    call.service.name == "lambda"
}

fn refusal(service: &Service, errors: &[String]) -> ApiError {
    let code = match (service.protocol, service.name.as_str()) {
        (Protocol::Query, _) => "ValidationError",
        // AWS: CloudWatch Logs says it this way.
        (_, "logs") => "InvalidParameterException",
        _ => "ValidationException",
    };
    ApiError::new(code, summary(errors)).with_status(400)
}

fn summary(errors: &[String]) -> String {
    let plural = if errors.len() == 1 { "" } else { "s" };
    format!("{} validation error{plural} detected: {}", errors.len(), errors.join("; "))
}

/// The way to a value, printed only when something is wrong with it.
enum Path<'a> {
    Root,
    /// A member of a structure.
    Member(&'a Path<'a>, &'a str),
    /// An element of a list, counted from one.
    Element(&'a Path<'a>, usize),
    /// A value of a map.
    Entry(&'a Path<'a>, &'a str),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(&show::lower_first(name)),
            Self::Member(above, name) => write!(f, "{above}.{}", show::lower_first(name)),
            // AWS: `logEvents.1.member.message`.
            Self::Element(above, number) => write!(f, "{above}.{number}.member"),
            Self::Entry(above, key) => write!(f, "{above}.{}.member", show::shortened(key)),
        }
    }
}

struct Findings<'s> {
    service: &'s Service,
    errors: Vec<String>,
}

impl Findings<'_> {
    fn member(&mut self, member: &Member, value: Option<&Value>, above: &Path<'_>) {
        let path = Path::Member(above, &member.name);
        match value {
            None | Some(Value::Null) if member.required => {
                self.push(format!(
                    "Value null at '{path}' failed to satisfy constraint: {NOT_NULL}"
                ));
            }
            None | Some(Value::Null) => {}
            Some(value) => self.value(member.shape, value, &path),
        }
    }

    fn value(&mut self, id: ShapeId, value: &Value, path: &Path<'_>) {
        let shape = self.service.shape(id);
        for constraint in broken(shape, value) {
            let shown = show::value(self.service, id, value);
            self.push(format!(
                "Value{shown} at '{path}' failed to satisfy constraint: {constraint}"
            ));
        }
        match (&shape.kind, value) {
            (Kind::Structure(structure), Value::Object(members)) => {
                for member in &structure.members {
                    self.member(member, members.get(&member.name), path);
                }
            }
            (Kind::List { element, .. }, Value::Array(values)) => {
                if self.is_scalar(element.shape) {
                    let element = self.service.shape(element.shape);
                    if values.iter().any(|value| value.is_null() || any_broken(element, value)) {
                        self.collection(
                            "Member must satisfy constraint",
                            (id, value),
                            element,
                            path,
                        );
                    }
                    return;
                }
                for (index, value) in values.iter().enumerate() {
                    let path = Path::Element(path, index + 1);
                    self.element(element.shape, value, &path);
                }
            }
            (Kind::Map { key, value: element, .. }, Value::Object(entries)) => {
                let key = self.service.shape(key.shape);
                if entries.keys().any(|name| breaks_text(&key.constraints, name)) {
                    self.collection("Map keys must satisfy constraint", (id, value), key, path);
                }
                if self.is_scalar(element.shape) {
                    let element = self.service.shape(element.shape);
                    let broken = |value: &Value| value.is_null() || any_broken(element, value);
                    if entries.values().any(broken) {
                        self.collection(
                            "Map value must satisfy constraint",
                            (id, value),
                            element,
                            path,
                        );
                    }
                    return;
                }
                for (name, value) in entries {
                    self.element(element.shape, value, &Path::Entry(path, name));
                }
            }
            _ => {}
        }
    }

    fn element(&mut self, id: ShapeId, value: &Value, path: &Path<'_>) {
        if self.errors.len() >= MOST_ERRORS {
            return;
        }
        if value.is_null() {
            self.push(format!("Value null at '{path}' failed to satisfy constraint: {NOT_NULL}"));
        } else {
            self.value(id, value, path);
        }
    }

    /// One finding about a list or map for all its scalars, quoting everything their shape demands.
    fn collection(&mut self, what: &str, of: (ShapeId, &Value), inner: &Shape, path: &Path<'_>) {
        let shown = show::value(self.service, of.0, of.1);
        let mut demands: Vec<_> = demands(inner).collect();
        // AWS: recorded without for keys of maps and for these two, with for all other elements.
        let may_be_null = matches!(inner.name.as_str(), "SubnetId" | "SecurityGroupId");
        if !what.starts_with("Map keys") && !may_be_null {
            demands.push(NOT_NULL.into());
        }
        let demands = demands.join(", ");
        self.push(format!(
            "Value{shown} at '{path}' failed to satisfy constraint: {what}: [{demands}]"
        ));
    }

    fn payload(&mut self, member: &Member, length: usize) {
        let shape = self.service.shape(member.shape);
        let path = Path::Member(&Path::Root, &member.name);
        for constraint in broken_size(shape, length as f64) {
            self.push(format!("Value at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }

    fn is_scalar(&self, id: ShapeId) -> bool {
        let kind = &self.service.shape(id).kind;
        !matches!(kind, Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. })
    }

    fn push(&mut self, error: String) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }
}

/// The constraints of its own shape that a value breaks, worded.
fn broken(shape: &Shape, value: &Value) -> Vec<Cow<'static, str>> {
    let constraints = &shape.constraints;
    match (&shape.kind, value) {
        (Kind::String, Value::String(text)) if breaks_text(constraints, text) => {
            let mut found = broken_size(shape, utf16_length(text) as f64);
            // What is far too long is refused already, and is not worth a match.
            let worth = found.is_empty() || text.len() <= LONGEST_MATCHED;
            let pattern = constraints.pattern.as_ref().filter(|_| worth);
            let pattern = pattern.filter(|pattern| !pattern.matches(text));
            found.extend(pattern.map(|pattern| demand_pattern(pattern.text())));
            found.extend(breaks_choice(constraints, text).then(|| demand_choice(constraints)));
            found
        }
        (Kind::Blob, Value::String(text)) => broken_size(shape, decoded_length(text) as f64),
        (Kind::List { .. }, Value::Array(values)) => broken_size(shape, values.len() as f64),
        (Kind::Map { .. }, Value::Object(entries)) => broken_size(shape, entries.len() as f64),
        (Kind::Integer | Kind::Long | Kind::Double, Value::Number(number)) => {
            broken_size(shape, number.as_f64().unwrap_or_default())
        }
        _ => Vec::new(),
    }
}

fn any_broken(shape: &Shape, value: &Value) -> bool {
    match (&shape.kind, value) {
        (Kind::String, Value::String(text)) => breaks_text(&shape.constraints, text),
        _ => !broken(shape, value).is_empty(),
    }
}

/// The same questions as [`broken`] asks of text, without a word of answer: this is the hot path.
fn breaks_text(constraints: &Constraints, text: &str) -> bool {
    let bounded = constraints.min.is_some() || constraints.max.is_some();
    (bounded && breaks_size(constraints, utf16_length(text) as f64))
        || constraints.pattern.as_ref().is_some_and(|pattern| !pattern.matches(text))
        || breaks_choice(constraints, text)
}

fn breaks_choice(constraints: &Constraints, text: &str) -> bool {
    !constraints.choices.is_empty() && !constraints.choices.iter().any(|choice| choice == text)
}

fn breaks_size(constraints: &Constraints, size: f64) -> bool {
    constraints.max.is_some_and(|max| size > max) || constraints.min.is_some_and(|min| size < min)
}

fn broken_size(shape: &Shape, size: f64) -> Vec<Cow<'static, str>> {
    let Constraints { min, max, .. } = shape.constraints;
    let above = max.filter(|max| size > *max).map(|max| demand_size(&shape.kind, "less", max));
    let below = min.filter(|min| size < *min).map(|min| demand_size(&shape.kind, "greater", min));
    above.into_iter().chain(below).collect()
}

/// All that a scalar shape demands, in AWS's order.
fn demands(shape: &Shape) -> impl Iterator<Item = Cow<'static, str>> {
    let constraints = &shape.constraints;
    let at_most = constraints.max.map(|max| demand_size(&shape.kind, "less", max));
    let at_least = constraints.min.map(|min| demand_size(&shape.kind, "greater", min));
    let pattern = constraints.pattern.as_ref().map(|pattern| demand_pattern(pattern.text()));
    let choice = (!constraints.choices.is_empty()).then(|| demand_choice(constraints));
    [at_most, at_least, pattern, choice].into_iter().flatten()
}

fn demand_size(kind: &Kind, word: &str, bound: f64) -> Cow<'static, str> {
    let number = matches!(kind, Kind::Integer | Kind::Long | Kind::Double);
    let what = if number { "value" } else { "length" };
    // AWS: bounds of a double are printed as doubles (`1.0`).
    let bound = match kind {
        Kind::Double => format!("{bound:?}"),
        _ => bound.to_string(),
    };
    format!("Member must have {what} {word} than or equal to {bound}").into()
}

fn demand_pattern(pattern: &str) -> Cow<'static, str> {
    format!("Member must satisfy regular expression pattern: {pattern}").into()
}

fn demand_choice(constraints: &Constraints) -> Cow<'static, str> {
    let recorded = RECORDED_ORDERS.iter().find(|order| {
        let choices = &constraints.choices;
        order.len() == choices.len() && choices.iter().all(|choice| order.contains(&&**choice))
    });
    let choices = match recorded {
        Some(order) => order.join(", "),
        None => constraints.choices.join(", "),
    };
    format!("Member must satisfy enum value set: [{choices}]").into()
}

/// AWS counts the length of a string in UTF-16 units, being written in Java.
fn utf16_length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// Bytes that a padded base64 string stands for.
fn decoded_length(base64: &str) -> usize {
    let padding = base64.bytes().rev().take(2).filter(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

#[cfg(test)]
mod tests;
