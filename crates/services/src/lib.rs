//! The neighbours a function lives among: iam, logs, sqs, sts.
//!
//! Each is small and real: it answers AWS's operations on data of its own. Nothing here speaks
//! HTTP; the dialects of `lamplight-wire` hand in members and place what comes back.

pub mod iam;
pub mod logs;
pub mod sqs;
pub mod sts;
