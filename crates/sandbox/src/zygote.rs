//! A zygote, and programs that are forked from it into sandboxes.
//!
//! The zygote is a process of the server's (see `lamplight_init::zygote`) in a cgroup of its own. A
//! start hands it the way into a sandbox and an end of a socket; the sandbox's init has the other
//! end and speaks with the fork. Whatever becomes of the zygote in that moment, the socket closes,
//! and init says that nothing was started.
//!
//! Invariants: no program and no data of a function ever passes through it. It ends when its control
//! socket closes. Absent: what it may be used for, which is the caller's to say.

use crate::cgroup::Entrance;
use crate::launcher::{Launcher, Shared};
use crate::remains::Remains;
use crate::sandbox::output_pipe;
use crate::{Bind, Program, Running, Sandbox, SandboxError, System, building};
use lamplight_env::Env;
use lamplight_init::channel;
use lamplight_init::protocol::FromZygote;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a fork may take to speak before its zygote is given up. Far more than it needs.
const PATIENCE: Duration = Duration::from_secs(3);

/// Far more than it needs; and says how much of the processors it may have: one, for every start
/// waits for it.
const MEMORY_MB: u32 = 1769;
/// How many starts in a row may fail.
const FAILURES: u32 = 3;

/// What to load, and what it needs to see.
#[derive(Clone)]
pub struct ZygoteSpec {
    /// As of a sandbox, and unique among them.
    pub id: String,
    pub binds: Vec<Bind>,
    /// Its interpreter.
    pub program: Program,
}

/// A living zygote; ends when it is dropped, or [`Self::end`]ed without blocking.
pub struct Zygote {
    control: OwnedFd,
    output: OwnedFd,
    remains: Mutex<Option<Remains>>,
    modules: BTreeSet<String>,
    libraries: BTreeSet<String>,
    env: Env,
    /// Starts that failed, since the last one that did not.
    failures: AtomicU32,
}

impl Launcher {
    /// Starts a zygote; returns once it is ready.
    ///
    /// # Errors
    /// Where this machine or this user's rights do not allow one, or its program fails.
    pub async fn zygote(&self, spec: ZygoteSpec) -> Result<Zygote, SandboxError> {
        let shared = self.shared().clone();
        let env = shared.env.clone();
        let made = self.shared().env.tasks.spawn_blocking(move || {
            let (output, theirs) = output_pipe()?;
            let (control, remains) = make(&shared, &spec, &theirs)?;
            drop(theirs);
            match channel::receive::<FromZygote>(&control) {
                Ok(Some((FromZygote::Ready { modules, libraries }, _))) => {
                    rustix::io::ioctl_fionbio(&control, true)
                        .map_err(|error| SandboxError::Talk(error.into()))?;
                    let remains = Mutex::new(Some(remains));
                    Ok(Zygote {
                        control,
                        output,
                        remains,
                        modules,
                        libraries,
                        env,
                        failures: AtomicU32::new(0),
                    })
                }
                Ok(Some((FromZygote::Failed(fault), _))) => Err(SandboxError::Setup(fault)),
                Ok(None) => Err(SandboxError::Talk(io::Error::other(words(&output)))),
                Err(error) => Err(SandboxError::Talk(error)),
            }
        });
        made.await.map_err(|_| SandboxError::Cancelled)?
    }
}

/// Has the nursery fork a process, and says what it is to become. Blocks.
fn make(
    shared: &Shared,
    spec: &ZygoteSpec,
    output: &OwnedFd,
) -> Result<(OwnedFd, Remains), SandboxError> {
    let (Some(cgroups), true) = (&shared.cgroups, shared.privileged) else {
        return Err(SandboxError::BadSpec("a zygote needs root's rights".to_owned()));
    };
    let mut group = cgroups.create(&spec.id).map_err(SandboxError::Cgroup)?;
    let mut blueprint = building::blueprint(shared, (&spec.binds, &System::Host), 0);
    blueprint.cgroups = group.directories();
    blueprint.zygote = Some(spec.program.clone());
    let limited = group.limit(MEMORY_MB, 0);
    let mut remains = Remains {
        init: None,
        pid_namespace: true,
        group: Some(group),
        directory: None,
        release: None,
    };
    limited.map_err(SandboxError::Cgroup)?;
    let (control, theirs) = channel::pair().map_err(SandboxError::Talk)?;
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&control, timeout, Some(building::PATIENCE))
            .map_err(|error| SandboxError::Talk(error.into()))?;
    }
    channel::send(&control, &blueprint, Some(output.as_fd())).map_err(SandboxError::Talk)?;
    let process = shared.nursery.jail(&theirs).map_err(SandboxError::Spawn)?;
    // A child of ours, so that its number is its own until we wait for it.
    let process = pidfd_open(process, PidfdFlags::empty());
    remains.init = Some(process.map_err(|error| SandboxError::Spawn(error.into()))?);
    Ok((control, remains))
}

