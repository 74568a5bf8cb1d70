//! Raw system calls: 0 or the errno.

pub(crate) fn call(number: libc::c_long, arguments: [usize; 6]) -> i32 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass numbers, null pointers, or pointers to constants that live for ever.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}

/// A fork: whether this is the child, or the errno.
pub(crate) fn fork() -> Result<bool, i32> {
    // SAFETY: the probe has a single thread.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(-1)),
        pid => Ok(pid == 0),
    }
}

/// Clones with namespace flags; a child ends at once.
pub(crate) fn clone(flags: libc::c_int) -> i32 {
    // SAFETY: without CLONE_VM this is a fork.
    match unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) } {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        // SAFETY: ends the child, touching nothing.
        0 => unsafe { libc::_exit(0) },
        _ => 0,
    }
}

pub(crate) fn ignore(signal: i32) {
    // SAFETY: ignoring runs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

pub(crate) fn stop() {
    // SAFETY: takes no pointers.
    unsafe { libc::raise(libc::SIGSTOP) };
}

pub(crate) fn setsid() {
    // SAFETY: takes no pointers.
    unsafe { libc::setsid() };
}

pub(crate) fn wait() {
    // SAFETY: a null status is allowed.
    unsafe { libc::wait(std::ptr::null_mut()) };
}

/// Asks for the process id through the 32-bit entry.
pub(crate) fn call_as_i386() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: call 20 of i386 is getpid, which touches no memory.
    unsafe {
        std::arch::asm!("int 0x80", inout("eax") 20 => _, options(nostack));
    }
    println!("still here");
}

/// Asks for the process id by its x32 number.
pub(crate) fn call_as_x32() {
    println!("still here: {}", call(0x4000_0000 + libc::SYS_getpid, [0; 6]));
}
