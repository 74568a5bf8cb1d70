//! How a function of a runtime is started: what is shown where, and the command.
//!
//! Paths "inside" are those of AWS's sandbox (`/var/lang`, `/var/runtime`, `/var/task`, `/opt`).
//! Where nothing can be mounted, callers say where those are on this machine.

use super::clients::Client;
use super::interpreter::{Interpreter, Version};
use lamplight_model::Language;
use std::path::{Path, PathBuf};

/// AWS: where the executable of a `provided` runtime is looked for, in this order.
pub const BOOTSTRAPS: [&str; 2] = ["/var/task/bootstrap", "/opt/bootstrap"];

const LANG: &str = "/var/lang";
const RUNTIME: &str = "/var/runtime";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimePlan {
    /// Directories of this machine, and the paths inside under which to show them, read-only.
    /// The client's directory is not among them: see [`RuntimePlan::client`].
    pub binds: Vec<(PathBuf, String)>,
    /// `AWS_EXECUTION_ENV`. AWS: unset for `provided` runtimes.
    pub execution_env: Option<String>,
    /// The runtime client to show as `/var/runtime`.
    pub client: Option<Client>,
    /// Of the interpreter.
    version: Option<Version>,
    start: Start,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    Interpreter { inside: String, host: PathBuf },
    Bootstrap(&'static str),
}

impl RuntimePlan {
    pub(super) fn provided() -> Self {
        let [first, _] = BOOTSTRAPS;
        Self {
            binds: Vec::new(),
            execution_env: None,
            client: None,
            version: None,
            start: Start::Bootstrap(first),
        }
    }

    pub(super) fn managed(identifier: &str, interpreter: &Interpreter) -> Self {
        let lang = (interpreter.prefix.clone(), LANG.to_owned());
        let libraries = interpreter.libraries.iter().filter_map(|library| {
            // One that is no text could not be mounted by name.
            Some((library.clone(), library.to_str()?.to_owned()))
        });
        Self {
            binds: std::iter::once(lang).chain(libraries).collect(),
            execution_env: Some(format!("AWS_Lambda_{identifier}")),
            client: Some(match interpreter.language {
                Language::Node => Client::Node,
                _ => Client::Python,
            }),
            version: Some(interpreter.version),
            start: Start::Interpreter {
                inside: interpreter.inside.clone(),
                host: interpreter.binary.clone(),
            },
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

    /// The interpreter's executable on this machine; `None` for `provided` runtimes.
    pub fn interpreter(&self) -> Option<&Path> {
        match &self.start {
            Start::Interpreter { host, .. } => Some(host),
            Start::Bootstrap(_) => None,
        }
    }

    /// For `provided` runtimes: takes the first of [`BOOTSTRAPS`] that is `executable`, and says
    /// whether there is one. AWS: without one the init ends in `Runtime.InvalidEntrypoint`. Other
    /// runtimes need none.
    pub fn pick_bootstrap(&mut self, executable: &dyn Fn(&str) -> bool) -> bool {
        match &mut self.start {
            Start::Interpreter { .. } => true,
            Start::Bootstrap(chosen) => {
                let found = BOOTSTRAPS.into_iter().find(|path| executable(path));
                *chosen = found.unwrap_or(chosen);
                found.is_some()
            }
        }
    }

    /// The command. `locate` gives the path that the process sees for a path inside: the same one
    /// in a sandbox with mounts, [`RuntimePlan::host_path`] and the like without.
    pub fn argv(&self, locate: &dyn Fn(&str) -> PathBuf) -> Vec<String> {
        let located = |inside: &str| locate(inside).to_string_lossy().into_owned();
        let client = |name: &str| located(&format!("{RUNTIME}/{name}"));
        match (&self.start, self.client) {
            (Start::Bootstrap(path), _) => vec![located(path)],
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
