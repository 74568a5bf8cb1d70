//! The keeper of process mode: no isolation, but the same supervisor.
//!
//! As a child subreaper it inherits every orphan of the programs it started, so that it can find
//! and kill them all, and nothing outlives it unless it is itself killed.

use crate::channel;
use crate::fault::{At, Fault, Step};
use crate::namespaces::await_furniture;
use crate::network;
use crate::protocol::{Blueprint, FromInit, ToInit};
use crate::supervisor::{Reach, Supervisor};
use crate::sys;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

/// Supervises until the server lets go.
pub fn run(control: OwnedFd, blueprint: Blueprint) -> ! {
    match prepare(&control, &blueprint) {
        Ok(signals) => Supervisor::new(control, signals, Reach::Descendants, blueprint).run(),
        Err(fault) => {
            // When the server is gone too there is nobody left to tell.
            let _ = channel::send(&control, &FromInit::Failed(fault), None);
            sys::leave(1)
        }
    }
}

fn prepare(control: &OwnedFd, blueprint: &Blueprint) -> Result<OwnedFd, Fault> {
    rustix::thread::set_name(c"jail-keeper").at(Step::BecomeReaper, "name")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .at(Step::BecomeReaper, "keeper")?;
    match channel::receive::<ToInit>(control).at(Step::AwaitNetwork, "control")? {
        Some((ToInit::Network(_), _)) => {}
        _ => {
            return Err(Fault {
                step: Step::AwaitNetwork,
                errno: libc::EPROTO,
                on: "control".to_owned(),
            });
        }
    }
    let listeners = network::listeners((Ipv4Addr::LOCALHOST, 0), &blueprint.ports)?;
    channel::send(control, &FromInit::Blank, None).at(Step::ReportBlank, "control")?;
    // Nothing is furnished here: programs see the machine as it is.
    await_furniture(control)?;
    let signals = sys::watch_children().at(Step::WatchChildren, "SIGCHLD")?;
    let listeners: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    channel::send_all(control, &FromInit::Ready, &listeners).at(Step::ReportReady, "control")?;
    Ok(signals)
}
