//! Log in SQLite.

use super::record::{self, read_error};
use super::{Sqlite, Writer};
use crate::log::check_append;
use crate::{Checkpoint, Key, Log, Record, Rev, Seq, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::ops::Range;

/// A batch ends early after this many bytes of bodies.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Records that one transaction deletes: others want the writer, too.
const SWEEP: i64 = 1000;

#[async_trait]
impl Log for Sqlite {
    async fn append(
        &self,
        shard: &Key,
        bodies: Vec<Bytes>,
        now: Timestamp,
    ) -> Result<Range<Seq>, StoreError> {
        check_append(&bodies)?;
        let shard = shard.clone();
        self.write(move |writer| writer.append(&shard, &bodies, now).map(Ok)).await
    }

    async fn read(&self, shard: &Key, from: Seq, limit: usize) -> Result<Vec<Record>, StoreError> {
        let shard = shard.clone();
        self.read(move |connection| read(connection, &shard, from, limit)).await
    }

    async fn end(&self, shard: &Key) -> Result<Seq, StoreError> {
        let shard = shard.clone();
        self.read(move |connection| {
            let next = connection
                .prepare_cached("SELECT next FROM shard WHERE name = ?1")
                .and_then(|mut statement| {
                    statement.query_row([shard.encoded()], |row| row.get(0)).optional()
                })
                .map_err(read_error)?;
            Ok(Seq(next.unwrap_or(1)))
        })
        .await
    }

    async fn trim(&self, shard: &Key, before: Seq) -> Result<(), StoreError> {
        loop {
            let shard = shard.clone();
            let gone = self.write(move |writer| {
                writer
                    .connection
                    .prepare_cached(
                        "DELETE FROM stream WHERE rowid IN (SELECT r.rowid FROM stream AS r \
                         JOIN shard AS s ON s.id = r.shard \
                         WHERE s.name = ?1 AND r.seq < ?2 LIMIT ?3)",
                    )?
                    .execute(params![shard.encoded(), before.0, SWEEP])
                    .map(Ok)
            });
            if gone.await? == 0 {
                return Ok(());
            }
        }
    }

    async fn checkpoint(
        &self,
        reader: &Key,
        shard: &Key,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        let (reader, shard) = (reader.clone(), shard.clone());
        self.write(move |writer| {
            writer.wrote(checkpoint.state.len());
            let written = writer
                .connection
                .prepare_cached(
                    "INSERT INTO checkpoint (reader, shard, seq, epoch, state) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (shard, reader) DO UPDATE SET \
                     seq = excluded.seq, epoch = excluded.epoch, state = excluded.state \
                     WHERE epoch <= excluded.epoch",
                )?
                .execute(params![
                    reader.encoded(),
                    shard.encoded(),
                    checkpoint.seq.0,
                    checkpoint.epoch,
                    &checkpoint.state[..]
                ])?;
            Ok(if written > 0 { Ok(()) } else { Err(StoreError::Fenced(reader)) })
        })
        .await
    }

    async fn checkpoint_of(
        &self,
        reader: &Key,
        shard: &Key,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let (reader, shard) = (reader.clone(), shard.clone());
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT seq, epoch, state FROM checkpoint WHERE shard = ?1 AND reader = ?2",
                )
                .and_then(|mut statement| {
                    statement
                        .query_row([shard.encoded(), reader.encoded()], |row| {
                            Ok(Checkpoint {
                                seq: Seq(row.get(0)?),
                                epoch: row.get(1)?,
                                state: Bytes::from(row.get::<_, Vec<u8>>(2)?),
                            })
                        })
                        .optional()
                })
                .map_err(read_error)
        })
        .await
    }

    async fn delete(&self, shard: &Key) -> Result<(), StoreError> {
        self.trim(shard, Seq(i64::MAX)).await?;
        let shard = shard.clone();
        self.write(move |writer| {
            for sql in
                ["DELETE FROM checkpoint WHERE shard = ?1", "DELETE FROM shard WHERE name = ?1"]
            {
                writer.connection.prepare_cached(sql)?.execute([shard.encoded()])?;
            }
            Ok(Ok(()))
        })
        .await
    }
}

impl Writer {
    fn append(
        &mut self,
        shard: &Key,
        bodies: &[Bytes],
        now: Timestamp,
    ) -> rusqlite::Result<Range<Seq>> {
        let count = i64::try_from(bodies.len()).unwrap_or(i64::MAX);
        let (id, next): (i64, i64) = self
            .connection
            .prepare_cached(
                "INSERT INTO shard (name, next) VALUES (?1, 1 + ?2) \
                 ON CONFLICT (name) DO UPDATE SET next = next + ?2 RETURNING id, next",
            )?
            .query_row(params![shard.encoded(), count], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let first = next - count;
        for (seq, body) in (first..).zip(bodies) {
            self.wrote(body.len());
            self.connection
                .prepare_cached(
                    "INSERT INTO stream (shard, seq, at, sum, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    id,
                    seq,
                    now.millis(),
                    record::sum(shard.encoded(), Rev(seq), body),
                    &body[..]
                ])?;
        }
        Ok(Seq(first)..Seq(next))
    }
}

fn read(
    connection: &Connection,
    shard: &Key,
    from: Seq,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let collect = || -> rusqlite::Result<Vec<(Record, i64)>> {
        let mut statement = connection.prepare_cached(
            "SELECT r.seq, r.at, r.sum, r.body FROM shard AS s \
             JOIN stream AS r ON r.shard = s.id \
             WHERE s.name = ?1 AND r.seq >= ?2 ORDER BY r.seq LIMIT ?3",
        )?;
        let values = params![shard.encoded(), from.0, record::limit(limit)];
        let rows = statement.query_map(values, |row| {
            let record = Record {
                seq: Seq(row.get(0)?),
                at: Timestamp::from_millis(row.get(1)?),
                body: Bytes::from(row.get::<_, Vec<u8>>(3)?),
            };
            Ok((record, row.get(2)?))
        })?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let row = row?;
            bytes += row.0.body.len();
            found.push(row);
            if bytes > BATCH_BYTES {
                break;
            }
        }
        Ok(found)
    };
    let checked = |(record, sum): (Record, i64)| {
        if record::sum(shard.encoded(), Rev(record.seq.0), &record.body) == sum {
            return Ok(record);
        }
        Err(StoreError::Damaged {
            what: format!("record {} of {shard}", record.seq.0),
            detail: "its checksum does not match; restore a backup".to_owned(),
        })
    };
    collect().map_err(read_error)?.into_iter().map(checked).collect()
}
