//! Hostile cases of events that take hours or days: nobody works, or an event that kills whoever
//! works on it. A day passes at once.

use crate::destinations::Routes;
use crate::options::Options;
use crate::poller::known::Known;
use crate::poller::machine::{AGE, End};
use crate::record::{DELIVERIES, Durable, ENDED, EVENTS, Ended, root};
use crate::service::Events;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::{Clock, Env, SeededRandom, Tasks, Timestamp};
use lamplight_model::{AccountId, FunctionRef, Qualifier, Scope};
use lamplight_rpc::{
    After, Call, Content, Delivery, DeliveryError, Destinations, Event, InvokeError, Invoked,
    Invoker, Outcome, Throttled,
};
use lamplight_store::{MemoryQueues, MessageId, Queue, Store};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const EPOCH: i64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Kills the runtime each time, after a while.
const POISON: &str = "poison";
const CRASH: Duration = Duration::from_secs(5);

/// Whoever is around the room.
struct Town {
    began: tokio::time::Instant,
    /// What the clock was set forward by, milliseconds, while nobody looked.
    passed: AtomicI64,
    room: AtomicBool,
    /// When each event was with its function, milliseconds since the beginning.
    calls: Mutex<BTreeMap<String, Vec<i64>>>,
    /// Records of failures, by request id.
    failures: Mutex<BTreeMap<String, Vec<Value>>>,
}

