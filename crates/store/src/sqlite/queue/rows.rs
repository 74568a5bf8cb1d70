//! How messages are read back.

use crate::sqlite::record::{limit, read_error};
use crate::{Depth, Key, Message, MessageId, Receipt, StoreError};
use bytes::Bytes;
use lamplight_env::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

/// A page ends early after this many bytes of bodies.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Notices a flipped bit in what is never written again.
pub fn sum(name: &str, body: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(body);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The columns of [`raw`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.id, m.leases, q.name, m.name, b.body, m.state, m.grp, m.sent, m.first, ",
            "m.due, m.leased, m.sum, m.size FROM message AS m JOIN queue AS q ON q.id = m.queue ",
            "LEFT JOIN message_body AS b ON b.id = m.id ",
            $rest
        )
    };
}

/// A row as it is, before it is checked.
struct Raw {
    receipt: Receipt,
    queue: String,
    name: String,
    body: Vec<u8>,
    state: Vec<u8>,
    group: Option<String>,
    sent: i64,
    first_leased: Option<i64>,
    due: i64,
    leased: bool,
    sum: i64,
    /// Of the body.
    size: i64,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        receipt: Receipt { id: MessageId(row.get(0)?), lease: row.get(1)? },
        queue: row.get(2)?,
        name: row.get(3)?,
        body: row.get::<_, Option<_>>(4)?.unwrap_or_default(),
        state: row.get(5)?,
        group: row.get(6)?,
        sent: row.get(7)?,
        first_leased: row.get(8)?,
        due: row.get(9)?,
        leased: row.get(10)?,
        sum: row.get(11)?,
        size: row.get(12)?,
    })
}

fn checked(raw: Raw) -> Result<Message, StoreError> {
    let damaged = |detail: String| StoreError::Damaged {
        what: format!("message {} ({})", raw.receipt.id.0, raw.name),
        detail,
    };
    if i64::try_from(raw.body.len()) != Ok(raw.size) || sum(&raw.name, &raw.body) != raw.sum {
        return Err(damaged("its checksum does not match; restore a backup".to_owned()));
    }
    let queue = Key::from_encoded(&raw.queue).map_err(|error| damaged(error.to_string()))?;
    Ok(Message {
        receipt: raw.receipt,
        queue,
        name: raw.name,
        body: Bytes::from(raw.body),
        state: Bytes::from(raw.state),
        group: raw.group,
        sent: Timestamp::from_millis(raw.sent),
        first_leased: raw.first_leased.map(Timestamp::from_millis),
        due: Timestamp::from_millis(raw.due),
        leased: raw.leased,
    })
}

pub fn get(connection: &Connection, id: i64) -> rusqlite::Result<Result<Message, StoreError>> {
    connection.prepare_cached(select!("WHERE m.id = ?1"))?.query_row([id], raw).map(checked)
}

pub fn peek(
    connection: &Connection,
    queue: &Key,
    after: Option<MessageId>,
    most: usize,
) -> Result<Vec<Message>, StoreError> {
    let collect = || -> rusqlite::Result<Vec<Raw>> {
        let mut statement = connection
            .prepare_cached(select!("WHERE q.name = ?1 AND m.id > ?2 ORDER BY m.id LIMIT ?3"))?;
        let after = after.map_or(0, |id| id.0);
        let rows = statement.query_map(params![queue.encoded(), after, limit(most)], raw)?;
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
    collect().map_err(read_error)?.into_iter().map(checked).collect()
}

pub fn find(connection: &Connection, queue: &Key, name: &str) -> Result<Vec<Message>, StoreError> {
    let (from, to) = queue.below();
    let collect = || -> rusqlite::Result<Vec<Raw>> {
        connection
            .prepare_cached(select!(
                "WHERE m.name = ?1 AND (q.name = ?2 OR (q.name > ?3 AND q.name < ?4)) \
                 ORDER BY m.id LIMIT 100"
            ))?
            .query_map(params![name, queue.encoded(), from, to], raw)?
            .collect()
    };
    collect().map_err(read_error)?.into_iter().map(checked).collect()
}

pub fn last(connection: &Connection, queue: &Key) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached(
            "SELECT max(m.id) FROM message AS m JOIN queue AS q ON q.id = m.queue WHERE q.name = ?1",
        )
        .and_then(|mut statement| {
            statement.query_row([queue.encoded()], |row| row.get(0)).optional()
        })
        .map(Option::flatten)
        .map_err(read_error)
}

/// A queue's name, its counts and bytes, its oldest and its next moment.
type Counted = (String, [i64; 4], [i64; 2]);

pub fn depths(
    connection: &Connection,
    queue: &Key,
    now: Timestamp,
) -> Result<Vec<Depth>, StoreError> {
    let (from, to) = queue.below();
    let collect = || -> rusqlite::Result<Vec<Counted>> {
        connection
            .prepare_cached(
                "SELECT q.name, sum(m.due <= ?4), sum(m.due > ?4 AND m.leased = 1), \
                 sum(m.due > ?4 AND m.leased = 0), sum(m.size), min(m.sent), min(m.due) \
                 FROM queue AS q JOIN message AS m ON m.queue = q.id \
                 WHERE (q.name = ?1 OR (q.name > ?2 AND q.name < ?3)) \
                 AND ifnull(m.expires > ?4, 1) GROUP BY q.id ORDER BY q.name",
            )?
            .query_map(params![queue.encoded(), from, to, now.millis()], |row| {
                let counts = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
                Ok((row.get(0)?, counts, [row.get(5)?, row.get(6)?]))
            })?
            .collect()
    };
    let depth = |(queue, [ready, leased, delayed, bytes], [oldest, next_due]): Counted| {
        Ok(Depth {
            queue: Key::from_encoded(&queue)?,
            ready: ready.unsigned_abs(),
            leased: leased.unsigned_abs(),
            delayed: delayed.unsigned_abs(),
            bytes: bytes.unsigned_abs(),
            oldest: Timestamp::from_millis(oldest),
            next_due: Timestamp::from_millis(next_due),
        })
    };
    collect().map_err(read_error)?.into_iter().map(depth).collect()
}

pub fn next_due(connection: &Connection, queue: &Key) -> Result<Option<Timestamp>, StoreError> {
    connection
        .prepare_cached(
            "SELECT min(due) FROM message WHERE queue = (SELECT id FROM queue WHERE name = ?1)",
        )
        .and_then(|mut statement| statement.query_row([queue.encoded()], |row| row.get(0)))
        .map(|due: Option<i64>| due.map(Timestamp::from_millis))
        .map_err(read_error)
}
