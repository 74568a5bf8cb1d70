//! From outputs and errors to responses, in the caller's dialect.
//!
//! Members the model lacks and members that are null are not sent. Encoding does not fail: what
//! cannot be written in its place (a line break in a header) is logged and left out.

mod error;
mod xml;

pub use error::encode_error;

use crate::answer::Output;
use crate::model::{
    Kind, Location, Member, Operation, Protocol, Service, Shape, ShapeId, TimestampFormat,
};
use crate::timestamp;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

/// The response to a call that succeeded.
pub fn encode_output(
    service: &Service,
    operation: &Operation,
    output: Output,
    request_id: &str,
) -> Response<Bytes> {
    let members = service.members(operation.output);
    let body = match service.protocol {
        Protocol::RestJson => return rest(service, operation, output, request_id),
        // AWS: an operation without an output shape answers with no body at all.
        Protocol::Json10 | Protocol::Json11 if operation.output.is_none() => Bytes::new(),
        Protocol::Json10 | Protocol::Json11 => {
            to_bytes(&Value::Object(body_members(service, members, output.members)))
        }
        Protocol::Query => xml::answer(service, operation, output.members, request_id),
    };
    let status = output.status.unwrap_or(operation.status);
    let mut response = response(status, request_id, body);
    set_content_type(&mut response, service.protocol);
    response
}

fn rest(
    service: &Service,
    operation: &Operation,
    mut output: Output,
    request_id: &str,
) -> Response<Bytes> {
    let members = service.members(operation.output);
    let mut status = output.status;
    let mut headers = Vec::new();
    if let Some(Ok(trace)) = output.trace_id.as_deref().map(HeaderValue::from_str) {
        headers.push((HeaderName::from_static("x-amzn-trace-id"), trace));
    }
    for member in members {
        match (member.location, output.members.get(&member.name)) {
            (Location::StatusCode, Some(value)) => {
                status = status.or(value.as_u64().and_then(|code| u16::try_from(code).ok()));
            }
            (Location::Header, Some(value)) => {
                headers.extend(header(service.shape(member.shape), member, value));
            }
            _ => {}
        }
    }
    let status = status.unwrap_or(operation.status);
    let mut content_type = "application/json";
    let body = match service.payload(operation.output) {
        _ if status == 204 => Bytes::new(),
        Some(member) => match &service.shape(member.shape).kind {
            Kind::Structure(shape) if shape.event_stream => {
                content_type = "application/vnd.amazon.eventstream";
                output.payload.unwrap_or_default()
            }
            Kind::Structure(_) => {
                let value = output.members.remove(&member.name).unwrap_or(Value::Null);
                to_bytes(&json(service, member.shape, value))
            }
            _ => output.payload.unwrap_or_default(),
        },
        None if operation.output.is_none() => Bytes::new(),
        None => to_bytes(&Value::Object(body_members(service, members, output.members))),
    };
    let empty = body.is_empty();
    let mut response = response(status, request_id, body);
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    if !empty || content_type != "application/json" {
        let entry = response.headers_mut().entry(CONTENT_TYPE);
        entry.or_insert(HeaderValue::from_static(content_type));
    }
    response
}

/// Body members in the model's order, under their wire names.
fn body_members(
    service: &Service,
    members: &[Member],
    mut from: Map<String, Value>,
) -> Map<String, Value> {
    let mut into = Map::new();
    for member in members.iter().filter(|member| member.location == Location::Body) {
        match from.get_mut(&member.name).map(Value::take) {
            None | Some(Value::Null) => {}
            Some(value) => {
                into.insert(member.wire_name.clone(), json(service, member.shape, value));
            }
        }
    }
    into
}

/// A value as the JSON dialects write it. A value that is not of its shape's kind goes as it is.
fn json(service: &Service, id: ShapeId, value: Value) -> Value {
    match (&service.shape(id).kind, value) {
        (Kind::Structure(shape), Value::Object(members)) => {
            Value::Object(body_members(service, &shape.members, members))
        }
        (Kind::List { element, .. }, Value::Array(mut values)) => {
            for slot in &mut values {
                *slot = json(service, element.shape, slot.take());
            }
            Value::Array(values)
        }
        (Kind::Map { value: element, .. }, Value::Object(mut entries)) => {
            for (_, slot) in &mut entries {
                *slot = json(service, element.shape, slot.take());
            }
            Value::Object(entries)
        }
        (Kind::Timestamp(format), value) if !value.is_null() => {
            timestamp::format(&value, format.unwrap_or(TimestampFormat::Unix)).unwrap_or(value)
        }
        (_, value) => value,
    }
}

fn header(shape: &Shape, member: &Member, value: &Value) -> Option<(HeaderName, HeaderValue)> {
    let text = match (&shape.kind, value) {
        (_, Value::Null) => return None,
        (Kind::Timestamp(format), value) => {
            let written = timestamp::format(value, format.unwrap_or(TimestampFormat::Rfc822))?;
            written.as_str().map_or_else(|| written.to_string(), str::to_owned)
        }
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    };
    let name = HeaderName::from_bytes(member.wire_name.as_bytes());
    match (name, HeaderValue::from_bytes(text.as_bytes())) {
        (Ok(name), Ok(value)) => Some((name, value)),
        _ => {
            tracing::warn!(member = member.name, "a value that no header can hold is left out");
            None
        }
    }
}

fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn response(status: u16, request_id: &str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn set_content_type(response: &mut Response<Bytes>, protocol: Protocol) {
    let content_type = HeaderValue::from_static(match protocol {
        Protocol::RestJson => "application/json",
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::Query => "text/xml",
    });
    response.headers_mut().insert(CONTENT_TYPE, content_type);
}

#[cfg(test)]
mod tests;
