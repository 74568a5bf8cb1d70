//! What an operation answers with, before a dialect gives it bytes: an [`Output`] or an
//! [`ApiError`].

use bytes::Bytes;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Members of an operation's output shape by their model names; the dialect places them in status
/// code, headers and body. Members that are absent or null are not sent.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Output {
    pub members: Map<String, Value>,
    /// Bytes of the output's blob payload member (Invoke's `Payload`), sent as the body as they
    /// are.
    pub payload: Option<Bytes>,
    /// Overrides the model's status code (Event invokes answer 202, DryRun 204).
    pub status: Option<u16>,
    /// `X-Amzn-Trace-Id`, which no model names.
    pub trace_id: Option<String>,
}

impl Output {
    /// No members: an empty body, or `{}` where the dialect wants one.
    pub fn empty() -> Self {
        Self::default()
    }

    /// An output from anything that serialises to a JSON object with model member names. Anything
    /// that does not (a bug of the caller) becomes an internal error rather than a panic.
    pub fn of(value: impl serde::Serialize) -> Result<Self, ApiError> {
        match serde_json::to_value(value) {
            Ok(Value::Object(members)) => Ok(Self { members, ..Self::default() }),
            Ok(_) => Err(ApiError::internal("an answer was not an object")),
            Err(error) => Err(ApiError::internal(error)),
        }
    }
}

/// A refusal in AWS's terms. The model gives the status code of a modelled `code`; `status` is for
/// the framework errors that no model lists.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The error shape's name, e.g. `ResourceNotFoundException`.
    pub code: Cow<'static, str>,
    pub message: String,
    pub status: Option<u16>,
    /// Further members of the error shape (`Reason`, `retryAfterSeconds`, …). A null
    /// `Type` keeps the one that the model would add from being sent. Boxed to keep results small.
    pub members: Box<Map<String, Value>>,
}

impl ApiError {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status: None, members: Box::default() }
    }

    /// A fault of ours. The cause goes to the log and not to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error answered");
        Self::new("ServiceException", "An internal error occurred. Please try again.")
            .with_status(500)
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}
