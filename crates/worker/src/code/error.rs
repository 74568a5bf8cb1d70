//! What can go wrong with code, and which of it is the uploader's fault.

use lamplight_rpc::PrepareError;
use std::io;
use thiserror::Error;

/// Why a zip file was not unpacked.
#[derive(Debug, Error)]
pub(super) enum UnzipError {
    #[error("not a readable zip file: {0}")]
    Malformed(&'static str),
    #[error("entry {name:?} {reason}")]
    Entry { name: String, reason: &'static str },
    #[error("it unpacks to more than the limit")]
    TooLarge,
    #[error("unpacking took more processor time than the limit")]
    TooSlow,
    #[error("reading the zip file: {0}")]
    Read(io::Error),
    #[error("writing {name:?}: {source}")]
    Write { name: String, source: io::Error },
}

impl UnzipError {
    /// Names an entry in a log line: readable, and short whatever the archive says.
    pub(super) fn entry(name: &[u8], reason: &'static str) -> Self {
        Self::Entry { name: shown(name), reason }
    }

    pub(super) fn write(name: &[u8], source: io::Error) -> Self {
        Self::Write { name: shown(name), source }
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(120).collect()
}

/// A failure of the code cache.
#[derive(Debug, Error)]
pub enum CodeError {
    #[error("{0:?} is not a SHA-256 in lower-case hex")]
    Digest(String),
    #[error("{0:.80} is not unpacked")]
    NotPrepared(String),
    #[error("the server is shutting down")]
    Closed,
    #[error("opening the code cache: {0}")]
    Open(io::Error),
    #[error("clearing unfinished code: {0}")]
    Clear(io::Error),
    #[error("opening the zip file: {0}")]
    OpenZip(io::Error),
    #[error("hashing the zip file: {0}")]
    Hash(io::Error),
    #[error("the zip file's SHA-256 is {found}, not {wanted}")]
    Mismatch { wanted: String, found: String },
    #[error(transparent)]
    Unzip(UnzipRefusal),
    #[error("keeping unpacked code: {0}")]
    Keep(io::Error),
    #[error("the unpacking task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// [`UnzipError`] for readers outside this room.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct UnzipRefusal(UnzipError);

impl From<UnzipError> for CodeError {
    fn from(error: UnzipError) -> Self {
        Self::Unzip(UnzipRefusal(error))
    }
}

impl From<CodeError> for PrepareError {
    fn from(error: CodeError) -> Self {
        let text = error.to_string();
        match error {
            CodeError::Unzip(UnzipRefusal(refusal)) => match refusal {
                UnzipError::Malformed(_) | UnzipError::Entry { .. } | UnzipError::TooSlow => {
                    Self::BadZip(text)
                }
                UnzipError::TooLarge => Self::TooLarge,
                UnzipError::Read(_) | UnzipError::Write { .. } => Self::Failed(text),
            },
            _ => Self::Failed(text),
        }
    }
}
