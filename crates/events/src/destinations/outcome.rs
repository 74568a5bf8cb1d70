//! The outcome of an event, in the shapes in which destinations get it. Pure.

use crate::poller::machine::End;
use crate::record::EventState;
use bytes::Bytes;
use lamplight_env::Timestamp;
use lamplight_rpc::{InvokeError, Invoked};
use lamplight_store::Message;
use serde_json::{Map, Value, json};

/// Bytes of the error that a dead letter carries. AWS: the first KB.
const DEAD_LETTER_ERROR: usize = 1024;

/// Bytes of a record. Bytes that are no text take up to six times their room in JSON, and a record
/// has to fit into one transaction of the store.
const RECORD: usize = 8 * 1024 * 1024;

/// How an event ended, with its last call.
pub struct Ending {
    pub end: End,
    called: Option<Result<Invoked, InvokeError>>,
}

impl Ending {
    pub fn new(end: End, called: Result<Invoked, InvokeError>) -> Self {
        Self { end, called: Some(called) }
    }

    /// Of an event whose function was not asked any more.
    pub fn unheard(end: End) -> Self {
        Self { end, called: None }
    }

    fn answer(&self) -> Option<&Invoked> {
        self.called.as_ref()?.as_ref().ok()
    }

    /// As the function saw it.
    pub fn trace_id(&self) -> Option<&str> {
        Some(&self.answer()?.trace_id)
    }

    /// What went wrong, in words.
    pub fn error(&self) -> Option<String> {
        match self.called.as_ref() {
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(invoked)) if invoked.outcome.function_error.is_some() => {
                let document: Option<Value> = serde_json::from_slice(&invoked.outcome.payload).ok();
                let message = document.as_ref().and_then(|d| d["errorMessage"].as_str());
                let whole = || String::from_utf8_lossy(&invoked.outcome.payload).into_owned();
                Some(message.map_or_else(whole, str::to_owned))
            }
            _ => None,
        }
    }

    /// Attributes of a dead letter: code and message.
    pub fn dead_letter(&self) -> (u16, String) {
        let code = match self.called.as_ref() {
            Some(Ok(_)) => 200,
            Some(Err(InvokeError::Throttled(_))) => 429,
            Some(Err(InvokeError::Refused(_) | InvokeError::Recursive(_))) => 400,
            Some(Err(InvokeError::Start { .. })) => 500,
            None => 500,
        };
        let message = self.error().unwrap_or_else(|| match self.end {
            End::EventAgeExceeded => "The event is older than its maximum age.".to_owned(),
            _ => String::new(),
        });
        (code, cut(message, DEAD_LETTER_ERROR))
    }

    /// The record of an invocation.
    pub fn record(&self, event: &Message, state: &EventState, now: Timestamp) -> Bytes {
        let condition = match self.end {
            End::Succeeded => "Success",
            End::EventAgeExceeded => "EventAgeExceeded",
            End::NoConcurrency => "ZeroReservedConcurrency",
            _ => "RetriesExhausted",
        };
        let request = if event.body.is_empty() { json!({}) } else { as_json(&event.body) };
        let mut record = json!({
            "version": "1.0",
            "timestamp": timestamp(now),
            "requestContext": {
                "requestId": event.name,
                "functionArn": qualified(&state.function),
                "condition": condition,
                "approximateInvokeCount": state.attempts,
            },
            "requestPayload": request,
        });
        if let Some(Invoked { outcome, version, .. }) = self.answer() {
            let mut context = Map::new();
            context.insert("statusCode".to_owned(), json!(200));
            context.insert("executedVersion".to_owned(), json!(version.to_string()));
            if let Some(error) = outcome.function_error {
                context.insert("functionError".to_owned(), json!(error));
            }
            record["responseContext"] = Value::Object(context);
            record["responsePayload"] = as_json(&outcome.payload);
        } else if let Some(error_type) = self.refusal() {
            record["responsePayload"] =
                json!({ "errorType": error_type, "errorMessage": self.error() });
        }
        let mut text = record.to_string();
        for payload in ["responsePayload", "requestPayload"] {
            if text.len() > RECORD
                && let Some(members) = record.as_object_mut()
            {
                members.remove(payload);
                text = record.to_string();
            }
        }
        text.into()
    }

    /// Why the function will not be called, where the condition does not say so.
    fn refusal(&self) -> Option<&'static str> {
        match self.end {
            End::Recursive => Some("RecursiveInvocationException"),
            End::FunctionGone => Some("ResourceNotFoundException"),
            _ => None,
        }
    }
}

/// AWS: the record names `$LATEST` where no qualifier was given.
fn qualified(arn: &str) -> String {
    match arn.split(':').count() {
        7 => format!("{arn}:$LATEST"),
        _ => arn.to_owned(),
    }
}

/// A payload as it stands in a record.
fn as_json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(payload).into_owned()))
}

