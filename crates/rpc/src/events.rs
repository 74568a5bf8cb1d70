//! Events that nobody waits for: how they are taken in, where their outcomes go, and how people
//! look at them.

use async_trait::async_trait;
use bytes::Bytes;
use lamplight_model::FunctionRef;
use serde_json::Value;
use thiserror::Error;

/// An event for a function. Whoever may not call the function has been refused before.
#[derive(Debug, Clone)]
pub struct Event {
    pub function: FunctionRef,
    /// The same for every attempt.
    pub request_id: String,
    /// JSON; empty stands for `{}`.
    pub payload: Bytes,
    pub trace_id: String,
    pub tenant: Option<String>,
}

/// Why an event was not taken in. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventRefused {
    /// So many are queued already, of the function or in all.
    #[error("too many events are queued")]
    Full,
    #[error("the payload is too large for an event")]
    TooLarge,
    /// More arrive than can be written.
    #[error("too many events arrive at once")]
    Busy,
    #[error("{0}")]
    Unavailable(String),
}

#[async_trait]
pub trait EventQueue: Send + Sync {
    /// The event is on the disk once this returns `Ok`: it will end in exactly one terminal
    /// record, whatever happens to this server. The function may see it more than once.
    async fn accept(&self, event: Event) -> Result<(), EventRefused>;
}

/// What is owed to a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// An ARN.
    pub destination: String,
    /// The same for every attempt; no other delivery has it.
    pub id: String,
    /// ARN of the function that the event was for, with its qualifier.
    pub function: String,
    pub request_id: String,
    /// With the lineage of the call whose outcome it is.
    pub trace_id: String,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// To a dead-letter queue: the event itself, and message attributes.
    DeadLetter { event: Bytes, error_code: u16, error_message: String },
    /// The record of an invocation, JSON.
    Record { record: Bytes, success: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeliveryError {
    /// It may work later.
    #[error("{0}")]
    Refused(String),
    /// It will not work until somebody does something: it is kept for that.
    #[error("{0}")]
    Impossible(String),
}

/// Knows how to reach destinations by their ARNs.
#[async_trait]
pub trait Destinations: Send + Sync {
    /// Once it returns `Ok`, the destination has it. May be asked twice for the same delivery.
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError>;
}

/// Where an event or a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStage {
    /// Waits for its function, or is with it.
    Queued,
    /// Its outcome is owed to a destination.
    Delivering,
    /// Its terminal record.
    Ended,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// Each an object.
    pub events: Vec<Value>,
    /// Where the next page starts, if there is one.
    pub next: Option<String>,
}

/// For the people who run the server.
#[async_trait]
pub trait EventDesk: Send + Sync {
    /// Queues that are not empty: how full they are, and how old the oldest event is.
    async fn queues(&self) -> Result<Vec<Value>, EventRefused>;

    async fn list(
        &self,
        stage: EventStage,
        after: Option<&str>,
        max: usize,
    ) -> Result<EventPage, EventRefused>;

    /// All that is known of the event with this request id.
    async fn show(&self, request_id: &str) -> Result<Vec<Value>, EventRefused>;

    /// Lets what waits of it be tried now; how many things that were.
    async fn retry(&self, request_id: &str) -> Result<usize, EventRefused>;

    /// Gives up what waits of it, with a record; how many things that were.
    async fn give_up(&self, request_id: &str) -> Result<usize, EventRefused>;
}
