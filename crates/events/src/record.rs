//! Durable formats: what is kept of an event beside its payload, of its end, and of what is owed to
//! a destination. JSON with a version; the names of the queues they are in.

use crate::poller::machine::End;
use lamplight_env::faults;
use lamplight_model::{AccountId, FunctionArn, FunctionRef, Scope};
use lamplight_store::Key;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

/// Queues of events, one for each function.
pub const EVENTS: &str = "event";
/// Queues of what is owed, one for each destination.
pub const DELIVERIES: &str = "delivery";
/// The queue of terminal records.
pub const ENDED: &str = "event-ended";

/// The queue of a function's events. `None` for a name that no queue can have.
pub fn lane(function: &FunctionArn) -> Option<Key> {
    let Scope { account, region } = &function.scope;
    let name = if faults::bug("one-lane") { "all" } else { &*function.name };
    Key::new(&[EVENTS, account.as_str(), region, name]).ok()
}

pub fn delivery_lane(destination: &str) -> Option<Key> {
    Key::new(&[DELIVERIES, destination]).ok()
}

pub fn root(name: &str) -> Key {
    Key::new(&[name]).expect("a constant without control characters")
}

/// What an event is for, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventState {
    pub format: u32,
    /// As it was asked for, with its qualifier.
    pub function: String,
    pub trace_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Milliseconds since the epoch.
    pub accepted: i64,
    /// How often the function ran.
    pub attempts: u32,
    /// How often in a row the function could not be called.
    pub waits: u32,
}

/// A terminal record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub format: u32,
    pub function: String,
    pub end: End,
    pub attempts: u32,
    pub accepted: i64,
    pub ended: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// To whom its outcome was owed then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<String>,
    /// Why nothing is owed although it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<String>,
}

/// What a delivery is beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    pub format: u32,
    pub destination: String,
    pub function: String,
    /// Of the call whose outcome it is, with its lineage.
    pub trace_id: String,
    pub kind: Kind,
    /// Of a dead letter.
    #[serde(default)]
    pub error_code: u16,
    #[serde(default)]
    pub error_message: String,
    /// Deliveries that did not work.
    pub attempts: u32,
    /// What the last one failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Nobody tries again until somebody asks for it.
    #[serde(default)]
    pub parked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    DeadLetter,
    OnSuccess,
    OnFailure,
}

/// Formats that carry their version.
pub trait Durable: Serialize + DeserializeOwned {
    fn format(&self) -> u32;

    fn to_bytes(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("plain data with text keys serialises").into()
    }

    /// `None` for what no version up to this one wrote.
    fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|read: &Self| read.format() <= FORMAT)
    }
}

macro_rules! durable {
    ($($name:ident),*) => {$(
        impl $name {
            pub const FORMAT: u32 = FORMAT;
        }
        impl Durable for $name {
            fn format(&self) -> u32 {
                self.format
            }
        }
    )*};
}
durable!(EventState, Ended, Owed);

/// The function that an ARN of ours names.
pub fn function(arn: &str) -> Option<FunctionRef> {
    let mut parts = arn.split(':').skip(3);
    let (region, account) = (parts.next()?, parts.next()?);
    let scope = Scope { account: AccountId::new(account)?, region: region.into() };
    FunctionRef::parse(&scope, arn, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const STATE: &str = r#"{"format":1,"function":"arn:aws:lambda:r:000000000000:function:f:live","trace_id":"Root=1","tenant":"t","accepted":5,"attempts":1,"waits":2}"#;
    const ENDED_1: &str = r#"{"format":1,"function":"arn:aws:lambda:r:000000000000:function:f","end":"RetriesExhausted","attempts":3,"accepted":5,"ended":6,"error":"x","destinations":["arn:d"]}"#;
    const ENDED_2: &str = r#"{"format":1,"function":"arn:aws:lambda:r:000000000000:function:f","end":"Succeeded","attempts":1,"accepted":5,"ended":6,"undelivered":"too large"}"#;
    const OWED: &str = r#"{"format":1,"destination":"arn:d","function":"arn:f","trace_id":"Root=1","kind":"DeadLetter","error_code":200,"error_message":"e","attempts":1,"refusal":"no","parked":true}"#;

    fn same<T: Durable + PartialEq + std::fmt::Debug>(text: &str) -> T {
        let read = T::read(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(read.to_bytes().to_vec()).unwrap(), text);
        assert_eq!(T::read(text.replace("\"format\":1", "\"format\":2").as_bytes()), None);
        read
    }

    #[test]
    fn old_bytes_are_read() {
        let state: EventState = same(STATE);
        assert_eq!(function(&state.function).unwrap().arn(), state.function);
        assert_eq!(same::<Ended>(ENDED_1).end, End::RetriesExhausted);
        assert_eq!(same::<Ended>(ENDED_2).undelivered.as_deref(), Some("too large"));
        assert_eq!(same::<Owed>(OWED).kind, Kind::DeadLetter);
        assert_eq!(EventState::read(b"{}"), None);
    }
}
