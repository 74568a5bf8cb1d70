//! The central directory of a zip file: what the archive says it holds.
//!
//! Read here and not by a general zip library, because those try every place that looks like the
//! end of an archive and reserve memory for as many entries as the archive claims; both are levers
//! for whoever made the archive. Here one end record counts, the one whose comment ends with the
//! file, and memory grows with bytes that are really there. Zip64 and archives with something in
//! front (self-extracting ones) are understood; several disks, encryption and methods other than
//! stored and deflated are not.
//!
//! Names are kept as the bytes they are, UTF-8 or not. Comments and times are passed over.

use super::error::UnzipError;
use super::limits::CENTRAL_BYTES;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const END: [u8; 4] = *b"PK\x05\x06";
const END_SIZE: u64 = 22;
const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const ZIP64_LOCATOR_SIZE: u64 = 20;
const ZIP64_END: [u8; 4] = *b"PK\x06\x06";
const ZIP64_END_SIZE: u64 = 56;
const RECORD: [u8; 4] = *b"PK\x01\x02";
const RECORD_SIZE: usize = 46;
const ZIP64_EXTRA: u16 = 1;
const COMMENT_MAX: u64 = 65_535;

/// Encrypted, strongly encrypted, or with its directory encrypted.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// One entry as the central directory has it: claims, not facts.
#[derive(Debug)]
pub(super) struct Record {
    pub name: Vec<u8>,
    /// `st_mode`, where a Unix system made the entry.
    pub unix_mode: Option<u32>,
    pub method: Method,
    pub crc: u32,
    pub packed: u64,
    pub unpacked: u64,
    /// Where its local header is, from the start of the file.
    pub offset: u64,
}

pub(super) struct Central {
    pub records: Vec<Record>,
    /// Where the central directory starts: no entry may reach beyond.
    pub start: u64,
}

/// Reads the central directory of at most `entries` entries. `length` is the file's size.
pub(super) fn read(file: &File, length: u64, entries: usize) -> Result<Central, UnzipError> {
    let end = find_end(file, length)?;
    if end.size > CENTRAL_BYTES {
        return Err(UnzipError::Malformed("the central directory is too long"));
    }
    // Offsets count from the archive's own start, which is not the file's where something was
    // put in front.
    let start = end.position.checked_sub(end.size);
    let front = start.and_then(|start| start.checked_sub(end.offset));
    let (Some(start), Some(front)) = (start, front) else {
        return Err(UnzipError::Malformed(
            "the central directory is not where the end record says",
        ));
    };
    let size = usize::try_from(end.size).map_err(|_| UnzipError::Malformed("too long"))?;
    let bytes = read_vec(file, start, size)?;
    let mut rest = Cursor(&bytes);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        if records.len() >= entries {
            return Err(UnzipError::Malformed("too many entries"));
        }
        records.push(record(&mut rest, front)?);
    }
    // Old tools write the count modulo 65,536 and no zip64 record.
    if records.len() as u64 % 65_536 != end.count % 65_536 {
        return Err(UnzipError::Malformed("the number of entries is not what the end record says"));
    }
    if records.is_empty() {
        return Err(UnzipError::Malformed("no entries"));
    }
    Ok(Central { records, start })
}

/// The end record's claims; `position` is where the central directory has to end.
struct End {
    position: u64,
    count: u64,
    size: u64,
    offset: u64,
}

fn find_end(file: &File, length: u64) -> Result<End, UnzipError> {
    let tail_start = length.saturating_sub(END_SIZE + COMMENT_MAX);
    let tail_size = usize::try_from(length - tail_start).unwrap_or(0);
    let tail = read_vec(file, tail_start, tail_size)?;
    let (at, record) = tail
        .windows(END_SIZE as usize)
        .enumerate()
        .rev()
        .find(|(at, window)| {
            window.starts_with(&END)
                && Cursor(&window[20..]).u16().is_ok_and(|comment| {
                    at + END_SIZE as usize + usize::from(comment) == tail.len()
                })
        })
        .ok_or(UnzipError::Malformed("no end record"))?;
    let position = tail_start + at as u64;
    let mut fields = Cursor(&record[4..]);
    let disks = (fields.u16()?, fields.u16()?);
    let counts = (fields.u16()?, fields.u16()?);
    let end = End {
        position,
        count: u64::from(counts.1),
        size: u64::from(fields.u32()?),
        offset: u64::from(fields.u32()?),
    };
    if let Some(end) = find_zip64_end(file, position)? {
        return Ok(end);
    }
    if disks != (0, 0) || counts.0 != counts.1 {
        return Err(UnzipError::Malformed("it has several disks"));
    }
    Ok(end)
}

