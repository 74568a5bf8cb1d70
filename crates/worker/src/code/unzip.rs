//! Takes a zip file apart into an empty directory.
//!
//! Why no entry can be written elsewhere: the directory is new and nobody else's, paths have no
//! `..` ([`super::tree`]), every file is made anew, and links come last, when nothing is written
//! any more. So there is never a link to write through.
//!
//! Sizes and checksums are checked against what comes out. Entries that share bytes are refused.

use super::central::{self, Central, Cursor, Method, Record};
use super::error::UnzipError;
use super::limits::{Budget, LINK_BYTES, Limits};
use super::links::{self, Links};
use super::tree::{self, Node, Tree};
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use lamplight_env::faults;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const LOCAL_SIZE: u64 = 30;
const BUFFER: usize = 64 * 1024;

/// What an archive unpacked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    /// Files, links and directories.
    pub nodes: u64,
    /// Bytes of files and link targets.
    pub bytes: u64,
}

/// Unpacks `file` into `into`, an empty directory of the caller's own. After an error the caller
/// removes it.
pub(super) fn unzip(file: &File, into: &Path, limits: &Limits) -> Result<Contents, UnzipError> {
    let mut budget = Budget::new(limits);
    let length = file.metadata().map_err(UnzipError::Read)?.len();
    let Central { records, start } = central::read(file, length, limits.entries)?;
    let tree = tree::plan(&records, limits.entries)?;
    let entries = in_file_order(&records, &tree);
    // An honest bomb says so: no need to fill the disk first.
    let claimed =
        entries.iter().try_fold(0u64, |sum, (_, record, _)| sum.checked_add(record.unpacked));
    if claimed.is_none_or(|claimed| claimed > limits.bytes) {
        return Err(UnzipError::TooLarge);
    }
    make_directories(&tree, into)?;

    let mut links = Links::new();
    let mut free_from = 0;
    let mut buffer = vec![0; BUFFER];
    for (path, record, node) in entries {
        let packed = locate(file, record, free_from..start)?;
        free_from = packed.at + packed.left;
        let mut pour = Pour { record, packed, budget: &mut budget, buffer: &mut buffer };
        match node {
            Node::Directory => {}
            Node::File { executable, .. } => {
                let broken = |source| UnzipError::write(path, source);
                let mut made = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(host_path(into, path))
                    .map_err(broken)?;
                pour.onto(&mut made)?;
                // Past the umask.
                let mode = if executable { 0o755 } else { 0o644 };
                made.set_permissions(Permissions::from_mode(mode)).map_err(broken)?;
            }
            Node::Link { .. } => {
                if record.unpacked > LINK_BYTES {
                    return Err(UnzipError::entry(path, "is a link with too long a target"));
                }
                let mut target = Vec::new();
                pour.onto(&mut target)?;
                links.insert(path.to_vec(), target);
            }
        }
    }
    make_links(&links, &tree, into, &budget)?;
    Ok(Contents { nodes: tree.len() as u64, bytes: limits.bytes - budget.bytes_left() })
}

type Entry<'a> = (&'a [u8], &'a Record, Node);

/// What has content, in the order of the file.
fn in_file_order<'a>(records: &'a [Record], tree: &'a Tree) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry> = tree
        .iter()
        .filter_map(|(path, node)| match node {
            Node::Directory => None,
            Node::File { record, .. } | Node::Link { record } => {
                Some((path.as_slice(), records.get(*record)?, *node))
            }
        })
        .collect();
    entries.sort_by_key(|(_, record, _)| record.offset);
    entries
}

fn make_directories(tree: &Tree, into: &Path) -> Result<(), UnzipError> {
    for (path, _) in tree.iter().filter(|(_, node)| **node == Node::Directory) {
        let made = host_path(into, path);
        if faults::bug("follow-dots") && path.ends_with(b"..") {
            continue;
        }
        fs::create_dir(&made)
            .and_then(|()| fs::set_permissions(&made, Permissions::from_mode(0o755)))
            .map_err(|source| UnzipError::write(path, source))?;
    }
    Ok(())
}

