//! What is dropped and said, what is kept at the end, and that nothing is lost on the way.

use super::*;
use crate::logs::store::{Position, Query, Which};
use lamplight_model::AccountId;

fn scope() -> Scope {
    Scope { account: AccountId::new("000000000000").unwrap(), region: "eu-west-1".into() }
}

fn line(intake: &Intake, message: &str) -> LogEvent {
    LogEvent { at: intake.env.clock.now(), message: message.to_owned() }
}

fn messages(intake: &Intake, group: &str) -> Vec<String> {
    let query = Query {
        streams: None,
        range: (0, i64::MAX - 1),
        after: None::<Position>,
        backward: false,
        limit: 10_000,
        wanted: &|_| true,
    };
    let group = intake.store.group(&scope(), group).unwrap();
    let page = group.read(&Which::All, query, 0).unwrap();
    page.events.into_iter().map(|event| event.message).collect()
}

#[test]
fn what_does_not_fit_is_counted_in_its_stream() {
    let dir = tempfile::tempdir().unwrap();
    let intake = Intake::new(Store::open(dir.path()).unwrap(), Env::system(), 2100);
    for n in 0..20 {
        let event = line(&intake, &format!("line {n}"));
        intake.push(&scope(), "g", "s", vec![event]);
    }
    intake.drain();
    let kept = messages(&intake, "g");
    let (last, kept) = kept.split_last().unwrap();
    assert_eq!(kept.len(), 9);
    assert_eq!(last, "11 events were dropped: the log could not take them in time");
    intake.push(&scope(), "g", "s", vec![line(&intake, "again")]);
    intake.drain();
    assert_eq!(messages(&intake, "g").len(), 11, "the room is free again, the count is said once");
}

#[test]
fn a_disk_that_refuses_costs_events_and_not_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let intake = Intake::new(Store::open(dir.path()).unwrap(), Env::system(), ROOM);
    // A file where the region's directory belongs: nothing can be made below it.
    let account = dir.path().join("000000000000");
    std::fs::create_dir(&account).unwrap();
    std::fs::write(account.join("eu-west-1"), "").unwrap();
    intake.push(&scope(), "g", "s", vec![line(&intake, "one"), line(&intake, "two")]);
    intake.drain();
    std::fs::remove_file(account.join("eu-west-1")).unwrap();
    intake.push(&scope(), "g", "s", vec![line(&intake, "three")]);
    intake.drain();
    assert_eq!(
        messages(&intake, "g"),
        ["three", "2 events were dropped: the log could not take them in time"]
    );
}

#[test]
fn long_messages_are_cut_between_characters_and_marked() {
    let mut long = "é".repeat(limits::LOG_EVENT);
    cut(&mut long);
    assert!(long.len() <= limits::LOG_EVENT && long.ends_with("é…[cut]"));
    let mut short = "x".repeat(limits::LOG_EVENT);
    cut(&mut short);
    assert_eq!(short.len(), limits::LOG_EVENT);
}

#[tokio::test]
async fn lines_of_the_last_calls_are_kept_when_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::system();
    let intake = Intake::start(Store::open(dir.path()).unwrap(), env.clone());
    intake.push(&scope(), "g", "s", vec![line(&intake, "before")]);
    assert!(env.tasks.shut_down(Duration::from_secs(30)).await);
    intake.push(&scope(), "g", "s", vec![line(&intake, "after")]);
    intake.settle().await;
    assert_eq!(messages(&intake, "g"), ["before", "after"]);
    drop(intake);
    let again = Intake::new(Store::open(dir.path()).unwrap(), Env::system(), ROOM);
    assert_eq!(messages(&again, "g"), ["before", "after"]);
}

#[tokio::test]
async fn a_flood_of_single_lines_is_all_there_after_settling() {
    let dir = tempfile::tempdir().unwrap();
    let intake = Intake::start(Store::open(dir.path()).unwrap(), Env::system());
    for n in 0..20_000 {
        let event = line(&intake, &n.to_string());
        intake.push(&scope(), "g", &format!("s{}", n % 7), vec![event]);
    }
    intake.settle().await;
    let group = intake.store.group(&scope(), "g").unwrap();
    let (mut after, mut seen) = (None, 0);
    loop {
        let query = Query {
            streams: None,
            range: (0, i64::MAX - 1),
            after,
            backward: false,
            limit: 3_333,
            wanted: &|_| true,
        };
        let page = group.read(&Which::All, query, 0).unwrap();
        seen += page.events.len();
        after = page.reached;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 20_000);
    assert!(intake.env.tasks.shut_down(Duration::from_secs(30)).await);
}

#[test]
fn many_groups_are_synced_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let intake = Intake::new(Store::open(dir.path()).unwrap(), Env::system(), ROOM);
    for n in 0..50 {
        intake.push(&scope(), &format!("g{n}"), "s", vec![line(&intake, "x")]);
    }
    intake.drain();
    let open = || intake.store.all().iter().filter(|group| group.is_written()).count();
    assert_eq!(open(), 50);
    // The first syncs, the second closes what was not written to since.
    intake.sync();
    assert_eq!(open(), 50);
    intake.sync();
    assert_eq!(open(), 0);
}
