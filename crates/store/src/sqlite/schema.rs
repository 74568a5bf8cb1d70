//! The tables and their migrations: forward only, all in one transaction, counted in
//! `PRAGMA user_version`.

use super::writer::{mended, wants_mending};
use crate::OpenError;
use lamplight_env::faults;
use rusqlite::Connection;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What makes version `n + 1` out of version `n`. Never edit a released one: add.
///
/// `sum` is over key, rev and body (see `record.rs`). `readable` is for people with a shell.
const MIGRATIONS: [&str; 2] = [META, QUEUES];

const META: &str = "
    CREATE TABLE meta (
        key  TEXT PRIMARY KEY,
        rev  INTEGER NOT NULL,
        sum  INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE changelog (
        rev     INTEGER PRIMARY KEY,
        key     TEXT NOT NULL,
        deleted INTEGER NOT NULL,
        at      INTEGER NOT NULL
    ) STRICT;
    CREATE VIEW readable AS
        SELECT replace(key, char(31), '/') AS key, rev, CAST(body AS TEXT) AS body FROM meta;
";

/// The small columns of a message are written again and again, its body once. `due` is when it is
/// given out next: a lease moves it. Ids are never used again, so that an old receipt names
/// nothing.
const QUEUES: &str = "
    CREATE TABLE queue (
        id   INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE message (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        queue   INTEGER NOT NULL,
        due     INTEGER NOT NULL,
        leased  INTEGER NOT NULL,
        leases  INTEGER NOT NULL,
        name    TEXT NOT NULL,
        sent    INTEGER NOT NULL,
        first   INTEGER,
        expires INTEGER,
        grp     TEXT,
        size    INTEGER NOT NULL,
        sum     INTEGER NOT NULL,
        state   BLOB NOT NULL
    ) STRICT;
    CREATE INDEX message_due ON message (queue, due);
    CREATE INDEX message_group ON message (queue, grp, id) WHERE grp IS NOT NULL;
    CREATE INDEX message_order ON message (queue, id) WHERE grp IS NOT NULL;
    CREATE INDEX message_held ON message (queue, grp) WHERE leased = 1 AND grp IS NOT NULL;
    CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL;
    CREATE TABLE message_body (
        id   INTEGER PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE dedup (
        queue INTEGER NOT NULL,
        dedup TEXT NOT NULL,
        until INTEGER NOT NULL,
        id    INTEGER NOT NULL,
        name  TEXT NOT NULL,
        PRIMARY KEY (queue, dedup)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX dedup_until ON dedup (until);
    CREATE TABLE lease (
        name  TEXT PRIMARY KEY,
        owner TEXT,
        epoch INTEGER NOT NULL,
        until INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE shard (
        id   INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        next INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE stream (
        shard INTEGER NOT NULL,
        seq   INTEGER NOT NULL,
        at    INTEGER NOT NULL,
        sum   INTEGER NOT NULL,
        body  BLOB NOT NULL,
        PRIMARY KEY (shard, seq)
    ) STRICT;
    CREATE TABLE checkpoint (
        shard  TEXT NOT NULL,
        reader TEXT NOT NULL,
        seq    INTEGER NOT NULL,
        epoch  INTEGER NOT NULL,
        state  BLOB NOT NULL,
        PRIMARY KEY (shard, reader)
    ) STRICT, WITHOUT ROWID;
";

#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Looks at the version in the file's header before SQLite opens it, because opening alone may
/// already replay a log. A migration always folds its log in, so the header is right.
pub(super) fn refuse_newer_file(path: &Path) -> Result<(), OpenError> {
    let mut header = [0u8; 64];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    if read.is_err() {
        // Not there yet, or too short to have a version: SQLite will say what it is.
        return Ok(());
    }
    // https://sqlite.org/fileformat.html: user_version, big-endian, at offset 60.
    let [.., a, b, c, d] = header;
    refuse_newer(i64::from(i32::from_be_bytes([a, b, c, d])), path)
}

fn refuse_newer(found: i64, path: &Path) -> Result<(), OpenError> {
    if found > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    Ok(())
}

/// Checks the file and brings it to the current version.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |step| {
        let path = path.to_owned();
        move |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                OpenError::Damaged { path, detail: source.to_string() }
            }
            _ => OpenError::Sqlite { step, path, source },
        }
    };
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sqlite("read the version of"))?;
    refuse_newer(version, path)?;
    // Both return a row, so they are queries; a mode that did not take is an error of ours.
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sqlite("use a write-ahead log for"))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let detail = format!("the file system allows only journal mode {mode}");
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    for (name, value) in [
        ("synchronous", if faults::bug("skip-sync") { "OFF" } else { "FULL" }),
        ("mmap_size", "0"),
        // The writer checkpoints itself, because errors of the automatic one are not reported.
        ("wal_autocheckpoint", "0"),
        ("journal_size_limit", "67108864"),
        ("cell_size_check", "ON"),
    ] {
        connection.execute_batch(&format!("PRAGMA {name} = {value}")).map_err(sqlite("set up"))?;
    }
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sqlite("check"))?;
    if verdict != "ok" {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: verdict });
    }
    migrate(connection, version).map_err(sqlite("migrate"))
}

fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let todo = MIGRATIONS.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
    if todo.is_empty() {
        // Names that nothing has come for since: functions and queues come and go.
        let sweep = || {
            connection.execute_batch(
                "DELETE FROM queue WHERE NOT EXISTS (SELECT 1 FROM message WHERE queue = queue.id) \
                 AND NOT EXISTS (SELECT 1 FROM dedup WHERE queue = queue.id)",
            )
        };
        return match sweep() {
            // It matters too little to stop the server.
            Err(error) if wants_mending(&error) && mended(connection) => Ok(()),
            swept => swept,
        };
    }
    let txn = connection.transaction()?;
    for migration in todo {
        txn.execute_batch(migration)?;
    }
    txn.pragma_update(None, "user_version", VERSION)?;
    txn.commit()?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
