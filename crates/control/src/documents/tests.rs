//! Documents over the in-memory store.

use super::*;
use lamplight_store::MemoryMeta;
use serde_json::json;

fn scope(region: &str) -> Scope {
    Scope { account: AccountId::new("000000000000").unwrap(), region: region.into() }
}

fn key(owner: &str, id: &str) -> DocumentKey {
    DocumentKey::new("alias", &scope("r"), owner, id)
}

async fn open(meta: &Arc<MemoryMeta>) -> StoredDocuments {
    StoredDocuments::load(Arc::clone(meta) as Arc<dyn Meta>).await.unwrap()
}

#[tokio::test]
async fn documents_come_back_after_a_restart() {
    let meta = Arc::new(MemoryMeta::default());
    let documents = open(&meta).await;
    let put = documents.put(key("f", "live"), Expected::Nothing, json!({ "v": 1 })).await.unwrap();
    drop(documents);
    let documents = open(&meta).await;
    assert_eq!(documents.get(&key("f", "live")), Some(put));
}

#[tokio::test]
async fn expectations_hold() {
    let documents = open(&Arc::new(MemoryMeta::default())).await;
    let first = documents.put(key("f", "a"), Expected::Nothing, json!(1)).await.unwrap();
    let again = documents.put(key("f", "a"), Expected::Nothing, json!(2)).await;
    assert_eq!(again, Err(DocumentError::Conflict));
    let second = documents.put(key("f", "a"), Expected::Rev(first.rev), json!(2)).await.unwrap();
    let stale = documents.delete(&key("f", "a"), Expected::Rev(first.rev)).await;
    assert_eq!(stale, Err(DocumentError::Conflict));
    assert_eq!(documents.delete(&key("f", "a"), Expected::Rev(second.rev)).await, Ok(true));
    assert_eq!(documents.delete(&key("f", "a"), Expected::Anything).await, Ok(false));
}

#[tokio::test]
async fn listings_are_pages_of_one_kind_scope_and_owner() {
    let documents = open(&Arc::new(MemoryMeta::default())).await;
    for (owner, id) in [("f", "a"), ("f", "b"), ("f", "c"), ("g", "a"), ("f-2", "a")] {
        documents.put(key(owner, id), Expected::Nothing, json!(null)).await.unwrap();
    }
    let other = DocumentKey::new("alias", &scope("other"), "f", "x");
    documents.put(other, Expected::Nothing, json!(null)).await.unwrap();
    let ids = |owner, after, max| {
        let listed = documents.list(("alias", &scope("r")), owner, after, max);
        listed.iter().map(|d| format!("{}/{}", d.key.owner, d.key.id)).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some("f"), None, 2), ["f/a", "f/b"]);
    assert_eq!(ids(Some("f"), Some(("f", "b")), 2), ["f/c"]);
    assert_eq!(ids(None, None, 9), ["f/a", "f/b", "f/c", "f-2/a", "g/a"]);
    documents.delete_owned(&["alias"], &scope("r"), "f").await.unwrap();
    assert_eq!(ids(None, None, 9), ["f-2/a", "g/a"]);
    assert_eq!(documents.list(("alias", &scope("other")), None, None, 9).len(), 1);
}

/// Bytes that a released version wrote. Never edit them: add new ones.
#[tokio::test]
async fn old_bytes_are_read_and_newer_ones_refused() {
    let meta = Arc::new(MemoryMeta::default());
    let stored = |format: u32| format!("{{\"format\":{format},\"body\":{{\"a\":[1]}}}}");
    let put = |format| Op::Put(stored_key(&key("f", "a")).unwrap(), stored(format).into());
    meta.txn(vec![put(1)]).await.unwrap();
    assert_eq!(*open(&meta).await.get(&key("f", "a")).unwrap().body, json!({ "a": [1] }));
    meta.txn(vec![put(2)]).await.unwrap();
    let error = StoredDocuments::load(meta as Arc<dyn Meta>).await.err().unwrap();
    assert!(error.contains("newer format"), "{error}");
}