fn find_zip64_end(file: &File, end: u64) -> Result<Option<End>, UnzipError> {
    let Some(at) = end.checked_sub(ZIP64_LOCATOR_SIZE) else { return Ok(None) };
    let bytes = read_vec(file, at, ZIP64_LOCATOR_SIZE as usize)?;
    let Some(fields) = bytes.strip_prefix(&ZIP64_LOCATOR) else { return Ok(None) };
    let mut fields = Cursor(fields);
    let (disk, claimed, disks) = (fields.u32()?, fields.u64()?, fields.u32()?);
    // It stands right before its locator; the locator's own offset is off where something was
    // put in front of the archive.
    let position = at.checked_sub(ZIP64_END_SIZE);
    let Some(position) = position.filter(|p| claimed <= *p && disk == 0 && disks <= 1) else {
        return Err(UnzipError::Malformed("the zip64 locator points nowhere"));
    };
    let bytes = read_vec(file, position, ZIP64_END_SIZE as usize)?;
    let Some(fields) = bytes.strip_prefix(&ZIP64_END) else {
        return Err(UnzipError::Malformed("the zip64 locator points nowhere"));
    };
    let mut fields = Cursor(fields);
    // Its own size, the versions.
    fields.take(12)?;
    let (disk, start_disk) = (fields.u32()?, fields.u32()?);
    let (here, count) = (fields.u64()?, fields.u64()?);
    if (disk, start_disk) != (0, 0) || here != count {
        return Err(UnzipError::Malformed("it has several disks"));
    }
    Ok(Some(End { position, count, size: fields.u64()?, offset: fields.u64()? }))
}

fn record(rest: &mut Cursor, front: u64) -> Result<Record, UnzipError> {
    let mut fixed = Cursor(rest.take(RECORD_SIZE)?);
    if fixed.take(4)? != RECORD {
        return Err(UnzipError::Malformed("a directory record has no signature"));
    }
    let made_by = fixed.u16()? >> 8;
    fixed.take(2)?;
    let flags = fixed.u16()?;
    let method = fixed.u16()?;
    fixed.take(4)?;
    let crc = fixed.u32()?;
    let (packed, unpacked) = (fixed.u32()?, fixed.u32()?);
    let (name, extra, comment) = (fixed.u16()?, fixed.u16()?, fixed.u16()?);
    let disk = fixed.u16()?;
    fixed.take(2)?;
    let attributes = fixed.u32()?;
    let offset = fixed.u32()?;

    let name = rest.take(usize::from(name))?.to_vec();
    let mut wide = Wide { extra: zip64_extra(rest.take(usize::from(extra))?)? };
    rest.take(usize::from(comment))?;
    let unpacked = wide.widen(unpacked)?;
    let packed = wide.widen(packed)?;
    let offset = wide.widen(offset)?;

    if flags & ENCRYPTED != 0 {
        return Err(UnzipError::entry(&name, "is encrypted"));
    }
    if disk != 0 && disk != u16::MAX {
        return Err(UnzipError::entry(&name, "is on another disk"));
    }
    let method = match method {
        0 if packed == unpacked => Method::Stored,
        0 => return Err(UnzipError::entry(&name, "is stored with two sizes")),
        8 => Method::Deflated,
        _ => return Err(UnzipError::entry(&name, "is compressed in an unknown way")),
    };
    let offset = offset
        .checked_add(front)
        .ok_or_else(|| UnzipError::entry(&name, "is beyond the end of the file"))?;
    // 3 is Unix, 19 Darwin. The upper half means nothing elsewhere.
    let unix_mode = matches!(made_by, 3 | 19).then_some(attributes >> 16).filter(|mode| *mode != 0);
    Ok(Record { name, unix_mode, method, crc, packed, unpacked, offset })
}

/// The 64-bit values of a record, in the order of the fields that say "look there".
struct Wide<'a> {
    extra: Cursor<'a>,
}

impl Wide<'_> {
    fn widen(&mut self, narrow: u32) -> Result<u64, UnzipError> {
        if narrow == u32::MAX { self.extra.u64() } else { Ok(u64::from(narrow)) }
    }
}

fn zip64_extra(extra: &[u8]) -> Result<Cursor<'_>, UnzipError> {
    let mut rest = Cursor(extra);
    // Fewer than four bytes are padding that some tools leave.
    while rest.0.len() >= 4 {
        let (id, size) = (rest.u16()?, rest.u16()?);
        let Ok(field) = rest.take(usize::from(size)) else { break };
        if id == ZIP64_EXTRA {
            return Ok(Cursor(field));
        }
    }
    Ok(Cursor(&[]))
}

/// Little-endian fields, taken from the front.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], UnzipError> {
        let (front, rest) =
            self.0.split_at_checked(count).ok_or(UnzipError::Malformed("it is cut short"))?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UnzipError> {
        let (front, rest) =
            self.0.split_first_chunk::<N>().ok_or(UnzipError::Malformed("it is cut short"))?;
        self.0 = rest;
        Ok(*front)
    }

    pub(super) fn u16(&mut self) -> Result<u16, UnzipError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, UnzipError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, UnzipError> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Exactly `size` bytes at `offset`; callers have bounded `size`.
pub(super) fn read_vec(file: &File, offset: u64, size: usize) -> Result<Vec<u8>, UnzipError> {
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => UnzipError::Malformed("it is cut short"),
        _ => UnzipError::Read(error),
    })?;
    Ok(bytes)
}
