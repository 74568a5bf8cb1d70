//! How a sandbox is built, in two steps: a blank one, and what makes it one tenant's.
//!
//! What is asked for at once gets its sources with the blank; what was built ahead gets them, opened
//! by the server, when it is taken. Init keeps the rights that this needs until then and gives them
//! up before anything of the tenant's runs. Everything here blocks.

use crate::launcher::{FIRST_HOST_ID, Shared, give_back};
use crate::remains::Remains;
use crate::sandbox::{Layout, Parts};
use crate::{Egress, Mode, SandboxError, Spec, System};
use lamplight_env::faults;
use lamplight_init::channel;
use lamplight_init::protocol::{
    Bind, Blueprint, FromInit, Furniture, Isolation, Place, RUNTIME_API, Tmp, ToInit,
};
use lamplight_init::sources::{self, Source};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Files and directories in a sandbox's `/tmp` for each MiB of it.
const INODES_PER_MB: u64 = 1024;
/// How long building one sandbox may take before it is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A sandbox that is nobody's yet. Dropping it leaves nothing.
pub(crate) struct Blank {
    control: OwnedFd,
    remains: Remains,
}

/// Builds a sandbox for `spec`.
pub(crate) fn whole(shared: &Arc<Shared>, spec: &Spec) -> Result<Parts, SandboxError> {
    let blank = begin(shared, &spec.id, (&spec.binds, &spec.system))?;
    finish(shared, blank, spec, Vec::new())
}

/// Builds one that is to wait for its tenant, who sees the programs of the host.
pub(crate) fn blank(shared: &Arc<Shared>, name: &str) -> Result<Blank, SandboxError> {
    let blank = begin(shared, name, (&[], &System::Host))?;
    match hear(&blank.control)? {
        (FromInit::Blank, _) => Ok(blank),
        _ => Err(SandboxError::Talk(io::ErrorKind::InvalidData.into())),
    }
}

/// Makes a blank one that of `spec`.
pub(crate) fn taken(
    shared: &Arc<Shared>,
    blank: Blank,
    spec: &Spec,
) -> Result<Parts, SandboxError> {
    let open = |bind| sources::open_bind(&bind).map_err(SandboxError::Setup);
    let opened = binds(&spec.binds).into_iter().map(open).collect::<Result<_, _>>()?;
    finish(shared, blank, spec, opened)
}

/// Everything up to where init waits for its furniture. Whatever fails, `remains` cleans up.
fn begin(
    shared: &Arc<Shared>,
    name: &str,
    shown: (&[crate::Bind], &System),
) -> Result<Blank, SandboxError> {
    let mode = shared.options.mode;
    let mut remains = Remains {
        init: None,
        pid_namespace: mode == Mode::Namespaces,
        group: None,
        directory: None,
        release: None,
    };
    let slot = shared.take_slot()?;
    let owner = shared.clone();
    remains.release = Some(Box::new(move || give_back(&owner, slot)));
    if let Some(cgroups) = &shared.cgroups {
        remains.group = Some(cgroups.create(name).map_err(SandboxError::Cgroup)?);
    }
    let (ours, theirs) = channel::pair().map_err(SandboxError::Talk)?;
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&ours, timeout, Some(PATIENCE))
            .map_err(|error| SandboxError::Talk(error.into()))?;
    }
    let mut blueprint = blueprint(shared, shown, slot);
    if let Some(group) = &remains.group {
        blueprint.cgroups = group.directories();
    }
    // Before the order, so that the jail need not wait for it.
    tell(&ours, &blueprint, &[])?;
    let jail = shared.nursery.jail(&theirs).map_err(SandboxError::Spawn)?;
    drop(theirs);
    let cloned = hear(&ours);
    if cloned.is_err() {
        // It may wait for a disk.
        let _ = kill_process(jail, Signal::KILL);
    }
    let pid = match cloned {
        Ok((FromInit::Cloned { pid }, fds)) if !fds.is_empty() => {
            remains.init = fds.into_iter().next();
            Ok(pid)
        }
        Ok(_) => Err(SandboxError::Talk(io::ErrorKind::InvalidData.into())),
        Err(error) => Err(error),
    };
    let linked = pid.and_then(|pid| {
        let connect = |network: &crate::network::Network| network.connect(slot, pid);
        let link = shared.network.as_ref().map(connect).transpose();
        tell(&ours, &ToInit::Network(link.map_err(SandboxError::Network)?), &[])
    });
    // The jail ends by itself once it has said what it has to say.
    if !faults::bug("skip-reaping") {
        reap(jail).map_err(SandboxError::Spawn)?;
    }
    linked?;
    Ok(Blank { control: ours, remains })
}

