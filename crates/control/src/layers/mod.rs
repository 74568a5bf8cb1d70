//! Layers: versions that are published once, never change, and count up for ever.
//!
//! Invariants: what a publication acknowledged is durable; a number is never used twice under one
//! name, not even after all versions were deleted; a zip file stays while a layer version or a
//! function names it, for which the catalog is told of every version. Functions keep what they
//! need of a version themselves, so a deletion never asks who uses it.
//!
//! Not here: the permissions of layer versions, which nothing but the API reads.

mod index;
mod service;
mod tables;
#[cfg(test)]
mod tests;

pub use service::StoredLayers;
