//! The interpreters of this machine: found by asking them, offered under AWS's runtime
//! identifiers.
//!
//! Lamplight ships no interpreter. A Python or Node.js that this machine has, from its packages or
//! from a version manager, is shown to functions as `/var/lang`, and Lamplight's own runtime
//! client as `/var/runtime`. A Java is run with AWS's own client, once that was installed. A runtime
//! that was installed as an image brings everything itself.
//!
//! Invariants: a runtime is served by the version in its identifier and by no other, unless the
//! configuration names an interpreter for it. Everything offered has answered once. The
//! configuration comes first, then what was installed, then what was found.
//!
//! Absences: nothing is downloaded here; dotnet and ruby run from images only. All accounts share an interpreter's files, and so its pages in memory: giving each account a copy
//! is for whoever needs that wall.

mod clients;
mod finding;
mod installed;
mod interpreter;
mod missing;
mod plan;
mod probe;
mod remembered;
mod search;

#[cfg(test)]
mod tests;

pub use clients::{Client, ClientError, install_clients};
pub use finding::Finding;
pub use installed::{InstallError, Installed, Installer, Record};
pub use interpreter::{Interpreter, Version};
pub use missing::MissingRuntime;
pub use plan::{BOOTSTRAPS, Root, RuntimePlan, Wanted};

use installed::What;
use lamplight_model::{Language, Runtime};
use remembered::Remembered;
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
    installed: Installed,
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
    /// wins. What is in the file `remembered` from an earlier run is not asked again. Takes about as
    /// long as the slowest interpreter takes to start; never fails, for a machine without any can
    /// still run `provided` runtimes.
    pub async fn discover(explicit: &BTreeMap<String, PathBuf>, remembered: Option<&Path>) -> Self {
        Self::discover_in(Places::of_this_user(), explicit, remembered).await
    }

    async fn discover_in(
        places: Places,
        explicit: &BTreeMap<String, PathBuf>,
        remembered: Option<&Path>,
    ) -> Self {
        let searched = tokio::task::spawn_blocking(move || search::candidates(&places)).await;
        let candidates = searched.unwrap_or_default();
        let named: Vec<(String, Option<Candidate>)> = explicit
            .iter()
            .map(|(identifier, path)| (identifier.clone(), search::named(identifier, path)))
            .collect();
        let asked = named.iter().filter_map(|(_, candidate)| candidate.clone());
        let asked: Vec<Candidate> = candidates.iter().cloned().chain(asked).collect();
        let earlier = remembered.map(Remembered::read).unwrap_or_default();
        let (mut answers, remarks) = probe::ask_all(asked, PATIENCE, &earlier).await;
        if let Some(file) = remembered {
            earlier.replace(file, remarks);
        }

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
        Self { found, explicit, installed: Installed::default() }
    }

    /// With what is installed in the data directory beside it, at any time.
    pub fn with_installed(self, installed: Installed) -> Self {
        Self { installed, ..self }
    }

    /// How to run a function whose `Runtime` is `identifier`. The error is for users.
    pub fn find(&self, identifier: &str) -> Result<RuntimePlan, MissingRuntime> {
        let name = || identifier.to_owned();
        let runtime = Runtime::parse(identifier).ok_or_else(|| MissingRuntime::Unknown(name()))?;
        let broken = |problem| MissingRuntime::Broken { identifier: name(), problem };
        match self.explicit.get(identifier) {
            Some(Ok(interpreter)) => return self.on_host(identifier, interpreter),
            Some(Err(problem)) => return Err(broken(problem.clone())),
            None => {}
        }
        let root = self.root(identifier).map_err(broken)?;
        match (runtime.language, root) {
            (Language::Provided, root) => Ok(RuntimePlan::provided(root)),
            (_, Some(root)) => Ok(RuntimePlan::image(identifier, root)),
            (Language::Python | Language::Node | Language::Java, None) => {
                match self.found.iter().find(|interpreter| interpreter.serves(&runtime)) {
                    Some(interpreter) => self.on_host(identifier, interpreter),
                    None => Err(MissingRuntime::not_installed(identifier, &runtime, &self.found)),
                }
            }
            (Language::Ruby | Language::Dotnet, None) => Err(MissingRuntime::ImageOnly(name())),
            (Language::Go | Language::Custom, None) => Err(MissingRuntime::Unsupported(name())),
        }
    }

    /// The root that is installed for an identifier.
    fn root(&self, identifier: &str) -> Result<Option<Root>, String> {
        let Some(record) = self.installed.find(identifier)? else { return Ok(None) };
        let path = self.installed.files(&record.what);
        Ok(match (record.what, path) {
            (What::Image(image), Some(path)) => Some(Root { path, config: image.config }),
            _ => None,
        })
    }

    fn on_host(
        &self,
        identifier: &str,
        interpreter: &Interpreter,
    ) -> Result<RuntimePlan, MissingRuntime> {
        if interpreter.language != Language::Java {
            return Ok(RuntimePlan::managed(identifier, interpreter));
        }
        let name = || identifier.to_owned();
        let record = self.installed.find(identifier);
        let record =
            record.map_err(|problem| MissingRuntime::Broken { identifier: name(), problem })?;
        let files = record.as_ref().and_then(|record| self.installed.files(&record.what));
        match (record.map(|record| record.what), files) {
            (Some(What::Jars(jars)), Some(files)) => {
                Ok(RuntimePlan::java(identifier, interpreter, (&jars, files)))
            }
            _ => {
                let java = format!("Java {}", interpreter.version);
                Err(MissingRuntime::NoClient { identifier: name(), java })
            }
        }
    }

    /// What runs functions of an identifier, in a few words.
    pub fn describe(&self, identifier: &str) -> Result<String, MissingRuntime> {
        let plan = self.find(identifier)?;
        let installed = self.installed.find(identifier).ok().flatten();
        let installed = installed.map(|record| record.describe());
        Ok(match (plan.interpreter(), installed) {
            (Some(binary), None) => plan.name_version(binary),
            (Some(binary), Some(client)) => format!("{} and {client}", plan.name_version(binary)),
            (None, Some(image)) => image,
            (None, None) => "the function's own bootstrap".to_owned(),
        })
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

    /// Everything installed, by identifier; see [`Installed::all`].
    pub fn installed(&self) -> Vec<(String, Result<Record, String>)> {
        self.installed.all()
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
