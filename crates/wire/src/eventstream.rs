//! Messages of `application/vnd.amazon.eventstream`, the framing of AWS's streamed answers.
//!
//! A message is a prelude (two lengths and their CRC-32), headers, a payload and a CRC-32 of
//! everything before it; numbers are big-endian. Only what a server sends is here: events whose
//! headers are short strings. What cannot be framed is refused rather than sent broken.

use bytes::{BufMut, Bytes, BytesMut};

/// What AWS's own clients accept as a message's payload.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// Lengths, their checksum, and the checksum at the end.
const OVERHEAD: usize = 16;
/// The type of a header whose value is a string.
const STRING: u8 = 7;

/// One event of the type that the model calls `event`, as what goes before its payload and what
/// goes after it: nobody has to copy a large one. `None` when a part is too long to be framed.
pub fn event(event: &str, content_type: &str, payload: &[u8]) -> Option<(Bytes, Bytes)> {
    let headers =
        [(":event-type", event), (":content-type", content_type), (":message-type", "event")];
    around(&headers, payload)
}

fn around(headers: &[(&str, &str)], payload: &[u8]) -> Option<(Bytes, Bytes)> {
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    let mut encoded = BytesMut::with_capacity(128);
    for (name, value) in headers {
        encoded.put_u8(u8::try_from(name.len()).ok()?);
        encoded.put_slice(name.as_bytes());
        encoded.put_u8(STRING);
        encoded.put_u16(u16::try_from(value.len()).ok()?);
        encoded.put_slice(value.as_bytes());
    }
    let total = OVERHEAD + encoded.len() + payload.len();
    let mut head = BytesMut::with_capacity(OVERHEAD + encoded.len());
    head.put_u32(u32::try_from(total).ok()?);
    head.put_u32(u32::try_from(encoded.len()).ok()?);
    head.put_u32(crc32fast::hash(&head));
    head.put_slice(&encoded);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head);
    checksum.update(payload);
    let tail = Bytes::copy_from_slice(&checksum.finalize().to_be_bytes());
    Some((head.freeze(), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As botocore 1.x encodes and decodes it.
    #[test]
    fn a_message_is_framed_as_clients_expect() {
        let (head, tail) = around(&[("a", "b")], b"{}").unwrap();
        let framed = [&head[..], b"{}", &tail].concat();
        let hex: String = framed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0000001800000006dcd1a61f0161070001627b7df3d78873");
        let (head, tail) = event("PayloadChunk", "application/octet-stream", b"").unwrap();
        assert_eq!(
            head.len() + tail.len(),
            16 + (1 + 11 + 3 + 12) + (1 + 13 + 3 + 24) + (1 + 13 + 3 + 5)
        );
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        assert!(event("E", "t", &vec![0; MAX_PAYLOAD]).is_some());
        assert!(event("E", "t", &vec![0; MAX_PAYLOAD + 1]).is_none());
        assert!(event(&"E".repeat(70_000), "t", b"").is_none());
    }
}
