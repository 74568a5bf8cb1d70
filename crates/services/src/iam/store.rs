//! What IAM keeps: identities, access keys and managed policies, each one document.
//!
//! IAM has no regions: everything is in the scope of the account alone. Reads come from memory.

use super::{Iam, fault};
use crate::records::{self, Fate};
use lamplight_model::{AccountId, Scope};
use lamplight_rpc::{DocumentError, DocumentKey};
use lamplight_wire::ApiError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something with a name that is one document.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: &'static str;
    /// AWS: how errors call it.
    const NOUN: &'static str;
    /// AWS: the default quota of an account.
    const MOST: usize;
}

/// What users and roles have in common.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// Texts of policies by name.
    pub inline: BTreeMap<String, String>,
    /// ARNs.
    pub managed: BTreeSet<String>,
    /// The ARN of a policy.
    pub boundary: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub id: String,
    /// Begins and ends with a slash.
    pub path: String,
    /// Milliseconds since the epoch.
    pub created: i64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub attached: Attached,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    pub id: String,
    pub path: String,
    pub created: i64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub attached: Attached,
    /// The text of the policy that says who may assume it.
    pub trust: String,
    pub description: Option<String>,
    /// Seconds.
    pub max_session: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
    pub user: String,
    /// A new user of the same name does not get the keys of the old one.
    pub user_id: String,
    pub active: bool,
    pub created: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub name: String,
    pub id: String,
    pub path: String,
    pub description: Option<String>,
    pub created: i64,
    pub updated: i64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub versions: Vec<Version>,
    /// Number of the version that counts.
    pub default: u32,
    /// Of the newest version that there ever was.
    pub newest: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub number: u32,
    pub document: String,
    pub created: i64,
}

impl Record for User {
    const KIND: &'static str = "iam-user";
    const NOUN: &'static str = "user";
    const MOST: usize = 5_000;
}

impl Record for Role {
    const KIND: &'static str = "iam-role";
    const NOUN: &'static str = "role";
    const MOST: usize = 1_000;
}

impl Record for AccessKey {
    const KIND: &'static str = "iam-access-key";
    const NOUN: &'static str = "Access Key";
    const MOST: usize = 2 * User::MOST;
}

impl Record for ManagedPolicy {
    const KIND: &'static str = "iam-policy";
    const NOUN: &'static str = "policy";
    const MOST: usize = 1_500;
}

impl User {
    pub fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:iam::{account}:user{}{}", self.path, self.name)
    }
}

impl Role {
    pub fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:iam::{account}:role{}{}", self.path, self.name)
    }
}

impl ManagedPolicy {
    pub fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:iam::{account}:policy{}{}", self.path, self.name)
    }

    pub fn document(&self) -> Option<&str> {
        let version = self.versions.iter().find(|version| version.number == self.default)?;
        Some(&version.document)
    }
}

impl Iam {
    /// One that cannot be read is none, which allows nobody anything.
    pub(super) fn find<R: Record>(&self, name: &str) -> Option<R> {
        records::read(&self.documents.get(&self.key::<R>(name))?)
    }

    pub(super) fn get<R: Record>(&self, name: &str) -> Result<R, ApiError> {
        self.find(name).ok_or_else(|| absent::<R>(name))
    }

    /// All of them, by name.
    pub(super) fn all<R: Record>(&self) -> Vec<R> {
        let scope = self.scope();
        let documents = self.documents.list((R::KIND, &scope), None, None, usize::MAX);
        documents.iter().filter_map(records::read).collect()
    }

    pub(super) async fn create<R: Record>(&self, name: &str, record: &R) -> Result<(), ApiError> {
        let scope = self.scope();
        if self.documents.list((R::KIND, &scope), None, None, R::MOST).len() >= R::MOST {
            let message = format!("Cannot exceed quota for {}s: {}", R::NOUN, R::MOST);
            return Err(fault("LimitExceeded", message));
        }
        let created = records::create(&*self.documents, self.key::<R>(name), record).await;
        created.map_err(|why| {
            why.told(|error| match error {
                DocumentError::Conflict => exists::<R>(name),
                error => unavailable(error),
            })
        })
    }

