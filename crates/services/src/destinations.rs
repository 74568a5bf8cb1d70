//! Queues and topics as destinations: of outcomes, and of events that nobody could work off.

use crate::sns::{Internal, Sns};
use crate::sqs::{self, Sqs, sendable};
use async_trait::async_trait;
use lamplight_model::{AccountId, Scope};
use lamplight_rpc::{Content, Delivery, DeliveryError, Destinations};
use lamplight_wire::ApiError;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};

/// AWS: how Lambda is called as a sender.
const LAMBDA: &str = "lambda.amazonaws.com";
/// AWS: bytes of a message of SNS.
const TOPIC_BYTES: usize = 256 * 1024;
/// AWS: bytes of an error's text in an attribute.
const ERROR_BYTES: usize = 1024;

/// SQS.
pub struct Queues(pub Arc<Sqs>);

/// SNS, which is there once it has been set: it delivers through the events it is a destination of.
#[derive(Default)]
pub struct Topics(OnceLock<Arc<Sns>>);

impl Topics {
    /// Called once, before the first event.
    pub fn set(&self, sns: Arc<Sns>) {
        if self.0.set(sns).is_err() {
            tracing::error!("topics were set twice as destinations");
        }
    }
}

#[async_trait]
impl Destinations for Queues {
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        let scope = scope(&delivery.destination)?;
        let (body, attributes) = message(delivery.content, &delivery.request_id);
        let mut input = Map::from_iter([("MessageBody".to_owned(), Value::from(body))]);
        input.extend(attributes.map(|them| ("MessageAttributes".to_owned(), them)));
        let sent = sqs::Delivery { input, sender: LAMBDA.to_owned() };
        self.0.deliver(&scope, &delivery.destination, sent).await.map(|_| ()).map_err(refused)
    }
}

#[async_trait]
impl Destinations for Topics {
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        let starting = || DeliveryError::Refused("the server is starting".to_owned());
        let sns = self.0.get().ok_or_else(starting)?;
        let scope = scope(&delivery.destination)?;
        let is_record = matches!(delivery.content, Content::Record { .. });
        let (body, attributes) = message(delivery.content, &delivery.request_id);
        let body = if is_record { without_payloads(body) } else { body };
        let mut input = Map::from_iter([("Message".to_owned(), Value::from(body))]);
        input.extend(attributes.map(|them| ("MessageAttributes".to_owned(), them)));
        let new = Internal { topic_arn: &delivery.destination, input };
        sns.publish(&scope, new).await.map(|_| ()).map_err(refused)
    }
}

/// Of an ARN.
fn scope(arn: &str) -> Result<Scope, DeliveryError> {
    let mut parts = arn.split(':').skip(3);
    let (region, account) = (parts.next(), parts.next().and_then(AccountId::new));
    match (region, account) {
        (Some(region), Some(account)) => Ok(Scope { account, region: region.into() }),
        _ => Err(DeliveryError::Impossible(format!("{arn} is no ARN of an account"))),
    }
}

/// The text of a message, and the attributes that dead letters have.
fn message(content: Content, request_id: &str) -> (String, Option<Value>) {
    match content {
        Content::Record { record, .. } => (sendable(&String::from_utf8_lossy(&record)), None),
        Content::DeadLetter { event, error_code, error_message } => {
            let error_message = sendable(&error_message);
            let mut end = error_message.len().min(ERROR_BYTES);
            while !error_message.is_char_boundary(end) {
                end -= 1;
            }
            let attribute =
                |kind: &str, value: &str| json!({ "DataType": kind, "StringValue": value });
            let mut attributes = json!({
                "RequestID": attribute("String", request_id),
                "ErrorCode": attribute("Number", &error_code.to_string()),
            });
            if let (Some(text), Some(them)) = (
                error_message.get(..end).filter(|text| !text.is_empty()),
                attributes.as_object_mut(),
            ) {
                them.insert("ErrorMessage".to_owned(), attribute("String", text));
            }
            // AWS: a call without a payload is an empty event.
            let event = if event.is_empty() { &b"{}"[..] } else { &event };
            (sendable(&String::from_utf8_lossy(event)), Some(attributes))
        }
    }
}

/// AWS: a record that is too large for SNS goes without what went in and came out.
fn without_payloads(record: String) -> String {
    if record.len() <= TOPIC_BYTES {
        return record;
    }
    let Ok(Value::Object(mut members)) = serde_json::from_str(&record) else { return record };
    members.remove("requestPayload");
    members.remove("responsePayload");
    Value::Object(members).to_string()
}

fn refused(error: ApiError) -> DeliveryError {
    let ours =
        error.status.is_some_and(|status| status >= 500) || error.code == "InternalErrorException";
    // A queue or a topic may be made, or made again, later.
    let missing =
        ["DoesNotExist", "NonExistentQueue", "NotFound"].iter().any(|of| error.code.contains(of));
    let later = ours || missing;
    let text = error.to_string();
    if later { DeliveryError::Refused(text) } else { DeliveryError::Impossible(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn dead_letters_say_what_went_wrong() {
        let content = |event: &'static [u8], error_message: String| Content::DeadLetter {
            event: Bytes::from_static(event),
            error_code: 200,
            error_message,
        };
        // What no message may hold is marked, and no event is an empty one.
        let (body, attributes) =
            message(content(b"\x01\xef\xbf\xbf", "\u{1b}[31m".to_owned()), "id");
        assert_eq!(body, "\u{fffd}\u{fffd}");
        assert_eq!(attributes.unwrap()["ErrorMessage"]["StringValue"], "\u{fffd}[31m");
        let (body, attributes) = message(content(b"", "é".repeat(600)), "id");
        let attributes = attributes.unwrap();
        assert_eq!(body, "{}");
        assert_eq!(attributes["ErrorCode"]["StringValue"], "200");
        assert_eq!(attributes["ErrorMessage"]["StringValue"].as_str().unwrap().len(), 1024);
    }

    #[test]
    fn large_records_go_to_topics_without_payloads() {
        let small = json!({"requestPayload": 1}).to_string();
        assert_eq!(without_payloads(small.clone()), small);
        let large = json!({"version": "1.0", "requestPayload": "x".repeat(TOPIC_BYTES)});
        assert_eq!(without_payloads(large.to_string()), r#"{"version":"1.0"}"#);
    }
}
