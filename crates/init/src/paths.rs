//! Landlock: a second lock on the file system, for the day the first one is picked.
//!
//! Mounts already make everything but `/tmp` read-only; this holds even where a mount could be
//! changed. Best effort: kernels without Landlock, or with an older one, get as much as they know.
//! Signals and sockets are left alone: functions and their extensions may talk to each other.

use crate::fault::{Fault, Step};
use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    path_beneath_rules,
};
use std::os::fd::OwnedFd;

const NEWEST: ABI = ABI::V5;

/// Where programs may write; `/dev` and `/proc` have their own guards.
const WRITABLE: [&str; 3] = ["/tmp", "/dev", "/proc"];

/// The rules, for a process with `no_new_privs` to put on itself for ever. `None` where the kernel
/// has no Landlock.
pub(crate) fn rules() -> Result<Option<OwnedFd>, Fault> {
    // The library keeps the errno to itself, but its text has it.
    let fault = |error: RulesetError| Fault {
        step: Step::RestrictFiles,
        errno: libc::EPERM,
        on: error.to_string(),
    };
    made().map(Into::into).map_err(fault)
}

fn made() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(["/"], AccessFs::from_read(NEWEST)))?
        .add_rules(path_beneath_rules(WRITABLE, AccessFs::from_all(NEWEST)))
}
