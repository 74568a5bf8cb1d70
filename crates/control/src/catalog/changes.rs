//! The changes of functions: check, store the code, commit, swap the snapshot, tell the manager.

use super::code::check_unzipped;
use super::error::of_store;
use super::machine::{self, Birth};
use super::service::Core;
use super::snapshot::Function;
use super::tables;
use super::versions::{check_target, whole};
use lamplight_model::{
    FunctionArn, FunctionRecord, FunctionRef, FunctionSettings, PackageType, Qualifier, Runtime,
};
use lamplight_rpc::{CatalogError, CodeChange, NewFunction, Outdated, SettingsChange, TagsChange};
use lamplight_store::StoreError;
use std::sync::Arc;

impl Core {
    async fn check_runtime(&self, settings: &FunctionSettings) -> Result<(), CatalogError> {
        if settings.package_type == PackageType::Image {
            return self.parts.worker.can_run_images().map_err(CatalogError::Invalid);
        }
        let (Some(runtime), Some(_)) = (&settings.runtime, &settings.handler) else {
            return Err(CatalogError::Invalid(
                "Runtime and Handler are mandatory parameters for functions created with \
                 deployment packages."
                    .to_owned(),
            ));
        };
        if Runtime::is_blocked(runtime) {
            return Err(CatalogError::Invalid(format!(
                "The runtime parameter of {runtime} is no longer supported for creating or \
                 updating AWS Lambda functions. We recommend you use a supported runtime while \
                 creating or updating functions."
            )));
        }
        self.parts.worker.can_run(runtime).await.map_err(CatalogError::Invalid)
    }

    pub async fn create(
        &self,
        arn: FunctionArn,
        new: NewFunction,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let NewFunction { settings, zip, origin, tags, belongings, publish } = new;
        tables::key(&arn).map_err(of_store)?;
        self.check_runtime(&settings).await?;
        if let Some(to) = publish {
            check_target(to, settings.has_capacity_provider())?;
        }
        let _one_at_a_time = self.functions.lock(&arn).await;
        let exists = || CatalogError::Exists(arn.name.to_string());
        if self.version(&arn, &Qualifier::Latest).is_some() {
            return Err(exists());
        }
        self.check_storage(&arn.scope, copies(publish.is_some(), zip.len() as u64), 0)?;
        let layers = settings.layers.clone();
        let _layers_stay = self.hold(&layers)?;
        let whole = FunctionRef { function: arn.clone(), qualifier: None };
        self.forget_namesake(&whole).await?;
        let mut stored = self.store_code(zip, (settings.package_type, &layers)).await?;
        self.check_image(&arn.scope, &stored, (publish.is_some(), 0)).await?;
        stored.code.origin = origin;
        let birth = Birth {
            name: arn.name.to_string(),
            settings,
            code: stored.code.clone(),
            tags,
            generation: self.snapshot().next_generation(),
        };
        let record = machine::create(birth, self.stamp());
        let writes = self.with_version(&arn, (None, record), publish);
        let given = match self.give(&arn, belongings).await {
            Ok(()) => self.commit_code(&arn, writes, stored).await.map_err(|error| match error {
                StoreError::Conflict(_) => exists(),
                other => of_store(other),
            }),
            Err(error) => Err(error),
        };
        let latest = match given {
            Ok(latest) => latest,
            Err(error) => {
                self.forget(&whole).await;
                return Err(error);
            }
        };
        Ok(self.published_or_latest(&arn, latest, publish))
    }

