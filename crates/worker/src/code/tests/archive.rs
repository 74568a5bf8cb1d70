//! Makes zip files byte by byte, honest ones and others.

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::io::Write;

pub const FILE: u32 = 0o100_644;
pub const LINK: u32 = 0o120_777;

/// An entry, with every field that may lie.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    pub made_by: u16,
    pub mode: u32,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: Vec<u8>,
    pub packed_size: u32,
    pub unpacked_size: u32,
    pub extra: Vec<u8>,
    /// In place of its own local header.
    pub offset: Option<u32>,
}

impl Entry {
    pub fn stored(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut crc = Crc::new();
        crc.update(content);
        Self {
            name: name.as_ref().to_vec(),
            made_by: 3,
            mode: FILE,
            flags: 0,
            method: 0,
            crc: crc.sum(),
            packed: content.to_vec(),
            packed_size: content.len() as u32,
            unpacked_size: content.len() as u32,
            extra: Vec::new(),
            offset: None,
        }
    }

    pub fn deflated(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let mut entry = Self::stored(name, content);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&entry.packed).unwrap();
        entry.packed = encoder.finish().unwrap();
        entry.packed_size = entry.packed.len() as u32;
        entry.method = 8;
        entry
    }

    pub fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::stored(name, target).mode(LINK)
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn common(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in [20, self.flags, self.method, 0, 0x21] {
            out.extend(field.to_le_bytes());
        }
        for field in [self.crc, self.packed_size, self.unpacked_size] {
            out.extend(field.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out
    }

    pub fn local(&self) -> Vec<u8> {
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(self.common());
        out.extend(0u16.to_le_bytes());
        out.extend(&self.name);
        out.extend(&self.packed);
        out
    }

    pub fn central(&self, offset: u32) -> Vec<u8> {
        let mut out = b"PK\x01\x02".to_vec();
        out.extend((self.made_by << 8 | 20).to_le_bytes());
        out.extend(self.common());
        out.extend((self.extra.len() as u16).to_le_bytes());
        out.extend([0; 6]);
        out.extend((self.mode << 16).to_le_bytes());
        out.extend(self.offset.unwrap_or(offset).to_le_bytes());
        out.extend(&self.name);
        out.extend(&self.extra);
        out
    }
}

pub fn end(count: u16, size: u32, offset: u32) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// The zip64 end record and its locator, for a central directory that ends at `position`.
pub fn end64(count: u64, size: u64, offset: u64) -> Vec<u8> {
    let mut out = b"PK\x06\x06".to_vec();
    out.extend(44u64.to_le_bytes());
    out.extend([45, 3, 45, 0]);
    out.extend([0; 8]);
    for field in [count, count, size, offset] {
        out.extend(field.to_le_bytes());
    }
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend((offset + size).to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out
}

/// Local entries, then the directory. Returns both, and the directory's offset.
pub fn parts(entries: &[Entry]) -> (Vec<u8>, Vec<u8>) {
    let (mut body, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        central.extend(entry.central(body.len() as u32));
        body.extend(entry.local());
    }
    (body, central)
}

pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut out, central) = parts(entries);
    let end = end(entries.len() as u16, central.len() as u32, out.len() as u32);
    out.extend(central);
    out.extend(end);
    out
}

pub fn zip64(entries: &[Entry]) -> Vec<u8> {
    let (mut out, central) = parts(entries);
    let end64 = end64(entries.len() as u64, central.len() as u64, out.len() as u64);
    out.extend(central);
    out.extend(end64);
    out.extend(end(u16::MAX, u32::MAX, u32::MAX));
    out
}
