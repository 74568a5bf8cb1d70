//! What only SQLite has: the file's version, damage, a full disk, groups, trimming.

use super::*;
use crate::{
    Ask, Dedup, Leases, Log, MessageId, Meta, NewMessage, Op, Queue, Receipt, Seq, Step, Store,
};
use bytes::Bytes;
use lamplight_env::{ManualClock, Timestamp};
use std::sync::Arc;
use std::time::Duration;

fn key(name: &str) -> Key {
    Key::new(&["t", name]).unwrap()
}

fn put(name: &str, body: &str) -> Op {
    Op::Put(key(name), Bytes::copy_from_slice(body.as_bytes()))
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &Env::system())
}

impl Sqlite {
    /// Does something to the writer between two groups.
    pub(super) async fn with_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> T {
        let (reply, answer) = oneshot::channel();
        let run = Request::Run(Box::new(move |writer| {
            let _ = reply.send(work(writer));
        }));
        let requests = self.requests.as_ref().unwrap();
        assert!(requests.send(run).await.is_ok());
        answer.await.unwrap()
    }
}

/// A database that version 1 wrote. Never edit it: add new ones.
#[tokio::test]
async fn a_database_of_version_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join("state.db")).unwrap();
    old.execute_batch(include_str!("../testdata/v1.sql")).unwrap();
    drop(old);
    let store = open(dir.path()).unwrap();
    let entry = store.meta.get(&Key::new(&["fn", "thumbs"]).unwrap()).await.unwrap().unwrap();
    assert_eq!((entry.rev, &entry.body[..]), (Rev(2), &b"{\"format\":1}"[..]));
    assert_eq!(store.meta.changes(Rev(1), 10).await.unwrap().len(), 1);
    assert_eq!(store.meta.txn(vec![put("a", "1")]).await, Ok(Rev(3)));
}

/// A database that version 2 wrote. Never edit it: add new ones.
#[tokio::test]
async fn a_database_of_version_2_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join("state.db")).unwrap();
    old.execute_batch(include_str!("../testdata/v2.sql")).unwrap();
    drop(old);
    let db = open(dir.path()).unwrap().meta;
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let messages = db.peek(&key("inbox"), None, 10).await.unwrap();
    let [one, two] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((&one.body[..], &one.state[..]), (&b"hello"[..], &b"s1"[..]));
    let receipt = Receipt { id: MessageId(7), lease: 2 };
    assert_eq!((one.receipt, one.group.as_deref(), one.leased), (receipt, Some("g"), true));
    assert_eq!((one.sent, one.first_leased, one.due), (at(1), Some(at(2)), at(30)));
    assert_eq!((&*two.name, two.due, two.leased), ("two", at(5), false));
    let again = NewMessage {
        dedup: Some(Dedup { id: "d".into(), until: at(999) }),
        ..NewMessage::new("three", Bytes::new(), at(299))
    };
    let stored = db.apply(vec![Step::Put(key("inbox"), again)], at(299)).await.unwrap();
    assert_eq!(stored[0].duplicate_of.as_deref(), Some("two"));
    assert_eq!(db.expire(at(900)).await.unwrap(), 1);
    assert_eq!(db.acquire(&key("lease"), "b", at(20), at(8)).await.unwrap(), None);
    let held = db.acquire(&key("lease"), "b", at(20), at(9)).await.unwrap().unwrap();
    assert_eq!(held.epoch, 5);
    assert_eq!(db.end(&key("shard")).await.unwrap(), Seq(6));
    let point = db.checkpoint_of(&key("reader"), &key("shard")).await.unwrap().unwrap();
    assert_eq!((point.seq, point.epoch, &point.state[..]), (Seq(5), 3, &b"s2"[..]));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("state.db");
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    let partial = dir.path().join("blobs/tmp/0123");
    std::fs::write(&partial, b"half").unwrap();
    let before = std::fs::read(&path).unwrap();
    let refusal = open(dir.path()).err().unwrap().to_string();
    assert!(refusal.contains("newer version (format 99, this version knows 2)"), "{refusal}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(partial.exists() && !dir.path().join("state.db-wal").exists());
}

#[tokio::test]
async fn a_newer_database_that_crashed_keeps_its_log() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(open(dir.path()).unwrap());
    let path = |name| dir.path().join(name);
    let newer = Connection::open(other.path().join("state.db")).unwrap();
    newer
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (x); PRAGMA user_version = 99; \
             PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (1);",
        )
        .unwrap();
    // Copied while it is open: as a crash leaves it.
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(other.path().join(name), path(name)).unwrap();
    }
    let before = ["state.db", "state.db-wal"].map(|name| std::fs::read(path(name)).unwrap());
    assert!(matches!(open(dir.path()), Err(OpenError::Newer { found: 99, .. })));
    let after = ["state.db", "state.db-wal"].map(|name| std::fs::read(path(name)).unwrap());
    assert!(before == after && !before[1].is_empty());
}

