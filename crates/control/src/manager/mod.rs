//! The worker manager (AWS's name): gives each call an environment, an idle one where there is
//! one, and ends those that are idle for long, outdated or broken.
//!
//! What to do is decided by the [`crate::planner`]; a call that finds an idle environment takes one
//! short lock, that of its version.
//!
//! Invariants: an environment is either idle, in the line of its version or in the reserve of those
//! that were made ahead of calls, or with exactly one call. One that takes several at once stays in
//! the crowd of its version, with at most as many as its target says. None ever serves another
//! version, generation or tenant than it was made for. Nothing here waits for the store.

mod gate;
mod places;
mod provisioner;
mod queue;
mod reserve;
mod room;
mod space;
#[cfg(test)]
mod tests;

use crate::planner::{Keep, Often, Rates, Serves, Ticket};
use async_trait::async_trait;
use gate::Gate;
use lamplight_env::Env;
use lamplight_model::{FunctionArn, Qualifier, Target, limits};
use lamplight_rpc::{
    Assignment, EnvironmentId, Manager, Outdated, Placement, Provisioning, StartError, Throttled,
    Worker,
};
use places::Places;
use provisioner::{Provisioner, SharedReserve};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

/// The time for which the growth of functions is limited.
const GROWTH: Duration = Duration::from_secs(10);
/// How often memory is looked at.
const MEMORY: Duration = Duration::from_secs(1);

/// How the pools are looked after.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long idle environments are kept.
    pub keep: Keep,
    /// Environments of calls that start at the same time: more only makes all of them slower.
    pub starts: usize,
    /// One that is this old takes no further call: its credentials have an end.
    pub life: Duration,
    /// AWS: environments by which a function may grow in ten seconds.
    pub growth: u32,
    /// Idle environments of all functions together; as many as there is memory for where absent.
    pub idle_most: Option<usize>,
    /// For all environments that are made ahead of calls.
    pub provisioned_mb: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: Keep::default(),
            starts: std::thread::available_parallelism().map_or(2, usize::from) * 4,
            life: limits::ENVIRONMENT_LIFE,
            growth: 1_000,
            idle_most: None,
            provisioned_mb: u64::MAX,
        }
    }
}

#[derive(Clone)]
struct Kept {
    worker: Arc<dyn Worker>,
    id: EnvironmentId,
    born: Instant,
}

type Shared<T> = Arc<Mutex<T>>;

/// Where an environment belongs.
enum Home {
    Alone(Arc<Places>, Ticket),
    /// It stays there while it has calls.
    Crowd(Arc<Places>),
    /// The same, with a call that nobody waits for any more.
    Late(Arc<Places>),
    /// It was made ahead of calls.
    Reserve(SharedReserve),
}

/// What goes with a call: where its environment belongs. Dropped without
/// [`Manager::settle`], it ends the environment.
struct Hold {
    home: Home,
    /// Taken when the assignment is settled.
    unsettled: Option<(Kept, Env)>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((kept, env)) = self.unsettled.take() {
            let ended = match &self.home {
                Home::Alone(places, ticket) => {
                    lock(&places.alone).lost(*ticket);
                    Some(kept)
                }
                Home::Crowd(places) => {
                    let now = env.clock.instant();
                    lock(&places.together).put(|other| other.id == kept.id, false, now)
                }
                Home::Late(places) => {
                    let now = env.clock.instant();
                    lock(&places.together).put_late(|other| other.id == kept.id, false, now)
                }
                Home::Reserve(reserve) => {
                    lock(reserve).lost();
                    Some(kept)
                }
            };
            if let Some(kept) = ended {
                env.tasks.spawn(async move { kept.worker.end(kept.id).await });
            }
        }
    }
}

pub struct EnvironmentManager {
    /// For starts, which go on without the call that asked for them.
    me: Weak<Self>,
    env: Env,
    gate: Gate,
    placement: Arc<dyn Placement>,
    provisioner: Provisioner,
    options: Options,
    growth: Mutex<Rates<FunctionArn>>,
    /// By function and version.
    places: RwLock<HashMap<FunctionArn, HashMap<Qualifier, Arc<Places>>>>,
}

