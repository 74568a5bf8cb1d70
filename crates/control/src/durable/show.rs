//! Executions and their operations as the service model names them. Pure.

use super::checkpoint::kind_of;
use super::facts::{End, Text};
use super::machine::Machine;
use super::state::{Detail, Operation, Status};
use super::tables::Head;
use lamplight_rpc::{DurableError, ErrorObject, ExecutionArn};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// AWS: items of a page where nothing is said, and at most.
pub const PAGE: usize = 100;
pub const PAGE_MOST: usize = 1000;
/// Of texts in a page, so that it fits in an answer.
pub const PAGE_BYTES: usize = 5 * 1024 * 1024;

/// AWS: functions are told times in milliseconds, callers of the API in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Millis,
    Seconds,
}

impl Times {
    fn at(self, millis: i64) -> Value {
        match self {
            Self::Millis => json!(millis),
            Self::Seconds => seconds(millis),
        }
    }
}

pub fn seconds(millis: i64) -> Value {
    json!(millis as f64 / 1000.0)
}

/// A place in a listing.
pub fn marker(marker: Option<&str>) -> Result<usize, DurableError> {
    match marker.filter(|marker| !marker.is_empty()) {
        None => Ok(0),
        Some(marker) => {
            marker.parse().map_err(|_| DurableError::Invalid("Invalid Marker".to_owned()))
        }
    }
}

pub fn page_size(max: usize) -> usize {
    if max == 0 { PAGE } else { max.min(PAGE_MOST) }
}

/// Operations from the place `from` on, the execution itself being the first, and where to go on.
pub fn state(
    machine: &Machine,
    from: usize,
    max: usize,
    times: Times,
) -> (Vec<Value>, Option<String>) {
    let hidden = hidden(machine);
    let mut shown = Vec::new();
    let mut bytes = 0;
    if from == 0 {
        shown.push(execution_operation(machine, times));
        bytes += size(&machine.state.input);
    }
    let operations = machine.state.operations.iter().enumerate().skip(from.saturating_sub(1));
    for (at, operation) in operations {
        if hidden.contains(&operation.id) {
            continue;
        }
        bytes += bytes_of(operation);
        if !shown.is_empty() && (bytes > PAGE_BYTES || shown.len() >= max) {
            return (shown, Some((at + 1).to_string()));
        }
        shown.push(self::operation(machine, operation, times));
    }
    (shown, None)
}

/// AWS: what is below a context that has ended need not be replayed, unless the context says so.
fn hidden(machine: &Machine) -> HashSet<&Text> {
    let mut hidden = HashSet::new();
    // Parents start before their children.
    for operation in &machine.state.operations {
        let Some(parent) = &operation.parent else { continue };
        let closed = machine.state.operation(parent).is_some_and(|parent| {
            !parent.is_open() && !matches!(parent.detail, Detail::Context { replay_children: true })
        });
        if closed || hidden.contains(parent) {
            hidden.insert(&operation.id);
        }
    }
    hidden
}

/// Operations that changed after the change `seen`, as many as fit in an answer, and the last change
/// among them.
pub fn changes(machine: &Machine, seen: u64) -> (Vec<Value>, u64) {
    let operations = machine.state.operations.iter();
    let mut changed: Vec<&Operation> = operations.filter(|op| op.touched > seen).collect();
    changed.sort_by_key(|operation| operation.touched);
    let (mut shown, mut last, mut bytes) = (Vec::new(), seen, 0);
    for operation in changed {
        bytes += bytes_of(operation);
        if !shown.is_empty() && bytes > PAGE_BYTES {
            break;
        }
        shown.push(self::operation(machine, operation, Times::Seconds));
        last = operation.touched;
    }
    (shown, last)
}

fn size(text: &Option<Text>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
}

fn bytes_of(operation: &Operation) -> usize {
    let error = operation.error.as_ref().map_or(0, ErrorObject::bytes);
    512 + size(&operation.result) + error
}

/// An object without what is null.
pub fn object(value: Value) -> Value {
    match value {
        Value::Object(mut members) => {
            members.retain(|_, value| !value.is_null());
            Value::Object(members)
        }
        other => other,
    }
}

