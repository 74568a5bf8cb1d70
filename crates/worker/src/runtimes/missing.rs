//! What users are told when this machine cannot run a runtime.

use super::interpreter::{Interpreter, name};
use lamplight_model::{Language, Runtime};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MissingRuntime {
    #[error("{0:?} is no runtime that Lamplight knows")]
    Unknown(String),
    #[error(
        "Lamplight cannot run {0} functions yet. It runs python3.x and nodejsNN.x with this \
         machine's interpreters, and provided.al2023 with the function's own bootstrap"
    )]
    Unsupported(String),
    #[error(
        "the interpreter that the configuration names for {identifier} cannot be used: {problem}"
    )]
    Broken { identifier: String, problem: String },
    #[error(
        "{identifier} needs {wanted}, which this machine does not have ({found}). Install it \
         {how}, or name its path for {identifier} in the configuration; then restart the server"
    )]
    NotInstalled { identifier: String, wanted: String, found: String, how: String },
}

impl MissingRuntime {
    pub(super) fn not_installed(identifier: &str, runtime: &Runtime, all: &[Interpreter]) -> Self {
        let language = name(runtime.language);
        let version = runtime.version.trim_end_matches(".x");
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
            _ => format!(
                "with the system's package manager (apt install python{version}) or a version \
                 manager (uv python install {version}, pyenv install {version})"
            ),
        };
        let (identifier, wanted) = (identifier.to_owned(), format!("{language} {version}"));
        Self::NotInstalled { identifier, wanted, found, how }
    }
}
