//! Layers laid over each other: `<dir>/merged-<key>/opt` shows several unpacked zip files as one
//! tree, made of hard links to their files. The key names the files and their order.
//!
//! A path of a later layer takes the place of the same path of an earlier one; directories are
//! joined. Links are copied and never followed, so nothing is written outside the tree.
//!
//! Everything here blocks, and has one caller at a time for each key.

use super::error::CodeError;
use super::removal::remove;
use super::shelf::{Partial, Shelf};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

const MERGED: &str = "merged-";
/// Written last: a tree without it was not finished. Holds the digests, a line each.
const PARTS: &str = "parts";

/// The name of a tree of `layers`, the first at the bottom.
pub(super) fn key(layers: &[String]) -> String {
    // A digest has a fixed length, so no two lists make the same text.
    format!("{MERGED}{:x}", Sha256::digest(layers.concat()))
}

pub(super) fn is_tree(name: &str) -> bool {
    name.starts_with(MERGED)
}

impl Shelf {
    pub(super) fn is_merged(&self, key: &str) -> bool {
        self.dir().join(key).join(PARTS).exists()
    }

    /// The caller knows that all of `layers` are unpacked.
    pub(super) fn merge(&self, key: &str, layers: &[String]) -> Result<(), CodeError> {
        if self.is_merged(key) {
            return Ok(());
        }
        let partial = Partial { path: self.partial(key) };
        remove(&partial.path).map_err(CodeError::Clear)?;
        self.lay(&partial.path, layers).map_err(CodeError::Keep)?;
        let place = self.dir().join(key);
        remove(&place).map_err(CodeError::Clear)?;
        fs::rename(&partial.path, &place).map_err(CodeError::Keep)?;
        self.merged().insert(key.to_owned());
        Ok(())
    }

    fn lay(&self, partial: &Path, layers: &[String]) -> io::Result<()> {
        let opt = partial.join("opt");
        DirBuilder::new().mode(0o755).recursive(true).create(&opt)?;
        for layer in layers {
            lay_over(&opt, &self.task(layer))?;
        }
        for dir in [&opt, partial] {
            fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        }
        fs::write(partial.join(PARTS), layers.join("\n"))
    }

    /// Removes the trees that have `digest` in them, and those that were not finished.
    pub(super) fn forget_merged(&self, digest: Option<&str>) -> io::Result<()> {
        let trees: Vec<String> = self.merged().iter().cloned().collect();
        for tree in trees {
            let path = self.dir().join(&tree);
            let goes = match fs::read_to_string(path.join(PARTS)) {
                Ok(parts) => digest.is_some_and(|digest| parts.lines().any(|line| line == digest)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => digest.is_none(),
                Err(error) => return Err(error),
            };
            if goes {
                // Without its list it is no tree any more, whatever becomes of the rest.
                remove(&path.join(PARTS))?;
                remove(&path)?;
                self.merged().remove(&tree);
            }
        }
        Ok(())
    }
}

/// Puts what is in `from` into `into`. Directories wait on a list: trees may be deep.
fn lay_over(into: &Path, from: &Path) -> io::Result<()> {
    let mut rest = vec![(into.to_owned(), from.to_owned())];
    while let Some((into, from)) = rest.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (target, kind) = (into.join(entry.file_name()), entry.file_type()?);
            let there = fs::symlink_metadata(&target).ok();
            if kind.is_dir() {
                if !there.is_some_and(|there| there.is_dir()) {
                    remove(&target)?;
                    DirBuilder::new().mode(0o755).create(&target)?;
                    fs::set_permissions(&target, Permissions::from_mode(0o755))?;
                }
                rest.push((target, entry.path()));
            } else {
                remove(&target)?;
                if kind.is_symlink() {
                    std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
                } else {
                    link(&entry.path(), &target)?;
                }
            }
        }
    }
    Ok(())
}

/// A second name; a copy where a file cannot have another one.
fn link(file: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(file, name) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => fs::copy(file, name).map(drop),
        done => done,
    }
}
