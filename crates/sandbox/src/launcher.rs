//! Makes sandboxes: everything that is set up once, and whether one is built or was built ahead.

use crate::cgroup::Cgroups;
use crate::network::Network;
use crate::nursery::Nursery;
use crate::pool::Pool;
use crate::sandbox::{Parts, Sandbox};
use crate::{Mode, Options, SandboxError, Spec, building, memfd, seccomp};
use lamplight_env::{Env, faults};
use rustix::thread::CapabilitySet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// First of the users and groups of the host that sandboxes run as: two for each living sandbox,
/// root's and the program's. Far above what distributions and `/etc/subuid` hand out.
pub const FIRST_HOST_ID: u32 = 2_000_000_000;
/// Sandboxes that can live at one time.
const SLOTS: u32 = 32_768;

/// Makes sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct Launcher {
    shared: Arc<Shared>,
    /// Not in what is shared: sandboxes hold on to that.
    pool: Arc<Pool>,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) nursery: Nursery,
    pub(crate) filter: Vec<u64>,
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) network: Option<Network>,
    /// Whether sandboxes get users of their own: else they all run as ours.
    pub(crate) privileged: bool,
    slots: Mutex<Slots>,
}

/// The numbers that living sandboxes have of their own.
#[derive(Default)]
struct Slots {
    /// Those that were given back, the last on top.
    free: Vec<u32>,
    /// Those from here on were never taken.
    next: u32,
}

impl Launcher {
    /// Sets up what all sandboxes share: the sealed jail, the filter, the cgroup parents.
    ///
    /// # Errors
    /// When the jail binary, the run directory or existing cgroups cannot be used. Without the right
    /// to make cgroups, sandboxes have no memory limit; without a packet filter, no way out.
    pub fn new(options: Options, env: Env) -> Result<Self, SandboxError> {
        if options.instance.len() != 8
            || !options.instance.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(SandboxError::BadSpec(
                "instance is not eight lower-case hex digits".to_owned(),
            ));
        }
        std::fs::create_dir_all(&options.run_dir).map_err(SandboxError::RunDir)?;
        let jail = memfd::sealed_copy(&options.jail).map_err(SandboxError::SealJail)?;
        let cgroups = Cgroups::set_up(&options.instance).map_err(SandboxError::Cgroup)?;
        if cgroups.is_none() {
            tracing::warn!("this user may not make cgroups: sandboxes have no memory limit");
        }
        let network = match options.mode {
            Mode::Namespaces => network(&options),
            Mode::Process => None,
        };
        let privileged = may_map_users();
        let shared = Arc::new(Shared {
            nursery: Nursery::new(jail, options.instance.clone()),
            options,
            env,
            filter: seccomp::filter(),
            cgroups,
            network,
            privileged,
            slots: Mutex::default(),
        });
        let pool = Pool::new(shared.clone());
        Ok(Self { shared, pool })
    }

    pub fn mode(&self) -> Mode {
        self.shared.options.mode
    }

    /// What all sandboxes together use, without caches of files. Bytes; unknown without cgroups.
    pub fn memory_used(&self) -> Option<u64> {
        self.shared.cgroups.as_ref()?.memory_used()
    }

    /// What they may still use by the limits of the groups that theirs are in, if of each limit what
    /// `kept` makes of it is kept free; absent where nobody has set one.
    pub fn memory_left(&self, kept: fn(u64) -> u64) -> Option<u64> {
        self.shared.cgroups.as_ref()?.memory_left(kept)
    }

    /// A sandbox with nothing running in it.
    ///
    /// # Errors
    /// The step that failed; nothing of the sandbox is left then.
    pub async fn launch(&self, spec: Spec) -> Result<Sandbox, SandboxError> {
        spec.check()?;
        let (shared, pool) = (self.shared.clone(), self.pool.clone());
        let build = move || launch(&shared, &pool, &spec);
        let built = self.shared.env.tasks.spawn_blocking(build).await;
        self.pool.refill();
        let built = built.map_err(|_| SandboxError::Cancelled)??;
        Sandbox::new(built, &self.shared.env)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes down what all sandboxes share. Those that still live must have been destroyed before.
    pub async fn shut_down(&self) {
        let (shared, pool) = (self.shared.clone(), self.pool.clone());
        let work = self.shared.env.tasks.spawn_blocking(move || {
            pool.close();
            shared.remove();
        });
        // Cancelled only when the runtime itself is going down.
        let _ = work.await;
    }
}

impl Shared {
    /// May be done twice.
    fn remove(&self) {
        self.nursery.end();
        if let Some(network) = &self.network {
            network.remove();
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
    }
}

impl Shared {
    pub(crate) fn take_slot(&self) -> Result<u32, SandboxError> {
        let mut slots = self.slots();
        if let Some(slot) = slots.free.pop() {
            return Ok(slot);
        }
        if slots.next >= SLOTS {
            return Err(SandboxError::Full);
        }
        slots.next += 1;
        Ok(slots.next - 1)
    }

    /// Whoever panicked while holding it left it whole.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    /// Sandboxes hold on to it, so the last of them has gone.
    fn drop(&mut self) {
        self.remove();
    }
}

/// A machine that cannot filter packets gets sandboxes that reach nothing: closed, not open.
fn network(options: &Options) -> Option<Network> {
    Network::set_up(&options.instance, &options.egress).unwrap_or_else(|error| {
        tracing::warn!(%error, "no packet filter: sandboxes reach nothing outside");
        None
    })
}

/// Whether we may open mounts and write user maps for others: root, and not root of a container
/// that has been relieved of these rights.
pub(crate) fn may_map_users() -> bool {
    let wanted = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETGID;
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

fn launch(shared: &Arc<Shared>, pool: &Pool, spec: &Spec) -> Result<Parts, SandboxError> {
    faults::point("sandbox.launch").map_err(SandboxError::Spawn)?;
    if let Some(blank) = pool.take(spec) {
        match building::taken(shared, blank, spec) {
            // It has died while it waited: the spec is not to blame.
            Err(SandboxError::Talk(error)) => {
                tracing::warn!(%error, "a sandbox that was built ahead is gone");
            }
            other => return other,
        }
    }
    building::whole(shared, spec)
}

pub(crate) fn give_back(shared: &Shared, slot: u32) {
    if let Some(network) = &shared.network {
        network.disconnect(slot);
    }
    shared.slots().free.push(slot);
}
