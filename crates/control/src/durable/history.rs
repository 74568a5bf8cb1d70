//! The history of an execution: its facts, as far as they are events, as the service model names
//! them. Pure.

use super::facts::{End, Fact, Start, Text};
use super::machine::Machine;
use super::show::{PAGE_BYTES, marker, object, page_size, seconds};
use super::state::Detail;
use lamplight_rpc::{DurableError, ErrorObject, ExecutionPage};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub fn page(
    machine: &Machine,
    page: &ExecutionPage,
    data: bool,
) -> Result<Map<String, Value>, DurableError> {
    let from = marker(page.marker.as_deref())?;
    let told = told(machine);
    let max = page_size(page.max);
    let (mut events, mut bytes, mut next) = (Vec::new(), 0, None);
    for place in from..told.len() {
        let place_of = if page.reverse { told.len() - 1 - place } else { place };
        let Some((number, at, fact, attempt)) = told.get(place_of) else { break };
        bytes += if data { usize::try_from(fact.bytes()).unwrap_or(PAGE_BYTES) } else { 512 };
        if !events.is_empty() && (events.len() >= max || bytes > PAGE_BYTES) {
            next = Some(place.to_string());
            break;
        }
        let mut event = event(machine, (*at, fact, *attempt), data);
        event.insert("EventId".to_owned(), json!(number));
        event.insert("EventTimestamp".to_owned(), seconds(*at));
        events.push(Value::Object(event));
    }
    let mut shown = Map::new();
    shown.insert("Events".to_owned(), Value::Array(events));
    if let Some(next) = next {
        shown.insert("NextMarker".to_owned(), json!(next));
    }
    Ok(shown)
}

/// The facts that are events: number, time, fact, and the attempt of a step that it ended.
fn told(machine: &Machine) -> Vec<(usize, i64, &Fact, u32)> {
    let mut attempts: HashMap<&Text, u32> = HashMap::new();
    let mut told = Vec::new();
    for (at, fact) in &machine.state.facts {
        let attempt = match fact {
            Fact::StepRetried { id, .. } | Fact::OperationEnded { id, .. } => {
                let attempt = attempts.entry(id).or_default();
                *attempt += 1;
                *attempt
            }
            Fact::PauseRequested { .. }
            | Fact::PauseCancelled { .. }
            | Fact::StepReady { .. }
            | Fact::Heartbeat { .. } => continue,
            _ => 0,
        };
        told.push((told.len() + 1, *at, fact, attempt));
    }
    told
}

fn event(
    machine: &Machine,
    (at, fact, attempt): (i64, &Fact, u32),
    data: bool,
) -> Map<String, Value> {
    let text = |text: &Option<Text>| {
        object(json!({ "Payload": text.as_ref().filter(|_| data), "Truncated": !data }))
    };
    let error = |error: &Option<ErrorObject>| {
        object(json!({ "Payload": error.as_ref().filter(|_| data), "Truncated": !data }))
    };
    let operation = |id: &Text| machine.state.operation(id);
    let kind = |id: &Text| operation(id).map_or("", |operation| kind_word(&operation.detail));
    let mut about = None;
    let (name, details) = match fact {
        Fact::ExecutionStarted { input } => {
            let details = json!({ "Input": text(input), "ExecutionTimeout": machine.head.timeout });
            ("ExecutionStarted".to_owned(), details)
        }
        Fact::ExecutionEnded { end, result, error: e } => {
            let details = match end {
                End::Succeeded => json!({ "Result": text(result) }),
                // AWS: says no more.
                End::TimedOut => json!({}),
                _ => json!({ "Error": error(e) }),
            };
            (format!("Execution{}", end_word(*end)), details)
        }
        Fact::Paused => {
            let request = pause_before(machine, at);
            ("ExecutionPaused".to_owned(), paused(request, data))
        }
        Fact::Resumed { reason, .. } => {
            let reason = reason.as_ref().map(|reason| text(&Some(reason.clone())));
            let details = json!({ "ResumeRequestTimestamp": seconds(at), "Reason": reason });
            ("ExecutionResumed".to_owned(), details)
        }
        Fact::OperationStarted { id, start, .. } => {
            about = operation(id);
            let details = started(machine, (at, id), start, &text);
            (format!("{}Started", kind(id)), details)
        }
        Fact::StepStarted { id } => {
            about = operation(id);
            ("StepStarted".to_owned(), json!({}))
        }
        Fact::StepRetried { id, result, error: e, delay } => {
            about = operation(id);
            let retry = json!({ "CurrentAttempt": attempt, "NextAttemptDelaySeconds": delay });
            // AWS: an attempt that leaves a result, as those of a condition do, has succeeded.
            match e {
                Some(_) => {
                    let details = json!({ "Error": error(e), "RetryDetails": retry });
                    ("StepFailed".to_owned(), details)
                }
                None => {
                    let details = json!({ "Result": text(result), "RetryDetails": retry });
                    ("StepSucceeded".to_owned(), details)
                }
            }
        }
        Fact::OperationEnded { id, end, result, error: e, .. } => {
            about = operation(id);
            let wait = match about.map(|operation| (&operation.detail, operation.started)) {
                Some((Detail::Wait { until }, started)) => Some((until - started) / 1000),
                _ => None,
            };
            let step = about.is_some_and(|op| matches!(op.detail, Detail::Step { .. }));
            let retry = step.then(|| json!({ "CurrentAttempt": attempt }));
            let details = match (wait, end) {
                (Some(_), End::Cancelled) => json!({}),
                (Some(duration), _) => json!({ "Duration": duration }),
                (None, End::Succeeded) => json!({ "Result": text(result), "RetryDetails": retry }),
                (None, _) => json!({ "Error": error(e), "RetryDetails": retry }),
            };
            (format!("{}{}", kind(id), end_word(*end)), details)
        }
        Fact::InvocationCompleted { started, request_id, error: e, .. } => {
            let details = json!({
                "StartTimestamp": seconds(*started),
                "EndTimestamp": seconds(at),
                "RequestId": request_id,
                "Error": e.as_ref().map(|_| error(e)),
            });
            ("InvocationCompleted".to_owned(), details)
        }
        // Not told; see `told`.
        Fact::PauseRequested { .. }
        | Fact::PauseCancelled { .. }
        | Fact::StepReady { .. }
        | Fact::Heartbeat { .. } => (String::new(), json!({})),
    };
    let of_execution = name.starts_with("Execution");
    let event = json!({
        "EventType": name,
        "SubType": about.and_then(|operation| operation.sub_type.clone()),
        "Id": about.map(|operation| operation.id.clone())
            .or_else(|| of_execution.then(|| machine.arn.id.clone())),
        "Name": about.map(|operation| operation.name.clone())
            .unwrap_or_else(|| of_execution.then(|| machine.arn.name.clone())),
        "ParentId": about.and_then(|operation| operation.parent.clone()),
        format!("{name}Details"): object(details),
    });
    match object(event) {
        Value::Object(event) => event,
        _ => Map::new(),
    }
}

