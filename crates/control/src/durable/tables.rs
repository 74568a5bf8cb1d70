//! Durable records of an execution, as JSON: its head at `durable/ACCOUNT/REGION/FUNCTION/ID`, and
//! its facts at `durable-facts/ACCOUNT/REGION/FUNCTION/ID/ENTRY/PART`.
//!
//! The head counts the entries, so what was written of an entry beyond them is as if it was not
//! there. An entry that is larger than a transaction is cut into parts; the first one begins with
//! the number of parts in a line of its own, and is written last, with the head.

use super::facts::Entry;
use lamplight_model::{AccountId, FunctionArn, Qualifier, Scope};
use lamplight_rpc::ExecutionArn;
use lamplight_store::{Key, Meta, Op, Page, StoreError, TXN_OPS_MAX};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const HEADS: &str = "durable";
const FACTS: &str = "durable-facts";
/// Of an entry, bytes: with its keys and the head it fits in a transaction.
const PART: usize = 768 * 1024;

/// AWS: the status of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Running,
    Pausing,
    Paused,
    Succeeded,
    Failed,
    TimedOut,
    Stopped,
    Deleting,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Pausing => "PAUSING",
            Self::Paused => "PAUSED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Stopped => "STOPPED",
            Self::Deleting => "DELETING",
        }
    }

    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Pausing | Self::Paused)
    }
}

/// What is known of an execution without its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub format: u32,
    pub name: String,
    pub version: String,
    pub status: Status,
    /// Milliseconds since the epoch.
    pub started: i64,
    pub ended: Option<i64>,
    /// Seconds.
    pub timeout: u32,
    pub retention_days: u32,
    pub synchronous: bool,
    /// Lower-case hex SHA-256 of the input.
    pub input: String,
    pub trace: Option<String>,
    pub tenant: Option<String>,
    /// Whose chained invoke it is.
    pub parent: Option<Parent>,
    pub entries: u64,
    /// Of its facts in memory.
    #[serde(default)]
    pub bytes: u64,
    /// When something is to be done next, were the server to start now.
    pub due: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// An ARN.
    pub execution: String,
    pub operation: String,
}

