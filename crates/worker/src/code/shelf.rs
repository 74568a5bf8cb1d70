//! The cache on disk: `<dir>/<digest>/task` is the unpacked code, `<dir>/<digest>/summary.json`
//! says that it is complete.
//!
//! Unpacking happens in `<dir>/.partial-<digest>`, which becomes `<dir>/<digest>` by a rename once
//! everything else is there, so a crash leaves either complete code or something without a summary,
//! which the next start clears away. What a power cut leaves is [`unsynced`]'s. All of it can be made
//! again from the zip file.
//!
//! Everything here blocks. Callers see to it that one digest has one caller at a time.

use super::error::CodeError;
use super::image;
use super::limits::Limits;
use super::merge;
use super::removal::remove;
use super::unsynced;
use super::unzip::unzip;
use lamplight_model::ImageConfig;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of the layout and of the rules that code was unpacked by. Another one unpacks everything anew.
const VERSION: u32 = 1;
const PARTIAL: &str = ".partial-";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    version: u32,
    /// Files, links and directories.
    pub nodes: u64,
    /// Bytes.
    pub unzipped: u64,
    /// Of a container image, whose root the directory then is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageConfig>,
}

#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    /// The trees of layers in it, so that nobody reads the whole directory for them.
    merged: Mutex<BTreeSet<String>>,
}

impl Shelf {
    /// Makes the directory where there is none, and clears what was not finished in it. A tree
    /// that cannot be cleared stays: nobody takes it for complete, and it must not keep the server
    /// from starting.
    pub(super) fn open(dir: &Path) -> Result<Self, CodeError> {
        fs::create_dir_all(dir).map_err(CodeError::Open)?;
        let dir = &fs::canonicalize(dir).map_err(CodeError::Open)?;
        let shelf = Self { dir: dir.clone(), merged: Mutex::default() };
        unsynced::begin(&shelf.dir, &unsynced::boot()).map_err(CodeError::Open)?;
        for entry in fs::read_dir(dir).map_err(CodeError::Open)? {
            let entry = entry.map_err(CodeError::Open)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let unfinished =
                name.starts_with(PARTIAL) || is_digest(&name) && shelf.summary(&name).is_none();
            if merge::is_tree(&name) {
                shelf.merged().insert(name.clone().into_owned());
            }
            if unfinished {
                let _ = remove(&entry.path()).inspect_err(|error| stays(&entry.path(), error));
            }
        }
        let _ = shelf.forget_merged(None).inspect_err(|error| stays(dir, error));
        Ok(shelf)
    }

    pub(super) fn merged(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn task(&self, digest: &str) -> PathBuf {
        self.dir.join(digest).join("task")
    }

    /// `None` where there is no complete code with this digest.
    pub(super) fn summary(&self, digest: &str) -> Option<Summary> {
        let text = fs::read(self.dir.join(digest).join("summary.json")).ok()?;
        serde_json::from_slice(&text).ok().filter(|summary: &Summary| summary.version == VERSION)
    }

    pub(super) fn unpack(&self, digest: &str, zip: &Path) -> Result<Summary, CodeError> {
        if let Some(summary) = self.summary(digest) {
            return Ok(summary);
        }
        // One descriptor from here on: what is hashed is what is unpacked, whatever becomes of
        // the name. The blob store never writes to a file again once it has its name.
        let file = File::open(zip).map_err(CodeError::OpenZip)?;
        let found = sha256(&file).map_err(CodeError::Hash)?;
        if found != digest {
            return Err(CodeError::Mismatch { wanted: digest.to_owned(), found });
        }
        let partial = Partial { path: self.partial(digest) };
        remove(&partial.path).map_err(CodeError::Clear)?;
        let task = partial.path.join("task");
        for dir in [&partial.path, &task] {
            // Closed until complete.
            DirBuilder::new().mode(0o700).create(dir).map_err(CodeError::Keep)?;
        }
        let (image, contents) = if image::is_bundle(&file).map_err(CodeError::Hash)? {
            let (config, contents) = image::unpack(&file, &task, &Limits::IMAGE)?;
            (Some(config), contents)
        } else {
            (None, unzip(&file, &task, &Limits::AWS)?)
        };
        let summary =
            Summary { version: VERSION, nodes: contents.nodes, unzipped: contents.bytes, image };
        self.keep(digest, &partial, summary).map_err(CodeError::Keep)
    }

    fn keep(&self, digest: &str, partial: &Partial, summary: Summary) -> io::Result<Summary> {
        for dir in [&partial.path.join("task"), &partial.path] {
            fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        }
        fs::write(partial.path.join("summary.json"), serde_json::to_vec(&summary)?)?;
        let place = self.dir.join(digest);
        // Whatever is there has no summary, or one of another version.
        remove(&place)?;
        fs::rename(&partial.path, &place)?;
        Ok(summary)
    }

    /// Whatever is there outlives the machine from here on, if nothing is added.
    pub(super) fn close(&self) -> io::Result<()> {
        unsynced::end(&self.dir)
    }

    /// Removes the code, and the trees that it is a layer of. It is out of its place at once, so
    /// that a half-removed tree is never taken for a complete one.
    pub(super) fn forget(&self, digest: &str) -> Result<(), CodeError> {
        self.forget_merged(Some(digest)).map_err(CodeError::Clear)?;
        let partial = self.partial(digest);
        remove(&partial).map_err(CodeError::Clear)?;
        match fs::rename(self.dir.join(digest), &partial) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(CodeError::Clear(error)),
            Ok(()) => remove(&partial).map_err(CodeError::Clear),
        }
    }

    pub(super) fn partial(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{PARTIAL}{digest}"))
    }
}

/// Unfinished code; gone when dropped, unless it was renamed to its place.
pub(super) struct Partial {
    pub path: PathBuf,
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = remove(&self.path).inspect_err(|error| stays(&self.path, error));
    }
}

fn stays(path: &Path, error: &io::Error) {
    tracing::warn!(%error, path = %path.display(), "unfinished code stays behind");
}

pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn sha256(file: &File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(buffer.get(..count).unwrap_or_default());
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}
