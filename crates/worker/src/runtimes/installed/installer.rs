//! Installing and removing. One at a time: the directory is locked meanwhile.
//!
//! Everything here blocks, but for the unpacking of images.

use super::record::{Image, Jars, Record, What};
use super::{Installed, JARS, ROOTS, is_plain};
use crate::code::{CodeCache, CodeError};
use crate::runtimes::plan::IMAGE_BOOTSTRAP;
use lamplight_env::hex;
use lamplight_rpc::PrepareError;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What a function in Java needs of AWS's: how the names of the files begin. What else is in the
/// directory is taken along, for what these need changes with their versions.
pub const JAVA_CLIENT: [&str; 3] = [
    "aws-lambda-java-runtime-interface-client",
    "aws-lambda-java-core",
    "aws-lambda-java-serialization",
];

/// The largest jar that is taken, bytes, and how many.
const JAR: u64 = 64 * 1024 * 1024;
const JARS_AT_MOST: usize = 32;

#[derive(Debug, Error)]
pub enum InstallError {
    #[error("{0:?} cannot be the name of a runtime")]
    Name(String),
    #[error("another lamplight is installing runtimes in {0}; wait for it")]
    Busy(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the image cannot be unpacked: {0}")]
    Cache(#[from] CodeError),
    #[error("the image cannot be unpacked: {0:?}")]
    Unpack(PrepareError),
    #[error("the image has neither /var/runtime/bootstrap nor an entry point: it is no runtime")]
    NoRuntime,
    #[error(
        "{0} has {1} files called {2}-VERSION.jar, and exactly one is needed: the official runtime \
         interface client for Java and what it depends on"
    )]
    Jar(PathBuf, usize, &'static str),
    #[error("{0} has more or larger jars than that client is made of")]
    TooMuch(PathBuf),
}

/// The right to change what is installed.
pub struct Installer {
    installed: Installed,
    dir: PathBuf,
    /// The kernel drops it with the process, however that ends.
    _lock: File,
}

impl Installer {
    /// Makes the directory where there is none.
    pub fn open(dir: &Path) -> Result<Self, InstallError> {
        let at = |path: &Path| failed(path.to_owned());
        for dir in [dir.to_owned(), dir.join(ROOTS), dir.join(JARS)] {
            DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(at(&dir))?;
        }
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&path).map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(InstallError::Busy(dir.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(at(&path)(error)),
        }
        Ok(Self { installed: Installed::new(dir), dir: dir.to_owned(), _lock: lock })
    }

    /// Installs the image that `bundle` holds, in place of what was there.
    pub async fn image(
        &self,
        identifier: &str,
        (name, resolved): (&str, &str),
        bundle: &[u8],
    ) -> Result<Record, InstallError> {
        check(identifier)?;
        let digest = hex(&Sha256::digest(bundle));
        let pulled = self.dir.join("pulled");
        fs::write(&pulled, bundle).map_err(failed(pulled.clone()))?;
        let cache = CodeCache::open(&self.dir.join(ROOTS).join(&digest))?;
        let prepared = cache.prepare(&digest, &pulled).await;
        let _ = fs::remove_file(&pulled);
        prepared.map_err(InstallError::Unpack)?;
        let config = cache.image(&digest).ok_or(InstallError::NoRuntime)?;
        let root = cache.unpacked(&digest).ok_or(InstallError::NoRuntime)?;
        let bootstrap = root.join(IMAGE_BOOTSTRAP.trim_start_matches('/'));
        if config.entry_point.is_empty()
            && !identifier.starts_with("provided")
            && fs::symlink_metadata(bootstrap).is_err()
        {
            return Err(InstallError::NoRuntime);
        }
        // A record is a promise: what it names outlives the machine.
        cache.close().await;
        let (name, resolved) = (name.to_owned(), resolved.to_owned());
        let image = Image { name, resolved, root: digest, config };
        self.keep(identifier, Record::new(What::Image(image)))
    }

