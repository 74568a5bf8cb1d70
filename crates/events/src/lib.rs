//! Events that nobody waits for.
//!
//! `event_queue` takes them in: an event that was answered is on the disk. `poller` leases them,
//! calls the function by the one way in, and settles. `destinations` brings outcomes where they
//! were asked for.
//!
//! Invariants: an accepted event is one message of the store, and is in one queue at any time:
//! waiting, or ended. It is moved to its end, together with what is owed to destinations, in one
//! transaction, so it has exactly one terminal record, and none is lost. What is done twice after a
//! crash is the call, never the end.
//!
//! Not here: event source mappings, schedules. They will call the same [`lamplight_rpc::Invoker`].

mod desk;
mod destinations;
mod event_queue;
mod options;
mod poller;
mod record;
mod service;
#[cfg(test)]
mod simulation;

pub use destinations::Routes;
pub use options::Options;
pub use service::{Events, Parts};
