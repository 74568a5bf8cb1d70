//! Where functions run: the agent, the Runtime API, code and runtimes, log capture.

pub mod agent;
pub mod code;
pub mod logs;
pub mod runtime_api;
pub mod runtimes;
pub mod telemetry;
