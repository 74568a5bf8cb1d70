//! Messages on their way out: leased for a while, and taken back unless they are deleted.
//!
//! A message that was received too often goes to the dead letter queue at the moment at which it
//! would be received once more, in one step with leaving this one.

use super::message::{Message, md5_of_attributes, md5_of_body};
use super::queues::Found;
use super::sending::State;
use super::{Call, Sqs, store_failed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lamplight_env::Timestamp;
use lamplight_model::Scope;
use lamplight_store::{Ask, Key, Message as Leased, MessageId, Moved, Receipt, Step, StoreError};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Bodies of one answer, as they are kept: ten of the largest.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long a waiting receiver trusts that it hears of what arrives.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Proof of having received a message, as callers hold it.
pub(super) struct Handle {
    /// Of the queue.
    pub generation: String,
    pub receipt: Receipt,
}

impl Handle {
    pub(super) fn text(&self) -> String {
        let Receipt { id, lease } = self.receipt;
        URL_SAFE_NO_PAD.encode(format!("1 {} {} {lease}", self.generation, id.0))
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut parts = text.strip_prefix("1 ")?.split(' ');
        let generation = parts.next()?.to_owned();
        let id = MessageId(parts.next()?.parse().ok()?);
        let lease = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { generation, receipt: Receipt { id, lease } })
    }
}

/// AWS: grows within a queue, 20 digits.
pub(super) fn sequence_number(id: MessageId) -> String {
    format!("{:020}", id.0)
}

pub(super) async fn receive(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let most = call.number("MaxNumberOfMessages", 1..=10)?.unwrap_or(1);
    let wait = call.number("WaitTimeSeconds", 0..=20)?.unwrap_or(found.settings.wait_seconds);
    let visibility = call.number("VisibilityTimeout", 0..=43_200)?;
    let visibility = visibility.unwrap_or(found.settings.visibility_seconds);
    let visibility = Duration::from_secs(visibility.into());
    let messages = wait_for(call, &found, most as usize, (wait, visibility)).await?;
    if messages.is_empty() {
        // AWS: nothing is no list.
        return Ok(Output::empty());
    }
    let shown: Vec<Value> =
        messages.iter().filter_map(|leased| shown(call, &found, leased)).collect();
    Output::of(json!({ "Messages": shown }))
}

async fn wait_for(
    call: &Call<'_>,
    found: &Found,
    most: usize,
    (wait, visibility): (u32, Duration),
) -> Result<Vec<Leased>, ApiError> {
    let (sqs, key) = (call.sqs, found.key(call.scope())?);
    // Before the first look, so that nothing arrives between the two.
    let mut hints = sqs.messages.hints();
    let mut freed = sqs.freed.subscribe();
    let over = tokio::time::sleep(Duration::from_secs(wait.into()));
    let mut stop = sqs.env.tasks.stop_signal();
    tokio::pin!(over);
    loop {
        let messages = sqs.lease(call.scope(), found, most, visibility).await?;
        if !messages.is_empty() || over.is_elapsed() || wait == 0 {
            return Ok(messages);
        }
        let again = tokio::time::sleep(next_look(sqs, &key).await?);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut over => break,
                () = &mut again => break,
                () = stop.stopped() => return Ok(Vec::new()),
                hint = hints.recv() => match hint {
                    Ok(queue) if queue != key => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => (&mut again).await,
                },
                hint = freed.recv() => if hint.is_err() || hint.is_ok_and(|queue| queue == key) {
                    break;
                },
            }
        }
    }
}

/// How long nothing new can be given out of what is in the queue now. What is due and was not given
/// out waits for the rest of its group.
async fn next_look(sqs: &Sqs, key: &Key) -> Result<Duration, ApiError> {
    let now = sqs.now();
    let due = sqs.messages.next_due(key).await.map_err(store_failed)?;
    let until = due.and_then(|due| u64::try_from(due.millis() - now.millis()).ok());
    let until = until.filter(|until| *until > 0).map(Duration::from_millis);
    Ok(until.map_or(LOOK_AGAIN, |until| until.min(LOOK_AGAIN)))
}

impl Sqs {
    /// Messages that may be given out now; the dead are taken away.
    async fn lease(
        &self,
        scope: &Scope,
        found: &Found,
        most: usize,
        visibility: Duration,
    ) -> Result<Vec<Leased>, ApiError> {
        let key = found.key(scope)?;
        loop {
            let now = self.now();
            let ask = Ask {
                messages: most,
                bytes: ANSWER_BYTES,
                in_order: found.settings.fifo,
                until: now.plus(visibility),
            };
            let leased = self.messages.lease(&key, ask, now).await.map_err(store_failed)?;
            let (dead, alive): (Vec<_>, Vec<_>) =
                leased.into_iter().partition(|message| is_dead(found, message));
            if dead.is_empty() {
                return Ok(alive);
            }
            let buried = self.bury(scope, found, &dead, now).await?;
            if !buried {
                // There is nowhere to take them, so they stay.
                return Ok(alive.into_iter().chain(dead).collect());
            }
            if !alive.is_empty() {
                return Ok(alive);
            }
        }
    }

