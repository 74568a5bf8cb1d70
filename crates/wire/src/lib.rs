//! The AWS dialects: routing, validation and encoding driven by the service models, and SigV4.

mod answer;

pub use answer::{ApiError, Output};