impl EnvironmentManager {
    pub fn new(env: Env, placement: Arc<dyn Placement>, options: Options) -> Arc<Self> {
        let room_mb = options.provisioned_mb;
        let provisioner = Provisioner::new(env.clone(), Arc::clone(&placement), room_mb);
        let gate = Gate::new(options.starts);
        let (growth, places) = (Mutex::default(), RwLock::default());
        Arc::new_cyclic(|me| {
            let me = Weak::clone(me);
            Self { me, env, gate, placement, provisioner, options, growth, places }
        })
    }

    /// Ends what was idle for long and forgets what ended by itself, until the server stops.
    pub fn look_after(self: &Arc<Self>, mut ended: UnboundedReceiver<EnvironmentId>) {
        let manager = Arc::clone(self);
        let mut stop = self.env.tasks.stop_signal();
        let period =
            (self.options.keep.first / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
        self.env.tasks.spawn(async move {
            let mut tick = tokio::time::interval(period);
            let mut memory = tokio::time::interval(MEMORY);
            loop {
                tokio::select! {
                    () = stop.stopped() => return,
                    _ = tick.tick() => {
                        manager.expire();
                        manager.provisioner.fill();
                    }
                    _ = memory.tick() => manager.relieve(),
                    id = ended.recv() => match id {
                        Some(id) => manager.forget(id),
                        None => return,
                    },
                }
            }
        });
    }

    fn places(&self, function: &FunctionArn, version: &Qualifier) -> Arc<Places> {
        let pools = self.places.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pool) = pools.get(function).and_then(|versions| versions.get(version)) {
            return Arc::clone(pool);
        }
        drop(pools);
        let mut pools = self.pools_mut();
        let versions = pools.entry(function.clone()).or_default();
        Arc::clone(versions.entry(version.clone()).or_default())
    }

    fn pools_mut(
        &self,
    ) -> RwLockWriteGuard<'_, HashMap<FunctionArn, HashMap<Qualifier, Arc<Places>>>> {
        self.places.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Places>> {
        let pools = self.places.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        pools.values().flat_map(HashMap::values).cloned().collect()
    }

    /// Takes pools out of use. A function that is made again under its name gets new ones.
    fn close(&self, function: &FunctionArn, version: Option<&Qualifier>) -> Vec<Kept> {
        let mut pools = self.pools_mut();
        let closed: Vec<Arc<Places>> = match version {
            Some(version) => {
                let versions = pools.get_mut(function);
                versions.and_then(|versions| versions.remove(version)).into_iter().collect()
            }
            None => pools.remove(function).into_iter().flat_map(HashMap::into_values).collect(),
        };
        drop(pools);
        closed.iter().flat_map(|places| places.close()).collect()
    }

    fn expire(&self) {
        let now = self.env.clock.instant();
        for places in self.all() {
            let keep = &self.options.keep;
            self.end(places.expire(now, keep, |kept| self.is_old(kept, now)));
        }
        self.end(self.provisioner.discard(|kept| self.is_old(kept, now)));
    }

    fn is_old(&self, kept: &Kept, now: Instant) -> bool {
        now.saturating_duration_since(kept.born) >= self.options.life
    }

    /// An environment that ended by itself is not given to a call; the worker frees its rest.
    fn forget(&self, id: EnvironmentId) {
        for places in self.all() {
            self.end(places.discard(|kept| kept.id == id));
        }
        self.end(self.provisioner.discard(|kept| kept.id == id));
        self.provisioner.fill();
    }

    async fn start(&self, target: &Arc<Target>) -> Result<Kept, StartError> {
        let born = self.env.clock.instant();
        let worker = self.placement.place(target).await?;
        self.make_space(&worker).await?;
        // Last: what is refused for another reason is no growth.
        let often = Often::within(self.options.growth, GROWTH);
        if !lock(&self.growth).take(&target.function, born, often) {
            // AWS: the same reason as where all that may run does.
            let reason = "ConcurrentInvocationLimitExceeded";
            return Err(Throttled { reason, retry_after_seconds: 1 }.into());
        }
        let id = worker.start(Arc::clone(target)).await?;
        Ok(Kept { worker, id, born })
    }

    /// An environment that has room for one of at most `most` calls at once.
    async fn join(
        &self,
        target: &Arc<Target>,
        places: &Places,
        most: u32,
    ) -> Result<Kept, StartError> {
        let take = || lock(&places.together).take(target.generation, most);
        if let Some(kept) = take() {
            return Ok(kept);
        }
        let _one = places.starting.lock().await;
        if let Some(kept) = take() {
            return Ok(kept);
        }
        let _turn = self.gate.enter(&target.function).await;
        let kept = self.start(target).await?;
        lock(&places.together).add(kept.clone(), target.generation, self.env.clock.instant());
        Ok(kept)
    }

