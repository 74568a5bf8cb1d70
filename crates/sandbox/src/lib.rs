//! Sandboxes: where functions run. Namespaces mode isolates with the kernel's namespaces, cgroups
//! and seccomp; process mode isolates nothing.
//!
//! The server never forks itself: it starts a sealed copy of its own binary once ([`jail_main`]),
//! whose forks, the jails, build sandboxes single-threaded and leave an init (crate `lamplight-init`)
//! in them. Some are built ahead, blank, and become a tenant's when they are needed. Server and init talk over one socket; when that closes, the sandbox ends.
//!
//! Invariants: a sandbox is torn down as a whole, in every failure too; nothing here follows a path
//! that a tenant could have made; tenants hold no descriptor of the server's but their output pipe.
//! Namespaces share the host's kernel and the page cache of its `/usr`: this is for code trusted about as much as a colleague's.

mod building;
mod cgroup;
mod control;
mod error;
mod jail;
mod launcher;
mod memfd;
mod network;
mod nursery;
mod pool;
mod preflight;
mod remains;
mod sandbox;
mod seccomp;
mod spec;
mod sweep;
mod zygote;

pub use error::SandboxError;
pub use jail::jail_main;
pub use lamplight_init::fault::{Fault, Step as SetupStep};
pub use lamplight_init::protocol::Program;
pub use launcher::{FIRST_HOST_ID, Launcher};
pub use preflight::{Check, Severity, modes, preflight};
pub use sandbox::{Dialer, Sandbox};
pub use spec::{
    Bind, Egress, Exit, Mode, Options, Prefix, ProgramName, Rates, Running, Spec, System,
};
pub use sweep::{Swept, sweep};
pub use zygote::{Zygote, ZygoteSpec};
