//! Documents over the store: all of them in memory, every change durable first.
//!
//! Invariants: memory changes only after the store did, and in its order; a write that was
//! refused or failed changed nothing; a write that has begun ends, also when its caller goes away.
//! The durable form is JSON, `{"format":1,"body":…}`, under
//! `doc/KIND/ACCOUNT/REGION/OWNER/ID`. What documents mean is their writers' affair.

#[cfg(test)]
mod tests;

mod memory;

use async_trait::async_trait;
use lamplight_env::Tasks;
use lamplight_model::{AccountId, Scope};
use lamplight_rpc::{Document, DocumentError, DocumentKey, Documents, Expected, Labels};
use lamplight_store::{Key, Meta, Op, Rev, StoreError, TXN_OPS_MAX};
use memory::Memory;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const ROOM: &str = "doc";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    body: Value,
}

pub struct StoredDocuments {
    state: Arc<State>,
    tasks: Tasks,
}

struct State {
    meta: Arc<dyn Meta>,
    memory: RwLock<Memory>,
    /// Kinds live as long as the program, so that keys can carry them as text.
    kinds: Mutex<BTreeSet<&'static str>>,
    /// Writes happen one after the other: they are rare, and memory follows the store's order.
    writing: tokio::sync::Mutex<()>,
}

impl StoredDocuments {
    /// Reads all documents. One that cannot be read keeps the server from starting, and is named.
    pub async fn load(meta: Arc<dyn Meta>, tasks: Tasks, labels: Labels) -> Result<Self, String> {
        let documents = State {
            meta,
            memory: RwLock::new(Memory::new(labels)),
            kinds: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        };
        let room = Key::new(&[ROOM]).map_err(|error| error.to_string())?;
        let entries = documents.meta.list_all(&room).await.map_err(|error| error.to_string())?;
        for entry in entries {
            let wrong = |why: &str| format!("the document {} cannot be read: {why}", entry.key);
            let segments: Vec<&str> = entry.key.segments().collect();
            let [_, kind, account, region, owner, id] = segments[..] else {
                return Err(wrong("its key does not have six segments"));
            };
            let stored: Stored =
                serde_json::from_slice(&entry.body).map_err(|error| wrong(&error.to_string()))?;
            if stored.format > FORMAT {
                return Err(wrong("it is of a newer format"));
            }
            let account = AccountId::new(account).ok_or_else(|| wrong("no account"))?;
            let scope = Scope { account, region: region.into() };
            let key = DocumentKey::new(documents.kind(kind), &scope, owner, id);
            documents.remember(key, stored.body.into(), entry.rev.0);
        }
        Ok(Self { state: Arc::new(documents), tasks })
    }

    /// Runs a write as a task: between the store's commit and memory nobody may cut it off.
    async fn write<T, F>(&self, write: impl FnOnce(Arc<State>) -> F) -> Result<T, DocumentError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DocumentError>> + Send + 'static,
    {
        let task = self.tasks.spawn(write(Arc::clone(&self.state)));
        task.await.unwrap_or_else(|error| Err(DocumentError::Unavailable(error.to_string())))
    }
}

impl State {
    fn kind(&self, text: &str) -> &'static str {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get(text) {
            Some(kind) => kind,
            None => {
                let kind: &'static str = Box::leak(text.to_owned().into_boxed_str());
                kinds.insert(kind);
                kind
            }
        }
    }

    fn remember(&self, key: DocumentKey, body: Arc<Value>, rev: i64) {
        self.memory_mut().insert(key, body, rev);
    }

    fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision that the store has to have for `expected` to hold; none where any may be.
    fn check(&self, key: &DocumentKey, expected: Expected) -> Result<(), DocumentError> {
        let found = self.memory().get(key).map(|document| document.rev);
        let holds = match expected {
            Expected::Anything => true,
            Expected::Nothing => found.is_none(),
            Expected::Rev(rev) => found == Some(rev),
        };
        if holds { Ok(()) } else { Err(DocumentError::Conflict) }
    }

    async fn delete_keys(&self, keys: &[DocumentKey]) -> Result<(), DocumentError> {
        for keys in keys.chunks(TXN_OPS_MAX) {
            let ops = keys.iter().map(|key| Ok(Op::Delete(stored_key(key)?)));
            let ops = ops.collect::<Result<Vec<_>, DocumentError>>()?;
            self.meta.txn(ops).await.map_err(failed)?;
            let mut memory = self.memory_mut();
            for key in keys {
                memory.remove(key);
            }
        }
        Ok(())
    }
}

