//! What callers are told when a function's process fails: AWS's payloads, to the letter.

use super::external;
use super::process::NotStarted;
use super::programs::{Ended, Who};
use bytes::Bytes;
use lamplight_sandbox::Exit;
use std::time::Duration;

/// A failed call: what the caller gets and what REPORT calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub payload: Bytes,
    pub error_type: String,
}

fn failure(error_type: &str, message: String) -> Failure {
    let payload = serde_json::json!({ "errorType": error_type, "errorMessage": message });
    Failure { payload: payload.to_string().into(), error_type: error_type.to_owned() }
}

/// The runtime, or an extension, ended without an answer; `error_type` says who is to blame.
pub fn exited(request_id: &str, ended: &Ended, error_type: &str) -> Failure {
    let how = match ended.exit {
        Exit::Code(0) | Exit::Lost => None,
        Exit::Code(code) => Some(format!("exit status {code}")),
        Exit::Signal(signal) => Some(format!("signal: {}", name(signal))),
    };
    let reason = match (&ended.who, how) {
        (Who::Runtime, None) => "Runtime exited without providing a reason".to_owned(),
        (Who::Runtime, Some(how)) => format!("Runtime exited with error: {how}"),
        (Who::Extension(_), None) => "exit code 0".to_owned(),
        (Who::Extension(_), Some(how)) => how,
    };
    failure(error_type, format!("RequestId: {request_id} Error: {reason}"))
}

/// The words that AWS's supervisor has for signals.
fn name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

pub fn timed_out(request_id: &str, timeout: Duration) -> Failure {
    let seconds = timeout.as_secs_f64();
    failure(
        "Sandbox.Timedout",
        format!("RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds"),
    )
}

/// `limit` is in bytes.
pub fn too_large(limit: usize) -> Failure {
    failure(
        "Function.ResponseSizeTooLarge",
        format!("Response payload size exceeded maximum allowed payload size ({limit} bytes)."),
    )
}

/// A streamed response ended before its end, and the runtime did not.
pub fn truncated(request_id: &str) -> Failure {
    failure(
        "Runtime.TruncatedResponse",
        format!("RequestId: {request_id} Error: The response broke off before its end"),
    )
}

/// The package has nothing to run, or nothing that this machine can run.
pub fn not_started(request_id: &str, why: &NotStarted) -> Failure {
    let reason = match why {
        NotStarted::NoEntrypoint | NotStarted::Ended => {
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned()
        }
        NotStarted::Refused { errno } => {
            format!("fork/exec /var/task/bootstrap: {}", text(*errno))
        }
        NotStarted::Pausing(pausing) => format!(
            "Initialisation failed {} times in a row. It is tried again once a second.",
            pausing.times
        ),
        NotStarted::TooManyExtensions => "ErrTooManyExtensions".to_owned(),
        NotStarted::Extension { name, errno } => {
            format!("fork/exec {}/{name}: {}", external::DIRECTORY, text(*errno))
        }
    };
    failure(why.error_type(), format!("RequestId: {request_id} Error: {reason}"))
}

/// As AWS's supervisor says it.
fn text(errno: i32) -> String {
    let error = std::io::Error::from_raw_os_error(errno).to_string();
    error.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::limits;

    fn text(failure: Failure) -> serde_json::Value {
        serde_json::from_slice(&failure.payload).unwrap()
    }

    fn exited(who: Who, exit: Exit) -> serde_json::Value {
        text(super::exited("id", &Ended { who, exit }, "Runtime.ExitError"))
    }

    #[test]
    fn an_extension_takes_its_function_along() {
        let spy = || Who::Extension("spy".into());
        assert_eq!(
            exited(spy(), Exit::Code(0))["errorMessage"],
            "RequestId: id Error: exit code 0"
        );
        assert_eq!(
            exited(spy(), Exit::Code(7))["errorMessage"],
            "RequestId: id Error: exit status 7"
        );
        assert_eq!(
            text(not_started("id", &NotStarted::Extension { name: "spy".into(), errno: 13 })),
            serde_json::json!({
                "errorType": "Extension.LaunchError",
                "errorMessage": "RequestId: id Error: fork/exec /opt/extensions/spy: permission denied",
            })
        );
    }

    #[test]
    fn payloads_are_as_recorded() {
        assert_eq!(
            exited(Who::Runtime, Exit::Code(127))["errorMessage"],
            "RequestId: id Error: Runtime exited with error: exit status 127"
        );
        assert_eq!(
            exited(Who::Runtime, Exit::Signal(9))["errorMessage"],
            "RequestId: id Error: Runtime exited with error: signal: killed"
        );
        assert_eq!(
            exited(Who::Runtime, Exit::Code(0))["errorMessage"],
            "RequestId: id Error: Runtime exited without providing a reason"
        );
        assert_eq!(
            text(timed_out("id", Duration::from_secs(1))),
            serde_json::json!({
                "errorType": "Sandbox.Timedout",
                "errorMessage": "RequestId: id Error: Task timed out after 1.00 seconds",
            })
        );
        assert_eq!(
            text(not_started("id", &NotStarted::Refused { errno: 8 }))["errorMessage"],
            "RequestId: id Error: fork/exec /var/task/bootstrap: exec format error"
        );
        assert_eq!(
            text(too_large(limits::RESPONSE_PAYLOAD))["errorMessage"],
            "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
        );
    }
}
