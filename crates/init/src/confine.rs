//! What makes a process a program of a sandbox: its session, output, limits, user and filter.
//!
//! The policy is a list of system calls, so that there is one of it for two ways to start: init's
//! own child makes the calls before it executes a program, and a process that was forked from a
//! zygote has its interpreter make them. The list is all: nothing privileged is left after it.
//! Signals are not in it: a program that is executed begins with all of them reset, an interpreter
//! that is forked has set its own.

use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, Isolation, PROGRAM_GID, PROGRAM_UID};
use crate::{paths, sys};
use rustix::fs::{Mode, OFlags};
use rustix::process::Resource;
use serde::{Serialize, Serializer};
use std::os::fd::{AsRawFd, OwnedFd};

/// A system call to make; below zero is a failure.
#[derive(Debug, Serialize)]
pub struct Call {
    #[serde(skip)]
    step: Step,
    #[serde(skip)]
    on: String,
    number: i64,
    arguments: Vec<Argument>,
}

#[derive(Debug, Serialize)]
enum Argument {
    Number(u64),
    /// The address of these bytes.
    Bytes(#[serde(serialize_with = "in_hex")] Vec<u8>),
    /// The address of a `struct sock_fprog` of these instructions.
    Filter(#[serde(serialize_with = "in_hex")] Vec<u8>),
    /// One of [`Given`], by its place.
    Descriptor(usize),
}

fn in_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    serializer.serialize_str(&text)
}

/// The descriptors that the calls are about: standard input, the output, and a ruleset of Landlock
/// where the kernel has it.
pub struct Given(Vec<OwnedFd>);

const INPUT: usize = 0;
const OUTPUT: usize = 1;
const RULES: usize = 2;

impl Given {
    pub fn new(output: OwnedFd, blueprint: &Blueprint) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty())
            .at(Step::ConnectOutput, "/dev/null")?;
        let rules = if is_isolated(blueprint) { paths::rules()? } else { None };
        Ok(Self([null, output].into_iter().chain(rules).collect()))
    }

    pub fn all(&self) -> &[OwnedFd] {
        &self.0
    }
}

fn is_isolated(blueprint: &Blueprint) -> bool {
    !matches!(blueprint.isolation, Isolation::Process)
}

/// The calls, in order. What the kernel does not know is left out here, where it can be asked.
pub fn calls(cwd: &str, blueprint: &Blueprint, given: &Given) -> Vec<Call> {
    let isolated = is_isolated(blueprint);
    let mut calls = vec![call(Step::NewSession, "", libc::SYS_setsid, [])];
    for (name, from, number) in [("stdin", INPUT, 0), ("stdout", OUTPUT, 1), ("stderr", OUTPUT, 2)]
    {
        let arguments = [Argument::Descriptor(from), Argument::Number(number), ZERO];
        calls.push(call(Step::ConnectOutput, name, libc::SYS_dup3, arguments));
    }
    calls.extend(limits(isolated));
    // AWS: files that a function makes are readable by all.
    calls.push(call(Step::SetLimit, "umask", libc::SYS_umask, [Argument::Number(0o022)]));
    if isolated {
        calls.extend(drop_all_but(0));
        if matches!(blueprint.isolation, Isolation::Mapped { .. }) {
            let all = |id: u32| [id; 3].map(|id| Argument::Number(id.into()));
            calls.push(call(Step::SetGroup, "990", libc::SYS_setresgid, all(PROGRAM_GID)));
            calls.push(call(Step::SetUser, "993", libc::SYS_setresuid, all(PROGRAM_UID)));
        }
    }
    // As the program's user, so that it stands only where it may.
    let directory = cwd.bytes().chain([0]).collect();
    calls.push(call(Step::EnterDirectory, cwd, libc::SYS_chdir, [Argument::Bytes(directory)]));
    calls.push(close(libc::CLOSE_RANGE_CLOEXEC));
    if isolated {
        calls.extend(forever(blueprint, given));
    }
    calls
}

/// What a process that executes nothing does when all else is done: it lets go of every descriptor
/// but the standard ones, and is open to its own user again, as after an exec.
pub fn farewell() -> Vec<Call> {
    vec![close(0), prctl(Step::ConnectOutput, libc::PR_SET_DUMPABLE, 1)]
}

/// Drops capabilities out of the bounding set, except those of these bits.
pub fn drop_all_but(kept: u64) -> Vec<Call> {
    let dropped = (0..sys::capabilities()).filter(|capability| kept & (1 << capability) == 0);
    let drop = |capability| prctl(Step::DropBoundingSet, libc::PR_CAPBSET_DROP, capability);
    dropped.map(drop).collect()
}

/// What cannot be taken back.
fn forever(blueprint: &Blueprint, given: &Given) -> Vec<Call> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as u64;
    let mut calls = vec![prctl(Step::DropProgramCapabilities, libc::PR_CAP_AMBIENT, clear)];
    // struct __user_cap_header_struct: version 3, ourselves; then two sets of nothing.
    let header: Vec<u8> = [0x2008_0522u32, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    let arguments = [Argument::Bytes(header), Argument::Bytes(vec![0; 24])];
    calls.push(call(Step::DropProgramCapabilities, "sets", libc::SYS_capset, arguments));
    calls.push(prctl(Step::NoNewPrivileges, libc::PR_SET_NO_NEW_PRIVS, 1));
    if given.0.len() > RULES {
        let arguments = [Argument::Descriptor(RULES), ZERO];
        let number = libc::SYS_landlock_restrict_self;
        calls.push(call(Step::RestrictFiles, "landlock", number, arguments));
    }
    let filter = blueprint.filter.iter().flat_map(|line| line.to_ne_bytes()).collect();
    let mode = Argument::Number(libc::SECCOMP_SET_MODE_FILTER.into());
    let arguments = [mode, ZERO, Argument::Filter(filter)];
    calls.push(call(Step::InstallFilter, "seccomp", libc::SYS_seccomp, arguments));
    calls
}

