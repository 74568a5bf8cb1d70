//! Leases messages of many lanes, has them worked on, and settles: the driver around [`Lanes`].
//!
//! Level-triggered: hints only make it quicker. It looks through the store when it starts, when it
//! has missed a hint, and from time to time.

use super::lanes::{Lanes, Limits, Turn, Verdict};
use async_trait::async_trait;
use lamplight_env::{Clock, Tasks, Timestamp, faults};
use lamplight_store::{Ask, Key, Message, NewMessage, Queue, Receipt, Step, StoreError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// How long a message is leased; it is renewed while it is worked on.
pub const LEASE: Duration = Duration::from_secs(120);
const RENEW: Duration = Duration::from_secs(40);
/// Between two looks through the store.
const LOOK: Duration = Duration::from_secs(60);
/// Between two looks at the windows.
const WIDEN: Duration = Duration::from_millis(250);
/// Between attempts to write an outcome that the store does not take.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// What is to be written of a message, in one transaction.
pub struct Settlement {
    pub steps: Vec<Step>,
    pub verdict: Verdict,
    /// Whether the message has left its lane.
    pub left: bool,
}

/// What is done with a message.
#[async_trait]
pub trait Work: Send + Sync {
    async fn work(&self, message: &Message) -> Settlement;

    /// What to write in place of what is too large to be written.
    fn shortened(&self, _steps: &[Step], _why: &str) -> Option<Vec<Step>> {
        None
    }

    /// A message has left its lane; its body had so many bytes.
    fn left(&self, _lane: &Key, _bytes: usize) {}
}

pub struct Engine {
    queue: Arc<dyn Queue>,
    root: Key,
    work: Arc<dyn Work>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    lanes: Mutex<Lanes>,
    nudge: Notify,
}

impl Engine {
    pub fn new(
        (queue, root): (Arc<dyn Queue>, Key),
        work: Arc<dyn Work>,
        (tasks, clock): (Tasks, Arc<dyn Clock>),
        limits: Limits,
    ) -> Arc<Self> {
        let lanes = Mutex::new(Lanes::new(limits));
        Arc::new(Self { queue, root, work, tasks, clock, lanes, nudge: Notify::new() })
    }

    /// A place for a message that is about to be stored with a lease of [`LEASE`]. Must be followed
    /// by [`Engine::take_over`] or [`Engine::give_back`].
    pub fn reserve(&self, lane: &Key, bytes: usize) -> bool {
        self.lanes().reserve(lane, bytes)
    }

    pub fn give_back(&self, lane: &Key, bytes: usize) {
        self.lanes().finished(lane, bytes, Verdict::Fine, self.clock.now());
        self.nudge.notify_one();
    }

    /// Works on a message that was stored with a lease.
    pub fn take_over(self: &Arc<Self>, lane: &Key, message: NewMessage, receipt: Receipt) {
        let now = self.clock.now();
        self.start(Message {
            receipt,
            queue: lane.clone(),
            name: message.name,
            body: message.body,
            state: message.state,
            group: message.group,
            sent: now,
            first_leased: Some(now),
            due: message.lease.unwrap_or(now),
            leased: true,
        });
    }

    /// Until the stop signal; what is worked on then goes on to its end.
    pub async fn run(self: Arc<Self>) {
        let mut stop = self.tasks.stop_signal();
        let mut hints = self.queue.hints();
        let mut look_at = self.clock.now();
        let mut widen_at = look_at.plus(WIDEN);
        loop {
            let now = self.clock.now();
            if now >= look_at {
                look_at = now.plus(if self.look().await { LOOK } else { Duration::from_secs(1) });
            }
            // By the clock, and not when nothing happens for a while: a busy lane makes something
            // happen all the time, and the windows of others have to open.
            if now >= widen_at {
                self.lanes().widen();
                widen_at = now.plus(WIDEN);
            }
            self.lease_what_is_next();
            let (alarm, busy) = {
                let lanes = self.lanes();
                (lanes.alarm(), lanes.is_busy())
            };
            let until = alarm.map_or(look_at, |alarm| alarm.min(look_at));
            let until = if busy { until.min(widen_at) } else { until };
            let wait = until.millis().saturating_sub(self.clock.now().millis());
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0).max(1));
            tokio::select! {
                // In order, so that a run can be repeated. Whatever happens, all of it is looked
                // at above.
                biased;
                () = stop.stopped() => return,
                hint = hints.recv() => match hint {
                    Ok(lane) => self.hinted(&lane),
                    Err(broadcast::error::RecvError::Lagged(_)) => look_at = now,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn hinted(&self, lane: &Key) {
        let ours = lane.segments().next() == self.root.segments().next();
        if ours && lane.segments().count() > 1 {
            let now = self.clock.now();
            self.lanes().hint(lane, now, now);
        }
    }

    /// Whether the store could be read.
    async fn look(&self) -> bool {
        let now = self.clock.now();
        match self.queue.depths(&self.root, now).await {
            Ok(depths) => {
                let mut lanes = self.lanes();
                for depth in depths {
                    lanes.hint(&depth.queue, depth.next_due, now);
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the queues cannot be looked through");
                false
            }
        }
    }

    fn lease_what_is_next(self: &Arc<Self>) {
        loop {
            let Some(turn) = self.lanes().next(self.clock.now()) else { return };
            let engine = Arc::clone(self);
            self.tasks.spawn(async move { engine.lease(turn).await });
        }
    }

    async fn lease(self: &Arc<Self>, turn: Turn) {
        let now = self.clock.now();
        let ask = Ask {
            messages: turn.messages,
            bytes: turn.bytes,
            in_order: false,
            until: now.plus(LEASE),
        };
        let leased = match faults::point("event.lease") {
            Ok(()) => self.queue.lease(&turn.lane, ask, now).await,
            Err(fault) => Err(StoreError::Unavailable(fault.to_string())),
        };
        // Nothing to refuse any more: armed with an error it does nothing.
        let _ = faults::point("event.leased");
        let (messages, next) = match leased {
            Ok(messages) if messages.len() == turn.messages => (messages, None),
            Ok(messages) => match self.queue.next_due(&turn.lane).await {
                Ok(next) => (messages, next),
                Err(_) => (messages, Some(now.plus(SETTLE_AGAIN))),
            },
            Err(error) => {
                tracing::warn!(%error, lane = %turn.lane, "nothing can be leased");
                (Vec::new(), Some(now.plus(SETTLE_AGAIN)))
            }
        };
        let sizes: Vec<usize> = messages.iter().map(|message| message.body.len()).collect();
        self.lanes().leased(&turn, &sizes, next, self.clock.now());
        for message in messages {
            self.start(message);
        }
        self.nudge.notify_one();
    }

    fn start(self: &Arc<Self>, message: Message) {
        let engine = Arc::clone(self);
        self.tasks.spawn(async move { engine.work_on(message).await });
    }

    async fn work_on(&self, message: Message) {
        let settlement = self.renewing(&message).await;
        let (verdict, left) = (settlement.verdict, settlement.left);
        let again = settlement.steps.iter().find_map(|step| match step {
            Step::Retry { due, .. } => Some(*due),
            _ => None,
        });
        let settled = self.settle(&message, settlement.steps).await;
        let bytes = message.body.len();
        if settled && left {
            self.work.left(&message.queue, bytes);
        }
        let now = self.clock.now();
        let mut lanes = self.lanes();
        if let Some(due) = again {
            lanes.hint(&message.queue, due, now);
        }
        lanes.finished(&message.queue, bytes, verdict, now);
        drop(lanes);
        self.nudge.notify_one();
    }

    /// There is something in a lane, or will be.
    pub fn hint(&self, lane: &Key, due: Timestamp) {
        self.lanes().hint(lane, due, self.clock.now());
        self.nudge.notify_one();
    }

    /// Works on the message, and holds it as long as that takes.
    async fn renewing(&self, message: &Message) -> Settlement {
        let mut work = self.work.work(message);
        loop {
            if let Ok(done) = tokio::time::timeout(RENEW, &mut work).await {
                return done;
            }
            let until = self.clock.now().plus(LEASE);
            let extend = Step::Extend { receipt: message.receipt, until };
            if let Err(error) = self.queue.apply(vec![extend], self.clock.now()).await {
                tracing::warn!(%error, name = message.name, "a lease is not renewed");
            }
        }
    }

    /// Writes the outcome, as long as it takes: without it the work would be done again. Whether
    /// it was written.
    async fn settle(&self, message: &Message, mut steps: Vec<Step>) -> bool {
        let mut stop = self.tasks.stop_signal();
        loop {
            let written = match faults::point("event.settle") {
                Ok(()) => self.queue.apply(steps.clone(), self.clock.now()).await,
                Err(fault) => Err(StoreError::Unavailable(fault.to_string())),
            };
            match written {
                Ok(_) => {
                    let _ = faults::point("event.settled");
                    return true;
                }
                Err(StoreError::LeaseLost(_)) => {
                    tracing::info!(name = message.name, "somebody else has the message by now");
                    return false;
                }
                // It will be tomorrow, too.
                Err(StoreError::TooLarge(why)) => {
                    tracing::error!(why, name = message.name, "an outcome is too large");
                    let Some(shorter) = self.work.shortened(&steps, &why) else { return false };
                    steps = shorter;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, name = message.name, "an outcome cannot be written");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(SETTLE_AGAIN) => {}
                // The next start does it again.
                () = stop.stopped() => return false,
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().expect("no holder panics")
    }

    pub fn running(&self, lane: &Key) -> usize {
        self.lanes().running(lane)
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::calls::{end_of, without_deliveries};
    use crate::poller::machine::End;
    use crate::record::{self, Durable, ENDED, Ended};
    use bytes::Bytes;
    use lamplight_env::Env;
    use lamplight_store::MemoryQueues;

    /// Ends every event with a delivery that is too large for the store.
    struct TooMuch;

    #[async_trait]
    impl Work for TooMuch {
        async fn work(&self, message: &Message) -> Settlement {
            let ended = Ended {
                format: Ended::FORMAT,
                function: "f".to_owned(),
                end: End::Succeeded,
                attempts: 1,
                accepted: 0,
                ended: 0,
                error: None,
                destinations: vec!["arn:d".to_owned()],
                undelivered: None,
            };
            let body = Bytes::from(vec![b'x'; lamplight_store::STEPS_BYTES_MAX + 1]);
            let owed = NewMessage::new("owed", body, Timestamp::from_millis(0));
            let steps = vec![
                end_of(message, &ended, Duration::from_secs(60)),
                Step::Put(record::root("delivery"), owed),
            ];
            Settlement { steps, verdict: Verdict::Fine, left: true }
        }

        fn shortened(&self, steps: &[Step], why: &str) -> Option<Vec<Step>> {
            without_deliveries(steps, why)
        }
    }

    #[tokio::test]
    async fn what_is_too_large_to_deliver_still_ends() {
        let (env, store) = (Env::system(), Arc::new(MemoryQueues::default()));
        let clock = Arc::clone(&env.clock);
        let lane = Key::new(&["event", "f"]).unwrap();
        let queue = Arc::clone(&store) as Arc<dyn Queue>;
        let engine = Engine::new(
            (queue, record::root("event")),
            Arc::new(TooMuch),
            (env.tasks.clone(), clock.clone()),
            Limits { running: 1, bytes: 1, window: 1 },
        );
        let now = clock.now();
        let lease = Some(now.plus(LEASE));
        let message = NewMessage { lease, ..NewMessage::new("one", Bytes::from("1"), now) };
        let put = Step::Put(lane.clone(), message.clone());
        let stored = store.apply(vec![put], now).await.unwrap();
        assert!(engine.reserve(&lane, 1));
        engine.take_over(&lane, message, stored[0].receipt);
        let mut hints = store.hints();
        while store.peek(&record::root(ENDED), None, 1).await.unwrap().is_empty() {
            hints.recv().await.unwrap();
        }
        let kept = store.peek(&record::root(ENDED), None, 9).await.unwrap();
        let ended = Ended::read(&kept[0].state).unwrap();
        assert!(ended.undelivered.is_some() && ended.destinations.is_empty(), "{ended:?}");
        assert_eq!(store.peek(&record::root("delivery"), None, 9).await.unwrap(), []);
    }
}
