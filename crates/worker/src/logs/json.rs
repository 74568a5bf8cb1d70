//! The platform's lines of `LogFormat: JSON`: the events of AWS's Telemetry API, one a line.

use super::level::Level;
use super::platform::{Event, Report, Span, Status, millis};
use crate::telemetry::Dialect;
use lamplight_env::Timestamp;
use serde_json::{Value, json};

/// The line for an event and how grave it is. `None` where this format says nothing: the end and
/// the timeout of a call are told by its report.
pub fn line(event: &Event<'_>, at: Timestamp) -> Option<(Level, String)> {
    let (level, kind, record) = describe(event)?;
    let line = json!({ "time": super::iso_millis(at), "type": kind, "record": record });
    Some((level, line.to_string()))
}

/// The event's type and record, as the Telemetry API has them. AWS: there a call has its trace, in
/// a log only where it is traced.
pub fn record(event: &Event<'_>) -> Option<(&'static str, Value)> {
    let (_, kind, mut record) = describe(event)?;
    if let Some(trace) = event.trace() {
        record["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": trace });
    }
    Some((kind, record))
}

/// AWS: the level of each event, and that it is WARN when something did not go well.
fn describe(event: &Event<'_>) -> Option<(Level, &'static str, Value)> {
    Some(match event {
        Event::InitStart { init, identity } => (
            // AWS: an image has no version to tell of.
            if identity.runtime_version.is_empty() { Level::Debug } else { Level::Info },
            "platform.initStart",
            json!({
                "initializationType": init.kind,
                "phase": init.phase,
                "runtimeVersion": identity.runtime_version,
                "runtimeVersionArn": identity.runtime_version_arn,
                "functionName": identity.function,
                "functionVersion": identity.version,
                "instanceId": identity.instance,
                "instanceMaxMemory": u64::from(identity.memory_mb) * 1024 * 1024,
            }),
        ),
        Event::InitRuntimeDone { init, status } => {
            let record = json!({ "initializationType": init.kind, "phase": init.phase });
            let record = with_status(record, status);
            (grave(status, Level::Debug), "platform.initRuntimeDone", record)
        }
        Event::Extension { name, state, events, error_type } => {
            let mut record = json!({ "name": name, "state": state, "events": events });
            if let Some(error_type) = error_type {
                record["errorType"] = json!(error_type);
            }
            (Level::Info, "platform.extension", record)
        }
        Event::InitReport { init, duration, status } => {
            let record = json!({ "initializationType": init.kind, "phase": init.phase });
            let mut record = with_status(record, status);
            record["metrics"] = json!({ "durationMs": rounded(millis(*duration)) });
            let level = if init.kind == "on-demand" { Level::Debug } else { Level::Info };
            (grave(status, level), "platform.initReport", record)
        }
        Event::Start { request_id, version, tenant, .. } => {
            let record = json!({ "requestId": request_id, "version": version });
            (Level::Info, "platform.start", with_tenant(record, *tenant))
        }
        Event::RuntimeDone { request_id, produced, report } => {
            let mut record = with_status(json!({ "requestId": request_id }), &report.status);
            let duration = rounded(millis(report.duration));
            record["metrics"] = json!({ "durationMs": duration, "producedBytes": produced });
            let record = with_spans(record, &report.spans);
            let record = with_tenant(record, report.tenant.as_deref());
            (grave(&report.status, Level::Debug), "platform.runtimeDone", record)
        }
        Event::Report { request_id, report } => {
            let record = json!({ "requestId": request_id, "metrics": metrics(report) });
            let record = with_status(record, &report.status);
            let record = with_spans(record, &report.spans);
            let record = with_tenant(record, report.tenant.as_deref());
            (grave(&report.status, Level::Info), "platform.report", record)
        }
        Event::LogsDropped { bytes } => (
            Level::Warn,
            "platform.logsDropped",
            json!({ "reason": "A call logged more than is kept.", "droppedBytes": bytes }),
        ),
        Event::Subscribed { dialect, name, types } => {
            let kind = match dialect {
                Dialect::Logs => "platform.logsSubscription",
                Dialect::Telemetry => "platform.telemetrySubscription",
            };
            let record = json!({ "name": name, "state": "Subscribed", "types": types });
            (Level::Info, kind, record)
        }
        Event::SubscriberDropped { records, bytes } => (
            Level::Warn,
            "platform.logsDropped",
            json!({
                // AWS: these words.
                "reason": "Some logs were dropped because the downstream consumer is slower than the logs production rate",
                "droppedRecords": records,
                "droppedBytes": bytes,
            }),
        ),
        Event::TimedOut { .. } | Event::End { .. } => return None,
    })
}

/// AWS: the events of a call say whose it is.
fn with_tenant(mut record: Value, tenant: Option<&str>) -> Value {
    if let Some(tenant) = tenant {
        record["tenantId"] = json!(tenant);
    }
    record
}

fn with_spans(mut record: Value, spans: &[Span]) -> Value {
    let written = |span: &Span| {
        json!({
            "name": span.name,
            "start": super::iso_millis(span.start),
            "durationMs": rounded(millis(span.duration)),
        })
    };
    if !spans.is_empty() {
        record["spans"] = spans.iter().map(written).collect();
    }
    record
}

