//! One message as it is sent: what it may be, its digests, and how it is kept.
//!
//! A kept message carries the version of its format. The texts of refusals are AWS's.

use super::{invalid_contents, invalid_value, missing, settings::Settings};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lamplight_env::hex;
use lamplight_wire::ApiError;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;
use std::collections::BTreeMap;

/// AWS: attributes of one message.
const MOST_ATTRIBUTES: usize = 10;

/// What a message says, in the form in which it is kept (version 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Of this form.
    pub v: u8,
    pub id: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
    /// `AWSTraceHeader`, the only system attribute a sender may set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    pub sender: String,
    /// Unix ms.
    pub sent: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<String>,
}

/// The newest version of [`Message`].
pub const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub data_type: String,
    /// Text, or base64 of bytes.
    pub value: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
}

/// A message that may be sent, before it has an id and a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub body: String,
    pub attributes: BTreeMap<String, Attribute>,
    pub trace: Option<String>,
    pub group: Option<String>,
    pub deduplication: Option<String>,
    pub delay_seconds: u32,
    /// Bytes that count towards the limit of a batch.
    pub size: usize,
}

impl Draft {
    /// From the members of a SendMessage or of one entry of a batch.
    pub fn read(input: &Map<String, Value>, settings: &Settings) -> Result<Self, ApiError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        let body = text("MessageBody").filter(|body| !body.is_empty());
        let body = body.ok_or_else(|| missing("MessageBody"))?;
        if !body.chars().all(is_allowed) {
            return Err(invalid_contents());
        }
        let attributes = read_attributes(input.get("MessageAttributes"))?;
        let trace = read_trace(input.get("MessageSystemAttributes"))?;
        let size = body.len()
            + attributes.iter().map(|(name, attribute)| attribute.size(name)).sum::<usize>();
        let limit = settings.maximum_message_size as usize;
        if size > limit {
            return Err(invalid_value(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} \
                 bytes."
            )));
        }
        let group = text("MessageGroupId").map(|id| read_id("MessageGroupId", id)).transpose()?;
        let given = text("MessageDeduplicationId");
        let given = given.map(|id| read_id("MessageDeduplicationId", id)).transpose()?;
        let delay = input.get("DelaySeconds").and_then(Value::as_i64);
        let deduplication = if settings.fifo {
            if group.is_none() {
                return Err(missing("MessageGroupId"));
            }
            // AWS: only the queue as a whole can delay.
            if let Some(delay) = delay.filter(|delay| *delay != 0) {
                return Err(wrong_kind("DelaySeconds", &delay.to_string()));
            }
            let by_content = settings.content_based_deduplication.then(|| content_id(body));
            let id = given.or(by_content).ok_or_else(|| {
                invalid_value(
                    "The queue should either have ContentBasedDeduplication enabled or \
                     MessageDeduplicationId provided explicitly",
                )
            })?;
            Some(id)
        } else if let Some(id) = given {
            return Err(wrong_kind("MessageDeduplicationId", &id));
        } else {
            None
        };
        let delay_seconds = match delay {
            None => settings.delay_seconds,
            Some(delay) => u32::try_from(delay).ok().filter(|delay| *delay <= 900).ok_or_else(|| {
                invalid_value(format!(
                    "Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must \
                     be >= 0 and <= 900."
                ))
            })?,
        };
        let body = body.to_owned();
        Ok(Self { body, attributes, trace, group, deduplication, delay_seconds, size })
    }

    pub fn into_message(self, id: String, sender: String, sent: i64) -> Message {
        Message {
            v: VERSION,
            id,
            body: self.body,
            attributes: self.attributes,
            trace: self.trace,
            sender,
            sent,
            group: self.group,
            deduplication: self.deduplication,
        }
    }
}

impl Message {
    /// `None` for bytes that no version of this program wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|message: &Self| message.v == VERSION)
    }

    /// Attributes with the names that are asked for: whole ones, `prefix.*`, `All` or `.*`.
    pub fn attributes_named(&self, wanted: &[&str]) -> BTreeMap<&str, &Attribute> {
        let is_wanted = |name: &str| {
            wanted.iter().any(|wanted| match wanted.strip_suffix(".*") {
                _ if matches!(*wanted, "All" | ".*" | "*") => true,
                Some(prefix) => name.starts_with(prefix),
                None => *wanted == name,
            })
        };
        let all = self.attributes.iter();
        all.filter(|(name, _)| is_wanted(name)).map(|(name, it)| (name.as_str(), it)).collect()
    }
}

impl Attribute {
    fn size(&self, name: &str) -> usize {
        let value = if self.binary { self.value.len() / 4 * 3 } else { self.value.len() };
        name.len() + self.data_type.len() + value
    }

