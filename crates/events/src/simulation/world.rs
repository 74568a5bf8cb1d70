//! The world around the room, and its referee: time, functions, destinations, and what was seen.

use super::{Bug, Run};
use crate::poller::known::Known;
use crate::poller::machine::{AGE, End};
use crate::record::{DELIVERIES, Durable, EVENTS, Ended, Kind, Owed, root};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::{Clock, Random, SeededRandom, Timestamp};
use lamplight_model::{FunctionRef, Qualifier};
use lamplight_rpc::{
    After, Call, Content, Delivery, DeliveryError, Destinations, InvokeError, Invoked, Invoker,
    Outcome, StartError, Throttled,
};
use lamplight_store::{MemoryQueues, Message, MessageId, Queue, Step, Stored};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const EPOCH: i64 = 1_700_000_000_000;
const DAY: u64 = 24 * 3600 * 1000;
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

pub struct World {
    random: SeededRandom,
    bug: Bug,
    seen: Mutex<Seen>,
    strike: Notify,
}

/// Steps that are written later, and when they should have been.
pub type PutOff = (Vec<Step>, (Timestamp, u64));

#[derive(Default)]
struct Seen {
    log: Vec<String>,
    broken: Option<String>,
    /// Simulated milliseconds before this life, and when it began.
    before: u64,
    began: Option<tokio::time::Instant>,
    /// How far the wall clock was set from what it should show.
    offset: i64,
    faulty: bool,
    /// The store refuses everything until then.
    outage_until: u64,
    named: u64,
    /// Length of the log at which the server goes.
    strike_at: Option<usize>,
    promised: BTreeSet<String>,
    names: BTreeMap<MessageId, String>,
    accepted: BTreeMap<String, u64>,
    ended: BTreeMap<String, End>,
    not_before: BTreeMap<String, u64>,
    /// Leases, and until when they are good.
    held: BTreeMap<MessageId, u64>,
    lost_leases: u64,
    /// Starts of which nothing was written.
    unsettled: BTreeMap<String, u64>,
    owed: BTreeSet<(String, &'static str)>,
    delivered: BTreeSet<(String, &'static str)>,
    put_off: Vec<PutOff>,
}

impl Seen {
    fn broken(&mut self, what: String) {
        self.log.push(format!("BROKEN {what}"));
        self.broken.get_or_insert(what);
    }
}

impl World {
    pub fn new(seed: u64, bug: Bug) -> Self {
        let seen = Seen { faulty: true, ..Seen::default() };
        let random = SeededRandom::new(seed);
        Self { random, bug, seen: Mutex::new(seen), strike: Notify::new() }
    }

    /// One of so many, from the seed.
    pub fn dice(&self, sides: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % sides.max(1)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    fn true_ms(seen: &Seen) -> u64 {
        let passed = seen.began.map_or(Duration::ZERO, |began| began.elapsed());
        seen.before + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    /// Simulated milliseconds since the beginning, whatever the wall clock says.
    pub fn elapsed(&self) -> u64 {
        Self::true_ms(&self.seen())
    }

    pub fn bug(&self) -> Bug {
        self.bug
    }

    pub fn note(&self, what: &str, whom: &str) {
        let mut seen = self.seen();
        let at = Self::true_ms(&seen);
        seen.log.push(format!("{at} {what} {whom}"));
        if seen.strike_at == Some(seen.log.len()) {
            self.strike.notify_one();
        }
    }

    /// Mostly the server goes right after something has happened, whatever it is.
    pub fn strike_soon(&self) {
        let after = (self.dice(4) > 0).then(|| self.dice(400));
        let mut seen = self.seen();
        let before = seen.log.len();
        seen.strike_at = after.and_then(|after| Some(before + 1 + usize::try_from(after).ok()?));
    }

    pub async fn struck(&self) {
        self.strike.notified().await;
    }

    pub fn begin(&self) {
        let mut seen = self.seen();
        seen.began = Some(tokio::time::Instant::now());
        seen.offset = 0;
    }

    /// Of a life, while its time still stands.
    pub fn close(&self) {
        let mut seen = self.seen();
        seen.before = Self::true_ms(&seen);
        seen.began = None;
    }

    pub fn heal(&self) {
        let mut seen = self.seen();
        (seen.faulty, seen.outage_until) = (false, 0);
    }

    pub fn jump(&self) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let by = signed(self.dice(2 * DAY)) - signed(DAY);
        self.seen().offset = by;
        self.note("the wall clock is off by", &by.to_string());
    }

    /// Milliseconds that the store takes.
    pub fn lateness(&self) -> u64 {
        match self.dice(if self.seen().faulty { 50 } else { 51 }) {
            0 => self.dice(5000),
            _ => self.dice(5),
        }
    }

    pub fn refuses(&self) -> bool {
        let (draw, length) = (self.dice(400), self.dice(300_000));
        let mut seen = self.seen();
        let now = Self::true_ms(&seen);
        if seen.faulty && draw == 0 {
            seen.outage_until = now + length;
        }
        seen.faulty && (draw < 8 || now < seen.outage_until)
    }

    /// Takes what is to be written later, or gives what is due for that.
    pub fn put_off(&self, steps: Option<PutOff>) -> Vec<PutOff> {
        let mut seen = self.seen();
        match steps {
            Some(steps) => {
                seen.put_off.push(steps);
                Vec::new()
            }
            None => std::mem::take(&mut seen.put_off),
        }
    }

    pub fn next_name(&self, sender: u64) -> String {
        let mut seen = self.seen();
        seen.named += 1;
        format!("e{}-{sender}", seen.named)
    }

    pub fn promised(&self, name: String) {
        self.note("promised", &name);
        self.seen().promised.insert(name);
    }

    pub fn name_of(&self, id: MessageId) -> String {
        self.seen().names.get(&id).cloned().unwrap_or_default()
    }

    /// `asked` is when the room took its time to be `now`.
    pub fn leased(&self, messages: &[Message], until: Timestamp, (now, asked): (Timestamp, u64)) {
        for message in messages {
            let id = message.receipt.id;
            let name = self.name_of(id);
            if name.is_empty() {
                continue;
            }
            self.note("leased", &name);
            let mut seen = self.seen();
            let true_now = Self::true_ms(&seen);
            let good = asked + span(now, until);
            if let Some(held) = seen.held.insert(id, good) {
                seen.lost_leases += 1;
                if true_now < held {
                    seen.broken(format!("{name} is leased while it is still held"));
                }
            }
        }
    }

    pub fn committed(&self, steps: &[Step], stored: &[Stored], (now, asked): (Timestamp, u64)) {
        let mut stored = stored.iter();
        for step in steps {
            match step {
                Step::Put(queue, message) => {
                    let id = stored.next().expect("one for each Put").receipt.id;
                    if queue.segments().next() == Some(EVENTS) {
                        self.note("stored", &message.name);
                        let mut seen = self.seen();
                        seen.names.insert(id, message.name.clone());
                        seen.accepted.insert(message.name.clone(), asked);
                        if let Some(until) = message.lease {
                            seen.held.insert(id, asked + span(now, until));
                        }
                    } else if let Some(owed) = Owed::read(&message.state) {
                        self.note("owed", &message.name);
                        self.seen().owed.insert((message.name.clone(), word(owed.kind)));
                    }
                }
                Step::Retry { receipt, due, .. } => {
                    let name = self.name_of(receipt.id);
                    if !name.is_empty() {
                        self.note("again", &name);
                        let mut seen = self.seen();
                        let due = asked + span(now, *due);
                        seen.not_before.insert(name.clone(), due);
                        seen.held.remove(&receipt.id);
                        settled(&mut seen, &name);
                    }
                }
                Step::Extend { receipt, until } => {
                    let mut seen = self.seen();
                    let good = asked + span(now, *until);
                    if let Some(held) = seen.held.get_mut(&receipt.id) {
                        *held = good;
                    }
                }
                Step::Move(receipt, moved) => {
                    let name = self.name_of(receipt.id);
                    let record = Ended::read(&moved.state).expect("a terminal record");
                    self.end(&name, &record);
                    self.seen().held.remove(&receipt.id);
                }
                Step::Done(_) | Step::Fence(_) => {}
            }
        }
    }

    fn end(&self, name: &str, record: &Ended) {
        self.note(&format!("ends: {:?} after {}", record.end, record.attempts), name);
        let function = crate::record::function(&record.function).expect("one of ours");
        let (age, retries) = policy(&function);
        let mut seen = self.seen();
        let now = Self::true_ms(&seen);
        if seen.ended.insert(name.to_owned(), record.end).is_some() {
            seen.broken(format!("{name} ends twice"));
        }
        let old = now - seen.accepted.get(name).copied().unwrap_or(now);
        if record.end == End::EventAgeExceeded && old + 1 < age {
            seen.broken(format!("{name} is too old too soon, after {old} ms"));
        }
        if record.end == End::RetriesExhausted && record.attempts != retries + 1 {
            seen.broken(format!("{name} is given up after {} attempts", record.attempts));
        }
        settled(&mut seen, name);
    }

    /// Looks at what is left after a life: nothing that was promised is nowhere.
    pub fn look(&self, store: &MemoryQueues) -> (BTreeSet<String>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (waiting, owed) = runtime.block_on(async {
            let mut names = [BTreeSet::new(), BTreeSet::new()];
            for (place, names) in [EVENTS, DELIVERIES].into_iter().zip(&mut names) {
                let depths = store.depths(&root(place), Timestamp::from_millis(0)).await;
                for depth in depths.expect("memory") {
                    let page = store.peek(&depth.queue, None, 1000).await.expect("memory");
                    names.extend(page.into_iter().map(|message| message.name));
                }
            }
            names.into()
        });
        let mut seen = self.seen();
        let promised = seen.promised.clone();
        for name in promised {
            match (waiting.contains(&name), seen.ended.contains_key(&name)) {
                (false, false) => seen.broken(format!("{name} was promised and is nowhere")),
                (true, true) => seen.broken(format!("{name} has ended and still waits")),
                _ => {}
            }
        }
        (waiting, owed.len())
    }

    pub fn crashed(&self, store: &MemoryQueues) {
        self.look(store);
        let mut seen = self.seen();
        seen.lost_leases += seen.held.len() as u64;
        seen.held.clear();
        seen.put_off.clear();
    }

    pub fn finish(&self, store: &MemoryQueues) {
        let (waiting, owed) = self.look(store);
        let mut seen = self.seen();
        if let Some(name) = waiting.first() {
            seen.broken(format!("{name} has not ended"));
        }
        if owed > 0 || !seen.owed.is_subset(&seen.delivered) {
            seen.broken(format!("{owed} outcomes are not delivered"));
        }
        let again: u64 = seen.unsettled.values().sum();
        if again > seen.lost_leases {
            let lost = seen.lost_leases;
            seen.broken(format!("{again} calls too many, for {lost} lost leases"));
        }
    }

    pub fn run(&self) -> Run {
        let mut seen = self.seen();
        Run { log: std::mem::take(&mut seen.log), broken: seen.broken.take() }
    }
}

fn span(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.millis().saturating_sub(from.millis())).unwrap_or(0)
}

fn settled(seen: &mut Seen, name: &str) {
    if let Some(starts) = seen.unsettled.get_mut(name) {
        *starts = starts.saturating_sub(1);
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::DeadLetter => "dead letter",
        Kind::OnSuccess => "success",
        Kind::OnFailure => "failure",
    }
}

/// How old events may get, in milliseconds, and how often they are tried again.
fn policy(function: &FunctionRef) -> (u64, u32) {
    let usual = u64::try_from(AGE.as_millis()).unwrap_or(u64::MAX);
    match &*function.function.name {
        "f1" => (usual, 1),
        "f2" => (600_000, 2),
        _ => (usual, 2),
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let seen = self.seen();
        let passed = i64::try_from(Self::true_ms(&seen)).unwrap_or(i64::MAX);
        Timestamp::from_millis(EPOCH + passed + seen.offset)
    }

    fn instant(&self) -> Instant {
        let now = tokio::time::Instant::now().into_std();
        if self.bug != Bug::WallClock {
            return now;
        }
        let far = i64::try_from(10 * DAY).unwrap_or(0) + self.seen().offset;
        now + Duration::from_millis(u64::try_from(far).unwrap_or(0))
    }
}

impl Known for World {
    fn config(&self, function: &FunctionRef) -> Option<Arc<Value>> {
        let (age, retries) = policy(function);
        let to = |side: &str| json!({ side: { "Destination": QUEUE } });
        let destinations = match &*function.function.name {
            "f0" => to("OnSuccess"),
            "f2" => to("OnFailure"),
            _ => return (retries != 2).then(|| json!({ "MaximumRetryAttempts": retries }).into()),
        };
        Some(Arc::new(json!({
            "MaximumRetryAttempts": retries,
            "MaximumEventAgeInSeconds": age / 1000,
            "DestinationConfig": destinations,
        })))
    }

    fn is_off(&self, _: &FunctionRef) -> bool {
        false
    }

    fn dead_letters(&self, function: &FunctionRef) -> Option<String> {
        (&*function.function.name == "f3").then(|| QUEUE.to_owned())
    }
}

#[async_trait]
impl Invoker for World {
    async fn invoke(&self, call: Call) -> Result<Invoked, InvokeError> {
        let name = call.request_id;
        self.note("called", &name);
        let (draw, long) = (self.dice(20), self.dice(400_000));
        let faulty = {
            let mut seen = self.seen();
            let now = Self::true_ms(&seen);
            if seen.ended.contains_key(&name) {
                seen.broken(format!("{name} is called after its end"));
            }
            if seen.not_before.get(&name).is_some_and(|due| now < *due) {
                seen.broken(format!("{name} is called early"));
            }
            seen.faulty
        };
        if faulty && draw < 2 {
            return Err(Throttled { reason: "full", retry_after_seconds: 1 }.into());
        }
        if faulty && draw < 3 {
            let error = StartError::Sandbox("on purpose".to_owned());
            return Err(InvokeError::Start { version: Qualifier::Latest, error });
        }
        *self.seen().unsettled.entry(name.clone()).or_default() += 1;
        let slow = faulty && &*call.function.function.name == "f2" && draw > 14;
        let took = if slow { long } else { long % 300 };
        tokio::time::sleep(Duration::from_millis(took)).await;
        let failed = faulty && draw < 8;
        self.note(if failed { "failed" } else { "answered" }, &name);
        let outcome = Outcome {
            payload: Bytes::from_static(b"{}"),
            function_error: failed.then_some("Unhandled"),
            log_tail: None,
            after: After::Free,
        };
        Ok(Invoked { outcome, version: Qualifier::Latest, trace_id: "Root=1".into() })
    }
}

#[async_trait]
impl Destinations for World {
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        tokio::time::sleep(Duration::from_millis(self.dice(200))).await;
        if self.seen().faulty && self.dice(4) == 0 {
            return Err(DeliveryError::Refused("on purpose".to_owned()));
        }
        let kind = match delivery.content {
            Content::DeadLetter { .. } => "dead letter",
            Content::Record { success: true, .. } => "success",
            Content::Record { success: false, .. } => "failure",
        };
        self.note("delivered", &delivery.request_id);
        self.seen().delivered.insert((delivery.request_id, kind));
        Ok(())
    }
}
