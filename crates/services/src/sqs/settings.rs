//! A queue's attributes: which there are, what they may be, and what they are by default.
//!
//! Attributes are kept as the text they were given in, as AWS shows them, and read once a queue is
//! used: [`Settings`]. Those that only say how AWS stores things (keys, encryption) are kept and
//! have no effect.

use super::name::QueueName;
use super::{invalid_attribute_name, invalid_attribute_value, invalid_value};
use lamplight_wire::ApiError;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Attributes that are numbers: name, what they may be, and their default.
const NUMBERS: [(&str, RangeInclusive<u32>, u32); 5] = [
    ("DelaySeconds", 0..=900, 0),
    ("MaximumMessageSize", 1024..=1_048_576, 1_048_576),
    ("MessageRetentionPeriod", 60..=1_209_600, 345_600),
    ("ReceiveMessageWaitTimeSeconds", 0..=20, 0),
    ("VisibilityTimeout", 0..=43_200, 30),
];
const KEY_REUSE: RangeInclusive<u32> = 60..=86_400;
/// Attributes that are computed; nobody sets them.
pub const COMPUTED: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// What a queue does, read from its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub fifo: bool,
    pub delay_seconds: u32,
    pub maximum_message_size: u32,
    pub retention_seconds: u32,
    pub wait_seconds: u32,
    pub visibility_seconds: u32,
    pub content_based_deduplication: bool,
    /// A deduplication id says something within its message group only.
    pub deduplicates_by_group: bool,
    pub redrive: Option<Redrive>,
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    pub dead_letter_arn: String,
    pub max_receive_count: u32,
}

/// The attributes of a new queue: what was given, over what AWS shows of every queue.
pub fn of_new_queue(
    name: &QueueName,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let mut attributes = Map::new();
    for (number, _, default) in &NUMBERS {
        attributes.insert((*number).to_owned(), Value::from(default.to_string()));
    }
    attributes.insert("SqsManagedSseEnabled".to_owned(), Value::from("true"));
    let says_fifo = given.get("FifoQueue").map(|value| value == "true");
    if name.is_fifo() {
        for (attribute, value) in [
            ("FifoQueue", "true"),
            ("ContentBasedDeduplication", "false"),
            ("DeduplicationScope", "queue"),
            ("FifoThroughputLimit", "perQueue"),
        ] {
            attributes.insert(attribute.to_owned(), Value::from(value));
        }
        if says_fifo != Some(true) {
            return Err(invalid_value(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
                 underscores, must end with .fifo suffix and be 1 to 80 in length.",
            ));
        }
    } else if says_fifo == Some(true) {
        return Err(invalid_value(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
             underscores, must end with .fifo suffix and be 1 to 80 in length.",
        ));
    }
    change(name, &mut attributes, given, true)?;
    Ok(attributes)
}

/// Puts what was `given` over `attributes`. An empty text takes an attribute away, where there is a
/// way without it.
pub fn change(
    name: &QueueName,
    attributes: &mut Map<String, Value>,
    given: &Map<String, Value>,
    new: bool,
) -> Result<(), ApiError> {
    for (attribute, value) in given {
        let text = value.as_str().unwrap_or_default();
        check(name, attribute, text, new)?;
        if text.is_empty() {
            attributes.remove(attribute);
        } else {
            attributes.insert(attribute.clone(), Value::from(text));
        }
    }
    let is = |attribute: &str, text: &str| attributes.get(attribute).is_some_and(|v| v == text);
    // AWS: high throughput needs ids that say something within a group only.
    if is("FifoThroughputLimit", "perMessageGroupId") && !is("DeduplicationScope", "messageGroup") {
        return Err(invalid_value(
            "The perMessageGroupId value of FifoThroughputLimit is allowed only when the value of \
             DeduplicationScope is messageGroup.",
        ));
    }
    Ok(())
}

fn check(name: &QueueName, attribute: &str, text: &str, new: bool) -> Result<(), ApiError> {
    let within = |range: &RangeInclusive<u32>| text.parse().is_ok_and(|n| range.contains(&n));
    let valid = match attribute {
        "FifoQueue" => {
            // AWS: of a queue that is there it can be said again, and not be changed.
            if !name.is_fifo() || !(new || text == "true") {
                return Err(invalid_attribute_name(attribute));
            }
            text == "true"
        }
        "ContentBasedDeduplication" | "DeduplicationScope" | "FifoThroughputLimit"
            if !name.is_fifo() =>
        {
            return Err(invalid_attribute_name(attribute));
        }
        "ContentBasedDeduplication" | "SqsManagedSseEnabled" => matches!(text, "true" | "false"),
        "DeduplicationScope" => matches!(text, "queue" | "messageGroup"),
        "FifoThroughputLimit" => matches!(text, "perQueue" | "perMessageGroupId"),
        "KmsDataKeyReusePeriodSeconds" => within(&KEY_REUSE),
        "KmsMasterKeyId" => true,
        "Policy" => text.is_empty() || is_object(text),
        "RedrivePolicy" => text.is_empty() || redrive(text).is_some(),
        "RedriveAllowPolicy" => text.is_empty() || Allow::parse(text).is_some(),
        other => match NUMBERS.iter().find(|(number, _, _)| *number == other) {
            Some((_, range, _)) => within(range),
            None => return Err(invalid_attribute_name(other)),
        },
    };
    if valid { Ok(()) } else { Err(invalid_attribute_value(attribute)) }
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object())
}

