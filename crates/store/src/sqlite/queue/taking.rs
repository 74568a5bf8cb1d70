//! Which messages are given out next.

use super::rows;
use crate::queue::ORDERED_SEARCH;
use crate::sqlite::record::limit;
use crate::sqlite::writer::Writer;
use crate::{Ask, Key, Message};
use lamplight_env::Timestamp;
use rusqlite::params;

/// Never given out again, but kept: a message that is damaged must not hold up its queue, nor its
/// group. Its group stays as it is: where that is what is damaged, it is not in the indices.
const SET_ASIDE: i64 = i64::MAX;

const BY_AGE: &str = "SELECT id, size FROM message WHERE queue = ?1 AND due <= ?2 \
    AND ifnull(expires > ?2, 1) ORDER BY due, id LIMIT ?3";

/// A group waits while somebody has one of its messages, and while an earlier one is not due. Both
/// are found at once in their indices, however long the group is.
const IN_ORDER: &str = "SELECT id, size FROM \
    (SELECT id, size, grp, due FROM message INDEXED BY message_order \
     WHERE queue = ?1 AND grp IS NOT NULL AND ifnull(expires > ?2, 1) ORDER BY id LIMIT ?4) AS m \
    WHERE due <= ?2 \
    AND NOT EXISTS (SELECT 1 FROM message AS b INDEXED BY message_held \
        WHERE b.queue = ?1 AND b.grp = m.grp AND b.leased = 1 AND b.due > ?2 AND b.due < ?5) \
    AND NOT EXISTS (SELECT 1 FROM message AS b INDEXED BY message_group \
        WHERE b.queue = ?1 AND b.grp = m.grp AND b.id < m.id AND b.due > ?2 AND b.due < ?5) \
    ORDER BY id LIMIT ?3";

impl Writer {
    pub fn take(
        &mut self,
        queue: &Key,
        ask: Ask,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Message>> {
        let Some(known) = self.queue_id(queue)? else { return Ok(Vec::new()) };
        let mut taken = Vec::new();
        for id in self.choose(known, ask, now)? {
            self.connection
                .prepare_cached(
                    "UPDATE message SET due = ?2, leased = 1, leases = leases + 1, \
                     first = ifnull(first, ?3) WHERE id = ?1",
                )?
                .execute(params![id, ask.until.millis(), now.millis()])?;
            self.wrote(0);
            match rows::get(&self.connection, queue, id)? {
                Ok(message) => taken.push(message),
                Err(error) => {
                    tracing::error!(%error, id, "a message is set aside");
                    self.connection
                        .prepare_cached("UPDATE message SET due = ?2 WHERE id = ?1")?
                        .execute(params![id, SET_ASIDE])?;
                }
            }
        }
        Ok(taken)
    }

    fn choose(&self, queue: i64, ask: Ask, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
        let mut statement =
            self.connection.prepare_cached(if ask.in_order { IN_ORDER } else { BY_AGE })?;
        let most = limit(ask.messages);
        let search = i64::try_from(ORDERED_SEARCH).unwrap_or(i64::MAX);
        let mut rows = match ask.in_order {
            true => statement.query(params![queue, now.millis(), most, search, SET_ASIDE])?,
            false => statement.query(params![queue, now.millis(), most])?,
        };
        let (mut chosen, mut bytes) = (Vec::new(), 0i64);
        let room = i64::try_from(ask.bytes).unwrap_or(i64::MAX);
        while let Some(row) = rows.next()? {
            bytes = bytes.saturating_add(row.get(1)?);
            if bytes > room && !chosen.is_empty() {
                break;
            }
            chosen.push(row.get(0)?);
        }
        Ok(chosen)
    }
}