impl Head {
    pub const FORMAT: u32 = 1;

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let head: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match head.format > Self::FORMAT {
            true => Err(format!("an execution of a newer format ({})", head.format)),
            false => Ok(head),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // Only maps with keys that are no text could fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn head_key(arn: &ExecutionArn) -> Result<Key, StoreError> {
    let FunctionArn { scope, name } = &arn.function;
    Ok(Key::new(&[HEADS, scope.account.as_str(), &scope.region, name, &arn.id])?)
}

fn facts_key(arn: &ExecutionArn, rest: &[&str]) -> Result<Key, StoreError> {
    let FunctionArn { scope, name } = &arn.function;
    let mut segments = vec![FACTS, scope.account.as_str(), &scope.region, name, &arn.id];
    segments.extend(rest);
    Ok(Key::new(&segments)?)
}

/// Writes an entry, and the head that counts it.
pub async fn append(
    meta: &dyn Meta,
    arn: &ExecutionArn,
    head: &Head,
    entry: &Entry,
) -> Result<(), StoreError> {
    let number = format!("{:010}", head.entries.saturating_sub(1));
    let bytes =
        serde_json::to_vec(entry).map_err(|error| StoreError::TooLarge(error.to_string()))?;
    let count = bytes.len().div_ceil(PART).max(1);
    let mut parts = bytes.chunks(PART);
    let mut first = format!("{count}\n").into_bytes();
    first.extend(parts.next().unwrap_or_default());
    for (at, part) in (1..).zip(parts) {
        let key = facts_key(arn, &[&number, &format!("{at:06}")])?;
        meta.txn(vec![Op::Put(key, part.to_vec().into())]).await?;
    }
    let ops = vec![
        Op::Put(facts_key(arn, &[&number, "000000"])?, first.into()),
        Op::Put(head_key(arn)?, head.to_bytes().into()),
    ];
    meta.txn(ops).await.map(drop)
}

pub async fn put_head(meta: &dyn Meta, arn: &ExecutionArn, head: &Head) -> Result<(), StoreError> {
    meta.txn(vec![Op::Put(head_key(arn)?, head.to_bytes().into())]).await.map(drop)
}

/// All heads. One that cannot be read is named in the error.
pub async fn heads(meta: &dyn Meta) -> Result<Vec<(ExecutionArn, Head)>, String> {
    let prefix = Key::new(&[HEADS]).map_err(|error| error.to_string())?;
    let entries = meta.list_all(&prefix).await.map_err(|error| error.to_string())?;
    let read = entries.iter().map(|entry| {
        let wrong = |why: &str| format!("the record {} cannot be understood: {why}", entry.key);
        let head = Head::from_bytes(&entry.body).map_err(|why| wrong(&why))?;
        let segments: Vec<&str> = entry.key.segments().collect();
        let [_, account, region, function, id] = segments[..] else {
            return Err(wrong("its key does not have five segments"));
        };
        let account = AccountId::new(account).ok_or_else(|| wrong("no account"))?;
        let function = FunctionArn::new(&Scope { account, region: region.into() }, function);
        let version = Qualifier::parse(&head.version);
        let name: Arc<str> = head.name.as_str().into();
        Ok((ExecutionArn { function, version, name, id: id.into() }, head))
    });
    read.collect()
}

/// The facts of an execution.
pub async fn facts(
    meta: &dyn Meta,
    arn: &ExecutionArn,
    head: &Head,
) -> Result<Vec<Entry>, StoreError> {
    let damaged = |number: u64, why: &str| {
        let what = format!("entry {number} of {arn}");
        StoreError::Damaged { what, detail: why.to_owned() }
    };
    let mut entries = Vec::new();
    let mut parts: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut left = 0usize;
    for record in meta.list_all(&facts_key(arn, &[])?).await? {
        let mut segments = record.key.segments().skip(5);
        let number =
            segments.next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(u64::MAX);
        if number >= head.entries {
            break;
        }
        if segments.next() == Some("000000") {
            let end = record.body.iter().position(|byte| *byte == b'\n');
            let (count, rest) =
                record.body.split_at(end.ok_or_else(|| damaged(number, "no count"))?);
            let count = std::str::from_utf8(count).ok().and_then(|count| count.parse().ok());
            left = count.ok_or_else(|| damaged(number, "no count"))?;
            parts.push((number, rest.get(1..).unwrap_or_default().to_vec()));
        } else if let (1.., Some((_, bytes))) = (left, parts.last_mut()) {
            bytes.extend_from_slice(&record.body);
        }
        left = left.saturating_sub(1);
    }
    for (number, bytes) in parts {
        let entry: Entry =
            serde_json::from_slice(&bytes).map_err(|error| damaged(number, &error.to_string()))?;
        if entry.format > Entry::FORMAT {
            return Err(damaged(number, "it is of a newer format"));
        }
        entries.push(entry);
    }
    match entries.len() as u64 == head.entries {
        true => Ok(entries),
        false => Err(damaged(entries.len() as u64, "it is missing")),
    }
}

/// Removes all of an execution, its head last: what is interrupted can be done again.
pub async fn remove(meta: &dyn Meta, arn: &ExecutionArn) -> Result<(), StoreError> {
    let prefix = facts_key(arn, &[])?;
    loop {
        let page = meta.list(&prefix, Page { after: None, limit: TXN_OPS_MAX }).await?;
        if page.is_empty() {
            break;
        }
        meta.txn(page.into_iter().map(|record| Op::Delete(record.key)).collect()).await?;
    }
    meta.txn(vec![Op::Delete(head_key(arn)?)]).await.map(drop)
}
