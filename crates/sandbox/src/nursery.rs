//! The server's side of the nursery: the one process of ours that waits to be forked into jails.
//!
//! One that has died is replaced by the next order. Its jails are children of this process, which
//! waits for them; what they do afterwards is between them and whoever ordered them.

use crate::jail::Hatched;
use lamplight_init::channel;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a fork may take before the nursery is given up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Nursery {
    /// A sealed copy of a binary that calls [`crate::jail_main`].
    binary: OwnedFd,
    instance: String,
    waiting: Mutex<Option<Waiting>>,
}

impl Nursery {
    /// One that waits already, so that the first sandbox does not wait for it. Where that fails, the
    /// first order tries again, and says why not.
    pub(crate) fn new(binary: OwnedFd, instance: String) -> Self {
        let waiting = Waiting::start(&binary, &instance).ok();
        Self { binary, instance, waiting: Mutex::new(waiting) }
    }

    /// Starts a jail that takes its blueprint from `control`: a child of this process, to be waited
    /// for.
    pub(crate) fn jail(&self, control: &OwnedFd) -> io::Result<Pid> {
        let mut waiting = self.waiting();
        if let Some(there) = waiting.as_ref()
            && there.order(control).is_ok()
        {
            return self.hatched(&mut waiting);
        }
        // None yet, or it was killed and has not heard of the order.
        *waiting = None;
        let fresh = Waiting::start(&self.binary, &self.instance)?;
        fresh.order(control)?;
        *waiting = Some(fresh);
        self.hatched(&mut waiting)
    }

    fn hatched(&self, waiting: &mut MutexGuard<'_, Option<Waiting>>) -> io::Result<Pid> {
        let there = waiting.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let answer = channel::receive::<Hatched>(&there.orders);
        match answer {
            Ok(Some((Ok(pid), _))) => Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData.into()),
            Ok(Some((Err(errno), _))) => Err(io::Error::from_raw_os_error(errno)),
            // Whatever it has done of it, nobody will say so any more.
            Ok(None) => {
                **waiting = None;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Err(error) => {
                **waiting = None;
                Err(error)
            }
        }
    }

    /// Ends it. The next order starts another.
    pub(crate) fn end(&self) {
        *self.waiting() = None;
    }

    /// Whoever panicked while holding it left a nursery that answers, or one that is replaced.
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process, and the socket of its orders.
struct Waiting {
    process: Child,
    orders: OwnedFd,
}

impl Waiting {
    fn start(binary: &OwnedFd, instance: &str) -> io::Result<Self> {
        let (orders, theirs) = channel::pair()?;
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&orders, timeout, Some(PATIENCE))?;
        }
        let process = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()))
            .arg0("lamplight-jail")
            .arg(instance)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { process, orders })
    }

    fn order(&self, control: &OwnedFd) -> io::Result<()> {
        channel::send(&self.orders, &(), Some(control.as_fd()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Already gone is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
