//! Makes sandboxes: everything that is set up once, and the order in which one is built.

use crate::cgroup::Cgroups;
use crate::network::Network;
use crate::remains::Remains;
use crate::sandbox::{Layout, Parts, Sandbox};
use crate::{Egress, Mode, Options, SandboxError, Spec, System, memfd, seccomp};
use lamplight_env::{Env, faults};
use lamplight_init::channel;
use lamplight_init::protocol::{Bind, Blueprint, FromInit, Isolation, RUNTIME_API, Tmp, ToInit};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::thread::CapabilitySet;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// First of the users and groups of the host that sandboxes run as: two for each living sandbox,
/// root's and the program's. Far above what distributions and `/etc/subuid` hand out.
pub const FIRST_HOST_ID: u32 = 2_000_000_000;
/// Sandboxes that can live at one time.
const SLOTS: u32 = 32_768;
/// Files and directories in a sandbox's `/tmp` for each MiB of it.
const INODES_PER_MB: u64 = 1024;
/// How long building one sandbox may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct Launcher {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    env: Env,
    jail: OwnedFd,
    filter: Vec<u64>,
    cgroups: Option<Cgroups>,
    network: Option<Network>,
    /// Whether sandboxes get users of their own: else they all run as ours.
    privileged: bool,
    slots: Mutex<BTreeSet<u32>>,
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
        let shared = Shared {
            options,
            env,
            jail,
            filter: seccomp::filter(),
            cgroups,
            network,
            privileged,
            slots: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn mode(&self) -> Mode {
        self.shared.options.mode
    }

    /// Builds a sandbox with nothing running in it.
    ///
    /// # Errors
    /// The step that failed; nothing of the sandbox is left then.
    pub async fn launch(&self, spec: Spec) -> Result<Sandbox, SandboxError> {
        spec.check()?;
        let shared = self.shared.clone();
        let built = self.shared.env.tasks.spawn_blocking(move || build(&shared, &spec)).await;
        let built = built.map_err(|_| SandboxError::Cancelled)??;
        Sandbox::new(built, &self.shared.env)
    }

    /// Takes down what all sandboxes share. Those that still live must have been destroyed before.
    pub async fn shut_down(&self) {
        let shared = self.shared.clone();
        let work = self.shared.env.tasks.spawn_blocking(move || shared.remove());
        // Cancelled only when the runtime itself is going down.
        let _ = work.await;
    }
}

impl Shared {
    /// May be done twice.
    fn remove(&self) {
        if let Some(network) = &self.network {
            network.remove();
        }
        if let Some(cgroups) = &self.cgroups {
            cgroups.remove();
        }
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

/// The whole of a sandbox's construction, in order. Whatever fails, `remains` cleans up.
fn build(shared: &Arc<Shared>, spec: &Spec) -> Result<Parts, SandboxError> {
    faults::point("sandbox.launch").map_err(SandboxError::Spawn)?;
    let mode = shared.options.mode;
    let mut remains = Remains {
        init: None,
        pid_namespace: mode == Mode::Namespaces,
        group: None,
        directory: None,
        release: None,
    };
    let slot = take_slot(shared)?;
    let owner = shared.clone();
    remains.release = Some(Box::new(move || give_back(&owner, slot)));
    let layout =
        Layout::prepare(mode, &shared.options.run_dir, spec).map_err(SandboxError::RunDir)?;
    remains.directory = layout.directory.clone();
    if let Some(cgroups) = &shared.cgroups {
        remains.group = Some(
            cgroups.create(&spec.id, spec.memory_mb, spec.tmp_mb).map_err(SandboxError::Cgroup)?,
        );
    }

    let (ours, theirs) = channel::pair().map_err(SandboxError::Talk)?;
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&ours, timeout, Some(PATIENCE))
            .map_err(|error| SandboxError::Talk(error.into()))?;
    }
    let mut jail = Command::new(format!("/proc/self/fd/{}", shared.jail.as_raw_fd()))
        .arg0("lamplight-jail")
        .args([&shared.options.instance, &spec.id])
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(SandboxError::Spawn)?;
    let began = begin(shared, spec, &ours, slot, &mut remains);
    if began.is_err() {
        // It may wait for a word that will not come, or for a disk.
        let _ = rustix::net::shutdown(&ours, rustix::net::Shutdown::Both);
        let _ = jail.kill();
    }
    // The jail ends by itself once it has said what it has to say.
    if !faults::bug("skip-reaping") {
        jail.wait().map_err(SandboxError::Spawn)?;
    }
    let init = began?;
    let link = match &shared.network {
        Some(network) => Some(network.connect(slot, init).map_err(SandboxError::Network)?),
        None => None,
    };
    tell(&ours, &ToInit::Network(link))?;
    let listener = match hear(&ours)? {
        (FromInit::Ready, Some(listener)) => std::net::TcpListener::from(listener),
        _ => return Err(SandboxError::Talk(io::ErrorKind::InvalidData.into())),
    };
    let runtime_api = match mode {
        Mode::Namespaces => format!("{}:{}", RUNTIME_API.0, RUNTIME_API.1),
        Mode::Process => listener.local_addr().map_err(SandboxError::Talk)?.to_string(),
    };
    if faults::bug("leak-descriptor") {
        std::mem::forget(ours.try_clone());
    }
    faults::point("sandbox.launched").map_err(SandboxError::Talk)?;
    Ok(Parts { control: ours, listener, runtime_api, layout, remains })
}

