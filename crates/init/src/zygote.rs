//! How a zygote starts: an interpreter that will fork itself into sandboxes.
//!
//! It sees the root that its forks will see, with the interpreter and its client in the same places
//! and nothing of any function; so what it has loaded is where a fork looks for it. It runs as the
//! server's user in the server's namespaces but for its mounts, and may do two things that others
//! may not: enter namespaces, and look at the init whose namespaces they are. Nothing that a tenant
//! wrote is ever run in it, and no program is told to it: forks hear from init what they are.

use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, Furniture, Program, Tmp, ZYGOTE_VARIABLE};
use crate::sources::{self, Source};
use crate::{confine, root, sys};
use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::thread::CapabilitySet;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

/// What it keeps, across its exec too.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE);

/// Most functions' variables take less; of the others `/proc` shows as many as fit.
const ROOM: usize = 16 * 1024;

/// Becomes the zygote; returns only why it could not.
pub fn run(control: &OwnedFd, blueprint: &Blueprint, program: &Program, output: &OwnedFd) -> Fault {
    match prepare(control, blueprint, output) {
        Err(fault) => fault,
        Ok(()) => execute(control, program),
    }
}

fn prepare(control: &OwnedFd, blueprint: &Blueprint, output: &OwnedFd) -> Result<(), Fault> {
    // So that no terminal's signal reaches it.
    rustix::process::setsid().at(Step::NewSession, "")?;
    sys::reset_signals();
    let sources: Vec<Source> = sources::open(blueprint)?;
    rustix::thread::set_thread_groups(&[]).at(Step::DropGroups, "")?;
    sys::leave_mounts().at(Step::LeaveMounts, "")?;
    rustix::process::umask(Mode::empty());
    let root = root::enter(blueprint, sources)?;
    let tmp = Tmp { bytes: 1 << 20, inodes: 1024 };
    root::furnish(
        root,
        &Furniture { hostname: String::new(), tmp, places: Vec::new() },
        Vec::new(),
    )?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // What libraries take from their limits at their start, they take as in a sandbox.
    confine::limits(true).try_for_each(|call| call.make(&[]))?;
    for number in [1, 2] {
        sys::duplicate_onto(output, number).at(Step::ConnectOutput, "output")?;
    }
    sys::close_from(3, false).at(Step::ConnectOutput, "close_range")?;
    rustix::io::fcntl_setfd(control, FdFlags::empty()).at(Step::ConnectOutput, "control")?;
    confine::drop_all_but(KEPT.bits()).iter().try_for_each(|call| call.make(&[]))
}

fn execute(control: &OwnedFd, program: &Program) -> Fault {
    // The blanks are room for the variables of a fork, which `/proc` shows in the place of ours.
    let own = [format!("{ZYGOTE_VARIABLE}={}{:ROOM$}", control.as_raw_fd(), "")];
    let env = program.env.iter().map(|(name, value)| format!("{name}={value}")).chain(own);
    let text = |text: String| CString::new(text).unwrap_or_default();
    let argv: Vec<CString> = program.argv.iter().cloned().map(text).collect();
    let env: Vec<CString> = env.map(text).collect();
    let path = argv.first().cloned().unwrap_or_default();
    let errno = sys::execute(&path, &argv, &env).raw_os_error();
    Fault { step: Step::Execute, errno, on: path.to_string_lossy().into_owned() }
}
