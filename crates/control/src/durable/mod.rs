//! Durable executions: runs of a function that outlive its invocations.
//!
//! An execution is the list of facts that happened to it, each written down before anybody is told.
//! Its state is what the facts add up to ([`state`]); what may happen next is decided without I/O
//! ([`machine`], [`checkpoint`]); [`service`] writes and acts.
//!
//! Invariants:
//! - One invocation of an execution at a time, and only it has a token that is good. A token is
//!   good once.
//! - After any end of the server every execution goes on from its facts: timers, retries, chained
//!   calls and invocations that were cut off. A handler may therefore be invoked again for what it
//!   has already begun, as on AWS.
//! - Memory has the heads of all executions, and the facts of those alone that something is
//!   happening to, up to a limit in all.
//!
//! Not here: what HTTP asks for, permissions, and the way of a call.

mod callback_id;
mod checkpoint;
mod doors;
mod driver;
mod facts;
mod handler;
mod history;
mod index;
mod machine;
mod service;
mod show;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod updates;

pub use service::{Executions, Ways};
