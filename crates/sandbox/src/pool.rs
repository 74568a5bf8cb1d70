//! Sandboxes that are built ahead, blank, while nobody waits for one.
//!
//! How many follows from how many were asked for lately and from the size of this machine; nothing
//! has to be set. Taken ones are not given back: what a tenant has had is destroyed. Where the pool
//! is empty a sandbox is built when it is asked for, which takes longer and is otherwise the same.
//!
//! Only what most sandboxes are is kept: those of namespaces, with users of their own, that see the
//! programs of the host.

use crate::building::{self, Blank};
use crate::launcher::Shared;
use crate::{Mode, Spec, System};
use lamplight_init::channel::MOST_DESCRIPTORS;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Memory of the machine for each blank that may wait, MiB. One takes less than a hundredth of it.
const MB_EACH: u64 = 512;
/// A machine with less keeps none.
const MB_LEAST: u64 = 1024;
/// What waits at most, on whatever machine.
const MOST: usize = 64;
/// What waits while sandboxes are started now and then.
const FLOOR: usize = 2;
/// A start counts as demand for another one for this long.
const LATELY: Duration = Duration::from_secs(10);
/// After this long without a start nothing waits any more.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// A blank is built when nobody has started anything for this long: starts, and the first calls of
/// what was started, come first.
const QUIET: Duration = Duration::from_millis(50);
/// How often a full pool looks whether it is too large.
const PERIOD: Duration = Duration::from_secs(2);

pub(crate) struct Pool {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Held while one is built.
    building: Mutex<()>,
    /// Tells whoever fills it that one was taken.
    taken: Arc<Notify>,
    /// Itself, for the task that fills it.
    own: Weak<Pool>,
}

#[derive(Default)]
struct State {
    blanks: Vec<Blank>,
    demand: Demand,
    /// Built so far, which names them.
    built: u64,
    /// Whether a task fills it.
    filling: bool,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let wanted = shared.options.ahead && shared.options.mode == Mode::Namespaces;
        let most = if wanted && shared.privileged { most(memory_mb()) } else { 0 };
        let state = State { demand: Demand { most, ..Demand::default() }, ..State::default() };
        Arc::new_cyclic(|own| Self {
            shared,
            state: Mutex::new(state),
            building: Mutex::default(),
            taken: Arc::default(),
            own: own.clone(),
        })
    }

    /// One for `spec`, where one waits that can be it.
    pub(crate) fn take(&self, spec: &Spec) -> Option<Blank> {
        let fits = matches!(spec.system, System::Host) && spec.binds.len() <= MOST_DESCRIPTORS;
        if !fits {
            return None;
        }
        let now = self.shared.env.clock.instant();
        let mut state = self.state();
        state.demand.note(now);
        state.blanks.pop()
    }

    /// Sees to it that somebody fills it. To be called within a runtime.
    pub(crate) fn refill(&self) {
        let mut state = self.state();
        if state.closed || state.demand.most == 0 {
            return;
        }
        if std::mem::replace(&mut state.filling, true) {
            self.taken.notify_one();
            return;
        }
        drop(state);
        let (own, taken) = (self.own.clone(), Arc::clone(&self.taken));
        let tasks = &self.shared.env.tasks;
        tasks.spawn(fill((own, taken), tasks.stop_signal()));
    }

    /// Destroys what waits and takes nothing more. Blocks.
    pub(crate) fn close(&self) {
        let blanks = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.blanks)
        };
        drop(blanks);
        // One that is being built finds it closed, and is gone with this.
        drop(self.building.lock());
    }

    /// What the filling has to do now.
    fn plan(&self) -> Plan {
        let now = self.shared.env.clock.instant();
        let mut state = self.state();
        let wanted = if state.closed { 0 } else { state.demand.wanted(now) };
        if wanted == 0 && state.blanks.is_empty() {
            state.filling = false;
            return Plan::End;
        }
        if state.blanks.len() > wanted {
            return state.blanks.pop().map_or(Plan::Wait(PERIOD), Plan::Destroy);
        }
        if state.blanks.len() == wanted {
            return Plan::Wait(PERIOD);
        }
        match state.demand.rest(now) {
            Some(rest) => Plan::Wait(rest),
            None => {
                state.built += 1;
                // No sandbox that was asked for has a name like this.
                Plan::Build(format!("blank-{}", state.built))
            }
        }
    }

    /// Whether it was built and has its place.
    fn build(&self, name: &str) -> bool {
        let _building = self.building.lock();
        match building::blank(&self.shared, name) {
            Ok(blank) => {
                let mut state = self.state();
                if !state.closed {
                    state.blanks.push(blank);
                    return true;
                }
                // The lock is gone before the blank is.
                drop(state);
                drop(blank);
                false
            }
            Err(error) => {
                tracing::warn!(%error, "no sandbox can be built ahead");
                false
            }
        }
    }

    /// Whoever panicked while holding it left it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Plan {
    Build(String),
    Destroy(Blank),
    Wait(Duration),
    /// Nothing waits and nothing is wanted: the next start fills it again.
    End,
}

