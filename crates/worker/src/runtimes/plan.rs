//! How a function of a runtime is started: what is shown where, and the command.
//!
//! Paths "inside" are those of AWS's sandbox (`/var/lang`, `/var/runtime`, `/var/task`, `/opt`).
//! Where nothing can be mounted, callers say where those are on this machine.

use super::clients::Client;
use super::installed::Jars;
use super::interpreter::{Interpreter, Version};
use lamplight_model::{ImageConfig, Language};
use std::path::{Path, PathBuf};

/// AWS: where the executable of a `provided` runtime is looked for, in this order.
pub const BOOTSTRAPS: [&str; 2] = ["/var/task/bootstrap", "/opt/bootstrap"];

/// AWS: what the managed runtimes and their base images start. It sees to wrappers itself.
pub const IMAGE_BOOTSTRAP: &str = "/var/runtime/bootstrap";

const LANG: &str = "/var/lang";
const RUNTIME: &str = "/var/runtime";
const JARS: &str = "/var/runtime/lib";
const LAYERS: &str = "/opt/java/lib";
const JAVA_MAIN: &str = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimePlan {
    /// Directories of this machine, and the paths inside under which to show them, read-only.
    /// The client's directory is not among them: see [`RuntimePlan::client`].
    pub binds: Vec<(PathBuf, String)>,
    /// `AWS_EXECUTION_ENV`. AWS: unset for `provided` runtimes.
    pub execution_env: Option<String>,
    /// The runtime client to show as `/var/runtime`.
    pub client: Option<Client>,
    /// What to run on instead of this machine's own system; needs mounts.
    pub root: Option<Root>,
    /// Of the interpreter.
    version: Option<Version>,
    start: Start,
}

/// An installed root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// On this machine.
    pub path: PathBuf,
    pub config: ImageConfig,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    Interpreter {
        inside: String,
        host: PathBuf,
    },
    /// A JDK with AWS's own client.
    Java {
        inside: String,
        host: PathBuf,
        jars: Vec<String>,
    },
    Bootstrap(&'static str),
    /// An image's own start, which wants the handler behind it.
    Image {
        command: Vec<String>,
        wraps: bool,
    },
}

/// What of a function its command depends on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub handler: &'a str,
    pub memory_mb: u32,
}

impl RuntimePlan {
    fn new(start: Start) -> Self {
        Self {
            binds: Vec::new(),
            execution_env: None,
            client: None,
            root: None,
            version: None,
            start,
        }
    }

    pub(super) fn provided(root: Option<Root>) -> Self {
        let [first, _] = BOOTSTRAPS;
        Self { root, ..Self::new(Start::Bootstrap(first)) }
    }

    pub(super) fn managed(identifier: &str, interpreter: &Interpreter) -> Self {
        let start = Start::Interpreter {
            inside: interpreter.inside.clone(),
            host: interpreter.binary.clone(),
        };
        let client = match interpreter.language {
            Language::Node => Client::Node,
            _ => Client::Python,
        };
        Self { client: Some(client), ..Self::on_host(identifier, interpreter, start) }
    }

    /// `jars` are those in the directory `files`.
    pub(super) fn java(
        identifier: &str,
        interpreter: &Interpreter,
        (jars, files): (&Jars, PathBuf),
    ) -> Self {
        let start = Start::Java {
            inside: interpreter.inside.clone(),
            host: interpreter.binary.clone(),
            jars: jars.files.clone(),
        };
        let mut plan = Self::on_host(identifier, interpreter, start);
        plan.binds.push((files, JARS.to_owned()));
        plan
    }

    fn on_host(identifier: &str, interpreter: &Interpreter, start: Start) -> Self {
        let lang = (interpreter.prefix.clone(), LANG.to_owned());
        let libraries = interpreter.libraries.iter().filter_map(|library| {
            // One that is no text could not be mounted by name.
            Some((library.clone(), library.to_str()?.to_owned()))
        });
        Self {
            binds: std::iter::once(lang).chain(libraries).collect(),
            execution_env: Some(format!("AWS_Lambda_{identifier}")),
            version: Some(interpreter.version),
            ..Self::new(start)
        }
    }

    /// A managed runtime on an installed root. Looks whether that has AWS's own start.
    pub(super) fn image(identifier: &str, root: Root) -> Self {
        let bootstrap = root.path.join(IMAGE_BOOTSTRAP.trim_start_matches('/'));
        // A link leads somewhere in the image: that one is there has to do.
        let start = match std::fs::symlink_metadata(bootstrap) {
            Ok(_) => Start::Image { command: vec![IMAGE_BOOTSTRAP.to_owned()], wraps: true },
            Err(_) => Start::Image { command: root.config.entry_point.clone(), wraps: false },
        };
        Self {
            execution_env: Some(format!("AWS_Lambda_{identifier}")),
            root: Some(root),
            ..Self::new(start)
        }
    }

