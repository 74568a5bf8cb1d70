//! JSON bodies against the model. Values are moved, never copied: a function's code may be the
//! greater part of a 70 MB body.

use super::serialization;
use crate::model::{Kind, Location, Member, Operation, Service, ShapeId};
use crate::{ApiError, timestamp};
use serde_json::{Map, Number, Value};

/// Values a body may hold. One of them takes a byte or two on the wire and near a hundred in memory;
/// the largest request there is a use for, ten thousand log events, has thirty thousand.
const MOST_VALUES: usize = 200_000;

/// The object a body holds; an empty body and `null` hold an empty one.
pub(super) fn object(
    operation: &Operation,
    service: &Service,
    body: &[u8],
) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    if body.len() > MOST_VALUES && values(body) > MOST_VALUES {
        return Err(serialization("The request body has too many values."));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(Value::Array(_)) => Err(serialization("Start of list found where not expected")),
        Ok(_) => Err(serialization("Unexpected value type in payload")),
        Err(error) => {
            const INVALID: &str = "InvalidRequestContentException";
            let detail = format!("Could not parse request body into json: {error}");
            let listed = operation.errors.iter().any(|id| service.shape(*id).name == INVALID);
            Err(if listed { ApiError::new(INVALID, detail) } else { serialization(detail) })
        }
    }
}

/// An upper bound of the values in a JSON text: its commas and openings outside strings.
fn values(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in text {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else {
            match byte {
                b'"' => in_string = true,
                b',' | b'[' | b'{' => count += 1,
                _ => {}
            }
        }
    }
    count
}

/// The members of a structure that are in the object, under their model names.
pub(super) fn structure(
    service: &Service,
    members: &[Member],
    mut from: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let mut into = Map::new();
    for member in members.iter().filter(|member| member.location == Location::Body) {
        match from.get_mut(&member.wire_name).map(Value::take) {
            None | Some(Value::Null) => {}
            Some(found) => {
                into.insert(member.name.clone(), value(service, member.shape, found)?);
            }
        }
    }
    Ok(into)
}

/// A value of the given shape. Elements of lists and maps may be null; that is `validate`'s affair.
pub(super) fn value(service: &Service, id: ShapeId, value: Value) -> Result<Value, ApiError> {
    match (&service.shape(id).kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Structure(shape), Value::Object(members)) => {
            structure(service, &shape.members, members).map(Value::Object)
        }
        (Kind::List { element, .. }, Value::Array(mut values)) => {
            for slot in &mut values {
                *slot = self::value(service, element.shape, slot.take())?;
            }
            Ok(Value::Array(values))
        }
        (Kind::Map { value: element, .. }, Value::Object(mut entries)) => {
            for (_, slot) in &mut entries {
                *slot = self::value(service, element.shape, slot.take())?;
            }
            Ok(Value::Object(entries))
        }
        (Kind::String, value @ Value::String(_)) | (Kind::Boolean, value @ Value::Bool(_)) => {
            Ok(value)
        }
        (Kind::Blob, value @ Value::String(_)) => base64(value),
        (Kind::Integer, Value::Number(number)) => whole(&number)
            .filter(|number| i32::try_from(*number).is_ok())
            .map(Value::from)
            .ok_or_else(|| serialization("NUMBER_VALUE can not be converted to an Integer")),
        (Kind::Long, Value::Number(number)) => whole(&number)
            .map(Value::from)
            .ok_or_else(|| serialization("NUMBER_VALUE can not be converted to a Long")),
        (Kind::Double, Value::Number(number)) => {
            Ok(number.as_f64().map(Value::from).unwrap_or(Value::Null))
        }
        (Kind::Timestamp(_), value @ Value::Number(_)) => Ok(value),
        (Kind::Timestamp(_), Value::String(text)) => timestamp::parse(&text)
            .map(Value::from)
            .ok_or_else(|| serialization("STRING_VALUE can not be converted to a Timestamp")),
        (kind, value) => Err(mismatch(kind, &value)),
    }
}

/// A string that has to be base64, padded. It stays encoded: who needs the bytes decodes them once.
pub(super) fn base64(value: Value) -> Result<Value, ApiError> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let text = value.as_str().unwrap_or_default().as_bytes();
    let (body, last) = text.split_at(text.len().saturating_sub(4));
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if text.len().is_multiple_of(4)
        && body.iter().all(plain)
        && BASE64_STANDARD.decode(last).is_ok()
    {
        Ok(value)
    } else {
        Err(serialization("The value of a blob is not valid base64."))
    }
}

/// AWS: a fraction in a whole number is cut off without a word.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let number = number.as_f64()?.trunc();
        (number.abs() < 9.0e18).then_some(number as i64)
    })
}

/// AWS: the words of its JSON reader.
fn mismatch(kind: &Kind, value: &Value) -> ApiError {
    let token = match value {
        Value::Object(_) => {
            return serialization("Start of structure or map found where not expected.");
        }
        Value::Array(_) => return serialization("Start of list found where not expected"),
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
    };
    let wanted = match kind {
        Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. } => {
            return serialization("Unexpected value type in payload");
        }
        Kind::String => "a String",
        Kind::Blob => "a Blob",
        Kind::Boolean => "a Boolean",
        Kind::Integer => "an Integer",
        Kind::Long => "a Long",
        Kind::Double => "a Double",
        Kind::Timestamp(_) => "a Timestamp",
    };
    serialization(format!("{token} can not be converted to {wanted}"))
}
