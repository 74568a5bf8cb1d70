//! What can go wrong with the files.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum LogsError {
    #[error("cannot {step} {}", path.display())]
    Io { step: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the log group {0:?} is there already")]
    GroupExists(String),
    #[error("there is no log group {0:?}")]
    NoGroup(String),
    #[error("the log stream {0:?} is there already")]
    StreamExists(String),
    #[error("there is no log stream {0:?}")]
    NoStream(String),
    #[error("files kept changing while they were read")]
    Restless,
}

/// Turns an I/O error into one that names the step and the file.
pub(super) fn at(
    step: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> LogsError {
    let path = path.into();
    move |source| LogsError::Io { step, path, source }
}
