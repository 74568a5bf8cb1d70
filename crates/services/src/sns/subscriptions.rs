//! Subscriptions: who is told of what is published.
//!
//! A subscription is one document under its topic. One over HTTP is told nothing but how to confirm
//! it, until somebody has.

use super::filter;
use super::message::Message;
use super::name::{TopicName, subscription_of_arn};
use super::topics::{PAGE, Topic};
use super::{Call, Sns, invalid, no_subscription, unavailable};
use crate::records::{self, Fate};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lamplight_model::{FunctionRef, Scope};
use lamplight_rpc::{Document, DocumentKey, Expected};
use lamplight_wire::{ApiError, Output};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const KIND: &str = "sns-subscription";
/// Subscriptions of one topic. AWS allows twelve million; each costs a publisher a look.
const MOST: usize = 10_000;

/// A subscription as it is kept (version 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub v: u8,
    /// Of the topic: one made anew under the same name has none of the old one's.
    pub generation: String,
    pub protocol: String,
    pub endpoint: String,
    /// The ARN of who subscribed.
    pub principal: String,
    /// Those that were set.
    pub attributes: Map<String, Value>,
    /// What confirms it; absent once it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// It was confirmed by somebody who showed nothing but the token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed_by_link: bool,
    /// It does not end by a link alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authenticate_on_unsubscribe: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub topic: TopicName,
    pub id: String,
    pub record: Record,
}

impl Subscription {
    fn read(document: &Document) -> Option<Self> {
        let record = records::read(document)?;
        let topic = TopicName::parse(&document.key.owner).ok()?;
        Some(Self { topic, id: document.key.id.to_string(), record })
    }

    pub(super) fn arn(&self, scope: &Scope) -> String {
        format!("{}:{}", self.topic.arn(scope), self.id)
    }

    fn text(&self, attribute: &str) -> Option<&str> {
        self.record
            .attributes
            .get(attribute)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn is_raw(&self) -> bool {
        self.text("RawMessageDelivery") == Some("true")
    }

    /// The ARN of the queue for what cannot be delivered.
    pub(super) fn dead_letters(&self) -> Option<String> {
        let policy: Value = serde_json::from_str(self.text("RedrivePolicy")?).ok()?;
        Some(policy.get("deadLetterTargetArn")?.as_str()?.to_owned())
    }

    fn filters_bodies(&self) -> bool {
        self.text("FilterPolicyScope") == Some("MessageBody")
    }

    pub(super) fn wants(&self, message: &Message) -> bool {
        let Some(text) = self.text("FilterPolicy") else { return true };
        // It was checked when it was set; one that cannot be read wants nothing.
        filter::parse(text, self.filters_bodies())
            .is_ok_and(|pattern| filter::wants(&pattern, self.filters_bodies(), message))
    }

    fn shown(&self, scope: &Scope) -> Value {
        let pending = self.record.token.is_some();
        json!({
            // AWS: what is not confirmed has no ARN to show.
            "SubscriptionArn": if pending { "PendingConfirmation".to_owned() } else { self.arn(scope) },
            "Owner": scope.account.to_string(),
            "Protocol": self.record.protocol,
            "Endpoint": self.record.endpoint,
            "TopicArn": self.topic.arn(scope),
        })
    }
}

impl Sns {
    pub(super) fn subscription(&self, scope: &Scope, arn: &str) -> Option<Subscription> {
        let (topic, id) = subscription_of_arn(arn, scope).ok()?;
        let found = Subscription::read(&self.around.documents.get(&DocumentKey::new(
            KIND,
            scope,
            topic.as_str(),
            &id,
        ))?)?;
        let topic = self.topic(scope, &topic)?;
        (found.record.generation == topic.record.generation).then_some(found)
    }

    pub(super) fn subscriptions(&self, scope: &Scope, topic: &Topic) -> Vec<Subscription> {
        let name = topic.name.as_str();
        let found = self.around.documents.list((KIND, scope), Some(name), None, MOST);
        let all = found.iter().filter_map(Subscription::read);
        all.filter(|one| one.record.generation == topic.record.generation).collect()
    }

