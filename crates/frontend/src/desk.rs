//! What the owner of the server can see and do about events, for `lamplight events`.
//!
//! Not of AWS: these paths answer to the owner's own signature, never to functions, users or roles.
//!
//! - `GET /_lamplight/events`: the queues that are not empty
//! - `GET /_lamplight/events/STAGE` with `after` and `max`: what is `queued`, `delivering`, `ended`
//! - `GET`, `POST`, `DELETE /_lamplight/events/id/ID`: all that is known of an event; try it now;
//!   give it up

use crate::Parts;
use bytes::Bytes;
use http::request::Parts as Head;
use http::{Method, Response, header};
use lamplight_env::Timestamp;
use lamplight_rpc::{EventRefused, EventStage};
use lamplight_services::iam::Who;
use lamplight_wire::ApiError;
use lamplight_wire::percent::query_value;
use serde_json::{Value, json};

const PREFIX: &str = "/_lamplight/events";
const PAGE: usize = 100;

/// What is asked for, if the request is for here.
pub fn requested(head: &Head) -> Option<&str> {
    let rest = head.uri.path().strip_prefix(PREFIX)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
}

/// The requests have no bodies.
pub async fn answer(
    parts: &Parts,
    head: &Head,
    arrived: Timestamp,
) -> Result<Response<Bytes>, ApiError> {
    parts.auth.precheck(head, arrived)?;
    let (caller, _) = parts.auth.check(head, &Bytes::new(), arrived, &parts.options.region)?;
    if caller.who != Who::Root {
        let message = "Only the owner of this server may look at its events.";
        return Err(ApiError::new("AccessDeniedException", message).with_status(403));
    }
    let asked = requested(head).unwrap_or_default();
    let answer = look(parts, head, asked).await?;
    let mut response = Response::new(Bytes::from(answer.to_string()));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

async fn look(parts: &Parts, head: &Head, asked: &str) -> Result<Value, ApiError> {
    let (desk, failed) = (&parts.desk, |refused: EventRefused| {
        ApiError::new("ServiceException", refused.to_string()).with_status(503)
    });
    if let Some(id) = asked.strip_prefix("id/") {
        return Ok(match head.method {
            Method::GET => json!({ "Events": desk.show(id).await.map_err(failed)? }),
            Method::POST => json!({ "Changed": desk.retry(id).await.map_err(failed)? }),
            Method::DELETE => json!({ "Changed": desk.give_up(id).await.map_err(failed)? }),
            _ => return Err(nothing_there()),
        });
    }
    let stage = match asked {
        _ if head.method != Method::GET => return Err(nothing_there()),
        "" => return Ok(json!({ "Queues": desk.queues().await.map_err(failed)? })),
        "queued" => EventStage::Queued,
        "delivering" => EventStage::Delivering,
        "ended" => EventStage::Ended,
        _ => return Err(nothing_there()),
    };
    let value = |name: &str| query_value(head.uri.query(), name);
    let max = value("max").and_then(|max| max.parse().ok()).unwrap_or(PAGE);
    let page = desk.list(stage, value("after").as_deref(), max).await.map_err(failed)?;
    Ok(json!({ "Events": page.events, "Next": page.next }))
}

fn nothing_there() -> ApiError {
    ApiError::new("ResourceNotFoundException", "There is no such page of events.").with_status(404)
}
