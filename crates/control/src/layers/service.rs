//! Layers as others see them: check, store, commit, then show.

use super::index::Index;
use super::tables::{self, Last};
use crate::catalog::locks::Locks;
use crate::catalog::{FunctionCatalog, of_store};
use async_trait::async_trait;
use lamplight_env::Env;
use lamplight_model::{LayerArn, LayerVersion, LayerVersionArn, Scope};
use lamplight_rpc::{CatalogError, LayerFilter, LayerUpload, Layers, PublishedLayer};
use lamplight_store::{Meta, Op, StoreError};
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// See the module.
pub struct StoredLayers {
    core: Arc<Core>,
}

struct Core {
    meta: Arc<dyn Meta>,
    env: Env,
    /// Keeps the zip files.
    catalog: Arc<FunctionCatalog>,
    index: RwLock<Index>,
    /// A layer that is being changed.
    layers: Locks<LayerArn>,
}

impl StoredLayers {
    /// Reads all layers and tells the catalog of them. To be done before the catalog is started,
    /// which would remove zip files that it has not heard of.
    pub async fn load(
        meta: Arc<dyn Meta>,
        catalog: Arc<FunctionCatalog>,
        env: Env,
    ) -> Result<Self, String> {
        let index = tables::load(&*meta).await?;
        for (arn, version) in index.all() {
            catalog.add_layer(&arn.scope, &version.code);
        }
        let index = RwLock::new(index);
        Ok(Self { core: Arc::new(Core { meta, env, catalog, index, layers: Locks::default() }) })
    }

    /// Runs a change to its end, also when the caller goes away.
    async fn change<T, F>(&self, change: impl FnOnce(Arc<Core>) -> F) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CatalogError>> + Send + 'static,
    {
        let task = self.core.env.tasks.spawn(change(Arc::clone(&self.core)));
        task.await.unwrap_or_else(|error| Err(CatalogError::Unavailable(error.to_string())))
    }
}

impl Core {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(
        &self,
        layer: LayerArn,
        upload: LayerUpload,
    ) -> Result<PublishedLayer, CatalogError> {
        tables::last_key(&layer).map_err(of_store)?;
        let _one_at_a_time = self.layers.lock(&layer).await;
        let mut stored = self.catalog.store_layer(&layer.scope, upload.zip).await?;
        stored.code.origin = upload.origin;
        let (last, rev) = self.index().last(&layer).unzip();
        let arn = layer.version(last.unwrap_or(0) + 1);
        let version = LayerVersion {
            format: LayerVersion::FORMAT,
            description: upload.description,
            code: stored.code.clone(),
            unzipped: stored.unzipped,
            created: self.env.clock.now().millis(),
            runtimes: upload.runtimes,
            architectures: upload.architectures,
            license: upload.license,
        };
        let last_key = tables::last_key(&layer).map_err(of_store)?;
        let ops = vec![
            Op::Expect(last_key.clone(), rev),
            Op::Put(tables::version_key(&arn).map_err(of_store)?, version.to_bytes().into()),
            // Last, because the transaction answers with the revision of its last change.
            Op::Put(last_key, Last::new(arn.version).to_bytes().into()),
        ];
        let last_rev = match self.meta.txn(ops).await {
            Ok(rev) => rev,
            Err(error) => {
                // After a failed write nobody knows whether it was written: the next start will.
                if !matches!(error, StoreError::Failed(_)) {
                    self.catalog.discard_layer(stored).await;
                }
                return Err(of_store(error));
            }
        };
        let mut index = self.index_mut();
        index.set_last(&layer, arn.version, last_rev);
        let version = index.insert(&arn, version);
        self.catalog.add_layer(&layer.scope, &version.code);
        Ok(PublishedLayer { arn, version })
    }

    async fn delete(&self, arn: LayerVersionArn) -> Result<(), CatalogError> {
        let _one_at_a_time = self.layers.lock(&arn.layer).await;
        let Some(version) = self.index().get(&arn).cloned() else { return Ok(()) };
        let key = tables::version_key(&arn).map_err(of_store)?;
        self.meta.txn(vec![Op::Delete(key)]).await.map_err(of_store)?;
        self.index_mut().remove(&arn);
        self.catalog.remove_layer(&arn.layer.scope, &version.code);
        Ok(())
    }
}

#[async_trait]
impl Layers for StoredLayers {
    async fn publish(
        &self,
        layer: &LayerArn,
        upload: LayerUpload,
    ) -> Result<PublishedLayer, CatalogError> {
        let layer = layer.clone();
        self.change(|core| async move { core.publish(layer, upload).await }).await
    }

    fn get(&self, arn: &LayerVersionArn) -> Option<PublishedLayer> {
        let version = self.core.index().get(arn).cloned()?;
        Some(PublishedLayer { arn: arn.clone(), version })
    }

    fn versions(
        &self,
        layer: &LayerArn,
        filter: &LayerFilter,
        before: Option<u64>,
        max: usize,
    ) -> Vec<PublishedLayer> {
        self.core.index().versions(layer, filter, before, max)
    }

    fn latest(
        &self,
        scope: &Scope,
        filter: &LayerFilter,
        after: Option<&str>,
        max: usize,
    ) -> Vec<PublishedLayer> {
        self.core.index().latest(scope, filter, after, max)
    }

    async fn delete(&self, arn: &LayerVersionArn) -> Result<(), CatalogError> {
        let arn = arn.clone();
        self.change(|core| async move { core.delete(arn).await }).await
    }
}
