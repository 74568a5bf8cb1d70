//! What went wrong while a sandbox was set up: the step, the errno, and what it was done to.

use serde::{Deserialize, Serialize};

/// A failed step. Travels over the control socket, so it is plain data.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{step:?} {on}: {}", std::io::Error::from_raw_os_error(*errno))]
pub struct Fault {
    pub step: Step,
    pub errno: i32,
    /// The path, name or number that the step was about.
    pub on: String,
}

/// Every step of the privileged set-up and of a program's start, in the order they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    ReadBlueprint,
    JoinCgroup,
    OpenSource,
    RestrictSource,
    DropGroups,
    OpenSync,
    CloneNamespaces,
    OpenPidfd,
    DenySetgroups,
    MapUsers,
    MapGroups,
    ReportClone,
    AwaitMaps,
    BecomeRoot,
    HideCgroup,
    MakeMountsPrivate,
    MountRoot,
    AttachRoot,
    MakeDirectory,
    MakeLink,
    WriteFile,
    AttachSource,
    MountProc,
    RestrictProc,
    PivotRoot,
    DetachOldRoot,
    AwaitNetwork,
    RaiseLoopback,
    RaiseLink,
    BindRuntimeApi,
    ReportBlank,
    AwaitFurniture,
    SetHostname,
    MountTmp,
    FreezeRoot,
    DropCapabilities,
    HideFromPtrace,
    BecomeReaper,
    WatchChildren,
    CheckDescriptors,
    ReportReady,
    // A zygote's start.
    LeaveMounts,
    // A program's start.
    CheckProgram,
    Fork,
    NewSession,
    ConnectOutput,
    SetLimit,
    DropBoundingSet,
    SetGroup,
    SetUser,
    EnterDirectory,
    DropProgramCapabilities,
    NoNewPrivileges,
    RestrictFiles,
    InstallFilter,
    Execute,
    Adopt,
}

/// Names the step of a failed call.
pub trait At<T> {
    fn at(self, step: Step, on: &str) -> Result<T, Fault>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step, on: &str) -> Result<T, Fault> {
        self.map_err(|errno| Fault { step, errno: errno.raw_os_error(), on: on.to_owned() })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: Step, on: &str) -> Result<T, Fault> {
        self.map_err(|error| Fault {
            step,
            errno: error.raw_os_error().unwrap_or(libc::EPROTO),
            on: on.to_owned(),
        })
    }
}
