//! One sandbox: programs are started, killed and counted in it until it is destroyed.

use crate::cgroup::{Group, Watch};
use crate::control::{Control, Started};
use crate::remains::Remains;
use crate::{Mode, Program, ProgramName, Running, SandboxError, Spec};
use lamplight_env::{Env, faults};
use lamplight_init::protocol::{RUNTIME_API, ToInit};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A living sandbox. Dropping it destroys it, blocking for a few milliseconds; [`Self::destroy`]
/// does the same without blocking.
pub struct Sandbox {
    control: Arc<Control>,
    /// The task that listens to init; ends when that has hung up, after telling everybody.
    listening: Option<JoinHandle<()>>,
    /// The task that minds the memory limit; ends when it is aborted.
    watching: Option<JoinHandle<()>>,
    listener: Option<TcpListener>,
    /// Listeners that were made with it and that nobody has asked for yet.
    opened: Mutex<Vec<(u16, std::net::TcpListener)>>,
    runtime_api: String,
    layout: Layout,
    remains: Option<Remains>,
    env: Env,
}

/// What the launcher has built.
pub(crate) struct Parts {
    pub(crate) control: OwnedFd,
    pub(crate) listener: std::net::TcpListener,
    /// Those of the launcher's ports.
    pub(crate) opened: Vec<(u16, std::net::TcpListener)>,
    pub(crate) runtime_api: String,
    pub(crate) layout: Layout,
    pub(crate) remains: Remains,
}

/// Where paths of the sandbox are as its programs see them.
pub(crate) struct Layout {
    /// Of process mode: target and where it really is, longest target first.
    places: Vec<(String, PathBuf)>,
    pub(crate) directory: Option<PathBuf>,
}

impl Layout {
    /// Makes what a mode needs on disk: nothing with namespaces, a private `/tmp` without.
    pub(crate) fn prepare(mode: Mode, run_dir: &Path, spec: &Spec) -> io::Result<Self> {
        if mode == Mode::Namespaces {
            return Ok(Self { places: Vec::new(), directory: None });
        }
        let directory = run_dir.join(&spec.id);
        std::fs::create_dir(&directory)?;
        let tmp = directory.join("tmp");
        std::fs::create_dir(&tmp)?;
        let mut places: Vec<_> =
            spec.binds.iter().map(|bind| (bind.target.clone(), bind.source.clone())).collect();
        places.push(("/tmp".to_owned(), tmp));
        places.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(Self { places, directory: Some(directory) })
    }

    fn locate(&self, inside: &str) -> PathBuf {
        for (target, place) in &self.places {
            if let Some(rest) = inside.strip_prefix(target.as_str()) {
                if rest.is_empty() {
                    return place.clone();
                }
                if let Some(rest) = rest.strip_prefix('/') {
                    return place.join(rest);
                }
            }
        }
        PathBuf::from(inside)
    }
}

impl Sandbox {
    /// Begins to talk to what the launcher has built.
    pub(crate) fn new(parts: Parts, env: &Env) -> Result<Self, SandboxError> {
        let Parts { control, listener, opened, runtime_api, layout, remains } = parts;
        listener.set_nonblocking(true).map_err(SandboxError::Talk)?;
        let listener = TcpListener::from_std(listener).map_err(SandboxError::Talk)?;
        let control = Arc::new(Control::new(control).map_err(SandboxError::Talk)?);
        let reader = control.clone();
        let listening = env.tasks.spawn(async move { reader.listen().await });
        let watch = remains.group.as_ref().and_then(|group| Watch::new(group, &env.tasks));
        Ok(Self {
            control,
            listening: Some(listening),
            watching: watch.map(|watch| env.tasks.spawn(watch.run())),
            listener: Some(listener),
            opened: Mutex::new(opened),
            runtime_api,
            layout,
            remains: Some(remains),
            env: env.clone(),
        })
    }

