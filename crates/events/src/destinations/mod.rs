//! Where outcomes go: dead-letter queues, and the destinations for success and failure.
//!
//! What is owed is stored together with the terminal record of its event, and then delivered as
//! often as it takes. A destination that refuses holds up nobody but itself.

mod delivering;
mod outcome;
mod routes;

pub use delivering::Delivering;
pub use outcome::{Ending, timestamp as outcome_time};
pub use routes::{Functions, Routes};

use crate::poller::machine::End;
use crate::record::{self, Durable, EventState, Kind, Owed};
use bytes::Bytes;
use lamplight_env::Timestamp;
use lamplight_store::{Message, NewMessage, Step};
use serde_json::Value;

/// What is owed for the end of an event, with the bodies.
pub fn deliveries(
    event: &Message,
    state: &EventState,
    (config, dead_letters): (Option<&Value>, Option<String>),
    ending: &Ending,
    now: Timestamp,
) -> Vec<(Owed, Bytes)> {
    let side = if ending.end == End::Succeeded { "OnSuccess" } else { "OnFailure" };
    let named = config
        .and_then(|config| config["DestinationConfig"][side]["Destination"].as_str())
        .filter(|arn| !arn.is_empty());
    let owed = |destination: &str, kind| Owed {
        format: Owed::FORMAT,
        destination: destination.to_owned(),
        function: state.function.clone(),
        trace_id: ending.trace_id().unwrap_or(&state.trace_id).to_owned(),
        kind,
        error_code: 0,
        error_message: String::new(),
        attempts: 0,
        refusal: None,
        parked: false,
    };
    let mut all = Vec::new();
    if let Some(arn) = named {
        let kind = if side == "OnSuccess" { Kind::OnSuccess } else { Kind::OnFailure };
        all.push((owed(arn, kind), ending.record(event, state, now)));
    }
    if let Some(arn) = dead_letters.filter(|arn| !arn.is_empty())
        && ending.end != End::Succeeded
    {
        let (error_code, error_message) = ending.dead_letter();
        let owed = Owed { error_code, error_message, ..owed(&arn, Kind::DeadLetter) };
        all.push((owed, event.body.clone()));
    }
    all
}

/// Stores what is owed. `None` for a destination that no queue can be named after.
pub fn put(
    owed: Owed,
    request_id: &str,
    body: Bytes,
    (now, expires): (Timestamp, Timestamp),
) -> Option<Step> {
    let lane = record::delivery_lane(&owed.destination)?;
    let message = NewMessage {
        state: owed.to_bytes(),
        expires: Some(expires),
        ..NewMessage::new(request_id, body, now)
    };
    Some(Step::Put(lane, message))
}
