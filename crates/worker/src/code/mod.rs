//! Function code: zip files taken apart once, checked, and kept for every environment that runs
//! them.
//!
//! Invariants: a directory that [`CodeCache::unpacked`] names is complete and came from a file
//! whose SHA-256 is its digest. Nothing is ever written outside the cache directory. A zip file
//! that is refused leaves no byte behind. Layers are unpacked like code, and laid over each other once
//! for every list of them.
//!
//! Absences: fetching is not here (the blob store hands over a
//! file). Nothing is evicted: whoever knows which code is in use says [`CodeCache::forget`].

mod cache;
mod central;
mod error;
mod image;
mod limits;
mod links;
mod merge;
mod removal;
mod shelf;
mod tree;
mod unsynced;
mod unzip;

#[cfg(test)]
mod tests;

pub use cache::CodeCache;
pub use error::CodeError;
