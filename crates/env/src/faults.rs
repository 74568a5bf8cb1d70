//! Faults on purpose: the one place where a build can be made to fail, for tests of the tests.
//!
//! - A *point* is a moment at which power could go, a disk fail or a thread be late. Armed, it
//!   kills the process, panics, waits, or gives the caller an error.
//! - A *bug* is one that we plant, to see whether the tests that should notice do.
//!
//! Without the feature `faults`, which no release has, all of it is constant and compiles to
//! nothing. With it nothing happens either until [`arm`] is given a list such as
//! `store.commit=kill@3,bug:leak-descriptor`. Names that are not in the tables below are refused, so
//! that a misspelt one cannot pass for a test.

use std::io;

/// Every point of the program: name, and what has just happened or is about to.
pub const POINTS: &[(&str, &str)] = &[
    ("store.commit", "a batch of changes is about to be committed"),
    ("store.committed", "a batch is on the disk, and nobody has been told"),
    ("sandbox.launch", "a sandbox is about to be built"),
    ("sandbox.launched", "a sandbox is there, and its owner has not got it"),
    ("sandbox.destroy", "a sandbox is about to be destroyed"),
    ("invoke.answered", "a function has answered, and its client has not been told"),
    ("event.accept", "an event is about to be stored"),
    ("event.accepted", "an event is stored, and its sender has not been told"),
    ("event.lease", "waiting events are about to be leased"),
    ("event.leased", "events are leased, and nobody works on them"),
    ("event.call", "an event's function is about to be called"),
    ("event.called", "an event's function has ended, and nothing is written of it"),
    ("event.settle", "what came of an event is about to be written"),
    ("event.settled", "what came of an event is on the disk, and its place is still taken"),
    ("event.reclaim", "what an earlier run had leased is about to be taken back"),
    ("event.sweep", "what has outlived its use is about to be deleted"),
    ("delivery.send", "an outcome is about to be sent to its destination"),
    ("delivery.sent", "a destination has an outcome, and nothing is written of it"),
];

/// Every bug that can be planted: name, and what goes wrong.
pub const BUGS: &[(&str, &str)] = &[
    ("leak-descriptor", "each sandbox leaves a descriptor open in the server"),
    ("skip-reaping", "the jail's process is not waited for"),
    ("forget-memory", "running out of memory is taken for any other crash"),
    ("late-kill", "a call that is over its time is ended three seconds late"),
    ("no-request-timeout", "clients may take for ever to send a request"),
    ("follow-dots", "archives may name paths outside of their directory"),
    ("allow-rare-sockets", "the system call filter lets every socket family pass"),
    ("merge-lines", "lines of a log that come together are stored as one"),
    ("early-answer", "an event is answered before it is stored"),
    ("skip-sync", "changes are answered once the kernel has them, before they are synced"),
    ("skip-directory-sync", "names of the store's files are not synced"),
    ("one-lane", "the events of all functions wait in one line"),
    ("forget-reclaim", "what an earlier run had leased is not taken back at the start"),
];

/// What [`arm`] has read: once for a process.
#[cfg(feature = "faults")]
static ARMED: std::sync::OnceLock<plan::Plan> = std::sync::OnceLock::new();

/// Whether this build can fail on purpose.
pub const fn built_in() -> bool {
    cfg!(feature = "faults")
}

/// Arms points and bugs: `NAME=ACTION[@N]` and `bug:NAME`, separated by commas. Actions are `kill`,
/// `panic`, `error` and `wait:MILLISECONDS`; with `@N` only the N-th passing counts.
///
/// # Errors
/// In words, when something is misspelt, or this build has no faults.
#[cfg(feature = "faults")]
pub fn arm(list: &str) -> Result<(), String> {
    let plan = plan::Plan::parse(list)?;
    ARMED.set(plan).map_err(|_| "faults are armed once for a process".to_owned())
}

/// See the other build's.
#[cfg(not(feature = "faults"))]
pub fn arm(_list: &str) -> Result<(), String> {
    Err("this build has no faults: build it with the feature `faults`".to_owned())
}

/// Passes a point.
///
/// # Errors
/// Only when armed with `error`.
#[cfg(feature = "faults")]
pub fn point(name: &'static str) -> io::Result<()> {
    debug_assert!(POINTS.iter().any(|(known, _)| *known == name), "{name} is not in the table");
    ARMED.get().map_or(Ok(()), |plan| plan.pass(name))
}

/// Passes a point.
///
/// # Errors
/// Never in this build.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn point(_name: &'static str) -> io::Result<()> {
    Ok(())
}

/// Whether a bug is planted.
#[cfg(feature = "faults")]
pub fn bug(name: &'static str) -> bool {
    debug_assert!(BUGS.iter().any(|(known, _)| *known == name), "{name} is not in the table");
    ARMED.get().is_some_and(|plan| plan.bugs.contains(name))
}

/// Whether a bug is planted: not in this build.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn bug(_name: &'static str) -> bool {
    false
}

/// How often each point has been passed since [`arm`]; empty where nothing is armed.
#[cfg(feature = "faults")]
pub fn passed() -> Vec<(&'static str, u64)> {
    ARMED.get().map(plan::Plan::counts).unwrap_or_default()
}

