//! Leases in SQLite. A name that was released keeps its row, and with it its epoch.

use super::{Sqlite, Writer};
use crate::{Held, Key, Leases, StoreError};
use async_trait::async_trait;
use lamplight_env::Timestamp;
use rusqlite::{OptionalExtension, params};

#[async_trait]
impl Leases for Sqlite {
    async fn acquire(
        &self,
        name: &Key,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Held>, StoreError> {
        let (name, owner) = (name.clone(), owner.to_owned());
        self.write(move |writer| {
            writer.wrote(0);
            let epoch = writer
                .connection
                .prepare_cached(
                    "INSERT INTO lease (name, owner, epoch, until) VALUES (?1, ?2, 1, ?3) \
                     ON CONFLICT (name) DO UPDATE SET owner = ?2, epoch = epoch + 1, until = ?3 \
                     WHERE until <= ?4 OR owner IS ?2 RETURNING epoch",
                )?
                .query_row(params![name.encoded(), owner, until.millis(), now.millis()], |row| {
                    row.get(0)
                })
                .optional()?;
            Ok(Ok(epoch.map(|epoch| Held { name, epoch })))
        })
        .await
    }

    async fn renew(&self, held: &Held, until: Timestamp) -> Result<(), StoreError> {
        let held = held.clone();
        self.write(move |writer| {
            writer.wrote(0);
            let renewed = writer
                .connection
                .prepare_cached(
                    "UPDATE lease SET until = ?3 \
                     WHERE name = ?1 AND epoch = ?2 AND owner IS NOT NULL",
                )?
                .execute(params![held.name.encoded(), held.epoch, until.millis()])?;
            Ok(if renewed > 0 { Ok(()) } else { Err(StoreError::Fenced(held.name)) })
        })
        .await
    }

    async fn release(&self, held: &Held) -> Result<(), StoreError> {
        let held = held.clone();
        self.write(move |writer| {
            writer.wrote(0);
            writer
                .connection
                .prepare_cached(
                    "UPDATE lease SET until = ?3, owner = NULL WHERE name = ?1 AND epoch = ?2",
                )?
                .execute(params![held.name.encoded(), held.epoch, i64::MIN])?;
            Ok(Ok(()))
        })
        .await
    }
}

impl Writer {
    /// Whether nobody else has had the name since, and it was not given back.
    pub fn holds(&self, held: &Held) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT 1 FROM lease WHERE name = ?1 AND epoch = ?2 AND owner IS NOT NULL",
            )?
            .exists(params![held.name.encoded(), held.epoch])
    }
}
