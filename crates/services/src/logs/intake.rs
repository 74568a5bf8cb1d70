//! The bounded buffer between functions that print and the disk.
//!
//! `push` never waits: it takes a short lock, and beyond [`ROOM`] it drops and counts. One task
//! writes what has gathered, one syncs twice a second, one frees space. Whoever cannot wait for the
//! writer (`settle`) writes what little there is in its place: a write to the page cache is over
//! sooner than another thread is awake. So the writer is not woken for each call: it is told once
//! that there is something, and comes when it has waited for more. After the stop signal the writer ends, and the lines of calls
//! that still finish are written by `push` itself.

use super::store::{Batch, Group, LogsError, Settings, Store};
use lamplight_env::{Env, Timestamp};
use lamplight_model::{Scope, limits};
use lamplight_rpc::LogEvent;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Bytes of events that may wait for the disk.
const ROOM: usize = 32 * 1024 * 1024;
/// What an event, and what a batch of them, costs beside its texts.
const EVENT: usize = 64;
const BATCH: usize = 160;
/// How long events gather before the writer takes them, where nobody asks for them before: calls
/// that end and readers do.
const GATHER: Duration = Duration::from_millis(50);
/// Bytes of events for which the writer comes at once.
const MUCH: usize = 256 * 1024;
/// What somebody who cannot wait for the writer writes in its place, bytes at most.
const INLINE: usize = 256 * 1024;
/// A write in somebody's place that took this long shows a disk that makes waiting better.
const SLOW: Duration = Duration::from_millis(20);
/// How long nobody writes in the writer's place after that.
const SHY: Duration = Duration::from_secs(2);
/// Groups remembered as open.
const OPEN: usize = 4096;
/// Streams whose dropped events are counted one by one.
const COUNTED: usize = 4096;
/// How long a reader waits for events that are still on their way to the disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// Half of what an event may wait for its fsync.
const SYNC: Duration = Duration::from_millis(500);
/// Syncs that run side by side at most.
const SYNCERS: usize = 8;
/// How often space is looked for that can be freed.
const RECLAIM: Duration = Duration::from_secs(10);
/// A group is forgotten when it was not used in between so many of those looks: ten minutes.
const REST: u32 = 60;
/// AWS: events further than this from now are refused; a function's are filed under now instead.
pub const PAST: i64 = 14 * 86_400_000;
pub const FUTURE: i64 = 2 * 3_600_000;

const MARK: &str = "…[cut]";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target {
    scope: Scope,
    group: String,
    stream: String,
}

struct Entry {
    target: Target,
    events: Vec<LogEvent>,
    cost: usize,
}

#[derive(Default)]
struct Buffer {
    entries: Vec<Entry>,
    /// Of the entries and of those being written.
    bytes: usize,
    /// Entries ever taken in.
    taken: u64,
    dropped: HashMap<Target, u64>,
    /// The writer knows that there is something, and will come.
    told: bool,
    /// Somebody waits for the writer, or there is much: it is to begin at once.
    hurry: bool,
    /// The writer has ended.
    closed: bool,
}

/// What is known of the files, held while events go to them.
#[derive(Default)]
struct Draining {
    /// Groups that were written to without trouble.
    open: HashMap<Scope, HashSet<String>>,
    shy_until: Option<Instant>,
}

impl Draining {
    fn is_open(&self, scope: &Scope, group: &str) -> bool {
        self.open.get(scope).is_some_and(|groups| groups.contains(group))
    }

    fn note(&mut self, scope: &Scope, group: &str, open: bool) {
        if open == self.is_open(scope, group) {
            return;
        }
        if !open {
            self.open.get_mut(scope).map(|groups| groups.remove(group));
        } else if self.open.values().map(HashSet::len).sum::<usize>() < OPEN {
            self.open.entry(scope.clone()).or_default().insert(group.to_owned());
        } else {
            self.open.clear();
        }
    }
}

pub struct Intake {
    pub store: Store,
    env: Env,
    buffer: Mutex<Buffer>,
    room: usize,
    wake: Notify,
    /// Held while events go to their files: two at once would put them out of order.
    draining: Mutex<Draining>,
    /// How many entries ever were written or dropped.
    settled: watch::Sender<u64>,
}

impl Intake {
    /// Starts the tasks; needs a tokio runtime.
    pub fn start(store: Store, env: Env) -> Arc<Self> {
        let intake = Arc::new(Self::new(store, env, ROOM));
        intake.env.tasks.spawn(write(intake.clone()));
        let keep = |intake: &Intake| {
            intake.sync();
            intake.announce();
        };
        intake.env.tasks.spawn(every(intake.clone(), SYNC, keep));
        // Apart from the syncs, which rewriting a segment must not hold up.
        intake.env.tasks.spawn(every(intake.clone(), RECLAIM, Self::reclaim));
        intake
    }

