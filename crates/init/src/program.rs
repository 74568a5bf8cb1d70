//! From fork to exec: how a program gets its session, limits, user and filter.
//!
//! The child takes its steps in the order of this file's `become_program`; the first that fails is
//! reported through a pipe that a successful exec closes.

use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, Isolation, PROGRAM_GID, PROGRAM_UID, Program};
use crate::{paths, sys};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Starts `program` with `output` as its standard output and error; returns its process id.
pub fn start(
    program: &Program,
    output: Option<OwnedFd>,
    blueprint: &Blueprint,
) -> Result<i32, Fault> {
    let image = Image::of(program)?;
    let Some(output) = output else { return Err(fault(Step::ConnectOutput, libc::EBADF, "pipe")) };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).at(Step::Fork, "pipe")?;
    #[expect(unsafe_code, reason = "fork needs a promise")]
    // SAFETY: init and the keeper have a single thread.
    let forked = unsafe { sys::fork() };
    if let Some(pid) = forked.at(Step::Fork, "program")? {
        drop(writer);
        return match read_fault(&reader) {
            None => Ok(pid),
            Some(fault) => {
                // It has said why and is on its way out; the reaper may not take it for a stranger.
                let _ = rustix::process::waitpid(
                    rustix::process::Pid::from_raw(pid),
                    rustix::process::WaitOptions::empty(),
                );
                Err(fault)
            }
        };
    }
    let fault = become_program(&image, &output, blueprint);
    if let Ok(bytes) = serde_json::to_vec(&fault) {
        let _ = rustix::io::write(&writer, &bytes);
    }
    sys::leave(127)
}

fn read_fault(reader: &OwnedFd) -> Option<Fault> {
    // A fault is far smaller than what a pipe passes in one piece.
    let mut bytes = [0u8; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut bytes)).unwrap_or(0);
    let text = bytes.get(..length)?;
    if text.is_empty() {
        None
    } else {
        Some(
            serde_json::from_slice(text)
                .unwrap_or_else(|_| fault(Step::Execute, libc::EPROTO, "report")),
        )
    }
}

fn fault(step: Step, errno: i32, on: &str) -> Fault {
    Fault { step, errno, on: on.to_owned() }
}

/// A program in the form that exec takes.
struct Image {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Image {
    fn of(program: &Program) -> Result<Self, Fault> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| fault(Step::CheckProgram, libc::EINVAL, "a NUL byte"))
        };
        let argv =
            program.argv.iter().map(|argument| text(argument)).collect::<Result<Vec<_>, _>>()?;
        let env = program
            .env
            .iter()
            .map(|(key, value)| text(&format!("{key}={value}")))
            .collect::<Result<_, _>>()?;
        let path = argv
            .first()
            .cloned()
            .ok_or_else(|| fault(Step::CheckProgram, libc::EINVAL, "no argument"))?;
        Ok(Self { path, argv, env, cwd: text(&program.cwd)? })
    }
}

fn become_program(image: &Image, output: &OwnedFd, blueprint: &Blueprint) -> Fault {
    match confine(image, output, blueprint) {
        Ok(()) => fault(
            Step::Execute,
            sys::execute(&image.path, &image.argv, &image.env).raw_os_error(),
            &image.path.to_string_lossy(),
        ),
        Err(fault) => fault,
    }
}

fn confine(image: &Image, output: &OwnedFd, blueprint: &Blueprint) -> Result<(), Fault> {
    let isolated = !matches!(blueprint.isolation, Isolation::Process);
    rustix::process::setsid().at(Step::NewSession, "")?;
    sys::reset_signals();
    connect(output)?;
    limit(isolated)?;
    // AWS: files that a function makes are readable by all.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if isolated {
        sys::empty_bounding_set().at(Step::DropBoundingSet, "")?;
        if matches!(blueprint.isolation, Isolation::Mapped { .. }) {
            let (gid, uid) = (Gid::from_raw(PROGRAM_GID), Uid::from_raw(PROGRAM_UID));
            rustix::thread::set_thread_res_gid(gid, gid, gid).at(Step::SetGroup, "990")?;
            rustix::thread::set_thread_res_uid(uid, uid, uid).at(Step::SetUser, "993")?;
        }
    }
    // As the program's user, so that it stands only where it may.
    rustix::process::chdir(&image.cwd).at(Step::EnterDirectory, &image.cwd.to_string_lossy())?;
    sys::close_from(3, false).at(Step::ConnectOutput, "close_range")?;
    if isolated {
        let none = CapabilitySet::empty();
        rustix::thread::clear_ambient_capability_set()
            .at(Step::DropProgramCapabilities, "ambient")?;
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )
        .at(Step::DropProgramCapabilities, "sets")?;
        rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges, "")?;
        paths::restrict()?;
        sys::install_filter(&blueprint.filter).at(Step::InstallFilter, "seccomp")?;
    }
    Ok(())
}

fn connect(output: &OwnedFd) -> Result<(), Fault> {
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(Step::ConnectOutput, "/dev/null")?;
    sys::duplicate_onto(&null, 0).at(Step::ConnectOutput, "stdin")?;
    sys::duplicate_onto(output, 1).at(Step::ConnectOutput, "stdout")?;
    sys::duplicate_onto(output, 2).at(Step::ConnectOutput, "stderr")
}

fn limit(isolated: bool) -> Result<(), Fault> {
    // AWS: recorded inside a function: 1024 files, 742 processes, 64 KiB locked, 8 MiB stack.
    // The stack may be raised there, and a core of 10 GiB left behind; here none is, for where a
    // core goes is the host's to say.
    let mut limits = vec![
        (Resource::Nofile, 1024, "files"),
        (Resource::Memlock, 64 << 10, "locked"),
        (Resource::Stack, 8 << 20, "stack"),
        (Resource::Core, 0, "core"),
    ];
    if isolated {
        limits.push((Resource::Nproc, 742, "processes"));
    }
    for (resource, wanted, name) in limits {
        let ceiling = rustix::process::getrlimit(resource).maximum;
        let value = Some(wanted.min(ceiling.unwrap_or(u64::MAX)));
        let maximum = if resource == Resource::Stack { ceiling } else { value };
        rustix::process::setrlimit(resource, Rlimit { current: value, maximum })
            .at(Step::SetLimit, name)?;
    }
    Ok(())
}
