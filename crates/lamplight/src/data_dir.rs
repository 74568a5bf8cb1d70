//! The data directory: where it is and what is in it.

use anyhow::{Context, Result};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The layout below the data directory. What the store keeps in it is the store's.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// `given`, or the default of this user.
    pub fn new(given: Option<PathBuf>) -> Result<Self> {
        if let Some(dir) = given {
            return Ok(Self(dir));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(Self("/var/lib/lamplight".into()));
        }
        let base = std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
        let base = base.context("there is no HOME: name a directory with --data-dir")?;
        Ok(Self(base.join("lamplight")))
    }

    /// Makes the directory, readable by this user alone, and gives its real path. Its own name is
    /// on the disk then: whatever is synced in it is of no use under a name that is lost.
    pub fn create(&self) -> Result<Self> {
        let make = || -> std::io::Result<PathBuf> {
            let there = self.0.ancestors().take_while(|path| !path.exists()).count();
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            let real = fs::canonicalize(&self.0)?;
            // Also where it was there before: a start that was cut short may have made it.
            for parent in real.ancestors().skip(1).take(there.max(1)) {
                match fs::File::open(parent).and_then(|parent| parent.sync_all()) {
                    // What somebody else keeps to themselves was not made here, and neither was
                    // what is where no name can be made or synced.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::PermissionDenied
                                | ErrorKind::InvalidInput
                                | ErrorKind::Unsupported
                                | ErrorKind::ReadOnlyFilesystem
                        ) => {}
                    synced => synced?,
                }
            }
            Ok(real)
        };
        let real = make().with_context(|| {
            format!("the data directory {} cannot be made or read", self.0.display())
        })?;
        Ok(Self(real))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Eight hex digits that tell this server's sandboxes from those of other data directories.
    pub fn instance(&self) -> String {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(self.0.as_os_str().as_encoded_bytes());
        digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Replaces a small file at once, readable by this user alone.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        let (path, new) = (self.join(name), self.join(&format!("{name}.new")));
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&new);
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The content of a small file; `None` where there is none.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        match fs::read_to_string(self.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("{} cannot be read", self.join(name).display()))
            }
        }
    }
}