    /// Reads, changes and writes.
    pub(super) async fn change<R: Record, T>(
        &self,
        name: &str,
        change: impl Fn(&mut R) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.decide::<R, T>(name, |mut record| {
            let answer = change(&mut record)?;
            Ok((Fate::Becomes(record), answer))
        })
        .await
    }

    /// Deletes what `check` has nothing against.
    pub(super) async fn remove<R: Record>(
        &self,
        name: &str,
        check: impl Fn(&R) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.decide::<R, ()>(name, |record| check(&record).map(|()| (Fate::Ends, ()))).await
    }

    async fn decide<R: Record, T>(
        &self,
        name: &str,
        decide: impl Fn(R) -> Result<(Fate<R>, T), ApiError>,
    ) -> Result<T, ApiError> {
        let decide = |found: Option<R>| decide(found.ok_or_else(|| absent::<R>(name))?);
        let changed = records::change(&*self.documents, &self.key::<R>(name), decide).await;
        changed.map_err(|why| {
            why.told(|error| match error {
                DocumentError::Conflict => busy(),
                error => unavailable(error),
            })
        })
    }

    fn key<R: Record>(&self, name: &str) -> DocumentKey {
        DocumentKey::only(R::KIND, &self.scope(), name)
    }

    fn scope(&self) -> Scope {
        Scope { account: self.account.clone(), region: "global".into() }
    }
}

fn exists<R: Record>(name: &str) -> ApiError {
    let capital: String = R::NOUN.chars().take(1).flat_map(char::to_uppercase).collect();
    let rest: String = R::NOUN.chars().skip(1).collect();
    fault("EntityAlreadyExists", format!("{capital}{rest} with name {name} already exists."))
}

pub(super) fn absent<R: Record>(name: &str) -> ApiError {
    let message = match R::KIND {
        ManagedPolicy::KIND => format!("Policy {name} was not found."),
        AccessKey::KIND => format!("The Access Key with id {name} cannot be found."),
        _ => format!("The {} with name {name} cannot be found.", R::NOUN),
    };
    fault("NoSuchEntity", message)
}

fn busy() -> ApiError {
    fault("ConcurrentModification", "The entity is being changed by others. Please try again.")
}

fn unavailable(error: &DocumentError) -> ApiError {
    tracing::error!(%error, "IAM cannot store changes");
    ApiError::new("ServiceFailure", "Nothing was changed; please try again.").with_status(503)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const ROLE: &str = r#"{"name":"r","id":"AROA1","path":"/","created":1,"tags":{"a":"b"},"attached":{"inline":{"p":"{}"},"managed":["arn:aws:iam::aws:policy/X"],"boundary":null},"trust":"{}","description":null,"max_session":3600}"#;
    const USER: &str = r#"{"name":"u","id":"AIDA1","path":"/a/","created":1,"attached":{"inline":{},"managed":[],"boundary":null}}"#;
    const KEY: &str =
        r#"{"id":"AKIA1","secret":"s","user":"u","user_id":"AIDA1","active":true,"created":1}"#;
    const POLICY: &str = r#"{"name":"p","id":"ANPA1","path":"/","description":"d","created":1,"updated":2,"versions":[{"number":3,"document":"{}","created":1}],"default":3,"newest":3}"#;

    #[test]
    fn old_bytes_are_read() {
        let role: Role = serde_json::from_str(ROLE).unwrap();
        assert_eq!((role.max_session, role.attached.inline["p"].as_str()), (3600, "{}"));
        let user: User = serde_json::from_str(USER).unwrap();
        let account = AccountId::new("000000000000").unwrap();
        assert_eq!(user.arn(&account), "arn:aws:iam::000000000000:user/a/u");
        assert!(serde_json::from_str::<AccessKey>(KEY).unwrap().active);
        let policy: ManagedPolicy = serde_json::from_str(POLICY).unwrap();
        assert_eq!(policy.document(), Some("{}"));
    }
}
