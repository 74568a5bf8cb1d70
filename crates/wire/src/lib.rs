//! The AWS dialects: routing, validation and encoding driven by the service models, and SigV4.
//!
//! The way of a request: [`route`] reads its head, [`sigv4::verify`] its signature, [`decode`] its
//! body, [`validate`] its members; [`encode_output`] or [`encode_error`] answers. Everything here
//! is pure: no I/O, no clock, no randomness. No operation is written down in code; the models say
//! what there is.

mod answer;
mod decode;
mod encode;
pub mod eventstream;
pub mod model;
pub mod percent;
mod route;
pub mod sigv4;
mod timestamp;
mod validate;

pub use answer::{ApiError, Output};
pub use decode::{Call, check_payload, decode};
pub use encode::{encode_error, encode_output};
pub use model::{Operation, Protocol, Service, operations, service, services};
pub use route::{OperationRef, Route, route};
pub use validate::{runtimes, validate};
