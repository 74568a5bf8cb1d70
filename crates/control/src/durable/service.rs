//! Executions as others see them: decide, write, apply, then do what follows from it.
//!
//! What happens to an execution happens one thing after the other, and to its end also when whoever
//! asked for it goes away. When a write fails, what is in memory of it is forgotten, and read again.

use super::checkpoint::{Callee, Resolved};
use super::driver;
use super::facts::{Entry, Fact, Text};
use super::index::Index;
use super::machine::{Ended, Machine, Wish};
use super::tables::{self, Head, Parent, Status};
use super::updates;
use crate::catalog::locks::Locks;
use lamplight_env::{Env, Stop};
use lamplight_model::{FunctionArn, FunctionRef, NameError, Target};
use lamplight_rpc::{
    CatalogError, DurableError, ErrorObject, ExecutionArn, Finished, Invoker, NewExecution,
};
use lamplight_store::{Meta, StoreError};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Executions that are kept, in all: each has its head in memory.
const EXECUTIONS: usize = 1_000_000;
/// Bytes of facts in memory. Beyond it nothing is added, and no invocation begins.
const FACTS_IN_MEMORY: u64 = 1024 * 1024 * 1024;

/// How a target of a chained invoke is found.
pub type Resolve<'a> = &'a dyn Fn(&updates::Target) -> Result<Resolved, DurableError>;

/// How a function is found that is called for a tenant, or for none.
pub type Find =
    dyn Fn(&FunctionRef, Option<&str>) -> Result<Arc<Target>, CatalogError> + Send + Sync;

/// The trace id of a chained invoke, with the calls that led to it: from the one that is asked for,
/// that of the execution, and the function which calls.
pub type Trace = dyn Fn(Option<&str>, Option<&str>, &FunctionArn) -> String + Send + Sync;

/// What executions need of others, once they are there.
pub struct Ways {
    /// What a call runs.
    pub resolve: Box<Find>,
    pub trace: Box<Trace>,
    pub invoker: Arc<dyn Invoker>,
}

/// See the module.
pub struct Executions {
    pub(super) core: Arc<Core>,
}

type Cell = tokio::sync::Mutex<Option<Loaded>>;

/// An execution in memory, and how much was counted for it.
pub struct Loaded {
    machine: Machine,
    bytes: u64,
}

pub struct Core {
    meta: Arc<dyn Meta>,
    pub env: Env,
    ways: OnceLock<Ways>,
    index: Mutex<Index>,
    cells: Mutex<HashMap<Text, Arc<Cell>>>,
    waiting: Mutex<HashMap<Text, Vec<oneshot::Sender<Finished>>>>,
    names: Locks<(FunctionArn, Text)>,
    /// Of facts that are in memory.
    pub bytes: AtomicU64,
    /// What `bytes` may grow to.
    pub room: AtomicU64,
    nudge: Notify,
    stop: Stop,
}

