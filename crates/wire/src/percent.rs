//! Percent-encoding as paths, query strings and forms use it. Decoding never fails on a stray `%`,
//! which stands for itself; it fails only on what is not UTF-8.

use std::borrow::Cow;

/// Decodes `%XX`. `None`: the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    decoded(text, false)
}

/// Decodes `%XX`, and `+` as a blank.
pub(crate) fn decode_form(text: &str) -> Option<Cow<'_, str>> {
    decoded(text, true)
}

/// The undecoded names and values of a query string or form.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The first value of a query parameter, decoded.
pub fn query_value<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, str>> {
    pairs(query?).find(|(key, _)| decode(key).as_deref() == Some(name)).and_then(|(_, v)| decode(v))
}

/// Encodes all but the unreserved characters, and `/` where `keep_slash`; upper-case digits, as
/// SigV4 wants them.
pub(crate) fn encode_into(out: &mut Vec<u8>, text: &[u8], keep_slash: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            b'/' if keep_slash => out.push(byte),
            _ => {
                let digit = |nibble: u8| DIGITS[usize::from(nibble & 15)];
                out.extend([b'%', digit(byte >> 4), digit(byte)]);
            }
        }
    }
}

/// One value of a query string, or one segment of a path.
pub fn encode(text: &str) -> String {
    encoded(text, false)
}

/// A path, whose slashes stay.
pub fn encode_path(text: &str) -> String {
    encoded(text, true)
}

fn encoded(text: &str, keep_slash: bool) -> String {
    let mut out = Vec::with_capacity(text.len() + 8);
    encode_into(&mut out, text.as_bytes(), keep_slash);
    out.into_iter().map(char::from).collect()
}

/// Decodes bytes of any kind; a stray `%` stands for itself.
pub(crate) fn decode_bytes(text: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) if plus_is_blank => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out
}

fn decoded(text: &str, plus_is_blank: bool) -> Option<Cow<'_, str>> {
    let encoded = text.contains('%') || (plus_is_blank && text.contains('+'));
    if !encoded {
        return Some(Cow::Borrowed(text));
    }
    String::from_utf8(decode_bytes(text.as_bytes(), plus_is_blank)).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stray_percent_signs_stand_for_themselves() {
        assert_eq!(decode("100%").as_deref(), Some("100%"));
        assert_eq!(decode("%4").as_deref(), Some("%4"));
        assert_eq!(decode("%zz%41").as_deref(), Some("%zzA"));
        assert_eq!(decode("%ff"), None);
        assert_eq!(decode_form("a+b%2B").as_deref(), Some("a b+"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(text in ".*") {
            let encoded = encode(&text);
            prop_assert_eq!(decode(&encoded), Some(Cow::Owned(text)));
        }
    }
}
