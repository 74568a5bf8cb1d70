//! What functions and the platform write, on its way to the log service.

mod capture;
mod lines;
pub mod report;

pub use capture::{Capture, Destination, Drained, Pipe};
