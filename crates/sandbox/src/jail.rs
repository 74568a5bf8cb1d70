//! The re-exec'd binary. Started once, it waits for orders (the nursery), and forks a jail for each:
//! that opens what the sandbox will see, clones init into new namespaces, writes its user maps, and
//! ends. In process mode the clone is the keeper, in the namespaces it was.
//!
//! A fork of a small process that has nothing to do takes a tenth of the time of an exec of the whole
//! binary. Single-threaded from its first instruction; its standard input is the socket of its
//! orders. It reads nothing that is of a tenant: its forks do, and it has no way to theirs.

use lamplight_init::fault::{At, Fault, Step};
use lamplight_init::protocol::{
    Blueprint, Cgroups, FromInit, Isolation, PROGRAM_GID, PROGRAM_UID, Program,
};
use lamplight_init::sources::Source;
use lamplight_init::{channel, namespaces, process, sources, sys, zygote};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

/// What the nursery says to an order: the process id of the jail, or an errno.
pub(crate) type Hatched = Result<i32, i32>;

/// Becomes the nursery. Call it first thing in `main` when `argv[0]` ends in `lamplight-jail`.
pub fn jail_main() -> ! {
    // Nothing above standard error is ours: close what a careless parent let through.
    let closed = sys::close_from(3, true);
    #[expect(unsafe_code, reason = "descriptor 0 needs a promise")]
    // SAFETY: this process reads nothing from its standard input by any other way.
    let Ok(orders) = (unsafe { sys::take_stdin() }) else { sys::leave(2) };
    if closed.is_err() || settle().is_err() {
        sys::leave(2);
    }
    // Ends with the server, which holds the other end.
    while let Ok(Some(((), Some(control)))) = channel::receive::<()>(&orders) {
        let hatched = match fork_sibling() {
            Ok(None) => {
                drop(orders);
                jail(control)
            }
            Ok(Some(pid)) => Hatched::Ok(pid),
            Err(errno) => Hatched::Err(errno.raw_os_error()),
        };
        drop(control);
        if channel::send(&orders, &hatched, None).is_err() {
            break;
        }
    }
    sys::leave(0)
}

/// What holds for all jails and what they leave behind.
fn settle() -> std::io::Result<()> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?;
    sys::duplicate_onto(&null, 0)?;
    // For people who look at processes; the command line is that of all.
    rustix::thread::set_name(c"jail-nursery")?;
    // When the whole machine runs out of memory, sandboxes go before the server.
    std::fs::write("/proc/self/oom_score_adj", "500")
}

/// A jail is a child of the server's, as an init is. `None` in the child.
fn fork_sibling() -> rustix::io::Result<Option<i32>> {
    #[expect(unsafe_code, reason = "clone needs a promise")]
    // SAFETY: the nursery has a single thread.
    match unsafe { sys::clone_sibling(false, None) } {
        // SAFETY: as above.
        Err(Errno::NOSYS) => unsafe { sys::clone_sibling_plainly(false) },
        other => other,
    }
}

/// The life of one jail.
fn jail(control: OwnedFd) -> ! {
    match build(&control) {
        Ok(Next::End) => sys::leave(0),
        Ok(Next::Zygote(blueprint, program, output)) => {
            let fault = zygote::run(&control, &blueprint, &program, &output);
            let _ = channel::send(&control, &FromInit::Failed(fault), None);
            sys::leave(1)
        }
        Ok(Next::Keeper(blueprint)) => process::run(control, blueprint),
        Ok(Next::Init(blueprint, sources, maps)) => {
            namespaces::run(control, blueprint, sources, maps)
        }
        Err(fault) => {
            // When the server is gone too there is nobody left to tell.
            let _ = channel::send(&control, &FromInit::Failed(fault), None);
            sys::leave(1)
        }
    }
}

/// What this process is once the sandbox is cloned.
enum Next {
    /// The jail, which is done.
    End,
    Keeper(Blueprint),
    /// With what it executes, and its output.
    Zygote(Box<Blueprint>, Program, OwnedFd),
    /// PID 1, with what could be opened for it and the pipe that says when it is mapped.
    Init(Blueprint, Option<Vec<Source>>, OwnedFd),
}

