//! Log events: putting, reading one stream either way, searching many.

use super::answers::{self, bad_token, constraint, invalid, refusal};
use super::streams::SEQUENCE_TOKEN;
use super::{Call, names, read};
use crate::logs::intake::{FUTURE, PAST, cut};
use crate::logs::pattern::FilterPattern;
use crate::logs::store::{Batch, Position, Query, Which};
use lamplight_env::Timestamp;
use lamplight_rpc::LogEvent;
use lamplight_wire::{ApiError, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const DAY: i64 = 86_400_000;
/// AWS: of a PutLogEvents request, and what each event counts beside its message.
const BATCH_BYTES: usize = 1_048_576;
const EVENT_BYTES: usize = 26;
const BATCH_EVENTS: usize = 10_000;
/// AWS: events of one page.
const PAGE_EVENTS: usize = 10_000;
/// The end of time, one before what a key's complement could not hold.
const FOREVER: i64 = i64::MAX - 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Put {
    log_group_name: Option<String>,
    #[serde(default)]
    log_stream_name: String,
    log_events: Vec<InputEvent>,
}

#[derive(Deserialize)]
struct InputEvent {
    timestamp: i64,
    message: String,
}

pub fn put(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Put = read(input)?;
    let name = names::group(&call.scope, input.log_group_name, None)?;
    let stream = names::stream(input.log_stream_name)?;
    check_batch(&input.log_events)?;
    let group = call.group(&name)?;
    group.require_stream(&stream).map_err(refusal)?;

    // In order of time, so those refused are at the ends.
    let before = |limit: i64| input.log_events.partition_point(|event| event.timestamp < limit);
    let kept_days = group.meta().retention_days;
    let too_old = before(call.now - PAST);
    let expired = kept_days.map_or(0, |days| before(call.now - i64::from(days) * DAY));
    let too_new = before(call.now + FUTURE + 1);
    let count = input.log_events.len();
    let mut rejected = Map::new();
    if too_old > 0 {
        rejected.insert("tooOldLogEventEndIndex".into(), too_old.into());
    }
    if expired > 0 {
        rejected.insert("expiredLogEventEndIndex".into(), expired.into());
    }
    if too_new < count {
        rejected.insert("tooNewLogEventStartIndex".into(), too_new.into());
    }
    let good = too_old.max(expired)..too_new;
    let events = input.log_events.into_iter().enumerate().filter(|(n, _)| good.contains(n));
    let events: Vec<LogEvent> = events
        .map(|(_, mut event)| {
            cut(&mut event.message);
            LogEvent { at: Timestamp::from_millis(event.timestamp), message: event.message }
        })
        .collect();
    if !events.is_empty() {
        let batch = Batch { stream: &stream, events: &events };
        group.append(&[batch], call.now).map_err(refusal)?;
    }
    let rejected = (!rejected.is_empty()).then_some(rejected);
    Output::of(json!({ "nextSequenceToken": SEQUENCE_TOKEN, "rejectedLogEventsInfo": rejected }))
}

fn check_batch(events: &[InputEvent]) -> Result<(), ApiError> {
    if !(1..=BATCH_EVENTS).contains(&events.len()) {
        let rule = "Member must have length between 1 and 10000, both included";
        return Err(constraint("logEvents", &format!("{} events", events.len()), rule));
    }
    let bytes: usize = events.iter().map(|event| event.message.len() + EVENT_BYTES).sum();
    if bytes > BATCH_BYTES {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES}"
        )));
    }
    for (n, event) in events.iter().enumerate() {
        if event.message.is_empty() {
            let member = format!("logEvents.{}.member.message", n + 1);
            let rule = "Member must have length greater than or equal to 1";
            return Err(constraint(&member, "", rule));
        }
        if event.timestamp < 0 {
            let member = format!("logEvents.{}.member.timestamp", n + 1);
            let rule = "Member must have value greater than or equal to 0";
            return Err(constraint(&member, &event.timestamp.to_string(), rule));
        }
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let span = events.first().zip(events.last()).map(|(a, b)| b.timestamp - a.timestamp);
    if span.is_some_and(|span| span > DAY) {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Get {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    #[serde(default)]
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<i64>,
    start_from_head: Option<bool>,
}

/// Tokens are `f/POSITION/s` for what comes after a position and `b/POSITION/s` for what comes
/// before it. AWS: the token that was given comes back where there is no more in its direction.
pub fn get(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Get = read(input)?;
    let limit = answers::limit(input.limit, PAGE_EVENTS)?;
    let name = names::group(&call.scope, input.log_group_name, input.log_group_identifier)?;
    let stream = names::stream(input.log_stream_name)?;
    let token = input.next_token.as_deref().map(direction).transpose()?;
    let backward = match token {
        Some((backward, _)) => backward,
        None => !input.start_from_head.unwrap_or(false),
    };
    let after = token.map(|(_, position)| position);
    let from = input.start_time.unwrap_or(0).max(0);
    // AWS: the end is not included here, unlike in FilterLogEvents.
    let until = input.end_time.map_or(FOREVER, |end| end.saturating_sub(1).min(FOREVER));
    let query =
        Query { streams: None, range: (from, until), after, backward, limit, wanted: &|_| true };
    let which = [stream];
    let page = call.group(&name)?.read(&Which::Named(&which), query, call.now).map_err(refusal)?;

    let mut events = page.events;
    if backward {
        events.reverse();
    }
    // Sequence numbers begin with 1: this is before the first event of the range.
    let here = after.unwrap_or(Position { at: from, seq: 0 });
    let (mut back, mut forth) = match backward {
        false => (Position { seq: here.seq.saturating_add(1), ..here }, here),
        true => (here, Position { seq: here.seq.saturating_sub(1), ..here }),
    };
    if let Some((first, last)) = events.first().zip(events.last()) {
        (back, forth) = (first.position, last.position);
    }
    if let Some(reached) = page.reached {
        *(if backward { &mut back } else { &mut forth }) = reached;
    }
    let events: Vec<_> = events
        .into_iter()
        .map(|event| {
            json!({
                "timestamp": event.position.at,
                "message": event.message,
                "ingestionTime": event.ingested,
            })
        })
        .collect();
    Output::of(json!({
        "events": events,
        "nextForwardToken": format!("f/{}/s", digits(forth)),
        "nextBackwardToken": format!("b/{}/s", digits(back)),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

/// A page may be empty and still have a token: then so much was searched without a match.
pub fn filter(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Filter = read(input)?;
    let limit = answers::limit(input.limit, PAGE_EVENTS)?;
    let name = names::group(&call.scope, input.log_group_name, input.log_group_identifier)?;
    let streams = input.log_stream_names.filter(|names| !names.is_empty());
    if streams.as_ref().is_some_and(|streams| streams.len() > 100) {
        let rule = "Member must have length less than or equal to 100";
        return Err(constraint("logStreamNames", "more than 100 names", rule));
    }
    let which = match (&streams, &input.log_stream_name_prefix) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "logStreamNamePrefix and logStreamNames are mutually exclusive parameters.",
            ));
        }
        (Some(names), None) => Which::Named(names),
        (None, Some(prefix)) => Which::Prefix(prefix),
        (None, None) => Which::All,
    };
    let pattern = FilterPattern::parse(input.filter_pattern.as_deref().unwrap_or_default())
        .map_err(|error| invalid(error.to_string()))?;
    let after = input.next_token.as_deref().map(position).transpose()?;
    let range = (input.start_time.unwrap_or(0).max(0), input.end_time.unwrap_or(FOREVER));
    let query = Query {
        streams: None,
        range: (range.0, range.1.min(FOREVER)),
        after,
        backward: false,
        limit,
        wanted: &|message| pattern.matches(message),
    };
    let page = call.group(&name)?.read(&which, query, call.now).map_err(refusal)?;
    let events: Vec<_> = page
        .events
        .into_iter()
        .map(|event| {
            json!({
                "logStreamName": &*event.stream,
                "timestamp": event.position.at,
                "message": event.message,
                "ingestionTime": event.ingested,
                "eventId": digits(event.position),
            })
        })
        .collect();
    Output::of(json!({
        "events": events,
        "searchedLogStreams": [],
        "nextToken": page.reached.map(digits),
    }))
}

/// 56 digits, as AWS's ids and tokens have them.
fn digits(position: Position) -> String {
    format!("{:020}{:036}", position.at.max(0), position.seq)
}

fn position(text: &str) -> Result<Position, ApiError> {
    let parts = text.split_at_checked(20).filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let parsed =
        parts.and_then(|(at, seq)| Some(Position { at: at.parse().ok()?, seq: seq.parse().ok()? }));
    parsed.ok_or_else(bad_token)
}

/// Whether a token points backward, and from where.
fn direction(token: &str) -> Result<(bool, Position), ApiError> {
    let digits = token.strip_suffix("/s").ok_or_else(bad_token)?;
    match digits.split_once('/') {
        Some(("f", digits)) => Ok((false, position(digits)?)),
        Some(("b", digits)) => Ok((true, position(digits)?)),
        _ => Err(bad_token()),
    }
}
