//! Runtimes that somebody installed into the data directory: root file systems from container
//! images, and the client that Java needs.
//!
//! `<dir>/<identifier>.json` says what is installed for an identifier; the files are below `roots/`
//! and `jars/`, by their digests. Invariants: a record is written when everything it names is on
//! the disk. A server only reads, and reads anew whenever it asks, so what is installed beside it
//! counts from the next start of an environment on. Files that no record names stay until nobody
//! can be using them: [`Installer::sweep`].

mod installer;
mod record;

#[cfg(test)]
mod tests;

pub use installer::{InstallError, Installer};
pub use record::{Jars, Record, What};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOTS: &str = "roots";
const JARS: &str = "jars";

/// What is installed in a directory; nothing where there is no directory.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    dir: Option<PathBuf>,
}

impl Installed {
    pub fn new(dir: &Path) -> Self {
        Self { dir: Some(dir.to_owned()) }
    }

    /// What is installed for an identifier. The error is for users. Reads a small file.
    pub fn find(&self, identifier: &str) -> Result<Option<Record>, String> {
        let Some(path) = self.path(identifier) else { return Ok(None) };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let broken = |why: String| format!("{}: {why}", path.display());
        let record = Record::from_bytes(&text).map_err(broken)?;
        let files = self.files(&record.what);
        match files.is_some_and(|files| files.is_dir()) {
            true => Ok(Some(record)),
            false => Err(broken("its files are gone; install the runtime again".to_owned())),
        }
    }

    /// Everything that is installed or should be, by identifier.
    pub fn all(&self) -> Vec<(String, Result<Record, String>)> {
        let entries = self.dir.iter().filter_map(|dir| fs::read_dir(dir).ok());
        let names = entries.flatten().flatten().filter_map(|entry| {
            Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned())
        });
        let mut names: Vec<String> = names.filter(|name| is_plain(name)).collect();
        names.sort();
        let found = names.into_iter().filter_map(|name| {
            let record = self.find(&name).transpose()?;
            Some((name, record))
        });
        found.collect()
    }

    /// The root file system of an image, or the directory of jars.
    pub fn files(&self, what: &What) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        Some(match what {
            // Each in a cache of its own, so that one that is torn takes no other along.
            What::Image(image) => dir.join(ROOTS).join(&image.root).join(&image.root).join("task"),
            What::Jars(jars) => dir.join(JARS).join(&jars.directory),
        })
    }

    fn path(&self, identifier: &str) -> Option<PathBuf> {
        let dir = self.dir.as_ref().filter(|_| is_plain(identifier))?;
        Some(dir.join(format!("{identifier}.json")))
    }
}

/// Whether a name is one of a file and of nothing else.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !name.starts_with('.') && !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}