/// How often each point has been passed: nothing counts in this build.
#[cfg(not(feature = "faults"))]
pub fn passed() -> Vec<(&'static str, u64)> {
    Vec::new()
}

#[cfg(feature = "faults")]
mod plan {
    //! What was armed, and how often each point has been passed.

    use super::{BUGS, POINTS};
    use std::collections::{BTreeMap, BTreeSet};
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Action {
        Kill,
        Panic,
        Error,
        Wait(Duration),
    }

    #[derive(Debug)]
    pub(super) struct Plan {
        /// What happens at a point, and at which passing when not at all.
        actions: BTreeMap<&'static str, (Action, Option<u64>)>,
        pub(super) bugs: BTreeSet<&'static str>,
        counts: BTreeMap<&'static str, AtomicU64>,
    }

    impl Plan {
        pub(super) fn parse(list: &str) -> Result<Self, String> {
            let mut plan = Self {
                actions: BTreeMap::new(),
                bugs: BTreeSet::new(),
                counts: POINTS.iter().map(|(name, _)| (*name, AtomicU64::new(0))).collect(),
            };
            for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                if let Some(name) = item.strip_prefix("bug:") {
                    plan.bugs.insert(known(BUGS, name)?);
                } else {
                    let (name, rest) =
                        item.split_once('=').ok_or(format!("{item:?} is not NAME=ACTION"))?;
                    plan.actions.insert(known(POINTS, name)?, action(rest)?);
                }
            }
            Ok(plan)
        }

        pub(super) fn pass(&self, name: &'static str) -> io::Result<()> {
            let count = self.counts.get(name).map_or(0, |n| n.fetch_add(1, Ordering::Relaxed) + 1);
            match self.actions.get(name) {
                Some((action, only)) if only.is_none_or(|only| only == count) => act(name, *action),
                _ => Ok(()),
            }
        }

        pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
            self.counts.iter().map(|(name, n)| (*name, n.load(Ordering::Relaxed))).collect()
        }
    }

    fn act(name: &str, action: Action) -> io::Result<()> {
        match action {
            // Without unwinding and without clean-up: as a crash.
            Action::Kill => std::process::abort(),
            Action::Panic => panic!("the fault {name} was armed with panic"),
            Action::Error => {
                Err(io::Error::other(format!("the fault {name} was armed with error")))
            }
            Action::Wait(time) => {
                std::thread::sleep(time);
                Ok(())
            }
        }
    }

    fn known(table: &[(&'static str, &str)], name: &str) -> Result<&'static str, String> {
        let names = || table.iter().map(|(known, _)| *known);
        names().find(|known| *known == name).ok_or_else(|| {
            format!("there is no {name:?}; there are: {}", names().collect::<Vec<_>>().join(", "))
        })
    }

    fn action(text: &str) -> Result<(Action, Option<u64>), String> {
        let (word, only) = match text.split_once('@') {
            Some((word, n)) => (word, Some(n.parse().map_err(|_| format!("{n:?} is no number"))?)),
            None => (text, None),
        };
        let action = match word.split_once(':') {
            Some(("wait", ms)) => Action::Wait(Duration::from_millis(
                ms.parse().map_err(|_| format!("{ms:?} is no number"))?,
            )),
            None if word == "kill" => Action::Kill,
            None if word == "panic" => Action::Panic,
            None if word == "error" => Action::Error,
            _ => return Err(format!("{word:?} is none of kill, panic, error, wait:MILLISECONDS")),
        };
        Ok((action, only))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_acts_when_it_is_its_turn() {
            let plan = Plan::parse("store.commit=error@2, store.committed=error").unwrap();
            assert!(plan.pass("store.commit").is_ok());
            assert!(plan.pass("store.commit").is_err());
            assert!(plan.pass("store.commit").is_ok());
            assert!(plan.pass("store.committed").is_err());
            assert!(plan.pass("sandbox.launch").is_ok());
            let counts = plan.counts();
            assert!(
                counts.contains(&("store.commit", 3)) && counts.contains(&("sandbox.launch", 1))
            );
        }

        #[test]
        fn bugs_are_planted_by_name() {
            let plan = Plan::parse("bug:leak-descriptor").unwrap();
            assert!(plan.bugs.contains("leak-descriptor") && !plan.bugs.contains("late-kill"));
        }

        #[test]
        fn what_is_misspelt_is_refused() {
            for bad in [
                "store.comit=kill",
                "store.commit",
                "store.commit=die",
                "store.commit=kill@x",
                "store.commit=wait:soon",
                "bug:none",
            ] {
                assert!(Plan::parse(bad).is_err(), "{bad}");
            }
        }

        #[test]
        fn waiting_is_read_in_milliseconds() {
            let wait = Action::Wait(Duration::from_millis(30));
            assert_eq!(action("wait:30@7"), Ok((wait, Some(7))));
        }
    }
}

#[cfg(all(test, not(feature = "faults")))]
mod tests {
    #[test]
    fn a_usual_build_cannot_be_armed_and_never_fails() {
        assert!(!super::built_in());
        assert!(super::arm("bug:leak-descriptor").is_err());
        assert!(super::point("store.commit").is_ok());
        assert!(!super::bug("leak-descriptor"));
        assert!(super::passed().is_empty());
    }
}
