//! What becomes of the cache when the machine goes down.
//!
//! Unpacked code is not synced piece by piece: a crash of the server loses nothing that the kernel
//! has, and all of it can be made again from the zip files. A mark with the id of the machine's boot
//! lies in the cache while there may be something that has not reached the disk. A start in another
//! boot that finds the mark trusts nothing; the server's end in order syncs once and takes it away.
//!
//! Everything here blocks.

use super::removal::remove;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

pub(super) const MARK: &str = ".unsynced";

/// The id of the machine's boot; empty where the system does not say, which no mark is trusted for.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Clears what may be torn, and marks `dir` before anything is written to it in the boot `now`.
pub(super) fn begin(dir: &Path, now: &str) -> io::Result<()> {
    let mark = dir.join(MARK);
    let whole = match fs::read_to_string(&mark) {
        Ok(then) => !now.is_empty() && then == now,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    if !whole {
        tracing::info!("the machine went down while code was being kept; it is unpacked again");
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name() != MARK {
                remove(&entry.path())?;
            }
        }
    }
    let mut file = File::create(&mark)?;
    file.write_all(now.as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Everything reaches the disk, and the mark goes. Nothing may be written to `dir` from here on.
pub(super) fn end(dir: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(dir)?)?;
    remove(&dir.join(MARK))
}