/// What it has written: why it ended, or cannot fork. Cut, for it is for a log.
fn words(output: &OwnedFd) -> String {
    let mut bytes = [0u8; 2048];
    let length = rustix::io::read(output, &mut bytes).unwrap_or(0);
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}

impl Zygote {
    /// What it has complained of since the last time it was asked.
    pub fn complaints(&self) -> String {
        words(&self.output)
    }

    /// The first parts of the names of the modules that it has loaded.
    pub fn modules(&self) -> &BTreeSet<String> {
        &self.modules
    }

    /// The file names of the shared libraries that it has loaded.
    pub fn libraries(&self) -> &BTreeSet<String> {
        &self.libraries
    }

    /// Whether it lives, and the last starts were not all in vain.
    pub fn is_of_use(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES && self.is_alive()
    }

    fn is_alive(&self) -> bool {
        let remains = self.remains();
        let Some(process) = remains.as_ref().and_then(|remains| remains.init.as_ref()) else {
            return false;
        };
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0))
    }

    /// Ends it. Returns when nothing of it is left.
    pub async fn end(&self) {
        let remains = self.remains().take();
        if let Some(mut remains) = remains {
            let _ = self.env.tasks.spawn_blocking(move || remains.clear()).await;
        }
    }

    fn kill(&self) {
        let remains = self.remains();
        if let Some(process) = remains.as_ref().and_then(|remains| remains.init.as_ref()) {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }

    fn remains(&self) -> std::sync::MutexGuard<'_, Option<Remains>> {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a fork that speaks on `socket`. A zygote that has fallen behind is not waited for.
    fn ask(&self, socket: &OwnedFd, init: &OwnedFd, entrance: &Entrance) -> io::Result<()> {
        let groups = entrance.directory.iter().chain(&entrance.tasks);
        let lent: Vec<_> = [socket, init].into_iter().chain(groups).map(AsFd::as_fd).collect();
        let word: &[u8] = if entrance.directory.is_some() { b"group" } else { b"alone" };
        channel::send_bytes(&self.control, word, &lent)
    }
}

impl Sandbox {
    /// Starts a program as a fork of `zygote`, which then is a program like any other. Its command is
    /// what the zygote was started with.
    ///
    /// # Errors
    /// Whenever it could not, and then nothing of it runs; [`Self::start`] is the other way.
    pub async fn fork(&self, program: Program, zygote: &Zygote) -> Result<Running, SandboxError> {
        let forked = self.try_fork(program, zygote).await;
        match &forked {
            Ok(_) => zygote.failures.store(0, Ordering::Relaxed),
            // The sandbox has ended, which says nothing of the zygote.
            Err(SandboxError::Lost) => {}
            Err(_) => _ = zygote.failures.fetch_add(1, Ordering::Relaxed),
        }
        forked
    }

    async fn try_fork(&self, program: Program, zygote: &Zygote) -> Result<Running, SandboxError> {
        let lost = |_| SandboxError::Lost;
        let (ours, theirs) = channel::pair().map_err(SandboxError::Spawn)?;
        {
            let (init, group) = self.way_in().ok_or(SandboxError::Lost)?;
            let entrance = match group {
                Some(group) => group.entrance().map_err(SandboxError::Cgroup)?,
                None => Entrance::default(),
            };
            zygote.ask(&theirs, init, &entrance).map_err(SandboxError::Spawn)?;
        }
        drop(theirs);
        let adopted = self.adopt(program, ours);
        tokio::pin!(adopted);
        match tokio::time::timeout(PATIENCE, &mut adopted).await {
            Ok(adopted) => adopted,
            Err(_) => {
                // With it goes its end of the socket, and init gives up.
                zygote.kill();
                tokio::time::timeout(PATIENCE, adopted).await.map_err(lost)?
            }
        }
    }
}
