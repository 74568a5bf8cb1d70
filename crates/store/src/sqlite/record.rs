//! Rows: how a record is stored, summed and read back.

use crate::{Change, Entry, Key, PAGE_MAX, Page, Rev, StoreError};
use bytes::Bytes;
use lamplight_env::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

/// SQLite notices damaged pages only where their structure suffers; this notices a flipped bit in
/// a record.
pub(super) fn sum(key: &str, rev: Rev, body: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    hash.update(rev.0.to_le_bytes());
    hash.update((key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(body);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A page ends early after this many bytes of bodies.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

struct Raw {
    key: String,
    rev: Rev,
    sum: i64,
    body: Vec<u8>,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw { key: row.get(0)?, rev: Rev(row.get(1)?), sum: row.get(2)?, body: row.get(3)? })
}

fn checked(raw: Raw) -> Result<Entry, StoreError> {
    let damaged = |detail: String| StoreError::Damaged {
        what: format!("record {}", raw.key.replace('\u{1f}', "/")),
        detail,
    };
    if sum(&raw.key, raw.rev, &raw.body) != raw.sum {
        return Err(damaged("its checksum does not match; restore a backup".to_owned()));
    }
    let key = Key::from_encoded(&raw.key).map_err(|error| damaged(error.to_string()))?;
    Ok(Entry { key, rev: raw.rev, body: Bytes::from(raw.body) })
}

/// Whether a value is not of the type of its column: above all text that is no text. SQLite itself
/// does not notice.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error { .. }
    )
}

pub(super) fn read_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        _ if is_damage(&error) => {
            StoreError::Damaged { what: "a record".to_owned(), detail: error.to_string() }
        }
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged { what: "the database".to_owned(), detail: error.to_string() }
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

pub(super) fn get(connection: &Connection, key: &Key) -> Result<Option<Entry>, StoreError> {
    connection
        .prepare_cached("SELECT key, rev, sum, body FROM meta WHERE key = ?1")
        .and_then(|mut statement| statement.query_row([key.encoded()], raw).optional())
        .map_err(read_error)?
        .map(checked)
        .transpose()
}

pub(super) fn list(
    connection: &Connection,
    prefix: &Key,
    page: &Page,
) -> Result<Vec<Entry>, StoreError> {
    let (from, to) = prefix.below();
    let after = page.after.as_ref().map_or("", Key::encoded).max(from.as_str());
    let collect = || -> rusqlite::Result<Vec<Raw>> {
        let mut statement = connection.prepare_cached(
            "SELECT key, rev, sum, body FROM meta WHERE key > ?1 AND key < ?2 \
             ORDER BY key LIMIT ?3",
        )?;
        let rows = statement.query_map(params![after, to, limit(page.limit)], raw)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let row = row?;
            bytes += row.body.len();
            found.push(row);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        Ok(found)
    };
    let rows = collect().map_err(read_error)?;
    rows.into_iter().map(checked).collect()
}

pub(super) fn changes(
    connection: &Connection,
    after: Rev,
    max: usize,
) -> Result<Vec<Change>, StoreError> {
    // One statement for both, so that trimming cannot come between.
    let rows = connection
        .prepare_cached(
            "SELECT rev, key, deleted, at FROM changelog WHERE rev > ?1 ORDER BY rev LIMIT ?2",
        )
        .and_then(|mut statement| {
            statement
                .query_map(params![after.0, limit(max)], |row| {
                    Ok((Rev(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect::<rusqlite::Result<Vec<(Rev, String, bool, i64)>>>()
        })
        .map_err(read_error)?;
    // The newest entry is never trimmed, so a list that does not begin right after `after` shows
    // that something between is gone.
    if rows.first().is_some_and(|(rev, ..)| rev.0 != after.0 + 1) {
        return Err(StoreError::Compacted);
    }
    rows.into_iter()
        .map(|(rev, key, deleted, at)| {
            let key = Key::from_encoded(&key).map_err(|error| StoreError::Damaged {
                what: format!("change {rev}"),
                detail: error.to_string(),
            })?;
            Ok(Change { rev, key, deleted, at: Timestamp::from_millis(at) })
        })
        .collect()
}

pub(super) fn limit(asked: usize) -> i64 {
    i64::try_from(asked.min(PAGE_MAX)).unwrap_or(i64::MAX)
}
