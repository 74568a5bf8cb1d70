//! Where functions run: the agent, the Runtime API, code and runtimes, log capture.

pub mod code;
pub mod runtimes;
