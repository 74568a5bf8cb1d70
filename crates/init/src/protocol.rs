//! What the server and a sandbox's init say to each other: one JSON message per datagram.
//!
//! Order at start: `Blueprint` down, `Cloned` up (with a pidfd), `Network` down, `Blank` up, `Furnish`
//! down (with a descriptor for each place), `Ready` up (with the listeners). What is of one tenant
//! comes with `Furnish`, or in the blueprint's binds where that follows at once. Then
//! `Start` (with the output pipe), `Adopt`, `KillAll`, `Listen` and `Socket` in any order,
//! each answered under its call number, and `Freeze` and `Signal`, which are not. `Exited` follows
//! every `Started` unless init itself dies.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Where the Runtime API listens inside a network namespace of the sandbox's own.
// AWS: the address recorded as AWS_LAMBDA_RUNTIME_API.
pub const RUNTIME_API: (Ipv4Addr, u16) = (Ipv4Addr::new(169, 254, 100, 1), 9001);

/// The user that programs run as.
// AWS: sbx_user1051, uid 993, gid 990.
pub const PROGRAM_UID: u32 = 993;
pub const PROGRAM_GID: u32 = 990;

/// All that the jail needs to know to build a sandbox.
#[derive(Serialize, Deserialize)]
pub struct Blueprint {
    pub isolation: Isolation,
    pub cgroups: Cgroups,
    pub binds: Vec<Bind>,
    /// Whether the sandbox sees the programs and libraries of the host.
    pub host_system: bool,
    /// Links to make: where, without a slash in front, and to what.
    pub links: Vec<(String, String)>,
    pub resolvers: Vec<IpAddr>,
    /// Where the server listens in the sandbox besides the Runtime API's port.
    pub ports: Vec<u16>,
    /// The seccomp program, one instruction in each number as the kernel lays it out.
    pub filter: Vec<u64>,
    /// For a zygote: what to execute in the root, with the rights to enter sandboxes. Comes with
    /// its output.
    pub zygote: Option<Program>,
}

/// What makes a sandbox that of one tenant.
#[derive(Debug, Serialize, Deserialize)]
pub struct Furniture {
    pub hostname: String,
    pub tmp: Tmp,
    /// Where the detached mounts go that come along, in their order.
    pub places: Vec<Place>,
}

/// Where a detached mount goes, relative to the root.
#[derive(Debug, Serialize, Deserialize)]
pub struct Place {
    pub target: String,
    pub directory: bool,
}

/// The directories of the sandbox's own cgroups.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Cgroups {
    /// Of the old hierarchy, one for each controller.
    pub old: Vec<String>,
    pub new: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces, with root and the program mapped to these users and groups of the host.
    Mapped { root: u32, program: u32 },
    /// Namespaces made by an ordinary user: only that user can be mapped.
    Rootless,
    /// No isolation.
    Process,
}

/// A directory of the host shown read-only at `target`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    pub source: String,
    pub target: String,
}

/// Limits of `/tmp`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Tmp {
    pub bytes: u64,
    pub inodes: u64,
}

/// What to execute. `argv[0]` is a path; nothing is looked up.
#[derive(Clone, Serialize, Deserialize)]
pub struct Program {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: String,
}

/// What a zygote says of itself, once: why there is none, or what it has loaded.
#[derive(Debug, Deserialize)]
pub enum FromZygote {
    Failed(Fault),
    Ready {
        /// The first parts of the names of its modules.
        modules: BTreeSet<String>,
        /// The file names of the shared libraries in its memory.
        libraries: BTreeSet<String>,
    },
}

/// Tells a zygote the number of its socket, and the client that it is one.
pub const ZYGOTE_VARIABLE: &str = "_LAMPLIGHT_ZYGOTE";

/// What the sandbox's end of its link to the outside is called.
pub const LINK: &str = "eth0";

/// The sandbox's end of a link to the outside.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Link {
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub prefix: u8,
}

#[derive(Serialize, Deserialize)]
pub enum ToInit {
    Network(Option<Link>),
    Furnish(Furniture),
    Start {
        call: u64,
        program: Program,
    },
    /// Takes in a program that a zygote forks. Comes with the output pipe, and with the socket on
    /// which the fork will speak. Answered as `Start` is.
    Adopt {
        call: u64,
        program: Program,
    },
    KillAll {
        call: u64,
    },
    /// Stops all processes where they are, or lets them go on. Not answered: what is sent after it
    /// is obeyed after it.
    Freeze(bool),
    Listen {
        call: u64,
        port: u16,
        /// At 127.0.0.1 and not at the Runtime API's address.
        loopback: bool,
    },
    /// Asks for a socket of the sandbox's network. Answered as `Listen` is.
    Socket {
        call: u64,
    },
    /// Asks the program that was started under this number, and what it started, to end, or ends
    /// them. Not answered; nothing happens when it has ended.
    Signal {
        call: u64,
        kill: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromInit {
    Cloned {
        pid: i32,
    },
    /// Everything is there that all sandboxes have.
    Blank,
    /// With the Runtime API's listener, and those of the blueprint's ports in their order.
    Ready,
    Failed(Fault),
    Started {
        call: u64,
        pid: i32,
    },
    NotStarted {
        call: u64,
        fault: Fault,
    },
    Exited {
        call: u64,
        ending: Ending,
    },
    Empty {
        call: u64,
    },
    /// With the listener or the socket.
    Opened {
        call: u64,
    },
    NotOpened {
        call: u64,
        fault: Fault,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}
