//! Durable records, as JSON: `fn/ACCOUNT/REGION/NAME` holds `$LATEST` of a function and
//! `fn-version/ACCOUNT/REGION/NAME/VERSION` a published version, both as a [`FunctionRecord`], and
//! `fn-alias/ACCOUNT/REGION/NAME/ALIAS` an [`AliasRecord`].
//!
//! The kind comes first, so that a start reads all records of a kind in one range.
//!
//! Invariant: no record of a version or an alias outlives that of its function.

use super::error::LoadError;
use super::snapshot::{Alias, Function};
use lamplight_model::{AccountId, AliasRecord, FunctionArn, FunctionRecord, Scope};
use lamplight_store::{Entry, Key, Meta, StoreError};

const LATEST: &str = "fn";
const VERSION: &str = "fn-version";
const ALIAS: &str = "fn-alias";

pub(super) fn key(arn: &FunctionArn) -> Result<Key, StoreError> {
    Ok(Key::new(&[LATEST, arn.scope.account.as_str(), &arn.scope.region, &arn.name])?)
}

/// Where a record of this version of the function is.
pub(super) fn key_of(arn: &FunctionArn, record: &FunctionRecord) -> Result<Key, StoreError> {
    if record.published.is_none() {
        return key(arn);
    }
    let version = record.version().to_string();
    let (account, region) = (arn.scope.account.as_str(), &arn.scope.region);
    Ok(Key::new(&[VERSION, account, region, &arn.name, &version])?)
}

pub(super) fn alias_key(arn: &FunctionArn, name: &str) -> Result<Key, StoreError> {
    let (account, region) = (arn.scope.account.as_str(), &arn.scope.region);
    Ok(Key::new(&[ALIAS, account, region, &arn.name, name])?)
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

pub(super) async fn load_aliases(meta: &dyn Meta) -> Result<Vec<(FunctionArn, Alias)>, LoadError> {
    let prefix = Key::new(&[ALIAS]).map_err(StoreError::from)?;
    meta.list_all(&prefix).await?.iter().map(read_alias).collect()
}

fn read(entry: &Entry) -> Result<Function, LoadError> {
    let arn = read_name(entry)?;
    let record = FunctionRecord::from_bytes(&entry.body).map_err(|why| wrong(entry, why))?;
    match key_of(&arn, &record)? == entry.key {
        true => Ok(Function::new(arn, record, entry.rev)),
        false => Err(wrong(entry, format!("it holds version {}", record.version()))),
    }
}

fn read_alias(entry: &Entry) -> Result<(FunctionArn, Alias), LoadError> {
    let arn = read_name(entry)?;
    let record = AliasRecord::from_bytes(&entry.body).map_err(|why| wrong(entry, why))?;
    match alias_key(&arn, &record.name)? == entry.key {
        true => Ok((arn, Alias { record: record.into(), rev: entry.rev })),
        false => Err(wrong(entry, format!("it holds the alias {}", record.name))),
    }
}

/// The function that a record belongs to.
fn read_name(entry: &Entry) -> Result<FunctionArn, LoadError> {
    let segments: Vec<&str> = entry.key.segments().collect();
    let [_, account, region, name, ..] = segments[..] else {
        return Err(wrong(entry, "the key has less than four segments".to_owned()));
    };
    let account =
        AccountId::new(account).ok_or_else(|| wrong(entry, format!("{account} is no account")))?;
    Ok(FunctionArn::new(&Scope { account, region: region.into() }, name))
}

fn wrong(entry: &Entry, reason: String) -> LoadError {
    LoadError::Record { key: entry.key.to_string(), reason }
}
