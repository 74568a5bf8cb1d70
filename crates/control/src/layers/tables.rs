//! Durable records: `layer/ACCOUNT/REGION/NAME/VERSION` holds a [`LayerVersion`] as JSON, and
//! `layer-last/ACCOUNT/REGION/NAME` the highest number that was ever given out.

use super::index::Index;
use lamplight_model::{AccountId, LayerArn, LayerVersion, LayerVersionArn, Scope};
use lamplight_store::{Entry, Key, Meta, StoreError};
use serde::{Deserialize, Serialize};

const VERSIONS: &str = "layer";
const LAST: &str = "layer-last";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Last {
    format: u32,
    pub last: u64,
}

impl Last {
    const FORMAT: u32 = 1;

    pub fn new(last: u64) -> Self {
        Self { format: Self::FORMAT, last }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain numbers serialise")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let last: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match last.format > Self::FORMAT {
            true => Err(format!("number of a newer format ({})", last.format)),
            false => Ok(last),
        }
    }
}

pub(super) fn version_key(arn: &LayerVersionArn) -> Result<Key, StoreError> {
    let LayerArn { scope, name } = &arn.layer;
    let version = arn.version.to_string();
    Ok(Key::new(&[VERSIONS, scope.account.as_str(), &scope.region, name, &version])?)
}

pub(super) fn last_key(LayerArn { scope, name }: &LayerArn) -> Result<Key, StoreError> {
    Ok(Key::new(&[LAST, scope.account.as_str(), &scope.region, name])?)
}

/// Reads all layers. One that cannot be read is named in the error.
pub(super) async fn load(meta: &dyn Meta) -> Result<Index, String> {
    let mut index = Index::default();
    for entry in entries(meta, LAST).await? {
        let last = Last::from_bytes(&entry.body).map_err(|why| wrong(&entry, &why))?;
        let (layer, _) = layer(&entry).ok_or_else(|| wrong(&entry, "its key"))?;
        index.set_last(&layer, last.last, entry.rev);
    }
    for entry in entries(meta, VERSIONS).await? {
        let version = LayerVersion::from_bytes(&entry.body).map_err(|why| wrong(&entry, &why))?;
        let named =
            layer(&entry).and_then(|(layer, rest)| Some(layer.version(rest?.parse().ok()?)));
        index.insert(&named.ok_or_else(|| wrong(&entry, "its key"))?, version);
    }
    Ok(index)
}

async fn entries(meta: &dyn Meta, kind: &str) -> Result<Vec<Entry>, String> {
    let prefix = Key::new(&[kind]).map_err(|error| error.to_string())?;
    meta.list_all(&prefix).await.map_err(|error| error.to_string())
}

fn layer(entry: &Entry) -> Option<(LayerArn, Option<String>)> {
    let mut segments = entry.key.segments().skip(1);
    let account = AccountId::new(segments.next()?)?;
    let scope = Scope { account, region: segments.next()?.into() };
    let name = segments.next()?;
    Some((LayerArn::new(&scope, name), segments.next().map(str::to_owned)))
}

fn wrong(entry: &Entry, why: &str) -> String {
    format!("the record {} cannot be understood: {why}", entry.key)
}
