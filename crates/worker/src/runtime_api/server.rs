//! HTTP in front of the Runtime API.

use super::credentials::{self, Credentials};
use super::metadata::{self, Metadata};
use super::response::response;
use super::{Answer, Delivery, Refusal, RuntimeApi, extension_server, subscribing};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// AWS: error documents over this are cut; a legitimate one is far smaller.
const ERROR_BODY: usize = 1024 * 1024;
/// What is read ahead from a connection: a head with AWS's largest header (64 KB of error cause)
/// has to fit, and a streamed response whose caller is slow should not hold much more. Bytes.
const READ_AHEAD: usize = 128 * 1024;

pub(super) type Reply = Response<Full<Bytes>>;

/// What an environment can ask for beside its events.
pub struct Side {
    pub metadata: Metadata,
    /// Where its variables hold none.
    pub credentials: Option<Credentials>,
}

/// Serves the listener of one environment. Does not end by itself; dropped, it closes every
/// connection with it.
pub async fn serve(listener: TcpListener, api: Arc<RuntimeApi>, side: Arc<Side>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < api.connections() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&api), Arc::clone(&side)));
                }
                Err(error) => {
                    // Out of descriptors, most likely: others have to close first.
                    tracing::debug!(%error, "a runtime's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn connection(stream: TcpStream, api: Arc<RuntimeApi>, side: Arc<Side>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (api, side) = (Arc::clone(&api), Arc::clone(&side));
        async move {
            Ok::<_, Infallible>(match (request.uri().path(), &side.credentials) {
                (metadata::PATH, _) => side.metadata.answer(request.method(), request.headers()),
                (credentials::PATH, Some(credentials)) => {
                    credentials.answer(request.method(), request.headers())
                }
                _ => handle(&api, request).await,
            })
        }
    });
    // A runtime may hold a connection open for as long as its environment lives.
    let served = http1::Builder::new()
        .max_buf_size(READ_AHEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a runtime's connection ended");
    }
}

