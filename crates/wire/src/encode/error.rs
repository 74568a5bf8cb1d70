//! Refusals in the caller's dialect.

use super::{body_members, header, response, set_content_type, to_bytes, xml};
use crate::ApiError;
use crate::model::{ErrorTraits, Kind, Location, Protocol, Service, Shape, older_dialect};
use bytes::Bytes;
use http::{HeaderValue, Response};
use serde_json::{Map, Value};

/// The response to a request refused. `service` is `None` when it is not known which one was meant;
/// the answer is then JSON that every SDK's JSON parsers understand.
pub fn encode_error(
    service: Option<&'static Service>,
    error: &ApiError,
    request_id: &str,
) -> Response<Bytes> {
    let modelled = service.and_then(|service| service.error(&error.code));
    let status = error.status.unwrap_or(modelled.map_or(400, |(_, traits)| traits.status));
    let protocol = service.map_or(Protocol::RestJson, |service| service.protocol);
    let body = match (protocol, service) {
        (Protocol::Query, Some(service)) => {
            let code = modelled
                .and_then(|(_, traits)| traits.code.as_deref())
                .unwrap_or_else(|| query_code(&error.code));
            xml::error(service, code, &error.message, (status, request_id))
        }
        (Protocol::Query, None) | (Protocol::RestJson, _) => {
            let mut members = error_members(service, error, modelled);
            if service.is_none() {
                members.insert("__type".to_owned(), Value::from(&*error.code));
            }
            to_bytes(&Value::Object(members))
        }
        (Protocol::Json10 | Protocol::Json11, _) => {
            let mut body = Map::new();
            body.insert("__type".to_owned(), Value::from(&*error.code));
            body.extend(error_members(service, error, modelled));
            to_bytes(&Value::Object(body))
        }
    };
    let mut response = response(status, request_id, body);
    set_content_type(&mut response, protocol);
    // AWS: SDKs that knew the service by its query protocol go on finding the codes it had there.
    if let Some(older) = service.and_then(older_dialect) {
        let traits = older.error(&error.code).map(|(_, traits)| traits);
        let code = traits.and_then(|traits| traits.code.as_deref());
        let code = code.unwrap_or_else(|| query_code(&error.code));
        let fault = if status < 500 { "Sender" } else { "Receiver" };
        if let Ok(value) = HeaderValue::from_str(&format!("{code};{fault}")) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
    }
    if protocol == Protocol::RestJson {
        if let Ok(code) = HeaderValue::from_str(&error.code) {
            response.headers_mut().insert("x-amzn-errortype", code);
        }
        for member in modelled.map_or(&[][..], |(shape, _)| members_of(shape)) {
            if let (Location::Header, Some(value), Some(service)) =
                (member.location, error.members.get(&member.name), service)
                && let Some((name, value)) = header(service.shape(member.shape), member, value)
            {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

/// The body's members: those given, `Type` where the shape has one, and the message under the name
/// the shape gives it.
fn error_members(
    service: Option<&Service>,
    error: &ApiError,
    modelled: Option<(&Shape, &ErrorTraits)>,
) -> Map<String, Value> {
    let message_member = modelled
        .and_then(|(shape, _)| {
            members_of(shape).iter().find(|member| member.name.eq_ignore_ascii_case("message"))
        })
        .map_or("message", |member| &member.wire_name);
    let mut members = match (service, modelled) {
        (Some(service), Some((shape, _))) => {
            body_members(service, members_of(shape), (*error.members).clone())
        }
        _ => (*error.members).clone(),
    };
    // AWS: Lambda's modelled errors say whose fault they are, except where a caller of this crate
    // puts a null there (some refusals are recorded without).
    if let Some((shape, traits)) = modelled
        && members_of(shape).iter().any(|member| member.name == "Type")
        && !error.members.contains_key("Type")
    {
        let whose = if traits.sender_fault { "User" } else { "Service" };
        members.insert("Type".to_owned(), Value::from(whose));
    }
    members.insert(message_member.to_owned(), Value::from(error.message.as_str()));
    members
}

fn members_of(shape: &Shape) -> &[crate::model::Member] {
    match &shape.kind {
        Kind::Structure(structure) => &structure.members,
        _ => &[],
    }
}

/// AWS: the framework's errors have other names in the query protocol.
fn query_code(code: &str) -> &str {
    match code {
        "AccessDeniedException" => "AccessDenied",
        "ExpiredTokenException" => "ExpiredToken",
        "IncompleteSignatureException" => "IncompleteSignature",
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
        "ServiceException" => "InternalFailure",
        "ThrottlingException" => "Throttling",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        other => other,
    }
}
