//! A segment's index on disk, so that a start need not read every log ever written.
//!
//! A hint and nothing more: it is not synced, it names the file it belongs to by inode, and one
//! that is missing, torn or of another file costs a longer read. The file holds the CRC-32 of the
//! rest in eight hex digits, a newline, and JSON.

use super::error::{LogsError, at};
use super::index::Index;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs;
use std::path::Path;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Checkpoint<'a> {
    version: u32,
    /// Of the segment; a rewritten segment is another file.
    inode: u64,
    index: Cow<'a, Index>,
}

/// Keeps `index` of the segment at `path`.
pub fn write(path: &Path, inode: u64, index: &Index) -> Result<(), LogsError> {
    let checkpoint = Checkpoint { version: VERSION, inode, index: Cow::Borrowed(index) };
    let body = serde_json::to_vec(&checkpoint).unwrap_or_default();
    let mut bytes = format!("{:08x}\n", crc32fast::hash(&body)).into_bytes();
    bytes.extend(body);
    let (path, temporary) = (path.with_extension("idx"), path.with_extension("idx.new"));
    fs::write(&temporary, bytes).map_err(at("write", &temporary))?;
    fs::rename(&temporary, &path).map_err(at("put in place", path))
}

/// The index kept for the segment at `path`, if it is that of a file with this `inode` and at
/// least as long as the index says.
pub fn read(path: &Path, inode: u64, length: u64) -> Option<Index> {
    let bytes = fs::read(path.with_extension("idx")).ok()?;
    let (crc, body) = bytes.split_at_checked(9)?;
    let crc = std::str::from_utf8(crc).ok()?.strip_suffix('\n')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(body) {
        return None;
    }
    let found: Checkpoint = serde_json::from_slice(body).ok()?;
    let fits = found.version == VERSION && found.inode == inode && found.index.length <= length;
    fits.then(|| found.index.into_owned())
}

/// Before the segment at `path` is removed.
pub fn remove(path: &Path) {
    // One that stays behind belongs to no file and is harmless.
    let _ = fs::remove_file(path.with_extension("idx"));
}

#[cfg(test)]
mod tests {
    use super::super::record::{Event, Record};
    use super::*;

    #[test]
    fn it_is_believed_only_whole_and_for_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-1.seg");
        let mut index = Index::default();
        index.add(8, 20, &Record::Stream { id: 3, created: 1, name: "s" });
        let event = Event { seq: 9, stream: 3, at: 5, ingested: 6, message: "m" };
        index.add(28, 72, &Record::Event(event));
        write(&path, 7, &index).unwrap();
        assert_eq!(read(&path, 7, 100), Some(index));
        assert_eq!(read(&path, 8, 100), None, "another file");
        assert_eq!(read(&path, 7, 99), None, "the file lost its end");
        let file = path.with_extension("idx");
        let whole = fs::read(&file).unwrap();
        for byte in 0..whole.len() {
            let mut broken = whole.clone();
            broken[byte] ^= 1;
            fs::write(&file, &broken).unwrap();
            assert_eq!(read(&path, 7, 100), None, "byte {byte} flipped");
            fs::write(&file, &whole[..byte]).unwrap();
            assert_eq!(read(&path, 7, 100), None, "cut at {byte}");
        }
        fs::write(&file, &whole).unwrap();
        remove(&path);
        assert_eq!(read(&path, 7, 100), None);
    }
}
