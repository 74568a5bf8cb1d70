//! Log groups on disk: `<root>/<account>/<region>/<group>/{group.json,<day>-<number>.{seg,idx}}`.
//!
//! Synchronous: callers bring a thread that may wait for the disk. Appends are in the page cache
//! when they return and on disk after the next [`Group::sync`]; settings are on disk when a call
//! returns. Absent: a second process on the same directory, compression.

mod checkpoint;
mod contents;
mod durable;
mod error;
mod group;
mod index;
mod read;
mod record;
mod segment;
#[cfg(test)]
mod tests;

pub use contents::Batch;
pub use error::LogsError;
pub use group::{Group, StreamInfo, Which};
pub use read::{Position, Query};

use durable::{Meta, sync_dir};
use error::at;
use lamplight_model::Scope;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

type Groups = HashMap<Scope, BTreeMap<Arc<str>, Arc<Group>>>;

pub struct Store {
    root: PathBuf,
    groups: RwLock<Groups>,
    /// Held while a group comes or goes, so that disk and map change together.
    change: Mutex<()>,
    removed: AtomicU64,
}

/// Settings that a group may be made with.
#[derive(Debug, Default)]
pub struct Settings {
    pub tags: BTreeMap<String, String>,
    pub class: Option<String>,
    pub protected: bool,
}

impl Store {
    /// Opens the directory, making it where it is not there. A group whose settings cannot be read
    /// is named in the log and not served; its files stay.
    pub fn open(root: &Path) -> Result<Self, LogsError> {
        let trash = root.join(TRASH);
        fs::create_dir_all(&trash).map_err(at("create", &trash))?;
        for left in list(&trash)? {
            fs::remove_dir_all(&left).map_err(at("remove", &left))?;
        }
        let mut groups = Groups::new();
        for region in list(root)?.iter().filter(|path| **path != trash).map(|path| list(path)) {
            for dir in region?.iter().map(|path| list(path)) {
                for dir in dir? {
                    match Meta::read(&dir) {
                        Ok(Some(meta)) => {
                            let of_scope = groups.entry(meta.scope.clone()).or_default();
                            let name = meta.name.as_str().into();
                            of_scope.insert(name, Arc::new(Group::new(dir, meta)));
                        }
                        // A crash came between making the directory and its settings.
                        Ok(None) => drop(fs::remove_dir(&dir)),
                        Err(error) => tracing::error!(%error, "a log group is not served"),
                    }
                }
            }
        }
        Ok(Self {
            root: root.to_owned(),
            groups: RwLock::new(groups),
            change: Mutex::new(()),
            removed: AtomicU64::new(0),
        })
    }

    /// Fails with [`LogsError::NoGroup`].
    pub fn group(&self, scope: &Scope, name: &str) -> Result<Arc<Group>, LogsError> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let group = groups.get(scope).and_then(|of_scope| of_scope.get(name)).cloned();
        group.ok_or_else(|| LogsError::NoGroup(name.to_owned()))
    }

    /// Groups of `scope` after the name `after`, by name.
    pub fn groups(&self, scope: &Scope, after: &str) -> Vec<(Arc<str>, Arc<Group>)> {
        use std::ops::Bound;
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let of_scope = groups.get(scope).into_iter();
        let later = of_scope.flat_map(|of_scope| of_scope.range::<str, _>(range));
        later.map(|(name, group)| (name.clone(), group.clone())).collect()
    }

    /// Groups of all scopes.
    pub fn all(&self) -> Vec<Arc<Group>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.values().flat_map(|of_scope| of_scope.values().cloned()).collect()
    }

    /// Makes a group at `now` (Unix ms); on disk when this returns. Fails with
    /// [`LogsError::GroupExists`].
    pub fn create(
        &self,
        scope: &Scope,
        name: &str,
        now: i64,
        settings: Settings,
    ) -> Result<Arc<Group>, LogsError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if self.group(scope, name).is_ok() {
            return Err(LogsError::GroupExists(name.to_owned()));
        }
        let region = self.root.join(scope.account.as_str()).join(file_name(&scope.region));
        let dir = region.join(file_name(name));
        if dir.join(durable::META).exists() {
            let why = "its settings could not be read at start".to_owned();
            return Err(LogsError::Damaged { path: dir, why });
        }
        fs::create_dir_all(&dir).map_err(at("create", &dir))?;
        let mut meta = Meta::new(scope, name, now);
        meta.tags = settings.tags;
        meta.protected = settings.protected;
        if let Some(class) = settings.class {
            meta.class = class;
        }
        meta.write(&dir)?;
        for parent in region.ancestors().take(3) {
            sync_dir(parent)?;
        }
        let group = Arc::new(Group::new(dir, meta));
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.entry(scope.clone()).or_default().insert(name.into(), group.clone());
        Ok(group)
    }

    /// Deletes a group and frees its space. Fails with [`LogsError::NoGroup`].
    pub fn delete(&self, scope: &Scope, name: &str) -> Result<(), LogsError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.group(scope, name)?;
        group.close();
        let number = self.removed.fetch_add(1, Ordering::Relaxed);
        let trash = self.root.join(TRASH).join(number.to_string());
        {
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(of_scope) = groups.get_mut(scope) {
                of_scope.remove(name);
            }
        }
        // Moved first: a crash half way through the files must not leave half a group.
        fs::rename(group.dir(), &trash).map_err(at("move away", group.dir()))?;
        if let Some(parent) = group.dir().parent() {
            sync_dir(parent)?;
        }
        fs::remove_dir_all(&trash).map_err(at("remove", &trash))
    }
}

/// Beside the accounts, which are digits.
const TRASH: &str = "deleted";

fn list(dir: &Path) -> Result<Vec<PathBuf>, LogsError> {
    let entries = fs::read_dir(dir).map_err(at("list", dir))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<_> = paths.collect::<Result<_, _>>().map_err(at("list", dir))?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// A name as a file name: letters, digits, `_` and `-` stay, `/` becomes `+`, others `%XX`. What
/// would be too long for a file system ends in a hash.
fn file_name(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            b'/' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    if out.len() > 200 || out.is_empty() {
        out.truncate(150);
        out.push('~');
        for byte in Sha256::digest(name).iter().take(16) {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}
