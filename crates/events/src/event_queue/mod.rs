//! Takes events in: an event that was answered is on the disk.

mod stock;

pub use stock::Stock;

use crate::poller::engine::{Engine, LEASE};
use crate::record::{self, Durable, EventState};
use async_trait::async_trait;
use lamplight_env::{Tasks, faults};
use lamplight_model::limits;
use lamplight_rpc::{Event, EventQueue, EventRefused};
use lamplight_store::{Key, Message, NewMessage, Queue, Step, StoreError};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Events that may wait to be written.
const WRITING: usize = 1024;

pub struct Intake {
    queue: Arc<dyn Queue>,
    engine: Arc<Engine>,
    stock: Arc<Stock>,
    tasks: Tasks,
    writing: Arc<Semaphore>,
}

impl Intake {
    pub fn new(
        queue: Arc<dyn Queue>,
        engine: Arc<Engine>,
        stock: Arc<Stock>,
        tasks: Tasks,
    ) -> Self {
        Self { queue, engine, stock, tasks, writing: Arc::new(Semaphore::new(WRITING)) }
    }
}

impl Intake {
    /// An event was taken out of its lane by hand.
    pub fn left(&self, message: &Message) {
        self.stock.leave(&message.queue, message.body.len() as u64);
    }
}

#[async_trait]
impl EventQueue for Intake {
    async fn accept(&self, event: Event) -> Result<(), EventRefused> {
        if event.payload.len() > limits::EVENT_PAYLOAD {
            return Err(EventRefused::TooLarge);
        }
        let place =
            Arc::clone(&self.writing).try_acquire_owned().map_err(|_| EventRefused::Busy)?;
        let lane = record::lane(&event.function.function).ok_or_else(|| {
            EventRefused::Unavailable("the function has a strange name".to_owned())
        })?;
        let bytes = event.payload.len();
        self.stock.enter(&lane, bytes as u64)?;
        // To its end even when the caller goes away: what is reserved has to be given back, and a
        // message that is stored with a lease has to be worked on.
        let (queue, engine, stock) =
            (Arc::clone(&self.queue), Arc::clone(&self.engine), Arc::clone(&self.stock));
        let writing = self.tasks.spawn(async move {
            let _place = place;
            let direct = engine.reserve(&lane, bytes);
            let now = engine.now();
            let message = NewMessage {
                state: state(&event, now.millis()).to_bytes(),
                lease: direct.then(|| now.plus(LEASE)),
                ..NewMessage::new(event.request_id, event.payload, now)
            };
            let stored = match faults::point("event.accept") {
                Ok(()) => store(&*queue, &lane, message.clone(), now).await,
                Err(fault) => Err(StoreError::Unavailable(fault.to_string())),
            };
            match stored {
                Ok(receipt) if direct => engine.take_over(&lane, message, receipt),
                Ok(_) => {}
                Err(error) => {
                    stock.leave(&lane, bytes as u64);
                    if direct {
                        engine.give_back(&lane, bytes);
                    }
                    return Err(EventRefused::Unavailable(error.to_string()));
                }
            }
            faults::point("event.accepted")
                .map_err(|fault| EventRefused::Unavailable(fault.to_string()))
        });
        if faults::bug("early-answer") {
            return Ok(());
        }
        writing.await.unwrap_or_else(|panic| Err(EventRefused::Unavailable(panic.to_string())))
    }
}

async fn store(
    queue: &dyn Queue,
    lane: &Key,
    message: NewMessage,
    now: lamplight_env::Timestamp,
) -> Result<lamplight_store::Receipt, StoreError> {
    let stored = queue.apply(vec![Step::Put(lane.clone(), message)], now).await?;
    let none = || StoreError::Failed("a message was stored without a trace".to_owned());
    stored.first().map(|stored| stored.receipt).ok_or_else(none)
}

fn state(event: &Event, accepted: i64) -> EventState {
    EventState {
        format: EventState::FORMAT,
        function: event.function.arn(),
        trace_id: event.trace_id.clone(),
        tenant: event.tenant.clone(),
        accepted,
        attempts: 0,
        waits: 0,
    }
}
