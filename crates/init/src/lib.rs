//! PID 1 inside a sandbox: builds the root, raises the network, starts programs, reaps, reports.
//!
//! The jail (crate `lamplight-sandbox`) clones a process into fresh namespaces and calls
//! [`namespaces::run`] there; in process mode, where there are no namespaces, it calls
//! [`process::run`]. Both end in the same supervisor and speak the same [`protocol`] over one
//! seqpacket socket.
//!
//! Invariants: this code is single-threaded, so that `fork` is sound; it holds nothing secret
//! beyond the moment of a start; when its control socket closes it kills what it started and ends.
//! It never opens a file that the tenant could have placed.

mod adopt;
pub mod channel;
mod confine;
pub mod fault;
pub mod namespaces;
pub mod netlink;
mod network;
mod paths;
pub mod process;
mod program;
pub mod protocol;
mod root;
pub mod sources;
mod supervisor;
#[expect(unsafe_code, reason = "the system calls that have no safe wrapper")]
pub mod sys;
pub mod zygote;
