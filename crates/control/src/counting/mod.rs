//! Counting: how many calls run at this moment and came in the last second, and whether one more may.
//! AWS: limits are for each account and region; calls in a second are limited where somebody waits for
//! the answer, and not for events.
//!
//! In memory only: after a restart nothing runs, so nothing is counted. Reservations are told by
//! the catalog, which keeps them.

mod counts;

use counts::{Counts, Full};
use lamplight_env::Clock;
use lamplight_model::{FunctionArn, Scope};
use lamplight_rpc::{Counting, Slot, Throttled};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Counts calls of each account and region against one limit.
pub struct AccountCounting {
    limit: u32,
    clock: Arc<dyn Clock>,
    scopes: RwLock<HashMap<Scope, Shared>>,
}

type Shared = Arc<Mutex<Counts>>;

impl AccountCounting {
    /// `limit`: calls that may run at the same time.
    pub fn new(limit: u32, clock: Arc<dyn Clock>) -> Self {
        Self { limit, clock, scopes: RwLock::default() }
    }

    fn counts(&self, scope: &Scope) -> Shared {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = scopes.get(scope) {
            return Arc::clone(counts);
        }
        drop(scopes);
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(scopes.entry(scope.clone()).or_default())
    }
}

fn lock(counts: &Shared) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives its unit back when dropped.
struct Unit(Shared, Arc<str>);

impl Drop for Unit {
    fn drop(&mut self) {
        lock(&self.0).leave(&self.1);
    }
}

impl Counting for AccountCounting {
    fn admit(&self, function: &FunctionArn, awaited: bool) -> Result<Slot, Throttled> {
        let counts = self.counts(&function.scope);
        let at = awaited.then(|| self.clock.instant());
        let entered = lock(&counts).enter(&function.name, self.limit, at);
        match entered {
            Ok(()) => Ok(Slot(Box::new(Unit(counts, Arc::clone(&function.name))))),
            Err(full) => Err(Throttled {
                reason: match full {
                    Full::Account => "ConcurrentInvocationLimitExceeded",
                    Full::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
                    Full::Rate => "FunctionInvocationRateLimitExceeded",
                    Full::ReservedRate => "ReservedFunctionInvocationRateLimitExceeded",
                },
                retry_after_seconds: 1,
            }),
        }
    }

    fn reserve(&self, function: &FunctionArn, reserved: Option<u32>) {
        lock(&self.counts(&function.scope)).reserve(&function.name, reserved);
    }

    fn limit(&self) -> u32 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::AccountId;

    #[test]
    fn the_limit_holds_and_slots_come_back() {
        let account = AccountId::new("000000000000").unwrap();
        let scope = Scope { account, region: "r".into() };
        let (one, two) = (FunctionArn::new(&scope, "one"), FunctionArn::new(&scope, "two"));
        let counting = AccountCounting::new(2, Arc::new(lamplight_env::SystemClock));
        let refused = |function| counting.admit(function, true).map(drop).unwrap_err().reason;
        let first = counting.admit(&one, true).unwrap();
        let _second = counting.admit(&two, true).unwrap();
        assert_eq!(refused(&one), "ConcurrentInvocationLimitExceeded");
        counting.reserve(&two, Some(0));
        assert_eq!(refused(&two), "ReservedFunctionConcurrentInvocationLimitExceeded");
        let elsewhere = Scope { region: "s".into(), ..scope };
        assert!(counting.admit(&FunctionArn::new(&elsewhere, "one"), true).is_ok());
        drop(first);
        assert!(counting.admit(&one, true).is_ok());
    }
}
