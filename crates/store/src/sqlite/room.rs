//! Room in the log of the database, ahead of its use.
//!
//! A write into blocks that a file has already is on the disk after one wait. One that makes the file
//! longer waits for the file system's own journal as well, and so for whatever others are writing at
//! that moment: ten times as long on a busy machine. So the log is made longer a good part at a time,
//! instead of with each transaction; after a checkpoint SQLite begins at its front again, and all of it
//! is there.
//!
//! Invariant: only the writer's thread makes room, between transactions, and behind all that is in the
//! file. SQLite takes what is behind the last transaction for nothing, whatever it is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Room that there has to be for what comes next, bytes.
const AHEAD: u64 = 1 << 20;
/// Made at a time, bytes.
const PART: usize = 2 << 20;
/// Few transactions need none: they are over before it would pay.
const FEW: u64 = 64 << 10;

pub(super) struct Room {
    log: PathBuf,
    size: u64,
}

impl Room {
    /// Of the database at `path`.
    pub fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self { log: log.into(), size: 0 }
    }

    /// Sees to it that there is room behind the first `used` bytes of the log. Where none can be made
    /// SQLite does without, or says so itself.
    pub fn keep_ahead(&mut self, used: u64) {
        if used < FEW || used + AHEAD <= self.size {
            return;
        }
        self.size = fs::metadata(&self.log).map_or(0, |log| log.len());
        if used + AHEAD <= self.size {
            return;
        }
        match lengthen(&self.log) {
            Ok(size) => self.size = size,
            Err(error) => {
                tracing::debug!(%error, "no room in the log of the store");
                // Asked again when this much is used.
                self.size = used + AHEAD + PART as u64;
            }
        }
    }
}

fn lengthen(log: &Path) -> io::Result<u64> {
    let file = File::options().write(true).open(log)?;
    // Holes would be filled with each transaction, which is no better than a longer file.
    file.write_all_at(&vec![0; PART], file.metadata()?.len())?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    fn rows(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_is_behind_the_log_is_nothing_to_a_reader_and_to_a_recovery() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("state.db"), dir.path().join("copy.db"));
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
        let mut room = Room::of(&path);
        let mut used = 0;
        for n in 0..300 {
            connection.execute("INSERT INTO t VALUES (zeroblob(9000))", []).unwrap();
            used += 16_000;
            room.keep_ahead(used);
            if n % 50 == 0 {
                assert_eq!(rows(&path), n + 1);
                // As after a loss of power: the files as they are, and nobody who had them open.
                for end in ["", "-wal"] {
                    let name = |path: &Path| format!("{}{end}", path.display());
                    fs::copy(name(&path), name(&copy)).unwrap();
                }
                assert_eq!(rows(&copy), n + 1);
                fs::remove_file(&copy).unwrap();
            }
        }
        let log = fs::metadata(dir.path().join("state.db-wal")).unwrap().len();
        assert!(log >= used + AHEAD && log < used + AHEAD + 3 * PART as u64, "{log}");
        connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        room.keep_ahead(FEW);
        let after = fs::metadata(dir.path().join("state.db-wal")).unwrap().len();
        assert_eq!(after, log, "there is room from the first time");
        drop(connection);
        assert_eq!(rows(&path), 301);
    }

    #[test]
    fn no_room_is_no_failure() {
        let mut room = Room::of(Path::new("/proc/none/state.db"));
        room.keep_ahead(10 * AHEAD);
        assert!(room.size > 10 * AHEAD);
    }
}
