//! HTTP in front of the Telemetry API and the older Logs API.

use super::extension_server::identifier;
use super::extensions::refusal;
use super::server::{Reply, refuse, reply};
use super::{Refusal, RuntimeApi};
use crate::logs::Event;
use crate::telemetry::{Dialect, Subscription};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

/// Bytes of a request.
const BODY: usize = 64 * 1024;

pub(super) fn dialect(path: &str) -> Option<Dialect> {
    match path {
        "/2022-07-01/telemetry" => Some(Dialect::Telemetry),
        "/2020-08-15/logs" => Some(Dialect::Logs),
        _ => None,
    }
}

pub(super) async fn handle(
    api: &RuntimeApi,
    dialect: Dialect,
    method: &Method,
    headers: &HeaderMap,
    body: Incoming,
) -> Reply {
    if method != Method::PUT {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "");
    }
    match subscribe(api, dialect, headers, body).await {
        Ok(()) => reply(StatusCode::OK, "application/json", "\"OK\""),
        Err(refusal) => refuse(&refusal),
    }
}

async fn subscribe(
    api: &RuntimeApi,
    dialect: Dialect,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<(), Refusal> {
    let id = identifier(headers)?;
    let unknown =
        || refusal("Extension.UnknownExtensionIdentifier", &format!("Unknown extension {id}"));
    let name = api.name_of(id).ok_or_else(unknown)?;
    let invalid = |message: String| Refusal { status: 400, error_type: "ValidationError", message };
    let body = Limited::new(body, BODY).collect().await;
    let body = body.map_err(|error| invalid(format!("Failed to read request body: {error}")))?;
    let subscription =
        Subscription::read(dialect, &body.to_bytes()).map_err(|why| invalid(why.0))?;
    let types = subscription.types.names();
    if !api.telemetry.subscribe(&name, subscription) {
        return Err(match dialect {
            Dialect::Telemetry => refusal(
                "Telemetry.SubscriptionClosed",
                "Telemetry API subscription is closed already",
            ),
            Dialect::Logs => {
                refusal("Logs.SubscriptionClosed", "Logs API subscription is closed already")
            }
        });
    }
    api.capture.platform(&Event::Subscribed { dialect, name: &name, types: &types });
    Ok(())
}