/// AWS: recorded inside a function: 1024 files, 742 processes, 64 KiB locked, 8 MiB stack. The
/// stack may be raised there, and a core of 10 GiB left behind; here none is, for where a core goes
/// is the host's to say.
pub fn limits(isolated: bool) -> impl Iterator<Item = Call> {
    let limits = [
        (Resource::Nofile, libc::RLIMIT_NOFILE, 1024, "files"),
        (Resource::Memlock, libc::RLIMIT_MEMLOCK, 64 << 10, "locked"),
        (Resource::Stack, libc::RLIMIT_STACK, 8 << 20, "stack"),
        // 1 and not 0, which the kernel takes for no limit where cores go to a pipe.
        (Resource::Core, libc::RLIMIT_CORE, 1, "core"),
        (Resource::Nproc, libc::RLIMIT_NPROC, 742, "processes"),
    ];
    let wanted = limits.into_iter().filter(move |(_, _, _, name)| isolated || *name != "processes");
    wanted.map(|(resource, number, wanted, name): (_, _, u64, _)| {
        let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = wanted.min(ceiling);
        let maximum = if name == "stack" { ceiling } else { value };
        let pair = [value, maximum].into_iter().flat_map(u64::to_ne_bytes).collect();
        let arguments = [ZERO, Argument::Number(number.into()), Argument::Bytes(pair), ZERO];
        call(Step::SetLimit, name, libc::SYS_prlimit64, arguments)
    })
}

const ZERO: Argument = Argument::Number(0);

fn call<const N: usize>(step: Step, on: &str, number: i64, arguments: [Argument; N]) -> Call {
    Call { step, on: on.to_owned(), number, arguments: arguments.into() }
}

fn prctl(step: Step, option: i32, value: u64) -> Call {
    let arguments = [Argument::Number(option as u64), Argument::Number(value), ZERO, ZERO, ZERO];
    call(step, "", libc::SYS_prctl, arguments)
}

fn close(flags: u32) -> Call {
    let arguments = [3, u32::MAX, flags].map(|number| Argument::Number(number.into()));
    call(Step::ConnectOutput, "close_range", libc::SYS_close_range, arguments)
}

impl Call {
    /// Makes the call here.
    pub fn make(&self, given: &[OwnedFd]) -> Result<(), Fault> {
        let head = self.arguments.iter().find_map(|argument| match argument {
            Argument::Filter(bytes) => Some(libc::sock_fprog {
                len: u16::try_from(bytes.len() / 8).unwrap_or(0),
                filter: bytes.as_ptr().cast_mut().cast(),
            }),
            _ => None,
        });
        let mut values = [0usize; 6];
        for (value, argument) in values.iter_mut().zip(&self.arguments) {
            *value = match argument {
                Argument::Number(number) => *number as usize,
                Argument::Bytes(bytes) => bytes.as_ptr() as usize,
                Argument::Filter(_) => head.as_ref().map_or(0, |head| &raw const *head as usize),
                Argument::Descriptor(place) => {
                    given.get(*place).map_or(usize::MAX, |fd| fd.as_raw_fd() as usize)
                }
            };
        }
        #[expect(unsafe_code, reason = "a call by its number needs a promise")]
        // SAFETY: only this module makes calls. Their pointers are to bytes of the sizes that the
        // kernel reads, which live until it has; it writes nothing, and no descriptor that is owned
        // as a value is closed.
        unsafe { sys::call(self.number, values) }.map_err(|errno| self.fault(errno.raw_os_error()))
    }

    /// Its failure.
    pub fn fault(&self, errno: i32) -> Fault {
        Fault { step: self.step, errno, on: self.on.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reads_as_an_interpreter_expects_it() {
        let json = |call: &Call| serde_json::to_string(call).unwrap();
        let directory = Argument::Bytes(b"/a\0".into());
        let chdir = call(Step::EnterDirectory, "/a", 80, [directory, Argument::Descriptor(1)]);
        assert_eq!(
            json(&chdir),
            r#"{"number":80,"arguments":[{"Bytes":"2f6100"},{"Descriptor":1}]}"#
        );
    }

    #[test]
    fn a_call_that_fails_names_its_step() {
        let fault = call(Step::EnterDirectory, "/nowhere", libc::SYS_chdir, [ZERO]).make(&[]);
        let fault = fault.unwrap_err();
        assert_eq!((fault.step, fault.errno), (Step::EnterDirectory, libc::EFAULT));
        let missing = [Argument::Descriptor(0), Argument::Number(9), ZERO];
        let fault = call(Step::ConnectOutput, "", libc::SYS_dup3, missing).make(&[]).unwrap_err();
        assert_eq!(fault.errno, libc::EBADF);
    }
}
