//! The worker manager (AWS's name): gives each call an environment, an idle one where there is
//! one, and ends those that are idle for long, outdated or broken.
//!
//! Invariants: an environment is either idle, in the pool of its version or in the reserve of those
//! that were made ahead of calls, or with exactly one call. One that takes several at once stays in
//! the crowd of its version, with at most as many as its target says. None ever serves another
//! version, generation or tenant than it was made for. Nothing here waits for the store.

mod crowd;
mod places;
mod pool;
mod provisioner;
mod reserve;
mod room;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use lamplight_env::Env;
use lamplight_model::{FunctionArn, Qualifier, Target, limits};
use lamplight_rpc::{
    Assignment, EnvironmentId, Manager, Outdated, Placement, Provisioning, StartError, Worker,
};
use places::Places;
use pool::Serves;
use provisioner::{Provisioner, SharedReserve};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// How the pools are looked after.
#[derive(Debug, Clone)]
pub struct Options {
    /// An environment that was idle for this long is ended.
    pub idle: Duration,
    /// One that is this old takes no further call: its credentials have an end.
    pub life: Duration,
    /// Idle environments of all functions together; beyond it the longest idle ones are ended
    /// before another one is made.
    pub idle_most: usize,
    /// For all environments that are made ahead of calls.
    pub provisioned_mb: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            life: limits::ENVIRONMENT_LIFE,
            idle_most: 500,
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
    Pool(Arc<Places>),
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
    serves: Serves,
    /// Taken when the assignment is settled.
    unsettled: Option<(Kept, Env)>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((kept, env)) = self.unsettled.take() {
            let ended = match &self.home {
                Home::Pool(_) => Some(kept),
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
    env: Env,
    placement: Arc<dyn Placement>,
    provisioner: Provisioner,
    options: Options,
    /// By function and version.
    places: RwLock<HashMap<FunctionArn, HashMap<Qualifier, Arc<Places>>>>,
}

impl EnvironmentManager {
    pub fn new(env: Env, placement: Arc<dyn Placement>, options: Options) -> Arc<Self> {
        let room_mb = options.provisioned_mb;
        let provisioner = Provisioner::new(env.clone(), Arc::clone(&placement), room_mb);
        Arc::new(Self { env, placement, provisioner, options, places: RwLock::default() })
    }

    /// Ends what was idle for long and forgets what ended by itself, until the server stops.
    pub fn look_after(self: &Arc<Self>, mut ended: UnboundedReceiver<EnvironmentId>) {
        let manager = Arc::clone(self);
        let mut stop = self.env.tasks.stop_signal();
        let period =
            (self.options.idle / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
        self.env.tasks.spawn(async move {
            let mut tick = tokio::time::interval(period);
            loop {
                tokio::select! {
                    () = stop.stopped() => return,
                    _ = tick.tick() => {
                        manager.expire();
                        manager.provisioner.fill();
                    }
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
            let idle = self.options.idle;
            self.end(places.expire(now, idle, |kept| self.is_old(kept, now)));
        }
        self.end(self.provisioner.discard(|kept| self.is_old(kept, now)));
    }

    fn is_old(&self, kept: &Kept, now: Instant) -> bool {
        now.saturating_duration_since(kept.born) >= self.options.life
    }

    /// Makes room for one more environment.
    fn make_room(&self) {
        let pools = self.all();
        let mut idle: usize = pools.iter().map(|places| places.idle()).sum();
        while idle >= self.options.idle_most.max(1) {
            let longest = pools
                .iter()
                .filter_map(|places| Some((places.idle_since()?, places)))
                .min_by_key(|(since, _)| *since);
            let Some((_, places)) = longest else { return };
            self.end(places.take_longest_idle().into_iter().collect());
            idle -= 1;
        }
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
        self.make_room();
        let worker = self.placement.place(target).await?;
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
        let kept = self.start(target).await?;
        lock(&places.together).add(kept.clone(), target.generation, self.env.clock.instant());
        Ok(kept)
    }

    fn end(&self, environments: Vec<Kept>) {
        for kept in environments {
            self.env.tasks.spawn(async move { kept.worker.end(kept.id).await });
        }
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
        let serves = Serves { generation: target.generation, tenant: tenant.map(Into::into) };
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
                    let taken = lock(&places.alone).take(&serves);
                    let kept = match taken {
                        Some(kept) => kept,
                        None => self.start(target).await?,
                    };
                    (kept, Home::Pool(places))
                }
            }
        };
        let (worker, id) = (Arc::clone(&kept.worker), kept.id);
        let unsettled = Some((kept, self.env.clone()));
        let hold = Hold { home, serves, unsettled };
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
            Home::Pool(places) if reusable => {
                lock(&places.alone).put(kept, hold.serves.clone(), now)
            }
            Home::Pool(_) => Some(kept),
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
