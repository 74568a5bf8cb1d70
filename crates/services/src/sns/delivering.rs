//! Deliveries of published messages, worked off from the durable queue.
//!
//! Each is tried until it succeeds, until it cannot succeed, or until AWS would give up; then it
//! goes to the subscription's dead letter queue, or is given up with a line in the server's log.

use super::message::Message;
use super::subscriptions::Subscription;
use super::{SNS, Sns};
use crate::sqs::sendable;
use bytes::Bytes;
use lamplight_env::Timestamp;
use lamplight_model::{FunctionRef, Scope};
use lamplight_rpc::{Event, Post, new_trace};
use lamplight_store::{Ask, Key, KeyError, Message as Leased, NewMessage, Step, StoreError};
use lamplight_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};

/// Deliveries under way at a time, of each lane.
const AT_ONCE: usize = 32;
/// Longer than any attempt takes.
const LEASE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// AWS: attempts at queues and functions, over 23 days; and at other servers, within the hour.
const ATTEMPTS: u32 = 100_015;
const ATTEMPTS_HTTP: u32 = 50;
/// When a delivery is given up in any case, its dead letter queue being out of reach, too.
const LAST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is owed to one subscription (version 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Delivery {
    v: u8,
    account: String,
    region: String,
    protocol: String,
    endpoint: String,
    message_id: String,
    topic_arn: String,
    subscription_arn: String,
    /// What the receiver sees: members of a SendMessage, an event, or the body of a request.
    content: Value,
    raw: bool,
    /// The ARN of a queue.
    dead_letters: Option<String>,
    /// To be told how to confirm, and nothing else.
    #[serde(default)]
    confirms: bool,
}

/// How an attempt ended.
enum Ended {
    Delivered,
    /// It may work later.
    Failed(String),
    /// It will not.
    Impossible(String),
}

/// Where deliveries wait. Other people's servers may take their time, and nothing of this server
/// waits behind them.
#[derive(Debug, Clone, Copy)]
enum Lane {
    Here,
    Elsewhere,
}

impl Lane {
    fn key(self) -> Result<Key, KeyError> {
        let name = match self {
            Self::Here => "here",
            Self::Elsewhere => "elsewhere",
        };
        Key::new(&["sns", "deliveries", name])
    }
}

impl Delivery {
    pub(super) fn new(
        scope: &Scope,
        message: &Message,
        subscription: &Subscription,
        base: &str,
    ) -> Self {
        let (record, arn) = (&subscription.record, subscription.arn(scope));
        let raw = subscription.is_raw();
        let content = match record.protocol.as_str() {
            "sqs" => Value::Object(message.for_queue(raw, &arn, base)),
            "lambda" => message.event(&arn, base),
            protocol if raw => Value::from(message.text(protocol)),
            protocol => Value::from(message.notification(protocol, &arn, base).to_string()),
        };
        Self {
            v: 1,
            account: scope.account.to_string(),
            region: scope.region.to_string(),
            protocol: record.protocol.clone(),
            endpoint: record.endpoint.clone(),
            message_id: message.id.clone(),
            topic_arn: message.topic_arn.clone(),
            subscription_arn: arn,
            content,
            raw,
            dead_letters: subscription.dead_letters(),
            confirms: false,
        }
    }

    pub(super) fn step(&self, now: Timestamp) -> Result<Step, ApiError> {
        let body = serde_json::to_vec(self).map_err(ApiError::internal)?;
        let lane = if self.is_elsewhere() { Lane::Elsewhere } else { Lane::Here };
        let key = lane.key().map_err(ApiError::internal)?;
        let new = NewMessage::new(self.message_id.clone(), Bytes::from(body), now);
        Ok(Step::Put(key, NewMessage { expires: Some(now.plus(LAST)), ..new }))
    }

    fn is_elsewhere(&self) -> bool {
        self.protocol.starts_with("http")
    }

    fn most_attempts(&self) -> u32 {
        if self.is_elsewhere() { ATTEMPTS_HTTP } else { ATTEMPTS }
    }

    /// AWS: three times at once, twice after a second, ten times with growing pauses, and from then
    /// on every 20 seconds.
    fn pause(attempts: u32) -> Duration {
        match attempts {
            0..=3 => Duration::ZERO,
            4 | 5 => Duration::from_secs(1),
            6..=15 => Duration::from_secs(u64::from(attempts - 5) * 2),
            _ => Duration::from_secs(20),
        }
    }
}

/// Ends when there may be something new.
async fn hint_for(key: &Key, hints: &mut broadcast::Receiver<Key>) {
    loop {
        match hints.recv().await {
            Ok(queue) if queue != *key => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

pub(super) fn start(sns: &Arc<Sns>) {
    for lane in [Lane::Here, Lane::Elsewhere] {
        let sns = Arc::clone(sns);
        let tasks = sns.around.env.tasks.clone();
        tasks.spawn(async move { sns.work(lane).await });
    }
}

impl Sns {
    /// Has an endpoint told how to confirm that it wants to be subscribed.
    pub(super) async fn ask_to_confirm(
        &self,
        scope: &Scope,
        subscription: &Subscription,
    ) -> Result<(), ApiError> {
        let (topic_arn, token) = (subscription.topic.arn(scope), &subscription.record.token);
        let token = token.as_deref().unwrap_or_default();
        let base = &self.around.base;
        let id = self.around.env.random.uuid();
        let now = self.around.env.clock.now();
        let at = jiff::Timestamp::from_millisecond(now.millis()).unwrap_or_default();
        let content = json!({
            "Type": "SubscriptionConfirmation",
            "MessageId": id,
            "Token": token,
            "TopicArn": topic_arn,
            "Message": format!(
                "You have chosen to subscribe to the topic {topic_arn}.\nTo confirm the \
                 subscription, visit the SubscribeURL included in this message."
            ),
            "SubscribeURL": format!(
                "{base}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={token}"
            ),
            "Timestamp": format!("{at:.3}"),
            "SignatureVersion": "1",
            "Signature": "",
            "SigningCertURL": format!("{base}/SimpleNotificationService.pem"),
        });
        let delivery = Delivery {
            v: 1,
            account: scope.account.to_string(),
            region: scope.region.to_string(),
            protocol: subscription.record.protocol.clone(),
            endpoint: subscription.record.endpoint.clone(),
            message_id: id,
            topic_arn,
            subscription_arn: subscription.arn(scope),
            content: Value::from(content.to_string()),
            raw: false,
            dead_letters: None,
            confirms: true,
        };
        let applied = self.around.queue.apply(vec![delivery.step(now)?], now).await;
        applied.map(|_| ()).map_err(super::store_failed)
    }

    async fn work(self: Arc<Self>, lane: Lane) {
        let Ok(key) = lane.key() else { return };
        let mut hints = self.around.queue.hints();
        let mut stop = self.around.env.tasks.stop_signal();
        let room = Arc::new(Semaphore::new(AT_ONCE));
        // Whatever was under way when the server ended is nobody's now.
        let reclaimed = self.around.queue.reclaim(&key, self.around.env.clock.now()).await;
        if let Err(error) = reclaimed {
            tracing::error!(%error, "deliveries of messages wait until their leases are over");
        }
        loop {
            match self.lease(&key, &room).await {
                Ok(0) => tokio::select! {
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = hint_for(&key, &mut hints) => {}
                    () = stop.stopped() => return,
                },
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "deliveries of messages cannot be read");
                    tokio::select! {
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                        () = stop.stopped() => return,
                    }
                }
            }
            if stop.is_stopped() {
                return;
            }
        }
    }

    /// Begins with as many as there is room for; how many those are.
    async fn lease(
        self: &Arc<Self>,
        key: &Key,
        room: &Arc<Semaphore>,
    ) -> Result<usize, StoreError> {
        let Ok(first) = Arc::clone(room).acquire_owned().await else { return Ok(0) };
        let mut permits = vec![first];
        while let Ok(permit) = Arc::clone(room).try_acquire_owned() {
            permits.push(permit);
        }
        let now = self.around.env.clock.now();
        let ask = Ask {
            messages: permits.len(),
            bytes: 16 * 1024 * 1024,
            in_order: false,
            until: now.plus(LEASE),
        };
        let leased = self.around.queue.lease(key, ask, now).await?;
        let count = leased.len();
        for (message, permit) in leased.into_iter().zip(permits) {
            let sns = Arc::clone(self);
            self.around.env.tasks.spawn(async move {
                sns.attempt(message).await;
                drop(permit);
            });
        }
        Ok(count)
    }

    async fn attempt(&self, leased: Leased) {
        let attempts = u32::try_from(leased.receipt.lease).unwrap_or(u32::MAX);
        let Ok(delivery) = serde_json::from_slice::<Delivery>(&leased.body) else {
            tracing::error!(name = leased.name, "a delivery cannot be read, and waits for its end");
            let now = self.around.env.clock.now();
            let due = now.plus(LAST);
            let step = Step::Retry { receipt: leased.receipt, due, state: None };
            let _ = self.around.queue.apply(vec![step], now).await;
            return;
        };
        let ended = self.deliver(&delivery).await;
        let now = self.around.env.clock.now();
        let step = match ended {
            Ended::Delivered => Step::Done(leased.receipt),
            Ended::Failed(_) if attempts < delivery.most_attempts() => {
                let due = now.plus(Delivery::pause(attempts));
                Step::Retry { receipt: leased.receipt, due, state: None }
            }
            Ended::Failed(reason) | Ended::Impossible(reason) => {
                if !self.set_aside(&delivery, &reason).await {
                    // Its dead letter queue cannot be reached: it is tried again with all else.
                    let due = now.plus(Delivery::pause(attempts.max(16)));
                    let receipt = leased.receipt;
                    let retry = vec![Step::Retry { receipt, due, state: None }];
                    let _ = self.around.queue.apply(retry, now).await;
                    return;
                }
                Step::Done(leased.receipt)
            }
        };
        if let Err(error) = self.around.queue.apply(vec![step], now).await {
            tracing::error!(%error, "the end of a delivery is not written: it may happen again");
        }
    }

    async fn deliver(&self, delivery: &Delivery) -> Ended {
        let account = lamplight_model::AccountId::new(&delivery.account);
        let Some(account) = account else { return Ended::Impossible("no account".to_owned()) };
        let scope = Scope { account, region: delivery.region.as_str().into() };
        // Unsubscribed meanwhile: nobody waits for it.
        if self.subscription(&scope, &delivery.subscription_arn).is_none() {
            return Ended::Delivered;
        }
        match delivery.protocol.as_str() {
            "sqs" => self.to_queue(&scope, delivery).await,
            "lambda" => self.to_function(&scope, delivery).await,
            _ => self.to_server(delivery).await,
        }
    }

    async fn to_queue(&self, scope: &Scope, delivery: &Delivery) -> Ended {
        if !self.may_send(scope, &delivery.endpoint, &delivery.topic_arn) {
            return Ended::Impossible(
                "the policy of the queue does not let the topic send".to_owned(),
            );
        }
        let input = delivery.content.as_object().cloned().unwrap_or_default();
        let sent = crate::sqs::Delivery { input, sender: SNS.to_owned() };
        match self.around.sqs.deliver(scope, &delivery.endpoint, sent).await {
            Ok(_) => Ended::Delivered,
            Err(error) if error.status.is_some_and(|status| status >= 500) => {
                Ended::Failed(error.to_string())
            }
            Err(error) => Ended::Impossible(error.to_string()),
        }
    }

    async fn to_function(&self, scope: &Scope, delivery: &Delivery) -> Ended {
        let Ok(function) = FunctionRef::parse(scope, &delivery.endpoint, None) else {
            return Ended::Impossible("the endpoint is no function".to_owned());
        };
        if !self.around.grants.service_may_invoke((SNS, &delivery.topic_arn), &function) {
            return Ended::Impossible(
                "the policy of the function does not let the topic call".to_owned(),
            );
        }
        let now = self.around.env.clock.now();
        let event = Event {
            function,
            request_id: self.around.env.random.uuid(),
            payload: Bytes::from(delivery.content.to_string()),
            trace_id: new_trace(now.seconds(), &*self.around.env.random),
            tenant: None,
        };
        match self.around.events.accept(event).await {
            Ok(()) => Ended::Delivered,
            Err(error) => Ended::Failed(error.to_string()),
        }
    }

    async fn to_server(&self, delivery: &Delivery) -> Ended {
        let kind = if delivery.confirms { "SubscriptionConfirmation" } else { "Notification" };
        let mut headers = vec![
            ("content-type".to_owned(), "text/plain; charset=UTF-8".to_owned()),
            ("user-agent".to_owned(), "Amazon Simple Notification Service Agent".to_owned()),
            ("x-amz-sns-message-type".to_owned(), kind.to_owned()),
            ("x-amz-sns-message-id".to_owned(), delivery.message_id.clone()),
            ("x-amz-sns-topic-arn".to_owned(), delivery.topic_arn.clone()),
        ];
        if !delivery.confirms {
            let arn = delivery.subscription_arn.clone();
            headers.push(("x-amz-sns-subscription-arn".to_owned(), arn));
        }
        if delivery.raw {
            headers.push(("x-amz-sns-rawdelivery".to_owned(), "true".to_owned()));
        }
        let text = delivery.content.as_str().unwrap_or_default();
        let body = Bytes::copy_from_slice(text.as_bytes());
        let post = Post { url: delivery.endpoint.clone(), headers, body };
        match self.around.web.post(post).await {
            Ok(200..=299) => Ended::Delivered,
            // AWS: the caller's fault is not tried again, but for too many requests.
            Ok(status @ (400..=428 | 430..=499)) => Ended::Impossible(format!("status {status}")),
            Ok(status) => Ended::Failed(format!("status {status}")),
            Err(error) => Ended::Failed(error),
        }
    }

    /// Takes what cannot be delivered out of the way. Whether that worked.
    async fn set_aside(&self, delivery: &Delivery, reason: &str) -> bool {
        let Some(queue) = &delivery.dead_letters else {
            tracing::warn!(
                topic = delivery.topic_arn,
                endpoint = delivery.endpoint,
                message = delivery.message_id,
                reason,
                "a message could not be delivered"
            );
            return true;
        };
        let Some(account) = lamplight_model::AccountId::new(&delivery.account) else { return true };
        let scope = Scope { account, region: delivery.region.as_str().into() };
        let body = match (&delivery.content, delivery.protocol.as_str()) {
            (Value::String(text), _) => text.clone(),
            (content, "sqs") => {
                content.get("MessageBody").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            (content, _) => content
                .pointer("/Records/0/Sns")
                .map_or_else(|| content.to_string(), Value::to_string),
        };
        let attribute = |value: &str| json!({ "DataType": "String", "StringValue": value });
        let mut input = Map::new();
        input.insert("MessageBody".to_owned(), Value::from(sendable(&body)));
        let attributes = json!({
            "RequestID": attribute(&delivery.message_id),
            "ErrorMessage": attribute(&sendable(reason)),
        });
        input.insert("MessageAttributes".to_owned(), attributes);
        if queue.ends_with(".fifo") {
            for member in ["MessageGroupId", "MessageDeduplicationId"] {
                let value = delivery.content.get(member).cloned();
                let value = value.unwrap_or_else(|| Value::from(delivery.message_id.as_str()));
                input.insert(member.to_owned(), value);
            }
        }
        let sent = crate::sqs::Delivery { input, sender: SNS.to_owned() };
        let delivered = self.around.sqs.deliver(&scope, queue, sent).await;
        delivered
            .inspect_err(|error| {
                tracing::warn!(queue, %error, "a dead letter waits for its queue");
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_delivery_of_version_1_is_read() {
        let kept = r#"{"v":1,"account":"000000000000","region":"us-east-1","protocol":"http",
            "endpoint":"http://h","message_id":"m","topic_arn":"t","subscription_arn":"s",
            "content":"text","raw":false,"dead_letters":null}"#;
        let delivery: Delivery = serde_json::from_str(kept).unwrap();
        assert_eq!(delivery.content, "text");
        assert!(!delivery.confirms);
        assert_eq!(delivery.most_attempts(), ATTEMPTS_HTTP);
    }

    #[test]
    fn pauses_grow_to_twenty_seconds() {
        let pauses: Vec<u64> = (1..20).map(|n| Delivery::pause(n).as_secs()).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses.first(), pauses.last()), (Some(&0), Some(&20)));
    }
}
