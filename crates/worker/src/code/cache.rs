//! The door of the room: async, one unpacking per digest, few at a time.

use super::error::CodeError;
use super::merge;
use super::shelf::{Shelf, Summary, is_digest};
use lamplight_model::ImageConfig;
use lamplight_rpc::{PrepareError, Prepared};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard, Semaphore};

/// Archives unpacked at a time: bounds the memory and the processors that uploads can take.
const AT_A_TIME: usize = 2;

/// Unpacked code by the SHA-256 of its zip file. Cheap to clone.
#[derive(Clone)]
pub struct CodeCache {
    shelf: Arc<Shelf>,
    /// Digests that somebody is busy with.
    gates: Arc<Mutex<HashMap<String, Weak<Gate<()>>>>>,
    room: Arc<Semaphore>,
}

impl CodeCache {
    /// Opens the cache in `dir`, made where missing. Clears what an earlier run did not finish,
    /// so `dir` must have one server at a time. Blocks.
    pub fn open(dir: &Path) -> Result<Self, CodeError> {
        Ok(Self {
            shelf: Arc::new(Shelf::open(dir)?),
            gates: Arc::default(),
            room: Arc::new(Semaphore::new(AT_A_TIME)),
        })
    }

    /// Unpacks `zip`, the file whose SHA-256 is `digest` (lower-case hex), unless that was done
    /// before. Goes on to its end when the caller goes away.
    ///
    /// Errors: [`PrepareError::BadZip`] and [`PrepareError::TooLarge`] are the archive's fault,
    /// [`PrepareError::Failed`] is the machine's: no space, no such file, another SHA-256.
    pub async fn prepare(&self, digest: &str, zip: &Path) -> Result<Prepared, PrepareError> {
        // What is there does not wait behind others' uploads.
        if let Some(summary) = self.complete(digest) {
            return Ok(prepared(&summary));
        }
        let zip = zip.to_owned();
        let work = move |shelf: &Shelf, digest: &str| shelf.unpack(digest, &zip);
        check(digest)?;
        let summary = self.alone(digest, work).await?;
        Ok(prepared(&summary))
    }

    /// The directory to show as `/var/task`, where the code was prepared. Reads one small file.
    pub fn unpacked(&self, digest: &str) -> Option<PathBuf> {
        self.complete(digest).map(|_| self.shelf.task(digest))
    }

    /// The directory to show as `/opt` for `layers`, the first at the bottom; all of them must have
    /// been prepared. Made where it is not there.
    pub async fn merged(&self, layers: &[String]) -> Result<PathBuf, CodeError> {
        for layer in layers {
            self.complete(layer).ok_or_else(|| CodeError::NotPrepared(layer.clone()))?;
        }
        match layers {
            [] => return Err(CodeError::NotPrepared("no layer".to_owned())),
            [only] => return Ok(self.shelf.task(only)),
            _ => {}
        }
        let (key, layers) = (merge::key(layers), layers.to_vec());
        let opt = self.shelf.dir().join(&key).join("opt");
        if !self.shelf.is_merged(&key) {
            self.alone(&key, move |shelf, key| shelf.merge(key, &layers)).await?;
        }
        Ok(opt)
    }

    /// What an image says of its start; `None` for other code.
    pub fn image(&self, digest: &str) -> Option<ImageConfig> {
        self.complete(digest)?.image
    }

    fn complete(&self, digest: &str) -> Option<Summary> {
        is_digest(digest).then(|| self.shelf.summary(digest)).flatten()
    }

    /// Removes the code of `digest`. Environments that still run it lose their files: the caller
    /// knows that there are none.
    pub async fn forget(&self, digest: &str) {
        let forgotten = match check(digest) {
            Ok(()) => self.alone(digest, Shelf::forget).await,
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, digest, "code could not be removed");
        }
    }

    /// Lets what is being unpacked end, takes nothing more, and sees to it that what is there
    /// outlives the machine.
    pub async fn close(&self) {
        let all = self.room.acquire_many(AT_A_TIME as u32).await;
        self.room.close();
        drop(all);
        let shelf = self.shelf.clone();
        let closed = tokio::task::spawn_blocking(move || shelf.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(%error, "the unpacked code may have to be made again");
        }
    }

    /// Runs `work` on the blocking pool, with no other work on the same digest or key beside it.
    async fn alone<T: Send + 'static>(
        &self,
        digest: &str,
        work: impl FnOnce(&Shelf, &str) -> Result<T, CodeError> + Send + 'static,
    ) -> Result<T, CodeError> {
        let gate = self.gate(digest).await;
        let room = self.room.clone().acquire_owned().await.map_err(|_| CodeError::Closed)?;
        let (shelf, digest) = (self.shelf.clone(), digest.to_owned());
        // The guards go along: a caller that is cancelled must not let another one in early.
        let task = tokio::task::spawn_blocking(move || {
            let _guards = (gate, room);
            work(&shelf, &digest)
        });
        task.await?
    }

    async fn gate(&self, digest: &str) -> OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| gate.strong_count() > 0);
            match gates.get(digest).and_then(Weak::upgrade) {
                Some(gate) => gate,
                None => {
                    let gate = Arc::new(Gate::new(()));
                    gates.insert(digest.to_owned(), Arc::downgrade(&gate));
                    gate
                }
            }
        };
        gate.lock_owned().await
    }
}

fn check(digest: &str) -> Result<(), CodeError> {
    match is_digest(digest) {
        true => Ok(()),
        false => Err(CodeError::Digest(digest.chars().take(80).collect())),
    }
}

fn prepared(summary: &Summary) -> Prepared {
    Prepared { unzipped: summary.unzipped }
}
