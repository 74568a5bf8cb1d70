//! Messages on their way in.

use super::batch::{Results, entries};
use super::message::{Draft, Message, md5_of_attributes, md5_of_body, md5_of_trace};
use super::name::QueueName;
use super::queues::Found;
use super::{Call, Sqs, no_queue, store_failed};
use bytes::Bytes;
use lamplight_env::Timestamp;
use lamplight_model::Scope;
use lamplight_store::{Dedup, Message as Leased, NewMessage, Step, Stored};
use lamplight_wire::{ApiError, Output};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// AWS: how long a second message of an id is taken for the same.
const DEDUPLICATION: Duration = Duration::from_secs(5 * 60);
/// AWS: bytes of a batch.
const BATCH_BYTES: usize = 1_048_576;

/// A message that the server itself sends.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The members of a SendMessage, but for the queue.
    pub input: Map<String, Value>,
    /// Whose message it is, as receivers see it.
    pub sender: String,
}

impl Sqs {
    /// Sends to the queue of an ARN, whoever may.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, and what SendMessage refuses.
    pub async fn deliver(
        &self,
        scope: &Scope,
        arn: &str,
        delivery: Delivery,
    ) -> Result<String, ApiError> {
        let name = QueueName::of_arn(arn, scope).ok_or_else(no_queue)?;
        let found = self.find(scope, &name).ok_or_else(no_queue)?;
        let draft = Draft::read(&delivery.input, &found.settings)?;
        let mut sent = self.put(scope, &found, vec![draft], &delivery.sender).await?;
        sent.pop().map(|(message, _)| message.id).ok_or_else(|| ApiError::internal("nothing sent"))
    }

    /// What sends to the queue of an ARN, to be applied together with something else.
    ///
    /// # Errors
    /// Like [`Self::deliver`].
    pub fn step(
        &self,
        scope: &Scope,
        arn: &str,
        input: &Map<String, Value>,
        sender: &str,
    ) -> Result<Step, ApiError> {
        let name = QueueName::of_arn(arn, scope).ok_or_else(no_queue)?;
        let found = self.find(scope, &name).ok_or_else(no_queue)?;
        let draft = Draft::read(input, &found.settings)?;
        let delay = Duration::from_secs(draft.delay_seconds.into());
        let now = self.now();
        let message = draft.into_message(self.env.random.uuid(), sender.to_owned(), now.millis());
        Ok(Step::Put(found.key(scope)?, new_message(&message, &found, (now, delay))?))
    }

    /// Puts messages into a queue, all or none.
    async fn put(
        &self,
        scope: &Scope,
        found: &Found,
        drafts: Vec<Draft>,
        sender: &str,
    ) -> Result<Vec<(Message, Stored)>, ApiError> {
        let (key, now) = (found.key(scope)?, self.now());
        let mut messages = Vec::with_capacity(drafts.len());
        let mut steps = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let delay = Duration::from_secs(draft.delay_seconds.into());
            let id = self.env.random.uuid();
            let message = draft.into_message(id, sender.to_owned(), now.millis());
            steps.push(Step::Put(key.clone(), new_message(&message, found, (now, delay))?));
            messages.push(message);
        }
        let stored = self.messages.apply(steps, now).await.map_err(store_failed)?;
        Ok(messages.into_iter().zip(stored).collect())
    }
}

fn new_message(
    message: &Message,
    found: &Found,
    (now, delay): (Timestamp, Duration),
) -> Result<NewMessage, ApiError> {
    let body = Bytes::from(serde_json::to_vec(message).map_err(ApiError::internal)?);
    let retention = Duration::from_secs(found.settings.retention_seconds.into());
    let id = message.deduplication.as_ref().map(|id| match &message.group {
        Some(group) if found.settings.deduplicates_by_group => format!("{group}\u{20}{id}"),
        _ => id.clone(),
    });
    Ok(NewMessage {
        due: now.plus(delay),
        expires: Some(now.plus(retention)),
        // AWS: groups of a standard queue are for fairness and order nothing.
        group: message.group.clone().filter(|_| found.settings.fifo),
        dedup: id.map(|id| Dedup { id, until: now.plus(DEDUPLICATION) }),
        ..NewMessage::new(message.id.clone(), body, now)
    })
}