impl Executions {
    /// Reads the heads of all executions. `env` is of what ends first at a stop.
    pub async fn load(meta: Arc<dyn Meta>, env: Env) -> Result<Self, String> {
        let mut index = Index::default();
        for (arn, head) in tables::heads(&*meta).await? {
            index.put(&arn, &head);
            index.arm(&arn.id, Some(head.due));
        }
        let stop = env.tasks.stop_signal();
        let core = Core {
            meta,
            env,
            ways: OnceLock::new(),
            index: Mutex::new(index),
            cells: Mutex::default(),
            waiting: Mutex::default(),
            names: Locks::default(),
            bytes: AtomicU64::new(0),
            room: AtomicU64::new(FACTS_IN_MEMORY),
            nudge: Notify::new(),
            stop,
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Goes on with what there is, until the end of the server.
    pub fn go_on(&self, ways: Ways) {
        // A second start changes nothing.
        if self.core.ways.set(ways).is_ok() {
            self.core.env.tasks.spawn(driver::run(Arc::clone(&self.core)));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn unavailable(error: StoreError) -> DurableError {
    DurableError::Unavailable(error.to_string())
}

impl Core {
    pub fn now(&self) -> i64 {
        self.env.clock.now().millis()
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        locked(&self.index)
    }

    pub fn ways(&self) -> Result<&Ways, DurableError> {
        let missing = || DurableError::Unavailable("the server is still starting".to_owned());
        self.ways.get().ok_or_else(missing)
    }

    pub fn arm(&self, id: &Text, at: i64) {
        self.index().arm(id, Some(at));
        self.nudge.notify_one();
    }

    pub async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Whether more may be taken into memory.
    pub fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.room.load(Ordering::Relaxed)
    }

    /// Whether invocations may begin.
    fn is_open(&self) -> bool {
        self.has_room() && !self.stop.is_stopped() && self.ways.get().is_some()
    }

    fn head(&self, arn: &ExecutionArn) -> Result<Head, DurableError> {
        let index = self.index();
        let (_, head) =
            index.get(&arn.id).filter(|(known, _)| known == arn).ok_or(DurableError::NotFound)?;
        Ok(head.clone())
    }

    /// Runs to its end, also when the caller goes away.
    pub async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DurableError>> + Send + 'static,
    ) -> Result<T, DurableError> {
        let ended = self.env.tasks.spawn(work).await;
        ended.unwrap_or_else(|error| Err(DurableError::Unavailable(error.to_string())))
    }

    /// Whatever is due happens, then what `decide` says; `reply` sees what came of it.
    pub async fn act<T: Send + 'static>(
        self: &Arc<Self>,
        arn: &ExecutionArn,
        decide: impl FnOnce(&Machine, i64) -> Result<Vec<Fact>, DurableError> + Send + 'static,
        reply: impl FnOnce(&mut Machine, i64) -> T + Send + 'static,
    ) -> Result<T, DurableError> {
        let (core, arn) = (Arc::clone(self), arn.clone());
        self.whole(async move {
            let cell = core.cell(&arn.id);
            let mut slot = cell.lock().await;
            let answer = core.act_on(&mut slot, &arn, decide, reply).await;
            core.leave(&mut slot);
            drop(slot);
            core.forget_cell(&arn.id, cell);
            answer
        })
        .await
    }

    /// What `reply` sees of an execution.
    pub async fn view<T: Send + 'static>(
        self: &Arc<Self>,
        arn: &ExecutionArn,
        reply: impl FnOnce(&mut Machine, i64) -> T + Send + 'static,
    ) -> Result<T, DurableError> {
        self.act(arn, |_, _| Ok(Vec::new()), reply).await
    }

    async fn act_on<T>(
        self: &Arc<Self>,
        slot: &mut Option<Loaded>,
        arn: &ExecutionArn,
        decide: impl FnOnce(&Machine, i64) -> Result<Vec<Fact>, DurableError>,
        reply: impl FnOnce(&mut Machine, i64) -> T,
    ) -> Result<T, DurableError> {
        let loaded = match slot {
            Some(loaded) => loaded,
            None => slot.insert(self.read(arn).await?),
        };
        let machine = &mut loaded.machine;
        // What has happened stays before what happens, whatever the clock says.
        let last = machine.state.facts.last().map_or(0, |(at, _)| *at);
        let now = self.now().max(last);
        let mut facts = machine.due(now);
        machine.apply(now, facts.clone());
        let decided = decide(machine, now);
        if let Ok(more) = &decided {
            machine.apply(now, more.clone());
            facts.extend(more.iter().cloned());
        }
        if !facts.is_empty()
            && let Err(error) = self.write(machine, now, facts).await
        {
            self.drop_loaded(slot);
            self.arm(&arn.id, now.saturating_add(1000));
            return Err(unavailable(error));
        }
        let answer = decided.map(|_| reply(machine, now));
        self.follow(loaded, now);
        answer
    }

    async fn write(
        &self,
        machine: &mut Machine,
        at: i64,
        facts: Vec<Fact>,
    ) -> Result<(), StoreError> {
        machine.head.entries += 1;
        let entry = Entry { format: Entry::FORMAT, at, facts };
        tables::append(&*self.meta, &machine.arn, &machine.head, &entry).await
    }

    async fn read(&self, arn: &ExecutionArn) -> Result<Loaded, DurableError> {
        let head = self.head(arn)?;
        let bytes = head.bytes;
        let others = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = self.room.load(Ordering::Relaxed);
        // However large it is, alone it is let in: else nobody could read, stop or delete it.
        let read = match others == 0 || others.saturating_add(bytes) <= room {
            true => tables::facts(&*self.meta, arn, &head).await.map_err(unavailable),
            false => Err(DurableError::Throttled),
        };
        let entries = read.inspect_err(|_| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        })?;
        let mut machine = Machine::new(arn.clone(), head);
        for entry in entries {
            machine.apply(entry.at, entry.facts);
        }
        Ok(Loaded { machine, bytes })
    }

    /// How an execution ended that another one has started. Nothing happens to it here.
    pub async fn outcome(&self, arn: &ExecutionArn) -> Result<Option<Ended>, DurableError> {
        let cell = self.cell(&arn.id);
        let slot = cell.lock().await;
        let outcome = match &*slot {
            Some(loaded) => Ok(loaded.machine.as_chained()),
            None => self.read(arn).await.map(|loaded| {
                let outcome = loaded.machine.as_chained();
                self.drop_loaded(&mut Some(loaded));
                outcome
            }),
        };
        drop(slot);
        self.forget_cell(&arn.id, cell);
        outcome
    }