    /// The listener of the Runtime API, which only programs in this sandbox can reach (in process
    /// mode: everybody on this machine). `None` after the first call. Close it when the sandbox ends.
    pub fn listener(&mut self) -> Option<TcpListener> {
        self.listener.take()
    }

    /// One more listener that only programs in this sandbox can reach, and the `host:port` to reach
    /// it at: a way to offer them a service of the server's, which their network refuses otherwise.
    /// In process mode everybody on this machine can reach it, and the port is another.
    ///
    /// # Errors
    /// [`SandboxError::Listen`] when the port is taken in the sandbox, or below 1024.
    pub async fn listen(&self, port: u16) -> Result<(TcpListener, String), SandboxError> {
        self.listen_at(port, false).await
    }

    /// The same at 127.0.0.1, for clients that believe no other address.
    ///
    /// # Errors
    /// As [`Self::listen`].
    pub async fn listen_on_loopback(
        &self,
        port: u16,
    ) -> Result<(TcpListener, String), SandboxError> {
        self.listen_at(port, true).await
    }

    async fn listen_at(
        &self,
        port: u16,
        loopback: bool,
    ) -> Result<(TcpListener, String), SandboxError> {
        // None blocks, as sockets that init makes never do.
        let listener = match (!loopback).then(|| self.opened(port)).flatten() {
            Some(listener) => listener,
            None => self.control.open_listener(port, loopback).await?.into(),
        };
        let address = listener.local_addr().map_err(SandboxError::Talk)?.to_string();
        Ok((TcpListener::from_std(listener).map_err(SandboxError::Talk)?, address))
    }

