//! One message as it is published: what it may be, and the forms in which receivers see it.

use super::invalid;
use lamplight_env::Timestamp;
use lamplight_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// AWS: bytes of a message with its attributes.
pub(super) const LARGEST: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub id: String,
    pub topic_arn: String,
    pub subject: Option<String>,
    /// What those see who have no text of their own.
    pub message: String,
    /// Texts by protocol.
    pub texts: BTreeMap<String, String>,
    pub attributes: BTreeMap<String, Attribute>,
    pub at: Timestamp,
    pub group: Option<String>,
    pub deduplication: Option<String>,
    /// Of a FIFO topic.
    pub sequence: Option<String>,
    pub size: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Attribute {
    pub data_type: String,
    /// Text, or base64 of bytes.
    pub value: String,
    pub binary: bool,
}

impl Attribute {
    /// As filter policies see it.
    pub(super) fn for_filters(&self) -> Option<Value> {
        match self.data_type.as_str() {
            "String.Array" => serde_json::from_str(&self.value).ok(),
            kind if kind.starts_with("Number") => {
                self.value.parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
            }
            _ if self.binary => None,
            _ => Some(Value::from(self.value.as_str())),
        }
    }

    fn shown(&self) -> Value {
        json!({ "Type": self.data_type, "Value": self.value })
    }
}

/// What of a publication is its own, before it has an id and a time.
pub(super) fn read(
    input: &Map<String, Value>,
    topic: &super::topics::Topic,
) -> Result<Message, ApiError> {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let message = text("Message").filter(|message| !message.is_empty());
    let message = message.ok_or_else(|| invalid("Empty message"))?;
    let subject = text("Subject");
    if let Some(subject) = subject {
        let fits = (1..=100).contains(&subject.chars().count())
            && !subject.chars().any(|c| c == '\n' || c == '\r' || c.is_control());
        if !fits {
            return Err(invalid("Subject"));
        }
    }
    let attributes = read_attributes(input.get("MessageAttributes"))?;
    let attribute_bytes =
        attributes.iter().map(|(name, one)| name.len() + one.data_type.len() + one.value.len());
    let size = message.len() + attribute_bytes.sum::<usize>();
    if size > LARGEST {
        return Err(invalid("Message too long"));
    }
    let mut texts = BTreeMap::new();
    let mut default = message.to_owned();
    match text("MessageStructure") {
        None => {}
        Some("json") => {
            let all: Map<String, Value> = serde_json::from_str(message)
                .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
            for (protocol, value) in all {
                texts.extend(value.as_str().map(|text| (protocol, text.to_owned())));
            }
            default = texts.get("default").cloned().ok_or_else(|| {
                invalid("Message Structure - No default entry in JSON message body")
            })?;
        }
        Some(_) => return Err(invalid("MessageStructure")),
    }
    let (group, deduplication) = order(input, topic, message)?;
    Ok(Message {
        id: String::new(),
        topic_arn: String::new(),
        subject: subject.map(str::to_owned),
        message: default,
        texts,
        attributes,
        at: Timestamp::from_millis(0),
        group,
        deduplication,
        sequence: None,
        size,
    })
}

type Order = (Option<String>, Option<String>);

fn order(
    input: &Map<String, Value>,
    topic: &super::topics::Topic,
    message: &str,
) -> Result<Order, ApiError> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
    let (group, given) = (text("MessageGroupId"), text("MessageDeduplicationId"));
    if !topic.name.is_fifo() {
        if given.is_some() {
            return Err(invalid(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId \
                 parameter that is not valid for this topic type",
            ));
        }
        return Ok((group, None));
    }
    if group.is_none() {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    let by_content = topic.is("ContentBasedDeduplication").then(|| crate::sqs::content_id(message));
    match given.or(by_content) {
        Some(id) if (1..=128).contains(&id.len()) => Ok((group, Some(id))),
        Some(_) => Err(invalid("MessageDeduplicationId")),
        None => Err(invalid(
            "The topic should either have ContentBasedDeduplication enabled or \
             MessageDeduplicationId provided explicitly",
        )),
    }
}

