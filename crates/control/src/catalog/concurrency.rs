//! How much concurrency functions have for themselves. One change at a time, because all share
//! what the account may run.

use super::error::of_store;
use super::service::Core;
use super::versions::functions_only;
use lamplight_model::{FunctionArn, FunctionRecord, FunctionRef, Qualifier, Scope, limits};
use lamplight_rpc::CatalogError;

impl Core {
    /// What functions of a scope have for themselves: other functions cannot use it.
    pub fn committed(&self, scope: &Scope) -> u32 {
        let sum = self.snapshot().committed(scope);
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    pub async fn reserve(
        &self,
        function: FunctionRef,
        reserved: Option<u32>,
    ) -> Result<(), CatalogError> {
        let arn = &function.function;
        if function.qualifier.is_some() {
            return Err(functions_only());
        }
        let _one_at_a_time = self.reservations.lock().await;
        let _of_this = self.functions.lock(arn).await;
        // AWS: names `$LATEST` in this refusal.
        let not_found = || CatalogError::NotFound(arn.qualified(&Qualifier::Latest));
        let latest = self.version(arn, &Qualifier::Latest).ok_or_else(not_found)?;
        if latest.record.reserved == reserved {
            return Ok(());
        }
        if let Some(reserved) = reserved {
            self.check_reservation(arn, reserved)?;
        }
        let record = FunctionRecord { reserved, ..(*latest.record).clone() };
        self.commit(arn, vec![(Some(latest.rev), record)]).await.map_err(of_store)?;
        Ok(())
    }

    fn check_reservation(&self, arn: &FunctionArn, reserved: u32) -> Result<(), CatalogError> {
        let (own, provisioned) = self.snapshot().committed_of(arn);
        if u64::from(reserved) < provisioned {
            // AWS: with these spaces.
            return Err(CatalogError::Untyped(format!(
                " ReservedConcurrentExecutions  {reserved} should not be lower than function's \
                 total provisioned concurrency [{provisioned}]."
            )));
        }
        let others = self.snapshot().committed(&arn.scope).saturating_sub(own);
        let left = u64::from(self.parts.counting.limit()).saturating_sub(others);
        let enough = left >= u64::from(reserved) + u64::from(limits::UNRESERVED_MINIMUM);
        match enough || u64::from(reserved) <= own {
            true => Ok(()),
            false => Err(CatalogError::Untyped(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [{}].",
                limits::UNRESERVED_MINIMUM
            ))),
        }
    }
}
