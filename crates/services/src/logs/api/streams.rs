//! Log streams: making, describing, deleting.

use super::answers::{self, constraint, invalid, refusal};
use super::{Call, names, read};
use crate::logs::store::StreamInfo;
use lamplight_wire::{ApiError, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What stands where AWS used to make writers take turns. AWS: tokens are answered still, and
/// ignored in requests.
pub const SEQUENCE_TOKEN: &str = "49039859627346018372935734293487298347298347298347298347";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    log_group_name: Option<String>,
    #[serde(default)]
    log_stream_name: String,
}

pub fn create(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Named = read(input)?;
    let group = names::group(&call.scope, input.log_group_name, None)?;
    let stream = names::stream(input.log_stream_name)?;
    call.group(&group)?.create_stream(&stream, call.now).map_err(refusal)?;
    Ok(Output::empty())
}

pub fn delete(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Named = read(input)?;
    let group = names::group(&call.scope, input.log_group_name, None)?;
    let stream = names::stream(input.log_stream_name)?;
    call.group(&group)?.delete_stream(&stream).map_err(refusal)?;
    Ok(Output::empty())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Describe {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: Option<bool>,
    next_token: Option<String>,
    limit: Option<i64>,
}

pub fn describe(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Describe = read(input)?;
    let limit = answers::limit(input.limit, 50)?;
    let name = names::group(&call.scope, input.log_group_name, input.log_group_identifier)?;
    let by_time = match input.order_by.as_deref() {
        None | Some("LogStreamName") => false,
        Some("LastEventTime") => true,
        Some(other) => {
            let rule = "Member must satisfy enum value set: [LogStreamName, LastEventTime]";
            return Err(constraint("orderBy", other, rule));
        }
    };
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    let after = input.next_token.as_deref().map(token).transpose()?;
    let descending = input.descending.unwrap_or(false);

    let mut streams = call.group(&name)?.streams(&prefix).map_err(refusal)?;
    // A place in the order: streams may come and go between two pages.
    let place = |stream: &StreamInfo| {
        let at = stream.seen.map(|seen| seen.last).filter(|_| by_time);
        (at.unwrap_or(0), stream.name.clone())
    };
    streams.sort_by_cached_key(place);
    if descending {
        streams.reverse();
    }
    if let Some((at, name)) = after {
        let after = (at, name.into());
        streams.retain(|stream| match descending {
            true => place(stream) < after,
            false => place(stream) > after,
        });
    }
    let more = streams.len() > limit;
    streams.truncate(limit);
    let next = streams.last().filter(|_| more).map(|stream| {
        let (at, name) = place(stream);
        format!("{at}:{name}")
    });
    let arn = names::arn(&call.scope, &name);
    let described: Vec<_> = streams.iter().map(|stream| description(&arn, stream)).collect();
    Output::of(json!({ "logStreams": described, "nextToken": next }))
}

fn token(text: &str) -> Result<(i64, &str), ApiError> {
    let place = text.split_once(':').and_then(|(at, name)| Some((at.parse().ok()?, name)));
    place.ok_or_else(answers::bad_token)
}

fn description(group_arn: &str, stream: &StreamInfo) -> Value {
    let mut out = json!({
        "logStreamName": &*stream.name,
        "creationTime": stream.created,
        "arn": format!("{group_arn}:log-stream:{}", stream.name),
        // AWS: always 0 since 2019; the group's figure is the real one.
        "storedBytes": 0,
        "uploadSequenceToken": SEQUENCE_TOKEN,
    });
    if let Some(seen) = stream.seen {
        out["firstEventTimestamp"] = seen.first.into();
        out["lastEventTimestamp"] = seen.last.into();
        out["lastIngestionTime"] = seen.ingested.into();
    }
    out
}
