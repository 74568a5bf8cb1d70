//! Which messages a subscription wants.

use super::invalid;
use super::message::Message;
use lamplight_model::event_pattern::EventPattern;
use lamplight_wire::ApiError;
use serde_json::{Map, Value};

/// AWS: names in one filter policy.
const MOST_NAMES: usize = 5;
/// AWS: bytes of a filter policy.
const LONGEST: usize = 256 * 1024;

/// Reads and checks a filter policy; in the scope of attributes there is nothing below a name.
pub(super) fn parse(text: &str, of_body: bool) -> Result<EventPattern, ApiError> {
    let refuse = |reason: &str| invalid(&format!("Attributes Reason: FilterPolicy: {reason}"));
    if text.len() > LONGEST {
        return Err(refuse("Filter policy is too large"));
    }
    let pattern = EventPattern::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if pattern.names().len() > MOST_NAMES {
        return Err(refuse("Filter policy can not have more than 5 keys"));
    }
    if !of_body && pattern.is_nested() {
        return Err(refuse(
            "Filter policy scope MessageAttributes does not support nested filter policy",
        ));
    }
    Ok(pattern)
}

pub(super) fn wants(pattern: &EventPattern, of_body: bool, message: &Message) -> bool {
    if of_body {
        // AWS: a message that is no JSON is nobody's who filters by its body.
        return serde_json::from_str(&message.message).is_ok_and(|body| pattern.matches(&body));
    }
    let members: Map<String, Value> = message
        .attributes
        .iter()
        .filter_map(|(name, attribute)| Some((name.clone(), attribute.for_filters()?)))
        .collect();
    pattern.matches(&Value::Object(members))
}
