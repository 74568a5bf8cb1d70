//! The bytes of a segment: a header, then frames.
//!
//! ```text
//! header  "LAMPLOG" version:u8
//! frame   0xC5 0x4C length:u32 crc32(payload):u32 payload
//! payload 1 seq:u64 stream:u32 at:i64 ingested:i64 message        an event; times in Unix ms
//!         2 stream:u32 created:i64 name                           names a stream, before its first event
//! ```
//! Integers are little-endian. The two bytes that begin a frame never occur in UTF-8, so a message
//! cannot spell out a frame for a reader that looks for the next good one after damage. Kinds not
//! known here are passed over; other versions are refused.

/// Of a file: magic and version.
pub const HEADER: usize = 8;
const FRAME: usize = 10;
const MAGIC: &[u8; 7] = b"LAMPLOG";
const VERSION: u8 = 1;
const MARK: [u8; 2] = [0xC5, 0x4C];
/// A longer payload is damage: the longest message is 256 KiB, the longest name 512 characters.
const LONGEST: usize = 512 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    Event(Event<'a>),
    Stream {
        id: u32,
        created: i64,
        name: &'a str,
    },
    /// Written by a later version.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    pub seq: u64,
    pub stream: u32,
    pub at: i64,
    pub ingested: i64,
    pub message: &'a str,
}

pub const fn header() -> [u8; HEADER] {
    let [a, b, c, d, e, f, g] = *MAGIC;
    [a, b, c, d, e, f, g, VERSION]
}

/// What is wrong with a file that begins with `bytes`, if anything.
pub fn check_header(bytes: &[u8]) -> Result<(), &'static str> {
    match bytes.strip_prefix(MAGIC) {
        None => Err("it does not begin as a log segment does"),
        Some([VERSION, ..]) => Ok(()),
        Some(_) => Err("a later version wrote it"),
    }
}

/// Appends the frame of `record` to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; FRAME - 2]);
    match record {
        Record::Event(event) => {
            out.push(1);
            out.extend_from_slice(&event.seq.to_le_bytes());
            out.extend_from_slice(&event.stream.to_le_bytes());
            out.extend_from_slice(&event.at.to_le_bytes());
            out.extend_from_slice(&event.ingested.to_le_bytes());
            out.extend_from_slice(event.message.as_bytes());
        }
        Record::Stream { id, created, name } => {
            out.push(2);
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&created.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        Record::Unknown => out.push(0),
    }
    let payload = &out[start + FRAME..];
    let length = (payload.len() as u32).to_le_bytes();
    let crc = crc32fast::hash(payload).to_le_bytes();
    out[start + 2..start + 6].copy_from_slice(&length);
    out[start + 6..start + FRAME].copy_from_slice(&crc);
}

/// A good frame and where it lies.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub offset: usize,
    pub length: usize,
    /// Bytes between the frame before and this one that are no frame: damage.
    pub skipped: usize,
    pub record: Record<'a>,
}

/// The good frames of `bytes` in order. What follows the last one is damage or a torn end.
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// Starts at `at`, which is where a frame ought to begin.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the last good frame ended.
    pub fn end(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let mut offset = self.at;
        loop {
            let rest = self.bytes.get(offset..)?;
            if let Some((record, length)) = decode(rest) {
                let skipped = offset - self.at;
                self.at = offset + length;
                return Some(Frame { offset, length, skipped, record });
            }
            let further = rest.get(1..)?;
            offset += 1 + further.windows(2).position(|pair| pair == MARK)?;
        }
    }
}

fn decode(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let (mark, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if *mark != MARK || length > LONGEST {
        return None;
    }
    let payload = rest.get(..length)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (kind, body) = payload.split_first()?;
    let record = match kind {
        1 => {
            let (seq, body) = body.split_first_chunk()?;
            let (stream, body) = body.split_first_chunk()?;
            let (at, body) = body.split_first_chunk()?;
            let (ingested, body) = body.split_first_chunk()?;
            Record::Event(Event {
                seq: u64::from_le_bytes(*seq),
                stream: u32::from_le_bytes(*stream),
                at: i64::from_le_bytes(*at),
                ingested: i64::from_le_bytes(*ingested),
                message: std::str::from_utf8(body).ok()?,
            })
        }
        2 => {
            let (id, body) = body.split_first_chunk()?;
            let (created, body) = body.split_first_chunk()?;
            Record::Stream {
                id: u32::from_le_bytes(*id),
                created: i64::from_le_bytes(*created),
                name: std::str::from_utf8(body).ok()?,
            }
        }
        _ => Record::Unknown,
    };
    Some((record, FRAME + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, message: &str) -> Record<'_> {
        Record::Event(Event { seq, stream: 3, at: 1_700_000_000_000, ingested: 5, message })
    }

    /// Bytes that version 1 wrote. A later version reads them or has broken its users' logs.
    const VERSION_1: &[u8] = &[
        0x4c, 0x41, 0x4d, 0x50, 0x4c, 0x4f, 0x47, 0x01, 0xc5, 0x4c, 0x23, 0x00, 0x00, 0x00, 0x7b,
        0x03, 0xe2, 0x76, 0x02, 0x03, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x32, 0x30, 0x32, 0x36, 0x2f, 0x31, 0x31, 0x2f, 0x32, 0x32, 0x2f, 0x5b, 0x24, 0x4c,
        0x41, 0x54, 0x45, 0x53, 0x54, 0x5d, 0x61, 0x62, 0xc5, 0x4c, 0x22, 0x00, 0x00, 0x00, 0xbe,
        0xea, 0x5c, 0xad, 0x01, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x00, 0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x63, 0x61, 0x66, 0xc3, 0xa9,
    ];

    #[test]
    fn bytes_of_version_1_are_read_for_ever() {
        check_header(VERSION_1).unwrap();
        let records: Vec<_> = Frames::new(VERSION_1, HEADER).map(|frame| frame.record).collect();
        let name = "2026/11/22/[$LATEST]ab";
        assert_eq!(records, [Record::Stream { id: 3, created: 9, name }, event(7, "caf\u{e9}")]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(check_header(b"LAMPLOG").is_err());
        assert!(check_header(b"LAMPLOG\x02").is_err());
        assert!(check_header(b"GIF89a..").is_err());
    }

    #[test]
    fn damage_costs_only_its_own_frame() {
        let mut bytes = Vec::new();
        for seq in 0..3 {
            encode(&event(seq, "hello"), &mut bytes);
        }
        let one = bytes.len() / 3;
        for byte in one..2 * one {
            let mut broken = bytes.clone();
            broken[byte] ^= 0x10;
            let found: Vec<_> = Frames::new(&broken, 0).collect();
            assert_eq!(found.len(), 2, "byte {byte}");
            assert_eq!((found[1].skipped, found[1].record), (one, event(2, "hello")));
        }
    }

    #[test]
    fn no_text_holds_the_mark() {
        for tail in 0..=255 {
            assert!(std::str::from_utf8(&[MARK[0], MARK[1], tail]).is_err());
        }
    }
}
