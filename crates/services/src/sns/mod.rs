//! SNS: topics, and what is subscribed to them.
//!
//! `topics` and `subscriptions` answer about what is kept as documents; `message` decides what may
//! be published; `publishing` finds whom it is for and puts a delivery for each into the durable
//! queue before it answers; `delivering` works them off.
//!
//! Invariants: a message that was answered for reaches every subscription that wanted it at that
//! moment, or its dead letter queue, or is given up with a line in the server's log after the retries
//! that AWS makes. SQS queues have the message the moment its publisher has an answer. Texts of
//! refusals are AWS's. Absent: mail, phones and mobile applications, signatures of messages,
//! archives and their replay, encryption.

mod delivering;
mod filter;
mod message;
mod name;
mod permissions;
mod publishing;
mod subscriptions;
mod topics;

pub use name::{TopicName, topic_arn};
pub use publishing::Internal;

use crate::iam::Caller;
use crate::sqs::Sqs;
use lamplight_env::Env;
use lamplight_model::Scope;
use lamplight_rpc::{Documents, EventQueue, Grants, Web};
use lamplight_store::{Queue, StoreError};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// AWS: how SNS is called in policies.
pub const SNS: &str = "sns.amazonaws.com";

/// The operations answered here, by their model names.
pub const OPERATIONS: &[&str] = &[
    "AddPermission",
    "ConfirmSubscription",
    "CreateTopic",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "ListTopics",
    "Publish",
    "PublishBatch",
    "PutDataProtectionPolicy",
    "RemovePermission",
    "SetSubscriptionAttributes",
    "SetTopicAttributes",
    "Subscribe",
    "TagResource",
    "Unsubscribe",
    "UntagResource",
];

/// What SNS works with.
pub struct Around {
    pub documents: Arc<dyn Documents>,
    pub queue: Arc<dyn Queue>,
    pub sqs: Arc<Sqs>,
    pub events: Arc<dyn EventQueue>,
    pub grants: Arc<dyn Grants>,
    pub web: Arc<dyn Web>,
    pub env: Env,
    /// The server's own address, for links in messages: `http://127.0.0.1:9000`.
    pub base: String,
}

/// SNS of this server.
pub struct Sns {
    around: Around,
    /// Of the last message that was published in order.
    sequence: AtomicI64,
}

/// One call, as operations see it.
struct Call<'a> {
    sns: &'a Sns,
    caller: &'a Caller,
    scope: &'a Scope,
    input: &'a Map<String, Value>,
}

impl Sns {
    pub fn new(around: Around) -> Arc<Self> {
        Arc::new(Self { around, sequence: AtomicI64::new(0) })
    }

    /// Starts the tasks that deliver, once functions can be called; needs a tokio runtime. They end
    /// with the tasks of what is around.
    pub fn start(self: &Arc<Self>) {
        delivering::start(self);
    }

    /// Answers `operation`. Errors: `InvalidAction` for an operation not in [`OPERATIONS`].
    pub async fn call(
        &self,
        operation: &str,
        (caller, scope): (&Caller, &Scope),
        input: &Map<String, Value>,
    ) -> Result<Output, ApiError> {
        let call = &Call { sns: self, caller, scope, input };
        match operation {
            "CreateTopic" => topics::create(call).await,
            "DeleteTopic" => topics::delete(call).await,
            "ListTopics" => topics::list(call),
            "GetTopicAttributes" => topics::attributes(call),
            "SetTopicAttributes" => topics::set_attribute(call).await,
            "TagResource" => topics::tag(call).await,
            "UntagResource" => topics::untag(call).await,
            "ListTagsForResource" => topics::tags(call),
            "GetDataProtectionPolicy" => topics::data_protection(call),
            "PutDataProtectionPolicy" => topics::set_data_protection(call).await,
            "AddPermission" => permissions::add(call).await,
            "RemovePermission" => permissions::remove(call).await,
            "Subscribe" => subscriptions::subscribe(call).await,
            "ConfirmSubscription" => subscriptions::confirm(call).await,
            "Unsubscribe" => subscriptions::unsubscribe(call).await,
            "ListSubscriptions" => subscriptions::list(call),
            "ListSubscriptionsByTopic" => subscriptions::list_of_topic(call),
            "GetSubscriptionAttributes" => subscriptions::attributes(call),
            "SetSubscriptionAttributes" => subscriptions::set_attribute(call).await,
            "Publish" => publishing::publish(call).await,
            "PublishBatch" => publishing::publish_batch(call).await,
            other => Err(ApiError::new(
                "InvalidAction",
                format!("The action {other} is not valid for this endpoint."),
            )),
        }
    }
}

impl Call<'_> {
    fn text(&self, member: &str) -> Option<&str> {
        self.input.get(member).and_then(Value::as_str)
    }

    fn required(&self, member: &str) -> Result<&str, ApiError> {
        self.text(member).filter(|text| !text.is_empty()).ok_or_else(|| invalid(member))
    }

    fn map(&self, member: &str) -> Map<String, Value> {
        self.input.get(member).and_then(Value::as_object).cloned().unwrap_or_default()
    }
}

/// AWS: the refusal of a parameter names it, and most of the time nothing else.
fn invalid(parameter: &str) -> ApiError {
    ApiError::new("InvalidParameterException", format!("Invalid parameter: {parameter}"))
}

fn no_topic() -> ApiError {
    ApiError::new("NotFoundException", "Topic does not exist")
}

fn no_subscription() -> ApiError {
    ApiError::new("NotFoundException", "Subscription does not exist")
}

fn unavailable(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a topic could not be read or written");
    ApiError::new("InternalErrorException", "The topic could not be reached. Please try again.")
}

fn store_failed(error: StoreError) -> ApiError {
    unavailable(&error)
}
