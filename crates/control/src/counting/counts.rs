//! What runs in one account and region, and what may. Pure.

use crate::planner::{Often, Rates};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// AWS: calls in a second for each environment that a function may have.
const REQUESTS: u32 = 10;

/// Which limit one more call would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Account,
    Reserved,
    Rate,
    ReservedRate,
}

#[derive(Default)]
struct Function {
    running: u32,
    reserved: Option<u32>,
}

/// Invariant: `unreserved` is the sum of what runs of functions without a reservation, `reserved`
/// the sum of all reservations. A function with neither calls nor a reservation has no entry.
#[derive(Default)]
pub struct Counts {
    functions: HashMap<Arc<str>, Function>,
    unreserved: u32,
    reserved: u32,
    rates: Rates<Arc<str>>,
}

impl Counts {
    /// Counts one more call of `function`, where `limit` is what may run in all. `at` is given
    /// where calls in a second are counted too.
    pub fn enter(
        &mut self,
        function: &Arc<str>,
        limit: u32,
        at: Option<Instant>,
    ) -> Result<(), Full> {
        let reserved = self.functions.get(function).and_then(|function| function.reserved);
        match reserved {
            Some(most) if self.running(function) >= most => return Err(Full::Reserved),
            None if self.unreserved >= limit.saturating_sub(self.reserved) => {
                return Err(Full::Account);
            }
            _ => {}
        }
        if let Some(now) = at {
            let most = reserved.unwrap_or(limit).saturating_mul(REQUESTS);
            if !self.rates.take(function, now, Often::within(most, Duration::from_secs(1))) {
                return Err(reserved.map_or(Full::Rate, |_| Full::ReservedRate));
            }
        }
        if reserved.is_none() {
            self.unreserved += 1;
        }
        self.functions.entry(Arc::clone(function)).or_default().running += 1;
        Ok(())
    }

    /// A call that was counted has ended.
    pub fn leave(&mut self, function: &Arc<str>) {
        let Some(entry) = self.functions.get_mut(function) else { return };
        entry.running = entry.running.saturating_sub(1);
        if entry.reserved.is_none() {
            self.unreserved = self.unreserved.saturating_sub(1);
        }
        self.tidy(function);
    }

    /// From now on `function` has so many calls for itself, and no more. What already runs goes
    /// on and is counted where it now belongs.
    pub fn reserve(&mut self, function: &Arc<str>, reserved: Option<u32>) {
        let entry = self.functions.entry(Arc::clone(function)).or_default();
        let old = std::mem::replace(&mut entry.reserved, reserved);
        match (old, reserved) {
            (None, Some(_)) => self.unreserved = self.unreserved.saturating_sub(entry.running),
            (Some(_), None) => self.unreserved += entry.running,
            _ => {}
        }
        self.reserved = self.reserved.saturating_sub(old.unwrap_or(0));
        self.reserved = self.reserved.saturating_add(reserved.unwrap_or(0));
        self.tidy(function);
    }

    fn running(&self, function: &Arc<str>) -> u32 {
        self.functions.get(function).map_or(0, |function| function.running)
    }

    fn tidy(&mut self, function: &Arc<str>) {
        let idle = |entry: &Function| entry.running == 0 && entry.reserved.is_none();
        if self.functions.get(function).is_some_and(idle) {
            self.functions.remove(function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (Arc<str>, Arc<str>) {
        ("a".into(), "b".into())
    }

    #[test]
    fn a_reservation_is_a_share_and_a_limit() {
        let ((a, b), mut counts) = (names(), Counts::default());
        counts.reserve(&a, Some(2));
        assert_eq!(
            [(); 3].map(|()| counts.enter(&a, 5, None)),
            [Ok(()), Ok(()), Err(Full::Reserved)]
        );
        // Three of five are left to the others, whatever runs of `a`.
        counts.leave(&a);
        let others = [(); 4].map(|()| counts.enter(&b, 5, None));
        assert_eq!(others, [Ok(()), Ok(()), Ok(()), Err(Full::Account)]);
        assert_eq!(counts.enter(&a, 5, None), Ok(()));
        counts.reserve(&a, Some(0));
        counts.leave(&a);
        counts.leave(&a);
        assert_eq!(counts.enter(&a, 5, None), Err(Full::Reserved));
    }

    #[test]
    fn what_runs_is_counted_where_it_belongs() {
        let ((a, b), mut counts) = (names(), Counts::default());
        assert_eq!((counts.enter(&a, 3, None), counts.enter(&a, 3, None)), (Ok(()), Ok(())));
        counts.reserve(&a, Some(1));
        assert_eq!(counts.enter(&a, 3, None), Err(Full::Reserved), "two run already");
        let others = [(); 3].map(|()| counts.enter(&b, 3, None));
        assert_eq!(others, [Ok(()), Ok(()), Err(Full::Account)]);
        counts.reserve(&a, None);
        assert_eq!(counts.enter(&a, 3, None), Err(Full::Account), "four run already");
        for function in [&a, &a, &b, &b] {
            counts.leave(function);
        }
        assert_eq!((counts.unreserved, counts.reserved, counts.functions.len()), (0, 0, 0));
    }

    #[test]
    fn ten_calls_in_a_second_are_enough_for_each_environment() {
        use lamplight_env::{Clock, SystemClock};
        let ((a, b), mut counts, now) = (names(), Counts::default(), SystemClock.instant());
        counts.reserve(&a, Some(1));
        let mut calls = |name: &Arc<str>, at: Instant| {
            let mut call = || counts.enter(name, 3, Some(at)).map(|()| counts.leave(name));
            (0..50).filter(|_| call().is_ok()).count()
        };
        assert_eq!((calls(&a, now), calls(&b, now)), (10, 30));
        assert_eq!(calls(&a, now + Duration::from_millis(500)), 5);
        assert_eq!(counts.enter(&a, 3, Some(now)), Err(Full::ReservedRate));
        assert_eq!(counts.enter(&b, 3, Some(now)), Err(Full::Rate));
        assert_eq!(counts.enter(&a, 3, None), Ok(()), "it is not counted");
    }
}
