//! Durable executions as the frontend sees them.

use async_trait::async_trait;
use lamplight_model::{AccountId, DurableSettings, FunctionArn, Qualifier, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// An execution. Displays as its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionArn {
    pub function: FunctionArn,
    /// `$LATEST` or a version: every invocation of an execution runs it.
    pub version: Qualifier,
    pub name: Arc<str>,
    /// Unique among all executions.
    pub id: Arc<str>,
}

impl ExecutionArn {
    /// `None` for what is no such ARN.
    pub fn parse(text: &str) -> Option<Self> {
        let (function, rest) = text.split_once("/durable-execution/")?;
        let (name, id) = rest.split_once('/')?;
        let parts: Vec<&str> = function.split(':').collect();
        let ["arn", _, "lambda", region, account, "function", function, version] = parts[..] else {
            return None;
        };
        let version = match Qualifier::parse(version) {
            Qualifier::Alias(_) => return None,
            version => version,
        };
        let scope = Scope { account: AccountId::new(account)?, region: region.into() };
        let function = FunctionArn::new(&scope, function);
        Some(Self { function, version, name: name.into(), id: id.into() })
    }

    /// With the version.
    pub fn function_arn(&self) -> String {
        self.function.qualified(&self.version)
    }
}

impl fmt::Display for ExecutionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, version, name, id } = self;
        write!(f, "{function}:{version}/durable-execution/{name}/{id}")
    }
}

/// AWS: an `ErrorObject`, in whose form it is serialised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorObject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_data: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_trace: Option<Arc<[Arc<str>]>>,
}

impl ErrorObject {
    /// Lines of a stack trace that are kept.
    pub const LINES: usize = 1000;
    /// What a line takes in memory besides its text, bytes.
    const LINE: usize = 64;

    /// Reads the form of the model. What is not of its shape is left out.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |value: &Value| Some(Arc::from(value.as_str()?));
        let members = value.as_object()?;
        let member = |name: &str| members.get(name).and_then(text);
        let lines = |lines: &Value| {
            Some(lines.as_array()?.iter().filter_map(text).take(Self::LINES).collect())
        };
        Some(Self {
            error_message: member("ErrorMessage"),
            error_type: member("ErrorType"),
            error_data: member("ErrorData"),
            stack_trace: members.get("StackTrace").and_then(lines),
        })
    }

    pub fn new(error_type: &str, message: impl Into<Arc<str>>) -> Self {
        let error_type = Some(error_type.into());
        Self { error_message: Some(message.into()), error_type, ..Self::default() }
    }

    /// Of its texts, and of the lines that they are on: many empty ones are large, too.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let lines = self.stack_trace.iter().flat_map(|lines| lines.iter());
        text(&self.error_message)
            + text(&self.error_type)
            + text(&self.error_data)
            + lines.map(|line| line.len() + Self::LINE).sum::<usize>()
    }

    /// The same in `most` bytes, if need be with less of it: the message is what people read.
    pub fn cut(mut self, most: usize) -> Self {
        /// Of a type, bytes.
        const TYPE: usize = 256;
        if self.bytes() > most {
            self.stack_trace = None;
        }
        if self.bytes() > most {
            self.error_data = None;
        }
        if self.bytes() > most {
            self.error_type = self.error_type.map(|text| begin(&text, TYPE.min(most)));
            let rest = most - self.error_type.as_ref().map_or(0, |text| text.len());
            self.error_message = self.error_message.map(|text| begin(&text, rest));
        }
        self
    }
}

/// The first of a text, `most` bytes or the characters that fit in them.
fn begin(text: &Arc<str>, most: usize) -> Arc<str> {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().into()
}

/// What starts an execution.
#[derive(Debug, Clone)]
pub struct NewExecution {
    pub function: FunctionArn,
    /// `$LATEST` or a version.
    pub version: Qualifier,
    /// A new one is made up where none is given.
    pub name: Option<String>,
    /// JSON.
    pub input: Option<Arc<str>>,
    /// Whether somebody waits for the result, which may then be larger.
    pub synchronous: bool,
    pub trace_id: Option<String>,
    /// Whom every invocation is for, where the function isolates tenants.
    pub tenant: Option<String>,
    pub settings: DurableSettings,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub succeeded: bool,
    pub result: Option<Arc<str>>,
    pub error: Option<ErrorObject>,
}

/// Which executions a listing has.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    pub version: Option<Qualifier>,
    pub name: Option<String>,
    /// Any, where empty.
    pub statuses: Vec<String>,
    /// Milliseconds since the epoch.
    pub started_after: Option<i64>,
    pub started_before: Option<i64>,
}

/// Which part of a listing.
#[derive(Debug, Clone, Default)]
pub struct ExecutionPage {
    pub marker: Option<String>,
    pub max: usize,
    /// AWS: the other way round than is natural for what is listed.
    pub reverse: bool,
}

/// What becomes of a callback.
#[derive(Debug, Clone)]
pub enum CallbackAnswer {
    Success(Option<Arc<str>>),
    Failure(Option<ErrorObject>),
    Heartbeat,
}

/// A request to hold an execution, or to let it go on.
#[derive(Debug, Clone, Default)]
pub struct PauseRequest {
    pub client_token: Option<String>,
    pub reason: Option<Arc<str>>,
    /// Of a pause: whether the timeout of the execution waits, too.
    pub timeout_paused: bool,
}