/// Hands the jail its blueprint and hears who init is.
fn begin(
    shared: &Shared,
    spec: &Spec,
    control: &OwnedFd,
    slot: u32,
    remains: &mut Remains,
) -> Result<i32, SandboxError> {
    let mut blueprint = blueprint(shared, spec, slot);
    if let Some(group) = &remains.group {
        blueprint.cgroups = group.directories();
    }
    tell(control, &blueprint)?;
    match hear(control)? {
        (FromInit::Cloned { pid }, Some(init)) => {
            remains.init = Some(init);
            Ok(pid)
        }
        _ => Err(SandboxError::Talk(io::ErrorKind::InvalidData.into())),
    }
}

/// Whoever has closed already has said why, which is heard next.
fn tell<T: serde::Serialize>(control: &OwnedFd, message: &T) -> Result<(), SandboxError> {
    match channel::send(control, message, None) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => {
            Ok(())
        }
        other => other.map_err(SandboxError::Talk),
    }
}

fn hear(control: &OwnedFd) -> Result<(FromInit, Option<OwnedFd>), SandboxError> {
    match channel::receive::<FromInit>(control).map_err(SandboxError::Talk)? {
        Some((FromInit::Failed(fault), _)) => {
            tracing::error!(step = ?fault.step, errno = fault.errno, on = fault.on, "a sandbox cannot be set up");
            Err(SandboxError::Setup(fault))
        }
        Some(message) => Ok(message),
        None => Err(SandboxError::Talk(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn blueprint(shared: &Shared, spec: &Spec, slot: u32) -> Blueprint {
    let isolation = match (shared.options.mode, shared.privileged) {
        (Mode::Process, _) => Isolation::Process,
        (Mode::Namespaces, false) => Isolation::Rootless,
        (Mode::Namespaces, true) => {
            let root = FIRST_HOST_ID + 2 * slot;
            Isolation::Mapped { root, program: root + 1 }
        }
    };
    let binds = spec.binds.iter().map(|bind| Bind {
        source: bind.source.to_string_lossy().into_owned(),
        target: bind.target.clone(),
    });
    let links = match &spec.system {
        System::Host => Vec::new(),
        System::Own { links } => {
            let inside = |link: &str| link.trim_start_matches('/').to_owned();
            links.iter().map(|(link, target)| (inside(link), target.clone())).collect()
        }
    };
    let resolvers = match &shared.options.egress {
        Egress::Denied => Vec::new(),
        Egress::Internet { resolvers, .. } => resolvers.clone(),
    };
    Blueprint {
        isolation,
        hostname: spec.id.clone(),
        cgroups: Default::default(),
        binds: binds.collect(),
        host_system: matches!(spec.system, System::Host),
        links,
        tmp: Tmp {
            bytes: u64::from(spec.tmp_mb) << 20,
            inodes: u64::from(spec.tmp_mb) * INODES_PER_MB,
        },
        resolvers,
        filter: shared.filter.clone(),
    }
}

fn take_slot(shared: &Shared) -> Result<u32, SandboxError> {
    let mut taken = shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
    let free = (0..SLOTS).find(|slot| !taken.contains(slot)).ok_or(SandboxError::Full)?;
    taken.insert(free);
    Ok(free)
}

fn give_back(shared: &Shared, slot: u32) {
    if let Some(network) = &shared.network {
        network.disconnect(slot);
    }
    shared.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
}