    fn end(&self, environments: Vec<Kept>) {
        self.end_now(environments);
    }

    fn end_now(&self, environments: Vec<Kept>) -> Vec<JoinHandle<()>> {
        let end = |kept: Kept| self.env.tasks.spawn(async move { kept.worker.end(kept.id).await });
        environments.into_iter().map(end).collect()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[async_trait]
impl Manager for EnvironmentManager {
    async fn assign(
        &self,
        target: &Arc<Target>,
        tenant: Option<&str>,
    ) -> Result<Assignment, StartError> {
        // What was made ahead of calls is for any of them.
        let provisioned = match tenant {
            None => self.provisioner.take(target),
            Some(_) => None,
        };
        let (kept, home) = match provisioned {
            Some((kept, reserve)) => (kept, Home::Reserve(reserve)),
            None => {
                let places = self.places(&target.function, &target.version);
                if let Some(most) = target.max_concurrency {
                    (self.join(target, &places, most).await?, Home::Crowd(places))
                } else {
                    let tenant = tenant.map(Into::into);
                    let serves = Serves { generation: target.generation, tenant };
                    let (kept, ticket) = self.alone(target, &places, &serves).await?;
                    (kept, Home::Alone(places, ticket))
                }
            }
        };
        let (worker, id) = (Arc::clone(&kept.worker), kept.id);
        let unsettled = Some((kept, self.env.clone()));
        let hold = Hold { home, unsettled };
        Ok(Assignment { worker, id, hold: Box::new(hold) })
    }

    fn answered(&self, assignment: &mut Assignment) {
        let Some(hold) = assignment.hold.downcast_mut::<Hold>() else { return };
        let (Home::Crowd(places), Some((kept, _))) = (&hold.home, &hold.unsettled) else { return };
        let (places, now) = (Arc::clone(places), self.env.clock.instant());
        let over = lock(&places.together).lag(|other| other.id == kept.id, now);
        hold.home = Home::Late(places);
        self.end(over.into_iter().collect());
    }

    async fn settle(&self, assignment: Assignment, reusable: bool) {
        // Anything else in `hold` is not of this manager; its drop is its own affair.
        let Ok(mut hold) = assignment.hold.downcast::<Hold>() else { return };
        let Some((kept, _)) = hold.unsettled.take() else { return };
        let now = self.env.clock.instant();
        let reusable = reusable && !self.is_old(&kept, now);
        let surplus = match &hold.home {
            Home::Alone(places, ticket) if reusable => {
                let place = lock(&places.alone).back(*ticket, kept, now);
                queue::follow(places, &self.env, place)
            }
            Home::Alone(places, ticket) => {
                lock(&places.alone).lost(*ticket);
                Some(kept)
            }
            Home::Crowd(places) => {
                lock(&places.together).put(|other| other.id == kept.id, reusable, now)
            }
            Home::Late(places) => {
                lock(&places.together).put_late(|other| other.id == kept.id, reusable, now)
            }
            Home::Reserve(reserve) if reusable => lock(reserve).put(kept),
            Home::Reserve(reserve) => {
                lock(reserve).lost();
                self.provisioner.fill();
                Some(kept)
            }
        };
        self.end(surplus.into_iter().collect());
    }

    fn provision(&self, wishes: Vec<(Arc<Target>, u32)>) {
        self.end(self.provisioner.set(wishes));
    }

    fn provisioned(&self, function: &FunctionArn, version: &Qualifier) -> Provisioning {
        self.provisioner.state(function, version)
    }

    async fn retire(&self, function: &FunctionArn, outdated: Outdated) {
        let retired = match outdated {
            Outdated::Latest(generation) => {
                self.places(function, &Qualifier::Latest).retire(generation)
            }
            Outdated::LatestPublished(generation) => {
                self.places(function, &Qualifier::LatestPublished).retire(generation)
            }
            Outdated::Version(number) => self.close(function, Some(&Qualifier::of_number(number))),
            Outdated::All => self.close(function, None),
        };
        self.end(retired);
    }
}
