//! What becomes of an event after each attempt. Pure.

use crate::record::EventState;
use lamplight_env::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// AWS: how often the function is tried again after its own errors, at most and by default.
pub const RETRIES: u32 = 2;
/// AWS: how old an event may get, by default.
pub const AGE: Duration = Duration::from_secs(6 * 3600);
/// AWS: the first and the longest wait of an event whose function cannot be called.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// What was asked for, for the qualifier that was called.
#[derive(Debug, Clone)]
pub struct Policy {
    pub retries: u32,
    pub age: Duration,
    pub delays: [Duration; 2],
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Succeeded,
    /// The function ran and failed.
    Failed,
    /// It was not called: no room, or the fault is ours.
    NotCalled,
    /// It will not be called.
    Never(End),
}

/// How an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Succeeded,
    RetriesExhausted,
    EventAgeExceeded,
    /// The function's reserved concurrency is 0.
    NoConcurrency,
    /// It is part of a loop.
    Recursive,
    /// There is no such function or qualifier any more.
    FunctionGone,
    /// What is stored of it cannot be read.
    Unreadable,
    /// By the people who run the server.
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// With the state as it is now.
    Again(Timestamp),
    End(End),
}

/// Whether an event is too old to be tried.
pub fn expired(state: &EventState, policy: &Policy, now: Timestamp) -> bool {
    now >= Timestamp::from_millis(state.accepted).plus(policy.age)
}

/// Takes note of an attempt that ended `now`.
pub fn after(state: &mut EventState, attempt: Attempt, policy: &Policy, now: Timestamp) -> Next {
    let wait = match attempt {
        Attempt::Succeeded => {
            state.attempts += 1;
            return Next::End(End::Succeeded);
        }
        Attempt::Never(end) => return Next::End(end),
        Attempt::Failed => {
            state.attempts = state.attempts.saturating_add(1);
            state.waits = 0;
            if state.attempts > policy.retries {
                return Next::End(End::RetriesExhausted);
            }
            policy.delays[usize::from(state.attempts > 1)]
        }
        Attempt::NotCalled => {
            let wait = back_off(state.waits);
            state.waits = state.waits.saturating_add(1);
            wait
        }
    };
    // One that gets too old while it waits ends at that moment.
    let oldest = Timestamp::from_millis(state.accepted).plus(policy.age);
    Next::Again(now.plus(wait).min(oldest.max(now)))
}

/// The wait after so many others.
pub fn back_off(before: u32) -> Duration {
    let [first, longest] = WAITS;
    first.saturating_mul(1 << before.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> EventState {
        EventState {
            format: EventState::FORMAT,
            function: "f".to_owned(),
            trace_id: String::new(),
            tenant: None,
            accepted: 0,
            attempts: 0,
            waits: 0,
        }
    }

    fn policy(retries: u32, age: u64) -> Policy {
        let delays = [Duration::from_secs(60), Duration::from_secs(120)];
        Policy { retries, age: Duration::from_secs(age), delays }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn errors_of_the_function_are_retried_after_one_and_two_minutes() {
        let (mut state, policy) = (state(), policy(2, 21_600));
        let mut fail = |now| after(&mut state, Attempt::Failed, &policy, at(now));
        assert_eq!(fail(0), Next::Again(at(60)));
        assert_eq!(fail(61), Next::Again(at(181)));
        assert_eq!(fail(182), Next::End(End::RetriesExhausted));
        assert_eq!(state.attempts, 3);
        let none = super::Policy { retries: 0, ..policy };
        let mut once = super::tests::state();
        assert_eq!(
            after(&mut once, Attempt::Failed, &none, at(0)),
            Next::End(End::RetriesExhausted)
        );
    }

    #[test]
    fn throttles_back_off_and_use_up_no_attempt() {
        let (mut state, policy) = (state(), policy(1, 21_600));
        let mut waits = Vec::new();
        for _ in 0..12 {
            match after(&mut state, Attempt::NotCalled, &policy, at(0)) {
                Next::Again(due) => waits.push(due.millis() / 1000),
                Next::End(end) => panic!("{end:?}"),
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(state.attempts, 0);
        assert_eq!(after(&mut state, Attempt::Failed, &policy, at(0)), Next::Again(at(60)));
        assert_eq!(state.waits, 0, "the next wait is short again");
    }

    #[test]
    fn age_ends_a_wait() {
        let (mut state, policy) = (state(), policy(2, 90));
        assert_eq!(after(&mut state, Attempt::Failed, &policy, at(50)), Next::Again(at(90)));
        assert!(!expired(&state, &policy, at(89)));
        assert!(expired(&state, &policy, at(90)));
        // An attempt that itself took too long.
        assert_eq!(after(&mut state, Attempt::NotCalled, &policy, at(95)), Next::Again(at(95)));
    }

    fn attempts() -> impl Strategy<Value = Attempt> {
        prop_oneof![
            Just(Attempt::Succeeded),
            Just(Attempt::Failed),
            Just(Attempt::NotCalled),
            Just(Attempt::Never(End::Recursive)),
        ]
    }

    proptest! {
        /// Whatever happens, an event ends: after at most so many runs of the function, and no
        /// later than its age allows.
        #[test]
        fn every_event_ends(
            script in proptest::collection::vec((attempts(), 0i64..400), 1..60),
            retries in 0u32..=2,
            age in 60u64..=21_600,
        ) {
            let (mut state, policy) = (state(), policy(retries, age));
            let mut now = at(0);
            for (attempt, took) in script.iter().cycle() {
                if expired(&state, &policy, now) {
                    break;
                }
                now = now.plus(Duration::from_secs(took.unsigned_abs()));
                match after(&mut state, *attempt, &policy, now) {
                    Next::End(end) => {
                        prop_assert!(state.attempts <= retries + 1);
                        prop_assert_eq!(end == End::Succeeded, *attempt == Attempt::Succeeded);
                        return Ok(());
                    }
                    Next::Again(due) => {
                        prop_assert!(due >= now);
                        prop_assert!(due > now || expired(&state, &policy, now));
                        now = due;
                    }
                }
            }
            prop_assert!(expired(&state, &policy, now));
        }
    }
}
