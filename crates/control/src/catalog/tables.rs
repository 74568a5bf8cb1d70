//! Durable records, as JSON: `fn/ACCOUNT/REGION/NAME` holds `$LATEST` of a function and
//! `fn-version/ACCOUNT/REGION/NAME/NUMBER` a published version, both as a [`FunctionRecord`].
//!
//! The kind comes first, so that a start reads all records of a kind in one range.
//!
//! Invariant: no record of a version outlives that of its function.

use super::error::LoadError;
use super::snapshot::Function;
use lamplight_model::{AccountId, FunctionArn, FunctionRecord, Scope};
use lamplight_store::{Entry, Key, Meta, StoreError};

const LATEST: &str = "fn";
const VERSION: &str = "fn-version";

pub(super) fn key(arn: &FunctionArn) -> Result<Key, StoreError> {
    Ok(Key::new(&[LATEST, arn.scope.account.as_str(), &arn.scope.region, &arn.name])?)
}

/// Where a record of this version of the function is.
pub(super) fn key_of(arn: &FunctionArn, record: &FunctionRecord) -> Result<Key, StoreError> {
    let Some(published) = &record.published else { return key(arn) };
    let number = published.number.to_string();
    let (account, region) = (arn.scope.account.as_str(), &arn.scope.region);
    Ok(Key::new(&[VERSION, account, region, &arn.name, &number])?)
}

/// All of `$LATEST` first, then all published versions.
pub(super) async fn load(meta: &dyn Meta) -> Result<Vec<Function>, LoadError> {
    let mut all = Vec::new();
    for kind in [LATEST, VERSION] {
        let prefix = Key::new(&[kind]).map_err(StoreError::from)?;
        for entry in meta.list_all(&prefix).await? {
            all.push(read(&entry)?);
        }
    }
    Ok(all)
}

fn read(entry: &Entry) -> Result<Function, LoadError> {
    let wrong = |reason: String| LoadError::Record { key: entry.key.to_string(), reason };
    let segments: Vec<&str> = entry.key.segments().collect();
    let [_, account, region, name, ..] = segments[..] else {
        return Err(wrong("the key has less than four segments".to_owned()));
    };
    let account =
        AccountId::new(account).ok_or_else(|| wrong(format!("{account} is no account")))?;
    let scope = Scope { account, region: region.into() };
    let arn = FunctionArn::new(&scope, name);
    let record = FunctionRecord::from_bytes(&entry.body).map_err(wrong)?;
    match key_of(&arn, &record)? == entry.key {
        true => Ok(Function::new(arn, record, entry.rev)),
        false => Err(wrong(format!("it holds version {}", record.version()))),
    }
}