    pub async fn update_code(
        &self,
        function: FunctionRef,
        change: CodeChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = whole(&function)?;
        let _one_at_a_time = self.functions.lock(arn).await;
        let old = self.named(&function)?;
        if let Some(to) = change.publish {
            check_target(to, old.record.is_managed())?;
        }
        machine::guard_update(arn, &old.record, change.revision_id.as_deref())?;
        let replaced = change.publish.and_then(|to| self.replaced_by(arn, to));
        let charged = |function: &Arc<Function>| function.record.code.charged();
        let less = charged(&old) + replaced.as_ref().map_or(0, charged);
        let more = copies(change.publish.is_some(), change.zip.len() as u64);
        self.check_storage(&arn.scope, more, less)?;
        let settings = &old.record.settings;
        let kind = (settings.package_type, settings.layers.as_slice());
        let mut stored = self.store_code(change.zip, kind).await?;
        self.check_image(&arn.scope, &stored, (change.publish.is_some(), less)).await?;
        stored.code.origin = change.origin;
        if change.dry_run {
            self.discard(&stored.code.digest).await;
            return Ok(Arc::clone(&old.record));
        }
        let (code, architectures) = (stored.code.clone(), change.architectures);
        let record = machine::update_code(&old.record, code, architectures, self.stamp());
        let writes = self.with_version(arn, (Some(old.rev), record), change.publish);
        let record = self.commit_code(arn, writes, stored).await.map_err(of_store)?;
        self.parts.manager.retire(arn, Outdated::Latest(record.generation)).await;
        self.suspect(&old);
        self.retire_replaced(arn, replaced).await;
        Ok(self.published_or_latest(arn, record, change.publish))
    }

    pub async fn update_settings(
        &self,
        function: FunctionRef,
        revision_id: Option<String>,
        change: SettingsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let arn = whole(&function)?;
        let _one_at_a_time = self.functions.lock(arn).await;
        let old = self.named(&function)?;
        machine::guard_update(arn, &old.record, revision_id.as_deref())?;
        let mut settings = old.record.settings.clone();
        change(&mut settings)?;
        // A runtime that has gone missing must not keep other settings from being changed.
        if settings.runtime != old.record.settings.runtime {
            self.check_runtime(&settings).await?;
        }
        let layers = settings.layers.clone();
        let _layers_stay = self.hold(&layers)?;
        if layers != old.record.settings.layers {
            check_unzipped(self.unzipped(&old.record.code).await?, &layers)?;
        }
        let record = machine::update_settings(&old.record, settings, self.stamp());
        let committed = self.commit(arn, vec![(Some(old.rev), record)]).await;
        let record = committed.map_err(of_store)?;
        self.parts.manager.retire(arn, Outdated::Latest(record.generation)).await;
        self.suspect(&old);
        Ok(record)
    }

    /// AWS: tags can be changed in every state of the function.
    pub async fn update_tags(
        &self,
        arn: FunctionArn,
        change: TagsChange,
    ) -> Result<Arc<FunctionRecord>, CatalogError> {
        let _one_at_a_time = self.functions.lock(&arn).await;
        let old = self.named(&FunctionRef { function: arn.clone(), qualifier: None })?;
        let mut tags = old.record.tags.clone();
        change(&mut tags)?;
        let record = machine::update_tags(&old.record, tags, self.stamp());
        self.commit(&arn, vec![(Some(old.rev), record)]).await.map_err(of_store)
    }

    pub async fn delete(&self, function: FunctionRef) -> Result<(), CatalogError> {
        let arn = &function.function;
        match &function.qualifier {
            None => {}
            Some(Qualifier::Latest) => {
                return Err(CatalogError::Invalid(
                    "$LATEST version cannot be deleted without deleting the function.".to_owned(),
                ));
            }
            Some(Qualifier::Version(_) | Qualifier::LatestPublished) => {
                return self.delete_version(&function).await;
            }
            Some(Qualifier::Alias(_)) => {
                return Err(CatalogError::Invalid(
                    "Deletion of aliases is not currently supported.".to_owned(),
                ));
            }
        }
        let _one_at_a_time = self.functions.lock(arn).await;
        let old = self.named(&function)?;
        self.remove_function(arn, &old).await.map_err(of_store)?;
        self.forget(&function).await;
        Ok(())
    }
}

/// How many bytes of code storage code takes: a version counts beside `$LATEST`.
pub(super) fn copies(publish: bool, bytes: u64) -> u64 {
    bytes.saturating_mul(1 + u64::from(publish))
}
