//! What can go wrong with a sandbox.

use lamplight_init::fault::Fault;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the sandbox was asked for wrongly: {0}")]
    BadSpec(String),
    #[error("cannot make a sealed copy of the jail binary: {0}")]
    SealJail(#[source] io::Error),
    #[error("cannot use the run directory: {0}")]
    RunDir(#[source] io::Error),
    #[error("cannot use cgroups: {0}")]
    Cgroup(#[source] io::Error),
    #[error("cannot set up the network: {0}")]
    Network(#[source] io::Error),
    #[error("cannot start the jail: {0}")]
    Spawn(#[source] io::Error),
    #[error("the jail does not answer: {0}")]
    Talk(#[source] io::Error),
    #[error("setting up the sandbox failed at {0}")]
    Setup(#[source] Fault),
    #[error("the program could not be started: {0}")]
    Start(#[source] Fault),
    #[error("the sandbox cannot listen: {0}")]
    Listen(#[source] Fault),
    #[error("the program's arguments and environment are too large")]
    TooLarge,
    #[error("all addresses for sandboxes are taken")]
    Full,
    #[error("the sandbox has ended")]
    Lost,
    #[error("the work was cancelled")]
    Cancelled,
}

impl SandboxError {
    /// The errno of a failed start, for callers who tell "no such file" from "not executable".
    pub fn start_errno(&self) -> Option<i32> {
        match self {
            Self::Start(fault) => Some(fault.errno),
            _ => None,
        }
    }
}