fn make_links(links: &Links, tree: &Tree, into: &Path, budget: &Budget) -> Result<(), UnzipError> {
    for path in links.keys() {
        budget.check_cpu()?;
        links::follow(path, tree, links).map_err(|reason| UnzipError::entry(path, reason))?;
    }
    for (path, target) in links {
        symlink(OsStr::from_bytes(target), host_path(into, path))
            .map_err(|source| UnzipError::write(path, source))?;
    }
    Ok(())
}

/// `path` was planned: it is relative and has no `..`.
fn host_path(into: &Path, path: &[u8]) -> PathBuf {
    into.join(OsStr::from_bytes(path))
}

/// Where the packed bytes of `record` are: inside `free`, which no entry before it used.
fn locate<'a>(
    file: &'a File,
    record: &Record,
    free: std::ops::Range<u64>,
) -> Result<Section<'a>, UnzipError> {
    let refuse = |reason| UnzipError::entry(&record.name, reason);
    if record.offset < free.start {
        return Err(refuse("shares bytes with another entry"));
    }
    let header_end = record.offset.checked_add(LOCAL_SIZE).filter(|end| *end <= free.end);
    let header_end = header_end.ok_or_else(|| refuse("is beyond the end of the file"))?;
    let header = central::read_vec(file, record.offset, LOCAL_SIZE as usize)?;
    let mut fields = Cursor(&header);
    if fields.take(4)? != LOCAL {
        return Err(refuse("is not where the directory says"));
    }
    fields.take(22)?;
    let names = u64::from(fields.u16()?) + u64::from(fields.u16()?);
    let at = header_end + names;
    let fits = at.checked_add(record.packed).is_some_and(|end| end <= free.end);
    if !fits {
        return Err(refuse("reaches beyond its place"));
    }
    Ok(Section { file, at, left: record.packed })
}

/// The packed bytes of an entry.
#[derive(Clone, Copy)]
struct Section<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

/// Reads a section against the processor budget: deflate can eat input without end and put out
/// nothing, so the check has to be on this side too.
struct Metered<'a> {
    section: Section<'a>,
    budget: &'a Budget,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let section = &mut self.section;
        let most = usize::try_from(section.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        self.budget.check_cpu().map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let count = section.file.read_at(buffer, section.at)?;
        section.at += count as u64;
        section.left -= count as u64;
        Ok(count)
    }
}

struct Pour<'a> {
    record: &'a Record,
    packed: Section<'a>,
    budget: &'a mut Budget,
    buffer: &'a mut [u8],
}

impl Pour<'_> {
    /// Writes the entry's content, and checks it on the way.
    fn onto(&mut self, sink: &mut dyn Write) -> Result<(), UnzipError> {
        let record = self.record;
        let refuse = |reason| UnzipError::entry(&record.name, reason);
        let metered = Metered { section: self.packed, budget: self.budget };
        let mut source: Box<dyn Read> = match record.method {
            Method::Stored => Box::new(metered),
            Method::Deflated => {
                Box::new(DeflateDecoder::new(BufReader::with_capacity(BUFFER, metered)))
            }
        };
        let mut crc = Crc::new();
        let mut written = 0u64;
        loop {
            let count = match source.read(self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken_source(error, record)),
            };
            let bytes = self.buffer.get(..count).unwrap_or_default();
            written += count as u64;
            // Claims add up to no more than the limit, so this keeps the whole below it too.
            if written > record.unpacked {
                return Err(refuse("is longer than it says"));
            }
            crc.update(bytes);
            sink.write_all(bytes).map_err(|source| UnzipError::write(&record.name, source))?;
        }
        drop(source);
        if written != record.unpacked {
            return Err(refuse("is shorter than it says"));
        }
        if crc.sum() != record.crc {
            return Err(refuse("has a wrong checksum"));
        }
        self.budget.draw(written)
    }
}

fn broken_source(error: io::Error, record: &Record) -> UnzipError {
    match error.kind() {
        io::ErrorKind::TimedOut => UnzipError::TooSlow,
        // What the inflater says of bad input.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            UnzipError::entry(&record.name, "does not inflate")
        }
        _ => UnzipError::Read(error),
    }
}
