//! What Lamplight fetches from other servers, objects of S3 and container images, and what it posts
//! to them.
//!
//! Invariants: only what the configuration or a request names is asked for; every wait has an end
//! and every answer a limit. Nothing here is kept: callers store what they fetch.

mod http;
mod reach;
mod registry;
mod s3;
mod web;

pub use registry::{Access, Login, Registries};
pub use s3::{ObjectStore, S3};
pub use web::OtherServers;
