//! One thing that happened, and how each schema tells of it.

use super::subscription::{Dialect, Schema, Subscription};
use crate::logs::{Event, Source, Status, iso_millis, record};
use lamplight_env::Timestamp;
use serde_json::{Value, json};

/// Kept as it is until it is known who is told of it.
#[derive(Debug, Clone)]
pub struct Happening {
    at: Timestamp,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Platform {
        telemetry: Option<(&'static str, Value)>,
        logs: Vec<(&'static str, Value)>,
    },
    Line {
        source: Source,
        text: String,
        /// The line as an object, where logs are JSON and it is one.
        object: Option<Value>,
    },
}

impl Happening {
    pub fn of(event: &Event<'_>, at: Timestamp) -> Self {
        Self { at, what: What::Platform { telemetry: record(event), logs: logs(event) } }
    }

    /// `json` says that the function logs JSON.
    pub fn line(source: Source, text: &str, json: bool, at: Timestamp) -> Self {
        let object = || serde_json::from_str(text).ok().filter(Value::is_object);
        let object = if json && text.starts_with('{') { object() } else { None };
        Self { at, what: What::Line { source, text: text.to_owned(), object } }
    }

    /// Whether it comes before lines when there is no room for all.
    pub fn matters(&self) -> bool {
        matches!(self.what, What::Platform { .. })
    }

    /// About what it takes to keep. Bytes.
    pub fn weight(&self) -> usize {
        match &self.what {
            What::Platform { .. } => 512,
            What::Line { text, .. } => 64 + 2 * text.len(),
        }
    }

    /// The event as this subscriber gets it, if it is to have it.
    pub fn told_to(&self, subscription: &Subscription) -> Option<String> {
        let (types, schema) = (subscription.types, subscription.schema);
        match &self.what {
            What::Line { source, text, object } => {
                let (kind, wanted) = match source {
                    Source::Function => ("function", types.function),
                    Source::Extension => ("extension", types.extension),
                };
                // AWS: JSON lines are objects since 2022-12-13, and strings before.
                let object = object.as_ref().filter(|_| schema >= Schema::Telemetry20221213);
                let line = object.cloned().unwrap_or_else(|| json!(text));
                wanted.then(|| self.written(kind, &line))
            }
            What::Platform { .. } if !types.platform => None,
            What::Platform { telemetry, .. } if schema.dialect() == Dialect::Telemetry => {
                telemetry.as_ref().map(|(kind, record)| self.written(kind, record))
            }
            What::Platform { logs, .. } => {
                let known = |kind: &str| schema > Schema::Logs20200815 || kind != RUNTIME_DONE;
                let told = logs.iter().filter(|(kind, _)| known(kind));
                let told: Vec<_> = told.map(|(kind, record)| self.written(kind, record)).collect();
                (!told.is_empty()).then(|| told.join(SEPARATOR))
            }
        }
    }

    fn written(&self, kind: &str, record: &Value) -> String {
        json!({ "time": iso_millis(self.at), "type": kind, "record": record }).to_string()
    }
}

/// Between events that belong together. What is written has no line breaks of its own.
pub const SEPARATOR: &str = "\n";

// AWS: came to the Logs API with its second version.
const RUNTIME_DONE: &str = "platform.runtimeDone";

/// What the Logs API tells of an event.
fn logs(event: &Event<'_>) -> Vec<(&'static str, Value)> {
    match event {
        Event::Start { request_id, version, .. } => {
            vec![("platform.start", json!({ "requestId": request_id, "version": version }))]
        }
        Event::End { request_id } => {
            vec![("platform.end", json!({ "requestId": request_id }))]
        }
        Event::RuntimeDone { request_id, report, .. } => {
            let status = match report.status {
                Status::Success => "success",
                Status::Error(_) => "failure",
                Status::Timeout => "timeout",
            };
            vec![(RUNTIME_DONE, json!({ "requestId": request_id, "status": status }))]
        }
        Event::Report { request_id, report } => {
            let telling = record(event).map(|(_, record)| record).unwrap_or_default();
            let metrics = json!({ "requestId": request_id, "metrics": telling["metrics"] });
            let mut told = vec![("platform.report", metrics)];
            if matches!(&report.status, Status::Error(kind) if kind == "Runtime.ExitError") {
                let text =
                    format!("RequestId: {request_id} Process exited before completing request");
                told.push(("platform.fault", json!(text)));
            }
            told
        }
        Event::Extension { .. }
        | Event::Subscribed { .. }
        | Event::SubscriberDropped { .. }
        | Event::LogsDropped { .. } => record(event).into_iter().collect(),
        Event::InitStart { .. }
        | Event::InitRuntimeDone { .. }
        | Event::InitReport { .. }
        | Event::TimedOut { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffering;
    use super::super::subscription::{To, Types};
    use super::*;
    use std::time::Duration;

    fn to(schema: Schema, types: &[&str]) -> Subscription {
        let has = |name: &str| types.contains(&name);
        Subscription {
            schema,
            types: Types {
                platform: has("platform"),
                function: has("function"),
                extension: has("extension"),
            },
            buffering: Buffering { items: 1, bytes: 1, time: Duration::ZERO },
            to: To::Tcp { port: 1 },
        }
    }

    fn told(happening: &Happening, schema: Schema, types: &[&str]) -> Vec<Value> {
        let told = happening.told_to(&to(schema, types)).unwrap_or_default();
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    const AT: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn json_lines_are_objects_where_the_schema_has_them() {
        let line = Happening::line(Source::Function, r#"{"level":"INFO"}"#, true, AT);
        let record = |schema| told(&line, schema, &["function"])[0]["record"].clone();
        assert_eq!(record(Schema::Telemetry20220701), json!(r#"{"level":"INFO"}"#));
        assert_eq!(record(Schema::Telemetry20221213), json!({ "level": "INFO" }));
        let text = Happening::line(Source::Extension, r#"{"level":"INFO"}"#, false, AT);
        let text = &told(&text, Schema::Telemetry20250129, &["extension"])[0];
        assert_eq!(
            *text,
            json!({ "time": "2026-11-18T11:06:40.000Z", "type": "extension", "record": r#"{"level":"INFO"}"# })
        );
        assert!(told(&line, Schema::Telemetry20221213, &["platform", "extension"]).is_empty());
    }

    #[test]
    fn each_dialect_has_its_own_events() {
        let end = Happening::of(&Event::End { request_id: "1" }, AT);
        assert!(told(&end, Schema::Telemetry20221213, &["platform"]).is_empty());
        assert_eq!(told(&end, Schema::Logs20200815, &["platform"])[0]["type"], "platform.end");
        assert!(told(&end, Schema::Logs20200815, &["function"]).is_empty());
        let report = &crate::logs::Report {
            duration: Duration::from_millis(2),
            status: Status::Error("Runtime.ExitError".into()),
            ..crate::logs::Report::default()
        };
        let done = Happening::of(&Event::RuntimeDone { request_id: "1", produced: 0, report }, AT);
        assert!(told(&done, Schema::Logs20200815, &["platform"]).is_empty());
        let telling = told(&done, Schema::Logs20210318, &["platform"]);
        assert_eq!(telling[0]["record"], json!({ "requestId": "1", "status": "failure" }));
        let report = Happening::of(&Event::Report { request_id: "1", report }, AT);
        let telling = told(&report, Schema::Logs20200815, &["platform"]);
        assert_eq!(telling[0]["record"]["metrics"]["durationMs"], 2.0);
        assert_eq!(telling[1]["type"], "platform.fault");
        let telling = told(&report, Schema::Telemetry20220701, &["platform"]);
        assert_eq!((telling.len(), &telling[0]["record"]["status"]), (1, &json!("error")));
    }
}
