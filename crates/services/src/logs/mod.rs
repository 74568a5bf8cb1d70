//! CloudWatch Logs: what functions print, kept and found again.
//!
//! `store` keeps events in append-only segment files; `intake` is the bounded buffer in front of
//! it that never makes an invocation wait; `pattern` decides which events a filter means; `api`
//! answers AWS's operations. Invariants: memory is bounded whatever is sent, a line that could not
//! be kept is counted in its own stream, and an event that was accepted is seen by the next read.
//! Absent: subscription and metric filters, Insights queries, live tail, encryption with own keys.

mod api;
mod intake;
mod pattern;
mod store;

pub use api::{Logs, OPERATIONS, group_arn};
pub use pattern::{FilterPattern, PatternError};
pub use store::LogsError;
