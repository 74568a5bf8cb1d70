//! The function catalog: the truth about which functions should be, and the repair loop that
//! makes it so.
//!
//! Invariants:
//! - What a write acknowledged is durable. Reads come from a snapshot in memory and go on when the
//!   store is gone; the snapshot changes only after the store did.
//! - Changes of one function happen one after the other. A change goes on to its end when its
//!   caller goes away, so store and snapshot never drift apart.
//! - An invocation that begins after a change was acknowledged runs the changed function: every
//!   change makes a new generation, and a generation is never used twice under one name, not even
//!   by a function that was deleted and made again.
//! - A zip file stays as long as a record or a layer names it, and a while longer for calls that
//!   still run it; what nobody names goes, also after a crash between any two steps.
//! - A published version never changes but for its state, and its number is never used again.
//! - Layers are counted before the repair loop starts; see [`super::layers`].
//!
//! Not here: validation of what the service model describes.

mod aliases;
mod changes;
mod code;
mod concurrency;
mod error;
pub(crate) mod locks;
mod machine;
mod provisioned;
mod reconciler;
mod service;
mod snapshot;
mod tables;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod versions;

pub use error::LoadError;
pub(crate) use error::of_store;
pub use service::{FunctionCatalog, Parts};
