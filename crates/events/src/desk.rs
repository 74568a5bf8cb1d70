//! For the people who run the server: what is queued, owed and ended, and a hand on it.

use crate::destinations::outcome_time;
use crate::event_queue::Intake;
use crate::poller::calls::end_of;
use crate::poller::engine::Engine;
use crate::poller::machine::End;
use crate::record::{DELIVERIES, Durable, ENDED, EVENTS, Ended, EventState, Owed, root};
use async_trait::async_trait;
use lamplight_env::Timestamp;
use lamplight_rpc::{EventDesk, EventPage, EventRefused, EventStage};
use lamplight_store::{Key, Message, MessageId, Queue, Step, StoreError};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Things of one page.
const PAGE: usize = 1000;

pub struct Desk {
    pub store: Arc<dyn Queue>,
    pub calls: Arc<Engine>,
    pub deliveries: Arc<Engine>,
    pub intake: Arc<Intake>,
    pub kept: Duration,
}

fn unavailable(error: StoreError) -> EventRefused {
    EventRefused::Unavailable(error.to_string())
}

impl Desk {
    /// The queues of a stage that have something, by name.
    async fn lanes(&self, stage: EventStage) -> Result<Vec<Key>, EventRefused> {
        if stage == EventStage::Ended {
            return Ok(vec![root(ENDED)]);
        }
        let depths = self.store.depths(&root(place(stage)), self.calls.now()).await;
        Ok(depths.map_err(unavailable)?.into_iter().map(|depth| depth.queue).collect())
    }

    async fn find(&self, place: &str, name: &str) -> Result<Vec<Message>, EventRefused> {
        self.store.find(&root(place), name).await.map_err(unavailable)
    }