async fn handle(api: &RuntimeApi, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if matches!(path, "/ping" | "/2018-06-01/ping") {
        return reply(StatusCode::OK, "text/plain", "pong");
    }
    if let Some(path) = path.strip_prefix(extension_server::PREFIX) {
        return extension_server::handle(api, &head.method, path, &head.headers, body).await;
    }
    if let Some(dialect) = subscribing::dialect(path) {
        return subscribing::handle(api, dialect, &head.method, &head.headers, body).await;
    }
    let Some(path) = path.strip_prefix("/2018-06-01/runtime/") else {
        return reply(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n");
    };
    let answered = match (&head.method, path.split('/').collect::<Vec<_>>().as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next(api).await,
        (&Method::POST, ["invocation", id, "response"]) => {
            response(api, id, &head.headers, body).await
        }
        (&Method::POST, ["invocation", id, "error"]) => error(api, id, &head.headers, body).await,
        (&Method::POST, ["init", "error"]) => init_error(api, &head.headers, body).await,
        (method, ["restore", asked @ ("next" | "error")]) if api.about.snap_start => {
            match (method, *asked) {
                // There is no snapshot: who asks has been restored.
                (&Method::GET, "next") => {
                    api.restore().map(|()| reply(StatusCode::OK, "application/json", ""))
                }
                (&Method::POST, "error") => restore_error(api, &head.headers, body).await,
                _ => return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", ""),
            }
        }
        (
            _,
            ["invocation", "next"] | ["invocation", _, "response" | "error"] | ["init", "error"],
        ) => {
            return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "");
        }
        _ => return reply(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n"),
    };
    answered.unwrap_or_else(|refusal| refuse(&refusal))
}

async fn next(api: &RuntimeApi) -> Result<Reply, Refusal> {
    match api.next().await?.await {
        Ok(delivery) => event(delivery).or_else(|delivery| {
            api.undeliver(*delivery);
            Ok(reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", ""))
        }),
        // Another request took this one's place, or the environment is going away.
        Err(_) => Ok(refuse(&Refusal {
            status: 403,
            error_type: "InvalidStateTransition",
            message: "Another request for the next event took the place of this one".to_owned(),
        })),
    }
}

/// The event with its headers. An event whose headers cannot be written comes back.
fn event(delivery: Delivery) -> Result<Reply, Box<Delivery>> {
    let call = &delivery.call;
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("lambda-runtime-deadline-ms", HeaderValue::from(delivery.deadline_ms));
    let texts = [
        ("lambda-runtime-aws-request-id", Some(call.request_id.as_str())),
        ("lambda-runtime-invoked-function-arn", Some(call.invoked_arn.as_str())),
        ("lambda-runtime-trace-id", call.trace_id.as_deref()),
        ("lambda-runtime-aws-tenant-id", call.tenant.as_deref()),
        ("lambda-runtime-client-context", call.client_context.as_deref()),
    ];
    for (name, text) in texts {
        // AWS: empty headers are omitted.
        let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
        // Checked at the frontend, where a bad client context is refused.
        let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else {
            tracing::error!(name, "an event has a header that cannot be sent");
            continue;
        };
        headers.insert(name, value);
    }
    let mut response = Response::new(Full::new(delivery.call.payload.clone()));
    *response.headers_mut() = headers;
    Ok(response)
}

async fn error(
    api: &RuntimeApi,
    id: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    api.may_answer(id)?;
    let _one = api.upload().await?;
    let body = error_body(body).await?;
    api.answer(id, Answer::Error { body, error_type: error_type(headers, "Function.Unknown") })?;
    Ok(accepted())
}

async fn init_error(
    api: &RuntimeApi,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    api.may_fail_init()?;
    let _one = api.upload().await?;
    let body = error_body(body).await?;
    api.init_error(body, error_type(headers, "Runtime.Unknown"))?;
    Ok(accepted())
}

async fn restore_error(
    api: &RuntimeApi,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    api.may_fail_restore()?;
    let _one = api.upload().await?;
    let body = error_body(body).await?;
    api.restore_error(body, error_type(headers, "Runtime.Unknown"))?;
    Ok(accepted())
}

async fn error_body(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, ERROR_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal {
            status: 413,
            error_type: "RequestEntityTooLarge",
            message: format!("Exceeded maximum allowed payload size ({ERROR_BODY} bytes)."),
        }),
        Err(_) => Err(truncated()),
    }
}

pub(super) fn truncated() -> Refusal {
    Refusal {
        status: 400,
        error_type: "TruncatedHTTPRequest",
        message: "HTTP request detected as truncated".to_owned(),
    }
}

/// AWS: kept when it looks like `Runtime.Name` or `Function.Name`, else replaced.
pub(super) fn error_type(headers: &HeaderMap, otherwise: &str) -> String {
    let given = headers
        .get("lambda-runtime-function-error-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let name = given.strip_prefix("Runtime.").or_else(|| given.strip_prefix("Function."));
    let well_formed = name.is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.len() > 1
            && name.chars().all(|c| c.is_ascii_alphabetic())
    });
    if well_formed { given.to_owned() } else { otherwise.to_owned() }
}

pub(super) fn accepted() -> Reply {
    reply(StatusCode::ACCEPTED, "application/json", "{\"status\":\"OK\"}\n")
}

pub(super) fn refuse(refusal: &Refusal) -> Reply {
    let body = serde_json::json!({
        "errorMessage": refusal.message,
        "errorType": refusal.error_type,
    });
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    reply(status, "application/json", body.to_string())
}

pub(super) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_error_types_are_kept() {
        let kept = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("lambda-runtime-function-error-type", text.parse().unwrap());
            error_type(&headers, "Function.Unknown")
        };
        assert_eq!(kept("Runtime.ImportModuleError"), "Runtime.ImportModuleError");
        assert_eq!(kept("Function.Custom"), "Function.Custom");
        for odd in ["KeyError", "Runtime.", "Runtime.lower", "Runtime.With space", ""] {
            assert_eq!(kept(odd), "Function.Unknown", "{odd}");
        }
    }
}