    /// The `Runtime Version` of INIT_START: `python:3.11.v7`. AWS counts its builds there; here
    /// it is the interpreter's own last number.
    pub fn version(&self, identifier: &str) -> String {
        let at = identifier.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(0);
        let (language, version) = identifier.split_at(at);
        match self.version {
            Some(Version { patch, .. }) => format!("{language}:{version}.v{patch}"),
            None => format!("{language}:{}.v1", version.trim_start_matches('.')),
        }
    }

    /// The interpreter's executable on this machine; `None` for runtimes that need none there.
    pub fn interpreter(&self) -> Option<&Path> {
        match &self.start {
            Start::Interpreter { host, .. } | Start::Java { host, .. } => Some(host),
            Start::Bootstrap(_) | Start::Image { .. } => None,
        }
    }

    /// `3.11.2 (/usr/bin/python3.11)`.
    pub(super) fn name_version(&self, binary: &Path) -> String {
        let version = self.version.map(|version| version.to_string()).unwrap_or_default();
        format!("{version} ({})", binary.display())
    }

    /// Whether `AWS_LAMBDA_EXEC_WRAPPER` is for whoever starts the command. AWS: a runtime that the
    /// function brings itself sees to that itself.
    pub fn is_wrapped(&self) -> bool {
        !matches!(self.start, Start::Bootstrap(_) | Start::Image { wraps: true, .. })
    }

    /// Whether the client writes its messages as frames where it is told to.
    pub fn is_framed(&self) -> bool {
        self.client.is_some() || matches!(self.start, Start::Java { .. })
    }

    /// For `provided` runtimes: takes the first of [`BOOTSTRAPS`] that is `executable`, and says
    /// whether there is one. AWS: without one the init ends in `Runtime.InvalidEntrypoint`. Other
    /// runtimes need none.
    pub fn pick_bootstrap(&mut self, executable: &dyn Fn(&str) -> bool) -> bool {
        match &mut self.start {
            Start::Bootstrap(chosen) => {
                let found = BOOTSTRAPS.into_iter().find(|path| executable(path));
                *chosen = found.unwrap_or(chosen);
                found.is_some()
            }
            _ => true,
        }
    }

    /// The command. `locate` gives the path that the process sees for a path inside: the same one
    /// in a sandbox with mounts, [`RuntimePlan::host_path`] and the like without.
    pub fn argv(&self, locate: &dyn Fn(&str) -> PathBuf, wanted: Wanted<'_>) -> Vec<String> {
        let located = |inside: &str| locate(inside).to_string_lossy().into_owned();
        let client = |name: &str| located(&format!("{RUNTIME}/{name}"));
        match (&self.start, self.client) {
            (Start::Bootstrap(path), _) => vec![located(path)],
            (Start::Image { command, wraps }, _) => {
                // AWS: its own start takes the handler from `_HANDLER`.
                let handler = (!wraps).then(|| wanted.handler.to_owned());
                command.iter().cloned().chain(handler).collect()
            }
            (Start::Java { inside, jars, .. }, _) => {
                let jars = jars.iter().map(|jar| located(&format!("{JARS}/{jar}")));
                // The client looks into `/opt/java` by that name. Where layers are elsewhere, their
                // libraries are given to the JVM itself.
                let layers = located(LAYERS);
                let layers = (layers != LAYERS).then(|| format!("{layers}/*"));
                let path: Vec<_> = jars.chain(layers).collect();
                let major = self.version.map_or(0, |version| version.major);
                java((located(inside), major), &path.join(":"), wanted)
            }
            (Start::Interpreter { inside, .. }, Some(Client::Node)) => {
                vec![located(inside), client("bootstrap.cjs")]
            }
            (Start::Interpreter { inside, .. }, _) => {
                // Without `site`: the client does what functions may expect of it, quicker.
                vec![located(inside), "-S".to_owned(), client("bootstrap.py")]
            }
        }
    }

    /// Where a path below one of [`RuntimePlan::binds`] is on this machine.
    pub fn host_path(&self, inside: &str) -> Option<PathBuf> {
        self.binds.iter().find_map(|(host, target)| {
            let below = Path::new(inside).strip_prefix(target).ok()?;
            Some(host.join(below))
        })
    }
}

/// AWS: its Java runtimes have the same heap, collector and compiler. A sandbox shows no limits that
/// the JVM could go by.
fn java((java, major): (String, u32), class_path: &str, wanted: Wanted<'_>) -> Vec<String> {
    let heap = u64::from(wanted.memory_mb) * 1024 * 85 / 100;
    // The client speaks HTTP in C, which newer ones would warn of at every start.
    let native = (major >= 24).then(|| "--enable-native-access=ALL-UNNAMED".to_owned());
    let options = [
        &format!("-XX:MaxHeapSize={heap}k"),
        "-XX:+UseSerialGC",
        "-XX:+TieredCompilation",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        // Nobody is there to look at the file that it would keep in /tmp.
        "-XX:-UsePerfData",
        // For the descriptor that the client writes its frames to.
        "--add-opens=java.base/java.io=ALL-UNNAMED",
        "-cp",
        class_path,
        JAVA_MAIN,
        wanted.handler,
    ];
    std::iter::once(java).chain(native).chain(options.map(str::to_owned)).collect()
}
