//! What every implementation of [`Log`] does.

use super::{at, key};
use crate::{APPEND_MAX, Checkpoint, Key, Log, Seq, StoreError};
use bytes::Bytes;

/// Runs all of Log's.
pub async fn log(log: &dyn Log) {
    order(log).await;
    trimming(log).await;
    checkpoints(log).await;
    limits(log).await;
}

fn bodies(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::from(*text)).collect()
}

async fn texts(log: &dyn Log, shard: &Key, from: i64, limit: usize) -> Vec<(i64, Bytes)> {
    let records = log.read(shard, Seq(from), limit).await.unwrap();
    records.into_iter().map(|record| (record.seq.0, record.body)).collect()
}

async fn order(log: &dyn Log) {
    let (shard, other) = (key(&["log", "a"]), key(&["log", "b"]));
    assert_eq!(log.end(&shard).await.unwrap(), Seq(1));
    assert_eq!(texts(log, &shard, 0, 10).await, []);
    let written = log.append(&shard, bodies(&["one", "two"]), at(5)).await.unwrap();
    assert_eq!(written, Seq(1)..Seq(3));
    assert_eq!(log.append(&other, bodies(&["x"]), at(5)).await.unwrap(), Seq(1)..Seq(2));
    // A clock that went backwards does not change the order.
    assert_eq!(log.append(&shard, bodies(&["three"]), at(1)).await.unwrap(), Seq(3)..Seq(4));
    let all = [(1, "one".into()), (2, "two".into()), (3, "three".into())];
    assert_eq!(texts(log, &shard, 0, 10).await, all);
    assert_eq!(texts(log, &shard, 2, 1).await, all[1..2]);
    assert_eq!(texts(log, &shard, 4, 10).await, []);
    assert_eq!(log.end(&shard).await.unwrap(), Seq(4));
    let nothing = log.append(&shard, Vec::new(), at(1)).await.unwrap();
    assert_eq!(nothing, Seq(4)..Seq(4));
}

async fn trimming(log: &dyn Log) {
    let shard = key(&["log", "trim"]);
    log.append(&shard, bodies(&["one", "two", "three"]), at(0)).await.unwrap();
    log.trim(&shard, Seq(3)).await.unwrap();
    assert_eq!(texts(log, &shard, 1, 10).await, [(3, "three".into())]);
    log.trim(&shard, Seq(100)).await.unwrap();
    assert_eq!(texts(log, &shard, 1, 10).await, []);
    assert_eq!(log.end(&shard).await.unwrap(), Seq(4), "places are never used again");
    assert_eq!(log.append(&shard, bodies(&["four"]), at(0)).await.unwrap(), Seq(4)..Seq(5));
}

async fn checkpoints(log: &dyn Log) {
    let (reader, shard) = (key(&["reader", "a"]), key(&["log", "checked"]));
    let point = |seq, epoch, state: &'static str| Checkpoint {
        seq: Seq(seq),
        epoch,
        state: Bytes::from(state),
    };
    assert_eq!(log.checkpoint_of(&reader, &shard).await.unwrap(), None);
    log.checkpoint(&reader, &shard, point(5, 1, "a")).await.unwrap();
    // A reader may go back; what it may not do is overtake the one that took its place.
    log.checkpoint(&reader, &shard, point(4, 1, "b")).await.unwrap();
    log.checkpoint(&reader, &shard, point(4, 2, "c")).await.unwrap();
    let stale = log.checkpoint(&reader, &shard, point(9, 1, "stale")).await;
    assert_eq!(stale, Err(StoreError::Fenced(reader.clone())));
    assert_eq!(log.checkpoint_of(&reader, &shard).await.unwrap(), Some(point(4, 2, "c")));
    let other = key(&["reader", "b"]);
    assert_eq!(log.checkpoint_of(&other, &shard).await.unwrap(), None);
    log.append(&shard, bodies(&["one"]), at(0)).await.unwrap();
    log.delete(&shard).await.unwrap();
    assert_eq!(log.checkpoint_of(&reader, &shard).await.unwrap(), None);
    assert_eq!(texts(log, &shard, 0, 10).await, []);
    assert_eq!(log.end(&shard).await.unwrap(), Seq(1));
}

async fn limits(log: &dyn Log) {
    let shard = key(&["log", "limits"]);
    let many = vec![Bytes::new(); APPEND_MAX + 1];
    assert!(matches!(log.append(&shard, many, at(0)).await, Err(StoreError::TooLarge(_))));
    assert_eq!(log.end(&shard).await.unwrap(), Seq(1));
}