fn grave(status: &Status, otherwise: Level) -> Level {
    if *status == Status::Success { otherwise } else { Level::Warn }
}

fn with_status(mut record: Value, status: &Status) -> Value {
    record["status"] = json!(match status {
        Status::Success => "success",
        Status::Error(_) => "error",
        Status::Timeout => "timeout",
    });
    if let Status::Error(error_type) = status {
        record["errorType"] = json!(error_type);
    }
    record
}

fn metrics(report: &Report) -> Value {
    // AWS: functions with several calls at once are told of the duration alone.
    if report.beside {
        return json!({ "durationMs": rounded(millis(report.duration)) });
    }
    let mut metrics = json!({
        "durationMs": rounded(millis(report.duration)),
        "billedDurationMs": report.billed_ms(),
        "memorySizeMB": report.memory_mb,
    });
    if let Some(used) = report.max_memory_used_mb() {
        metrics["maxMemoryUsedMB"] = json!(used);
    }
    if let Some(init) = report.init {
        metrics["initDurationMs"] = json!(rounded(millis(init)));
    }
    metrics
}

/// To microseconds.
fn rounded(millis: f64) -> f64 {
    (millis * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::Init;
    use super::*;
    use std::time::Duration;

    const INIT: Init<'_> = Init { kind: "on-demand", phase: "init" };

    fn written(event: Event<'_>) -> (Level, Value) {
        let (level, line) = line(&event, Timestamp::from_millis(1_795_000_000_000)).unwrap();
        (level, serde_json::from_str(&line).unwrap())
    }

    fn report(status: Status) -> Report {
        Report {
            duration: Duration::from_micros(101_514),
            init: Some(Duration::from_micros(116_670)),
            memory_mb: 512,
            max_memory_used_bytes: Some(33 * 1024 * 1024),
            status,
            ..Report::default()
        }
    }

    #[test]
    fn a_report_is_a_telemetry_event() {
        let good = report(Status::Success);
        let (level, event) = written(Event::Report { request_id: "79b4", report: &good });
        assert_eq!(level, Level::Info);
        let expected = json!({
            "time": "2026-11-18T11:06:40.000Z",
            "type": "platform.report",
            "record": {
                "requestId": "79b4",
                "metrics": {
                    "durationMs": 101.514,
                    "billedDurationMs": 219,
                    "memorySizeMB": 512,
                    "maxMemoryUsedMB": 33,
                    "initDurationMs": 116.67,
                },
                "status": "success",
            },
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn the_events_of_a_call_say_whose_it_is() {
        let report = Report { tenant: Some("blue".into()), ..report(Status::Success) };
        for event in [
            Event::Start { request_id: "79b4", version: "1", trace: None, tenant: Some("blue") },
            Event::RuntimeDone { request_id: "79b4", produced: 0, report: &report },
            Event::Report { request_id: "79b4", report: &report },
        ] {
            assert_eq!(written(event).1["record"]["tenantId"], "blue");
        }
    }

    #[test]
    fn what_did_not_go_well_is_a_warning() {
        let bad = report(Status::Error("Runtime.ExitError".into()));
        for event in [
            Event::Report { request_id: "79b4", report: &bad },
            Event::RuntimeDone { request_id: "79b4", produced: 0, report: &bad },
            Event::InitRuntimeDone { init: INIT, status: &bad.status },
            Event::InitReport { init: INIT, duration: Duration::ZERO, status: &bad.status },
        ] {
            let (level, event) = written(event);
            assert_eq!(level, Level::Warn, "{event}");
            assert_eq!(event["record"]["status"], "error");
            assert_eq!(event["record"]["errorType"], "Runtime.ExitError");
        }
        let late = report(Status::Timeout);
        let done = Event::RuntimeDone { request_id: "79b4", produced: 7, report: &late };
        let record = &written(done).1["record"];
        assert_eq!(record["status"], "timeout");
        assert_eq!(record["metrics"], json!({ "durationMs": 101.514, "producedBytes": 7 }));
    }

    #[test]
    fn how_an_initialisation_went_is_news_where_no_call_waited_for_it() {
        let report = |kind| {
            let init = Init { kind, phase: "init" };
            let duration = Duration::ZERO;
            written(Event::InitReport { init, duration, status: &Status::Success }).0
        };
        assert_eq!(report("on-demand"), Level::Debug);
        for kind in ["provisioned-concurrency", "lambda-managed-instances"] {
            assert_eq!(report(kind), Level::Info);
        }
    }

    #[test]
    fn of_several_calls_the_duration_alone_is_told() {
        let report = Report { beside: true, ..report(Status::Success) };
        let event = written(Event::Report { request_id: "79b4", report: &report }).1;
        assert_eq!(event["record"]["metrics"], json!({ "durationMs": 101.514 }));
    }

    #[test]
    fn details_are_for_debugging() {
        let good = report(Status::Success);
        let done = Event::RuntimeDone { request_id: "79b4", produced: 0, report: &good };
        assert_eq!(written(done).0, Level::Debug);
        assert_eq!(
            written(Event::InitRuntimeDone { init: INIT, status: &good.status }).0,
            Level::Debug
        );
    }
}
