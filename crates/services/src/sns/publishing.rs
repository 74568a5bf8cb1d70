//! From a message to those it is for.
//!
//! All deliveries of a message are written before its publisher has an answer: to SQS queues the
//! message itself, for everybody else what is to be delivered.

use super::delivering::Delivery;
use super::message::{self, LARGEST, Message};
use super::name::TopicName;
use super::subscriptions::Subscription;
use super::topics::Topic;
use super::{Call, Sns, invalid, no_topic, store_failed};
use lamplight_model::Scope;
use lamplight_store::Step;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// AWS: entries of one batch.
const MOST_ENTRIES: usize = 10;
/// Deliveries and bytes that are written at once.
const STEPS: usize = 100;
const STEPS_BYTES: usize = 8 * 1024 * 1024;

/// A message that the server itself publishes.
pub struct Internal<'a> {
    pub topic_arn: &'a str,
    /// The members of a Publish, but for the topic.
    pub input: Map<String, Value>,
}

impl Sns {
    /// Publishes to the topic of an ARN, whoever may.
    ///
    /// # Errors
    /// `NotFoundException`, and what Publish refuses.
    pub async fn publish(&self, scope: &Scope, new: Internal<'_>) -> Result<String, ApiError> {
        let name = TopicName::of_arn(new.topic_arn, scope)?;
        let topic = self.topic(scope, &name).ok_or_else(no_topic)?;
        let message = self.stamped(scope, &topic, message::read(&new.input, &topic)?);
        self.fan_out(scope, &topic, &message).await?;
        Ok(message.id)
    }

    /// Gives a message what makes it one of its own.
    fn stamped(&self, scope: &Scope, topic: &Topic, message: Message) -> Message {
        let (env, now) = (&self.around.env, self.around.env.clock.now());
        let sequence = topic.name.is_fifo().then(|| {
            // Grows with the clock, and without it when that stands still or jumps back.
            let least = now.millis().saturating_mul(1 << 20);
            let next = |last: i64| Some(last.saturating_add(1).max(least));
            let last = self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
            let last = last.unwrap_or_else(|last| last);
            format!("{:020}", last.saturating_add(1).max(least))
        });
        let (id, topic_arn) = (env.random.uuid(), topic.name.arn(scope));
        Message { id, topic_arn, at: now, sequence, ..message }
    }

    async fn fan_out(
        &self,
        scope: &Scope,
        topic: &Topic,
        message: &Message,
    ) -> Result<(), ApiError> {
        let now = self.around.env.clock.now();
        let all = self.subscriptions(scope, topic).into_iter();
        let wanted = all.filter(|one| one.record.token.is_none() && one.wants(message));
        let (mut steps, mut bytes) = (Vec::new(), 0);
        for subscription in wanted {
            let (step, size) = self.step(scope, message, &subscription)?;
            steps.push(step);
            bytes += size;
            if steps.len() >= STEPS || bytes >= STEPS_BYTES {
                let some = std::mem::take(&mut steps);
                self.around.queue.apply(some, now).await.map_err(store_failed)?;
                bytes = 0;
            }
        }
        if !steps.is_empty() {
            self.around.queue.apply(steps, now).await.map_err(store_failed)?;
        }
        Ok(())
    }

    /// What delivers a message to a subscription, and about how large it is.
    fn step(
        &self,
        scope: &Scope,
        message: &Message,
        subscription: &Subscription,
    ) -> Result<(Step, usize), ApiError> {
        let record = &subscription.record;
        if record.protocol == "sqs" && self.may_send(scope, &record.endpoint, &message.topic_arn) {
            let arn = subscription.arn(scope);
            let input = message.for_queue(subscription.is_raw(), &arn, &self.around.base);
            if let Ok(step) = self.around.sqs.step(scope, &record.endpoint, &input, super::SNS) {
                return Ok((step, message.size * 2));
            }
        }
        let delivery = Delivery::new(scope, message, subscription, &self.around.base);
        Ok((delivery.step(self.around.env.clock.now())?, message.size * 2))
    }

    /// Whether a queue's policy lets a topic send to it.
    pub(super) fn may_send(&self, scope: &Scope, queue_arn: &str, topic_arn: &str) -> bool {
        let policy = self.around.sqs.policy_of_arn(scope, queue_arn);
        self.around.grants.service_may(
            (super::SNS, topic_arn),
            ("sqs:SendMessage", queue_arn),
            policy.as_deref(),
        )
    }
}

pub(super) async fn publish(call: &Call<'_>) -> Result<Output, ApiError> {
    if call.text("PhoneNumber").is_some() {
        return Err(invalid("PhoneNumber Reason: this server sends no text messages"));
    }
    let member = if call.text("TopicArn").is_some() { "TopicArn" } else { "TargetArn" };
    let topic = call.topic(member)?;
    let message = message::read(call.input, &topic)?;
    let message = call.sns.stamped(call.scope, &topic, message);
    call.sns.fan_out(call.scope, &topic, &message).await?;
    Output::of(json!({ "MessageId": message.id, "SequenceNumber": message.sequence }))
}

pub(super) async fn publish_batch(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let entries = call.input.get("PublishBatchRequestEntries").and_then(Value::as_array);
    let entries: Vec<_> = entries.into_iter().flatten().filter_map(Value::as_object).collect();
    check_entries(&entries)?;
    let read: Vec<_> = entries.iter().map(|entry| message::read(entry, &topic)).collect();
    let size: usize = read.iter().flatten().map(|message| message.size).sum();
    if size > LARGEST {
        return Err(ApiError::new(
            "BatchRequestTooLongException",
            "The length of all the messages put together is more than the limit.",
        ));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (entry, read) in entries.iter().zip(read) {
        let id = entry.get("Id");
        let published = match read {
            Ok(message) => {
                let message = call.sns.stamped(call.scope, &topic, message);
                call.sns.fan_out(call.scope, &topic, &message).await.map(|()| message)
            }
            Err(error) => Err(error),
        };
        match published {
            Ok(message) => successful.push(json!({
                "Id": id, "MessageId": message.id, "SequenceNumber": message.sequence,
            })),
            Err(error) => failed.push(json!({
                "Id": id,
                "Code": error.code.strip_suffix("Exception").unwrap_or(&error.code),
                "Message": error.message,
                "SenderFault": error.code != "InternalErrorException",
            })),
        }
    }
    Output::of(json!({ "Successful": successful, "Failed": failed }))
}

fn check_entries(entries: &[&Map<String, Value>]) -> Result<(), ApiError> {
    if entries.is_empty() {
        return Err(ApiError::new(
            "EmptyBatchRequestException",
            "The batch request doesn't contain any entries.",
        ));
    }
    if entries.len() > MOST_ENTRIES {
        return Err(ApiError::new(
            "TooManyEntriesInBatchRequestException",
            "The batch request contains more entries than permissible.",
        ));
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let id = entry.get("Id").and_then(Value::as_str).unwrap_or_default();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=80).contains(&id.len()) || !id.bytes().all(word) {
            return Err(ApiError::new(
                "InvalidBatchEntryIdException",
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            ));
        }
        if !seen.insert(id) {
            return Err(ApiError::new(
                "BatchEntryIdsNotDistinctException",
                "Two or more batch entries in the request have the same Id.",
            ));
        }
    }
    Ok(())
}
