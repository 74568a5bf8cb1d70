//! Blobs as files: `blobs/ab/abcd…`, written beside and renamed into place.
//!
//! A file under its digest is always whole: content and name were synced before anybody learnt of
//! it. What a crash left half written is in `blobs/tmp` and goes at the next open. Any error while
//! writing, a failed sync included, throws the temporary file away, so nothing is ever synced a
//! second time in the hope of better luck.

use crate::data_dir::{DataDir, sync_dir};
use crate::{Blob, Blobs, Digest, OpenError, StoreError};
use async_trait::async_trait;
use lamplight_env::Env;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub struct FileBlobs {
    inner: Arc<Inner>,
    env: Env,
}

struct Inner {
    root: PathBuf,
    temporary: PathBuf,
    /// Keeps the lock.
    _dir: Arc<DataDir>,
}

impl FileBlobs {
    pub(crate) fn open(dir: Arc<DataDir>, env: &Env) -> Result<Self, OpenError> {
        let root = dir.join("blobs");
        let temporary = root.join("tmp");
        let io = |step| {
            let path = temporary.clone();
            move |source| OpenError::Io { step, path, source }
        };
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io("sweep")(error));
            }
            _ => {}
        }
        fs::create_dir_all(&temporary).map_err(io("make"))?;
        // All that names can begin with, so that nobody who writes has to sync the root as well.
        for start in 0..=u8::MAX {
            match fs::create_dir(root.join(format!("{start:02x}"))) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(io("make")(error));
                }
                _ => {}
            }
        }
        sync_dir(dir.path()).and_then(|()| sync_dir(&root)).map_err(io("sync"))?;
        Ok(Self { inner: Arc::new(Inner { root, temporary, _dir: dir }), env: env.clone() })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        self.env
            .tasks
            .spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }
}

impl Inner {
    fn file(&self, digest: &Digest) -> PathBuf {
        let name = digest.as_str();
        self.root.join(name.get(..2).unwrap_or(name)).join(name)
    }

    fn put(&self, blob: &Blob, temporary: &Path) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(blob.bytes())?;
        file.sync_all()?;
        let target = self.file(blob.digest());
        fs::rename(temporary, &target)?;
        sync_dir(target.parent().unwrap_or(&self.root))
    }
}

fn unavailable(step: &str, error: &io::Error) -> StoreError {
    StoreError::Unavailable(match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "no space left on the disk".to_owned(),
        _ => format!("cannot {step}: {error}"),
    })
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn put(&self, blob: Blob) -> Result<(), StoreError> {
        let temporary = self.inner.temporary.join(self.env.random.hex(16));
        self.blocking(move |inner| {
            inner.put(&blob, &temporary).map_err(|error| {
                let _ = fs::remove_file(&temporary);
                unavailable("write a blob", &error)
            })
        })
        .await
    }

    async fn path(&self, digest: &Digest, len: u64) -> Result<PathBuf, StoreError> {
        let digest = digest.clone();
        self.blocking(move |inner| {
            let path = inner.file(&digest);
            match fs::metadata(&path) {
                Ok(meta) if meta.is_file() && meta.len() == len => Ok(path),
                Ok(meta) => Err(StoreError::Damaged {
                    what: format!("blob {digest}"),
                    detail: format!("{} bytes instead of {len}", meta.len()),
                }),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Err(StoreError::NoBlob(digest.to_string()))
                }
                Err(error) => Err(unavailable("look at a blob", &error)),
            }
        })
        .await
    }

    async fn delete(&self, digest: &Digest) -> Result<(), StoreError> {
        let digest = digest.clone();
        self.blocking(move |inner| match fs::remove_file(inner.file(&digest)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(unavailable("delete a blob", &error))
            }
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Digest>, StoreError> {
        self.blocking(|inner| {
            let read = |path: &Path| fs::read_dir(path)?.collect::<io::Result<Vec<_>>>();
            let listed = (|| {
                let mut found = Vec::new();
                for directory in read(&inner.root)? {
                    if directory.path() == inner.temporary || !directory.file_type()?.is_dir() {
                        continue;
                    }
                    let names = read(&directory.path())?;
                    found.extend(
                        names.iter().filter_map(|e| Digest::parse(e.file_name().to_str()?)),
                    );
                }
                Ok::<_, io::Error>(found)
            })();
            listed.map_err(|error| unavailable("list blobs", &error))
        })
        .await
    }
}
