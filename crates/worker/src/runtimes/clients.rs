//! The runtime clients: carried in the binary, written out once, shown as `/var/runtime`.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A program that speaks the Runtime API for a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    Python,
    Node,
}

/// Path below the client's directory, and content.
type Source = (&'static str, &'static str);

// `PYTHON` and `NODE`: the files below `runtimes/` in the repository.
include!(concat!(env!("OUT_DIR"), "/client_sources.rs"));

#[derive(Debug, Error)]
#[error("writing the runtime client {path}: {source}")]
pub struct ClientError {
    path: String,
    source: io::Error,
}

impl Client {
    /// The directory to show as `/var/runtime`, where [`install_clients`] was given `dir`.
    pub fn directory(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Python => "python",
            Self::Node => "nodejs",
        })
    }

    pub(super) fn sources(self) -> &'static [Source] {
        match self {
            Self::Python => PYTHON,
            Self::Node => NODE,
        }
    }
}

/// Writes the clients below `dir`, readable by everyone, before any environment starts. Files
/// with the right content stay as they are. Blocks.
pub fn install_clients(dir: &Path) -> Result<(), ClientError> {
    for client in [Client::Python, Client::Node] {
        for (path, content) in client.sources() {
            let path = client.directory(dir).join(path);
            install(&path, content)
                .map_err(|source| ClientError { path: path.display().to_string(), source })?;
        }
        for made in [dir.to_owned(), client.directory(dir)] {
            fs::set_permissions(&made, Permissions::from_mode(0o755))
                .map_err(|source| ClientError { path: made.display().to_string(), source })?;
        }
    }
    Ok(())
}

fn install(path: &Path, content: &str) -> io::Result<()> {
    let Some(dir) = path.parent() else { return Ok(()) };
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    if fs::read(path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(content.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()?;
    fs::rename(&new, path)
}