    /// Whether there is a queue for dead letters.
    async fn bury(
        &self,
        scope: &Scope,
        found: &Found,
        dead: &[Leased],
        now: Timestamp,
    ) -> Result<bool, ApiError> {
        let redrive = found.settings.redrive.as_ref();
        let target = redrive.and_then(|redrive| self.find_arn(scope, &redrive.dead_letter_arn));
        let Some(target) = target else { return Ok(false) };
        let queue = target.key(scope)?;
        let retention = Duration::from_secs(target.settings.retention_seconds.into());
        for message in dead {
            // AWS: a standard queue's messages keep their age as dead letters.
            let from = if found.settings.fifo { now } else { message.sent };
            let moved = Moved {
                queue: queue.clone(),
                due: now,
                expires: Some(from.plus(retention)),
                state: State::moving(message, Some(found.name.arn(scope))),
                keep_body: true,
            };
            match self.messages.apply(vec![Step::Move(message.receipt, moved)], now).await {
                // Somebody else has it by now.
                Ok(_) | Err(StoreError::LeaseLost(_)) => {}
                Err(error) => return Err(store_failed(error)),
            }
        }
        Ok(true)
    }
}

fn is_dead(found: &Found, message: &Leased) -> bool {
    let most = found.settings.redrive.as_ref().map(|redrive| redrive.max_receive_count);
    most.is_some_and(|most| State::of(message).received(message) > i64::from(most))
}

fn shown(call: &Call<'_>, found: &Found, leased: &Leased) -> Option<Value> {
    let Some(message) = Message::read(&leased.body) else {
        tracing::error!(
            queue = found.name.as_str(),
            name = leased.name,
            "a message cannot be read"
        );
        return None;
    };
    let generation = found.record.generation.clone();
    let handle = Handle { generation, receipt: leased.receipt };
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("MessageId", json!(message.id));
    set("ReceiptHandle", json!(handle.text()));
    set("MD5OfBody", json!(md5_of_body(&message.body)));
    set("Body", json!(message.body));
    let system = system_attributes(call, leased, &message);
    if !system.is_empty() {
        set("Attributes", Value::Object(system));
    }
    let wanted = names(call, "MessageAttributeNames");
    let attributes = message.attributes_named(&wanted);
    if let Some(digest) = md5_of_attributes(attributes.iter().map(|(name, it)| (*name, *it))) {
        set("MD5OfMessageAttributes", json!(digest));
        let shown = attributes.iter().map(|(name, it)| ((*name).to_owned(), it.shown())).collect();
        set("MessageAttributes", Value::Object(shown));
    }
    Some(Value::Object(members))
}

fn names<'c>(call: &'c Call<'_>, member: &str) -> Vec<&'c str> {
    let given = call.input.get(member).and_then(Value::as_array);
    given.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn system_attributes(call: &Call<'_>, leased: &Leased, message: &Message) -> Map<String, Value> {
    let mut wanted = names(call, "MessageSystemAttributeNames");
    wanted.extend(names(call, "AttributeNames"));
    let first = leased.first_leased.unwrap_or(leased.sent);
    let state = State::of(leased);
    let fifo = message.deduplication.is_some();
    let all = [
        ("SenderId", Some(message.sender.clone())),
        ("SentTimestamp", Some(message.sent.to_string())),
        ("ApproximateReceiveCount", Some(state.received(leased).to_string())),
        ("ApproximateFirstReceiveTimestamp", Some(first.millis().to_string())),
        ("SequenceNumber", fifo.then(|| sequence_number(leased.receipt.id))),
        ("MessageDeduplicationId", message.deduplication.clone()),
        ("MessageGroupId", message.group.clone()),
        ("AWSTraceHeader", message.trace.clone()),
        ("DeadLetterQueueSourceArn", state.dead_from),
    ];
    let everything = wanted.contains(&"All");
    let mut members = Map::new();
    for (name, value) in all {
        if let Some(value) = value
            && (everything || wanted.contains(&name))
        {
            members.insert(name.to_owned(), Value::from(value));
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_back_and_nothing_else_is() {
        let receipt = Receipt { id: MessageId(7), lease: 2 };
        let handle = Handle { generation: "a-b".to_owned(), receipt };
        let read = Handle::read(&handle.text()).unwrap();
        assert_eq!((read.generation.as_str(), read.receipt), ("a-b", receipt));
        for strange in ["", "x", "AAAA", &URL_SAFE_NO_PAD.encode("1 a 1 2 3"), "\u{e9}"] {
            assert!(Handle::read(strange).is_none(), "{strange}");
        }
    }
}