fn reap(jail: Pid) -> io::Result<()> {
    rustix::io::retry_on_intr(|| waitpid(Some(jail), WaitOptions::empty()))?;
    Ok(())
}

/// Gives init what is the tenant's, and hears that it is done.
fn finish(
    shared: &Arc<Shared>,
    blank: Blank,
    spec: &Spec,
    sources: Vec<Source>,
) -> Result<Parts, SandboxError> {
    let Blank { control, mut remains } = blank;
    let mode = shared.options.mode;
    let layout =
        Layout::prepare(mode, &shared.options.run_dir, spec).map_err(SandboxError::RunDir)?;
    remains.directory = layout.directory.clone();
    let place =
        |source: &Source| Place { target: source.target.clone(), directory: source.directory };
    let furniture = Furniture {
        hostname: spec.id.clone(),
        tmp: Tmp {
            bytes: u64::from(spec.tmp_mb) << 20,
            inodes: u64::from(spec.tmp_mb) * INODES_PER_MB,
        },
        places: sources.iter().map(place).collect(),
    };
    let trees: Vec<BorrowedFd<'_>> = sources.iter().map(|source| source.tree.as_fd()).collect();
    tell(&control, &ToInit::Furnish(furniture), &trees)?;
    // While init works.
    if let Some(group) = &mut remains.group {
        group.limit(spec.memory_mb, spec.tmp_mb).map_err(SandboxError::Cgroup)?;
    }
    let listeners = loop {
        match hear(&control)? {
            (FromInit::Blank, _) => {}
            (FromInit::Ready, listeners) => break listeners,
            _ => return Err(SandboxError::Talk(io::ErrorKind::InvalidData.into())),
        }
    };
    let mut listeners = listeners.into_iter().map(TcpListener::from);
    let Some(listener) = listeners.next() else {
        return Err(SandboxError::Talk(io::ErrorKind::InvalidData.into()));
    };
    let opened = shared.options.ports.iter().copied().zip(listeners).collect();
    let runtime_api = match mode {
        Mode::Namespaces => format!("{}:{}", RUNTIME_API.0, RUNTIME_API.1),
        Mode::Process => listener.local_addr().map_err(SandboxError::Talk)?.to_string(),
    };
    if faults::bug("leak-descriptor") {
        std::mem::forget(control.try_clone());
    }
    faults::point("sandbox.launched").map_err(SandboxError::Talk)?;
    Ok(Parts { control, listener, opened, runtime_api, layout, remains })
}

/// Whoever has closed already has said why, which is heard next.
fn tell<T: serde::Serialize>(
    control: &OwnedFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), SandboxError> {
    match channel::send_all(control, message, fds) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => {
            Ok(())
        }
        other => other.map_err(SandboxError::Talk),
    }
}

fn hear(control: &OwnedFd) -> Result<(FromInit, Vec<OwnedFd>), SandboxError> {
    match channel::receive_all::<FromInit>(control).map_err(SandboxError::Talk)? {
        Some((FromInit::Failed(fault), _)) => {
            tracing::error!(step = ?fault.step, errno = fault.errno, on = fault.on, "a sandbox cannot be set up");
            Err(SandboxError::Setup(fault))
        }
        Some(message) => Ok(message),
        None => Err(SandboxError::Talk(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn binds(binds: &[crate::Bind]) -> Vec<Bind> {
    let bind = |bind: &crate::Bind| Bind {
        source: bind.source.to_string_lossy().into_owned(),
        target: bind.target.clone(),
    };
    binds.iter().map(bind).collect()
}

pub(crate) fn blueprint(
    shared: &Shared,
    (shown, system): (&[crate::Bind], &System),
    slot: u32,
) -> Blueprint {
    let isolation = match (shared.options.mode, shared.privileged) {
        (Mode::Process, _) => Isolation::Process,
        (Mode::Namespaces, false) => Isolation::Rootless,
        (Mode::Namespaces, true) => {
            let root = FIRST_HOST_ID + 2 * slot;
            Isolation::Mapped { root, program: root + 1 }
        }
    };
    let links = match system {
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
        cgroups: Default::default(),
        binds: binds(shown),
        host_system: matches!(system, System::Host),
        links,
        resolvers,
        ports: shared.options.ports.clone(),
        filter: shared.filter.clone(),
        zygote: None,
    }
}