    /// As the API shows it.
    pub fn shown(&self) -> Value {
        let member = if self.binary { "BinaryValue" } else { "StringValue" };
        serde_json::json!({ "DataType": self.data_type, member: self.value })
    }
}

/// The text with a mark for every character that no message may hold.
pub fn sendable(text: &str) -> String {
    text.chars().map(|c| if is_allowed(c) { c } else { '\u{fffd}' }).collect()
}

/// AWS: what a message is known by that was given no deduplication id.
pub fn content_id(body: &str) -> String {
    hex(&Sha256::digest(body.as_bytes()))
}

pub fn md5_of_body(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()))
}

/// AWS: the digest that SDKs compare, over names in order, each part with its length before it.
pub fn md5_of_attributes<'a>(
    attributes: impl IntoIterator<Item = (&'a str, &'a Attribute)>,
) -> Option<String> {
    let mut digest = Md5::new();
    let mut any = false;
    let part = |digest: &mut Md5, bytes: &[u8]| {
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    for (name, attribute) in attributes {
        any = true;
        part(&mut digest, name.as_bytes());
        part(&mut digest, attribute.data_type.as_bytes());
        if attribute.binary {
            digest.update([2]);
            part(&mut digest, &BASE64_STANDARD.decode(&attribute.value).unwrap_or_default());
        } else {
            digest.update([1]);
            part(&mut digest, attribute.value.as_bytes());
        }
    }
    any.then(|| hex(&digest.finalize()))
}

/// The digest of the one system attribute there is.
pub fn md5_of_trace(trace: &str) -> Option<String> {
    let attribute =
        Attribute { data_type: "String".to_owned(), value: trace.to_owned(), binary: false };
    md5_of_attributes([("AWSTraceHeader", &attribute)])
}

/// AWS: the characters of XML 1.0.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn read_id(name: &str, id: &str) -> Result<String, ApiError> {
    let punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    let fits = (1..=128).contains(&id.len())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c));
    if fits {
        return Ok(id.to_owned());
    }
    Err(invalid_value(format!(
        "Value {id} for parameter {name} is invalid. Reason: {name} can only include alphanumeric \
         and punctuation characters. 1 to 128 in length."
    )))
}

fn wrong_kind(name: &str, value: &str) -> ApiError {
    invalid_value(format!(
        "Value {value} for parameter {name} is invalid. Reason: The request include parameter that \
         is not valid for this queue type"
    ))
}

fn read_trace(given: Option<&Value>) -> Result<Option<String>, ApiError> {
    let Some(Value::Object(given)) = given else { return Ok(None) };
    let mut trace = None;
    for (name, value) in given {
        if name != "AWSTraceHeader" {
            return Err(invalid_value(format!(
                "Message system attribute name '{name}' is invalid."
            )));
        }
        trace = value.get("StringValue").and_then(Value::as_str).map(str::to_owned);
    }
    Ok(trace)
}

fn read_attributes(given: Option<&Value>) -> Result<BTreeMap<String, Attribute>, ApiError> {
    let Some(Value::Object(given)) = given else { return Ok(BTreeMap::new()) };
    if given.len() > MOST_ATTRIBUTES {
        return Err(invalid_value(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MOST_ATTRIBUTES}].",
            given.len()
        )));
    }
    given.iter().map(|(name, value)| Ok((name.clone(), read_attribute(name, value)?))).collect()
}

