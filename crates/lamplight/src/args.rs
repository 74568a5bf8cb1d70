//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// AWS Lambda that you run yourself.
///
/// Start with `lamplight demo`: it starts a server, deploys an example function, calls it and shows
/// its result and its logs.
#[derive(Debug, Parser)]
#[command(name = "lamplight", version, max_term_width = 100)]
pub struct Args {
    /// Say more of what the server does (twice for everything).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until Ctrl-C.
    Serve(ServeArgs),
    /// Run the server, deploy an example function, call it, and show what came out.
    Demo {
        #[command(flatten)]
        serve: ServeArgs,
        /// End after the example instead of leaving the server running.
        #[arg(long)]
        once: bool,
    },
    /// Print the settings that AWS tools need, for `eval "$(lamplight env)"`.
    Env {
        /// The data directory of the server.
        #[arg(long, env = "LAMPLIGHT_DATA_DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Say which isolation modes and runtimes this machine has, and how to get what is missing.
    Doctor {
        #[command(flatten)]
        place: RuntimePlace,
    },
    /// Say what runs functions of which runtime, and install what this machine does not have.
    Runtime {
        #[command(subcommand)]
        command: RuntimeCommand,
    },
    /// Look at calls that nobody waits for, on a running server.
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Say how full the queues are, or list what is in one stage of its life.
    List {
        stage: Option<Stage>,
        #[command(flatten)]
        place: ServerPlace,
    },
    /// Say all that is known of an event.
    Show {
        /// The request id that its sender got.
        id: String,
        #[command(flatten)]
        place: ServerPlace,
    },
    /// Try now what of an event is waiting: its function, or its destinations.
    Retry {
        id: String,
        #[command(flatten)]
        place: ServerPlace,
    },
    /// Give up what of an event is waiting.
    Drop {
        id: String,
        #[command(flatten)]
        place: ServerPlace,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Waiting for their functions.
    Queued,
    /// Outcomes that are owed to destinations.
    Delivering,
    /// What has ended, and how.
    Ended,
}

impl Stage {
    pub fn path(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivering => "delivering",
            Self::Ended => "ended",
        }
    }
}

/// Which server.
#[derive(Debug, Clone, ClapArgs)]
pub struct ServerPlace {
    /// The data directory of the server.
    #[arg(long, env = "LAMPLIGHT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum RuntimeCommand {
    /// Say of every runtime, or of one, whether this machine can run it, and with what.
    List {
        /// Such as python3.14; all of them where absent.
        name: Option<String>,
        #[command(flatten)]
        place: RuntimePlace,
    },
    /// Install a runtime into the data directory; a server that runs there uses it at once.
    Install {
        /// Such as ruby3.4.
        name: String,
        /// A container image made like AWS's base images for Lambda, to run functions on.
        #[arg(long, value_name = "REGISTRY/IMAGE", conflicts_with = "jars")]
        from: Option<String>,
        /// A directory with the jars of AWS's runtime interface client, for a Java of this machine.
        #[arg(long, value_name = "DIRECTORY")]
        jars: Option<PathBuf>,
        #[command(flatten)]
        place: RuntimePlace,
    },
    /// Forget an installed runtime.
    Remove {
        name: String,
        #[command(flatten)]
        place: RuntimePlace,
    },
}

/// Which server's runtimes are meant.
#[derive(Debug, Default, Clone, ClapArgs)]
pub struct RuntimePlace {
    /// The data directory of the server.
    #[arg(long, env = "LAMPLIGHT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The configuration file of the server, for the runtimes and registries that it names.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// What can be said on the command line; it wins over the configuration file.
#[derive(Debug, Default, Clone, ClapArgs)]
pub struct ServeArgs {
    /// Where functions, logs and keys are kept [default: /var/lib/lamplight for root, else
    /// ~/.local/share/lamplight].
    #[arg(long, env = "LAMPLIGHT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Faults on purpose, for tests; only a build with the feature `faults` takes any.
    #[arg(long, env = "LAMPLIGHT_FAULTS", hide = true)]
    pub faults: Option<String>,
    /// Address and port for AWS tools; port 0 takes a free one [default: 127.0.0.1:4566].
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// How functions are kept apart from this machine and from each other.
    #[arg(long)]
    pub isolation: Option<Isolation>,
    /// How requests prove who they are from.
    #[arg(long)]
    pub auth: Option<AuthMode>,
    /// A configuration file in TOML; see docs/configuration.md.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A sandbox of Linux namespaces for each environment.
    Namespaces,
    /// None: functions run as this user. Only on loopback.
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Signatures with the access key of this server.
    Sigv4,
    /// Everybody who can connect may do everything. Only on loopback.
    None,
}
