//! The canonical form of a request, hashed as it is written.

use super::hex;
use crate::percent;
use http::header::HOST;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

pub(super) struct Canonical<'p> {
    pub parts: &'p Parts,
    pub signed_headers: &'p str,
    /// The body's hash in hexadecimal, or the label that stands for it.
    pub payload_hash: &'p str,
    /// Leave `X-Amz-Signature` out of the query.
    pub presigned: bool,
    /// AWS: S3 signs the path as it is; everybody else resolves dots and encodes it once more.
    pub plain_path: bool,
}

impl Canonical<'_> {
    /// Hexadecimal SHA-256 of the canonical request. `None`: a header said to be signed is not
    /// there.
    pub fn hash(&self) -> Option<String> {
        let mut hash = Sha256::new();
        let mut text = Vec::with_capacity(512);
        text.extend(self.parts.method.as_str().bytes());
        text.push(b'\n');
        self.path(&mut text);
        text.push(b'\n');
        self.query(&mut text);
        text.push(b'\n');
        for name in names(self.signed_headers) {
            self.header(name, &mut text)?;
        }
        text.push(b'\n');
        for (index, name) in names(self.signed_headers).enumerate() {
            if index > 0 {
                text.push(b';');
            }
            text.extend(name.bytes());
        }
        text.push(b'\n');
        text.extend(self.payload_hash.bytes());
        hash.update(&text);
        Some(hex(&hash.finalize()))
    }

    fn path(&self, out: &mut Vec<u8>) {
        let path = self.parts.uri.path();
        if self.plain_path {
            let decoded = percent::decode_bytes(path.as_bytes(), false);
            return percent::encode_into(out, &decoded, true);
        }
        let mut kept: Vec<&str> = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    kept.pop();
                }
                segment => kept.push(segment),
            }
        }
        for segment in &kept {
            out.push(b'/');
            percent::encode_into(out, segment.as_bytes(), false);
        }
        if kept.is_empty() || path.ends_with('/') {
            out.push(b'/');
        }
    }

    fn query(&self, out: &mut Vec<u8>) {
        let encode = |text: &str| {
            let mut encoded = Vec::with_capacity(text.len());
            percent::encode_into(
                &mut encoded,
                &percent::decode_bytes(text.as_bytes(), false),
                false,
            );
            encoded
        };
        let mut pairs: Vec<_> = percent::pairs(self.parts.uri.query().unwrap_or_default())
            .filter(|(name, _)| !(self.presigned && *name == "X-Amz-Signature"))
            .map(|(name, value)| (encode(name), encode(value)))
            .collect();
        pairs.sort();
        for (index, (name, value)) in pairs.iter().enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            out.extend(name);
            out.push(b'=');
            out.extend(value);
        }
    }

    /// `name:values\n`, blanks folded, several values joined by commas.
    fn header(&self, name: &str, out: &mut Vec<u8>) -> Option<()> {
        out.extend(name.bytes());
        out.push(b':');
        let mut values = self.parts.headers.get_all(name).iter().peekable();
        match values.peek() {
            Some(_) => {
                for (index, value) in values.enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    fold(value.as_bytes(), out);
                }
            }
            // HTTP/2 has the host in the request's target.
            None if name == HOST.as_str() => {
                out.extend(self.parts.uri.authority()?.as_str().bytes());
            }
            None => return None,
        }
        out.push(b'\n');
        Some(())
    }
}

/// The names in a list of signed headers, whose semicolons a presigned URL writes `%3B`.
pub(super) fn names(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = |(at, byte): (usize, u8)| match byte {
            b';' => Some((at, 1)),
            b'%' => text.get(at..at + 3)?.eq_ignore_ascii_case("%3b").then_some((at, 3)),
            _ => None,
        };
        match text.bytes().enumerate().find_map(end) {
            Some((at, width)) => {
                rest = text.get(at + width..);
                text.get(..at)
            }
            None => rest.take(),
        }
    })
}

fn fold(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend(word);
    }
}
