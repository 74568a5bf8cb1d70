//! The seam for messages that are worked off later: queued events, deliveries, message queues.
//!
//! At least once: a message is leased for a while, and comes back when its lease runs out. Who
//! holds a lease writes with its [`Receipt`]; once somebody else was given the message, writes
//! with the old one are refused ([`StoreError::LeaseLost`]) and change nothing.
//!
//! A message is in exactly one queue; moving it is one step of a transaction, so it can neither be
//! lost nor be doubled on the way. Time is a parameter everywhere: what a jump of the wall clock
//! does is for the caller to know.

use crate::{Held, Key, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use tokio::sync::broadcast;

/// Steps of one transaction.
pub const STEPS_MAX: usize = 256;
/// Bodies, states and names of one transaction, bytes.
pub const STEPS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A message's name, group and deduplication id, bytes each.
pub const NAME_BYTES_MAX: usize = 512;
/// How many of the oldest messages are searched for groups that are free, when messages are taken
/// in order. AWS: a FIFO queue, too, looks at so many only.
pub const ORDERED_SEARCH: usize = 20_000;

/// Order of arrival. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub i64);

/// Proof of a lease: good until the message is leased again, or is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    pub id: MessageId,
    /// How often the message has been leased or moved.
    pub lease: i64,
}

/// A message as its sender gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The sender's name for it. Need not be unique.
    pub name: String,
    pub body: Bytes,
    /// Small, and rewritten by whoever works on the message; the body is never written again.
    pub state: Bytes,
    /// Not given to anybody before this.
    pub due: Timestamp,
    /// Deleted then, whatever has become of it.
    pub expires: Option<Timestamp>,
    /// Messages of a group are worked off one after the other, where a queue is leased in order.
    pub group: Option<String>,
    pub dedup: Option<Dedup>,
    /// The sender starts to work on it at once, and has it until then.
    pub lease: Option<Timestamp>,
}

impl NewMessage {
    /// One that is due at once, and is kept until it is done.
    pub fn new(name: impl Into<String>, body: Bytes, now: Timestamp) -> Self {
        Self {
            name: name.into(),
            body,
            state: Bytes::new(),
            due: now,
            expires: None,
            group: None,
            dedup: None,
            lease: None,
        }
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.body.len() + self.state.len()
    }
}

/// Until when a second message of this id is taken for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    pub id: String,
    pub until: Timestamp,
}

/// A message as it is in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub receipt: Receipt,
    pub queue: Key,
    pub name: String,
    pub body: Bytes,
    pub state: Bytes,
    pub group: Option<String>,
    pub sent: Timestamp,
    pub first_leased: Option<Timestamp>,
    /// When it is given out next: not before it is due, or when its lease runs out.
    pub due: Timestamp,
    pub leased: bool,
}

/// A step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Put(Key, NewMessage),
    /// The work is done: deletes the message.
    Done(Receipt),
    /// Gives the message back, with another state where given.
    Retry {
        receipt: Receipt,
        due: Timestamp,
        state: Option<Bytes>,
    },
    /// Holds it until then.
    Extend {
        receipt: Receipt,
        until: Timestamp,
    },
    /// Puts it into another queue, leased by nobody.
    Move(Receipt, Moved),
    /// The named lease must still be the one that was given out.
    Fence(Held),
}

/// Where and how a message goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub queue: Key,
    pub due: Timestamp,
    pub expires: Option<Timestamp>,
    pub state: Bytes,
    /// Whether the body is still needed.
    pub keep_body: bool,
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(_, message) => message.bytes(),
            Self::Retry { state: Some(state), .. } => state.len(),
            Self::Move(_, moved) => moved.state.len(),
            Self::Done(_) | Self::Retry { .. } | Self::Extend { .. } | Self::Fence(_) => 0,
        }
    }
}

/// What became of a [`Step::Put`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// For its lease, where the sender has one.
    pub receipt: Receipt,
    /// The name of the message that was there already: nothing was stored.
    pub duplicate_of: Option<String>,
}

/// How much to lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub messages: usize,
    /// Of bodies; the first message is given whatever its size.
    pub bytes: usize,
    /// One group after the other by arrival, and none of a group of which somebody has messages.
    pub in_order: bool,
    pub until: Timestamp,
}

/// How full a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    pub queue: Key,
    pub ready: u64,
    pub leased: u64,
    pub delayed: u64,
    /// Of bodies.
    pub bytes: u64,
    /// When the oldest of all was sent.
    pub oldest: Timestamp,
    /// When the next one can be given out.
    pub next_due: Timestamp,
}

#[async_trait]
pub trait Queue: Send + Sync {
    /// All of `steps`, or none; answers each Put in order. Durable once it returns. A caller that
    /// drops the future does not know whether it happened.
    async fn apply(&self, steps: Vec<Step>, now: Timestamp) -> Result<Vec<Stored>, StoreError>;

    /// Gives out messages that are due, those that have been due for longest first.
    async fn lease(
        &self,
        queue: &Key,
        ask: Ask,
        now: Timestamp,
    ) -> Result<Vec<Message>, StoreError>;

    /// Messages by arrival, those after `after`, leased or not. Fewer where bodies are large.
    async fn peek(
        &self,
        queue: &Key,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// All messages of this name in `queue` and below it. Reads through all of them.
    async fn find(&self, queue: &Key, name: &str) -> Result<Vec<Message>, StoreError>;

    /// Those of `queue` and of the queues below it that are not empty, by name. Leaves out what has
    /// a damaged name.
    async fn depths(&self, queue: &Key, now: Timestamp) -> Result<Vec<Depth>, StoreError>;

    /// When the next message can be given out: of one that is leased, when its lease runs out.
    async fn next_due(&self, queue: &Key) -> Result<Option<Timestamp>, StoreError>;

    /// Ends all leases in `queue` and below it, for an owner that knows that nobody works there.
    async fn reclaim(&self, queue: &Key, now: Timestamp) -> Result<u64, StoreError>;

    /// Deletes what is in the queue now.
    async fn purge(&self, queue: &Key) -> Result<u64, StoreError>;

    /// Deletes what was due first until `keep` messages are left.
    async fn trim(&self, queue: &Key, keep: u64) -> Result<u64, StoreError>;

    /// Deletes what has expired.
    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Names of queues that have got something. May miss some, so look from time to time, too.
    fn hints(&self) -> broadcast::Receiver<Key>;
}

/// Refuses what no implementation takes.
pub(crate) fn check_steps(steps: &[Step]) -> Result<(), StoreError> {
    if steps.len() > STEPS_MAX {
        return Err(StoreError::TooLarge(format!("{} steps", steps.len())));
    }
    let bytes: usize = steps.iter().map(Step::bytes).sum();
    if bytes > STEPS_BYTES_MAX {
        return Err(StoreError::TooLarge(format!("{bytes} bytes")));
    }
    for step in steps {
        let Step::Put(_, message) = step else { continue };
        let dedup = message.dedup.as_ref().map(|dedup| &dedup.id);
        for name in [Some(&message.name), message.group.as_ref(), dedup].into_iter().flatten() {
            if name.len() > NAME_BYTES_MAX {
                return Err(StoreError::TooLarge(format!("a name of {} bytes", name.len())));
            }
        }
    }
    Ok(())
}

/// The queues that have got something by `steps`.
pub(crate) fn touched(steps: &[Step]) -> Vec<Key> {
    let queue = |step: &Step| match step {
        Step::Put(queue, message) if message.lease.is_none() => Some(queue.clone()),
        Step::Move(_, moved) => Some(moved.queue.clone()),
        _ => None,
    };
    steps.iter().filter_map(queue).collect()
}
