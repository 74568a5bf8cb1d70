//! What callers say about sandboxes, and what they get back.

use crate::SandboxError;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tokio::sync::oneshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Own namespaces, limits and system call filter.
    Namespaces,
    /// No isolation: the program runs as the server's user on the server's files.
    Process,
}

/// Set once for a launcher.
#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    /// Eight lower-case hex digits that name this data directory's cgroups and links.
    pub instance: String,
    /// A directory of the launcher's own; made when missing.
    pub run_dir: PathBuf,
    /// The binary to run as the jail; it calls [`crate::jail_main`] when `argv[0]` ends in
    /// `lamplight-jail`.
    pub jail: PathBuf,
    pub egress: Egress,
    /// Ports that are listened on in each sandbox from the start, for [`crate::Sandbox::listen`].
    pub ports: Vec<u16>,
    /// Whether sandboxes may be built before they are asked for.
    pub ahead: bool,
}

/// Which networks sandboxes reach. Nothing ever reaches the host itself or a private network.
#[derive(Debug, Clone)]
pub enum Egress {
    /// Loopback of the sandbox only.
    Denied,
    /// Public IPv4 addresses, and DNS at `resolvers`.
    Internet { resolvers: Vec<IpAddr>, also_blocked: Vec<Prefix>, rates: Rates },
}

/// What one sandbox may send, far above what functions do and far below what hurts the neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of all kinds. One that was quiet may send as many at once.
    pub packets_per_second: u32,
    /// New ones, answered or not, DNS too. Twice as many at once.
    pub connections_per_second: u32,
    /// What the kernel tracks of one sandbox, connections of the last two minutes too.
    pub connections: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { packets_per_second: 50_000, connections_per_second: 1_000, connections: 16_384 }
    }
}

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

/// One sandbox.
#[derive(Debug, Clone)]
pub struct Spec {
    /// One to sixteen of `a-z0-9`, unique among the launcher's living sandboxes.
    pub id: String,
    /// Shown read-only. Files must be readable by everybody: the program runs as a user that owns
    /// nothing on the host. Directories above a source need not be.
    pub binds: Vec<Bind>,
    pub system: System,
    /// Limit of memory in MiB, `/tmp` not counted. Also sets the share of CPU.
    pub memory_mb: u32,
    /// Size of `/tmp` in MiB.
    pub tmp_mb: u32,
}

/// Where programs and libraries come from.
#[derive(Debug, Clone, Default)]
pub enum System {
    /// The host's `/usr` and what belongs to it.
    #[default]
    Host,
    /// The binds, and these links: where, such as `/bin`, and to what. Namespaces only.
    Own { links: Vec<(String, String)> },
}

/// The host's `source` seen as `target`, such as `/var/task`.
#[derive(Debug, Clone)]
pub struct Bind {
    pub source: PathBuf,
    pub target: String,
}

/// A program that has been started.
#[derive(Debug)]
pub struct Running {
    /// Non-blocking read end of standard output and error, which share one pipe to keep their order.
    pub output: OwnedFd,
    /// Fires once. Descendants of the program may still run and hold `output` open.
    pub exit: oneshot::Receiver<Exit>,
    /// As the program sees itself: inside the PID namespace where there is one. For log lines.
    pub pid_for_humans: i32,
    pub name: ProgramName,
}

/// Names a program of one sandbox, also when it has ended: the name is not given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramName(pub(crate) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// The sandbox's init is gone, and everything in the sandbox with it.
    Lost,
}

impl Spec {
    /// Refuses names that would not be one path component and targets that are not plain paths.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        let bad = |what: &str| Err(SandboxError::BadSpec(what.to_owned()));
        let plain = |id: &str| id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if self.id.is_empty() || self.id.len() > 16 || !plain(&self.id) {
            return bad("id is not 1 to 16 of a-z0-9");
        }
        if self.memory_mb == 0 || self.tmp_mb == 0 {
            return bad("memory and /tmp must be at least 1 MiB");
        }
        let plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if let System::Own { links } = &self.system {
            for (link, target) in links {
                let relative = link.strip_prefix('/').unwrap_or_default();
                if !relative.split('/').all(plain) || target.is_empty() || target.contains('\0') {
                    return bad("a link is not a plain path to a path");
                }
            }
        }
        for bind in &self.binds {
            let Some(relative) = bind.target.strip_prefix('/') else {
                return bad("a target is not absolute");
            };
            if !relative.split('/').all(plain) {
                return bad("a target is not a plain path");
            }
            if bind.source.to_str().is_none() {
                return bad("a source is not UTF-8");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_ids_that_could_escape_are_refused() {
        let spec = |id: &str, target: &str| Spec {
            id: id.to_owned(),
            binds: vec![Bind { source: "/x".into(), target: target.to_owned() }],
            system: System::Host,
            memory_mb: 128,
            tmp_mb: 512,
        };
        assert!(spec("a1", "/var/task").check().is_ok());
        for (id, target) in [
            ("", "/a"),
            ("../a", "/a"),
            ("A", "/a"),
            ("a", "a"),
            ("a", "/../a"),
            ("a", "/a//b"),
            ("a", "/"),
        ] {
            assert!(spec(id, target).check().is_err(), "{id:?} {target:?}");
        }
    }
}
