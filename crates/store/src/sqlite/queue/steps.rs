//! The steps of a transaction, as the writer does them.

use super::rows;
use crate::sqlite::writer::Writer;
use crate::{Key, MessageId, Moved, NewMessage, Receipt, Step, StoreError, Stored};
use lamplight_env::Timestamp;
use rusqlite::{OptionalExtension, Params, params};

/// What a message costs in the log of the database beside its body, bytes, roughly.
const OVERHEAD: usize = 512;

type Done<T> = rusqlite::Result<Result<T, StoreError>>;

impl Writer {
    pub fn steps(&mut self, steps: &[Step], now: Timestamp) -> Done<Vec<Stored>> {
        let mut stored = Vec::new();
        for step in steps {
            let kept = match step {
                Step::Put(queue, message) => {
                    stored.push(self.put(queue, message, now)?);
                    true
                }
                Step::Done(receipt) => self.done(*receipt)?,
                Step::Retry { receipt, due, state } => {
                    self.retry(*receipt, *due, state.as_deref())?
                }
                Step::Extend { receipt, until } => self.guarded(
                    "UPDATE message SET due = ?3, leased = 1 WHERE id = ?1 AND leases = ?2",
                    params![receipt.id.0, receipt.lease, until.millis()],
                )?,
                Step::Move(receipt, moved) => self.move_on(*receipt, moved)?,
                Step::Fence(held) if !self.holds(held)? => {
                    return Ok(Err(StoreError::Fenced(held.name.clone())));
                }
                Step::Fence(_) => true,
            };
            if let (false, Some(id)) = (kept, named(step)) {
                return Ok(Err(StoreError::LeaseLost(id)));
            }
        }
        Ok(Ok(stored))
    }

