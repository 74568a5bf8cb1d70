//! The server's side of the conversation with one init.
//!
//! A single task reads; callers wait on channels. When init dies, everybody waiting learns it.

use crate::{Exit, SandboxError};
use lamplight_init::channel;
use lamplight_init::fault::Fault;
use lamplight_init::protocol::{Ending, FromInit, ToInit};
use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

/// How long the kernel may take to end killed processes before we say so and go on.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Control {
    socket: AsyncFd<OwnedFd>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    calls: u64,
    lost: bool,
    starts: HashMap<u64, oneshot::Sender<Result<i32, Fault>>>,
    exits: HashMap<u64, oneshot::Sender<Exit>>,
    kills: HashMap<u64, oneshot::Sender<()>>,
    opened: HashMap<u64, oneshot::Sender<Result<OwnedFd, Fault>>>,
}

/// A program that runs.
pub(crate) struct Started {
    /// Names it towards init.
    pub(crate) call: u64,
    pub(crate) pid: i32,
    /// Will tell its end.
    pub(crate) exit: oneshot::Receiver<Exit>,
}

impl Control {
    /// Takes over the socket; must be called within a runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        #[expect(unsafe_code, reason = "registering needs a promise")]
        // SAFETY: an OwnedFd keeps its descriptor, open, for as long as it is registered.
        let socket = unsafe {
            AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE)?
        };
        Ok(Self { socket, pending: Mutex::default() })
    }

    /// Starts a program, or has init take one in: what `message` asks for, with descriptors.
    pub(crate) async fn start(
        &self,
        message: impl FnOnce(u64) -> ToInit,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Started, SandboxError> {
        let (started_tx, started) = oneshot::channel();
        let (exit_tx, exit) = oneshot::channel();
        let call = {
            let mut pending = self.pending();
            if pending.lost {
                return Err(SandboxError::Lost);
            }
            pending.calls += 1;
            let call = pending.calls;
            pending.starts.insert(call, started_tx);
            pending.exits.insert(call, exit_tx);
            call
        };
        if let Err(error) = self.send(&message(call), fds).await {
            let mut pending = self.pending();
            pending.starts.remove(&call);
            pending.exits.remove(&call);
            return Err(match error.raw_os_error() {
                Some(libc::E2BIG | libc::EMSGSIZE) => SandboxError::TooLarge,
                _ => SandboxError::Lost,
            });
        }
        match tokio::time::timeout(PATIENCE, started).await {
            Ok(Ok(Ok(pid))) => Ok(Started { call, pid, exit }),
            Ok(Ok(Err(fault))) => Err(SandboxError::Start(fault)),
            // An init that does not answer is as good as gone.
            Ok(Err(_)) | Err(_) => Err(SandboxError::Lost),
        }
    }

    /// Stops everything but init where it is, or lets it go on.
    pub(crate) async fn freeze(&self, frozen: bool) {
        // A failure means that init is gone, and with it everything else.
        let _ = self.send(&ToInit::Freeze(frozen), &[]).await;
    }

    /// Kills everything but init; returns once nothing is left, or init is not, with `false` when
    /// something would not go.
    pub(crate) async fn kill_all(&self) -> bool {
        let (empty_tx, empty) = oneshot::channel();
        let call = {
            let mut pending = self.pending();
            if pending.lost {
                return true;
            }
            pending.calls += 1;
            let call = pending.calls;
            pending.kills.insert(call, empty_tx);
            call
        };
        if self.send(&ToInit::KillAll { call }, &[]).await.is_ok() {
            // A closed channel means that init died, and with it everything else.
            if tokio::time::timeout(PATIENCE, empty).await.is_err() {
                tracing::error!("processes of a sandbox do not die: the kernel holds on to them");
                return false;
            }
        }
        true
    }

    /// Has init listen on `port` within the sandbox.
    pub(crate) async fn open_listener(
        &self,
        port: u16,
        loopback: bool,
    ) -> Result<OwnedFd, SandboxError> {
        self.open(|call| ToInit::Listen { call, port, loopback }).await
    }

    /// A socket of the sandbox's network.
    pub(crate) async fn open_socket(&self) -> Result<OwnedFd, SandboxError> {
        self.open(|call| ToInit::Socket { call }).await
    }

    /// Asks a program and what it started to end, or ends them.
    pub(crate) async fn signal(&self, call: u64, kill: bool) {
        // A failure means that init is gone, and with it everything else.
        let _ = self.send(&ToInit::Signal { call, kill }, &[]).await;
    }

    async fn open(&self, message: impl Fn(u64) -> ToInit) -> Result<OwnedFd, SandboxError> {
        let (opened_tx, opened) = oneshot::channel();
        let call = {
            let mut pending = self.pending();
            if pending.lost {
                return Err(SandboxError::Lost);
            }
            pending.calls += 1;
            let call = pending.calls;
            pending.opened.insert(call, opened_tx);
            call
        };
        if self.send(&message(call), &[]).await.is_err() {
            self.pending().opened.remove(&call);
            return Err(SandboxError::Lost);
        }
        match opened.await {
            Ok(Ok(fd)) => Ok(fd),
            Ok(Err(fault)) => Err(SandboxError::Listen(fault)),
            Err(_) => Err(SandboxError::Lost),
        }
    }

    /// Reads until init is gone. Run it as a task.
    pub(crate) async fn listen(&self) {
        while let Ok(Some((message, fd))) = self
            .socket
            .async_io(Interest::READABLE, |socket| channel::receive::<FromInit>(socket))
            .await
        {
            self.dispatch(message, fd);
        }
        let mut pending = self.pending();
        pending.lost = true;
        pending.starts.clear();
        pending.kills.clear();
        pending.opened.clear();
        for (_, exit) in pending.exits.drain() {
            let _ = exit.send(Exit::Lost);
        }
    }

    // Senders whose receiver is gone have nobody to tell: results of `send` below do not matter.
    fn dispatch(&self, message: FromInit, fd: Option<OwnedFd>) {
        let mut pending = self.pending();
        match message {
            FromInit::Started { call, pid } => {
                pending.starts.remove(&call).map(|started| started.send(Ok(pid)));
            }
            FromInit::NotStarted { call, fault } => {
                pending.exits.remove(&call);
                pending.starts.remove(&call).map(|started| started.send(Err(fault)));
            }
            FromInit::Exited { call, ending } => {
                let exit = match ending {
                    Ending::Code(code) => Exit::Code(code),
                    Ending::Signal(signal) => Exit::Signal(signal),
                };
                pending.exits.remove(&call).map(|sender| sender.send(exit));
            }
            FromInit::Empty { call } => {
                pending.kills.remove(&call).map(|empty| empty.send(()));
            }
            FromInit::Opened { call } => {
                let sender = pending.opened.remove(&call);
                // Without a descriptor the sender is dropped, which the caller takes for an end.
                sender.zip(fd).map(|(sender, fd)| sender.send(Ok(fd)));
            }
            FromInit::NotOpened { call, fault } => {
                pending.opened.remove(&call).map(|sender| sender.send(Err(fault)));
            }
            FromInit::Cloned { .. } | FromInit::Blank | FromInit::Ready | FromInit::Failed(_) => {
                tracing::warn!(?message, "init speaks out of turn");
            }
        }
    }

    async fn send(&self, message: &ToInit, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = |socket: &OwnedFd| channel::send_all(socket, message, fds);
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// Whoever panicked while holding it left it whole: every change is a single insert or remove.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells init to end, by closing this direction for good.
    pub(crate) fn hang_up(&self) {
        let _ = rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Both);
    }
}
