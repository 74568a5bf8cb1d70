//! The system calls that `rustix` does not wrap. The only `unsafe` of this crate.

use rustix::io::{Errno, Result};
use rustix::process::Signal;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

fn check(answer: libc::c_long) -> Result<libc::c_long> {
    if answer < 0 {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    } else {
        Ok(answer)
    }
}

/// Forks; `None` in the child.
///
/// # Safety
/// The process must have a single thread, else the child may inherit a held lock.
pub unsafe fn fork() -> Result<Option<i32>> {
    // SAFETY: the caller promises a single thread; no memory is shared afterwards.
    let pid = check(libc::c_long::from(unsafe { libc::fork() }))?;
    Ok((pid != 0).then_some(pid as i32))
}

/// The namespaces that a sandbox has of its own from the start; that of cgroups follows.
// Time namespaces can only be entered by unshare, and would move nothing that a guest can abuse.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// Forks a sibling of this process, into new namespaces if wanted and into `cgroup` (v2): its
/// parent is our parent, so that the server can wait for it after the jail has ended. `None` in the
/// child.
///
/// # Errors
/// `NOSYS` where a filter around us forbids clone3; [`clone_sibling_plainly`] remains then.
///
/// # Safety
/// The process must have a single thread.
pub unsafe fn clone_sibling(
    namespaces: bool,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<i32>> {
    let mut flags = sibling_flags(namespaces);
    if cgroup.is_some() {
        // CLONE_INTO_CGROUP, which is wider than the type of the others.
        flags |= 0x2_0000_0000;
    }
    // struct clone_args: eleven numbers; the cgroup is the last. With CLONE_PARENT the signal at
    // the end is that of this process and has to be left out.
    let mut arguments = [0u64; 11];
    arguments[0] = flags;
    arguments[10] = cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of everything; no stack
    // means that it goes on with ours. The structure lives through the call, its size is passed.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments))
    })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// The same by the older call, which knows no cgroups.
///
/// # Safety
/// The process must have a single thread.
pub unsafe fn clone_sibling_plainly(namespaces: bool) -> Result<Option<i32>> {
    let flags = sibling_flags(namespaces) as libc::c_long | libc::c_long::from(libc::SIGCHLD);
    // SAFETY: as in `clone_sibling`.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) })?;
    Ok((pid != 0).then_some(pid as i32))
}

fn sibling_flags(namespaces: bool) -> u64 {
    let flags = libc::CLONE_PARENT | if namespaces { NAMESPACES } else { 0 };
    u64::from(flags as u32)
}

/// Makes the cgroup we are in the top of those we see.
pub fn hide_cgroups_above() -> Result<()> {
    // SAFETY: takes no pointers, and cgroup namespaces change nothing about memory or descriptors.
    check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }))?;
    Ok(())
}

/// The descriptor that the jail's parent gave it as standard input: the control socket.
///
/// # Safety
/// Nobody else in this process may own descriptor 0.
pub unsafe fn take_stdin() -> Result<OwnedFd> {
    // SAFETY: fcntl takes no pointers here.
    let fd = check(libc::c_long::from(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) }))?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Marks every descriptor from `first` on as closed on exec, or closes it now.
pub fn close_from(first: u32, now: bool) -> Result<()> {
    let flags = if now { 0 } else { libc::CLOSE_RANGE_CLOEXEC };
    // SAFETY: takes no pointers. With `now` the callers pass a `first` above all they own.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) })?;
    Ok(())
}

/// Makes `fd` descriptor number `number`, open across exec.
pub fn duplicate_onto(fd: impl AsFd, number: i32) -> Result<()> {
    // SAFETY: takes no pointers; the callers replace only 0, 1 and 2, which nobody owns as a value.
    check(libc::c_long::from(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) }))?;
    Ok(())
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds `attributes` (`MOUNT_ATTR_*`) to a mount, and with `recursive` to those below it.
pub fn restrict_mount(mount: impl AsFd, attributes: u64, recursive: bool) -> Result<()> {
    let wanted = MountAttributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant, the structure lives through the call and its
    // size is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<MountAttributes>(),
        )
    })?;
    Ok(())
}

/// How many capabilities the kernel knows.
pub fn capabilities() -> u64 {
    // SAFETY: takes no pointers; fails for the first number that the kernel does not know.
    (0..64).find(|n| unsafe { libc::prctl(libc::PR_CAPBSET_READ, *n, 0, 0, 0) } < 0).unwrap_or(64)
}

/// Makes any system call.
///
/// # Safety
/// Whatever this call is to be made with.
pub unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<()> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's promise.
    check(unsafe { libc::syscall(number, a, b, c, d, e, f) })?;
    Ok(())
}

/// Has mounts of our own from here on.
pub fn leave_mounts() -> Result<()> {
    // SAFETY: takes no pointers, and mount namespaces change nothing about memory or descriptors.
    check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))?;
    Ok(())
}

/// The version of Landlock that the kernel speaks; `None` when it is absent or switched off.
pub fn landlock_version() -> Option<u32> {
    // LANDLOCK_CREATE_RULESET_VERSION.
    let flags = 1;
    // SAFETY: with this flag the kernel wants a null pointer and a size of zero, and makes nothing.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, flags) };
    u32::try_from(version).ok()
}

/// Gives all signals their default action and unblocks them.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: the default action is no handler; refused for the few that cannot be set.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set lives on this stack and is initialised by sigemptyset before it is used.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Blocks SIGCHLD and returns a descriptor that becomes readable with it.
pub fn watch_children() -> Result<OwnedFd> {
    // SAFETY: the set lives on this stack, initialised by sigemptyset; signalfd copies it.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::c_long::from(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        )))?;
        let fd = check(libc::c_long::from(libc::signalfd(
            -1,
            &raw const set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Sends a signal to every process of this PID namespace but ourselves.
///
/// # Safety
/// We must be PID 1 of a PID namespace, else this reaches the whole machine.
pub unsafe fn signal_namespace(signal: Signal) {
    // SAFETY: the caller promises that "all processes" are those of the sandbox.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// Executes `path`; returns only the reason why it could not.
pub fn execute(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end in null and hold pointers to NUL-terminated texts that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Ends this process at once, running no destructor.
pub fn leave(code: i32) -> ! {
    // SAFETY: never returns and touches no memory.
    unsafe { libc::_exit(code) }
}