    fn put(
        &mut self,
        queue: &Key,
        message: &NewMessage,
        now: Timestamp,
    ) -> rusqlite::Result<Stored> {
        let queue = self.made_queue(queue)?;
        if let Some(dedup) = &message.dedup {
            let found = self
                .connection
                .prepare_cached(
                    "SELECT id, name FROM dedup WHERE queue = ?1 AND dedup = ?2 AND until > ?3",
                )?
                .query_row(params![queue, dedup.id, now.millis()], |row| {
                    // An answer to a sender, who can be told of no damage.
                    let name = row.get_ref(1)?.as_bytes().unwrap_or_default();
                    Ok((row.get(0)?, String::from_utf8_lossy(name).into_owned()))
                })
                .optional()?;
            if let Some((id, name)) = found {
                let receipt = Receipt { id: MessageId(id), lease: 0 };
                return Ok(Stored { receipt, duplicate_of: Some(name) });
            }
        }
        self.wrote(message.body.len() + OVERHEAD);
        let lease = i64::from(message.lease.is_some());
        self.connection
            .prepare_cached(
                "INSERT INTO message (queue, due, leased, leases, name, sent, first, expires, grp, \
                 size, sum, state) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                queue,
                message.lease.unwrap_or(message.due).millis(),
                lease,
                message.name,
                now.millis(),
                message.lease.map(|_| now.millis()),
                message.expires.map(Timestamp::millis),
                message.group,
                i64::try_from(message.body.len()).unwrap_or(i64::MAX),
                rows::sum(message.name.as_bytes(), &message.body),
                &message.state[..],
            ])?;
        let id = self.connection.last_insert_rowid();
        if !message.body.is_empty() {
            self.connection
                .prepare_cached("INSERT INTO message_body (id, body) VALUES (?1, ?2)")?
                .execute(params![id, &message.body[..]])?;
        }
        if let Some(dedup) = &message.dedup {
            self.connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO dedup (queue, dedup, until, id, name) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![queue, dedup.id, dedup.until.millis(), id, message.name])?;
        }
        Ok(Stored { receipt: Receipt { id: MessageId(id), lease }, duplicate_of: None })
    }

    fn done(&mut self, receipt: Receipt) -> rusqlite::Result<bool> {
        let deleted = self.guarded(
            "DELETE FROM message WHERE id = ?1 AND leases = ?2",
            params![receipt.id.0, receipt.lease],
        )?;
        if deleted {
            self.forget_body(receipt.id.0)?;
        }
        Ok(deleted)
    }

    fn retry(
        &mut self,
        receipt: Receipt,
        due: Timestamp,
        state: Option<&[u8]>,
    ) -> rusqlite::Result<bool> {
        self.guarded(
            "UPDATE message SET due = ?3, leased = 0, state = ifnull(?4, state) \
             WHERE id = ?1 AND leases = ?2",
            params![receipt.id.0, receipt.lease, due.millis(), state],
        )
    }

    fn move_on(&mut self, receipt: Receipt, moved: &Moved) -> rusqlite::Result<bool> {
        let queue = self.made_queue(&moved.queue)?;
        let done = self.guarded(
            "UPDATE message SET queue = ?3, due = ?4, leased = 0, leases = leases + 1, \
             expires = ?5, state = ?6 WHERE id = ?1 AND leases = ?2",
            params![
                receipt.id.0,
                receipt.lease,
                queue,
                moved.due.millis(),
                moved.expires.map(Timestamp::millis),
                &moved.state[..],
            ],
        )?;
        if done && !moved.keep_body {
            self.forget_body(receipt.id.0)?;
            self.connection
                .prepare_cached("SELECT name FROM message WHERE id = ?1")?
                .query_row([receipt.id.0], |row| {
                    // As it stands there, be it text or not.
                    Ok(rows::sum(row.get_ref(0)?.as_bytes().unwrap_or_default(), &[]))
                })
                .and_then(|sum| {
                    self.connection
                        .prepare_cached("UPDATE message SET size = 0, sum = ?2 WHERE id = ?1")?
                        .execute(params![receipt.id.0, sum])
                })?;
        }
        Ok(done)
    }

    /// Whether a statement that is guarded by a receipt found its message.
    fn guarded(&mut self, sql: &str, values: impl Params) -> rusqlite::Result<bool> {
        self.wrote(OVERHEAD);
        Ok(self.connection.prepare_cached(sql)?.execute(values)? > 0)
    }

    fn forget_body(&self, id: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("DELETE FROM message_body WHERE id = ?1")?
            .execute([id])
            .map(drop)
    }

    pub fn queue_id(&self, queue: &Key) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT id FROM queue WHERE name = ?1")?
            .query_row([queue.encoded()], |row| row.get(0))
            .optional()
    }

    fn made_queue(&mut self, queue: &Key) -> rusqlite::Result<i64> {
        if let Some(id) = self.queue_id(queue)? {
            return Ok(id);
        }
        self.wrote(OVERHEAD);
        self.connection
            .prepare_cached("INSERT INTO queue (name) VALUES (?1)")?
            .execute([queue.encoded()])?;
        Ok(self.connection.last_insert_rowid())
    }

    pub fn count(&self, queue: i64) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("SELECT count(*) FROM message WHERE queue = ?1")?
            .query_row([queue], |row| row.get(0))
    }

    /// Deletes the messages whose ids `sql` finds.
    pub fn delete(&mut self, sql: &str, values: impl Params) -> rusqlite::Result<u64> {
        let ids = self
            .connection
            .prepare_cached(sql)?
            .query_map(values, |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        for id in &ids {
            self.connection.prepare_cached("DELETE FROM message WHERE id = ?1")?.execute([id])?;
            self.forget_body(*id)?;
            self.wrote(OVERHEAD);
        }
        Ok(ids.len() as u64)
    }

    pub fn reclaim(&mut self, queue: &Key, now: Timestamp) -> rusqlite::Result<u64> {
        let (from, to) = queue.below();
        self.wrote(OVERHEAD);
        let ended = self
            .connection
            .prepare_cached(
                "UPDATE message SET due = ?4, leased = 0 WHERE leased = 1 AND queue IN \
                 (SELECT id FROM queue WHERE name = ?1 OR (name > ?2 AND name < ?3))",
            )?
            .execute(params![queue.encoded(), from, to, now.millis()])?;
        Ok(ended as u64)
    }
}

fn named(step: &Step) -> Option<MessageId> {
    match step {
        Step::Done(receipt) | Step::Move(receipt, _) => Some(receipt.id),
        Step::Retry { receipt, .. } | Step::Extend { receipt, .. } => Some(receipt.id),
        Step::Put(..) | Step::Fence(_) => None,
    }
}
