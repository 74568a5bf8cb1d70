//! The platform's lines of `LogFormat: Text`, in AWS's exact shapes.

use super::platform::{Event, Report, Status, millis};
use crate::telemetry::Dialect;
use lamplight_env::Timestamp;
use lamplight_model::limits;
use std::fmt::Write as _;

/// The line for an event. `None` where this format says nothing.
pub fn line(event: &Event<'_>, at: Timestamp) -> Option<String> {
    Some(match event {
        // AWS: written once, also when initialisation is done again within a call.
        Event::InitStart { init, .. } if init.phase != "init" => return None,
        Event::InitStart { identity, .. } => format!(
            "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
            identity.runtime_version, identity.runtime_version_arn
        ),
        // AWS: on demand only written when initialisation did not go well.
        Event::InitReport { status: Status::Success, init, .. } if init.kind == "on-demand" => {
            return None;
        }
        Event::InitReport { init, duration, status } => {
            let (took, phase) = (millis(*duration), init.phase);
            let mut line = format!("INIT_REPORT Init Duration: {took:.2} ms\tPhase: {phase}");
            write_status(&mut line, status);
            line
        }
        Event::Extension { name, state, events, error_type } => {
            let events = events.join(", ");
            let mut line = format!("EXTENSION\tName: {name}\tState: {state}\tEvents: [{events}]");
            if let Some(error_type) = error_type {
                let _ = write!(line, "\tError Type: {error_type}");
            }
            line
        }
        Event::Start { request_id, version, .. } => {
            format!("START RequestId: {request_id} Version: {version}")
        }
        Event::TimedOut { request_id, timeout } => format!(
            "{} {request_id} Task timed out after {:.2} seconds",
            super::iso_millis(at),
            timeout.as_secs_f64()
        ),
        Event::End { request_id } => format!("END RequestId: {request_id}"),
        Event::Report { request_id, report } => report_line(request_id, report),
        Event::LogsDropped { bytes } => format!(
            "[{bytes} bytes of log were dropped: a call may log {} bytes]",
            limits::LOG_PER_CALL
        ),
        Event::Subscribed { dialect, name, types } => {
            let api = match dialect {
                Dialect::Logs => "LOGS",
                Dialect::Telemetry => "TELEMETRY",
            };
            let types: Vec<_> = types.iter().map(|name| capitalised(name)).collect();
            format!("{api}\tName: {name}\tState: Subscribed\tTypes: [{}]", types.join(", "))
        }
        Event::SubscriberDropped { .. } => return None,
        Event::InitRuntimeDone { .. } | Event::RuntimeDone { .. } => return None,
    })
}

fn capitalised(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

/// AWS: the tab at the end is part of the line.
fn report_line(request_id: &str, report: &Report) -> String {
    let mut line = format!(
        "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB",
        millis(report.duration),
        report.billed_ms(),
        report.memory_mb,
    );
    if let Some(used) = report.max_memory_used_mb() {
        let _ = write!(line, "\tMax Memory Used: {used} MB");
    }
    if let Some(init) = report.init {
        let _ = write!(line, "\tInit Duration: {:.2} ms", millis(init));
    }
    write_status(&mut line, &report.status);
    line.push('\t');
    line
}

fn write_status(line: &mut String, status: &Status) {
    match status {
        Status::Success => {}
        Status::Error(error_type) => {
            let _ = write!(line, "\tStatus: error\tError Type: {error_type}");
        }
        Status::Timeout => line.push_str("\tStatus: timeout"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Init;
    use super::*;
    use std::time::Duration;

    fn written(event: Event<'_>) -> Option<String> {
        line(&event, Timestamp::from_millis(1_795_000_000_000))
    }

    fn sample(status: Status, init: Option<Duration>) -> String {
        let report = Report {
            duration: Duration::from_micros(9_690),
            init,
            memory_mb: 128,
            max_memory_used_bytes: Some(40 * 1024 * 1024),
            status,
            ..Report::default()
        };
        written(Event::Report { request_id: "8f5c", report: &report }).unwrap()
    }

    #[test]
    fn report_is_as_recorded() {
        assert_eq!(
            sample(Status::Success, Some(Duration::from_micros(111_230))),
            "REPORT RequestId: 8f5c\tDuration: 9.69 ms\tBilled Duration: 121 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 111.23 ms\t"
        );
        assert!(sample(Status::Timeout, None).ends_with("40 MB\tStatus: timeout\t"));
        assert!(
            sample(Status::Error("Runtime.ExitError".into()), None)
                .ends_with("Status: error\tError Type: Runtime.ExitError\t")
        );
    }

    #[test]
    fn an_initialisation_is_reported_when_it_failed() {
        let report = |status: &Status| {
            let init = Init { kind: "on-demand", phase: "init" };
            written(Event::InitReport { init, duration: Duration::from_millis(1236), status })
        };
        assert_eq!(
            report(&Status::Timeout).unwrap(),
            "INIT_REPORT Init Duration: 1236.00 ms\tPhase: init\tStatus: timeout"
        );
        assert_eq!(report(&Status::Success), None);
    }

    #[test]
    fn extensions_are_listed_with_what_they_wait_for() {
        let written = |events, error_type| {
            written(Event::Extension { name: "spy", state: "Ready", events, error_type }).unwrap()
        };
        assert_eq!(
            written(&["INVOKE", "SHUTDOWN"], None),
            "EXTENSION\tName: spy\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"
        );
        assert!(written(&[], Some("Spy.Bad")).ends_with("Events: []\tError Type: Spy.Bad"));
    }

    #[test]
    fn subscriptions_are_listed() {
        let event =
            |dialect| Event::Subscribed { dialect, name: "spy", types: &["platform", "function"] };
        assert_eq!(
            written(event(Dialect::Telemetry)).unwrap(),
            "TELEMETRY\tName: spy\tState: Subscribed\tTypes: [Platform, Function]"
        );
        assert!(written(event(Dialect::Logs)).unwrap().starts_with("LOGS\tName: spy\t"));
    }

    #[test]
    fn an_initialisation_ahead_of_calls_is_reported_always() {
        let init = Init { kind: "provisioned-concurrency", phase: "init" };
        let duration = Duration::from_millis(20);
        assert_eq!(
            written(Event::InitReport { init, duration, status: &Status::Success }).unwrap(),
            "INIT_REPORT Init Duration: 20.00 ms\tPhase: init"
        );
    }

    #[test]
    fn a_timeout_has_a_line_of_its_own() {
        let event = Event::TimedOut { request_id: "8f5c", timeout: Duration::from_secs(3) };
        assert_eq!(
            written(event).unwrap(),
            "2026-11-18T11:06:40.000Z 8f5c Task timed out after 3.00 seconds"
        );
    }
}
