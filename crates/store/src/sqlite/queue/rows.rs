//! How messages are read back.

use crate::sqlite::record::{is_damage, limit, read_error};
use crate::{Depth, Key, KeyError, Message, MessageId, Receipt, StoreError};
use bytes::Bytes;
use lamplight_env::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

/// A page ends early after this many bytes of bodies.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Notices a flipped bit in what is never written again.
pub fn sum(name: &[u8], body: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(body);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The columns of [`read`].
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

/// `known` where the row was looked for by its queue: it then holds even where the name of the
/// queue is damaged.
fn read(row: &Row<'_>, known: Option<&Key>) -> rusqlite::Result<Result<Message, StoreError>> {
    let id = MessageId(row.get(0)?);
    let damaged = |detail: String| {
        let what = format!("message {}", id.0);
        Ok(Err(StoreError::Damaged { what, detail }))
    };
    let (message, [expected, size]) = match columns(row, id, known) {
        Ok(read) => read,
        Err(error) if is_damage(&error) => return damaged(error.to_string()),
        Err(error) => return Err(error),
    };
    let whole = i64::try_from(message.body.len()) == Ok(size);
    if !whole || sum(message.name.as_bytes(), &message.body) != expected {
        return damaged("its checksum does not match; restore a backup".to_owned());
    }
    Ok(Ok(message))
}

/// The message, its checksum and the size of its body.
fn columns(
    row: &Row<'_>,
    id: MessageId,
    known: Option<&Key>,
) -> rusqlite::Result<(Message, [i64; 2])> {
    let message = Message {
        receipt: Receipt { id, lease: row.get(1)? },
        queue: match known {
            Some(queue) => queue.clone(),
            None => key(row, 2)?,
        },
        name: row.get(3)?,
        body: Bytes::from(row.get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default()),
        state: Bytes::from(row.get::<_, Vec<u8>>(5)?),
        group: row.get(6)?,
        sent: Timestamp::from_millis(row.get(7)?),
        first_leased: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
        due: Timestamp::from_millis(row.get(9)?),
        leased: row.get(10)?,
    };
    Ok((message, [row.get(11)?, row.get(12)?]))
}

fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<Key> {
    let no_key = |error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::<KeyError>::new(error))
    };
    Key::from_encoded(&row.get::<_, String>(column)?).map_err(no_key)
}

/// A message of `queue`, body and all.
pub fn get(
    connection: &Connection,
    queue: &Key,
    id: i64,
) -> rusqlite::Result<Result<Message, StoreError>> {
    connection
        .prepare_cached(select!("WHERE m.id = ?1"))?
        .query_row([id], |row| read(row, Some(queue)))
}

pub fn peek(
    connection: &Connection,
    queue: &Key,
    after: Option<MessageId>,
    most: usize,
) -> Result<Vec<Message>, StoreError> {
    let collect = || -> rusqlite::Result<Vec<Result<Message, StoreError>>> {
        let mut statement = connection
            .prepare_cached(select!("WHERE q.name = ?1 AND m.id > ?2 ORDER BY m.id LIMIT ?3"))?;
        let after = after.map_or(0, |id| id.0);
        let mut rows = statement.query(params![queue.encoded(), after, limit(most)])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let message = read(row, Some(queue))?;
            bytes += message.as_ref().map_or(0, |message| message.body.len());
            found.push(message);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        Ok(found)
    };
    collect().map_err(read_error)?.into_iter().collect()
}

pub fn find(connection: &Connection, queue: &Key, name: &str) -> Result<Vec<Message>, StoreError> {
    let (from, to) = queue.below();
    let collect = || -> rusqlite::Result<Vec<Result<Message, StoreError>>> {
        connection
            .prepare_cached(select!(
                "WHERE m.name = ?1 AND (q.name = ?2 OR (q.name > ?3 AND q.name < ?4)) \
                 ORDER BY m.id LIMIT 100"
            ))?
            .query_map(params![name, queue.encoded(), from, to], |row| read(row, None))?
            .collect()
    };
    collect().map_err(read_error)?.into_iter().collect()
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

/// Leaves out queues whose names are damaged: the server has to start all the same.
pub fn depths(
    connection: &Connection,
    queue: &Key,
    now: Timestamp,
) -> Result<Vec<Depth>, StoreError> {
    let (from, to) = queue.below();
    let depth = |row: &Row<'_>| -> rusqlite::Result<Option<Depth>> {
        let queue = match key(row, 0) {
            Err(error) if is_damage(&error) => {
                tracing::error!(%error, "the name of a queue is damaged; restore a backup");
                return Ok(None);
            }
            queue => queue?,
        };
        Ok(Some(Depth {
            queue,
            ready: row.get::<_, i64>(1)?.unsigned_abs(),
            leased: row.get::<_, i64>(2)?.unsigned_abs(),
            delayed: row.get::<_, i64>(3)?.unsigned_abs(),
            bytes: row.get::<_, i64>(4)?.unsigned_abs(),
            oldest: Timestamp::from_millis(row.get(5)?),
            next_due: Timestamp::from_millis(row.get(6)?),
        }))
    };
    connection
        .prepare_cached(
            "SELECT q.name, sum(m.due <= ?4), sum(m.due > ?4 AND m.leased = 1), \
             sum(m.due > ?4 AND m.leased = 0), sum(m.size), min(m.sent), min(m.due) \
             FROM queue AS q JOIN message AS m ON m.queue = q.id \
             WHERE (q.name = ?1 OR (q.name > ?2 AND q.name < ?3)) \
             AND ifnull(m.expires > ?4, 1) GROUP BY q.id ORDER BY q.name",
        )
        .and_then(|mut statement| {
            let values = params![queue.encoded(), from, to, now.millis()];
            statement.query_map(values, depth)?.filter_map(Result::transpose).collect()
        })
        .map_err(read_error)
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