impl Town {
    fn new(room: bool) -> Arc<Self> {
        Arc::new(Self {
            began: tokio::time::Instant::now(),
            passed: AtomicI64::new(0),
            room: AtomicBool::new(room),
            calls: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    fn env(self: &Arc<Self>) -> Env {
        Env {
            clock: Arc::clone(self) as _,
            random: Arc::new(SeededRandom::new(1)),
            tasks: Tasks::new(),
        }
    }

    async fn events(self: &Arc<Self>, queue: Arc<dyn Queue>, options: Options) -> Events {
        let routes = Routes::default().with("sqs", Arc::clone(self) as _);
        let parts = (queue, Arc::clone(self) as _);
        Events::assemble(self.env(), options, parts, Arc::clone(self) as _, routes).await.unwrap()
    }

    fn ms(&self) -> i64 {
        self.now().millis() - EPOCH
    }
}

impl Clock for Town {
    fn now(&self) -> Timestamp {
        let passed = self.passed.load(Ordering::SeqCst);
        Timestamp::from_millis(EPOCH + passed).plus(self.began.elapsed())
    }

    fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Known for Town {
    fn config(&self, _: &FunctionRef) -> Option<Arc<Value>> {
        let failures = json!({ "Destination": "arn:aws:sqs:us-east-1:000000000000:failures" });
        Some(Arc::new(json!({ "DestinationConfig": { "OnFailure": failures } })))
    }

    fn is_off(&self, _: &FunctionRef) -> bool {
        false
    }

    fn dead_letters(&self, _: &FunctionRef) -> Option<String> {
        None
    }
}

#[async_trait]
impl Invoker for Town {
    async fn invoke(&self, call: Call) -> Result<Invoked, InvokeError> {
        if !self.room.load(Ordering::SeqCst) {
            return Err(Throttled { reason: "full", retry_after_seconds: 1 }.into());
        }
        self.calls.lock().unwrap().entry(call.request_id).or_default().push(self.ms());
        let crashes = &*call.function.function.name == POISON;
        tokio::time::sleep(if crashes { CRASH } else { Duration::from_millis(10) }).await;
        let outcome = Outcome {
            payload: Bytes::from_static(br#"{"errorType":"Runtime.ExitError"}"#),
            function_error: crashes.then_some("Unhandled"),
            log_tail: None,
            after: After::Free,
        };
        Ok(Invoked { outcome, version: Qualifier::Latest, trace_id: "Root=1".into() })
    }
}

#[async_trait]
impl Destinations for Town {
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        let Content::Record { record, success: false } = delivery.content else {
            return Err(DeliveryError::Impossible("only failures come here".to_owned()));
        };
        let record = serde_json::from_slice(&record).unwrap();
        self.failures.lock().unwrap().entry(delivery.request_id).or_default().push(record);
        Ok(())
    }
}

fn event(function: &str, request_id: &str) -> Event {
    let scope =
        Scope { account: AccountId::new("000000000000").unwrap(), region: "us-east-1".into() };
    Event {
        function: FunctionRef::parse(&scope, function, None).unwrap(),
        request_id: request_id.to_owned(),
        payload: Bytes::from_static(b"{}"),
        trace_id: "Root=1".to_owned(),
        tenant: None,
    }
}

fn paused(work: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work);
}

async fn owes(queue: &dyn Queue) -> bool {
    !queue.depths(&root(DELIVERIES), Timestamp::from_millis(0)).await.unwrap().is_empty()
}

/// The terminal records.
async fn ended(queue: &dyn Queue) -> BTreeMap<String, Vec<Ended>> {
    let (mut found, mut after): (BTreeMap<String, Vec<Ended>>, Option<MessageId>) =
        (BTreeMap::new(), None);
    loop {
        let page = queue.peek(&root(ENDED), after, 1000).await.unwrap();
        let Some(last) = page.last() else { return found };
        after = Some(last.receipt.id);
        for message in page {
            found.entry(message.name).or_default().push(Ended::read(&message.state).unwrap());
        }
    }
}

/// Each of `names` has ended once as too old, never ran, and its failure was told once.
async fn all_too_old(town: &Town, queue: &dyn Queue, names: &BTreeSet<String>) {
    let ended = ended(queue).await;
    assert_eq!(ended.keys().collect::<BTreeSet<_>>(), names.iter().collect());
    for (name, ends) in &ended {
        let [end] = &ends[..] else { panic!("{name} ends {} times", ends.len()) };
        assert_eq!((end.end, end.attempts), (End::EventAgeExceeded, 0), "{name}");
        let age = Duration::from_millis(u64::try_from(end.ended - end.accepted).unwrap());
        assert!(age >= AGE, "{name} ended after {age:?}");
    }
    assert!(queue.depths(&root(EVENTS), town.now()).await.unwrap().is_empty());
    let failures = town.failures.lock().unwrap();
    assert_eq!(failures.keys().collect::<BTreeSet<_>>(), names.iter().collect());
    for (name, records) in &*failures {
        let [record] = &records[..] else { panic!("{name} was told {} times", records.len()) };
        assert_eq!(record["requestContext"]["condition"], "EventAgeExceeded");
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 0);
    }
    assert!(town.calls.lock().unwrap().is_empty());
}

/// On a real store. `LAMPLIGHT_EVENTS` says how many events wait.
#[tokio::test]
async fn f3_after_a_day_without_a_server_every_event_is_told_of() {
    let asked = std::env::var("LAMPLIGHT_EVENTS").ok().and_then(|text| text.parse().ok());
    let names: BTreeSet<String> = (0..asked.unwrap_or(500)).map(|n| format!("e{n}")).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &Env::system()).unwrap();
    let town = Town::new(false);
    let options = Options { records: 1_000_000, ..Options::default() };
    // It takes events in, and ends before there was room for any.
    let before = town.events(Arc::clone(&store.meta) as _, options.clone()).await;
    let tasks = Tasks::new();
    let list: Vec<String> = names.iter().cloned().collect();
    let senders: Vec<_> = list
        .chunks(list.len() / 64 + 1)
        .map(|part| {
            let (queue, part) = (before.queue(), part.to_vec());
            tasks.spawn(async move {
                for (n, name) in part.iter().enumerate() {
                    queue.accept(event(&format!("f{}", n % 7), name)).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    drop(before);
    town.room.store(true, Ordering::SeqCst);
    town.passed.store(i64::try_from(DAY.as_millis()).unwrap(), Ordering::SeqCst);
    let heir = town.events(Arc::clone(&store.meta) as _, options).await;
    heir.start();
    let told = async {
        while town.failures.lock().unwrap().len() < names.len() || owes(&*store.meta).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), told).await.expect("all are told of");
    all_too_old(&town, &*store.meta, &names).await;
}

#[test]
fn f3_a_day_without_room_ends_events_when_they_are_too_old() {
    paused(async {
        let town = Town::new(false);
        let queue = Arc::new(MemoryQueues::default());
        let options = Options { kept: 2 * DAY, ..Options::default() };
        let events = town.events(Arc::clone(&queue) as _, options).await;
        events.start();
        let names: BTreeSet<String> = (0..200).map(|n| format!("e{n}")).collect();
        for name in &names {
            events.queue().accept(event("f", name)).await.unwrap();
        }
        tokio::time::sleep(DAY).await;
        all_too_old(&town, &*queue, &names).await;
        for ends in ended(&*queue).await.values() {
            let late = ends[0].ended - ends[0].accepted - i64::try_from(AGE.as_millis()).unwrap();
            assert!(late < 300_000, "ended {late} ms after it was too old");
        }
    });
}

/// How long each of the neighbour's events waited, beside so many poisonous ones, in ms.
fn neighbours_waits(poisonous: usize) -> Vec<i64> {
    let mut waits = Vec::new();
    paused(async {
        let town = Town::new(true);
        let queue = Arc::new(MemoryQueues::default());
        let options = Options { running: 16, ..Options::default() };
        let events = town.events(Arc::clone(&queue) as _, options).await;
        events.start();
        let poison: Vec<String> = (0..poisonous).map(|n| format!("p{n}")).collect();
        for name in &poison {
            events.queue().accept(event(POISON, name)).await.unwrap();
        }
        let mut sent = Vec::new();
        for n in 0..200 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            sent.push((format!("n{n}"), town.ms()));
            events.queue().accept(event("neighbour", &format!("n{n}"))).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let (ended, calls) = (ended(&*queue).await, town.calls.lock().unwrap());
        for name in &poison {
            let [end] = &ended[name][..] else { panic!("{name} ends more than once") };
            assert_eq!((end.end, end.attempts), (End::RetriesExhausted, 3), "{name}");
            let [first, second, third] = calls[name][..] else { panic!("{:?}", calls[name]) };
            let crash = i64::try_from(CRASH.as_millis()).unwrap();
            assert!(second - first >= crash + 60_000, "{name}: {:?}", calls[name]);
            assert!(third - second >= crash + 120_000, "{name}: {:?}", calls[name]);
        }
        for (name, at) in sent {
            assert_eq!(ended[&name][0].end, End::Succeeded);
            let [called] = calls[&name][..] else { panic!("{:?}", calls[&name]) };
            waits.push(called - at);
        }
        assert_eq!(town.failures.lock().unwrap().len(), poisonous);
    });
    waits.sort_unstable();
    waits
}

#[test]
fn f8_poisonous_events_are_given_up_and_hold_up_nobody_else() {
    let (alone, beside) = (neighbours_waits(0), neighbours_waits(100));
    let p99 = |waits: &[i64]| waits[waits.len() * 99 / 100];
    assert!(p99(&beside) <= p99(&alone) + 10, "{alone:?} and {beside:?}");
}