impl Settings {
    /// Of attributes that passed [`of_new_queue`] or [`change`]. What was taken away is as by
    /// default.
    pub fn read(attributes: &Map<String, Value>) -> Self {
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        let number = |name: &str| {
            let default = NUMBERS.iter().find(|(number, _, _)| *number == name).map(|n| n.2);
            text(name).and_then(|text| text.parse().ok()).or(default).unwrap_or_default()
        };
        let is = |name: &str, value: &str| text(name) == Some(value);
        Self {
            fifo: is("FifoQueue", "true"),
            delay_seconds: number("DelaySeconds"),
            maximum_message_size: number("MaximumMessageSize"),
            retention_seconds: number("MessageRetentionPeriod"),
            wait_seconds: number("ReceiveMessageWaitTimeSeconds"),
            visibility_seconds: number("VisibilityTimeout"),
            content_based_deduplication: is("ContentBasedDeduplication", "true"),
            deduplicates_by_group: is("DeduplicationScope", "messageGroup"),
            redrive: text("RedrivePolicy").and_then(redrive),
        }
    }
}

fn redrive(text: &str) -> Option<Redrive> {
    let policy: Value = serde_json::from_str(text).ok()?;
    let arn = policy.get("deadLetterTargetArn")?.as_str()?;
    // AWS: given as a number or as its text.
    let count = match policy.get("maxReceiveCount")? {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    let max_receive_count = u32::try_from(count).ok().filter(|count| (1..=1000).contains(count))?;
    Some(Redrive { dead_letter_arn: arn.to_owned(), max_receive_count })
}

/// Which queues may send their dead letters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    All,
    None,
    By(Vec<String>),
}

impl Allow {
    pub fn of(attributes: &Map<String, Value>) -> Self {
        let text = attributes.get("RedriveAllowPolicy").and_then(Value::as_str);
        text.and_then(Self::parse).unwrap_or(Self::All)
    }

    pub fn allows(&self, source_arn: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::By(arns) => arns.iter().any(|arn| arn == source_arn),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let policy: Value = serde_json::from_str(text).ok()?;
        match policy.get("redrivePermission")?.as_str()? {
            "allowAll" => Some(Self::All),
            "denyAll" => Some(Self::None),
            "byQueue" => {
                let arns = policy.get("sourceQueueArns")?.as_array()?;
                let arns: Option<Vec<String>> =
                    arns.iter().map(|arn| Some(arn.as_str()?.to_owned())).collect();
                // AWS: ten at most.
                arns.filter(|arns| (1..=10).contains(&arns.len())).map(Self::By)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_queue_has_what_it_was_given_over_the_defaults() {
        let name = QueueName::parse("q").unwrap();
        let attributes = of_new_queue(
            &name,
            &given(json!({
                "VisibilityTimeout": "7",
                "RedrivePolicy": r#"{"deadLetterTargetArn":"arn:x","maxReceiveCount":"3"}"#,
            })),
        )
        .unwrap();
        assert_eq!(attributes["DelaySeconds"], "0");
        let settings = Settings::read(&attributes);
        assert_eq!((settings.visibility_seconds, settings.retention_seconds), (7, 345_600));
        let redrive = settings.redrive.unwrap();
        assert_eq!((redrive.dead_letter_arn.as_str(), redrive.max_receive_count), ("arn:x", 3));
        let mut attributes = attributes;
        change(&name, &mut attributes, &given(json!({"RedrivePolicy": ""})), false).unwrap();
        assert_eq!(Settings::read(&attributes).redrive, None);
    }

    #[test]
    fn what_no_queue_can_have_is_refused_by_name() {
        let (plain, fifo) = (QueueName::parse("q").unwrap(), QueueName::parse("q.fifo").unwrap());
        for (name, attributes, code) in [
            (&plain, json!({"VisibilityTimeout": "43201"}), "InvalidAttributeValue"),
            (&plain, json!({"VisibilityTimeout": "-1"}), "InvalidAttributeValue"),
            (&plain, json!({"VisibilityTimeout": ""}), "InvalidAttributeValue"),
            (&plain, json!({"Colour": "red"}), "InvalidAttributeName"),
            (&plain, json!({"QueueArn": "arn"}), "InvalidAttributeName"),
            (&plain, json!({"FifoQueue": "false"}), "InvalidAttributeName"),
            (&plain, json!({"ContentBasedDeduplication": "true"}), "InvalidAttributeName"),
            (&plain, json!({"RedrivePolicy": "{}"}), "InvalidAttributeValue"),
            (&plain, json!({"Policy": "[]"}), "InvalidAttributeValue"),
            (&plain, json!({"FifoQueue": "true"}), "InvalidParameterValue"),
            (&fifo, json!({}), "InvalidParameterValue"),
            (
                &fifo,
                json!({"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}),
                "InvalidParameterValue",
            ),
        ] {
            let error = of_new_queue(name, &given(attributes.clone())).unwrap_err();
            assert_eq!(error.code, code, "{attributes}");
        }
        let fine = given(json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"}));
        let settings = Settings::read(&of_new_queue(&fifo, &fine).unwrap());
        assert!(settings.fifo && settings.content_based_deduplication);
    }

    #[test]
    fn dead_letters_come_from_whom_they_may() {
        let of = |text: &str| Allow::of(&given(json!({"RedriveAllowPolicy": text})));
        assert!(Allow::of(&Map::new()).allows("a"));
        assert!(!of(r#"{"redrivePermission":"denyAll"}"#).allows("a"));
        let by = of(r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#);
        assert!(by.allows("a") && !by.allows("b"));
    }
}
