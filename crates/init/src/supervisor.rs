//! The control loop: start what the server asks for, reap everything, report, end with the server.

use crate::adopt::Adoption;
use crate::channel;
use crate::fault::Fault;
use crate::network;
use crate::program;
use crate::protocol::{Blueprint, Ending, FromInit, RUNTIME_API, ToInit};
use crate::sys;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

/// What "everything in the sandbox" is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All other processes of the PID namespace of which we are PID 1.
    Namespace,
    /// All descendants of ours.
    Descendants,
}

pub struct Supervisor {
    control: OwnedFd,
    signals: OwnedFd,
    reach: Reach,
    blueprint: Blueprint,
    /// Programs that run, with the call that started each.
    programs: HashMap<i32, u64>,
    /// Calls that wait until nothing is left.
    killing: Vec<u64>,
    /// Forks that have not spoken yet.
    adoptions: Vec<Adoption>,
}

impl Supervisor {
    pub fn new(control: OwnedFd, signals: OwnedFd, reach: Reach, blueprint: Blueprint) -> Self {
        let (programs, killing, adoptions) = Default::default();
        Self { control, signals, reach, blueprint, programs, killing, adoptions }
    }

    pub fn run(mut self) -> ! {
        loop {
            let (asked, ended, spoke) = self.wait();
            if let Some(spoke) = spoke {
                self.adopt(spoke);
            }
            if ended {
                // One record may stand for many signals; the reaping below asks for all of them.
                let mut record = [0u8; 128];
                let _ = rustix::io::read(&self.signals, &mut record);
                self.reap();
            }
            if asked {
                match channel::receive_all::<ToInit>(&self.control) {
                    Ok(Some((message, fds))) => self.obey(message, fds),
                    // Closed or broken: the server is gone, and nothing may outlive it.
                    Ok(None) | Err(_) => self.end(),
                }
            }
        }
    }

    /// Waits for the server, an end, or a fork: which of them, by its place, has spoken.
    fn wait(&self) -> (bool, bool, Option<usize>) {
        let own = [self.control.as_fd(), self.signals.as_fd()];
        let all = own.into_iter().chain(self.adoptions.iter().map(AsFd::as_fd));
        let mut polled: Vec<_> =
            all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let _ = rustix::io::retry_on_intr(|| poll(&mut polled, None));
        let mut spoke = polled.iter().map(|polled| !polled.revents().is_empty());
        let (asked, ended) = (spoke.next() == Some(true), spoke.next() == Some(true));
        (asked, ended, spoke.position(|spoke| spoke))
    }

    fn obey(&mut self, message: ToInit, fds: Vec<OwnedFd>) {
        match message {
            ToInit::Start { call, program } => {
                let output = fds.into_iter().next();
                let answer = match program::start(&program, output, &self.blueprint) {
                    Ok(pid) => {
                        self.programs.insert(pid, call);
                        FromInit::Started { call, pid }
                    }
                    Err(fault) => FromInit::NotStarted { call, fault },
                };
                self.tell(&answer);
            }
            ToInit::Adopt { call, program } => match Adoption::new(call, program, fds) {
                Ok(adoption) => self.adoptions.push(adoption),
                Err(fault) => self.tell(&FromInit::NotStarted { call, fault }),
            },
            ToInit::KillAll { call } => {
                self.killing.push(call);
                for adoption in std::mem::take(&mut self.adoptions) {
                    let (call, fault) = adoption.refuse();
                    self.tell(&FromInit::NotStarted { call, fault });
                }
                self.signal(Signal::KILL);
                self.reap();
            }
            ToInit::Listen { call, port, loopback } => {
                let address = if loopback { Ipv4Addr::LOCALHOST } else { RUNTIME_API.0 };
                self.hand_out(call, self.listen((address, port)));
            }
            ToInit::Socket { call } => self.hand_out(call, network::socket()),
            ToInit::Signal { call, kill } => self.signal_one(call, kill),
            // AWS: processes do not see that they were stopped, except by the clock.
            ToInit::Freeze(true) => self.signal(Signal::STOP),
            ToInit::Freeze(false) => self.signal(Signal::CONT),
            ToInit::Network(_) | ToInit::Furnish(_) => {}
        }
    }

