//! What every implementation of [`Meta`] does.

use super::key;
use crate::{Change, Key, Meta, Op, Page, Rev, StoreError};
use bytes::Bytes;

fn put(key: &Key, body: &str) -> Op {
    Op::Put(key.clone(), Bytes::copy_from_slice(body.as_bytes()))
}

/// Runs all of Meta's.
pub async fn meta(meta: &dyn Meta) {
    read_your_writes(meta).await;
    compare_and_swap(meta).await;
    all_or_nothing(meta).await;
    order_and_pages(meta).await;
    changelog(meta).await;
    limits(meta).await;
}

async fn read_your_writes(meta: &dyn Meta) {
    let k = key(&["ryw", "a"]);
    assert_eq!(meta.get(&k).await.unwrap(), None);
    for n in 0..50 {
        let rev = meta.txn(vec![put(&k, &n.to_string())]).await.unwrap();
        let entry = meta.get(&k).await.unwrap().unwrap();
        assert_eq!((entry.rev, entry.body), (rev, Bytes::from(n.to_string())));
    }
    meta.txn(vec![Op::Delete(k.clone())]).await.unwrap();
    assert_eq!(meta.get(&k).await.unwrap(), None);
    let empty = meta.txn(vec![put(&k, "")]).await.unwrap();
    assert_eq!(meta.get(&k).await.unwrap().map(|e| (e.rev, e.body)), Some((empty, Bytes::new())));
}

async fn compare_and_swap(meta: &dyn Meta) {
    let k = key(&["cas", "a"]);
    let conflict = Err(StoreError::Conflict(k.clone()));
    let first = meta.txn(vec![Op::Expect(k.clone(), None), put(&k, "1")]).await.unwrap();
    assert_eq!(meta.txn(vec![Op::Expect(k.clone(), None), put(&k, "x")]).await, conflict);
    let second = meta.txn(vec![Op::Expect(k.clone(), Some(first)), put(&k, "2")]).await.unwrap();
    assert!(second > first);
    assert_eq!(meta.txn(vec![Op::Expect(k.clone(), Some(first)), put(&k, "x")]).await, conflict);
    assert_eq!(meta.get(&k).await.unwrap().unwrap().body, "2");
    // A record that was deleted and made again is another one.
    meta.txn(vec![Op::Delete(k.clone())]).await.unwrap();
    meta.txn(vec![put(&k, "2")]).await.unwrap();
    assert_eq!(meta.txn(vec![Op::Expect(k.clone(), Some(second)), put(&k, "x")]).await, conflict);
    // An expectation alone changes nothing and names the newest revision.
    let rev = meta.get(&k).await.unwrap().unwrap().rev;
    assert_eq!(meta.txn(vec![Op::Expect(k.clone(), Some(rev))]).await, Ok(rev));
}

async fn all_or_nothing(meta: &dyn Meta) {
    let (a, b, c) = (key(&["atom", "a"]), key(&["atom", "b"]), key(&["atom", "c"]));
    meta.txn(vec![put(&a, "old"), put(&b, "old")]).await.unwrap();
    let before = meta.get(&b).await.unwrap().unwrap().rev;
    let refused = meta
        .txn(vec![
            put(&a, "new"),
            Op::Delete(b.clone()),
            put(&c, "new"),
            // Steps see the steps before them: this one holds, the next one does not.
            Op::Expect(b.clone(), None),
            Op::Expect(c.clone(), None),
        ])
        .await;
    assert_eq!(refused, Err(StoreError::Conflict(c.clone())));
    assert_eq!(meta.get(&a).await.unwrap().unwrap().body, "old");
    assert_eq!(meta.get(&b).await.unwrap().unwrap().rev, before);
    assert_eq!(meta.get(&c).await.unwrap(), None);
    let next = meta.txn(vec![put(&c, "new")]).await.unwrap();
    assert_eq!(next.0, before.0 + 1, "a refused transaction uses up no revision");
}

async fn order_and_pages(meta: &dyn Meta) {
    let names = ["B", "Z-1", "a", "a b", "a-b", "a/b", "a_b", "b", "ä", "\u{10ffff}"];
    for name in names.iter().rev() {
        meta.txn(vec![put(&key(&["ls", "x", name]), name)]).await.unwrap();
    }
    // Neighbours that share a text prefix, and the prefix itself, are not below it.
    for near in [&["ls", "x"][..], &["ls", "x-", "n"], &["ls", "w", "n"], &["ls", "xx", "n"]] {
        meta.txn(vec![put(&key(near), "near")]).await.unwrap();
    }
    let prefix = key(&["ls", "x"]);
    let all = meta.list_all(&prefix).await.unwrap();
    let listed: Vec<&str> = all.iter().filter_map(|e| e.key.segments().last()).collect();
    assert_eq!(listed, names);
    assert!(all.iter().all(|e| e.key.segments().last().map(str::as_bytes) == Some(&e.body[..])));
    for size in 1..names.len() {
        let mut pages = Vec::new();
        loop {
            let after = pages.last().map(|e: &crate::Entry| e.key.clone());
            let page = meta.list(&prefix, Page { after, limit: size }).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= size);
            pages.extend(page);
        }
        assert_eq!(pages, all, "pages of {size}");
    }
    // A page may start at a key that is gone.
    let after = Some(key(&["ls", "x", "a-"]));
    let page = meta.list(&prefix, Page { after, limit: 1 }).await.unwrap();
    assert_eq!(page[0].body, "a-b");
    assert_eq!(meta.list(&prefix, Page { after: None, limit: 0 }).await.unwrap(), []);
}

async fn changelog(meta: &dyn Meta) {
    let (a, b) = (key(&["log", "a"]), key(&["log", "b"]));
    let start = meta.txn(vec![put(&a, "0")]).await.unwrap();
    meta.txn(vec![put(&a, "1"), put(&b, "1"), Op::Delete(a.clone())]).await.unwrap();
    meta.txn(vec![Op::Delete(a.clone())]).await.unwrap();
    let _ = meta.txn(vec![put(&b, "2"), Op::Expect(a.clone(), Some(Rev(1)))]).await.unwrap_err();
    let end = meta.txn(vec![put(&b, "3")]).await.unwrap();
    let changes = meta.changes(start, 100).await.unwrap();
    let seen: Vec<(i64, &Key, bool)> =
        changes.iter().map(|Change { rev, key, deleted, .. }| (rev.0, key, *deleted)).collect();
    let s = start.0;
    assert_eq!(
        seen,
        [(s + 1, &a, false), (s + 2, &b, false), (s + 3, &a, true), (s + 4, &b, false)]
    );
    assert_eq!(end.0, s + 4);
    assert_eq!(meta.changes(start, 2).await.unwrap(), changes[..2]);
    assert_eq!(meta.changes(end, 100).await.unwrap(), []);
}

async fn limits(meta: &dyn Meta) {
    let k = key(&["limit", "a"]);
    let large = Op::Put(k.clone(), Bytes::from(vec![0u8; crate::TXN_BYTES_MAX]));
    assert!(matches!(meta.txn(vec![large]).await, Err(StoreError::TooLarge(_))));
    let many = vec![Op::Delete(k.clone()); crate::TXN_OPS_MAX + 1];
    assert!(matches!(meta.txn(many).await, Err(StoreError::TooLarge(_))));
    assert_eq!(meta.get(&k).await.unwrap(), None);
}