    fn new(store: Store, env: Env, room: usize) -> Self {
        let (buffer, settled) = (Mutex::default(), watch::Sender::new(0));
        let (wake, draining) = (Notify::new(), Mutex::default());
        Self { store, env, buffer, room, wake, draining, settled }
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.env.clock.now().millis()
    }

    pub fn push(&self, scope: &Scope, group: &str, stream: &str, mut events: Vec<LogEvent>) {
        let now = self.now();
        for event in &mut events {
            cut(&mut event.message);
            if !(now - PAST..=now + FUTURE).contains(&event.at.millis()) {
                event.at = Timestamp::from_millis(now.max(0));
            }
        }
        let texts: usize = events.iter().map(|event| event.message.len() + EVENT).sum();
        let cost = texts + group.len() + stream.len() + BATCH;
        let target =
            Target { scope: scope.clone(), group: group.to_owned(), stream: stream.to_owned() };
        let mut buffer = self.buffer();
        if buffer.bytes.saturating_add(cost) > self.room {
            buffer.drop_events(target, events.len() as u64);
            return;
        }
        let becomes_much = buffer.bytes < MUCH && buffer.bytes + cost >= MUCH;
        buffer.bytes += cost;
        buffer.taken += 1;
        buffer.entries.push(Entry { target, events, cost });
        buffer.hurry |= becomes_much;
        let closed = buffer.closed;
        let told = std::mem::replace(&mut buffer.told, true);
        drop(buffer);
        if closed {
            self.drain();
            self.sync();
        } else if becomes_much || !told {
            self.wake.notify_one();
        }
    }

    /// Resolves once everything pushed before is in its file (or dropped), at the latest after
    /// [`PATIENCE`]: a disk that hangs must not make readers hang.
    pub async fn settle(&self) {
        if self.write_inline() {
            return;
        }
        let taken = {
            let mut buffer = self.buffer();
            buffer.hurry = true;
            buffer.taken
        };
        let mut settled = self.settled.subscribe();
        self.wake.notify_one();
        let written = settled.wait_for(|settled| *settled >= taken);
        let _ = tokio::time::timeout(PATIENCE, written).await;
    }

    /// Writes what there is right here, if it is little, goes to files that are open, and the disk
    /// has been quick of late.
    fn write_inline(&self) -> bool {
        let Ok(mut draining) = self.draining.try_lock() else { return false };
        let start = self.env.clock.instant();
        if draining.shy_until.is_some_and(|until| start < until) {
            return false;
        }
        {
            let buffer = self.buffer();
            let open = |entry: &Entry| draining.is_open(&entry.target.scope, &entry.target.group);
            if buffer.bytes > INLINE || !buffer.entries.iter().all(open) {
                return false;
            }
        }
        self.write_out(&mut draining);
        let end = self.env.clock.instant();
        draining.shy_until = (end.saturating_duration_since(start) > SLOW).then(|| end + SHY);
        true
    }

