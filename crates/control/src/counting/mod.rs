//! Counting: how many calls of an account run at this moment, and whether one more may.
//!
//! In memory only: after a restart nothing runs, so nothing is counted.

use lamplight_model::{AccountId, FunctionArn};
use lamplight_rpc::{Counting, Slot, Throttled};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

/// Counts calls per account against one limit.
pub struct AccountCounting {
    limit: u32,
    accounts: RwLock<HashMap<AccountId, Arc<AtomicU32>>>,
}

impl AccountCounting {
    /// `limit`: calls of one account that may run at the same time.
    pub fn new(limit: u32) -> Self {
        Self { limit, accounts: RwLock::default() }
    }

    fn counter(&self, account: &AccountId) -> Arc<AtomicU32> {
        let accounts = self.accounts.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(counter) = accounts.get(account) {
            return Arc::clone(counter);
        }
        drop(accounts);
        let mut accounts = self.accounts.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(accounts.entry(account.clone()).or_default())
    }
}

/// Gives its unit back when dropped.
struct Unit(Arc<AtomicU32>);

impl Drop for Unit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Counting for AccountCounting {
    fn admit(&self, function: &FunctionArn) -> Result<Slot, Throttled> {
        let counter = self.counter(&function.scope.account);
        let admitted = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
            (running < self.limit).then_some(running + 1)
        });
        match admitted {
            Ok(_) => Ok(Slot(Box::new(Unit(counter)))),
            Err(_) => Err(Throttled {
                reason: "ConcurrentInvocationLimitExceeded",
                retry_after_seconds: 1,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::Scope;

    #[test]
    fn the_limit_holds_and_slots_come_back() {
        let account = AccountId::new("000000000000").unwrap();
        let scope = Scope { account, region: "r".into() };
        let (one, two) = (FunctionArn::new(&scope, "one"), FunctionArn::new(&scope, "two"));
        let counting = AccountCounting::new(2);
        let first = counting.admit(&one).unwrap();
        let _second = counting.admit(&two).unwrap();
        assert_eq!(
            counting.admit(&one).map(drop).unwrap_err().reason,
            "ConcurrentInvocationLimitExceeded"
        );
        drop(first);
        assert!(counting.admit(&one).is_ok());
    }
}
