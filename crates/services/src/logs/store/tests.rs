//! The store as a whole: pages, deletions, retention, restarts and readers beside a writer.

use super::segment::DAY;
use super::*;
use lamplight_env::Timestamp;
use lamplight_model::AccountId;
use lamplight_rpc::LogEvent;
use std::collections::HashSet;

const NOW: i64 = 20_000 * DAY + 1_000;

fn scope() -> Scope {
    Scope { account: AccountId::new("000000000000").unwrap(), region: "eu-west-1".into() }
}

fn event(at: i64, message: impl Into<String>) -> LogEvent {
    LogEvent { at: Timestamp::from_millis(at), message: message.into() }
}

fn put(group: &Group, stream: &str, events: &[LogEvent]) {
    group.append(&[Batch { stream, events }], NOW).unwrap();
}

fn query(after: Option<Position>, backward: bool, limit: usize) -> Query<'static> {
    Query { streams: None, range: (0, i64::MAX - 1), after, backward, limit, wanted: &|_| true }
}

/// All messages in reading order, page by page.
fn all(group: &Group, which: &Which, backward: bool, limit: usize) -> Vec<String> {
    let (mut after, mut out) = (None, Vec::new());
    loop {
        let page = group.read(which, query(after, backward, limit), NOW).unwrap();
        assert!(page.events.len() <= limit);
        out.extend(page.events.into_iter().map(|event| event.message));
        after = page.reached;
        if after.is_none() {
            return out;
        }
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |path: PathBuf| {
        if path.is_dir() { bytes_in(&path) } else { fs::metadata(path).unwrap().len() }
    };
    entries.map(|entry| size(entry.path())).sum()
}

#[test]
fn pages_of_any_size_hold_every_event_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let group = store.create(&scope(), "/aws/lambda/f", NOW, Settings::default()).unwrap();
    // Late and early events, ties, three days, three streams.
    let mut expected = Vec::new();
    for n in 0..300i64 {
        let at = NOW - (n * 7_919 % 97) * (DAY / 40);
        expected.push((at, n));
        put(&group, ["a", "b", "ab"][(n % 3) as usize], &[event(at, n.to_string())]);
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, n)| n.to_string()).collect();
    let reversed: Vec<_> = expected.iter().rev().cloned().collect();
    for limit in [1, 2, 7, 299, 300, 10_000] {
        assert_eq!(all(&group, &Which::All, false, limit), expected, "limit {limit}");
        assert_eq!(all(&group, &Which::All, true, limit), reversed, "limit {limit}");
        let of_a: HashSet<_> = all(&group, &Which::Prefix("a"), false, limit).into_iter().collect();
        assert_eq!(of_a.len(), 200);
        assert!(of_a.iter().all(|n| n.parse::<i64>().unwrap() % 3 != 1));
        assert_eq!(all(&group, &Which::Named(&["b".into()]), true, limit).len(), 100);
    }
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let group = store.group(&scope(), "/aws/lambda/f").unwrap();
    assert_eq!(all(&group, &Which::All, false, 13), expected, "after a restart");
    let missing = group.read(&Which::Named(&["c".into()]), query(None, false, 1), NOW);
    assert!(matches!(missing, Err(LogsError::NoStream(_))));
}

#[test]
fn a_search_that_finds_nothing_goes_on_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let group = store.create(&scope(), "g", NOW, Settings::default()).unwrap();
    let filler = "x".repeat(64 * 1024);
    for n in 0..1_600 {
        put(&group, "s", &[event(NOW + n, filler.as_str())]);
    }
    put(&group, "s", &[event(NOW + 5_000, "needle")]);
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let mut query = query(after, false, 100);
        query.wanted = &|message| message == "needle";
        let page = group.read(&Which::All, query, NOW).unwrap();
        pages.push(page.events.len());
        assert!(page.reached.is_none() || page.reached > after);
        after = page.reached;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().sum::<usize>(), 1);
    assert!((3..=8).contains(&pages.len()), "100 MiB in pages of 32 MiB: {pages:?}");
    // A page is bounded in bytes too.
    let page = group.read(&Which::All, query(None, false, 10_000), NOW).unwrap();
    assert_eq!(page.events.len(), 16);
    assert!(page.reached.is_some());
}

#[test]
fn deleted_streams_and_groups_leave_nothing_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let group = store.create(&scope(), "g", NOW, Settings::default()).unwrap();
    let filler = "x".repeat(10_000);
    for day in 0..3 {
        for n in 0..20 {
            put(&group, "big", &[event(NOW - day * DAY + n, filler.as_str())]);
        }
    }
    put(&group, "small", &[event(NOW, "kept")]);
    assert!(bytes_in(dir.path()) > 600_000);
    group.delete_stream("big").unwrap();
    assert_eq!(all(&group, &Which::All, false, 10), ["kept"], "gone at once");
    drop((group, store));
    // A crash between the answer and the freeing changes nothing.
    let store = Store::open(dir.path()).unwrap();
    let group = store.group(&scope(), "g").unwrap();
    assert_eq!(all(&group, &Which::All, false, 10), ["kept"]);
    put(&group, "big", &[event(NOW, "a new stream of the same name")]);
    group.purge().unwrap();
    assert!(bytes_in(dir.path()) < 2_000);
    assert!(group.meta().deleted.is_empty());
    assert_eq!(all(&group, &Which::All, false, 1), ["kept", "a new stream of the same name"]);
    put(&group, "small", &[event(NOW + 1, "more")]);
    assert_eq!(all(&group, &Which::Named(&["small".into()]), false, 1), ["kept", "more"]);
    store.delete(&scope(), "g").unwrap();
    assert_eq!(bytes_in(dir.path()), 0);
    assert!(matches!(store.group(&scope(), "g"), Err(LogsError::NoGroup(_))));
    let late = group.append(&[Batch { stream: "s", events: &[event(NOW, "late")] }], NOW);
    assert!(matches!(late, Err(LogsError::NoGroup(_))));
    assert!(group.read(&Which::All, query(None, false, 1), NOW).is_err());
    assert_eq!(bytes_in(dir.path()), 0);
}