/// What the sender is told. Of a message that was there already, its id.
fn receipt(message: &Message, stored: &Stored) -> Map<String, Value> {
    let id = stored.duplicate_of.as_ref().unwrap_or(&message.id);
    let mut members = Map::new();
    let mut set = |name: &str, value: String| members.insert(name.to_owned(), Value::from(value));
    set("MessageId", id.clone());
    set("MD5OfMessageBody", md5_of_body(&message.body));
    let attributes = message.attributes.iter().map(|(name, it)| (name.as_str(), it));
    if let Some(digest) = md5_of_attributes(attributes) {
        set("MD5OfMessageAttributes", digest);
    }
    if let Some(digest) = message.trace.as_deref().and_then(md5_of_trace) {
        set("MD5OfMessageSystemAttributes", digest);
    }
    if message.deduplication.is_some() {
        set("SequenceNumber", super::receiving::sequence_number(stored.receipt.id));
    }
    members
}

pub(super) async fn send(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let draft = Draft::read(call.input, &found.settings)?;
    let sender = &call.asked.caller.user_id;
    let sent = call.sqs.put(call.scope(), &found, vec![draft], sender).await?;
    let members = sent.first().map(|(message, stored)| receipt(message, stored));
    Ok(Output { members: members.unwrap_or_default(), ..Output::default() })
}

pub(super) async fn send_batch(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let entries = entries(call, "SendMessageBatchRequestEntry")?;
    let drafts: Vec<_> =
        entries.iter().map(|(id, input)| (*id, Draft::read(input, &found.settings))).collect();
    let size: usize = drafts.iter().flat_map(|(_, draft)| draft).map(|draft| draft.size).sum();
    if size > BATCH_BYTES {
        return Err(ApiError::new(
            "BatchRequestTooLong",
            format!(
                "Batch requests cannot be longer than {BATCH_BYTES} bytes. You have sent {size} bytes."
            ),
        ));
    }
    let good = drafts.iter().filter_map(|(_, draft)| draft.as_ref().ok().cloned()).collect();
    let sender = &call.asked.caller.user_id;
    let mut sent = call.sqs.put(call.scope(), &found, good, sender).await?.into_iter();
    let mut results = Results::default();
    for (id, draft) in drafts {
        let result = draft.and_then(|_| {
            let (message, stored) =
                sent.next().ok_or_else(|| ApiError::internal("a lost entry"))?;
            Ok(receipt(&message, &stored))
        });
        results.add(id, result);
    }
    results.output()
}

/// What is kept beside the body of a message that was moved (version 1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    v: u8,
    /// The ARN of the queue it came from as a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_from: Option<String>,
    /// How often it was received before it came into this queue.
    #[serde(default)]
    before: i64,
}

impl State {
    /// Of a message that leaves the queue in which it was received.
    pub(super) fn moving(message: &Leased, dead_from: Option<String>) -> Bytes {
        // The move itself counts as one.
        let state = Self { v: 1, dead_from, before: message.receipt.lease + 1 };
        Bytes::from(serde_json::to_vec(&state).unwrap_or_default())
    }

    /// Of one that was never moved, all is as by default.
    pub(super) fn of(message: &Leased) -> Self {
        serde_json::from_slice(&message.state).unwrap_or_default()
    }

    /// How often the message was received in this queue.
    pub(super) fn received(&self, message: &Leased) -> i64 {
        message.receipt.lease - self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_state_of_version_1_is_read() {
        let state: State = serde_json::from_str(r#"{"v":1,"dead_from":"arn","before":3}"#).unwrap();
        assert_eq!(state, State { v: 1, dead_from: Some("arn".to_owned()), before: 3 });
    }
}
