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
use lamplight_env::Tasks;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
#[derive(Clone)]
pub(crate) struct Watch {
    kind: Kind,
    path: PathBuf,
    memory: u64,
    tmp: u64,
    killed: Arc<AtomicBool>,
    tasks: Tasks,
}

impl Watch {
    /// `None` where memory is not limited.
    pub(crate) fn new(group: &Group, tasks: &Tasks) -> Option<Self> {
        let limited = |(kind, _): &&(Kind, PathBuf)| matches!(kind, Kind::Memory | Kind::All);
        let (kind, path) = group.directories.iter().find(limited)?.clone();
        let (memory, tmp, killed) = (group.memory, group.tmp, group.killed.clone());
        Some(Self { kind, path, memory, tmp, killed, tasks: tasks.clone() })
    }

    /// Runs until the group is gone. Run it as a task, to be aborted with the sandbox.
    pub(crate) async fn run(self) {
        if let Err(error) = self.watch().await
            && self.path.exists()
        {
            tracing::warn!(%error, "memory cannot be watched: /tmp counts as memory");
            let file =
                if self.kind == Kind::Memory { "memory.limit_in_bytes" } else { "memory.max" };
            // The group may be going away this moment, which is why it cannot be watched.
            let _ = write(&self.path, file, self.memory);
        }
    }

    async fn watch(&self) -> io::Result<()> {
        let mut marked = self.memory;
        let mut event = self.mark(marked).await?;
        // What has been crossed before we asked is not told.
        let mut told = true;
        loop {
            let usage = self.usage().ok_or(io::ErrorKind::NotFound)?;
            let above = usage.total >= self.memory;
            match decide(usage, self.memory, self.tmp) {
                Decision::Kill => self.kill_biggest().await,
                Decision::Mark(mark) => {
                    let wanted = if above { mark } else { self.memory };
                    // Upwards only when it has been reached; back as soon as there is room below.
                    if wanted != marked && (told || !above) {
                        marked = wanted;
                        event = self.mark(marked).await?;
                        // What was crossed meanwhile is not told: look again.
                        told = false;
                        continue;
                    }
                }
            }
            if told {
                tokio::time::sleep(PAUSE).await;
            }
            tokio::select! {
                ready = event.ready(interest(self.kind)) => {
                    ready?.clear_ready();
                    // A counter (v1) or lines of text (v2), which are told again once read.
                    let mut seen = [0u8; 512];
                    match self.kind {
                        Kind::Memory => rustix::io::read(event.get_ref(), &mut seen)?,
                        _ => rustix::io::pread(event.get_ref(), &mut seen, 0)?,
                    };
                    told = true;
                }
                () = tokio::time::sleep(PERIOD), if above => told = false,
            }
        }
    }

    /// Asks to be told of `mark`. The kernel waits for all processors before it takes note (v1),
    /// so this stays away from the threads that serve.
    async fn mark(&self, mark: u64) -> io::Result<AsyncFd<OwnedFd>> {
        let watch = self.clone();
        let opened = self.tasks.spawn_blocking(move || {
            if watch.kind == Kind::Memory {
                return threshold(&watch.path, mark);
            }
            write(&watch.path, "memory.high", mark)?;
            let events = File::open(watch.path.join("memory.events"))?;
            // What has never been read counts as news.
            rustix::io::pread(&events, &mut [0u8; 512], 0)?;
            Ok(OwnedFd::from(events))
        });
        register(opened.await.map_err(io::Error::other)??, interest(self.kind))
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
        // Said first: whoever sees the end of the process wants to know why.
        self.killed.store(true, Ordering::Relaxed);
        let _ = pidfd_send_signal(&victim, Signal::KILL);
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