fn read_attributes(given: Option<&Value>) -> Result<BTreeMap<String, Attribute>, ApiError> {
    let Some(Value::Object(given)) = given else { return Ok(BTreeMap::new()) };
    let mut attributes = BTreeMap::new();
    for (name, value) in given {
        let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default();
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=256).contains(&name.len())
            && name.chars().all(word)
            && !name.starts_with('.')
            && !name.ends_with('.')
            && !name.contains("..");
        let refuse = |reason: &str| ApiError::new("InvalidParameterValueException", reason);
        if !fits {
            return Err(refuse(&format!("The message attribute name '{name}' is invalid.")));
        }
        let data_type = text("DataType").to_owned();
        let binary = data_type.starts_with("Binary");
        let kind = data_type.split('.').next().unwrap_or_default();
        if !matches!(kind, "String" | "Number" | "Binary") {
            return Err(refuse(&format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of \
                 supported type prefixes is Binary, Number, and String."
            )));
        }
        let value = text(if binary { "BinaryValue" } else { "StringValue" }).to_owned();
        if value.is_empty() {
            return Err(refuse(&format!(
                "The message attribute '{name}' must contain non-empty message attribute value for \
                 message attribute type '{data_type}'."
            )));
        }
        if kind == "Number" && value.parse::<f64>().is_err() {
            return Err(refuse(&format!(
                "Could not cast message attribute '{name}' value to number."
            )));
        }
        attributes.insert(name.clone(), Attribute { data_type, value, binary });
    }
    Ok(attributes)
}

impl Message {
    /// The text for the receivers of a protocol.
    pub(super) fn text(&self, protocol: &str) -> &str {
        self.texts.get(protocol).unwrap_or(&self.message)
    }

    fn time(&self) -> String {
        let at = jiff::Timestamp::from_millisecond(self.at.millis()).unwrap_or_default();
        format!("{at:.3}")
    }

    fn shown_attributes(&self) -> Value {
        self.attributes.iter().map(|(name, one)| (name.clone(), one.shown())).collect()
    }

    /// What receivers that are not given the raw message see.
    pub(super) fn notification(&self, protocol: &str, subscription_arn: &str, base: &str) -> Value {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("Type", json!("Notification"));
        set("MessageId", json!(self.id));
        if let Some(sequence) = &self.sequence {
            set("SequenceNumber", json!(sequence));
        }
        set("TopicArn", json!(self.topic_arn));
        if let Some(subject) = &self.subject {
            set("Subject", json!(subject));
        }
        set("Message", json!(self.text(protocol)));
        set("Timestamp", json!(self.time()));
        // FIFO topics sign nothing on AWS either.
        if self.sequence.is_none() {
            set("SignatureVersion", json!("1"));
            set("Signature", json!(""));
            set("SigningCertURL", json!(format!("{base}/SimpleNotificationService.pem")));
        }
        set("UnsubscribeURL", json!(unsubscribe_url(base, subscription_arn)));
        if !self.attributes.is_empty() {
            set("MessageAttributes", self.shown_attributes());
        }
        Value::Object(members)
    }

    /// The event of a function.
    pub(super) fn event(&self, subscription_arn: &str, base: &str) -> Value {
        json!({ "Records": [{
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscription_arn,
            "Sns": {
                "Type": "Notification",
                "MessageId": self.id,
                "TopicArn": self.topic_arn,
                "Subject": self.subject,
                "Message": self.text("lambda"),
                "Timestamp": self.time(),
                "SignatureVersion": "1",
                "Signature": "",
                "SigningCertUrl": format!("{base}/SimpleNotificationService.pem"),
                "UnsubscribeUrl": unsubscribe_url(base, subscription_arn),
                "MessageAttributes": self.shown_attributes(),
            },
        }] })
    }

    /// The members of a SendMessage.
    pub(super) fn for_queue(
        &self,
        raw: bool,
        subscription_arn: &str,
        base: &str,
    ) -> Map<String, Value> {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        if raw {
            set("MessageBody", json!(self.text("sqs")));
            let attributes: Map<String, Value> = self
                .attributes
                .iter()
                .map(|(name, one)| {
                    let member = if one.binary { "BinaryValue" } else { "StringValue" };
                    (name.clone(), json!({ "DataType": one.data_type, member: one.value }))
                })
                .collect();
            if !attributes.is_empty() {
                set("MessageAttributes", Value::Object(attributes));
            }
        } else {
            let body = self.notification("sqs", subscription_arn, base);
            set("MessageBody", Value::from(body.to_string()));
        }
        if let Some(group) = &self.group {
            set("MessageGroupId", json!(group));
        }
        if let Some(id) = &self.deduplication {
            set("MessageDeduplicationId", json!(id));
        }
        members
    }
}

fn unsubscribe_url(base: &str, subscription_arn: &str) -> String {
    format!("{base}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}")
}
