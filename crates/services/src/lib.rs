//! The neighbours a function lives among: iam, logs, sns, sqs, sts.
//!
//! Each is small and real: it answers AWS's operations on data of its own. Nothing here speaks
//! HTTP; the dialects of `lamplight-wire` hand in members and place what comes back.

pub mod destinations;
pub mod iam;
pub mod logs;
mod records;
pub mod sns;
pub mod sqs;
mod statements;
pub mod sts;
