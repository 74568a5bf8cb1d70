//! IAM: who may do what.

mod condition;
pub mod document;
pub mod evaluate;
mod pattern;
