//! Keeps environments ready ahead of calls: as many as are wished for, made again when they end.
//!
//! It is told all wishes each time, and looks again from time to time, so nothing that it misses
//! is missed for long. A call that finds none ready goes the on-demand way.

use super::reserve::Reserve;
use super::room::{self, Wanted};
use super::{Kept, Shared, lock};
use lamplight_env::Env;
use lamplight_model::{FunctionArn, Qualifier, Target};
use lamplight_rpc::{Placement, Provisioning, StartError};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Semaphore;

/// Environments that are initialised at the same time, so that calls are not held up.
const AT_A_TIME: usize = 4;

pub(super) type SharedReserve = Shared<Reserve<Kept>>;

type Wishes = HashMap<FunctionArn, HashMap<Qualifier, Wish>>;

struct Wish {
    target: Arc<Target>,
    reserve: SharedReserve,
    /// Why it has fewer environments than were wished for.
    shortage: Option<String>,
}

pub(super) struct Provisioner {
    env: Env,
    placement: Arc<dyn Placement>,
    starts: Arc<Semaphore>,
    /// For all environments that are made here.
    room_mb: u64,
    wishes: RwLock<Wishes>,
}

impl Provisioner {
    pub fn new(env: Env, placement: Arc<dyn Placement>, room_mb: u64) -> Self {
        let starts = Arc::new(Semaphore::new(AT_A_TIME));
        Self { env, placement, starts, room_mb, wishes: RwLock::default() }
    }

    fn wishes(&self) -> RwLockReadGuard<'_, Wishes> {
        self.wishes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what is wished for from now on. Gives out what nobody wishes for any more.
    pub fn set(&self, wished: Vec<(Arc<Target>, u32)>) -> Vec<Kept> {
        let mut surplus = Vec::new();
        let mut next: HashMap<_, HashMap<Qualifier, Wish>> = HashMap::new();
        {
            let mut wishes = self.wishes.write().unwrap_or_else(PoisonError::into_inner);
            let wanted: Vec<Wanted> = wished
                .iter()
                .map(|(target, wanted)| Wanted {
                    had: had(&wishes, target),
                    wanted: *wanted,
                    memory_mb: target.memory_mb,
                })
                .collect();
            let given = room::share(&wanted, self.room_mb);
            for ((target, _), (wanted, given)) in
                wished.into_iter().zip(wanted.into_iter().zip(given))
            {
                let old = wishes.get_mut(&target.function);
                let old = old.and_then(|versions| versions.remove(&target.version));
                let same = |wish: &Wish| lock(&wish.reserve).generation() == target.generation;
                let reserve = match old {
                    Some(wish) if same(&wish) => wish.reserve,
                    other => {
                        surplus.extend(other.iter().flat_map(|wish| lock(&wish.reserve).want(0)));
                        Shared::new(Reserve::new(target.generation).into())
                    }
                };
                surplus.extend(lock(&reserve).want(given));
                let shortage = room::shortage(&wanted, given, self.room_mb);
                let versions = next.entry(target.function.clone()).or_default();
                versions.insert(target.version.clone(), Wish { target, reserve, shortage });
            }
            for wish in wishes.values().flat_map(HashMap::values) {
                surplus.extend(lock(&wish.reserve).want(0));
            }
            *wishes = next;
        }
        self.fill();
        surplus
    }

    /// Makes what is missing.
    pub fn fill(&self) {
        let now = self.env.clock.instant();
        for wish in self.wishes().values().flat_map(HashMap::values) {
            let begun = lock(&wish.reserve).begin(now);
            for _ in 0..begun {
                self.make(wish);
            }
        }
    }

    fn make(&self, wish: &Wish) {
        let (env, placement) = (self.env.clone(), Arc::clone(&self.placement));
        let (starts, target) = (Arc::clone(&self.starts), Arc::clone(&wish.target));
        let reserve = Arc::clone(&wish.reserve);
        let mut stop = self.env.tasks.stop_signal();
        self.env.tasks.spawn(async move {
            let made = tokio::select! {
                made = make(&env, &starts, &*placement, &target) => made,
                () = stop.stopped() => Err(StartError::Stopping),
            };
            match made {
                Ok(kept) => {
                    let surplus = lock(&reserve).made(kept);
                    if let Some(kept) = surplus {
                        kept.worker.end(kept.id).await;
                    }
                }
                Err(why) => {
                    let function = target.function.qualified(&target.version);
                    tracing::warn!(function, %why, "an environment could not be made ahead of calls");
                    lock(&reserve).fail(why.to_string(), env.clock.instant());
                }
            }
        });
    }

    /// One that is ready for a call of `target`, and where it belongs.
    pub fn take(&self, target: &Target) -> Option<(Kept, SharedReserve)> {
        let wishes = self.wishes();
        let reserve = &wishes.get(&target.function)?.get(&target.version)?.reserve;
        let kept = lock(reserve).take(target.generation)?;
        Some((kept, Arc::clone(reserve)))
    }

    /// Gives out the idle ones for which `gone` holds.
    pub fn discard(&self, gone: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let wishes = self.wishes();
        let all = wishes.values().flat_map(HashMap::values);
        all.flat_map(|wish| lock(&wish.reserve).discard(&gone)).collect()
    }

    pub fn state(&self, function: &FunctionArn, version: &Qualifier) -> Provisioning {
        let wishes = self.wishes();
        let wish = wishes.get(function).and_then(|versions| versions.get(version));
        let Some(wish) = wish else { return Provisioning::default() };
        let reserve = lock(&wish.reserve);
        let failed = reserve.failure().map(str::to_owned).or_else(|| wish.shortage.clone());
        Provisioning { ready: reserve.ready(), failed }
    }
}

/// For how many environments of a target there is room already.
fn had(wishes: &Wishes, target: &Target) -> u32 {
    let wish = wishes.get(&target.function).and_then(|versions| versions.get(&target.version));
    wish.map_or(0, |wish| lock(&wish.reserve).wanted())
}

async fn make(
    env: &Env,
    starts: &Semaphore,
    placement: &dyn Placement,
    target: &Arc<Target>,
) -> Result<Kept, StartError> {
    let _place = starts.acquire().await.map_err(|_| StartError::Stopping)?;
    let worker = placement.place(target).await?;
    let born = env.clock.instant();
    let id = worker.provision(Arc::clone(target)).await?;
    Ok(Kept { worker, id, born })
}