/// A refusal; each variant is one of AWS's errors, its text for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurableError {
    #[error("{0}")]
    Invalid(String),
    #[error("Durable Execution does not exist")]
    NotFound,
    #[error("{0}")]
    Conflict(String),
    #[error("Execution already started: {0}")]
    AlreadyStarted(String),
    #[error("The callback is either timed out or already completed")]
    CallbackClosed,
    /// So much is going on that this has to wait.
    #[error("Rate Exceeded.")]
    Throttled,
    /// The store cannot be reached: nothing was changed, the caller may try again.
    #[error("{0}")]
    Unavailable(String),
}

/// Durable executions. Members of answers are named as in the service model.
#[async_trait]
pub trait DurableExecutions: Send + Sync {
    /// Durable once it returns. The one of that name where it is the same.
    async fn start(&self, new: NewExecution) -> Result<ExecutionArn, DurableError>;

    /// Resolves when the execution has ended.
    async fn finished(&self, arn: &ExecutionArn) -> Result<Finished, DurableError>;

    /// `updates` are as the model has them.
    async fn checkpoint(
        &self,
        arn: &ExecutionArn,
        token: &str,
        client_token: Option<String>,
        updates: Vec<Value>,
    ) -> Result<Map<String, Value>, DurableError>;

    /// The state of an execution for the invocation that has `token`.
    async fn state(
        &self,
        arn: &ExecutionArn,
        token: &str,
        page: ExecutionPage,
    ) -> Result<Map<String, Value>, DurableError>;

    async fn get(&self, arn: &ExecutionArn, data: bool)
    -> Result<Map<String, Value>, DurableError>;

    async fn history(
        &self,
        arn: &ExecutionArn,
        page: ExecutionPage,
        data: bool,
    ) -> Result<Map<String, Value>, DurableError>;

    fn list(
        &self,
        function: &FunctionArn,
        filter: &ExecutionFilter,
        page: &ExecutionPage,
    ) -> Result<Map<String, Value>, DurableError>;

    /// When it ended, in milliseconds since the epoch.
    async fn stop(
        &self,
        arn: &ExecutionArn,
        error: Option<ErrorObject>,
    ) -> Result<i64, DurableError>;

    async fn pause(&self, arn: &ExecutionArn, request: PauseRequest) -> Result<(), DurableError>;

    async fn resume(&self, arn: &ExecutionArn, request: PauseRequest) -> Result<(), DurableError>;

    async fn delete(&self, arn: &ExecutionArn) -> Result<(), DurableError>;

    /// `scope` is the caller's.
    async fn callback(
        &self,
        scope: &Scope,
        id: &str,
        answer: CallbackAnswer,
    ) -> Result<(), DurableError>;

    /// Whose callback it is, where that can be read from it.
    fn callback_arn(&self, id: &str) -> Option<ExecutionArn>;

    /// Ends and removes all executions of a function that is gone.
    async fn forget(&self, function: &FunctionArn) -> Result<(), DurableError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_are_read_in_the_shape_of_the_model_only() {
        let read = ErrorObject::read(&json!({ "ErrorMessage": "m", "StackTrace": ["a", 1, "b"] }));
        let error = read.unwrap();
        let written = serde_json::to_value(&error).unwrap();
        assert_eq!(written, json!({ "ErrorMessage": "m", "StackTrace": ["a", "b"] }));
        assert_eq!(ErrorObject::read(&json!("text")), None);
    }

    #[test]
    fn lines_count_though_nothing_is_on_them() {
        let lines = vec![""; 5000];
        let error = ErrorObject::read(&json!({ "StackTrace": lines })).unwrap();
        assert_eq!(error.stack_trace.as_ref().unwrap().len(), ErrorObject::LINES);
        assert!(error.bytes() >= ErrorObject::LINES * 32);
    }

    #[test]
    fn what_is_cut_keeps_the_beginning_of_the_message() {
        let long: Arc<str> = "ä".repeat(500).into();
        let error = ErrorObject {
            error_message: Some(long.clone()),
            error_type: Some(long.clone()),
            error_data: Some(long.clone()),
            stack_trace: Some([long.clone()].into()),
        };
        assert_eq!(error.clone().cut(error.bytes()), error);
        let cut = error.clone().cut(3001);
        assert_eq!(cut, ErrorObject { stack_trace: None, ..error.clone() });
        let cut = error.clone().cut(401);
        assert_eq!(cut.error_message.as_deref(), Some(&*"ä".repeat(72)));
        for most in [0, 1, 255, 700, 1500] {
            assert!(error.clone().cut(most).bytes() <= most);
        }
    }

    #[test]
    fn arns_are_read_back_and_nothing_else_is() {
        let function = "arn:aws:lambda:us-east-1:000000000000:function:orders";
        for version in ["7", "$LATEST"] {
            let text = format!("{function}:{version}/durable-execution/one/0-1");
            assert_eq!(ExecutionArn::parse(&text).unwrap().to_string(), text);
        }
        for bad in
            ["", "/durable-execution/", "arn:aws:lambda:r:1:function:f:1/durable-execution/n/i"]
        {
            assert_eq!(ExecutionArn::parse(bad), None);
        }
        let aliased = format!("{function}:live/durable-execution/one/0-1");
        assert_eq!(ExecutionArn::parse(&aliased), None);
    }
}
