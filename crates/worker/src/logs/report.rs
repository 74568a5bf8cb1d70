//! The lines that the platform itself writes, in AWS's exact shapes.

use std::fmt::Write as _;
use std::time::Duration;

/// How a call or an initialisation ended, as REPORT and INIT_REPORT say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Success,
    /// With the error's type, e.g. `Runtime.ExitError`.
    Error(String),
    Timeout,
}

/// What REPORT says of a call.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    pub request_id: &'a str,
    pub duration: Duration,
    /// Present on the first call of an environment.
    pub init: Option<Duration>,
    pub memory_mb: u32,
    pub max_memory_used_bytes: Option<u64>,
    pub status: Status,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// `version` is like `python:3.11.v7`, `arn` names this server's build of the runtime.
pub fn init_start(version: &str, arn: &str) -> String {
    format!("INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}")
}

/// AWS: only written when initialisation did not go well.
pub fn init_report(duration: Duration, status: &Status) -> String {
    let mut line = format!("INIT_REPORT Init Duration: {:.2} ms\tPhase: init", millis(duration));
    write_status(&mut line, status);
    line
}

pub fn start(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}")
}

pub fn end(request_id: &str) -> String {
    format!("END RequestId: {request_id}")
}

/// AWS: the tab at the end is part of the line.
pub fn report(report: &Report<'_>) -> String {
    let billed = report.duration + report.init.unwrap_or_default();
    let mut line = format!(
        "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB",
        report.request_id,
        millis(report.duration),
        // AWS: initialisation is billed for all functions since 2025-08-01.
        millis(billed).ceil() as u64,
        report.memory_mb,
    );
    // Not every machine can measure it, and a made-up figure would be worse than none.
    if let Some(bytes) = report.max_memory_used_bytes {
        let _ = write!(line, "\tMax Memory Used: {} MB", bytes.div_ceil(1024 * 1024));
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
    use super::*;

    fn sample(status: Status, init: Option<Duration>) -> String {
        report(&Report {
            request_id: "8f5c",
            duration: Duration::from_micros(9_690),
            init,
            memory_mb: 128,
            max_memory_used_bytes: Some(40 * 1024 * 1024),
            status,
        })
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
        assert_eq!(
            init_report(Duration::from_millis(1236), &Status::Timeout),
            "INIT_REPORT Init Duration: 1236.00 ms\tPhase: init\tStatus: timeout"
        );
    }
}
