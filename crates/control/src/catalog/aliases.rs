//! Aliases: names for versions. They live with their function, because calls are routed by them.

use super::error::of_store;
use super::service::Core;
use super::snapshot::Alias;
use super::tables;
use lamplight_env::Random;
use lamplight_model::{AliasRecord, FunctionArn, FunctionRef, Qualifier};
use lamplight_rpc::{AliasChange, CatalogError};
use lamplight_store::{Op, StoreError};
use std::sync::Arc;

impl Core {
    pub fn alias(&self, arn: &FunctionArn, name: &str) -> Option<Arc<Alias>> {
        self.snapshot().alias(arn, name).cloned()
    }

    pub async fn create_alias(
        &self,
        arn: FunctionArn,
        name: String,
        change: AliasChange,
    ) -> Result<Arc<AliasRecord>, CatalogError> {
        let _one_at_a_time = self.functions.lock(&arn).await;
        let version = change.version.clone().unwrap_or(Qualifier::Latest);
        self.must_exist(&arn, &version)?;
        if self.alias(&arn, &name).is_some() {
            let alias = arn.qualified(&Qualifier::Alias(name));
            return Err(CatalogError::Conflict(format!("Alias already exists: {alias}")));
        }
        let blank = AliasRecord {
            format: AliasRecord::FORMAT,
            name,
            version: None,
            description: String::new(),
            extra: None,
            revision_id: String::new(),
            provisioned: None,
        };
        let record = self.changed_alias(&arn, &blank, change)?;
        self.forget_namesake(&of_alias(arn.clone(), &record.name)).await?;
        self.commit_alias(&arn, None, record).await.map_err(of_store)
    }

    pub async fn update_alias(
        &self,
        arn: FunctionArn,
        name: String,
        change: AliasChange,
    ) -> Result<Arc<AliasRecord>, CatalogError> {
        let _one_at_a_time = self.functions.lock(&arn).await;
        let Some(old) = self.alias(&arn, &name) else {
            let alias = arn.qualified(&Qualifier::Alias(name));
            return Err(CatalogError::Missing(format!("Alias not found: {alias}")));
        };
        if change.revision_id.as_ref().is_some_and(|seen| *seen != old.record.revision_id) {
            return Err(CatalogError::Precondition);
        }
        let record = self.changed_alias(&arn, &old.record, change)?;
        self.commit_alias(&arn, Some(&old), record).await.map_err(of_store)
    }

    /// AWS: deleting an alias that is not there succeeds.
    pub async fn delete_alias(&self, arn: FunctionArn, name: String) -> Result<(), CatalogError> {
        let _one_at_a_time = self.functions.lock(&arn).await;
        if self.version(&arn, &Qualifier::Latest).is_none() {
            return Err(CatalogError::NotFound(arn.to_string()));
        }
        match self.alias(&arn, &name) {
            Some(alias) => {
                self.remove_aliases(&arn, &[alias]).await.map_err(of_store)?;
                self.forget(&of_alias(arn, &name)).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn must_exist(&self, arn: &FunctionArn, version: &Qualifier) -> Result<(), CatalogError> {
        match self.version(arn, version) {
            Some(_) => Ok(()),
            None => Err(CatalogError::NotFound(arn.qualified(version))),
        }
    }

    fn changed_alias(
        &self,
        arn: &FunctionArn,
        old: &AliasRecord,
        change: AliasChange,
    ) -> Result<AliasRecord, CatalogError> {
        let mut next = AliasRecord { revision_id: self.env().random.uuid(), ..old.clone() };
        if let Some(version) = change.version {
            self.must_exist(arn, &version)?;
            next.version = match version {
                Qualifier::Version(number) => Some(number),
                Qualifier::LatestPublished => Some(Qualifier::LATEST_PUBLISHED),
                _ => None,
            };
        }
        if let Some(description) = change.description {
            next.description = description;
        }
        if let Some(weights) = change.weights {
            if weights.len() > 1 {
                return Err(CatalogError::Invalid(
                    "Number of items in AdditionalVersionWeights cannot be greater than 1"
                        .to_owned(),
                ));
            }
            next.extra = weights.first().copied();
        }
        check_routing(&next)?;
        if let Some((extra, _)) = next.extra {
            self.must_exist(arn, &Qualifier::Version(extra))?;
        }
        if next.provisioned.is_some() {
            self.check_alias_target(arn, &next)?;
        }
        Ok(next)
    }

    /// Makes `record` the truth in the place of `old`.
    pub async fn commit_alias(
        &self,
        arn: &FunctionArn,
        old: Option<&Alias>,
        record: AliasRecord,
    ) -> Result<Arc<AliasRecord>, StoreError> {
        let key = tables::alias_key(arn, &record.name)?;
        let body = record.to_bytes().into();
        let ops = vec![Op::Expect(key.clone(), old.map(|old| old.rev)), Op::Put(key, body)];
        let rev = self.parts.meta.txn(ops).await?;
        let record = Arc::new(record);
        self.snapshot_mut().insert_alias(arn, Alias { record: Arc::clone(&record), rev });
        self.nudge();
        Ok(record)
    }

    pub async fn remove_aliases(
        &self,
        arn: &FunctionArn,
        aliases: &[Arc<Alias>],
    ) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        for alias in aliases {
            let key = tables::alias_key(arn, &alias.record.name)?;
            ops.extend([Op::Expect(key.clone(), Some(alias.rev)), Op::Delete(key)]);
        }
        self.parts.meta.txn(ops).await?;
        for alias in aliases {
            self.snapshot_mut().remove_alias(arn, &alias.record.name);
        }
        self.nudge();
        Ok(())
    }
}

fn of_alias(function: FunctionArn, name: &str) -> FunctionRef {
    FunctionRef { function, qualifier: Some(Qualifier::Alias(name.to_owned())) }
}

/// Which version a call of the alias runs. One random draw where there are two.
pub(super) fn route(alias: &AliasRecord, random: &dyn Random) -> Qualifier {
    if alias.extra.is_none() {
        return alias.points_at();
    }
    let mut draw = [0; 4];
    random.fill(&mut draw);
    alias.choose(u32::from_le_bytes(draw)).map_or(Qualifier::Latest, Qualifier::of_number)
}

fn check_routing(alias: &AliasRecord) -> Result<(), CatalogError> {
    match (alias.version, alias.extra) {
        (_, None) => Ok(()),
        (None, Some(_)) => Err(CatalogError::Untyped(
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        )),
        (Some(version), Some((extra, _))) if version == extra => {
            Err(CatalogError::Invalid(format!(
                "Invalid function version {extra}. Function version {extra} is already included in \
             routing configuration."
            )))
        }
        _ => Ok(()),
    }
}
