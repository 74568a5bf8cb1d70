//! The neighbours a function lives among: logs, sts.
