//! What functions and the platform write, on its way to the log service.
//!
//! The platform says [`Event`]s; a function's [`Style`] gives them their shape.

mod capture;
mod frames;
mod json;
mod level;
mod lines;
mod platform;
mod style;
mod text;

pub use capture::{Capture, Destination, Drained, Pipe, Source};
pub use json::record;
pub use platform::{Event, Identity, Init, Report, Span, Status};
pub use style::Style;

use lamplight_env::Timestamp;

/// `2024-03-04T17:22:38.033Z`.
pub fn iso_millis(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.millis()) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => String::new(),
    }
}