fn build(control: &OwnedFd) -> Result<Next, Fault> {
    rustix::thread::set_name(c"jail").at(Step::ReadBlueprint, "name")?;
    let Some((mut blueprint, output)) =
        channel::receive::<Blueprint>(control).at(Step::ReadBlueprint, "control")?
    else {
        // The server changed its mind.
        return Ok(Next::End);
    };
    let group = join(&blueprint.cgroups)?;
    if let Some(program) = blueprint.zygote.take() {
        let output = output.ok_or_else(|| fault(Step::ConnectOutput, libc::EBADF))?;
        if let Some(group) = &group {
            group.join_slowly()?;
        }
        return Ok(Next::Zygote(Box::new(blueprint), program, output));
    }
    let isolation = blueprint.isolation;
    let namespaces = !matches!(isolation, Isolation::Process);
    let mapped = matches!(isolation, Isolation::Mapped { .. });
    let opened = if mapped { Some(sources::open(&blueprint)?) } else { None };
    if mapped {
        rustix::thread::set_thread_groups(&[]).at(Step::DropGroups, "")?;
    }
    let (maps_reader, maps_writer) = pipe_with(PipeFlags::CLOEXEC).at(Step::OpenSync, "pipe")?;
    let Some(child) = clone_child(namespaces, group.as_ref())? else {
        return Ok(match isolation {
            Isolation::Process => Next::Keeper(blueprint),
            _ => Next::Init(blueprint, opened, maps_reader),
        });
    };
    // Reported first, so that the server can clean up whatever comes of the rest.
    report(control, child)?;
    if namespaces {
        write_maps(child, isolation)?;
        rustix::io::write(&maps_writer, b"x").at(Step::OpenSync, "pipe")?;
    }
    Ok(Next::End)
}

/// Joins the old hierarchy's groups, and opens the new one's for the child to be born in.
///
/// Moving a process by its number, from outside, makes the kernel wait for all processors, which
/// takes milliseconds; a thread that moves itself, or a birth in the right place, does not.
fn join(groups: &Cgroups) -> Result<Option<Group>, Fault> {
    for directory in &groups.old {
        let path = format!("{directory}/tasks");
        std::fs::write(&path, "0").at(Step::JoinCgroup, &path)?;
    }
    let Some(path) = &groups.new else { return Ok(None) };
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()).at(Step::JoinCgroup, path)?;
    Ok(Some(Group { path: path.clone(), directory }))
}

struct Group {
    path: String,
    directory: OwnedFd,
}

impl Group {
    fn join_slowly(&self) -> Result<(), Fault> {
        let path = format!("{}/cgroup.procs", self.path);
        std::fs::write(&path, "0").at(Step::JoinCgroup, &path)
    }
}

/// `None` in the child.
fn clone_child(namespaces: bool, group: Option<&Group>) -> Result<Option<Pid>, Fault> {
    let directory = group.map(|group| group.directory.as_fd());
    #[expect(unsafe_code, reason = "clone needs a promise")]
    // SAFETY: the jail has a single thread.
    let mut cloned = unsafe { sys::clone_sibling(namespaces, directory) };
    if matches!(cloned, Err(Errno::NOSYS)) {
        // Then the slow way: the child is born where we are.
        if let Some(group) = group {
            group.join_slowly()?;
        }
        #[expect(unsafe_code, reason = "clone needs a promise")]
        // SAFETY: as above.
        let plainly = unsafe { sys::clone_sibling_plainly(namespaces) };
        cloned = plainly;
    }
    let on = if namespaces { "user, mount, pid, net, ipc, uts" } else { "keeper" };
    let Some(pid) = cloned.at(Step::CloneNamespaces, on)? else { return Ok(None) };
    Pid::from_raw(pid).map(Some).ok_or_else(|| fault(Step::CloneNamespaces, libc::ESRCH))
}

fn fault(step: Step, errno: i32) -> Fault {
    Fault { step, errno, on: String::new() }
}

fn report(control: &OwnedFd, pid: Pid) -> Result<(), Fault> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).at(Step::OpenPidfd, "init")?;
    let message = FromInit::Cloned { pid: pid.as_raw_nonzero().get() };
    channel::send(control, &message, Some(pidfd.as_fd())).at(Step::ReportClone, "control")
}

/// Says who root and the program are on the host.
fn write_maps(init: Pid, isolation: Isolation) -> Result<(), Fault> {
    let directory = format!("/proc/{}", init.as_raw_nonzero());
    // No process inside may ever drop a group to gain what the group is refused.
    std::fs::write(format!("{directory}/setgroups"), "deny")
        .at(Step::DenySetgroups, "setgroups")?;
    let (users, groups) = match isolation {
        Isolation::Mapped { root, program } => (
            format!("0 {root} 1\n{PROGRAM_UID} {program} 1\n"),
            format!("0 {root} 1\n{PROGRAM_GID} {program} 1\n"),
        ),
        _ => {
            let (uid, gid) =
                (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            (format!("{PROGRAM_UID} {uid} 1\n"), format!("{PROGRAM_GID} {gid} 1\n"))
        }
    };
    std::fs::write(format!("{directory}/uid_map"), users).at(Step::MapUsers, "uid_map")?;
    std::fs::write(format!("{directory}/gid_map"), groups).at(Step::MapGroups, "gid_map")
}