    /// Hears a fork out and makes it a program. It is in the table before it is told how, so that its
    /// end cannot be missed.
    fn adopt(&mut self, place: usize) {
        let adoption = self.adoptions.swap_remove(place);
        let call = adoption.call;
        let answer = match adoption.born() {
            Ok(pid) => {
                self.programs.insert(pid, call);
                match adoption.confine(&self.blueprint) {
                    Ok(()) => FromInit::Started { call, pid },
                    Err(fault) => {
                        self.signal_one(call, true);
                        // It may not lead a group yet. Nobody has reaped it, so the number is its own.
                        if let Some(pid) = Pid::from_raw(pid) {
                            let _ = rustix::process::kill_process(pid, Signal::KILL);
                        }
                        self.programs.remove(&pid);
                        FromInit::NotStarted { call, fault }
                    }
                }
            }
            Err(fault) => FromInit::NotStarted { call, fault },
        };
        self.tell(&answer);
    }

    /// Reaps all that has ended, and answers those who wait for nothing to be left.
    fn reap(&mut self) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.record(pid, status),
                Ok(None) => {
                    // Something lives: born while we killed, or not yet gone.
                    if !self.killing.is_empty() {
                        self.signal(Signal::KILL);
                    }
                    return;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        for call in std::mem::take(&mut self.killing) {
            self.tell(&FromInit::Empty { call });
        }
    }

    fn record(&mut self, pid: Pid, status: WaitStatus) {
        let Some(call) = self.programs.remove(&pid.as_raw_nonzero().get()) else { return };
        let ending = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ending::Code(code),
            (None, Some(signal)) => Ending::Signal(signal),
            (None, None) => return,
        };
        self.tell(&FromInit::Exited { call, ending });
    }

    fn signal(&self, signal: Signal) {
        match self.reach {
            #[expect(unsafe_code, reason = "signalling everybody needs a promise")]
            // SAFETY: this reach is chosen only by `namespaces::run`, which is PID 1 of its namespace.
            Reach::Namespace => unsafe { sys::signal_namespace(signal) },
            Reach::Descendants => {
                for pid in descendants() {
                    let _ = rustix::process::kill_process(pid, signal);
                }
            }
        }
    }

    /// Where only programs in the sandbox connect to; without a network of its own, on any free
    /// port of this machine.
    fn listen(&self, at: (Ipv4Addr, u16)) -> Result<OwnedFd, Fault> {
        match self.reach {
            Reach::Namespace => network::listener(at),
            Reach::Descendants => network::listener((Ipv4Addr::LOCALHOST, 0)),
        }
    }

    fn hand_out(&self, call: u64, opened: Result<OwnedFd, Fault>) {
        match opened {
            Ok(fd) => self.tell_with(&FromInit::Opened { call }, Some(&fd)),
            Err(fault) => self.tell(&FromInit::NotOpened { call, fault }),
        }
    }

    /// Each program leads a group of its own. Its number is not given to another process before it
    /// is reaped, and then it is not in the table any more.
    fn signal_one(&self, call: u64, kill: bool) {
        let signal = if kill { Signal::KILL } else { Signal::TERM };
        for (pid, started) in &self.programs {
            if *started == call
                && let Some(group) = Pid::from_raw(*pid)
            {
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }
    }

    fn tell(&self, message: &FromInit) {
        self.tell_with(message, None);
    }

    fn tell_with(&self, message: &FromInit, fd: Option<&OwnedFd>) {
        // A failure means that the server is gone, which the next poll says too.
        let _ = channel::send(&self.control, message, fd.map(AsFd::as_fd));
    }

    fn end(&mut self) -> ! {
        if self.reach == Reach::Descendants {
            loop {
                self.signal(Signal::KILL);
                match rustix::process::wait(WaitOptions::empty()) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        // PID 1's end is the end of its namespace: the kernel kills the rest before it is reaped.
        sys::leave(0)
    }
}

/// All processes below this one, parents before children.
fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut queue = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(pid) = queue.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().filter_map(|pid| Pid::from_raw(*pid)));
        queue.extend(below);
    }
    found
}

/// The parent in a line of `/proc/<pid>/stat`, whose second field may hold anything in brackets.
fn parent_of(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_lie_about_its_parent_by_its_name() {
        assert_eq!(parent_of("7 (a) S 1 (b)) S 42 7 7"), Some(42));
        assert_eq!(parent_of("7 a S 42"), None);
    }
}