    /// How many are confirmed, and how many are not.
    pub(super) fn count(&self, scope: &Scope, topic: &Topic) -> (usize, usize) {
        let all = self.subscriptions(scope, topic);
        let pending = all.iter().filter(|one| one.record.token.is_some()).count();
        (all.len() - pending, pending)
    }

    /// Writes what `edit` makes of a subscription.
    async fn change_subscription(
        &self,
        scope: &Scope,
        (topic, id): (&TopicName, &str),
        edit: impl Fn(&mut Record) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let key = DocumentKey::new(KIND, scope, topic.as_str(), id);
        let decide = |found: Option<Record>| {
            let mut record = found.ok_or_else(no_subscription)?;
            edit(&mut record)?;
            Ok((Fate::Becomes(record), ()))
        };
        let changed = records::change(&*self.around.documents, &key, decide).await;
        changed.map_err(|why| why.told(|error| unavailable(error)))
    }

    /// Ends what a deletion that was cut off has left of a topic's namesake.
    pub(super) async fn sweep_subscriptions(
        &self,
        scope: &Scope,
        (topic, generation): (&TopicName, &str),
    ) {
        let documents = &self.around.documents;
        for document in documents.list((KIND, scope), Some(topic.as_str()), None, usize::MAX) {
            let ours = |record: Record| record.generation == generation;
            if records::read(&document).is_some_and(ours) {
                continue;
            }
            // It gets nothing in any case, and ends with the topic at the latest.
            let _ = documents.delete(&document.key, Expected::Rev(document.rev)).await;
        }
    }
}

fn check_endpoint(
    topic: &Topic,
    protocol: &str,
    endpoint: &str,
    scope: &Scope,
) -> Result<(), ApiError> {
    let fits = match protocol {
        "lambda" => {
            FunctionRef::parse(scope, endpoint, None).is_ok() && endpoint.starts_with("arn:")
        }
        "sqs" => {
            let fifo = endpoint.ends_with(".fifo");
            if fifo && !topic.name.is_fifo() {
                return Err(invalid(
                    "Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
                ));
            }
            endpoint.split(':').nth(2) == Some("sqs") && endpoint.split(':').count() == 6
        }
        "http" | "https" => {
            endpoint
                .strip_prefix(protocol)
                .is_some_and(|rest| rest.starts_with("://") && rest.len() > 3)
                && endpoint.parse::<http::Uri>().is_ok()
        }
        "email" | "email-json" | "sms" | "application" | "firehose" => {
            return Err(invalid(&format!(
                "Protocol Reason: this server does not deliver over {protocol}. Use lambda, sqs, \
                 http or https"
            )));
        }
        other => {
            return Err(invalid(&format!(
                "Amazon SNS does not support this protocol string: {other}"
            )));
        }
    };
    if topic.name.is_fifo() && protocol != "sqs" {
        return Err(invalid(&format!(
            "Protocol Reason: Unsupported protocol for FIFO topic: {protocol}"
        )));
    }
    let noun = match protocol {
        "sqs" => "SQS endpoint ARN",
        "lambda" => "Lambda endpoint ARN",
        _ => "Endpoint must match the specified protocol",
    };
    if fits { Ok(()) } else { Err(invalid(noun)) }
}

fn check_attributes(attributes: &Map<String, Value>) -> Result<(), ApiError> {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
    let object = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    for name in attributes.keys() {
        let value = text(name);
        let fits = match name.as_str() {
            "RawMessageDelivery" => {
                matches!(value.to_ascii_lowercase().as_str(), "true" | "false")
            }
            "FilterPolicyScope" => matches!(value, "MessageAttributes" | "MessageBody"),
            "FilterPolicy" if value.is_empty() => true,
            "FilterPolicy" => {
                filter::parse(value, text("FilterPolicyScope") == "MessageBody").map(|_| true)?
            }
            "RedrivePolicy" => {
                value.is_empty()
                    || object(value).is_some_and(|policy| {
                        let arn = policy.get("deadLetterTargetArn").and_then(Value::as_str);
                        arn.is_some_and(|arn| arn.split(':').nth(2) == Some("sqs"))
                    })
            }
            "DeliveryPolicy" => value.is_empty() || object(value).is_some(),
            "SubscriptionRoleArn" | "ReplayPolicy" => true,
            _ => return Err(invalid("AttributeName")),
        };
        if !fits {
            return Err(invalid(&format!("Attributes Reason: {name}: Invalid value [{value}]")));
        }
    }
    Ok(())
}

pub(super) async fn subscribe(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let (protocol, endpoint) =
        (call.required("Protocol")?, call.text("Endpoint").unwrap_or_default());
    check_endpoint(&topic, protocol, endpoint, call.scope)?;
    let attributes = call.map("Attributes");
    check_attributes(&attributes)?;
    let all = call.sns.subscriptions(call.scope, &topic);
    let same =
        |one: &&Subscription| one.record.protocol == protocol && one.record.endpoint == endpoint;
    if let Some(known) = all.iter().find(same) {
        let differs = attributes.iter().any(|(name, value)| {
            known.record.attributes.get(name).is_some_and(|kept| kept != value)
                || !known.record.attributes.contains_key(name)
        });
        if differs {
            return Err(invalid(
                "Attributes Reason: Subscription already exists with different attributes",
            ));
        }
        if known.record.token.is_some() {
            call.sns.ask_to_confirm(call.scope, known).await?;
        }
        return told(call, known);
    }
    if all.len() >= MOST {
        return Err(ApiError::new(
            "SubscriptionLimitExceededException",
            format!("A topic has at most {MOST} subscriptions."),
        ));
    }
    let random = &call.sns.around.env.random;
    let token = protocol
        .starts_with("http")
        .then(|| format!("{}{}", random.uuid(), random.uuid()).replace('-', ""));
    let record = Record {
        v: 1,
        generation: topic.record.generation,
        protocol: protocol.to_owned(),
        endpoint: endpoint.to_owned(),
        principal: call.caller.arn.clone(),
        attributes,
        token,
        confirmed_by_link: false,
        authenticate_on_unsubscribe: false,
    };
    let new = Subscription { topic: topic.name, id: random.uuid(), record };
    let key = DocumentKey::new(KIND, call.scope, new.topic.as_str(), &new.id);
    let created = records::create(&*call.sns.around.documents, key, &new.record).await;
    created.map_err(|why| why.told(|error| unavailable(error)))?;
    if new.record.token.is_some() {
        call.sns.ask_to_confirm(call.scope, &new).await?;
    }
    told(call, &new)
}

fn told(call: &Call<'_>, subscription: &Subscription) -> Result<Output, ApiError> {
    let whole = call.input.get("ReturnSubscriptionArn").is_some_and(|value| *value == true);
    let arn = if subscription.record.token.is_some() && !whole {
        "pending confirmation".to_owned()
    } else {
        subscription.arn(call.scope)
    };
    Output::of(json!({ "SubscriptionArn": arn }))
}

/// Who has the token has read what was sent to the endpoint.
pub(super) async fn confirm(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let token = call.required("Token")?;
    let all = call.sns.subscriptions(call.scope, &topic);
    let known = |one: &&Subscription| one.record.token.as_deref() == Some(token);
    let Some(found) = all.iter().find(known) else { return Err(invalid("Token")) };
    let locked = call.text("AuthenticateOnUnsubscribe").is_some_and(|text| text == "true");
    let edit = |record: &mut Record| {
        record.token = None;
        record.confirmed_by_link = call.caller.by_link;
        // AWS: only who has proved who they are may ask for it.
        record.authenticate_on_unsubscribe = locked && !call.caller.by_link;
        Ok(())
    };
    call.sns.change_subscription(call.scope, (&found.topic, &found.id), edit).await?;
    Output::of(json!({ "SubscriptionArn": found.arn(call.scope) }))
}

pub(super) async fn unsubscribe(call: &Call<'_>) -> Result<Output, ApiError> {
    let (topic, id) = subscription_of_arn(call.required("SubscriptionArn")?, call.scope)?;
    let key = DocumentKey::new(KIND, call.scope, topic.as_str(), &id);
    let decide = |found: Option<Record>| {
        match found {
        Some(record) if record.authenticate_on_unsubscribe && call.caller.by_link => {
            Err(ApiError::new(
                "AuthorizationErrorException",
                "This subscription was confirmed with AuthenticateOnUnsubscribe: the request has to \
                 be signed.",
            )
            .with_status(403))
        }
        Some(_) => Ok((Fate::Ends, ())),
        None => Ok((Fate::Stays, ())),
    }
    };
    let gone = records::change(&*call.sns.around.documents, &key, decide).await;
    gone.map_err(|why| why.told(|error| unavailable(error)))?;
    Ok(Output::empty())
}

pub(super) fn list(call: &Call<'_>) -> Result<Output, ApiError> {
    page(call, None)
}

pub(super) fn list_of_topic(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    page(call, Some(topic.name.as_str()))
}

fn page(call: &Call<'_>, owner: Option<&str>) -> Result<Output, ApiError> {
    let after = call.text("NextToken").map(read_token).transpose()?;
    let after = after.as_ref().map(|(owner, id)| (owner.as_str(), id.as_str()));
    let documents = &call.sns.around.documents;
    let mut found = documents.list((KIND, call.scope), owner, after, PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = found.last().filter(|_| more).map(|last| token(&last.key.owner, &last.key.id));
    let shown: Vec<Value> =
        found.iter().filter_map(Subscription::read).map(|one| one.shown(call.scope)).collect();
    Output::of(json!({ "Subscriptions": shown, "NextToken": next }))
}

pub(super) fn token(owner: &str, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{owner} {id}"))
}

pub(super) fn read_token(token: &str) -> Result<(String, String), ApiError> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = text.as_deref().and_then(|text| text.split_once(' '));
    let pair = pair.map(|(owner, id)| (owner.to_owned(), id.to_owned()));
    pair.ok_or_else(|| invalid("NextToken Reason: it is not one that was given out"))
}

fn found(call: &Call<'_>) -> Result<Subscription, ApiError> {
    let arn = call.required("SubscriptionArn")?;
    subscription_of_arn(arn, call.scope)?;
    call.sns.subscription(call.scope, arn).ok_or_else(no_subscription)
}

pub(super) fn attributes(call: &Call<'_>) -> Result<Output, ApiError> {
    let subscription = found(call)?;
    let pending = subscription.record.token.is_some();
    let authenticated = !pending && !subscription.record.confirmed_by_link;
    let mut shown = Map::new();
    for (name, value) in [
        ("SubscriptionArn", subscription.arn(call.scope)),
        ("TopicArn", subscription.topic.arn(call.scope)),
        ("Owner", call.scope.account.to_string()),
        ("Protocol", subscription.record.protocol.clone()),
        ("Endpoint", subscription.record.endpoint.clone()),
        ("SubscriptionPrincipal", subscription.record.principal.clone()),
        ("ConfirmationWasAuthenticated", authenticated.to_string()),
        ("PendingConfirmation", pending.to_string()),
        ("RawMessageDelivery", "false".to_owned()),
    ] {
        shown.insert(name.to_owned(), Value::from(value));
    }
    if subscription.text("FilterPolicy").is_some() {
        shown.insert("FilterPolicyScope".to_owned(), Value::from("MessageAttributes"));
    }
    let set = subscription.record.attributes;
    shown.extend(set.into_iter().filter(|(_, value)| value.as_str() != Some("")));
    Output::of(json!({ "Attributes": shown }))
}

pub(super) async fn set_attribute(call: &Call<'_>) -> Result<Output, ApiError> {
    let attribute = call.required("AttributeName")?;
    let value = call.text("AttributeValue").unwrap_or_default();
    // AWS: no policy is an empty one.
    let value = if attribute == "FilterPolicy" && value == "{}" { "" } else { value };
    let found = found(call)?;
    let edit = |record: &mut Record| {
        record.attributes.insert(attribute.to_owned(), Value::from(value));
        check_attributes(&record.attributes)
    };
    call.sns.change_subscription(call.scope, (&found.topic, &found.id), edit).await?;
    Ok(Output::empty())
}
