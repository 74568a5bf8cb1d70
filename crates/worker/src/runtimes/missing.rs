//! What users are told when this machine cannot run a runtime.

use super::interpreter::{Interpreter, name};
use lamplight_model::{Language, Runtime};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MissingRuntime {
    #[error("{0:?} is no runtime that Lamplight knows")]
    Unknown(String),
    #[error(
        "{0} functions run from an installed image only, and none is installed: `lamplight runtime \
         install {0} --from REGISTRY/IMAGE` takes one that is made like AWS's base images"
    )]
    ImageOnly(String),
    #[error("Lamplight does not run {0} functions")]
    Unsupported(String),
    #[error("what is configured or installed for {identifier} cannot be used: {problem}")]
    Broken { identifier: String, problem: String },
    #[error(
        "{identifier} needs {wanted}, which this machine does not have ({found}). Install it \
         {how}, or name its path for {identifier} in the configuration; then restart the server. \
         Or `lamplight runtime install {identifier} --from REGISTRY/IMAGE`"
    )]
    NotInstalled { identifier: String, wanted: String, found: String, how: String },
    #[error(
        "{identifier} has a Java ({java}) but not AWS's client for it: `lamplight runtime install \
         {identifier} --jars DIRECTORY` takes it, and docs/runtimes.md says where it is from"
    )]
    NoClient { identifier: String, java: String },
}

impl MissingRuntime {
    pub(super) fn not_installed(identifier: &str, runtime: &Runtime, all: &[Interpreter]) -> Self {
        let language = name(runtime.language);
        let version = Interpreter::wanted(runtime);
        let found: Vec<String> = all
            .iter()
            .filter(|interpreter| interpreter.language == runtime.language)
            .map(|found| found.version.to_string())
            .collect();
        let found = match found.as_slice() {
            [] => format!("no {language} was found"),
            found => format!("found: {}", found.join(", ")),
        };
        let how = match runtime.language {
            Language::Node => format!(
                "with the system's package manager (apt install nodejs, where that is {version}) \
                 or a version manager (nvm install {version})"
            ),
            Language::Java => format!(
                "with the system's package manager (apt install openjdk-{version}-jre-headless) \
                 or a version manager (sdk install java)"
            ),
            _ => format!(
                "with the system's package manager (apt install python{version}) or a version \
                 manager (uv python install {version}, pyenv install {version})"
            ),
        };
        let (identifier, wanted) = (identifier.to_owned(), format!("{language} {version}"));
        Self::NotInstalled { identifier, wanted, found, how }
    }

    /// The same for a line in a list.
    pub fn in_short(&self) -> String {
        match self {
            Self::Unknown(_) | Self::Unsupported(_) => "not supported".to_owned(),
            Self::ImageOnly(_) => "no image is installed".to_owned(),
            Self::Broken { problem, .. } => format!("cannot be used: {problem}"),
            Self::NotInstalled { wanted, .. } => format!("there is no {wanted} here"),
            Self::NoClient { java, .. } => format!("{java} is here, its client is not"),
        }
    }
}