    /// Counts what is in memory, says when to look again, and does what is to be done.
    fn follow(self: &Arc<Self>, loaded: &mut Loaded, now: i64) {
        let Loaded { machine, bytes } = loaded;
        let more = machine.state.bytes.saturating_sub(*bytes);
        self.bytes.fetch_add(more, Ordering::Relaxed);
        *bytes += more;
        if !self.is_open() {
            machine.hold_back(now);
        }
        let wishes = machine.wishes(now, || self.env.random.uuid());
        let arn = machine.arn.clone();
        {
            let mut index = self.index();
            index.put(&arn, &machine.head);
            index.arm(&arn.id, Some(machine.wake()));
        }
        self.nudge.notify_one();
        for wish in wishes {
            let (core, arn) = (Arc::clone(self), arn.clone());
            match wish {
                Wish::Invoke { request_id, payload } => {
                    let (trace, tenant) = (machine.head.trace.clone(), machine.head.tenant.clone());
                    let started = now;
                    let invocation =
                        driver::NewInvocation { request_id, payload, trace, tenant, started };
                    self.env.tasks.spawn(driver::invoke(core, arn, invocation));
                }
                Wish::Call(id, chained) => {
                    self.env.tasks.spawn(driver::call(core, arn, id, *chained));
                }
                Wish::Tell(finished) => {
                    let waiting = locked(&self.waiting).remove(&arn.id).unwrap_or_default();
                    for waiting in waiting {
                        // Whoever has gone away need not know.
                        let _ = waiting.send((*finished).clone());
                    }
                    let parent = machine.head.parent.clone();
                    if let Some((parent, ended)) = parent.zip(machine.as_chained()) {
                        self.env.tasks.spawn(driver::tell_parent(core, parent, ended));
                    }
                }
            }
        }
    }

    fn cell(&self, id: &Text) -> Arc<Cell> {
        Arc::clone(locked(&self.cells).entry(id.clone()).or_default())
    }

    /// Lets go what nothing is happening to.
    fn leave(&self, slot: &mut Option<Loaded>) {
        if slot.as_ref().is_some_and(|loaded| loaded.machine.is_idle()) {
            self.drop_loaded(slot);
        }
    }

    fn drop_loaded(&self, slot: &mut Option<Loaded>) {
        if let Some(loaded) = slot.take() {
            self.bytes.fetch_sub(loaded.bytes, Ordering::Relaxed);
        }
    }

    fn forget_cell(&self, id: &Text, cell: Arc<Cell>) {
        let mut cells = locked(&self.cells);
        // Given back here, so that of all who let go at the same time the last one is alone with it.
        drop(cell);
        let unused = cells.get(id).is_some_and(|cell| {
            Arc::strong_count(cell) == 1 && cell.try_lock().is_ok_and(|slot| slot.is_none())
        });
        if unused {
            cells.remove(id);
        }
    }

