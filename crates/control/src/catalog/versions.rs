//! Published versions: frozen copies of `$LATEST` that never change again.

use super::error::of_store;
use super::machine::{self, Publishing};
use super::service::Core;
use super::snapshot::Function;
use super::tables;
use lamplight_model::{FunctionArn, FunctionRecord, FunctionRef, Qualifier};
use lamplight_rpc::{CatalogError, Outdated, Publication};
use lamplight_store::{Op, Rev, StoreError};
use std::sync::Arc;

/// Versions that are deleted in one transaction.
const AT_ONCE: usize = 100;

/// A record to be stored, and the revision that it takes the place of.
pub(super) type Write = (Option<Rev>, FunctionRecord);

/// Refuses names of versions and aliases where only a whole function will do.
pub(super) fn whole(function: &FunctionRef) -> Result<&FunctionArn, CatalogError> {
    match function.qualifier {
        None | Some(Qualifier::Latest) => Ok(&function.function),
        Some(_) => Err(functions_only()),
    }
}

pub(super) fn functions_only() -> CatalogError {
    CatalogError::Invalid(
        "This operation is permitted on Lambda functions only. Aliases and versions do not \
         support this operation. Please specify either a function name or an unqualified function \
         ARN."
            .to_owned(),
    )
}

impl Core {
    /// The newest version, where it is what `latest` is.
    fn published_already(
        &self,
        arn: &FunctionArn,
        latest: &FunctionRecord,
    ) -> Option<Arc<Function>> {
        let version = Qualifier::Version(latest.last_version);
        let found = self.snapshot().get(arn, &version).cloned();
        found.filter(|version| version.record.is_published_state_of(latest))
    }

    /// The writes that make `latest`, which takes the place of `expected`, and a version of it
    /// where one is asked for and the newest one is not just that.
    pub fn with_version(
        &self,
        arn: &FunctionArn,
        (expected, latest): Write,
        publish: bool,
    ) -> Vec<Write> {
        if !publish || self.published_already(arn, &latest).is_some() {
            return vec![(expected, latest)];
        }
        let stamps = (self.stamp(), self.stamp());
        let Publishing { latest, version } = machine::publish(&latest, None, stamps);
        vec![(expected, latest), (None, version)]
    }

    /// What a change that was to publish answers with, once it is committed.
    pub fn published_or_latest(
        &self,
        arn: &FunctionArn,
        latest: Arc<FunctionRecord>,
        publish: bool,
    ) -> Arc<FunctionRecord> {
        let version = Qualifier::Version(latest.last_version);
        let found = self.snapshot().get(arn, &version).cloned();
        found.filter(|_| publish).map_or(latest, |version| Arc::clone(&version.record))
    }

    pub async fn publish(
        &self,
        function: FunctionRef,
        publication: Publication,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = whole(&function)?;
        let _one_at_a_time = self.functions.lock(arn).await;
        let latest = self.named(&function)?;
        machine::guard_update(arn, &latest.record, publication.revision_id.as_deref())?;
        let current = latest.record.code.code_sha256();
        if let Some(meant) = publication.code_sha256.filter(|meant| *meant != current) {
            return Err(CatalogError::Invalid(format!(
                "CodeSHA256 ({meant}) is different from current CodeSHA256 in $LATEST ({current}). \
                 Please try again with the CodeSHA256 in $LATEST."
            )));
        }
        if let Some(version) = self.published_already(arn, &latest.record) {
            return Ok(Arc::clone(&version.record));
        }
        self.check_storage(&arn.scope, latest.record.code.charged(), 0)?;
        let stamps = (self.stamp(), self.stamp());
        let publishing = machine::publish(&latest.record, publication.description, stamps);
        let writes = vec![(Some(latest.rev), publishing.latest), (None, publishing.version)];
        let latest = self.commit(arn, writes).await.map_err(of_store)?;
        Ok(self.published_or_latest(arn, latest, true))
    }

    /// AWS: deleting a version that is not there succeeds.
    pub async fn delete_version(
        &self,
        version: &FunctionRef,
        number: u64,
    ) -> Result<(), CatalogError> {
        let arn = &version.function;
        let _one_at_a_time = self.functions.lock(arn).await;
        let found = self.snapshot().get(arn, &Qualifier::Version(number)).cloned();
        let users: Vec<String> = self
            .snapshot()
            .aliases(arn, None)
            .into_iter()
            .flatten()
            .filter(|alias| alias.record.uses(number))
            .map(|alias| alias.record.name.clone())
            .collect();
        if !users.is_empty() {
            return Err(CatalogError::Conflict(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                users.join(", ")
            )));
        }
        match found {
            Some(found) => {
                self.remove_versions(arn, &[found]).await.map_err(of_store)?;
                self.forget(version).await;
                Ok(())
            }
            None if self.snapshot().get(arn, &Qualifier::Latest).is_some() => Ok(()),
            None => Err(CatalogError::NotFound(arn.qualified(&Qualifier::Version(number)))),
        }
    }

    /// Deletes a function with all that belongs to it. The caller holds its lock.
    pub async fn remove_function(
        &self,
        arn: &FunctionArn,
        latest: &Function,
    ) -> Result<(), StoreError> {
        let mut versions = self.snapshot().published(arn);
        let mut aliases: Vec<_> =
            self.snapshot().aliases(arn, None).into_iter().flatten().cloned().collect();
        if versions.len() + aliases.len() > AT_ONCE {
            // More than one transaction holds go before the function: none may outlive it.
            for some in aliases.chunks(AT_ONCE) {
                self.remove_aliases(arn, some).await?;
            }
            for some in versions.chunks(AT_ONCE) {
                self.remove_versions(arn, some).await?;
            }
            (versions, aliases) = (Vec::new(), Vec::new());
        }
        let key = tables::key(arn)?;
        let mut ops = vec![Op::Expect(key.clone(), Some(latest.rev)), Op::Delete(key)];
        for alias in &aliases {
            ops.push(Op::Delete(tables::alias_key(arn, &alias.record.name)?));
        }
        for version in &versions {
            ops.push(Op::Delete(tables::key_of(arn, &version.record)?));
        }
        self.parts.meta.txn(ops).await?;
        self.snapshot_mut().remove(arn);
        self.parts.counting.reserve(arn, None);
        self.parts.manager.retire(arn, Outdated::All).await;
        self.nudge();
        for gone in versions.iter().map(|version| &**version).chain([latest]) {
            self.suspect(gone);
        }
        Ok(())
    }

    async fn remove_versions(
        &self,
        arn: &FunctionArn,
        versions: &[Arc<Function>],
    ) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        for version in versions {
            let key = tables::key_of(arn, &version.record)?;
            ops.extend([Op::Expect(key.clone(), Some(version.rev)), Op::Delete(key)]);
        }
        self.parts.meta.txn(ops).await?;
        for version in versions {
            let Qualifier::Version(number) = version.record.version() else { continue };
            self.snapshot_mut().remove_version(arn, number);
            self.parts.manager.retire(arn, Outdated::Version(number)).await;
            self.suspect(version);
        }
        self.nudge();
        Ok(())
    }
}
