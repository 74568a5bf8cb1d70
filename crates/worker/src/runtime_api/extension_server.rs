//! HTTP in front of the Extensions API. Bodies here are small, and read within bounds.

use super::extensions::refusal;
use super::server::{Reply, accepted, refuse, reply};
use super::{Refusal, RuntimeApi};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

pub(super) const PREFIX: &str = "/2020-01-01/extension/";

/// Of a request to register, and of an error document, which is read and forgotten. Bytes.
const BODY: usize = 64 * 1024;

const IDENTIFIER: &str = "lambda-extension-identifier";

pub(super) async fn handle(
    api: &RuntimeApi,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Reply {
    let answered = match (method, path) {
        (&Method::POST, "register") => register(api, headers, body).await,
        (&Method::GET, "event/next") => next(api, headers).await,
        (&Method::POST, "init/error") => failed(api, headers, body, When::Init).await,
        (&Method::POST, "exit/error") => failed(api, headers, body, When::Exit).await,
        (_, "register" | "event/next" | "init/error" | "exit/error") => {
            return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "");
        }
        _ => return reply(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n"),
    };
    answered.unwrap_or_else(|refusal| refuse(&refusal))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    #[serde(default)]
    events: Option<Vec<String>>,
    #[serde(default)]
    configuration_keys: Option<Vec<serde_json::Value>>,
}

async fn register(api: &RuntimeApi, headers: &HeaderMap, body: Incoming) -> Result<Reply, Refusal> {
    let name = text(headers, "lambda-extension-name");
    if name.is_empty() {
        return Err(refusal("Extension.InvalidExtensionName", "Empty extension name"));
    }
    let invalid = |why: &str| refusal("InvalidRequestFormat", why);
    let body = Limited::new(body, BODY).collect().await;
    let body = body.map_err(|_| invalid("http: request body too large"))?.to_bytes();
    let Registration { events, configuration_keys } =
        serde_json::from_slice(&body).map_err(|error| invalid(&unread(&body, &error)))?;
    if configuration_keys.is_some_and(|keys| !keys.is_empty()) {
        return Err(invalid("configurationKeys are deprecated; use environment variables instead"));
    }
    let events = events.unwrap_or_default();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let id = api.register(name, &events)?;
    let about = &api.about;
    let mut answer = json!({
        "functionVersion": about.version,
        "functionName": about.function,
        "handler": about.handler,
    });
    let mut features = text(headers, "lambda-extension-accept-feature").split(',');
    if features.any(|feature| feature.trim() == "accountId") {
        answer["accountId"] = json!(about.account);
    }
    let mut reply = reply(StatusCode::OK, "application/json", answer.to_string());
    if let Ok(id) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert(IDENTIFIER, id);
    }
    Ok(reply)
}

/// AWS: the words of its JSON parser, for the two mistakes that are made.
fn unread(body: &[u8], error: &serde_json::Error) -> String {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => "unexpected end of JSON input".to_owned(),
        Some(_) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Some(byte) if !b"{[\"-0123456789tfn".contains(byte) => {
            format!("invalid character '{}' looking for beginning of value", byte.escape_ascii())
        }
        Some(_) => error.to_string(),
    }
}

/// The identifier of a request, checked to be one but not whose.
pub(super) fn identifier(headers: &HeaderMap) -> Result<&str, Refusal> {
    let id = text(headers, IDENTIFIER);
    if id.is_empty() {
        return Err(refusal(
            "Extension.MissingExtensionIdentifier",
            "Missing Lambda-Extension-Identifier header",
        ));
    }
    let shaped = id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if !shaped {
        return Err(refusal(
            "Extension.InvalidExtensionIdentifier",
            "Invalid Lambda-Extension-Identifier",
        ));
    }
    Ok(id)
}

async fn next(api: &RuntimeApi, headers: &HeaderMap) -> Result<Reply, Refusal> {
    let id = identifier(headers)?;
    match api.next_event(id)?.await {
        Ok(event) => {
            let mut reply = reply(StatusCode::OK, "application/json", event);
            if let Ok(event_id) = HeaderValue::from_str(&api.env.random.uuid()) {
                reply.headers_mut().insert("lambda-extension-event-identifier", event_id);
            }
            Ok(reply)
        }
        // The environment is going away.
        Err(_) => Ok(reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Bytes::new())),
    }
}

enum When {
    Init,
    Exit,
}

async fn failed(
    api: &RuntimeApi,
    headers: &HeaderMap,
    body: Incoming,
    when: When,
) -> Result<Reply, Refusal> {
    const TYPE: &str = "Lambda-Extension-Function-Error-Type";
    let id = identifier(headers)?;
    let error_type = text(headers, "lambda-extension-function-error-type");
    if error_type.is_empty() {
        return Err(refusal("Extension.MissingHeader", &format!("{TYPE} not found")));
    }
    match when {
        When::Init => api.extension_init_error(id, error_type)?,
        When::Exit => api.extension_exit_error(id, error_type)?,
    }
    // Nothing is done with it; a client that cannot send it would not read the answer.
    let _ = Limited::new(body, BODY).collect().await;
    Ok(accepted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_a_shape() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDENTIFIER, id.parse().unwrap());
            identifier(&headers).map(str::to_owned).map_err(|refusal| refusal.error_type)
        };
        let good = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(of(good).as_deref(), Ok(good));
        assert_eq!(of(""), Err("Extension.MissingExtensionIdentifier"));
        for odd in ["me", &good[1..], "01234567x89ab-cdef-0123-456789abcdef"] {
            assert_eq!(of(odd), Err("Extension.InvalidExtensionIdentifier"), "{odd}");
        }
    }

    #[test]
    fn json_mistakes_are_told_in_awss_words() {
        let why = |body: &[u8]| {
            unread(body, &serde_json::from_slice::<Registration>(body).err().unwrap())
        };
        assert_eq!(why(b""), "unexpected end of JSON input");
        assert_eq!(why(b"{\"events\":["), "unexpected end of JSON input");
        assert_eq!(why(b"events"), "invalid character 'e' looking for beginning of value");
    }
}
