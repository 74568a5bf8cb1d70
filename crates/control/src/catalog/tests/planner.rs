//! The decisions of the repair loop, without anything to repair.

use super::super::machine::{self, Birth, Stamp};
use super::super::reconciler::{Plan, Suspects, plan};
use super::super::snapshot::{Function, Snapshot};
use super::*;
use lamplight_env::{Clock, SystemClock, Timestamp};
use lamplight_store::{Digest, Rev};

fn stamp() -> Stamp {
    Stamp { revision_id: "r".into(), now: Timestamp::from_millis(0) }
}

fn pending(name: &str, content: &str) -> FunctionRecord {
    let birth = Birth {
        name: name.into(),
        settings: settings(),
        code: CodeRef { digest: digest(content), size: 1, origin: None, unpacked: 0 },
        tags: Default::default(),
        generation: 1,
    };
    machine::create(birth, stamp())
}

fn snapshot(records: Vec<FunctionRecord>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for record in records {
        snapshot.insert(Function::new(arn(&record.name), record, Rev(1)));
    }
    snapshot
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_look_at_everything_finds_strays_and_gaps() {
    let active = machine::finish(&pending("b", "kept"), stamp()).unwrap();
    let snapshot = snapshot(vec![pending("a", "gone"), active]);
    let mut suspects = Suspects::default();
    let now = SystemClock.instant();
    suspects.add(&digest("late"), 1, SECOND, now);
    let stored = ["kept", "stray", "late"].map(|c| Digest::of(c.as_bytes()));
    let found = plan(&snapshot, &mut suspects, Some(&stored), now);
    let expected = Plan {
        finish: vec![(arn("a"), Qualifier::Latest)],
        collect: vec![digest("stray")],
        missing: vec![digest("gone")],
    };
    assert_eq!(found, expected);
    let quick = plan(&snapshot, &mut suspects, None, now + 61 * SECOND);
    assert_eq!((quick.collect, quick.missing), (vec![digest("late")], vec![]));
}

#[test]
fn a_suspect_that_found_a_function_is_none() {
    let mut suspects = Suspects::default();
    let now = SystemClock.instant();
    suspects.add(&digest("code"), 1, SECOND, now);
    let found =
        plan(&snapshot(vec![pending("a", "code")]), &mut suspects, None, now + 100 * SECOND);
    assert_eq!(found.collect, Vec::<String>::new());
    assert!(!suspects.contains(&digest("code")));
}

#[test]
fn too_many_suspects_go_early_the_oldest_first() {
    let mut suspects = Suspects::default();
    let now = SystemClock.instant();
    for n in 0..Suspects::MAX as u32 + 2 {
        suspects.add(&digest(&n.to_string()), 1, SECOND * (n + 1), now);
    }
    let found = plan(&Snapshot::default(), &mut suspects, None, now);
    let mut oldest = vec![digest("0"), digest("1")];
    oldest.sort();
    assert_eq!(found.collect, oldest);
    assert_eq!(plan(&Snapshot::default(), &mut suspects, None, now).collect, Vec::<String>::new());
}

#[test]
fn a_failed_update_keeps_the_function_active() {
    let active = machine::finish(&pending("a", "1"), stamp()).unwrap();
    let changed = machine::update_settings(&active, settings(), stamp());
    let failure = machine::Failure { code: "C".into(), reason: "R".into() };
    let failed = machine::fail(&changed, failure, stamp()).unwrap();
    assert_eq!(failed.state, State::Active);
    assert!(matches!(failed.last_update, LastUpdate::Failed { .. }));
    assert!(machine::guard_invoke(&failed).is_ok());
    assert!(machine::guard_update(&arn("a"), &failed, None).is_ok());
    assert_eq!(machine::finish(&failed, stamp()), None);
}
