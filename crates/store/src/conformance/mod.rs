//! What every implementation of a seam does. The functions panic where one does not.
//!
//! Each takes a store that has nothing under the names it uses.

mod blobs;
mod leases;
mod log;
mod meta;
mod queue;

pub use blobs::blobs;
pub use leases::leases;
pub use log::log;
pub use meta::meta;
pub use queue::queue;

use crate::Key;
use lamplight_env::Timestamp;

fn key(segments: &[&str]) -> Key {
    Key::new(segments).expect("a valid key")
}

/// Seconds after a moment that is now.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}
