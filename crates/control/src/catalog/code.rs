//! The zip files of functions and layers: stored, unpacked, kept while they are needed.
//!
//! Invariant: who stores code holds its gate until a record names it, so that nobody removes it in
//! between. Removing takes the same gate.

use super::changes::copies;
use super::error::{of_prepare, of_store};
use super::service::{Core, FunctionCatalog};
use super::snapshot::Function;
use super::versions::Write;
use bytes::Bytes;
use lamplight_model::{
    CodeRef, FunctionArn, FunctionRecord, LayerRef, MAGIC, PackageType, Scope, limits,
};
use lamplight_rpc::{CatalogError, PrepareError};
use lamplight_store::{Blob, Digest, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Code that is in the store and unpacked; the gate keeps it there until a record names it.
pub(crate) struct Stored {
    pub code: CodeRef,
    /// Bytes.
    pub unzipped: u64,
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

    /// Removes code that nobody uses. The caller holds its gate.
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

    /// Checks, stores and unpacks code of a kind that is to run with `layers`. What nobody uses
    /// is gone again after an error.
    pub async fn store_code(
        &self,
        zip: Bytes,
        (kind, layers): (PackageType, &[LayerRef]),
    ) -> Result<Stored, CatalogError> {
        check_kind(&zip, kind)?;
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
            let prepared = worker.prepare(&digest, &path).await.map_err(|error| {
                tracing::info!(digest, ?error, "code is refused");
                of_prepare(error)
            })?;
            // Images have a limit of their own, which unpacking minds.
            if kind == PackageType::Zip {
                check_unzipped(prepared.unzipped, layers)?;
            }
            Ok(prepared.unzipped)
        };
        match prepared.await {
            Ok(unzipped) => {
                let unpacked = if kind == PackageType::Image { unzipped } else { 0 };
                let code = CodeRef { digest, size, origin: None, unpacked };
                Ok(Stored { code, unzipped, _gate: gate })
            }
            Err(error) => {
                self.discard(&digest).await;
                Err(error)
            }
        }
    }

    /// Only when an image is unpacked, it shows what it costs. Gone again after an error.
    pub async fn check_image(
        &self,
        scope: &Scope,
        stored: &Stored,
        (publish, less): (bool, u64),
    ) -> Result<(), CatalogError> {
        if stored.code.unpacked == 0 {
            return Ok(());
        }
        let checked = self.check_storage(scope, copies(publish, stored.code.charged()), less);
        if checked.is_err() {
            self.discard(&stored.code.digest).await;
        }
        checked
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
        for package in old.record.packages() {
            self.suspect_code(package, old.target.timeout);
        }
    }

    /// `timeout` is how long a call that began just now may go on using it.
    pub fn suspect_code(&self, code: &CodeRef, timeout: Duration) {
        if self.snapshot().uses(&code.digest) {
            return;
        }
        let now = self.env().clock.instant();
        self.suspects().add(&code.digest, code.size, timeout, now);
        self.nudge();
    }

    /// Keeps the code of layers from being removed until a record names them.
    pub fn hold<'a>(&'a self, layers: &'a [LayerRef]) -> Result<Held<'a>, CatalogError> {
        let mut held = Held { core: self, layers: &[] };
        for (count, layer) in layers.iter().enumerate() {
            // Claimed before it is looked for: a removal looks for claims last.
            let used = self.snapshot_mut().claim(&layer.code);
            held.layers = layers.get(..=count).unwrap_or_default();
            if !used && !self.suspects().contains(&layer.code.digest) {
                return Err(no_layer(&layer.arn));
            }
        }
        Ok(held)
    }

    /// How much space code that is used takes unpacked.
    pub async fn unzipped(&self, code: &CodeRef) -> Result<u64, CatalogError> {
        let _gate = self.codes.lock(&code.digest).await;
        let path = self.zip(&code.digest).await.map_err(of_store)?;
        let prepared = self.parts.worker.prepare(&code.digest, &path).await;
        Ok(prepared.map_err(of_prepare)?.unzipped)
    }

    pub fn check_storage(&self, scope: &Scope, more: u64, less: u64) -> Result<(), CatalogError> {
        let used = self.snapshot().usage(scope).code_size.saturating_sub(less);
        match used.saturating_add(more) > limits::CODE_STORAGE {
            true => Err(CatalogError::StorageExceeded),
            false => Ok(()),
        }
    }
}

/// For the room of layers.
impl FunctionCatalog {
    /// Counts a layer version, whose zip file then stays.
    pub(crate) fn add_layer(&self, scope: &Scope, code: &CodeRef) {
        self.core().snapshot_mut().insert_layer(scope, code);
    }

    pub(crate) fn remove_layer(&self, scope: &Scope, code: &CodeRef) {
        self.core().snapshot_mut().remove_layer(scope, code);
        self.core().suspect_code(code, Duration::ZERO);
    }

    /// Stores and unpacks the zip file of a layer; it stays while the result does.
    pub(crate) async fn store_layer(
        &self,
        scope: &Scope,
        zip: Bytes,
    ) -> Result<Stored, CatalogError> {
        self.core().check_storage(scope, zip.len() as u64, 0)?;
        self.core().store_code(zip, (PackageType::Zip, &[])).await
    }

    pub(crate) async fn discard_layer(&self, stored: Stored) {
        self.core().discard(&stored.code.digest).await;
    }
}

/// See [`Core::hold`].
pub(super) struct Held<'a> {
    core: &'a Core,
    layers: &'a [LayerRef],
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut snapshot = self.core.snapshot_mut();
        for layer in self.layers {
            snapshot.release(&layer.code);
        }
    }
}

/// Before anything is unpacked: the unpacking goes by the file alone, and nobody may upload a
/// bundle that no registry has seen.
fn check_kind(package: &[u8], kind: PackageType) -> Result<(), CatalogError> {
    match package.starts_with(MAGIC) == (kind == PackageType::Image) {
        true => Ok(()),
        false => Err(of_prepare(PrepareError::BadZip("it is another kind of package".to_owned()))),
    }
}

/// AWS: layers count against the same limit as the code.
pub(super) fn check_unzipped(code: u64, layers: &[LayerRef]) -> Result<(), CatalogError> {
    let limit = limits::UNZIPPED_CODE;
    let beside = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.unzipped));
    let all = code.saturating_add(beside);
    if beside > limit {
        return Err(CatalogError::Invalid(format!(
            "Layers consume more than the available size of {limit} bytes"
        )));
    }
    if all > limit {
        return Err(CatalogError::Invalid(format!(
            "Function code combined with layers exceeds the maximum allowed size of {limit} \
             bytes. The actual size is {all} bytes."
        )));
    }
    Ok(())
}

fn no_layer(arn: &str) -> CatalogError {
    CatalogError::Invalid(format!("Layer version {arn} does not exist."))
}