    /// Whether it was still there to be changed.
    async fn change(&self, step: Step) -> Result<bool, EventRefused> {
        match self.store.apply(vec![step], self.calls.now()).await {
            Ok(_) => Ok(true),
            Err(StoreError::LeaseLost(_)) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn place(stage: EventStage) -> &'static str {
    match stage {
        EventStage::Queued => EVENTS,
        EventStage::Delivering => DELIVERIES,
        EventStage::Ended => ENDED,
    }
}

#[async_trait]
impl EventDesk for Desk {
    async fn queues(&self) -> Result<Vec<Value>, EventRefused> {
        let now = self.calls.now();
        let mut shown = Vec::new();
        for (place, engine) in [(EVENTS, &self.calls), (DELIVERIES, &self.deliveries)] {
            for depth in self.store.depths(&root(place), now).await.map_err(unavailable)? {
                shown.push(json!({
                    "Queue": depth.queue.to_string(),
                    "Ready": depth.ready,
                    "Delayed": depth.delayed,
                    "Leased": depth.leased,
                    "Running": engine.running(&depth.queue),
                    "Bytes": depth.bytes,
                    "OldestAgeInSeconds":
                        (now.millis() - depth.oldest.millis()).max(0) / 1000,
                }));
            }
        }
        Ok(shown)
    }

    async fn list(
        &self,
        stage: EventStage,
        after: Option<&str>,
        max: usize,
    ) -> Result<EventPage, EventRefused> {
        let lanes = self.lanes(stage).await?;
        page(&*self.store, lanes, after, max.clamp(1, PAGE)).await
    }

    async fn show(&self, request_id: &str) -> Result<Vec<Value>, EventRefused> {
        let mut shown = Vec::new();
        for place in [EVENTS, DELIVERIES, ENDED] {
            shown.extend(self.find(place, request_id).await?.iter().map(show));
        }
        Ok(shown)
    }

    async fn retry(&self, request_id: &str) -> Result<usize, EventRefused> {
        let now = self.calls.now();
        let mut tried = 0;
        for (place, engine) in [(EVENTS, &self.calls), (DELIVERIES, &self.deliveries)] {
            for message in self.find(place, request_id).await? {
                // Somebody is at it right now.
                if message.leased && message.due > now {
                    continue;
                }
                let owed = Owed::read(&message.state).filter(|_| place == DELIVERIES);
                let state = owed.map(|owed| Owed { parked: false, attempts: 0, ..owed }.to_bytes());
                let step = Step::Retry { receipt: message.receipt, due: now, state };
                if self.change(step).await? {
                    engine.hint(&message.queue, now);
                    tried += 1;
                }
            }
        }
        Ok(tried)
    }

    async fn give_up(&self, request_id: &str) -> Result<usize, EventRefused> {
        let mut dropped = 0;
        let now = self.calls.now();
        for message in self.find(EVENTS, request_id).await? {
            // It runs, and is about to have its end.
            if message.leased && message.due > now {
                continue;
            }
            let state = EventState::read(&message.state);
            let ended = Ended {
                format: Ended::FORMAT,
                function: state.as_ref().map_or_else(String::new, |s| s.function.clone()),
                end: End::Dropped,
                attempts: state.as_ref().map_or(0, |s| s.attempts),
                accepted: message.sent.millis(),
                ended: now.millis(),
                error: None,
                destinations: Vec::new(),
                undelivered: None,
            };
            if self.change(end_of(&message, &ended, self.kept)).await? {
                self.intake.left(&message);
                dropped += 1;
            }
        }
        for message in self.find(DELIVERIES, request_id).await? {
            if self.change(Step::Done(message.receipt)).await? {
                tracing::warn!(request_id, queue = %message.queue, "an outcome was dropped");
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

/// The next `max` messages of `lanes`, which are in order.
async fn page(
    store: &dyn Queue,
    lanes: Vec<Key>,
    after: Option<&str>,
    max: usize,
) -> Result<EventPage, EventRefused> {
    let (from, mut last) = match after.map(Cursor::parse) {
        None => (String::new(), None),
        Some(Some(Cursor { queue, id })) => (queue, Some(MessageId(id))),
        Some(None) => return Ok(EventPage { events: Vec::new(), next: None }),
    };
    let mut events = Vec::new();
    for lane in lanes {
        let name = lane.to_string();
        if name < from {
            continue;
        }
        let mut after = if name == from { last.take() } else { None };
        loop {
            // Fewer than asked for says nothing: large ones come in small parts.
            let part = store.peek(&lane, after, max - events.len()).await.map_err(unavailable)?;
            let Some(MessageId(id)) = part.last().map(|message| message.receipt.id) else { break };
            events.extend(part.iter().map(show));
            if events.len() >= max {
                return Ok(EventPage { events, next: Some(Cursor { queue: name, id }.text()) });
            }
            after = Some(MessageId(id));
        }
    }
    Ok(EventPage { events, next: None })
}

/// Where a page ended.
struct Cursor {
    queue: String,
    id: i64,
}

impl Cursor {
    fn text(&self) -> String {
        format!("{}/{}", self.queue, self.id)
    }

    fn parse(text: &str) -> Option<Self> {
        let (queue, id) = text.rsplit_once('/')?;
        Some(Self { queue: queue.to_owned(), id: id.parse().ok()? })
    }
}

/// A message as people see it, without its payload.
fn show(message: &Message) -> Value {
    let mut shown = Map::new();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            shown.insert(name.to_owned(), value);
        }
    };
    let at = |millis: i64| json!(outcome_time(Timestamp::from_millis(millis)));
    set("RequestId", json!(message.name));
    if let Some(ended) = Ended::read(&message.state) {
        set("Stage", json!("Ended"));
        set("FunctionArn", json!(ended.function));
        set("End", json!(ended.end));
        set("Attempts", json!(ended.attempts));
        set("Accepted", at(ended.accepted));
        set("Ended", at(ended.ended));
        set("Error", json!(ended.error));
        if !ended.destinations.is_empty() {
            set("Destinations", json!(ended.destinations));
        }
        set("Undelivered", json!(ended.undelivered));
    } else if let Some(owed) = Owed::read(&message.state) {
        set("Stage", json!("Delivering"));
        set("FunctionArn", json!(owed.function));
        set("Destination", json!(owed.destination));
        set("Kind", json!(owed.kind));
        set("Attempts", json!(owed.attempts));
        set("Refusal", json!(owed.refusal));
        set("Parked", json!(owed.parked));
        set("Next", if owed.parked { Value::Null } else { at(message.due.millis()) });
    } else if let Some(state) = EventState::read(&message.state) {
        set("Stage", json!("Queued"));
        set("FunctionArn", json!(state.function));
        set("Attempts", json!(state.attempts));
        set("Accepted", at(state.accepted));
        set("Leased", json!(message.leased));
        set("Next", at(message.due.millis()));
    } else {
        set("Stage", json!("Unreadable"));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lamplight_store::{NewMessage, Store};

    #[tokio::test]
    async fn large_events_are_listed_one_and_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &lamplight_env::Env::system()).unwrap().meta;
        let lanes: Vec<Key> = ["a", "b"].map(|name| Key::new(&["event", name]).unwrap()).into();
        let body = Bytes::from(vec![b'x'; 3 << 20]);
        for lane in &lanes {
            for n in 0..5 {
                let now = Timestamp::from_millis(0);
                let message = NewMessage::new(format!("{lane}-{n}"), body.clone(), now);
                store.apply(vec![Step::Put(lane.clone(), message)], now).await.unwrap();
            }
        }
        let all = page(&*store, lanes.clone(), None, 100).await.unwrap();
        assert_eq!((all.events.len(), all.next), (10, None));
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let part = page(&*store, lanes.clone(), after.as_deref(), 3).await.unwrap();
            seen.extend(part.events);
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all.events);
    }
}
