//! The life of PID 1: from the first instruction in the new namespaces to the supervisor.

use crate::channel;
use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, FromInit, Furniture, Isolation, RUNTIME_API, ToInit};
use crate::sources::{self, Source};
use crate::supervisor::{Reach, Supervisor};
use crate::{network, root, sys};
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};
use std::os::fd::{AsFd, OwnedFd};

/// Builds the sandbox around this process and supervises it until the server lets go.
///
/// `sources` is what the jail could open with the server's rights; without it they are opened here.
/// `maps` becomes readable, with one byte, once the user and group maps are written.
pub fn run(
    control: OwnedFd,
    blueprint: Blueprint,
    sources: Option<Vec<Source>>,
    maps: OwnedFd,
) -> ! {
    match prepare(&control, &blueprint, sources, maps) {
        Ok(signals) => Supervisor::new(control, signals, Reach::Namespace, blueprint).run(),
        Err(fault) => {
            // When the server is gone too there is nobody left to tell.
            let _ = channel::send(&control, &FromInit::Failed(fault), None);
            sys::leave(1)
        }
    }
}

fn prepare(
    control: &OwnedFd,
    blueprint: &Blueprint,
    sources: Option<Vec<Source>>,
    maps: OwnedFd,
) -> Result<OwnedFd, Fault> {
    let mut byte = [0u8; 1];
    let got = rustix::io::retry_on_intr(|| rustix::io::read(&maps, &mut byte))
        .at(Step::AwaitMaps, "pipe")?;
    if got == 0 {
        return Err(Fault {
            step: Step::AwaitMaps,
            errno: libc::EPIPE,
            on: "the jail ended".to_owned(),
        });
    }
    drop(maps);
    if matches!(blueprint.isolation, Isolation::Mapped { .. }) {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
            .at(Step::BecomeRoot, "gid")?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
            .at(Step::BecomeRoot, "uid")?;
    }
    sys::hide_cgroups_above().at(Step::HideCgroup, "")?;
    rustix::process::umask(rustix::fs::Mode::empty());

    let sources = match sources {
        Some(sources) => sources,
        None => sources::open(blueprint)?,
    };
    let root = root::enter(blueprint, sources)?;

    let link = match channel::receive::<ToInit>(control).at(Step::AwaitNetwork, "control")? {
        Some((ToInit::Network(link), _)) => link,
        _ => {
            return Err(Fault {
                step: Step::AwaitNetwork,
                errno: libc::EPROTO,
                on: "control".to_owned(),
            });
        }
    };
    network::raise(link)?;
    let listeners = network::listeners(RUNTIME_API, &blueprint.ports)?;

    // Whoever gives it to a tenant may do so now or much later. The names are for people.
    rustix::thread::set_name(c"jail-blank").at(Step::ReportBlank, "name")?;
    channel::send(control, &FromInit::Blank, None).at(Step::ReportBlank, "control")?;
    let (furniture, trees) = await_furniture(control)?;
    rustix::thread::set_name(c"jail-init").at(Step::AwaitFurniture, "name")?;
    rustix::system::sethostname(furniture.hostname.as_bytes())
        .at(Step::SetHostname, &furniture.hostname)?;
    root::furnish(root, &furniture, trees)?;

    drop_capabilities()?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(Step::HideFromPtrace, "init")?;
    let signals = sys::watch_children().at(Step::WatchChildren, "SIGCHLD")?;
    check_descriptors(listeners.len())?;
    let listeners: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    channel::send_all(control, &FromInit::Ready, &listeners).at(Step::ReportReady, "control")?;
    Ok(signals)
}

/// What the sandbox is to be, from the server.
pub(crate) fn await_furniture(control: &OwnedFd) -> Result<(Furniture, Vec<OwnedFd>), Fault> {
    match channel::receive_all::<ToInit>(control).at(Step::AwaitFurniture, "control")? {
        Some((ToInit::Furnish(furniture), trees)) => Ok((furniture, trees)),
        _ => {
            Err(Fault { step: Step::AwaitFurniture, errno: libc::EPROTO, on: "control".to_owned() })
        }
    }
}

/// Proves that nothing of the host is still open (CVE-2024-21626): three standard descriptors, the
/// control socket, the listeners, the children's signals, and the one that lists them.
fn check_descriptors(listeners: usize) -> Result<(), Fault> {
    let entries = std::fs::read_dir("/proc/self/fd").at(Step::CheckDescriptors, "/proc/self/fd")?;
    match entries.count() {
        count if count == 6 + listeners => Ok(()),
        count => Err(Fault {
            step: Step::CheckDescriptors,
            errno: libc::EBADF,
            on: format!("{count} are open"),
        }),
    }
}

/// What starting and killing programs takes, and nothing that could change the sandbox again.
fn drop_capabilities() -> Result<(), Fault> {
    let kept = CapabilitySet::KILL
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::SETPCAP;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).at(Step::DropCapabilities, "init")
}
