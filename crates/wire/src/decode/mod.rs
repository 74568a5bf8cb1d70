//! From bytes to a [`Call`]: input members by their model names, whatever dialect they came in.
//!
//! Decoding checks types and nothing else; constraints are `validate`'s. Unknown members are
//! ignored, as AWS does, and null members are as if absent. Nesting is bounded by the JSON parser
//! (128) and by the form reader; everything else is bounded by the size of the body, which the
//! caller has bounded. Blob payload members are handed on untouched.

mod form;
mod json;
mod payload;

pub use payload::check_payload;

use crate::model::{Kind, Location, Member, Operation, Protocol, Service};
use crate::route::{OperationRef, Route, by_action, by_action_alone};
use crate::{ApiError, percent, sigv4, timestamp};
use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value};

/// A request understood.
#[derive(Debug, Clone)]
pub struct Call {
    pub service: &'static Service,
    pub operation: &'static Operation,
    /// Members of the input shape by model name. Blobs are base64 strings, timestamps are numbers
    /// of seconds since 1970 (UTC).
    pub input: Map<String, Value>,
    /// The blob payload member (Invoke's `Payload`) as it came; `None` when the body was empty.
    pub payload: Option<Bytes>,
}

/// # Errors
/// `SerializationException` for what does not have the model's types,
/// `InvalidRequestContentException` for a body that is no JSON where the operation has that error,
/// and in the query protocol `MissingAction` and `InvalidAction`.
pub fn decode(route: &Route, parts: &Parts, body: Bytes) -> Result<Call, ApiError> {
    let service = route.service;
    match (service.protocol, route.operation) {
        (Protocol::RestJson, OperationRef::Known(operation)) => {
            rest(service, operation, route, parts, body)
        }
        (Protocol::Json10 | Protocol::Json11, OperationRef::Known(operation)) => {
            let mut input = Map::new();
            if let Some(shape) = operation.input {
                let members = json::object(operation, service, &body)?;
                input = json::structure(service, service.members(Some(shape)), members)?;
            }
            Ok(Call { service, operation, input, payload: None })
        }
        (Protocol::Query, OperationRef::Known(operation)) => {
            query(service, operation, &form::Form::read(&body, parts.uri.query())?, parts)
        }
        (_, OperationRef::ByAction) => {
            let form = form::Form::read(&body, parts.uri.query())?;
            let (action, version) = (form.value("Action"), form.value("Version"));
            let (service, operation) = match by_action(service, action, version) {
                Ok(operation) => (service, operation),
                // The route was made without the form, and nothing else says which service it is.
                Err(_) if sigv4::claimed_scope(parts).is_none() => {
                    by_action_alone(action, version)?
                }
                Err(refused) => return Err(refused),
            };
            query(service, operation, &form, parts)
        }
    }
}

fn query(
    service: &'static Service,
    operation: &'static Operation,
    form: &form::Form,
    parts: &Parts,
) -> Result<Call, ApiError> {
    const QUEUE: &str = "QueueUrl";
    let members = service.members(operation.input);
    let mut input = form.members(service, members)?;
    // AWS: a queue may be named by where the request is sent alone.
    if members.iter().any(|member| member.name == QUEUE) && parts.uri.path().len() > 1 {
        input.entry(QUEUE).or_insert_with(|| Value::from(parts.uri.path()));
    }
    Ok(Call { service, operation, input, payload: None })
}

fn rest(
    service: &'static Service,
    operation: &'static Operation,
    route: &Route,
    parts: &Parts,
    body: Bytes,
) -> Result<Call, ApiError> {
    let members = service.members(operation.input);
    let mut input = Map::new();
    let mut payload = None;
    if let Some(member) = service.payload(operation.input) {
        if matches!(service.shape(member.shape).kind, Kind::Blob) {
            payload = Some(body).filter(|body| !body.is_empty());
        } else if !body.is_empty() {
            let value = Value::Object(json::object(operation, service, &body)?);
            input.insert(member.name.clone(), json::value(service, member.shape, value)?);
        }
    } else if members.iter().any(|member| member.location == Location::Body) {
        input = json::structure(service, members, json::object(operation, service, &body)?)?;
    }
    for member in members {
        if let Some(value) = head_member(service, member, route, parts)? {
            input.insert(member.name.clone(), value);
        }
    }
    Ok(Call { service, operation, input, payload })
}

/// A member that travels in the path, the query string or a header.
fn head_member(
    service: &Service,
    member: &Member,
    route: &Route,
    parts: &Parts,
) -> Result<Option<Value>, ApiError> {
    let shape = service.shape(member.shape);
    match member.location {
        Location::Body | Location::StatusCode => Ok(None),
        Location::Uri => {
            let label = route.labels.iter().find(|(name, _)| *name == member.wire_name);
            label.map(|(_, text)| scalar(&shape.kind, text)).transpose()
        }
        Location::Query => {
            let decoded = |(_, text)| {
                percent::decode_form(text).ok_or_else(|| {
                    serialization(format!("The value of {} is not valid UTF-8.", member.wire_name))
                })
            };
            let is_it = |(name, _): &(&str, &str)| {
                percent::decode_form(name).as_deref() == Some(member.wire_name.as_str())
            };
            let mut found = percent::pairs(parts.uri.query().unwrap_or_default()).filter(is_it);
            if let Kind::List { element, .. } = &shape.kind {
                let kind = &service.shape(element.shape).kind;
                let values = found
                    .map(|pair| scalar(kind, &decoded(pair)?))
                    .collect::<Result<Vec<_>, _>>()?;
                return Ok(Some(values).filter(|values| !values.is_empty()).map(Value::Array));
            }
            found.next().map(|pair| scalar(&shape.kind, &decoded(pair)?)).transpose()
        }
        Location::Header => {
            let Some(value) = parts.headers.get(&member.wire_name) else { return Ok(None) };
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
                serialization(format!("The value of {} is not valid UTF-8.", member.wire_name))
            })?;
            scalar(&shape.kind, text).map(Some)
        }
    }
}

/// A value that came as text.
fn scalar(kind: &Kind, text: &str) -> Result<Value, ApiError> {
    let cannot = |what: &str| serialization(format!("STRING_VALUE can not be converted to {what}"));
    match kind {
        Kind::String => Ok(Value::from(text)),
        Kind::Boolean => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(cannot("a Boolean")),
        },
        Kind::Integer => text.parse::<i32>().map(Value::from).map_err(|_| cannot("an Integer")),
        Kind::Long => text.parse::<i64>().map(Value::from).map_err(|_| cannot("a Long")),
        Kind::Double => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::from(number)),
            _ => Err(cannot("a Double")),
        },
        Kind::Timestamp(_) => {
            timestamp::parse(text).map(Value::from).ok_or_else(|| cannot("a Timestamp"))
        }
        Kind::Blob => json::base64(Value::from(text)),
        Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. } => Err(cannot("a collection")),
    }
}

fn serialization(message: impl Into<String>) -> ApiError {
    ApiError::new("SerializationException", message).with_status(400)
}

#[cfg(test)]
mod tests;
