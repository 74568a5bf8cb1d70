//! Published versions: frozen copies of `$LATEST` that never change again, but for
//! `$LATEST.PUBLISHED`, in whose place the next one of that name comes.

use super::error::of_store;
use super::machine::{self, Publishing};
use super::service::Core;
use super::snapshot::Function;
use super::tables;
use lamplight_model::{FunctionArn, FunctionRecord, FunctionRef, Qualifier};
use lamplight_rpc::{CatalogError, Outdated, Publication, PublishTo};
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

/// AWS: `$LATEST.PUBLISHED` is of functions on Managed Instances.
pub(super) fn check_target(to: PublishTo, is_managed: bool) -> Result<(), CatalogError> {
    match to {
        PublishTo::Latest if !is_managed => Err(CatalogError::Invalid(
            "PublishTo is only supported for functions with a capacity provider.".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What `latest` is, or was, published as.
fn name_of(to: PublishTo, latest: &FunctionRecord) -> Qualifier {
    match to {
        PublishTo::Number => Qualifier::Version(latest.last_version),
        PublishTo::Latest => Qualifier::LatestPublished,
    }
}

impl Core {
    /// The version that was published last, where it is what `latest` is.
    fn published_already(
        &self,
        arn: &FunctionArn,
        latest: &FunctionRecord,
        to: PublishTo,
    ) -> Option<Arc<Function>> {
        let found = self.version(arn, &name_of(to, latest));
        found.filter(|version| version.record.is_published_state_of(latest))
    }

    /// The writes that make `latest`, which takes the place of `expected`, and a version of it
    /// where one is asked for and the newest one is not just that.
    pub fn with_version(
        &self,
        arn: &FunctionArn,
        (expected, latest): Write,
        publish: Option<PublishTo>,
    ) -> Vec<Write> {
        match publish {
            Some(to) if self.published_already(arn, &latest, to).is_none() => {
                self.publishing(arn, (expected, latest), to, None)
            }
            _ => vec![(expected, latest)],
        }
    }

    fn publishing(
        &self,
        arn: &FunctionArn,
        (expected, latest): Write,
        to: PublishTo,
        description: Option<String>,
    ) -> Vec<Write> {
        match to {
            PublishTo::Number => {
                let stamps = (self.stamp(), self.stamp());
                let Publishing { latest, version } = machine::publish(&latest, description, stamps);
                vec![(expected, latest), (None, version)]
            }
            PublishTo::Latest => {
                let before = self.version(arn, &Qualifier::LatestPublished);
                let record = before.as_ref().map(|before| &*before.record);
                let version = machine::publish_latest(&latest, record, description, self.stamp());
                vec![(expected, latest), (before.map(|before| before.rev), version)]
            }
        }
    }

    /// What publishing again takes the place of.
    pub fn replaced_by(&self, arn: &FunctionArn, to: PublishTo) -> Option<Arc<Function>> {
        match to {
            PublishTo::Number => None,
            PublishTo::Latest => self.version(arn, &Qualifier::LatestPublished),
        }
    }

    /// Lets go of what was replaced, once that is committed.
    pub async fn retire_replaced(&self, arn: &FunctionArn, replaced: Option<Arc<Function>>) {
        let Some(replaced) = replaced else { return };
        let now = self.version(arn, &Qualifier::LatestPublished);
        let generation = now.map_or(0, |now| now.record.generation);
        self.parts.manager.retire(arn, Outdated::LatestPublished(generation)).await;
        self.suspect(&replaced);
    }

    /// What a change that was to publish answers with, once it is committed.
    pub fn published_or_latest(
        &self,
        arn: &FunctionArn,
        latest: Arc<FunctionRecord>,
        publish: Option<PublishTo>,
    ) -> Arc<FunctionRecord> {
        let found = publish.and_then(|to| self.version(arn, &name_of(to, &latest)));
        found.map_or(latest, |version| Arc::clone(&version.record))
    }

    pub async fn publish(
        &self,
        function: FunctionRef,
        publication: Publication,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = whole(&function)?;
        let _one_at_a_time = self.functions.lock(arn).await;
        let latest = self.named(&function)?;
        let Publication { description, code_sha256, revision_id, to } = publication;
        check_target(to, latest.record.is_managed())?;
        machine::guard_update(arn, &latest.record, revision_id.as_deref())?;
        let current = latest.record.code.code_sha256();
        if let Some(meant) = code_sha256.filter(|meant| *meant != current) {
            return Err(CatalogError::Invalid(format!(
                "CodeSHA256 ({meant}) is different from current CodeSHA256 in $LATEST ({current}). \
                 Please try again with the CodeSHA256 in $LATEST."
            )));
        }
        if let Some(version) = self.published_already(arn, &latest.record, to) {
            return Ok(Arc::clone(&version.record));
        }
        let replaced = self.replaced_by(arn, to);
        let less = replaced.as_ref().map_or(0, |replaced| replaced.record.code.charged());
        self.check_storage(&arn.scope, latest.record.code.charged(), less)?;
        let write = (Some(latest.rev), (*latest.record).clone());
        let writes = self.publishing(arn, write, to, description);
        let latest = self.commit(arn, writes).await.map_err(of_store)?;
        self.retire_replaced(arn, replaced).await;
        Ok(self.published_or_latest(arn, latest, Some(to)))
    }

    /// AWS: deleting a version that is not there succeeds.
    pub async fn delete_version(&self, version: &FunctionRef) -> Result<(), CatalogError> {
        let arn = &version.function;
        let _one_at_a_time = self.functions.lock(arn).await;
        let Ok(found) = self.named(version) else {
            return match self.version(arn, &Qualifier::Latest) {
                Some(_) => Ok(()),
                None => Err(CatalogError::NotFound(version.arn())),
            };
        };
        let number = found.record.published.as_ref().map(|published| published.number);
        let users: Vec<String> = self
            .snapshot()
            .aliases(arn, None)
            .into_iter()
            .flatten()
            .filter(|alias| number.is_some_and(|number| alias.record.uses(number)))
            .map(|alias| alias.record.name.clone())
            .collect();
        if !users.is_empty() {
            return Err(CatalogError::Conflict(format!(
                "Unable to delete version because the following aliases reference it: [{}]",
                users.join(", ")
            )));
        }
        self.remove_versions(arn, &[found]).await.map_err(of_store)?;
        self.forget(version).await;
        Ok(())
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
            let Some(published) = &version.record.published else { continue };
            self.snapshot_mut().remove_version(arn, published.number);
            self.parts.manager.retire(arn, Outdated::Version(published.number)).await;
            self.suspect(version);
        }
        self.nudge();
        Ok(())
    }
}
