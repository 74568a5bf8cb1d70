//! Good archives, hostile archives, the cache, and random damage.

mod archive;
mod cache;
mod fuzz;
mod good;
mod hostile;
mod image;
mod links;
mod merge;
mod removal;

use super::error::UnzipError;
use super::limits::Limits;
use super::unzip::{Contents, unzip};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Small, so that tests of them are quick.
const LIMITS: Limits = Limits { entries: 500, bytes: 1_000_000, cpu: Duration::from_secs(30) };

/// A directory with an empty `task` in it, and whatever escaped beside that.
struct Yard {
    dir: tempfile::TempDir,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Far enough down that a few `..` still end inside.
        fs::create_dir_all(dir.path().join("a/b/c/task")).unwrap();
        Self { dir }
    }

    fn task(&self) -> std::path::PathBuf {
        self.dir.path().join("a/b/c/task")
    }

    fn unzip(&self, bytes: &[u8], limits: &Limits) -> Result<Contents, UnzipError> {
        let mut file = tempfile::tempfile_in(self.dir.path()).unwrap();
        file.write_all(bytes).unwrap();
        unzip(&file, &self.task(), limits)
    }

    /// Everything outside `task`, which is nothing but the way to it.
    fn escaped(&self) -> Vec<String> {
        let all = listing(self.dir.path());
        let known = ["a", "a/b", "a/b/c", "a/b/c/task"];
        all.into_keys()
            .filter(|path| !known.contains(&path.as_str()) && !path.starts_with("a/b/c/task/"))
            .collect()
    }
}

/// Path, mode and content (or target, or nothing) of all below `root`.
fn listing(root: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                todo.push(path.clone());
                Vec::new()
            };
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.insert(name, (meta.permissions().mode() & 0o7777, content));
        }
    }
    found
}

/// The archive is the uploader's fault; returns why.
fn refused(bytes: &[u8]) -> String {
    let yard = Yard::new();
    let error = yard.unzip(bytes, &LIMITS).unwrap_err();
    assert_eq!(yard.escaped(), [""; 0]);
    assert!(
        matches!(error, UnzipError::Malformed(_) | UnzipError::Entry { .. }),
        "{error} is no refusal"
    );
    error.to_string()
}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.join(name);
    File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}