/// F15: a bit of a record, the end of the file, or all of it.
#[tokio::test]
async fn damage_is_named_and_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.meta.txn(vec![put("good", "kept whole"), put("bad", "flip a bit here")]).await.unwrap();
    drop(store);
    let path = dir.path().join("state.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(15).position(|w| w == b"flip a bit here").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = open(dir.path()).unwrap();
    let refusal = store.meta.get(&key("bad")).await.unwrap_err().to_string();
    assert!(refusal.starts_with("record t/bad is damaged"), "{refusal}");
    assert!(store.meta.list_all(&Key::new(&["t"]).unwrap()).await.is_err(), "not left out");
    assert_eq!(store.meta.get(&key("good")).await.unwrap().unwrap().body, "kept whole");
    drop(store);

    bytes.truncate(bytes.len() - 4096);
    std::fs::write(&path, &bytes).unwrap();
    let refusal = open(dir.path()).err().unwrap();
    assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
    std::fs::write(&path, b"this is no database at all, whatever its name may say about it")
        .unwrap();
    let refusal = open(dir.path()).err().unwrap();
    assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
}

/// Tries again where an index had to be made again first.
async fn twice<T, F>(work: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    match work().await {
        Err(StoreError::Unavailable(_)) => work().await.unwrap(),
        done => done.unwrap(),
    }
}

/// In every place where a text of a message stands, in tables and in indices.
#[tokio::test]
async fn a_flipped_bit_in_a_text_holds_up_nobody_else() {
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
    let dir = tempfile::tempdir().unwrap();
    let (plain, fifo) = (key("flip-plain"), key("flip-fifo"));
    let new = |name: &str, group: Option<&str>| NewMessage {
        group: group.map(str::to_owned),
        expires: Some(at(900)),
        ..NewMessage::new(name, Bytes::from("body"), at(0))
    };
    let steps = vec![
        Step::Put(plain.clone(), new("flip-name", None)),
        Step::Put(plain.clone(), new("sound", None)),
        Step::Put(fifo.clone(), new("first", Some("flip-group"))),
        Step::Put(fifo.clone(), new("second", Some("flip-group"))),
        Step::Put(fifo.clone(), new("other", Some("b"))),
    ];
    let store = open(dir.path()).unwrap();
    store.meta.apply(steps, at(0)).await.unwrap();
    drop(store);
    let whole = std::fs::read(dir.path().join("state.db")).unwrap();
    let mut flipped = 0;
    for text in ["flip-name", "flip-group", "flip-plain", "flip-fifo"] {
        let places = whole.windows(text.len()).enumerate().filter(|(_, w)| w == &text.as_bytes());
        for (place, _) in places {
            flipped += 1;
            let dir = tempfile::tempdir().unwrap();
            let mut bytes = whole.clone();
            bytes[place] ^= 0x80;
            std::fs::write(dir.path().join("state.db"), &bytes).unwrap();
            let store = open(dir.path()).unwrap();
            let db = &store.meta;
            db.depths(&Key::new(&["t"]).unwrap(), at(0)).await.unwrap();
            let ask = |in_order, until| Ask {
                messages: 9,
                bytes: usize::MAX,
                in_order,
                until: at(until),
            };
            let mut given = db.lease(&plain, ask(false, 9), at(0)).await.unwrap();
            // What is set aside in the first round is in nobody's way in the second.
            for _ in 0..2 {
                for message in db.lease(&fifo, ask(true, 9), at(0)).await.unwrap() {
                    twice(|| db.apply(vec![Step::Done(message.receipt)], at(0))).await;
                    given.push(message);
                }
            }
            let names: Vec<&str> = given.iter().map(|message| &*message.name).collect();
            match text {
                "flip-name" => assert_eq!(names, ["sound", "first", "second", "other"]),
                "flip-group" => {
                    assert!(names.len() >= 4 && names.contains(&"other"), "{place}: {names:?}");
                }
                // A queue without its name may be out of reach.
                _ => {}
            }
            let late = Step::Put(fifo.clone(), new("late", Some("flip-group")));
            twice(|| db.apply(vec![late.clone()], at(0))).await;
            let late = db.lease(&fifo, ask(true, 9), at(0)).await.unwrap();
            assert!(late.len() == 1 || text.ends_with("fifo"), "{text} at {place}");
            twice(|| db.expire(at(1000))).await;
            twice(|| db.purge(&fifo)).await;
            drop(store);
            let again = open(dir.path()).unwrap();
            assert_eq!(again.meta.txn(vec![put("a", "1")]).await, Ok(Rev(1)));
        }
    }
    assert!(flipped >= 8, "{flipped}");
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let limit = |pages: u32| {
        store.meta.with_writer(move |writer| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            writer.connection.query_row(&sql, [], |_| Ok(())).unwrap();
        })
    };
    limit(40).await;
    let body = "x".repeat(3000);
    let mut written = 0;
    let refusal = loop {
        match store.meta.txn(vec![put(&written.to_string(), &body)]).await {
            Ok(_) => written += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, StoreError::Unavailable("no space left on the disk".into()));
    assert!(written > 3);
    assert_eq!(store.meta.get(&key("0")).await.unwrap().unwrap().body, body);
    assert_eq!(store.meta.get(&key(&written.to_string())).await.unwrap(), None);
    limit(1 << 20).await;
    let rev = store.meta.txn(vec![put("after", &body)]).await.unwrap();
    assert_eq!(rev, Rev(written + 1), "the refused one used up no revision");
    drop(store);
    let store = open(dir.path()).unwrap();
    let all = store.meta.list_all(&Key::new(&["t"]).unwrap()).await.unwrap();
    assert_eq!(all.len() as i64, written + 1);
}

