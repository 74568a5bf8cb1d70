//! What a killed server left behind is taken away at the next start.
//!
//! Sandboxes end by themselves when their server dies; this makes sure, and removes what has no
//! life of its own: cgroups, links, the packet filter table, directories.

use crate::{cgroup, network};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How many of each were found and removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    pub processes: usize,
    pub cgroups: usize,
    pub links: usize,
    pub dirs: usize,
}

/// Removes everything of `instance`. Call it before [`crate::Launcher::new`], while no other
/// server uses the instance: it kills what it finds.
pub fn sweep(instance: &str, run_dir: &Path) -> Swept {
    // Processes first: they hold the rest.
    let killed: Vec<OwnedFd> = jails(instance).into_iter().filter(kill).collect();
    let cgroups = cgroup::sweep(instance);
    for process in &killed {
        wait(process);
    }
    let mut dirs = 0;
    for entry in std::fs::read_dir(run_dir).into_iter().flatten().flatten() {
        // Does not follow links.
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(entry.path()),
            _ => std::fs::remove_file(entry.path()),
        };
        match removed {
            Ok(()) => dirs += 1,
            Err(error) => tracing::warn!(%error, path = %entry.path().display(), "cannot sweep"),
        }
    }
    Swept { processes: killed.len(), cgroups, links: network::sweep(instance), dirs }
}

/// Jails, inits and keepers, which carry the instance as their first argument.
fn jails(instance: &str) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        // Opened before it is read, so that the number cannot come to mean another process.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if is_jail(&line, instance) {
            found.push(process);
        }
    }
    found
}

fn is_jail(line: &[u8], instance: &str) -> bool {
    let mut arguments = line.split(|byte| *byte == 0);
    let name = arguments.next().unwrap_or_default();
    name.ends_with(b"lamplight-jail") && arguments.next() == Some(instance.as_bytes())
}

fn kill(process: &OwnedFd) -> bool {
    pidfd_send_signal(process, Signal::KILL).is_ok()
}

fn wait(process: &OwnedFd) {
    let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    if !matches!(rustix::io::retry_on_intr(|| poll(&mut polled, Some(&patience))), Ok(1)) {
        tracing::warn!("a process of the last run does not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jails_of_the_instance_are_taken() {
        assert!(is_jail(b"lamplight-jail\0abcd1234\0s1\0", "abcd1234"));
        assert!(!is_jail(b"lamplight-jail\0ffff0000\0s1\0", "abcd1234"));
        assert!(!is_jail(b"vi\0abcd1234\0", "abcd1234"));
        assert!(!is_jail(b"", "abcd1234"));
    }
}
