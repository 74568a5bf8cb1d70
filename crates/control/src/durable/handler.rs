//! What the handler of a durable function answers an invocation with. Pure.

use super::checkpoint::PAYLOAD;
use super::facts::{End, Text};
use lamplight_rpc::ErrorObject;
use serde_json::Value;

pub enum Handler {
    Ended { end: End, result: Option<Text>, error: Option<ErrorObject> },
    Pending,
    Failed(Option<ErrorObject>),
}

pub fn invalid_output(message: &str) -> ErrorObject {
    ErrorObject::new("InvalidParameterValueException", message)
}

/// Reads `{"Status": …, "Result": …, "Error": …}`.
pub fn handler_answer(answer: &Result<Vec<u8>, ErrorObject>, limit: usize) -> Handler {
    let bytes = match answer {
        Ok(bytes) => bytes,
        Err(error) => return Handler::Failed(Some(error.clone().cut(PAYLOAD))),
    };
    // AWS: what cannot be understood is the end, since the handler would only say it again.
    let wrong = |message: &str| {
        let error = Some(invalid_output(message));
        Handler::Ended { end: End::Failed, result: None, error }
    };
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let result: Option<Text> = answer["Result"].as_str().map(Into::into);
    let error = ErrorObject::read(&answer["Error"]);
    match answer["Status"].as_str() {
        _ if error.as_ref().is_some_and(|error| error.bytes() > PAYLOAD) => {
            wrong(&format!("Error object size must be less than {PAYLOAD} bytes."))
        }
        Some("SUCCEEDED") if error.is_some() => {
            wrong("Cannot provide an Error for SUCCEEDED status.")
        }
        Some("SUCCEEDED") if result.as_ref().is_some_and(|result| result.len() > limit) => wrong(
            &format!("Execution output payload size must be less than or equal to {limit} bytes."),
        ),
        Some("SUCCEEDED") => Handler::Ended { end: End::Succeeded, result, error: None },
        Some("FAILED") if result.is_some() => wrong("Cannot provide a Result for FAILED status."),
        Some("FAILED") => Handler::Ended { end: End::Failed, result: None, error },
        Some("PENDING") => Handler::Pending,
        Some("RETRY") => Handler::Failed(error),
        _ => wrong("Invalid Status in invocation output."),
    }
}
