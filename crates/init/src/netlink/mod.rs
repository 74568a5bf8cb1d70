//! A small netlink client: enough to raise links, set addresses and load packet filter tables.
//!
//! Requests are built by appending; answers are read as acknowledgements or as raw dumps.

pub mod links;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};
use std::io;
use std::os::fd::OwnedFd;

pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const CREATE: u16 = 0x400;
pub const EXCLUSIVE: u16 = 0x200;
pub const DUMP: u16 = 0x300;
pub const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;

/// One request under construction.
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of `kind`, to which the family's fixed header comes next.
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0u8; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend([0u8; 8]);
        Self { bytes }
    }

    /// Appends bytes as they are, padded to four.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    /// Appends an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
        self
    }

    /// Appends a text attribute with the NUL the kernel wants.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Appends an attribute made of attributes.
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0u8; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start).unwrap_or(u16::MAX).to_ne_bytes();
        filled.bytes.splice(start..start + 2, length);
        filled
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).to_ne_bytes();
        self.bytes.splice(0..4, length);
        self.bytes.splice(8..12, sequence.to_ne_bytes());
        self.bytes
    }
}

/// A netlink socket of one family.
pub struct Socket(OwnedFd);

impl Socket {
    /// Links, addresses and routes of the network namespace we are in.
    pub fn route() -> io::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        Self::open(None)
    }

    /// Packet filter tables of the network namespace we are in.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        Ok(Self(socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?))
    }

    /// Sends one request and waits until the kernel has done it.
    pub fn ask(&self, message: Message) -> io::Result<()> {
        self.ask_all(vec![message], 1)
    }

    /// Sends requests as one datagram and waits for `acks` acknowledgements, or the first refusal.
    pub fn ask_all(&self, messages: Vec<Message>, acks: usize) -> io::Result<()> {
        let bytes: Vec<u8> =
            (1u32..).zip(messages).flat_map(|(n, message)| message.finish(n)).collect();
        self.send(&bytes)?;
        let mut left = acks;
        while left > 0 {
            for (kind, body) in self.receive()? {
                if kind == ERROR {
                    match body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)) {
                        Some(0) => left = left.saturating_sub(1),
                        Some(code) => {
                            return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                        }
                        None => return Err(io::ErrorKind::InvalidData.into()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a dump request and returns the bodies of all answers, after their netlink header.
    pub fn dump(&self, message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.send(&message.finish(1))?;
        let mut bodies = Vec::new();
        loop {
            for (kind, body) in self.receive()? {
                match kind {
                    DONE => return Ok(bodies),
                    ERROR => {
                        let code = body
                            .first_chunk::<4>()
                            .map_or(libc::EPROTO, |code| -i32::from_ne_bytes(*code));
                        return Err(io::Error::from_raw_os_error(code));
                    }
                    _ => bodies.push(body),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        sendto(&self.0, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut bytes = vec![0u8; 64 * 1024];
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&self.0, bytes.as_mut_slice(), RecvFlags::empty()))?;
        bytes.truncate(length);
        Ok(split(&bytes))
    }
}

/// Cuts a datagram into the kinds and bodies of its messages; stops at the first that is malformed.
fn split(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut messages = Vec::new();
    while let (Some(length), Some(kind)) = (bytes.first_chunk::<4>(), bytes.get(4..6)) {
        let length = u32::from_ne_bytes(*length) as usize;
        let Some(body) = bytes.get(HEADER..length) else { break };
        messages.push((u16::from_ne_bytes([kind[0], kind[1]]), body.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// The attributes in `bytes`; stops at the first that is malformed.
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some([a, b, c, d]) = bytes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([*c, *d]) & !NESTED, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_patched_and_values_padded() {
        let bytes = Message::new(16, ACK).raw(&[1, 2]).nest(3, |m| m.text(4, "ab")).finish(9);
        assert_eq!(bytes.len(), 16 + 4 + 4 + 8);
        assert_eq!(u32::from_ne_bytes(*bytes.first_chunk().unwrap()), 32);
        let nested = attributes(&bytes[20..]);
        assert_eq!(nested.len(), 1);
        assert_eq!(nested[0].0, 3);
        assert_eq!(attributes(nested[0].1), vec![(4, b"ab\0".as_slice())]);
    }

    #[test]
    fn malformed_answers_end_the_reading() {
        assert!(split(&[255; 20]).is_empty());
        assert!(attributes(&[200, 0, 1, 0]).is_empty());
        assert!(attributes(&[0, 0, 1, 0]).is_empty());
    }
}
