//! Cut off before every single statement: what is on the disk then is read again, and is always
//! the state before or after a whole transaction, never before one that was answered.

use super::*;
use crate::{
    Ask, Checkpoint, Leases, Log, Moved, NewMessage, Queue, Receipt, Seq, Step, Store, StoreError,
};
use bytes::Bytes;
use lamplight_env::Timestamp;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use std::cell::RefCell;
use std::path::PathBuf;

thread_local! {
    /// Where the writer's thread puts its images, and how many there are.
    static IMAGES: RefCell<Option<(PathBuf, PathBuf, usize)>> = const { RefCell::new(None) };
}

/// Called before a statement runs: what a crash at this moment leaves.
fn take_image(_: TraceEvent<'_>) {
    IMAGES.with_borrow_mut(|images| {
        let Some((from, to, count)) = images else { return };
        let image = to.join(format!("{count:03}"));
        std::fs::create_dir(&image).unwrap();
        for name in ["state.db", "state.db-wal"] {
            std::fs::copy(from.join(name), image.join(name)).unwrap();
        }
        *count += 1;
    });
}

fn key(name: &str) -> Key {
    Key::new(&["t", name]).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

/// Everything that can be read.
async fn dump(store: &Store) -> String {
    let db = &store.meta;
    let all = Key::new(&["t"]).unwrap();
    let mut messages = Vec::new();
    for depth in db.depths(&all, at(0)).await.unwrap() {
        messages.extend(db.peek(&depth.queue, None, 100).await.unwrap());
    }
    let log = Log::read(&**db, &key("shard"), Seq(0), 100).await.unwrap();
    let point = db.checkpoint_of(&key("reader"), &key("shard")).await.unwrap();
    let meta = db.list_all(&all).await.unwrap();
    format!("{messages:?} {log:?} {point:?} {meta:?}")
}

async fn work(db: &Sqlite, step: usize) -> Result<(), StoreError> {
    let (inbox, outbox, ended) = (key("inbox"), key("outbox"), key("ended"));
    let receipt = |id, lease| Receipt { id: crate::MessageId(id), lease };
    let new = |name: &str| NewMessage::new(name, Bytes::from(vec![b'x'; 5000]), at(0));
    let moved = |queue: Key, keep_body| Moved {
        queue,
        due: at(5),
        expires: Some(at(900)),
        state: Bytes::from("outcome"),
        keep_body,
    };
    let steps = match step {
        0 => vec![
            Step::Put(inbox.clone(), NewMessage { lease: Some(at(30)), ..new("one") }),
            Step::Put(inbox.clone(), new("two")),
            Step::Put(inbox.clone(), new("three")),
            Step::Put(inbox, new("four")),
        ],
        1 => {
            let ask = Ask { messages: 1, bytes: 1, in_order: false, until: at(30) };
            return db.lease(&inbox, ask, at(1)).await.map(drop);
        }
        // The end of an event: its outcome and what is owed to others, in one.
        2 => {
            vec![Step::Move(receipt(1, 1), moved(ended, false)), Step::Put(outbox, new("delivery"))]
        }
        3 => vec![Step::Retry {
            receipt: receipt(2, 1),
            due: at(60),
            state: Some(Bytes::from("failed once")),
        }],
        4 => vec![
            Step::Move(receipt(2, 1), moved(outbox, true)),
            Step::Done(receipt(4, 0)),
            Step::Extend { receipt: receipt(3, 0), until: at(99) },
        ],
        5 => return db.txn(vec![Op::Put(key("a"), Bytes::from("1"))]).await.map(drop),
        6 => return db.append(&key("shard"), vec![Bytes::from("r"); 3], at(0)).await.map(drop),
        7 => {
            let point = Checkpoint { seq: Seq(2), epoch: 1, state: Bytes::from("half") };
            return db.checkpoint(&key("reader"), &key("shard"), point).await;
        }
        8 => return db.acquire(&key("lease"), "me", at(9), at(0)).await.map(drop),
        9 => return Queue::trim(db, &key("outbox"), 1).await.map(drop),
        10 => return db.reclaim(&key("inbox"), at(9)).await.map(drop),
        11 => return db.expire(at(900)).await.map(drop),
        _ => return db.purge(&inbox).await.map(drop),
    };
    db.apply(steps, at(0)).await.map(drop)
}

#[tokio::test]
async fn a_crash_between_any_two_statements_keeps_whole_transactions() {
    const STEPS: usize = 13;
    let (dir, images) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(dir.path(), &Env::system()).unwrap();
    let place = (dir.path().to_owned(), images.path().to_owned(), 0);
    store
        .meta
        .with_writer(move |writer| {
            IMAGES.set(Some(place));
            let wanted = TraceEventCodes::SQLITE_TRACE_STMT;
            writer.connection.trace_v2(wanted, Some(take_image)).unwrap();
        })
        .await;
    let taken = || {
        store.meta.with_writer(|_| IMAGES.with_borrow(|images| images.as_ref().map_or(0, |i| i.2)))
    };
    let mut states = vec![dump(&store).await];
    let mut ends = vec![taken().await];
    for step in 0..STEPS {
        work(&store.meta, step).await.unwrap();
        states.push(dump(&store).await);
        ends.push(taken().await);
    }
    // The lease shows in nothing that is dumped.
    let changed = states.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(changed, STEPS - 1, "a step does nothing");
    drop(store);
    let mut between = 0;
    for step in 0..STEPS {
        for image in ends[step]..ends[step + 1] {
            let path = images.path().join(format!("{image:03}"));
            let found = dump(&Store::open(&path, &Env::system()).unwrap()).await;
            assert!(
                found == states[step] || found == states[step + 1],
                "step {step}, image {image}: {found}"
            );
            between += 1;
        }
    }
    assert!(between > 5 * STEPS, "{between} images");
}
