//! Durable records: `fn/ACCOUNT/REGION/NAME` holds a [`FunctionRecord`] as JSON.
//!
//! The kind comes first, so that a start reads all functions in one range.

use super::error::LoadError;
use super::snapshot::Function;
use lamplight_model::{AccountId, FunctionArn, FunctionRecord, Scope};
use lamplight_store::{Entry, Key, Meta, StoreError};

const KIND: &str = "fn";

pub(super) fn key(arn: &FunctionArn) -> Result<Key, StoreError> {
    Ok(Key::new(&[KIND, arn.scope.account.as_str(), &arn.scope.region, &arn.name])?)
}

pub(super) async fn load(meta: &dyn Meta) -> Result<Vec<Function>, LoadError> {
    let prefix = Key::new(&[KIND]).map_err(StoreError::from)?;
    meta.list_all(&prefix).await?.iter().map(read).collect()
}

fn read(entry: &Entry) -> Result<Function, LoadError> {
    let wrong = |reason: String| LoadError::Record { key: entry.key.to_string(), reason };
    let segments: Vec<&str> = entry.key.segments().collect();
    let [_, account, region, name] = segments[..] else {
        return Err(wrong("the key does not have four segments".to_owned()));
    };
    let account =
        AccountId::new(account).ok_or_else(|| wrong(format!("{account} is no account")))?;
    let scope = Scope { account, region: region.into() };
    let record = FunctionRecord::from_bytes(&entry.body).map_err(wrong)?;
    Ok(Function::new(FunctionArn::new(&scope, name), record, entry.rev))
}