/// Fills a pool, and empties it again, until nothing is wanted or the server stops.
async fn fill((pool, taken): (Weak<Pool>, Arc<Notify>), mut stop: lamplight_env::Stop) {
    loop {
        let Some(strong) = pool.upgrade() else { return };
        let tasks = strong.shared.env.tasks.clone();
        let rest = match strong.plan() {
            Plan::End => return,
            Plan::Wait(rest) => rest,
            Plan::Destroy(blank) => {
                // Cancelled only when the runtime itself is going down, which drops it as well.
                let _ = tasks.spawn_blocking(move || drop(blank)).await;
                continue;
            }
            Plan::Build(name) => {
                let builder = strong.clone();
                let built = tasks.spawn_blocking(move || builder.build(&name)).await;
                match built {
                    Ok(true) => continue,
                    // Whatever is wrong will not be right in a moment.
                    _ => PERIOD,
                }
            }
        };
        drop(strong);
        tokio::select! {
            () = stop.stopped() => return,
            () = taken.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// How many starts there were lately. Pure.
#[derive(Default)]
struct Demand {
    most: usize,
    /// The last ones, as many as could matter.
    starts: VecDeque<Instant>,
}

impl Demand {
    fn note(&mut self, now: Instant) {
        self.starts.push_back(now);
        while self.starts.len() > self.most.max(1) {
            self.starts.pop_front();
        }
    }

    /// How many should wait.
    fn wanted(&mut self, now: Instant) -> usize {
        let age = |start: &Instant| now.saturating_duration_since(*start);
        let Some(last) = self.starts.back().map(age) else { return 0 };
        if last > FORGOTTEN {
            return 0;
        }
        let lately = self.starts.iter().filter(|start| age(start) <= LATELY).count();
        lately.max(FLOOR).min(self.most)
    }

    /// How long starts are still to be left alone.
    fn rest(&self, now: Instant) -> Option<Duration> {
        let last = self.starts.back()?;
        QUIET.checked_sub(now.saturating_duration_since(*last)).filter(|rest| !rest.is_zero())
    }
}

/// How many blanks a machine keeps at most.
fn most(memory_mb: u64) -> usize {
    if memory_mb < MB_LEAST {
        return 0;
    }
    usize::try_from(memory_mb / MB_EACH).unwrap_or(MOST).min(MOST)
}

fn memory_mb() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the width depends on the machine")]
    let total = u64::from(info.totalram);
    total.saturating_mul(info.mem_unit.into()) >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_were_started_lately_within_bounds() {
        let env = lamplight_env::Env::system();
        let start = env.clock.instant();
        let mut demand = Demand { most: 8, ..Demand::default() };
        assert_eq!(demand.wanted(start), 0, "nobody has asked for one");
        demand.note(start);
        assert_eq!(demand.wanted(start), FLOOR);
        for _ in 0..5 {
            demand.note(start);
        }
        assert_eq!(demand.wanted(start), 6);
        for _ in 0..100 {
            demand.note(start);
        }
        assert_eq!(demand.wanted(start), 8);
        assert_eq!(demand.starts.len(), 8, "what is remembered is bounded");
        assert_eq!(demand.wanted(start + LATELY + Duration::from_millis(1)), FLOOR);
        assert_eq!(demand.wanted(start + FORGOTTEN + Duration::from_millis(1)), 0);
    }

    #[test]
    fn nothing_is_built_in_the_moment_of_a_start() {
        let start = lamplight_env::Env::system().clock.instant();
        let mut demand = Demand { most: 8, ..Demand::default() };
        demand.note(start);
        assert_eq!(demand.rest(start), Some(QUIET));
        assert_eq!(demand.rest(start + QUIET), None);
    }

    #[test]
    fn small_machines_keep_none_and_large_ones_not_too_many() {
        assert_eq!([most(512), most(1024), most(24_000), most(1 << 20)], [0, 2, 46, MOST]);
    }
}
