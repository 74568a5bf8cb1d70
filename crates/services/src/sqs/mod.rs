//! SQS: message queues, standard and FIFO.
//!
//! `settings` and `message` decide what a queue and a message may be; `queues` answers about
//! queues, which are documents; `sending`, `receiving` and `settling` work on messages, which are
//! in the durable queue that all of the server shares; `moves` takes dead letters back.
//!
//! Invariants: a message that was answered for is on the disk; it is deleted by who received it, by
//! its age or by a purge, and by nothing else. A queue made anew under a name has nothing of its
//! namesake. Texts of refusals are AWS's. Absent: encryption, quotas of requests, and the minute that
//! AWS makes callers wait after a deletion or between purges.

mod batch;
mod message;
mod moves;
mod name;
mod permissions;
mod queues;
mod receiving;
mod sending;
mod settings;
mod settling;

pub use message::{content_id, sendable};
pub use moves::source_of_task;
pub use name::{QueueName, queue_arn};
pub use sending::Delivery;

use crate::iam::Caller;
use lamplight_env::{Env, Timestamp};
use lamplight_model::Scope;
use lamplight_rpc::Documents;
use lamplight_store::{Key, Queue, StoreError};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

/// The operations answered here, by their model names.
pub const OPERATIONS: &[&str] = &[
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "DeleteMessage",
    "DeleteMessageBatch",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SendMessageBatch",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];

/// SQS of this server.
pub struct Sqs {
    documents: Arc<dyn Documents>,
    messages: Arc<dyn Queue>,
    env: Env,
    /// Names queues of which a message was given back or a group was freed.
    freed: broadcast::Sender<Key>,
    /// The ids of tasks that somebody works on.
    moving: Mutex<BTreeSet<String>>,
}

/// Who asks, and by what address of the server.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub caller: &'a Caller,
    pub scope: &'a Scope,
    /// What URLs of queues begin with: `http://127.0.0.1:9000`.
    pub base: &'a str,
}

/// One call, as operations see it.
struct Call<'a> {
    sqs: &'a Sqs,
    asked: Asked<'a>,
    input: &'a Map<String, Value>,
}

impl Sqs {
    pub fn new(documents: Arc<dyn Documents>, messages: Arc<dyn Queue>, env: Env) -> Arc<Self> {
        let (freed, _) = broadcast::channel(64);
        Arc::new(Self { documents, messages, env, freed, moving: Mutex::default() })
    }

    /// Answers `operation`. Errors: `InvalidAction` for an operation not in [`OPERATIONS`].
    pub async fn call(
        self: &Arc<Self>,
        operation: &str,
        asked: Asked<'_>,
        input: &Map<String, Value>,
    ) -> Result<Output, ApiError> {
        let call = &Call { sqs: self, asked, input };
        match operation {
            "CreateQueue" => queues::create(call).await,
            "DeleteQueue" => queues::delete(call).await,
            "PurgeQueue" => queues::purge(call).await,
            "GetQueueUrl" => queues::url(call),
            "ListQueues" => queues::list(call),
            "ListDeadLetterSourceQueues" => queues::list_sources(call),
            "GetQueueAttributes" => queues::attributes(call).await,
            "SetQueueAttributes" => queues::set_attributes(call).await,
            "TagQueue" => queues::tag(call).await,
            "UntagQueue" => queues::untag(call).await,
            "ListQueueTags" => queues::tags(call),
            "AddPermission" => permissions::add(call).await,
            "RemovePermission" => permissions::remove(call).await,
            "SendMessage" => sending::send(call).await,
            "SendMessageBatch" => sending::send_batch(call).await,
            "ReceiveMessage" => receiving::receive(call).await,
            "DeleteMessage" => settling::delete(call).await,
            "DeleteMessageBatch" => settling::delete_batch(call).await,
            "ChangeMessageVisibility" => settling::change_visibility(call).await,
            "ChangeMessageVisibilityBatch" => settling::change_visibility_batch(call).await,
            "StartMessageMoveTask" => moves::start(self, call).await,
            "CancelMessageMoveTask" => moves::cancel(self, call).await,
            "ListMessageMoveTasks" => moves::list(self, call),
            other => Err(ApiError::new(
                "InvalidAction",
                format!("The action {other} is not valid for this endpoint."),
            )),
        }
    }

    fn now(&self) -> Timestamp {
        self.env.clock.now()
    }
}

impl Call<'_> {
    fn text(&self, member: &str) -> Option<&str> {
        self.input.get(member).and_then(Value::as_str)
    }

    fn required(&self, member: &str) -> Result<&str, ApiError> {
        self.text(member).filter(|text| !text.is_empty()).ok_or_else(|| missing(member))
    }

    /// A whole number that may be absent.
    fn number(
        &self,
        member: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<u32>, ApiError> {
        let Some(given) = self.input.get(member).and_then(Value::as_i64) else { return Ok(None) };
        if !range.contains(&given) {
            let (least, most) = (range.start(), range.end());
            let reason = match member {
                "MaxNumberOfMessages" => {
                    format!("Must be between {least} and {most}, if provided.")
                }
                _ => format!("Must be >= {least} and <= {most}, if provided."),
            };
            return Err(invalid_value(format!(
                "Value {given} for parameter {member} is invalid. Reason: {reason}"
            )));
        }
        Ok(u32::try_from(given).ok())
    }

    fn scope(&self) -> &Scope {
        self.asked.scope
    }

    fn url(&self, name: &QueueName) -> String {
        name.url(self.asked.base, self.asked.scope)
    }
}

fn missing(parameter: &str) -> ApiError {
    ApiError::new(
        "MissingParameter",
        format!("The request must contain the parameter {parameter}."),
    )
}

fn invalid_value(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", message)
}

fn invalid_attribute_name(name: &str) -> ApiError {
    ApiError::new("InvalidAttributeName", format!("Unknown Attribute {name}."))
}

fn invalid_attribute_value(name: &str) -> ApiError {
    ApiError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

fn invalid_contents() -> ApiError {
    ApiError::new(
        "InvalidMessageContents",
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | \
         #xE000 to #xFFFD | #x10000 to #x10FFFF",
    )
}

fn no_queue() -> ApiError {
    ApiError::new("QueueDoesNotExist", "The specified queue does not exist.")
}

fn store_failed(error: StoreError) -> ApiError {
    match error {
        StoreError::Unavailable(_) | StoreError::Failed(_) => {
            tracing::error!(%error, "a queue could not be read or written");
            ApiError::new("ServiceUnavailable", "The queue could not be reached. Please try again.")
                .with_status(503)
        }
        other => ApiError::internal(other),
    }
}
