//! What a sandbox has on the host, and how it is taken away again, in every case.

use crate::cgroup::Group;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Filled while a sandbox is built; dropping it leaves nothing.
pub(crate) struct Remains {
    /// Init, or the keeper of process mode.
    pub(crate) init: Option<OwnedFd>,
    pub(crate) pid_namespace: bool,
    pub(crate) group: Option<Group>,
    pub(crate) directory: Option<PathBuf>,
    /// Gives back what the launcher counts: the slot, and the link that goes with it.
    pub(crate) release: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// How long the kernel may take to end processes before we say so and go on.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

impl Remains {
    /// Takes everything away. Blocks until it is gone. Does nothing the second time.
    pub(crate) fn clear(&mut self) {
        if let Some(init) = self.init.take() {
            if self.pid_namespace {
                // The kernel kills all the rest of the namespace before it lets init go.
                let _ = pidfd_send_signal(&init, Signal::KILL);
            }
            // The keeper ends because its control socket closed, after killing what it started.
            if !ended(&init) {
                tracing::error!("a sandbox's init does not end; killing its cgroup");
                if let Some(group) = &self.group {
                    group.kill();
                }
                let _ = pidfd_send_signal(&init, Signal::KILL);
                ended(&init);
            }
            let _ =
                waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        if let Some(group) = self.group.take() {
            group.kill();
            if let Err(error) = group.remove() {
                tracing::error!(%error, "a sandbox's cgroup stays behind");
            }
        }
        if let Some(release) = self.release.take() {
            release();
        }
        if let Some(directory) = self.directory.take() {
            // Does not follow links: whatever a tenant left in it goes as it is.
            if let Err(error) = std::fs::remove_dir_all(&directory) {
                tracing::error!(%error, directory = %directory.display(), "a sandbox's directory stays behind");
            }
        }
    }
}

fn ended(init: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(init, PollFlags::IN)];
    matches!(rustix::io::retry_on_intr(|| poll(&mut polled, Some(&PATIENCE))), Ok(1))
}

impl Drop for Remains {
    fn drop(&mut self) {
        self.clear();
    }
}