fn stored_key(key: &DocumentKey) -> Result<Key, DocumentError> {
    let Scope { account, region } = &key.scope;
    Key::new(&[ROOM, key.kind, account.as_str(), region, &key.owner, &key.id])
        .map_err(|error| DocumentError::Unavailable(error.to_string()))
}

fn failed(error: StoreError) -> DocumentError {
    match error {
        StoreError::Conflict { .. } => DocumentError::Conflict,
        other => DocumentError::Unavailable(other.to_string()),
    }
}

impl State {
    async fn put(
        &self,
        key: DocumentKey,
        expected: Expected,
        body: Value,
    ) -> Result<Document, DocumentError> {
        let _alone = self.writing.lock().await;
        self.check(&key, expected)?;
        let stored = serde_json::to_vec(&Stored { format: FORMAT, body: body.clone() })
            .map_err(|error| DocumentError::Unavailable(error.to_string()))?;
        let Rev(rev) =
            self.meta.txn(vec![Op::Put(stored_key(&key)?, stored.into())]).await.map_err(failed)?;
        let body = Arc::new(body);
        self.remember(key.clone(), Arc::clone(&body), rev);
        Ok(Document { key, body, rev })
    }

    async fn delete(&self, key: &DocumentKey, expected: Expected) -> Result<bool, DocumentError> {
        let _alone = self.writing.lock().await;
        self.check(key, expected)?;
        if self.memory().get(key).is_none() {
            return Ok(false);
        }
        self.delete_keys(std::slice::from_ref(key)).await?;
        Ok(true)
    }

    async fn delete_owned(
        &self,
        kinds: &[&'static str],
        scope: &Scope,
        owner: &str,
    ) -> Result<(), DocumentError> {
        let _alone = self.writing.lock().await;
        let keys: Vec<DocumentKey> = kinds
            .iter()
            .flat_map(|kind| self.memory().list((kind, scope), Some(owner), None, usize::MAX))
            .map(|document| document.key)
            .collect();
        self.delete_keys(&keys).await
    }
}

#[async_trait]
impl Documents for StoredDocuments {
    fn get(&self, key: &DocumentKey) -> Option<Document> {
        self.state.memory().get(key)
    }

    fn list(
        &self,
        place: (&'static str, &Scope),
        owner: Option<&str>,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document> {
        self.state.memory().list(place, owner, after, max)
    }

    fn labelled(
        &self,
        place: (&'static str, &Scope),
        label: &str,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document> {
        self.state.memory().labelled(place, label, after, max)
    }

    async fn put(
        &self,
        key: DocumentKey,
        expected: Expected,
        body: Value,
    ) -> Result<Document, DocumentError> {
        self.write(|state| async move { state.put(key, expected, body).await }).await
    }

    async fn delete(&self, key: &DocumentKey, expected: Expected) -> Result<bool, DocumentError> {
        let key = key.clone();
        self.write(|state| async move { state.delete(&key, expected).await }).await
    }

    async fn delete_owned(
        &self,
        kinds: &[&'static str],
        scope: &Scope,
        owner: &str,
    ) -> Result<(), DocumentError> {
        let (kinds, scope, owner) = (kinds.to_vec(), scope.clone(), owner.to_owned());
        self.write(|state| async move { state.delete_owned(&kinds, &scope, &owner).await }).await
    }
}
