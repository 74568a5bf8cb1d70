//! Layers as the frontend sees them.

use crate::CatalogError;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_model::{LayerArn, LayerVersion, LayerVersionArn, Origin, Scope};
use std::sync::Arc;

/// What a new version is made of.
#[derive(Debug, Clone, Default)]
pub struct LayerUpload {
    pub zip: Bytes,
    /// Where it came from, to be kept.
    pub origin: Option<Origin>,
    pub description: String,
    pub runtimes: Option<Vec<String>>,
    pub architectures: Option<Vec<String>>,
    pub license: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PublishedLayer {
    pub arn: LayerVersionArn,
    pub version: Arc<LayerVersion>,
}

/// Which versions a listing is about.
#[derive(Debug, Clone, Default)]
pub struct LayerFilter {
    pub runtime: Option<String>,
    pub architecture: Option<String>,
}

impl LayerFilter {
    /// AWS: a version that says nothing of what it fits is not listed for anything in particular.
    pub fn matches(&self, version: &LayerVersion) -> bool {
        let fits = |wanted: &Option<String>, offered: &Option<Vec<String>>| {
            let Some(wanted) = wanted else { return true };
            offered.iter().flatten().any(|one| one == wanted)
        };
        fits(&self.runtime, &version.runtimes) && fits(&self.architecture, &version.architectures)
    }
}

/// Layer versions. Reads come from memory; writes are durable when they return.
#[async_trait]
pub trait Layers: Send + Sync {
    async fn publish(
        &self,
        layer: &LayerArn,
        upload: LayerUpload,
    ) -> Result<PublishedLayer, CatalogError>;

    fn get(&self, arn: &LayerVersionArn) -> Option<PublishedLayer>;

    /// Versions of a layer, newest first, those below `before`.
    fn versions(
        &self,
        layer: &LayerArn,
        filter: &LayerFilter,
        before: Option<u64>,
        max: usize,
    ) -> Vec<PublishedLayer>;

    /// The newest matching version of each layer, by name, those after `after`.
    fn latest(
        &self,
        scope: &Scope,
        filter: &LayerFilter,
        after: Option<&str>,
        max: usize,
    ) -> Vec<PublishedLayer>;

    /// Of an absent version: no change.
    async fn delete(&self, arn: &LayerVersionArn) -> Result<(), CatalogError>;
}