    fn drain(&self) {
        self.write_out(&mut self.draining.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes what has gathered, then says in the streams themselves what had to be dropped.
    fn write_out(&self, draining: &mut Draining) {
        let (entries, taken) = {
            let mut buffer = self.buffer();
            (std::mem::take(&mut buffer.entries), buffer.taken)
        };
        let mut groups: HashMap<(&Scope, &str), Vec<&Entry>> = HashMap::new();
        for entry in &entries {
            let target = &entry.target;
            groups.entry((&target.scope, &target.group)).or_default().push(entry);
        }
        let mut lost: Vec<&Entry> = Vec::new();
        for ((scope, group), entries) in groups {
            for some in entries.chunks(1024) {
                let batches = some
                    .iter()
                    .map(|entry| Batch { stream: &entry.target.stream, events: &entry.events });
                let appended = self.append(scope, group, &batches.collect::<Vec<_>>());
                draining.note(scope, group, appended.is_ok());
                if let Err(error) = appended {
                    if lost.is_empty() {
                        tracing::warn!(group, %error, "log events are dropped");
                    }
                    lost.extend(some);
                }
            }
        }
        // Summed before the lock is taken: it may be many, and functions wait for the lock.
        let written = entries.iter().map(|entry| entry.cost).sum::<usize>();
        {
            let mut buffer = self.buffer();
            for entry in lost {
                buffer.drop_events(entry.target.clone(), entry.events.len() as u64);
            }
            buffer.bytes -= written;
        }
        self.announce();
        self.settled.send_modify(|settled| *settled = taken.max(*settled));
    }

    /// After a writer that broke off: its entries are lost, but not the room they took.
    fn recover(&self) {
        let mut buffer = self.buffer();
        buffer.bytes = buffer.entries.iter().map(|entry| entry.cost).sum();
        let settled = buffer.taken - buffer.entries.len() as u64;
        self.settled.send_replace(settled);
    }

    /// Leaves a line in each stream that lost events. Where the disk still refuses, the count
    /// waits for the next time.
    fn announce(&self) {
        let dropped = std::mem::take(&mut self.buffer().dropped);
        for (target, count) in dropped {
            let message =
                format!("{count} events were dropped: the log could not take them in time");
            let event = LogEvent { at: Timestamp::from_millis(self.now().max(0)), message };
            let batch = Batch { stream: &target.stream, events: &[event] };
            if self.append(&target.scope, &target.group, &[batch]).is_err() {
                self.buffer().drop_events(target, count);
            }
        }
    }

    fn append(&self, scope: &Scope, group: &str, batches: &[Batch]) -> Result<(), LogsError> {
        let now = self.now();
        loop {
            let found = match self.store.group(scope, group) {
                Err(LogsError::NoGroup(_)) => {
                    self.store.create(scope, group, now, Settings::default())
                }
                found => found,
            };
            match found.and_then(|group| group.append(batches, now)) {
                // Made or deleted by somebody else in between.
                Err(LogsError::NoGroup(_) | LogsError::GroupExists(_)) => {}
                done => return done,
            }
        }
    }

    /// Brings what was written to disk. Many groups are synced side by side, because file systems
    /// then commit them together.
    pub fn sync(&self) {
        let sync = |groups: &[Arc<Group>]| {
            for group in groups {
                if let Err(error) = group.sync() {
                    tracing::error!(%error, "a log group could not be synced");
                }
            }
        };
        let groups = self.store.all();
        let share = groups.len().div_ceil(SYNCERS).max(16);
        std::thread::scope(|threads| {
            let mut shares = groups.chunks(share);
            let mine = shares.next().unwrap_or_default();
            for groups in shares {
                let spawned =
                    std::thread::Builder::new().spawn_scoped(threads, move || sync(groups));
                if spawned.is_err() {
                    sync(groups);
                }
            }
            sync(mine);
        });
    }

    /// Frees the space of what was deleted or has expired.
    pub fn reclaim(&self) {
        let now = self.now();
        for group in self.store.all() {
            if let Err(error) = group.purge().and_then(|()| group.expire(now)) {
                tracing::warn!(%error, "space of a log group could not be freed");
            }
            group.rest(REST);
        }
    }
}

impl Buffer {
    fn drop_events(&mut self, target: Target, count: u64) {
        if self.dropped.len() < COUNTED || self.dropped.contains_key(&target) {
            *self.dropped.entry(target).or_default() += count;
        } else {
            tracing::warn!(
                group = target.group,
                stream = target.stream,
                count,
                "log events are dropped"
            );
        }
    }
}

/// Shortens a message to what one event may hold, mark included.
pub fn cut(message: &mut String) {
    if message.len() > limits::LOG_EVENT {
        message.truncate(message.floor_char_boundary(limits::LOG_EVENT - MARK.len()));
        message.push_str(MARK);
    }
}

async fn write(intake: Arc<Intake>) {
    let tasks = intake.env.tasks.clone();
    let mut stop = tasks.stop_signal();
    loop {
        let stopped = tokio::select! {
            () = stop.stopped() => true,
            () = intake.wake.notified() => false,
        };
        // One wake may stand for several: that of a first entry hides that of somebody who waits.
        if !stopped && !intake.buffer().hurry {
            tokio::select! {
                () = stop.stopped() => {}
                () = intake.wake.notified() => {}
                () = tokio::time::sleep(GATHER) => {}
            }
        }
        if !stopped {
            let mut buffer = intake.buffer();
            (buffer.told, buffer.hurry) = (false, false);
            if buffer.entries.is_empty() {
                continue;
            }
        }
        let writer = intake.clone();
        let round = tasks.spawn_blocking(move || {
            if stopped {
                writer.buffer().closed = true;
            }
            writer.drain();
            if stopped {
                writer.sync();
            }
        });
        if let Err(error) = round.await {
            tracing::error!(%error, "writing log events failed");
            intake.recover();
        }
        if stopped {
            return;
        }
    }
}

/// Does `work` once in every `period` until the stop signal, from the start on.
async fn every(intake: Arc<Intake>, period: Duration, work: fn(&Intake)) {
    let tasks = intake.env.tasks.clone();
    let mut stop = tasks.stop_signal();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            _ = ticks.tick() => {}
        }
        let intake = intake.clone();
        if let Err(error) = tasks.spawn_blocking(move || work(&intake)).await {
            tracing::error!(%error, "tidying the log failed");
        }
    }
}

#[cfg(test)]
mod tests;