    /// Installs the client for Java whose jars are in `from`, in place of what was there.
    pub fn jars(&self, identifier: &str, from: &Path) -> Result<Record, InstallError> {
        check(identifier)?;
        let chosen = jars(from)?;
        let (mut files, mut digests) = (Vec::new(), BTreeMap::new());
        let mut contents = Vec::new();
        for path in &chosen {
            let content = fs::read(path).map_err(failed(path.clone()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            digests.insert(name.clone(), hex(&Sha256::digest(&content)));
            files.push(name);
            contents.push(content);
        }
        let directory = hex(&Sha256::digest(format!("{digests:?}")));
        let dir = self.dir.join(JARS).join(&directory);
        let new = self.dir.join(JARS).join(".new");
        let write = || -> io::Result<()> {
            remove(&new)?;
            DirBuilder::new().mode(0o755).create(&new)?;
            for (name, content) in files.iter().zip(&contents) {
                // Functions run as a user of their own.
                write_file(&new.join(name), content, 0o644)?;
            }
            File::open(&new)?.sync_all()?;
            fs::rename(&new, &dir)?;
            File::open(self.dir.join(JARS))?.sync_all()
        };
        if !dir.is_dir() {
            write().map_err(failed(dir.clone()))?;
        }
        self.keep(identifier, Record::new(What::Jars(Jars { directory, files, digests })))
    }

    /// Whether there was something to remove. Its files stay until [`Installer::sweep`].
    pub fn remove(&self, identifier: &str) -> Result<bool, InstallError> {
        let Some(path) = self.installed.path(identifier) else { return Ok(false) };
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(path)(error)),
        }
    }

    /// Removes the files that no record names. Environments may run on them: the caller knows that
    /// there are none.
    pub fn sweep(&self) -> Result<(), InstallError> {
        let mut used = BTreeSet::new();
        for (_, record) in self.installed.all() {
            match record.map(|record| record.what) {
                Ok(What::Image(image)) => used.insert(image.root),
                Ok(What::Jars(jars)) => used.insert(jars.directory),
                // Nobody knows what it names.
                Err(_) => return Ok(()),
            };
        }
        for dir in [self.dir.join(ROOTS), self.dir.join(JARS)] {
            for name in names(&dir)?.difference(&used) {
                // Out of its place at once: half a tree must not be taken for a whole one.
                let gone = dir.join(format!(".gone-{}", name.trim_start_matches(".gone-")));
                let clear = fs::rename(dir.join(name), &gone).and_then(|()| remove(&gone));
                clear.map_err(failed(gone))?;
            }
        }
        Ok(())
    }

    fn keep(&self, identifier: &str, record: Record) -> Result<Record, InstallError> {
        let path = self.dir.join(format!("{identifier}.json"));
        let new = self.dir.join(format!("{identifier}.new"));
        let write = || -> io::Result<()> {
            write_file(&new, &record.to_bytes(), 0o644)?;
            fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(failed(path.clone()))?;
        Ok(record)
    }
}

fn check(identifier: &str) -> Result<(), InstallError> {
    match is_plain(identifier) {
        true => Ok(()),
        false => Err(InstallError::Name(identifier.to_owned())),
    }
}

/// The jars in a directory, those of the client first.
fn jars(dir: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut others: Vec<String> = names(dir)?.into_iter().filter(|name| is_jar(name)).collect();
    let mut chosen = Vec::new();
    for stem in JAVA_CLIENT {
        let (own, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|name| is_of(name, stem));
        if own.len() != 1 {
            return Err(InstallError::Jar(dir.to_owned(), own.len(), stem));
        }
        chosen.extend(own);
        others = rest;
    }
    chosen.extend(others);
    if chosen.len() > JARS_AT_MOST {
        return Err(InstallError::TooMuch(dir.to_owned()));
    }
    let path = |name: String| {
        let path = dir.join(name);
        let size = fs::metadata(&path).map_err(failed(path.clone()))?.len();
        if size > JAR { Err(InstallError::TooMuch(dir.to_owned())) } else { Ok(path) }
    };
    chosen.into_iter().map(path).collect()
}

/// What the class path can name, and no sources or documentation beside it.
fn is_jar(name: &str) -> bool {
    let beside = ["-sources.jar", "-javadoc.jar"];
    name.ends_with(".jar") && !name.contains(':') && !beside.iter().any(|end| name.ends_with(end))
}

/// Whether a file is called `<stem>-VERSION.jar`.
fn is_of(name: &str, stem: &str) -> bool {
    let version = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

fn names(dir: &Path) -> Result<BTreeSet<String>, InstallError> {
    let entries = fs::read_dir(dir).map_err(failed(dir.to_owned()))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> InstallError {
    move |source| InstallError::Io { path, source }
}
