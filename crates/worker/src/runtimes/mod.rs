//! The interpreters of this machine: found by asking them, offered under AWS's runtime
//! identifiers.
//!
//! Lamplight ships no interpreter. A Python or Node.js that this machine has, from its packages or
//! from a version manager, is shown to functions as `/var/lang`, and Lamplight's own runtime
//! client as `/var/runtime`.
//!
//! Invariants: a runtime is served by the version in its identifier and by no other, unless the
//! configuration names an interpreter for it. Everything offered has answered once.
//!
//! Absences: nothing is downloaded or installed; java, dotnet and ruby have no client yet. All
//! accounts share an interpreter's files, and so its pages in memory: giving each account a copy
//! is for whoever needs that wall.

mod clients;
mod interpreter;
mod missing;
mod plan;
mod probe;
mod search;

#[cfg(test)]
mod tests;

pub use clients::{Client, ClientError, install_clients};
pub use interpreter::{Interpreter, Version};
pub use missing::MissingRuntime;
pub use plan::{BOOTSTRAPS, RuntimePlan};

use lamplight_model::{Language, Runtime};
use search::{Candidate, Places};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an interpreter may take to say what it is. Slow disks take a while the first time.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a Python may take to compile its client.
const COMPILE_PATIENCE: Duration = Duration::from_secs(20);

/// What this machine can run.
#[derive(Debug, Clone, Default)]
pub struct Runtimes {
    /// Best first: newer before older, then in the order they were found.
    found: Vec<Interpreter>,
    /// What the configuration says, by identifier: an interpreter or why it cannot be used.
    explicit: BTreeMap<String, Result<Interpreter, String>>,
}

/// A line of [`Runtimes::listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Such as `python3.11`.
    pub identifier: String,
    /// Such as `3.11.2`; empty where there is a problem.
    pub version: String,
    /// The executable, on this machine.
    pub path: PathBuf,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

impl Runtimes {
    /// Asks the interpreters on PATH and in the usual places of version managers, all at once.
    /// `explicit` maps runtime identifiers to an executable or an installation directory, and
    /// wins. Takes about as long as the slowest interpreter takes to start; never fails, for a
    /// machine without any can still run `provided` runtimes.
    pub async fn discover(explicit: &BTreeMap<String, PathBuf>) -> Self {
        Self::discover_in(Places::of_this_user(), explicit).await
    }

    async fn discover_in(places: Places, explicit: &BTreeMap<String, PathBuf>) -> Self {
        let searched = tokio::task::spawn_blocking(move || search::candidates(&places)).await;
        let candidates = searched.unwrap_or_default();
        let named: Vec<(String, Option<Candidate>)> = explicit
            .iter()
            .map(|(identifier, path)| (identifier.clone(), search::named(identifier, path)))
            .collect();
        let asked = named.iter().filter_map(|(_, candidate)| candidate.clone());
        let asked: Vec<Candidate> = candidates.iter().cloned().chain(asked).collect();
        let mut answers = probe::ask_all(asked, PATIENCE).await;

        let explicit = named
            .into_iter()
            .map(|(identifier, candidate)| {
                let answer = candidate.and_then(|candidate| answers.get(&candidate).cloned());
                let missing = || Err("there is no client for this runtime".to_owned());
                let answer = answer.map_or_else(missing, |a| a.map_err(|e| e.to_string()));
                (identifier, answer)
            })
            .collect();
        let mut found: Vec<Interpreter> = Vec::new();
        for candidate in candidates {
            match answers.remove(&candidate) {
                Some(Ok(new)) if found.iter().all(|old| old.binary != new.binary) => {
                    found.push(new);
                }
                Some(Err(error)) => {
                    tracing::debug!(path = %candidate.path.display(), %error, "no interpreter");
                }
                _ => {}
            }
        }
        found.sort_by_key(|interpreter| std::cmp::Reverse(interpreter.version));
        Self { found, explicit }
    }

    /// How to run a function whose `Runtime` is `identifier`. The error is for users.
    pub fn find(&self, identifier: &str) -> Result<RuntimePlan, MissingRuntime> {
        let unknown = || MissingRuntime::Unknown(identifier.to_owned());
        let runtime = Runtime::parse(identifier).ok_or_else(unknown)?;
        match runtime.language {
            Language::Provided => return Ok(RuntimePlan::provided()),
            Language::Python | Language::Node => {}
            _ => return Err(MissingRuntime::Unsupported(identifier.to_owned())),
        }
        match self.explicit.get(identifier) {
            Some(Ok(interpreter)) => return Ok(RuntimePlan::managed(identifier, interpreter)),
            Some(Err(problem)) => {
                return Err(MissingRuntime::Broken {
                    identifier: identifier.to_owned(),
                    problem: problem.clone(),
                });
            }
            None => {}
        }
        match self.found.iter().find(|interpreter| interpreter.serves(&runtime)) {
            Some(interpreter) => Ok(RuntimePlan::managed(identifier, interpreter)),
            None => Err(MissingRuntime::not_installed(identifier, &runtime, &self.found)),
        }
    }

    /// Has every Python keep the byte code of its client in `dir`, where [`install_clients`] wrote
    /// it: a cold start is some ten milliseconds quicker. Optional; can go on beside everything.
    pub async fn compile_clients(&self, dir: &Path) {
        let explicit = self.explicit.values().flatten();
        let pythons: BTreeMap<Version, PathBuf> = explicit
            .chain(&self.found)
            .filter(|interpreter| interpreter.language == Language::Python)
            .map(|python| (python.version, python.binary.clone()))
            .collect();
        let package = Client::Python.directory(dir).join("lamplight_runtime");
        probe::compile_all(pythons.into_values().collect(), &package, COMPILE_PATIENCE).await;
    }

    /// Everything found and configured, by identifier, for people to read. An interpreter that
    /// another one of the same identifier stands before is listed as well.
    pub fn listing(&self) -> Vec<Listed> {
        let listed = |identifier: String, interpreter: &Interpreter| Listed {
            identifier,
            version: interpreter.version.to_string(),
            path: interpreter.binary.clone(),
            problem: None,
        };
        let explicit = self.explicit.iter().map(|(identifier, answer)| match answer {
            Ok(interpreter) => listed(identifier.clone(), interpreter),
            Err(problem) => Listed {
                identifier: identifier.clone(),
                version: String::new(),
                path: PathBuf::new(),
                problem: Some(problem.clone()),
            },
        });
        let found = self.found.iter().map(|found| listed(found.identifier(), found));
        explicit.chain(found).collect()
    }
}
