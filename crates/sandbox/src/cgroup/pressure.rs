//! Memory and `/tmp` are two sizes to Lambda, and one to a cgroup: what is written to a tmpfs counts
//! as memory. So the kernel's hard limit is both together, and the memory size is kept from here.
//!
//! The kernel tells when usage crosses a mark (v1: a threshold with an eventfd; v2: `memory.high`,
//! which also slows those who allocate). If it is memory that has grown, the biggest process is
//! killed; if it is `/tmp`, the mark moves up. While usage is above the memory size we also look now
//! and then, since memory can take the place of file cache without crossing anything.
//!
//! Memory that programs share with one another counts as `/tmp`. (Turning the OOM killer off and
//! being asked, which v1 offers, will not do: system calls then fail with ENOMEM.)

use super::files::{processes, read, read_field, write};
use super::{Group, Kind};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How far the mark runs ahead of a growing `/tmp`, so that not every page of it asks us.
const AHEAD: u64 = 16 << 20;
/// Memory counts as full when no more than this is left.
const CRUMBS: u64 = 256 << 10;
/// How often we look while usage is above the memory size.
const PERIOD: Duration = Duration::from_millis(50);
/// v2 tells again and again while file cache is pressed; we need not look more often than this.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a killed process may take before we look again.
const DYING: Duration = Duration::from_secs(1);

/// Watches one sandbox's memory.
pub(crate) struct Watch {
    event: AsyncFd<OwnedFd>,
    kind: Kind,
    path: PathBuf,
    memory: u64,
    tmp: u64,
    kills: Arc<AtomicU64>,
}

impl Watch {
    /// `None` where memory is not limited. Must be called within a runtime.
    pub(crate) fn new(group: &Group) -> io::Result<Option<Self>> {
        let limited = |(kind, _): &&(Kind, PathBuf)| matches!(kind, Kind::Memory | Kind::All);
        let Some((kind, path)) = group.directories.iter().find(limited) else { return Ok(None) };
        let event = match kind {
            Kind::Memory => threshold(path, group.memory)?,
            _ => OwnedFd::from(File::open(path.join("memory.events"))?),
        };
        let event = register(event, interest(*kind))?;
        let (kind, path, kills) = (*kind, path.clone(), group.kills.clone());
        Ok(Some(Self { event, kind, path, memory: group.memory, tmp: group.tmp, kills }))
    }

    /// Runs until the group is gone. Run it as a task, to be aborted with the sandbox.
    pub(crate) async fn run(mut self) {
        let mut above = false;
        loop {
            let told = tokio::select! {
                told = self.event.ready(interest(self.kind)) => match told {
                    Ok(mut ready) => {
                        ready.clear_ready();
                        true
                    }
                    Err(_) => return,
                },
                () = tokio::time::sleep(PERIOD), if above => false,
            };
            let Some(usage) = self.usage() else { return };
            above = usage.total >= self.memory;
            match decide(usage, self.memory, self.tmp) {
                Decision::Kill => self.kill_biggest().await,
                Decision::Mark(mark) => {
                    if told && self.mark(mark).is_err() {
                        return;
                    }
                }
            }
            if told {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Asks to be told of `mark`, and takes notice of what has been told.
    fn mark(&mut self, mark: u64) -> io::Result<()> {
        if self.kind == Kind::Memory {
            // The old mark goes when its descriptor closes.
            self.event = register(threshold(&self.path, mark)?, interest(self.kind))?;
            return Ok(());
        }
        let mut seen = [0u8; 512];
        rustix::io::pread(self.event.get_ref(), &mut seen, 0)?;
        write(&self.path, "memory.high", mark)
    }

    fn usage(&self) -> Option<Usage> {
        let field = |name| read_field(&self.path, "memory.stat", name);
        let (total, own, kernel) = match self.kind {
            Kind::Memory => {
                ("memory.usage_in_bytes", "rss", read(&self.path, "memory.kmem.usage_in_bytes"))
            }
            _ => ("memory.current", "anon", field("kernel")),
        };
        let shared = field("shmem").unwrap_or(0);
        Some(Usage {
            total: read(&self.path, total)?,
            own: field(own)? + kernel.unwrap_or(0),
            shared,
        })
    }

    async fn kill_biggest(&self) {
        let biggest = processes(&self.path).into_iter().max_by_key(|pid| resident(*pid));
        let Some(victim) = biggest.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return;
        };
        if pidfd_send_signal(&victim, Signal::KILL).is_ok() {
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(gone) = register(victim, Interest::READABLE) {
            // Whether or not it is gone by then, we look again.
            let _ = tokio::time::timeout(DYING, gone.readable()).await;
        }
    }
}

/// Bytes in use.
#[derive(Clone, Copy)]
struct Usage {
    /// File cache, which could be given back, included.
    total: u64,
    /// Of the programs, and of the kernel for them.
    own: u64,
    /// `/tmp` and shared memory.
    shared: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// The usage at which to look again.
    Mark(u64),
    Kill,
}

fn decide(usage: Usage, memory: u64, tmp: u64) -> Decision {
    if usage.own + CRUMBS >= memory {
        return Decision::Kill;
    }
    let ahead = if usage.shared == 0 { 0 } else { AHEAD };
    Decision::Mark(memory + (usage.shared + ahead).min(tmp))
}

fn interest(kind: Kind) -> Interest {
    if kind == Kind::Memory { Interest::READABLE } else { Interest::PRIORITY }
}

fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(unsafe_code, reason = "registering needs a promise")]
    // SAFETY: an OwnedFd keeps its descriptor, open, for as long as it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(registered?)
}

/// A descriptor that becomes readable when usage crosses `mark`, either way (v1).
fn threshold(path: &Path, mark: u64) -> io::Result<OwnedFd> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let usage = File::open(path.join("memory.usage_in_bytes"))?;
    write(
        path,
        "cgroup.event_control",
        format!("{} {} {mark}", event.as_raw_fd(), usage.as_raw_fd()),
    )?;
    Ok(event)
}

/// Pages in memory.
fn resident(pid: Pid) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero()))
        .unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn decided(own: u64, shared: u64) -> Decision {
        let usage = Usage { total: (own + shared) * MIB, own: own * MIB, shared: shared * MIB };
        decide(usage, 128 * MIB, 512 * MIB)
    }

    #[test]
    fn tmp_moves_the_mark_and_memory_does_not() {
        assert_eq!(decided(128, 0), Decision::Kill);
        assert_eq!(decided(20, 108), Decision::Mark((128 + 108 + 16) * MIB));
        assert_eq!(decided(20, 0), Decision::Mark(128 * MIB));
        assert_eq!(decided(130, 300), Decision::Kill);
        assert_eq!(decided(20, 511), Decision::Mark((128 + 512) * MIB), "never beyond both sizes");
    }
}