#[test]
fn retention_hides_old_events_at_once_and_removes_whole_days() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let group = store.create(&scope(), "g", NOW, Settings::default()).unwrap();
    group.create_stream("made", NOW).unwrap();
    for days in 0..5 {
        let stream = format!("day {days}");
        put(&group, &stream, &[event(NOW - days * DAY, stream.as_str())]);
    }
    group.change(|meta| meta.retention_days = Some(2)).unwrap();
    assert_eq!(all(&group, &Which::All, false, 10), ["day 2", "day 1", "day 0"]);
    group.expire(NOW).unwrap();
    let mut names: Vec<_> = group.streams("").unwrap().into_iter().map(|s| s.name).collect();
    names.sort();
    assert_eq!(names, ["day 0", "day 1", "day 2", "made"].map(Arc::from));
    group.expire(NOW + 10 * DAY).unwrap();
    assert_eq!(group.streams("").unwrap().len(), 1);
    assert_eq!(group.stored_bytes(), 0);
    put(&group, "made", &[event(NOW + 10 * DAY, "new")]);
    drop((group, store));
    let store = Store::open(dir.path()).unwrap();
    let group = store.group(&scope(), "g").unwrap();
    assert_eq!(group.meta().retention_days, Some(2));
    group.expire(NOW + 20 * DAY).unwrap();
    assert_eq!(group.stored_bytes(), 0, "also where nobody has asked for the group yet");
    assert!(group.streams("").unwrap()[0].seen.is_none());
}

#[test]
fn readers_beside_a_writer_and_a_purge_see_each_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let group = store.create(&scope(), "g", NOW, Settings::default()).unwrap();
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for n in 0..2_000i64 {
                put(&group, "kept", &[event(NOW + n, n.to_string())]);
                put(&group, "noise", &[event(NOW + n, "noise")]);
                if n % 100 == 50 {
                    group.delete_stream("noise").unwrap();
                    group.purge().unwrap();
                    group.sync().unwrap();
                }
            }
        });
        let mut longest = 0;
        while longest < 2_000 {
            let finished = writer.is_finished();
            if group.streams("kept").unwrap().is_empty() {
                assert!(!finished);
                continue;
            }
            let seen = all(&group, &Which::Named(&["kept".into()]), false, 200);
            let expected: Vec<_> = (0..seen.len()).map(|n| n.to_string()).collect();
            assert_eq!(seen, expected);
            assert!(seen.len() >= longest, "what was seen once stays");
            longest = seen.len();
            assert!(!finished || longest == 2_000);
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_group_that_nobody_uses_is_forgotten_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let group = store.create(&scope(), "g", NOW, Settings::default()).unwrap();
    let filler = "x".repeat(100_000);
    for n in 0..30 {
        put(&group, "s", &[event(NOW + n, format!("{n} {filler}"))]);
    }
    let before = all(&group, &Which::All, false, 100);
    group.rest(0);
    assert!(group.is_loaded(), "its file is still written to");
    group.sync().unwrap();
    put(&group, "s", &[event(NOW + 99, "after the checkpoint")]);
    group.sync().unwrap();
    group.sync().unwrap();
    group.rest(1);
    assert!(group.is_loaded(), "its rest was too short");
    group.rest(1);
    assert!(!group.is_loaded());
    let (stored, after) = (group.stored_bytes(), all(&group, &Which::All, false, 100));
    assert_eq!(after[..30], before[..]);
    assert_eq!(after[30..], ["after the checkpoint"]);
    assert_eq!(group.stored_bytes(), stored);
    put(&group, "s", &[event(NOW + 100, "more")]);
    group.delete_stream("s").unwrap();
    group.purge().unwrap();
    assert!(bytes_in(dir.path()) < 1_000);
}

#[test]
fn names_become_file_names_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let long = "/a.b#".repeat(100);
    let names = [".", "..", "a/b", "a+b", "A/b", "/aws/lambda/f", long.as_str(), "deleted"];
    let elsewhere = Scope { region: "../../..".into(), ..scope() };
    {
        let store = Store::open(dir.path()).unwrap();
        for scope in [&scope(), &elsewhere] {
            for name in names {
                let group = store.create(scope, name, NOW, Settings::default()).unwrap();
                put(&group, "s", &[event(NOW, name)]);
                let again = store.create(scope, name, NOW, Settings::default());
                assert!(matches!(again, Err(LogsError::GroupExists(_))));
            }
        }
    }
    let store = Store::open(dir.path()).unwrap();
    for scope in [&scope(), &elsewhere] {
        for name in names {
            let group = store.group(scope, name).unwrap();
            assert_eq!(all(&group, &Which::All, false, 10), [name]);
        }
    }
    assert_eq!(store.groups(&scope(), "").len(), names.len());
    assert_eq!(store.groups(&scope(), "A/b").len(), names.len() - 5);
}

#[test]
fn a_group_with_unreadable_settings_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(&scope(), "good", NOW, Settings::default()).unwrap();
    let group = store.create(&scope(), "bad", NOW, Settings::default()).unwrap();
    let file = group.dir().join(durable::META);
    fs::write(&file, "{").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.group(&scope(), "good").is_ok());
    assert!(store.group(&scope(), "bad").is_err());
    let refused = store.create(&scope(), "bad", NOW, Settings::default());
    assert!(matches!(refused, Err(LogsError::Damaged { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"{");
}
