//! The zygotes of this machine: one for each account and runtime whose functions start.
//!
//! Nobody waits for one: the first start of an account begins it and is executed, as is every start
//! while there is none. One that is not used for long ends, and so do all that nobody uses when
//! memory is short. One that cannot fork is given up, and tried again later.
//!
//! Invariants: accounts share no zygote, so that none learns from its own about another's; there is
//! a bound to how many there are. Absent: what is forked; see `forking`.

use lamplight_env::Env;
use lamplight_model::AccountId;
use lamplight_sandbox::{Launcher, Zygote, ZygoteSpec};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;

/// One that is not used for this long ends.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// When memory is short, this long is enough.
const IDLE_WHEN_SHORT: Duration = Duration::from_secs(5);
/// How long the one after a failed one is put off.
const PAUSE: Duration = Duration::from_secs(30);
/// Each takes some ten megabytes.
const MOST: usize = 64;
/// How often it is looked what can go.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// Whose functions, on what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub account: AccountId,
    pub runtime: String,
}

struct Seat {
    used: Instant,
    state: State,
}

enum State {
    Starting,
    Ready(Arc<Zygote>),
    /// Not before then again.
    Failed(Instant),
}

#[derive(Default)]
struct Table {
    seats: HashMap<Key, Seat>,
    made: u64,
    closed: bool,
}

pub struct Zygotes {
    launcher: Launcher,
    env: Env,
    table: Mutex<Table>,
    /// Read by whoever starts one, written by the end.
    starting: Arc<RwLock<()>>,
}

impl Zygotes {
    pub fn new(launcher: Launcher, env: Env) -> Arc<Self> {
        Arc::new(Self { launcher, env, table: Mutex::default(), starting: Arc::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The zygote for `key`. Where there is none one is begun, of `spec` with a name.
    pub fn find(
        self: &Arc<Self>,
        key: &Key,
        spec: impl FnOnce(String) -> ZygoteSpec,
    ) -> Option<Arc<Zygote>> {
        let now = self.env.clock.instant();
        let mut table = self.table();
        if let Some(seat) = table.seats.get_mut(key) {
            seat.used = now;
            match &seat.state {
                State::Ready(zygote) if zygote.is_of_use() => return Some(Arc::clone(zygote)),
                State::Ready(zygote) => {
                    tracing::warn!(
                        runtime = key.runtime,
                        said = zygote.complaints(),
                        "a zygote is given up"
                    );
                    self.let_go(zygote);
                    seat.state = State::Failed(now + PAUSE);
                    return None;
                }
                State::Starting => return None,
                State::Failed(until) if now < *until => return None,
                State::Failed(_) => {}
            }
        } else if table.seats.len() >= MOST {
            return None;
        }
        if table.closed {
            return None;
        }
        table.made += 1;
        let spec = spec(format!("zygote{}", table.made));
        table.seats.insert(key.clone(), Seat { used: now, state: State::Starting });
        drop(table);
        let (all, key) = (Arc::clone(self), key.clone());
        self.env.tasks.spawn(async move { all.start(key, spec).await });
        None
    }

    async fn start(&self, key: Key, spec: ZygoteSpec) {
        let Ok(_starting) = Arc::clone(&self.starting).try_read_owned() else { return };
        let started = self.launcher.zygote(spec).await;
        let now = self.env.clock.instant();
        let state = match started {
            Ok(zygote) => State::Ready(Arc::new(zygote)),
            Err(error) => {
                tracing::debug!(%error, runtime = key.runtime, "there is no zygote");
                State::Failed(now + PAUSE)
            }
        };
        // Kept even when all is over: the end waits for us, and then ends it.
        self.table().seats.insert(key, Seat { used: now, state });
    }

    fn let_go(&self, zygote: &Arc<Zygote>) {
        let zygote = Arc::clone(zygote);
        self.env.tasks.spawn(async move { zygote.end().await });
    }

    /// Ends those that are not worth their memory.
    pub fn tidy(&self) {
        let now = self.env.clock.instant();
        let mut table = self.table();
        let age = |since: Instant| now.saturating_duration_since(since);
        if table.seats.is_empty() {
            return;
        }
        let patience = if is_memory_short() { IDLE_WHEN_SHORT } else { IDLE };
        table.seats.retain(|_, seat| {
            let stays = age(seat.used) < patience || matches!(seat.state, State::Starting);
            if let (State::Ready(zygote), false) = (&seat.state, stays) {
                self.let_go(zygote);
            }
            stays
        });
    }

    /// Ends all. Returns when nothing of them is left.
    pub async fn close(&self) {
        self.table().closed = true;
        let _all = self.starting.write().await;
        let seats = std::mem::take(&mut self.table().seats);
        for seat in seats.into_values() {
            if let State::Ready(zygote) = seat.state {
                zygote.end().await;
            }
        }
    }
}

/// Less than a twentieth of the machine's is available.
fn is_memory_short() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    match (field("MemAvailable:"), field("MemTotal:")) {
        (Some(available), Some(total)) => available < total / 20,
        _ => false,
    }
}
