//! All documents by key, and by what they are looked for besides. Pure.

use lamplight_model::Scope;
use lamplight_rpc::{Document, DocumentKey, Labels};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

type Held = (Arc<Value>, i64);

pub struct Memory {
    documents: BTreeMap<DocumentKey, Held>,
    /// By kind, scope and label. No entry for none.
    labelled: BTreeMap<(&'static str, Scope, String), BTreeSet<DocumentKey>>,
    labels: Labels,
}

impl Memory {
    pub fn new(labels: Labels) -> Self {
        Self { documents: BTreeMap::new(), labelled: BTreeMap::new(), labels }
    }

    /// Adds or replaces.
    pub fn insert(&mut self, key: DocumentKey, body: Arc<Value>, rev: i64) {
        self.remove(&key);
        for label in (self.labels)(key.kind, &body) {
            let place = (key.kind, key.scope.clone(), label);
            self.labelled.entry(place).or_default().insert(key.clone());
        }
        self.documents.insert(key, (body, rev));
    }

    pub fn remove(&mut self, key: &DocumentKey) {
        let Some((body, _)) = self.documents.remove(key) else { return };
        for label in (self.labels)(key.kind, &body) {
            let place = (key.kind, key.scope.clone(), label);
            if let Some(keys) = self.labelled.get_mut(&place) {
                keys.remove(key);
                if keys.is_empty() {
                    self.labelled.remove(&place);
                }
            }
        }
    }

    pub fn get(&self, key: &DocumentKey) -> Option<Document> {
        let (key, held) = self.documents.get_key_value(key)?;
        Some(shown(key, held))
    }

    pub fn list(
        &self,
        (kind, scope): (&'static str, &Scope),
        owner: Option<&str>,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document> {
        let from = from((kind, scope), owner, after);
        self.documents
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| {
                key.kind == kind
                    && key.scope == *scope
                    && owner.is_none_or(|owner| *key.owner == *owner)
            })
            .take(max)
            .map(|(key, held)| shown(key, held))
            .collect()
    }

    pub fn labelled(
        &self,
        (kind, scope): (&'static str, &Scope),
        label: &str,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document> {
        let keys = self.labelled.get(&(kind, scope.clone(), label.to_owned()));
        let from = from((kind, scope), None, after);
        keys.into_iter()
            .flat_map(|keys| keys.range((from.clone(), Bound::Unbounded)))
            .take(max)
            .filter_map(|key| self.get(key))
            .collect()
    }
}

fn from(
    (kind, scope): (&'static str, &Scope),
    owner: Option<&str>,
    after: Option<(&str, &str)>,
) -> Bound<DocumentKey> {
    match after {
        Some((owner, id)) => Bound::Excluded(DocumentKey::new(kind, scope, owner, id)),
        None => Bound::Included(DocumentKey::new(kind, scope, owner.unwrap_or_default(), "")),
    }
}

fn shown(key: &DocumentKey, (body, rev): &Held) -> Document {
    Document { key: key.clone(), body: Arc::clone(body), rev: *rev }
}
