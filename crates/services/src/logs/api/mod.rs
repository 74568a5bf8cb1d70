//! AWS's operations over the store.
//!
//! Every operation runs on a thread that may wait for the disk; those that read first wait until
//! the events accepted before them are in their files. Inputs arrive with the model's member names
//! and are checked again here, because names become file names.

mod answers;
mod events;
mod groups;
mod names;
mod streams;
mod tags;
#[cfg(test)]
mod tests;

pub use names::group_arn;

use super::intake::Intake;
use super::store::{Group, LogsError, Store};
use lamplight_env::Env;
use lamplight_model::Scope;
use lamplight_rpc::{LogEvent, LogSink};
use lamplight_wire::{ApiError, Output};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

type Handler = fn(&Call, Map<String, Value>) -> Result<Output, ApiError>;

const HANDLERS: &[(&str, Handler)] = &[
    ("CreateLogGroup", groups::create),
    ("CreateLogStream", streams::create),
    ("DeleteLogGroup", groups::delete),
    ("DeleteLogStream", streams::delete),
    ("DeleteRetentionPolicy", groups::delete_retention),
    ("DescribeLogGroups", groups::describe),
    ("DescribeLogStreams", streams::describe),
    ("FilterLogEvents", events::filter),
    ("GetLogEvents", events::get),
    ("ListTagsForResource", tags::list),
    ("ListTagsLogGroup", tags::list),
    ("PutLogEvents", events::put),
    ("PutRetentionPolicy", groups::put_retention),
    ("TagLogGroup", tags::tag),
    ("TagResource", tags::tag),
    ("UntagLogGroup", tags::untag),
    ("UntagResource", tags::untag),
];

/// The operations answered here, by their model names.
pub const OPERATIONS: &[&str] = &{
    let mut names = [""; HANDLERS.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = HANDLERS[n].0;
        n += 1;
    }
    names
};

/// CloudWatch Logs of this server.
pub struct Logs {
    intake: Arc<Intake>,
    env: Env,
}

/// One operation under way.
struct Call {
    intake: Arc<Intake>,
    scope: Scope,
    /// Unix ms.
    now: i64,
}

impl Logs {
    /// Opens the logs under `dir`, making it where it is not there, and starts the tasks that
    /// write and tidy up; needs a tokio runtime. They end with `env.tasks`, after everything that
    /// was appended is on disk.
    pub fn open(dir: &Path, env: Env) -> Result<Arc<Self>, LogsError> {
        let intake = Intake::start(Store::open(dir)?, env.clone());
        Ok(Arc::new(Self { intake, env }))
    }

    /// Answers `operation` with model member names in and out. Errors are AWS's, with
    /// `ServiceUnavailableException` where the disk failed and `UnknownOperationException` for
    /// what is not in [`OPERATIONS`].
    pub async fn call(
        &self,
        operation: &str,
        scope: &Scope,
        input: Map<String, Value>,
    ) -> Result<Output, ApiError> {
        let found = HANDLERS.iter().find(|(name, _)| *name == operation);
        let Some((_, handler)) = found.copied() else {
            return Err(ApiError::new("UnknownOperationException", "").with_status(400));
        };
        self.settle().await;
        let now = self.env.clock.now().millis().max(0);
        let call = Call { intake: self.intake.clone(), scope: scope.clone(), now };
        let answer = self.env.tasks.spawn_blocking(move || handler(&call, input)).await;
        answer.map_err(ApiError::internal)?
    }

    /// Waits until what was appended before is in its files, where a crash of this process (not of
    /// the machine) no longer loses it; at most five seconds.
    pub async fn settle(&self) {
        self.intake.settle().await;
    }
}

#[async_trait::async_trait]
impl LogSink for Logs {
    fn append(&self, scope: &Scope, group: &str, stream: &str, events: Vec<LogEvent>) {
        if names::is_group(group) && names::is_stream(stream) {
            self.intake.push(scope, group, stream, events);
        } else {
            tracing::warn!(group, stream, "log events for a name that cannot be are dropped");
        }
    }

    async fn settle(&self) {
        Self::settle(self).await;
    }
}

impl Call {
    /// A group that is there.
    fn group(&self, name: &str) -> Result<Arc<Group>, ApiError> {
        self.intake.store.group(&self.scope, name).map_err(answers::refusal)
    }
}

/// The members of an operation's input that are of interest.
fn read<T: DeserializeOwned>(input: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(input)).map_err(|error| {
        ApiError::new("SerializationException", error.to_string()).with_status(400)
    })
}