fn kind_word(detail: &Detail) -> &'static str {
    match detail {
        Detail::Context { .. } => "Context",
        Detail::Step { .. } => "Step",
        Detail::Wait { .. } => "Wait",
        Detail::Callback { .. } => "Callback",
        Detail::ChainedInvoke(_) => "ChainedInvoke",
    }
}

fn end_word(end: End) -> &'static str {
    match end {
        End::Succeeded => "Succeeded",
        End::Failed => "Failed",
        End::Cancelled => "Cancelled",
        End::TimedOut => "TimedOut",
        End::Stopped => "Stopped",
    }
}

fn started(
    machine: &Machine,
    (at, id): (i64, &Text),
    start: &Start,
    text: &dyn Fn(&Option<Text>) -> Value,
) -> Value {
    let some = |seconds: u32| (seconds > 0).then_some(seconds);
    match start {
        Start::Context | Start::Step => json!({}),
        Start::Wait { seconds: duration } => json!({
            "Duration": duration,
            "ScheduledEndTimestamp": seconds(at + i64::from(*duration) * 1000),
        }),
        Start::Callback { timeout, heartbeat } => object(json!({
            "CallbackId": machine.callback_id(id),
            "Timeout": some(*timeout),
            "HeartbeatTimeout": some(*heartbeat),
        })),
        Start::ChainedInvoke { function, input, version, execution, .. } => object(json!({
            "FunctionName": function,
            "Input": input.as_ref().map(|input| text(&Some(input.clone()))),
            "ExecutedVersion": version,
            "DurableExecutionArn": execution,
        })),
    }
}

/// The request that the pause of the time `at` followed.
fn pause_before(machine: &Machine, at: i64) -> Option<(i64, Option<Text>, bool)> {
    let facts = machine.state.facts.iter().rev().filter(|(when, _)| *when <= at);
    facts.into_iter().find_map(|(when, fact)| match fact {
        Fact::PauseRequested { reason, timeout_paused, .. } => {
            Some((*when, reason.clone(), *timeout_paused))
        }
        _ => None,
    })
}

fn paused(request: Option<(i64, Option<Text>, bool)>, data: bool) -> Value {
    let (requested, reason, timeout_paused) = request.unwrap_or_default();
    let reason = reason
        .map(|reason| object(json!({ "Payload": data.then_some(reason), "Truncated": !data })));
    object(json!({
        "PauseRequestTimestamp": seconds(requested),
        "Reason": reason,
        "ExecutionTimeoutPaused": timeout_paused,
    }))
}
