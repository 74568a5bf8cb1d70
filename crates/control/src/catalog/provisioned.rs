//! Provisioned concurrency: how many environments a version or an alias is to have ready ahead of
//! calls. Kept with what it belongs to; the manager is told by the repair loop.

use super::error::of_store;
use super::service::Core;
use lamplight_model::{
    AliasRecord, FunctionArn, FunctionRecord, FunctionRef, Provisioned, Published, Qualifier,
    limits,
};
use lamplight_rpc::CatalogError;

impl Core {
    /// Sets or removes it; answers with what is there now.
    pub async fn provision(
        &self,
        function: FunctionRef,
        requested: Option<u32>,
    ) -> Result<Option<Provisioned>, CatalogError> {
        let arn = &function.function;
        let _one_at_a_time = self.reservations.lock().await;
        let _of_this = self.functions.lock(arn).await;
        let old = self.provisioned(&function)?;
        if let Some(requested) = requested {
            self.check_provisioned(&function, requested, old)?;
        }
        let last_modified = self.env().clock.now().millis();
        let provisioned = requested.map(|requested| Provisioned { requested, last_modified });
        if provisioned.is_none() && old.is_none() {
            return Ok(None);
        }
        match &function.qualifier {
            Some(Qualifier::Alias(name)) => {
                let Some(alias) = self.alias(arn, name) else { return Ok(None) };
                let record = AliasRecord { provisioned, ..(*alias.record).clone() };
                self.commit_alias(arn, Some(&alias), record).await.map_err(of_store)?;
            }
            _ => {
                let version = self.named(&function)?;
                let Some(published) = version.record.published.clone() else { return Ok(None) };
                let published = Some(Published { provisioned, ..published });
                let record = FunctionRecord { published, ..(*version.record).clone() };
                self.commit(arn, vec![(Some(version.rev), record)]).await.map_err(of_store)?;
            }
        }
        Ok(provisioned)
    }

    /// What was asked for, of a version or an alias.
    pub fn provisioned(&self, function: &FunctionRef) -> Result<Option<Provisioned>, CatalogError> {
        let arn = &function.function;
        match &function.qualifier {
            Some(Qualifier::Version(_)) => {
                let version = self.named(function)?;
                Ok(version.record.published.as_ref().and_then(|published| published.provisioned))
            }
            Some(Qualifier::Alias(name)) => match self.alias(arn, name) {
                Some(alias) => Ok(alias.record.provisioned),
                None => {
                    Err(CatalogError::Missing(format!("Cannot find alias arn: {}", function.arn())))
                }
            },
            _ => Err(CatalogError::Invalid(
                "The function resource provided must be an alias or a published version."
                    .to_owned(),
            )),
        }
    }

    fn check_provisioned(
        &self,
        function: &FunctionRef,
        requested: u32,
        old: Option<Provisioned>,
    ) -> Result<(), CatalogError> {
        let arn = &function.function;
        self.check_other_configs(function)?;
        let own = u64::from(old.map_or(0, |old| old.requested));
        let (committed, provisioned) = self.snapshot().committed_of(arn);
        let all = provisioned - own + u64::from(requested);
        let reserved = self.version(arn, &Qualifier::Latest).and_then(|f| f.record.reserved);
        if let Some(reserved) = reserved {
            return match all > u64::from(reserved) {
                true => Err(CatalogError::Invalid(
                    "Requested Provisioned Concurrency should not be greater than the \
                     reservedConcurrentExecution for function"
                        .to_owned(),
                )),
                false => Ok(()),
            };
        }
        let others = self.snapshot().committed(&arn.scope) - committed;
        let limit = u64::from(self.parts.counting.limit());
        let unreserved = limit.saturating_sub(others + provisioned - own);
        if u64::from(requested) > unreserved {
            return Err(CatalogError::Untyped(format!(
                "Specified ConcurrentExecutions for function is greater than account's unreserved \
                 concurrency [{unreserved}]."
            )));
        }
        if unreserved - u64::from(requested) < u64::from(limits::UNRESERVED_MINIMUM) {
            return Err(CatalogError::Untyped(format!(
                "Specified ConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [{}].",
                limits::UNRESERVED_MINIMUM
            )));
        }
        Ok(())
    }

    /// AWS: a version has its own configuration or one of an alias, never both.
    fn check_other_configs(&self, function: &FunctionRef) -> Result<(), CatalogError> {
        match &function.qualifier {
            Some(Qualifier::Alias(name)) => match self.alias(&function.function, name) {
                Some(alias) => self.check_alias_target(&function.function, &alias.record),
                None => Ok(()),
            },
            Some(Qualifier::Version(number)) => {
                let snapshot = self.snapshot();
                let mut aliases = snapshot.aliases(&function.function, None).into_iter().flatten();
                let taken = aliases
                    .any(|alias| alias.record.provisioned.is_some() && alias.record.uses(*number));
                match taken {
                    true => Err(CatalogError::Conflict(
                        "Version is pointed by a Provisioned Concurrency alias".to_owned(),
                    )),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether an alias with provisioned concurrency may point where `alias` does.
    pub fn check_alias_target(
        &self,
        arn: &FunctionArn,
        alias: &AliasRecord,
    ) -> Result<(), CatalogError> {
        let published = alias.version.filter(|number| *number != Qualifier::LATEST_PUBLISHED);
        let Some(number) = published else {
            return Err(CatalogError::Invalid(
                "Provisioned Concurrency Configs cannot be applied to unpublished function \
                 versions."
                    .to_owned(),
            ));
        };
        let numbers = [Some(number), alias.extra.map(|(extra, _)| extra)];
        let provisioned = |number: u64| {
            let version = self.version(arn, &Qualifier::Version(number));
            version.and_then(|version| version.record.published.as_ref()?.provisioned)
        };
        match numbers.into_iter().flatten().any(|number| provisioned(number).is_some()) {
            true => Err(CatalogError::Conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already \
                 Provisioned version"
                    .to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// All configurations of a function, by qualifier.
    pub fn all_provisioned(
        &self,
        arn: &FunctionArn,
    ) -> Result<Vec<(Qualifier, Provisioned)>, CatalogError> {
        let snapshot = self.snapshot();
        let aliases = snapshot.aliases(arn, None);
        let aliases = aliases.ok_or_else(|| CatalogError::NotFound(arn.to_string()))?;
        let of_aliases = aliases.filter_map(|alias| {
            Some((Qualifier::Alias(alias.record.name.clone()), alias.record.provisioned?))
        });
        let versions = snapshot.published(arn);
        let of_versions = versions.iter().filter_map(|version| {
            let published = version.record.published.as_ref()?;
            Some((Qualifier::Version(published.number), published.provisioned?))
        });
        Ok(of_aliases.chain(of_versions).collect())
    }
}