pub fn timestamp(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn cut(mut text: String, most: usize) -> String {
    while text.len() > most {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::root;
    use lamplight_model::Qualifier;
    use lamplight_rpc::{After, CatalogError, Outcome, Throttled};
    use lamplight_store::{MessageId, Receipt};

    fn event(body: &'static str) -> Message {
        Message {
            receipt: Receipt { id: MessageId(1), lease: 1 },
            queue: root("event"),
            name: "request-1".to_owned(),
            body: Bytes::from(body),
            state: Bytes::new(),
            group: None,
            sent: Timestamp::from_millis(0),
            first_leased: None,
            due: Timestamp::from_millis(0),
            leased: true,
        }
    }

    fn state(function: &str, attempts: u32) -> EventState {
        EventState {
            format: EventState::FORMAT,
            function: function.to_owned(),
            trace_id: "Root=1".to_owned(),
            tenant: None,
            accepted: 0,
            attempts,
            waits: 0,
        }
    }

    fn answered(payload: &'static str, function_error: Option<&'static str>) -> Invoked {
        let outcome = Outcome {
            payload: Bytes::from(payload),
            function_error,
            log_tail: None,
            after: After::Free,
        };
        Invoked { outcome, version: Qualifier::Version(3), trace_id: "Root=1;Lineage=x".into() }
    }

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_042);

    #[test]
    fn records_have_the_shape_of_aws() {
        let ending = Ending::new(End::Succeeded, Ok(answered("{\"a\":1}", None)));
        let record = ending.record(&event("{\"b\":2}"), &state(ARN, 1), NOW);
        assert_eq!(
            record,
            concat!(
                r#"{"version":"1.0","timestamp":"2026-11-18T11:06:40.042Z","requestContext":"#,
                r#"{"requestId":"request-1","functionArn":"arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST","#,
                r#""condition":"Success","approximateInvokeCount":1},"requestPayload":{"b":2},"#,
                r#""responseContext":{"statusCode":200,"executedVersion":"3"},"responsePayload":{"a":1}}"#,
            )
        );
        let error = r#"{"errorMessage":"no luck","errorType":"E"}"#;
        let ending = Ending::new(End::RetriesExhausted, Ok(answered(error, Some("Unhandled"))));
        let record: Value = serde_json::from_slice(&ending.record(
            &event(""),
            &state(&format!("{ARN}:live"), 3),
            NOW,
        ))
        .unwrap();
        assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
        assert_eq!(record["requestContext"]["functionArn"], format!("{ARN}:live"));
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
        assert_eq!(record["requestPayload"], json!({}));
        assert_eq!(record["responseContext"]["functionError"], "Unhandled");
        assert_eq!(ending.dead_letter(), (200, "no luck".to_owned()));
    }

    #[test]
    fn what_never_ran_has_no_response() {
        let ending = Ending::unheard(End::EventAgeExceeded);
        let record: Value =
            serde_json::from_slice(&ending.record(&event("1"), &state(ARN, 0), NOW)).unwrap();
        assert_eq!(record["requestContext"]["condition"], "EventAgeExceeded");
        assert!(record.get("responseContext").is_none() && record.get("responsePayload").is_none());
        let throttled = Throttled { reason: "x", retry_after_seconds: 1 };
        let ending = Ending::new(End::NoConcurrency, Err(throttled.into()));
        assert_eq!(ending.dead_letter(), (429, "Rate Exceeded.".to_owned()));
    }

    fn read(record: &Bytes) -> Value {
        serde_json::from_slice(record).unwrap()
    }

    #[test]
    fn a_record_says_why_the_function_was_not_called() {
        let throttled = Throttled { reason: "x", retry_after_seconds: 1 };
        let off = Ending::new(End::NoConcurrency, Err(throttled.into()));
        let record = read(&off.record(&event("1"), &state(ARN, 0), NOW));
        assert_eq!(record["requestContext"]["condition"], "ZeroReservedConcurrency");
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 0);
        assert!(record.get("responsePayload").is_none());
        let gone = CatalogError::NotFound("Function not found: f".to_owned());
        let gone = Ending::new(End::FunctionGone, Err(gone.into()));
        let record = read(&gone.record(&event("1"), &state(ARN, 0), NOW));
        assert_eq!(record["responsePayload"]["errorType"], "ResourceNotFoundException");
        assert_eq!(record["responsePayload"]["errorMessage"], gone.error().unwrap());
        let function = crate::record::function(ARN).unwrap();
        let looped = Ending::new(End::Recursive, Err(InvokeError::Recursive(function)));
        let record = read(&looped.record(&event("1"), &state(ARN, 0), NOW));
        assert_eq!(record["responsePayload"]["errorType"], "RecursiveInvocationException");
    }

    #[test]
    fn a_payload_that_takes_too_much_room_is_left_out() {
        for byte in [0xffu8, 0x01] {
            let huge: &'static [u8] = vec![byte; 6 << 20].leak();
            let mut answer = answered("", None);
            answer.outcome.payload = Bytes::from_static(huge);
            let ending = Ending::new(End::Succeeded, Ok(answer));
            let bytes = ending.record(&event("{\"b\":2}"), &state(ARN, 1), NOW);
            assert!(bytes.len() <= RECORD);
            let record = read(&bytes);
            assert!(record.get("responsePayload").is_none());
            assert_eq!(record["requestPayload"], json!({"b": 2}));
            assert_eq!(record["responseContext"]["statusCode"], 200);
            let both = Message { body: Bytes::from_static(huge), ..event("") };
            let record = ending.record(&both, &state(ARN, 1), NOW);
            assert!(record.len() < 1000);
        }
    }

    #[test]
    fn dead_letters_carry_the_first_kilobyte_of_the_error() {
        let long: &'static str =
            Box::leak(json!({"errorMessage": "ä".repeat(600)}).to_string().into_boxed_str());
        let ending = Ending::new(End::RetriesExhausted, Ok(answered(long, Some("Unhandled"))));
        assert_eq!(ending.dead_letter().1, "ä".repeat(512));
    }
}
