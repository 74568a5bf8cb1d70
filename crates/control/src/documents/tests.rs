//! Documents over the in-memory store.

use super::*;
use bytes::Bytes;
use lamplight_store::{Change, Entry, MemoryMeta, Page};
use serde_json::json;
use tokio::sync::Semaphore;

fn scope(region: &str) -> Scope {
    Scope { account: AccountId::new("000000000000").unwrap(), region: region.into() }
}

fn key(owner: &str, id: &str) -> DocumentKey {
    DocumentKey::new("alias", &scope("r"), owner, id)
}

async fn open(meta: &Arc<MemoryMeta>) -> StoredDocuments {
    StoredDocuments::load(Arc::clone(meta) as Arc<dyn Meta>, Tasks::new(), labels).await.unwrap()
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
    let error =
        StoredDocuments::load(meta as Arc<dyn Meta>, Tasks::new(), labels).await.err().unwrap();
    assert!(error.contains("newer format"), "{error}");
}

/// A store whose transactions are committed at once and answered when they are let go.
struct SlowMeta {
    memory: MemoryMeta,
    committed: Semaphore,
    answers: Semaphore,
}

#[async_trait]
impl Meta for SlowMeta {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.memory.get(key).await
    }
    async fn list(&self, prefix: &Key, page: Page) -> Result<Vec<Entry>, StoreError> {
        self.memory.list(prefix, page).await
    }
    async fn txn(&self, ops: Vec<Op>) -> Result<Rev, StoreError> {
        let rev = self.memory.txn(ops).await;
        self.committed.add_permits(1);
        self.answers.acquire().await.unwrap().forget();
        rev
    }
    async fn changes(&self, after: Rev, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.memory.changes(after, limit).await
    }
}

/// A client that hangs up while its write is on its way must not leave memory behind the store.
#[tokio::test]
async fn a_write_ends_also_when_its_caller_goes_away() {
    let meta = Arc::new(SlowMeta {
        memory: MemoryMeta::default(),
        committed: Semaphore::new(0),
        answers: Semaphore::new(0),
    });
    let documents =
        StoredDocuments::load(Arc::clone(&meta) as _, Tasks::new(), labels).await.unwrap();
    let a = key("f", "a");
    let mut put = documents.put(a.clone(), Expected::Nothing, json!(1));
    tokio::select! {
        biased;
        _ = &mut put => panic!("the store has not answered"),
        permit = meta.committed.acquire() => permit.unwrap().forget(),
    }
    drop(put);
    meta.answers.add_permits(1);
    // Writes are in turn, so the one that was left has ended when the next one has.
    meta.answers.add_permits(1);
    documents.put(key("f", "b"), Expected::Nothing, json!(2)).await.unwrap();
    assert_eq!(*documents.get(&a).unwrap().body, json!(1));

    meta.committed.acquire().await.unwrap().forget();
    let mut delete = documents.delete(&a, Expected::Anything);
    tokio::select! {
        biased;
        _ = &mut delete => panic!("the store has not answered"),
        permit = meta.committed.acquire() => permit.unwrap().forget(),
    }
    drop(delete);
    meta.answers.add_permits(2);
    documents.put(key("f", "c"), Expected::Nothing, json!(3)).await.unwrap();
    assert_eq!(documents.get(&a), None);
    let stored = meta.memory.get(&stored_key(&a).unwrap()).await.unwrap();
    assert_eq!(stored.map(|entry| entry.body), None::<Bytes>);
}

/// The numbers in a body.
fn labels(kind: &str, body: &serde_json::Value) -> Vec<String> {
    let numbers = body.as_array().filter(|_| kind == "alias").into_iter().flatten();
    numbers.map(ToString::to_string).collect()
}

#[tokio::test]
async fn documents_are_found_by_what_they_say() {
    let meta = Arc::new(MemoryMeta::default());
    let documents = open(&meta).await;
    for (owner, id, body) in
        [("f", "a", json!([1, 2])), ("f", "b", json!([1])), ("g", "a", json!([2]))]
    {
        documents.put(key(owner, id), Expected::Nothing, body).await.unwrap();
    }
    let found = |documents: &StoredDocuments, label, after, max| -> Vec<String> {
        let found = documents.labelled(("alias", &scope("r")), label, after, max);
        found.iter().map(|one| format!("{}/{}", one.key.owner, one.key.id)).collect()
    };
    assert_eq!(found(&documents, "1", None, 9), ["f/a", "f/b"]);
    assert_eq!(found(&documents, "1", None, 1), ["f/a"]);
    assert_eq!(found(&documents, "1", Some(("f", "a")), 9), ["f/b"]);
    assert_eq!(documents.labelled(("alias", &scope("other")), "1", None, 9), []);
    // What a document says now counts, also after a restart.
    documents.put(key("f", "a"), Expected::Anything, json!([2])).await.unwrap();
    documents.delete(&key("f", "b"), Expected::Anything).await.unwrap();
    for documents in [documents, open(&meta).await] {
        assert_eq!(found(&documents, "1", None, 9), [""; 0]);
        assert_eq!(found(&documents, "2", None, 9), ["f/a", "g/a"]);
    }
}