    /// Registers for the end of an execution that has not ended. To be called by `reply`.
    pub fn wait_for(&self, id: &Text) -> oneshot::Receiver<Finished> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        let waiters = waiting.entry(id.clone()).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(sender);
        receiver
    }

    pub async fn start(self: &Arc<Self>, new: NewExecution) -> Result<ExecutionArn, DurableError> {
        let name: Text = match &new.name {
            Some(name) => name.as_str().into(),
            None => self.env.random.uuid().into(),
        };
        let id = self.env.random.uuid().into();
        let arn = ExecutionArn {
            function: new.function.clone(),
            version: new.version,
            name: name.clone(),
            id,
        };
        let _one_at_a_time = self.names.lock(&(new.function.clone(), name.clone())).await;
        let input = digest(&new.input);
        if let Some((known, head)) = self.index().named(&new.function, &name) {
            return match known.version == arn.version && head.input == input {
                true => Ok(known.clone()),
                false => Err(DurableError::AlreadyStarted(known.to_string())),
            };
        }
        let new = NewExecution { version: arn.version.clone(), ..new };
        self.make(&arn, new, None).await?;
        Ok(arn)
    }

    /// Makes an execution that there is not.
    pub async fn make(
        self: &Arc<Self>,
        arn: &ExecutionArn,
        new: NewExecution,
        parent: Option<Parent>,
    ) -> Result<(), DurableError> {
        if self.index().len() >= EXECUTIONS {
            return Err(DurableError::Throttled);
        }
        let now = self.now();
        let head = Head {
            format: Head::FORMAT,
            name: arn.name.to_string(),
            version: arn.version.to_string(),
            status: Status::Running,
            started: now,
            ended: None,
            timeout: new.settings.timeout,
            retention_days: new.settings.retention_days,
            synchronous: new.synchronous,
            input: digest(&new.input),
            trace: new.trace_id,
            tenant: new.tenant,
            parent,
            entries: 0,
            bytes: 0,
            due: 0,
        };
        let mut machine = Machine::new(arn.clone(), head);
        let facts = vec![Fact::ExecutionStarted { input: new.input }];
        machine.apply(now, facts.clone());
        let (core, id) = (Arc::clone(self), arn.id.clone());
        self.whole(async move {
            let cell = core.cell(&id);
            let mut slot = cell.lock().await;
            core.write(&mut machine, now, facts).await.map_err(unavailable)?;
            let loaded = slot.insert(Loaded { machine, bytes: 0 });
            core.follow(loaded, now);
            core.leave(&mut slot);
            drop(slot);
            core.forget_cell(&id, cell);
            Ok(())
        })
        .await
    }

    /// Marks an execution as one that is to be removed, whatever goes on with it.
    pub async fn doom(self: &Arc<Self>, arn: &ExecutionArn) -> Result<(), DurableError> {
        let (core, arn) = (Arc::clone(self), arn.clone());
        self.whole(async move {
            let cell = core.cell(&arn.id);
            let mut slot = cell.lock().await;
            let mut head = core.head(&arn)?;
            (head.status, head.due) = (Status::Deleting, 0);
            tables::put_head(&*core.meta, &arn, &head).await.map_err(unavailable)?;
            core.drop_loaded(&mut slot);
            core.index().put(&arn, &head);
            core.arm(&arn.id, 0);
            drop(slot);
            core.forget_cell(&arn.id, cell);
            Ok(())
        })
        .await
    }

    /// Removes an execution that is doomed, or that has been kept for as long as it had to.
    pub async fn remove(self: &Arc<Self>, arn: &ExecutionArn) -> Result<(), DurableError> {
        let (core, arn) = (Arc::clone(self), arn.clone());
        self.whole(async move {
            let cell = core.cell(&arn.id);
            let mut slot = cell.lock().await;
            tables::remove(&*core.meta, &arn).await.map_err(unavailable)?;
            core.drop_loaded(&mut slot);
            core.index().remove(&arn.id);
            // Its senders go, and with them whoever still waited.
            locked(&core.waiting).remove(&arn.id);
            drop(slot);
            core.forget_cell(&arn.id, cell);
            Ok(())
        })
        .await
    }

    /// What a chained invoke of an execution calls.
    pub fn resolve(
        &self,
        arn: &ExecutionArn,
        target: &updates::Target,
    ) -> Result<Resolved, DurableError> {
        let function = read_function(arn, &target.function)?;
        let found = match (self.ways()?.resolve)(&function, target.tenant.as_deref()) {
            Ok(found) => found,
            Err(CatalogError::NotFound(_)) => {
                let name = function.function.qualified(&function.qualifier_or_latest());
                return Ok(Err(not_found(&name)));
            }
            Err(error) => return Ok(Err(driver::invoke_error(&error.into()))),
        };
        let version: Text = found.version.to_string().into();
        if found.durable.is_none() {
            return Ok(Ok(Callee { version, execution: None }));
        }
        if function.qualifier.is_none() {
            return Ok(Err(ErrorObject::new(
                "InvalidParameterValueException",
                "You cannot invoke a durable function using an unqualified ARN.",
            )));
        }
        let child = ExecutionArn {
            function: found.function.clone(),
            version: found.version.clone(),
            name: self.env.random.uuid().into(),
            id: self.env.random.uuid().into(),
        };
        Ok(Ok(Callee { version, execution: Some(child.to_string().into()) }))
    }
}

pub fn not_found(function: &str) -> ErrorObject {
    ErrorObject::new("ResourceNotFoundException", format!("Function not found: {function}"))
}

/// The function that an execution names, which has to be of its own account and region.
pub fn read_function(arn: &ExecutionArn, name: &str) -> Result<FunctionRef, DurableError> {
    let refused = |error| match error {
        NameError::OtherAccount => {
            "Cannot start a CHAINED_INVOKE on a function in another account.".to_owned()
        }
        NameError::OtherRegion { .. } => {
            "Cannot start a CHAINED_INVOKE on a function in another region.".to_owned()
        }
        _ => format!("Invalid function ARN '{name}'"),
    };
    FunctionRef::parse(&arn.function.scope, name, None)
        .map_err(|error| DurableError::Invalid(refused(error)))
}

fn digest(input: &Option<Text>) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(input.as_deref().unwrap_or_default());
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
