//! A program that was forked from a zygote and is taken in as if init had started it.
//!
//! The fork says who it is and waits. Only then is it told what to confine itself by and what its
//! environment is, so that it can neither do anything nor end before init knows it. When it says
//! that it is confined it is a program like any other: its parent has ended, so init reaps it.
//! The zygote itself never sees a program. A fork that is not heard of is the same as one that
//! failed: its socket closes.

use crate::channel;
use crate::confine::{self, Call, Given};
use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, Program};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a fork that has spoken may take for its next word.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a fork says.
#[derive(Debug, Deserialize)]
enum Word {
    Born { pid: i32 },
    Confined,
    Refused { call: usize, errno: i32 },
}

/// What a fork is told.
#[derive(Serialize)]
struct Orders<'a> {
    calls: &'a [Call],
    farewell: &'a [Call],
    env: &'a [(String, String)],
}

/// One that is awaited.
pub struct Adoption {
    pub call: u64,
    program: Program,
    output: OwnedFd,
    socket: OwnedFd,
}

impl AsFd for Adoption {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Adoption {
    pub fn new(call: u64, program: Program, fds: Vec<OwnedFd>) -> Result<Self, Fault> {
        let [output, socket] = <[OwnedFd; 2]>::try_from(fds).map_err(|_| fault(libc::EBADF))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).at(Step::Adopt, "socket")?;
        Ok(Self { call, program, output, socket })
    }

    /// Lets go of it before it has spoken: it finds its socket closed and ends.
    pub fn refuse(self) -> (u64, Fault) {
        (self.call, fault(libc::ECANCELED))
    }

    /// Its process id here.
    pub fn born(&self) -> Result<i32, Fault> {
        match hear(&self.socket)? {
            // Init itself is 1, and groups have other numbers.
            Word::Born { pid } if pid > 1 => Ok(pid),
            _ => Err(fault(libc::EPROTO)),
        }
    }

    /// Has it confine itself; from then on it runs what is not ours.
    pub fn confine(self, blueprint: &Blueprint) -> Result<(), Fault> {
        let Self { program, output, socket, .. } = self;
        let given = Given::new(output, blueprint)?;
        let calls = confine::calls(&program.cwd, blueprint, &given);
        let orders = Orders { calls: &calls, farewell: &confine::farewell(), env: &program.env };
        let lent: Vec<_> = given.all().iter().map(AsFd::as_fd).collect();
        channel::send_all(&socket, &orders, &lent).at(Step::Adopt, "orders")?;
        match hear(&socket)? {
            Word::Confined => Ok(()),
            Word::Refused { call, errno } => {
                Err(calls.get(call).map_or_else(|| fault(errno), |call| call.fault(errno)))
            }
            Word::Born { .. } => Err(fault(libc::EPROTO)),
        }
    }
}

fn hear(socket: &OwnedFd) -> Result<Word, Fault> {
    match channel::receive(socket).at(Step::Adopt, "a word")? {
        Some((word, _)) => Ok(word),
        None => Err(fault(libc::EPIPE)),
    }
}

fn fault(errno: i32) -> Fault {
    Fault { step: Step::Adopt, errno, on: "a fork".to_owned() }
}