fn execution_operation(machine: &Machine, times: Times) -> Value {
    let outcome = machine.state.outcome.as_ref();
    object(json!({
        "Id": machine.arn.id,
        "Name": machine.arn.name,
        "Type": "EXECUTION",
        "StartTimestamp": times.at(machine.state.started),
        "EndTimestamp": outcome.map(|outcome| times.at(outcome.at)),
        "Status": outcome.map_or("STARTED", |outcome| end_name(outcome.end)),
        "ExecutionDetails": object(json!({ "InputPayload": machine.state.input })),
    }))
}

fn operation(machine: &Machine, operation: &Operation, times: Times) -> Value {
    let (result, error) = (&operation.result, &operation.error);
    let (name, details) = match &operation.detail {
        Detail::Context { replay_children } => {
            let replay = (!operation.is_open() && *replay_children).then_some(true);
            let details = json!({ "ReplayChildren": replay, "Result": result, "Error": error });
            ("ContextDetails", details)
        }
        Detail::Step { attempt, next } => {
            let next = next.map(|next| times.at(next));
            let details = json!({
                "Attempt": attempt, "NextAttemptTimestamp": next, "Result": result, "Error": error,
            });
            ("StepDetails", details)
        }
        Detail::Wait { until } => {
            ("WaitDetails", json!({ "ScheduledEndTimestamp": times.at(*until) }))
        }
        Detail::Callback { .. } => {
            let id = machine.callback_id(&operation.id);
            ("CallbackDetails", json!({ "CallbackId": id, "Result": result, "Error": error }))
        }
        Detail::ChainedInvoke(_) => {
            ("ChainedInvokeDetails", json!({ "Result": result, "Error": error }))
        }
    };
    object(json!({
        "Id": operation.id,
        "ParentId": operation.parent,
        "Name": operation.name,
        "Type": kind_of(operation).name(),
        "SubType": operation.sub_type,
        "StartTimestamp": times.at(operation.started),
        "EndTimestamp": operation.ended.map(|ended| times.at(ended)),
        "Status": match operation.status {
            Status::Started => "STARTED",
            Status::Pending => "PENDING",
            Status::Ready => "READY",
            Status::Ended(end) => end_name(end),
        },
        name: object(details),
    }))
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Succeeded => "SUCCEEDED",
        End::Failed => "FAILED",
        End::Cancelled => "CANCELLED",
        End::TimedOut => "TIMED_OUT",
        End::Stopped => "STOPPED",
    }
}

/// As it is listed.
pub fn summary(arn: &ExecutionArn, head: &Head) -> Value {
    object(json!({
        "DurableExecutionArn": arn.to_string(),
        "DurableExecutionName": arn.name,
        "FunctionArn": arn.function_arn(),
        "Status": head.status.name(),
        "StartTimestamp": seconds(head.started),
        "EndTimestamp": head.ended.map(seconds),
    }))
}

pub fn execution(machine: &Machine, data: bool) -> Map<String, Value> {
    let Machine { arn, head, state, .. } = machine;
    let outcome = state.outcome.as_ref();
    let error = outcome.and_then(|outcome| outcome.error.as_ref());
    let pause = state.pause.as_ref().map(|pause| {
        object(json!({
            "PauseRequestTimestamp": seconds(pause.requested),
            "Reason": pause.reason.as_ref().filter(|_| data),
            "ExecutionTimeoutPaused": pause.timeout_paused,
        }))
    });
    let mut shown = summary(arn, head);
    if let Value::Object(shown) = &mut shown {
        let more = json!({
            "Version": arn.version.to_string(),
            "DurableConfig": {
                "ExecutionTimeout": head.timeout,
                "RetentionPeriodInDays": head.retention_days,
            },
            "TraceHeader": head.trace.as_ref().map(|trace| json!({ "XAmznTraceId": trace })),
            "InputPayload": state.input.as_ref().filter(|_| data),
            "Result": outcome.and_then(|outcome| outcome.result.as_ref()).filter(|_| data),
            "Error": error.filter(|_| data),
            "ExecutionDataIncluded": data,
            "PauseDetails": pause,
            "ExpectedExecutionTimeoutTimestamp":
                outcome.is_none().then(|| seconds(state.timeout_at(head.timeout))),
        });
        if let Value::Object(more) = object(more) {
            shown.extend(more);
        }
    }
    match shown {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}
