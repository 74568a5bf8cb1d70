//! All layers in memory. Pure.

use lamplight_model::{LayerArn, LayerVersion, LayerVersionArn, Scope};
use lamplight_rpc::{LayerFilter, PublishedLayer};
use lamplight_store::Rev;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Default)]
struct Layer {
    /// The highest number given out, and the revision of its record.
    last: Option<(u64, Rev)>,
    versions: BTreeMap<u64, Arc<LayerVersion>>,
}

#[derive(Default)]
pub(super) struct Index(BTreeMap<LayerArn, Layer>);

impl Index {
    pub fn set_last(&mut self, layer: &LayerArn, last: u64, rev: Rev) {
        self.0.entry(layer.clone()).or_default().last = Some((last, rev));
    }

    pub fn last(&self, layer: &LayerArn) -> Option<(u64, Rev)> {
        self.0.get(layer)?.last
    }

    pub fn insert(&mut self, arn: &LayerVersionArn, version: LayerVersion) -> Arc<LayerVersion> {
        let version = Arc::new(version);
        let versions = &mut self.0.entry(arn.layer.clone()).or_default().versions;
        versions.insert(arn.version, Arc::clone(&version));
        version
    }

    pub fn get(&self, arn: &LayerVersionArn) -> Option<&Arc<LayerVersion>> {
        self.0.get(&arn.layer)?.versions.get(&arn.version)
    }

    /// The layer itself stays, for its number.
    pub fn remove(&mut self, arn: &LayerVersionArn) {
        if let Some(layer) = self.0.get_mut(&arn.layer) {
            layer.versions.remove(&arn.version);
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (&LayerArn, &Arc<LayerVersion>)> {
        self.0.iter().flat_map(|(arn, layer)| layer.versions.values().map(move |v| (arn, v)))
    }

    /// Newest first, those below `before`.
    pub fn versions(
        &self,
        arn: &LayerArn,
        filter: &LayerFilter,
        before: Option<u64>,
        max: usize,
    ) -> Vec<PublishedLayer> {
        let Some(layer) = self.0.get(arn) else { return Vec::new() };
        let matching = layer.versions.range(..before.unwrap_or(u64::MAX)).rev();
        let matching = matching.filter(|(_, version)| filter.matches(version));
        matching.take(max).map(|(number, version)| published(arn, *number, version)).collect()
    }

    /// The newest matching version of each layer, by name, those after `after`.
    pub fn latest(
        &self,
        scope: &Scope,
        filter: &LayerFilter,
        after: Option<&str>,
        max: usize,
    ) -> Vec<PublishedLayer> {
        let from = match after {
            Some(name) => Bound::Excluded(LayerArn::new(scope, name)),
            // No name is empty.
            None => Bound::Included(LayerArn::new(scope, "")),
        };
        let layers = self.0.range((from, Bound::Unbounded));
        layers
            .take_while(|(arn, _)| arn.scope == *scope)
            .filter_map(|(arn, layer)| {
                let (number, version) =
                    layer.versions.iter().rev().find(|(_, version)| filter.matches(version))?;
                Some(published(arn, *number, version))
            })
            .take(max)
            .collect()
    }
}

fn published(arn: &LayerArn, number: u64, version: &Arc<LayerVersion>) -> PublishedLayer {
    PublishedLayer { arn: arn.version(number), version: Arc::clone(version) }
}
