//! The zip files of functions: stored, unpacked, kept while they are needed.
//!
//! Invariant: who stores code holds its gate until a record names it, so that nobody removes it in
//! between. Removing takes the same gate.

use super::error::{of_prepare, of_store};
use super::service::Core;
use super::snapshot::Function;
use super::versions::Write;
use bytes::Bytes;
use lamplight_model::{CodeRef, FunctionArn, FunctionRecord, Scope, limits};
use lamplight_rpc::CatalogError;
use lamplight_store::{Blob, Digest, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Code that is in the store and unpacked; the gate keeps it there until a record names it.
pub(super) struct Stored {
    pub code: CodeRef,
    _gate: OwnedMutexGuard<()>,
}

impl Core {
    /// The zip file of code that is in use, or was a moment ago.
    pub async fn zip(&self, digest: &str) -> Result<PathBuf, StoreError> {
        let used = self.snapshot().code_size(digest);
        let size = used.or_else(|| self.suspects().size(digest));
        match (Digest::parse(digest), size) {
            (Some(name), Some(size)) => self.parts.blobs.path(&name, size).await,
            _ => Err(StoreError::NoBlob(digest.to_owned())),
        }
    }

    /// Removes code that no function uses. The caller holds its gate.
    pub async fn discard(&self, digest: &str) {
        // Of a suspect, calls may still be running: it has its own time.
        if self.snapshot().uses(digest) || self.suspects().contains(digest) {
            return;
        }
        let Some(name) = Digest::parse(digest) else { return };
        // The file goes last: while it is there, a sweep finds what a crash left undone.
        self.parts.worker.forget(digest).await;
        if let Err(error) = self.parts.blobs.delete(&name).await {
            tracing::warn!(digest, %error, "unused code cannot be removed");
        }
    }

    /// Checks, stores and unpacks. What no function uses is gone again after an error.
    pub async fn store_code(&self, zip: Bytes) -> Result<Stored, CatalogError> {
        let size = zip.len() as u64;
        let hashed = self.env().tasks.spawn_blocking(move || Blob::new(zip)).await;
        let blob = hashed.map_err(|error| CatalogError::Unavailable(error.to_string()))?;
        let name = blob.digest().clone();
        let digest = name.to_string();
        let gate = self.codes.lock(&digest).await;
        let worker = &self.parts.worker;
        let prepared = async {
            self.parts.blobs.put(blob).await.map_err(of_store)?;
            let path = self.parts.blobs.path(&name, size).await.map_err(of_store)?;
            worker.prepare(&digest, &path).await.map_err(|error| {
                tracing::info!(digest, ?error, "code is refused");
                of_prepare(error)
            })
        };
        match prepared.await {
            Ok(_) => Ok(Stored { code: CodeRef { digest, size }, _gate: gate }),
            Err(error) => {
                self.discard(&digest).await;
                Err(error)
            }
        }
    }

    /// Makes records with new code the truth, or removes the code again.
    pub async fn commit_code(
        &self,
        arn: &FunctionArn,
        writes: Vec<Write>,
        stored: Stored,
    ) -> Result<Arc<FunctionRecord>, StoreError> {
        let committed = self.commit(arn, writes).await;
        match &committed {
            // Nobody knows whether the record was written: the next start will.
            Ok(_) | Err(StoreError::Failed(_)) => {}
            Err(_) => self.discard(&stored.code.digest).await,
        }
        committed
    }

    /// Code that `old` does not need any more goes when its calls have ended.
    pub fn suspect(&self, old: &Function) {
        let (code, now) = (&old.record.code, self.env().clock.instant());
        if self.snapshot().uses(&code.digest) {
            return;
        }
        self.suspects().add(&code.digest, code.size, old.target.timeout, now);
        self.nudge();
    }

    pub fn check_storage(&self, scope: &Scope, more: u64, less: u64) -> Result<(), CatalogError> {
        let used = self.snapshot().usage(scope).code_size.saturating_sub(less);
        match used.saturating_add(more) > limits::CODE_STORAGE {
            true => Err(CatalogError::StorageExceeded),
            false => Ok(()),
        }
    }
}

pub(super) fn check_zip(zip: &Bytes) -> Result<(), CatalogError> {
    match zip.len() > limits::ZIPPED_CODE {
        true => Err(CatalogError::Invalid(format!(
            "Zipped size must be smaller than {} bytes",
            limits::ZIPPED_CODE
        ))),
        false => Ok(()),
    }
}