#[tokio::test]
async fn a_conflict_leaves_its_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    // The writer is kept busy until all have queued up, so they share one commit.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hold = store.meta.with_writer(move |_| held.recv().is_ok());
    let claim = |name: &str| {
        store.meta.txn(vec![Op::Expect(key("one"), None), put("one", name), put(name, "")])
    };
    let (held, a, b, other, ()) = tokio::join!(
        biased;
        hold,
        claim("a"),
        claim("b"),
        store.meta.txn(vec![put("other", "")]),
        async { release.send(()).unwrap() },
    );
    assert!(held);
    assert_eq!((a, b, other), (Ok(Rev(2)), Err(StoreError::Conflict(key("one"))), Ok(Rev(3))));
    assert_eq!(store.meta.get(&key("one")).await.unwrap().unwrap().body, "a");
    assert_eq!(store.meta.get(&key("b")).await.unwrap(), None);
}

#[tokio::test]
async fn the_changelog_is_trimmed_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000_000_000)));
    let env = Env { clock: clock.clone(), ..Env::system() };
    let store = Store::open(dir.path(), &env).unwrap();
    store.meta.with_writer(|w| (w.retention.every, w.retention.rows) = (1, 5)).await;
    for n in 0..20 {
        store.meta.txn(vec![put("a", &n.to_string())]).await.unwrap();
    }
    assert_eq!(store.meta.changes(Rev(14), 100).await, Err(StoreError::Compacted));
    let kept = store.meta.changes(Rev(15), 100).await.unwrap();
    assert_eq!(kept.iter().map(|c| c.rev.0).collect::<Vec<_>>(), [16, 17, 18, 19, 20]);

    clock.advance(Duration::from_secs(24 * 3600 + 1));
    store.meta.txn(vec![put("a", "later")]).await.unwrap();
    assert_eq!(store.meta.changes(Rev(19), 100).await, Err(StoreError::Compacted));
    assert_eq!(store.meta.changes(Rev(20), 100).await.unwrap().len(), 1);

    // A clock that goes backwards makes no gap, and the newest is kept over a restart.
    clock.jump_to(Timestamp::from_millis(0));
    store.meta.txn(vec![put("a", "earlier")]).await.unwrap();
    assert_eq!(store.meta.changes(Rev(20), 100).await.unwrap().len(), 2);
    drop(store);
    clock.advance(Duration::from_secs(1_000_000 * 3600));
    let store = Store::open(dir.path(), &env).unwrap();
    assert_eq!(store.meta.txn(vec![put("a", "last")]).await, Ok(Rev(23)));
}

#[tokio::test]
async fn the_log_is_folded_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let body = "x".repeat(500_000);
    for n in 0..60 {
        store.meta.txn(vec![put(&(n % 3).to_string(), &body)]).await.unwrap();
    }
    let size = |name| std::fs::metadata(dir.path().join(name)).unwrap().len();
    assert!(size("state.db-wal") < 16 << 20, "{}", size("state.db-wal"));
    assert!(size("state.db") > 1 << 20);
}