fn read_attribute(name: &str, value: &Value) -> Result<Attribute, ApiError> {
    let text = |member: &str| value.get(member).and_then(Value::as_str);
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    let fits = (1..=256).contains(&name.len())
        && name.chars().all(word)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    if reserved || !fits {
        return Err(invalid_value(format!("Message attribute name '{name}' is invalid.")));
    }
    let data_type = text("DataType").unwrap_or_default();
    if data_type.is_empty() {
        return Err(invalid_value(format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        )));
    }
    let kind = data_type.split('.').next().unwrap_or_default();
    let (member, binary) = match kind {
        "String" | "Number" => ("StringValue", false),
        "Binary" => ("BinaryValue", true),
        _ => {
            return Err(invalid_value(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of \
                 supported type prefixes is Binary, Number, and String."
            )));
        }
    };
    let value = text(member).filter(|value| !value.is_empty()).ok_or_else(|| {
        invalid_value(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for \
             message attribute type '{kind}'."
        ))
    })?;
    if !binary && !value.chars().all(is_allowed) {
        return Err(invalid_contents());
    }
    if kind == "Number" && value.parse::<f64>().is_err() {
        return Err(invalid_value(format!(
            "Could not cast message attribute '{name}' value to number."
        )));
    }
    Ok(Attribute { data_type: data_type.to_owned(), value: value.to_owned(), binary })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqs::name::QueueName;
    use crate::sqs::settings::of_new_queue;
    use serde_json::json;

    fn settings(name: &str, attributes: Value) -> Settings {
        let name = QueueName::parse(name).unwrap();
        Settings::read(&of_new_queue(&name, attributes.as_object().unwrap()).unwrap())
    }

    fn draft(input: Value, settings: &Settings) -> Result<Draft, ApiError> {
        Draft::read(input.as_object().unwrap(), settings)
    }

    #[test]
    fn a_kept_message_of_version_1_is_read() {
        let kept = r#"{"v":1,"id":"m","body":"b","attributes":{"n":{"data_type":"Number",
            "value":"1"},"x":{"data_type":"Binary","value":"AAE=","binary":true}},"trace":"t",
            "sender":"s","sent":5,"group":"g","deduplication":"d","dead_from":"arn"}"#;
        let message = Message::read(kept.as_bytes()).unwrap();
        assert_eq!((message.body.as_str(), message.sent), ("b", 5));
        assert!(message.attributes["x"].binary);
        let again = serde_json::to_vec(&message).unwrap();
        assert_eq!(Message::read(&again), Some(message));
        assert_eq!(Message::read(br#"{"v":2,"id":"m","body":"b","sender":"s","sent":5}"#), None);
    }

    #[test]
    fn digests_are_those_the_sdks_compute() {
        assert_eq!(md5_of_body("hello"), "5d41402abc4b2a76b9719d911017c592");
        // From the developer guide's description, computed apart from this code.
        let plain = settings("q", json!({}));
        let sent = draft(
            json!({"MessageBody": "b", "MessageAttributes": {
                "b": {"DataType": "Binary", "BinaryValue": "AQI="},
                "a": {"DataType": "String", "StringValue": "v"}}}),
            &plain,
        )
        .unwrap();
        let all = sent.attributes.iter().map(|(name, it)| (name.as_str(), it));
        assert_eq!(md5_of_attributes(all).unwrap(), "35bbfe343ea0990c2dcb69f287640254");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_in_aws_words() {
        let plain = settings("q", json!({"MaximumMessageSize": "1024"}));
        let fifo = settings("q.fifo", json!({"FifoQueue": "true"}));
        let attribute = |value: Value| json!({"MessageBody": "b", "MessageAttributes": value});
        for (settings, input, text) in [
            (&plain, json!({}), "The request must contain the parameter MessageBody."),
            (&plain, json!({"MessageBody": ""}), "must contain the parameter MessageBody."),
            (&plain, json!({"MessageBody": "\u{1}"}), "Invalid characters found."),
            (&plain, json!({"MessageBody": "a".repeat(1025)}), "shorter than 1024 bytes."),
            (&plain, json!({"MessageBody": "b", "DelaySeconds": 901}), "Value 901"),
            (
                &plain,
                json!({"MessageBody": "b", "MessageDeduplicationId": "d"}),
                "not valid for this queue type",
            ),
            (&plain, attribute(json!({"aws.x": {"DataType": "String"}})), "'aws.x' is invalid."),
            (&plain, attribute(json!({"x": {"DataType": "Time"}})), "supported type prefixes"),
            (&plain, attribute(json!({"x": {"DataType": "String"}})), "non-empty message"),
            (
                &plain,
                attribute(json!({"x": {"DataType": "Number", "StringValue": "one"}})),
                "Could not cast message attribute 'x' value to number.",
            ),
            (&fifo, json!({"MessageBody": "b"}), "parameter MessageGroupId."),
            (
                &fifo,
                json!({"MessageBody": "b", "MessageGroupId": "g"}),
                "either have ContentBasedDeduplication",
            ),
            (
                &fifo,
                json!({"MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d",
                    "DelaySeconds": 1}),
                "not valid for this queue type",
            ),
            (&fifo, json!({"MessageBody": "b", "MessageGroupId": "a b"}), "1 to 128 in length."),
        ] {
            let error = draft(input.clone(), settings).unwrap_err();
            assert!(error.message.contains(text), "{input}: {error}");
        }
    }

    #[test]
    fn attributes_are_found_by_name_and_prefix() {
        let message = Message::read(
            br#"{"v":1,"id":"m","body":"b","sender":"s","sent":5,"attributes":{
                "a.b":{"data_type":"String","value":"1"},"c":{"data_type":"String","value":"2"}}}"#,
        )
        .unwrap();
        let names = |wanted: &[&str]| {
            message.attributes_named(wanted).into_keys().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(&["a.*"]), ["a.b"]);
        assert_eq!(names(&["c", "x"]), ["c"]);
        assert_eq!(names(&["All"]), ["a.b", "c"]);
        assert!(names(&[]).is_empty());
    }
}