    fn opened(&self, port: u16) -> Option<std::net::TcpListener> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let at = opened.iter().position(|(there, _)| *there == port)?;
        Some(opened.swap_remove(at).1)
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`: `host:port`.
    pub fn runtime_api(&self) -> &str {
        &self.runtime_api
    }

    /// Where a path such as `/var/task/app.py` is as programs in the sandbox see it.
    pub fn locate(&self, inside: &str) -> PathBuf {
        self.layout.locate(inside)
    }

    /// Starts a program. Several may run at one time, and more may follow; `/tmp` stays.
    ///
    /// # Errors
    /// [`SandboxError::Start`] names the step; [`SandboxError::start_errno`] tells a missing file
    /// (`ENOENT`) from one that cannot be executed (`EACCES`, `ENOEXEC`).
    pub async fn start(&self, program: Program) -> Result<Running, SandboxError> {
        let (output, theirs) = output_pipe()?;
        let message = |call| ToInit::Start { call, program };
        let started = self.control.start(message, &[theirs.as_fd()]).await?;
        Ok(running(output, started))
    }

    /// The way in for a fork: init, and the cgroups.
    pub(crate) fn way_in(&self) -> Option<(&OwnedFd, Option<&Group>)> {
        let remains = self.remains.as_ref()?;
        Some((remains.init.as_ref()?, remains.group.as_ref()))
    }

    /// Makes a fork that speaks on `socket` a program.
    pub(crate) async fn adopt(
        &self,
        program: Program,
        socket: OwnedFd,
    ) -> Result<Running, SandboxError> {
        let (output, theirs) = output_pipe()?;
        let message = |call| ToInit::Adopt { call, program };
        let started = self.control.start(message, &[theirs.as_fd(), socket.as_fd()]).await?;
        Ok(running(output, started))
    }

    /// Asks a program, with what it started and did not set apart, to end (`SIGTERM`).
    pub async fn terminate(&self, program: ProgramName) {
        self.control.signal(program.0, false).await;
    }

    /// Ends a program, with what it started and did not set apart.
    pub async fn kill(&self, program: ProgramName) {
        self.control.signal(program.0, true).await;
    }

    /// Connects into the sandbox, for as long as that is there.
    pub fn dialer(&self) -> Dialer {
        // Only sandboxes with a network of their own have a Runtime API at a fixed address.
        let own = self.layout.directory.is_none();
        let address = if own { RUNTIME_API.0 } else { Ipv4Addr::LOCALHOST };
        Dialer { control: Arc::clone(&self.control), address }
    }

    /// Stops all processes where they are, as Lambda does between invocations, until [`Self::thaw`].
    /// They can still be killed. Init does it by signal and goes on itself, so that it still notices
    /// the end of the server; the freezer of a cgroup would stop it as well.
    pub async fn freeze(&self) {
        self.control.freeze(true).await;
    }

    /// Lets stopped processes go on.
    pub async fn thaw(&self) {
        self.control.freeze(false).await;
    }

    fn group(&self) -> Option<&Group> {
        self.remains.as_ref()?.group.as_ref()
    }

    /// Kills every process in the sandbox but its init: stopped ones, those in sessions of their
    /// own and orphans too. Whether none is left: after ten seconds the kernel itself will not let
    /// go of one (a dead disk), and only [`Self::destroy`] is right then.
    pub async fn kill_all(&self) -> bool {
        if faults::bug("late-kill") {
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        }
        self.control.kill_all().await
    }

    /// The most memory the sandbox has had, in bytes; `None` without cgroups.
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        self.group()?.memory_peak()
    }

    /// Whether a process was killed because the sandbox ran out of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        !faults::bug("forget-memory") && self.group().is_some_and(Group::ran_out_of_memory)
    }

    /// Ends the sandbox. Returns when nothing of it is left on the host.
    pub async fn destroy(mut self) {
        // What an error would have to say here is said by what stays behind.
        let _ = faults::point("sandbox.destroy");
        self.listener.take();
        self.control.hang_up();
        if let Some(mut remains) = self.remains.take() {
            // When the runtime is going down the work is dropped, which clears as well.
            let _ = self.env.tasks.spawn_blocking(move || remains.clear()).await;
        }
        self.watching.as_ref().inspect(|task| task.abort());
        for task in [self.watching.take(), self.listening.take()].into_iter().flatten() {
            // Cancelled, which is what we asked for, or done.
            let _ = task.await;
        }
    }
}

/// Our end of a program's output, and its own.
pub(crate) fn output_pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let (output, theirs) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| SandboxError::Spawn(error.into()))?;
    // Only our end: a program does not expect its standard output to be non-blocking.
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| SandboxError::Spawn(error.into()))?;
    Ok((output, theirs))
}

fn running(output: OwnedFd, started: Started) -> Running {
    let Started { call, pid, exit } = started;
    Running { output, exit, pid_for_humans: pid, name: ProgramName(call) }
}

/// Connects to what programs of a sandbox listen on.
#[derive(Clone)]
pub struct Dialer {
    control: Arc<Control>,
    address: Ipv4Addr,
}

impl Dialer {
    /// Connects to `port` as a program in the sandbox would: at the address that is
    /// `sandbox.localdomain` inside, and in process mode at this machine's loopback.
    ///
    /// # Errors
    /// What the kernel says; the sandbox's end, too.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let socket = self.control.open_socket().await.map_err(io::Error::other)?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        socket.connect(SocketAddrV4::new(self.address, port).into()).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.control.hang_up();
        self.watching.as_ref().inspect(|task| task.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bind;

    #[test]
    fn process_mode_finds_paths_by_whole_components() {
        let run = tempfile::tempdir().unwrap();
        let bind =
            |source: &str, target: &str| Bind { source: source.into(), target: target.to_owned() };
        let spec = Spec {
            id: "a".to_owned(),
            binds: vec![bind("/code", "/var/task"), bind("/layer", "/opt")],
            system: Default::default(),
            memory_mb: 128,
            tmp_mb: 1,
        };
        let layout = Layout::prepare(Mode::Process, run.path(), &spec).unwrap();
        assert_eq!(layout.locate("/var/task/app.py"), Path::new("/code/app.py"));
        assert_eq!(layout.locate("/opt"), Path::new("/layer"));
        assert_eq!(layout.locate("/optional"), Path::new("/optional"));
        assert_eq!(layout.locate("/tmp"), run.path().join("a/tmp"));
    }
}
