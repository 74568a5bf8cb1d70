//! Archives made to harm (hostile cases D1 and D2).

use super::archive::{Entry, end, end64, parts, zip, zip64};
use super::{LIMITS, Limits, UnzipError, Yard, refused};
use lamplight_model::limits::ZIP_ENTRIES;
use std::time::Duration;

/// D1: no name leads out of the archive.
#[test]
fn names_that_lead_elsewhere() {
    for name in [
        "../x",
        "a/../../x",
        "a/..",
        "..",
        "/etc/x",
        "//x",
        "a\\b",
        "..\\x",
        "a\0b",
        "C:/x",
        "c:x",
        "",
    ] {
        refused(&zip(&[Entry::stored("good", "1"), Entry::stored(name, "x")]));
    }
}

/// D2: names have a length and a depth.
#[test]
fn names_too_long_or_too_deep() {
    refused(&zip(&[Entry::stored("x".repeat(256), "")]));
    refused(&zip(&[Entry::stored("x/".repeat(129) + "f", "")]));
    refused(&zip(&[Entry::stored("x/".repeat(10_000) + "f", "")]));
    let yard = Yard::new();
    yard.unzip(
        &zip(&[Entry::stored("x".repeat(255), ""), Entry::stored("y/".repeat(127) + "f", "")]),
        &LIMITS,
    )
    .unwrap();
}

/// D1: no devices, and nothing that is two things.
#[test]
fn special_files_and_contradictions() {
    for kind in [0o020_666, 0o060_666, 0o010_666, 0o140_666, 0o170_000] {
        assert!(refused(&zip(&[Entry::stored("dev", "").mode(kind)])).contains("device"));
    }
    refused(&zip(&[Entry::stored("d/", "content")]));
    refused(&zip(&[Entry::stored("d", "content").mode(0o040_755)]));
    refused(&zip(&[Entry::link("l/", "x")]));
    refused(&zip(&[Entry::stored("a", ""), Entry::stored("a/b", "")]));
    refused(&zip(&[Entry::stored("a/b", ""), Entry::stored("a", "")]));
    refused(&zip(&[Entry::stored("a", ""), Entry::stored("a/", "")]));
}

#[test]
fn encryption_and_other_methods() {
    for flags in [1, 1 << 6, 1 << 13] {
        let why = refused(&zip(&[Entry::stored("f", "x").with(|e| e.flags = flags)]));
        assert!(why.contains("encrypted"), "{why}");
    }
    for method in [1, 9, 12, 14, 93, 99] {
        refused(&zip(&[Entry::stored("f", "x").with(|e| e.method = method)]));
    }
}

#[test]
fn no_archive_at_all() {
    for bytes in [&b""[..], b"PK", b"hello", &[0; 70_000], b"PK\x03\x04", b"PK\x05\x06"] {
        refused(bytes);
    }
    refused(&zip(&[]));
    // Nothing but the root.
    refused(&zip(&[Entry::stored("./", "").mode(0o040_755)]));
    let good = zip(&[Entry::deflated("f", "content")]);
    for cut in 0..good.len() {
        refused(&good[..cut]);
    }
    // Ends that end nowhere, one after the other: each looks like the start of a longer comment.
    refused(&b"PK\x05\x06".repeat(50_000));
}

/// D2: bombs stop while they inflate.
#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = Entry::deflated("zeros", vec![0; 2_000_000]);
    assert!(bomb.packed.len() < 4_000);
    let yard = Yard::new();
    let error = yard.unzip(&zip(std::slice::from_ref(&bomb)), &LIMITS).unwrap_err();
    assert!(matches!(error, UnzipError::TooLarge), "{error}");
    // It lies, so only inflating tells.
    for claim in [0, 10, 999_999] {
        let lie = bomb.clone().with(|e| e.unpacked_size = claim);
        assert!(refused(&zip(&[lie])).contains("longer than it says"));
    }
    // Two halves of a bomb, each below the limit.
    let halves = ["a", "b"].map(|name| Entry::deflated(name, vec![0; 600_000]));
    let yard = Yard::new();
    let error = yard.unzip(&zip(&halves), &LIMITS).unwrap_err();
    assert!(matches!(error, UnzipError::TooLarge), "{error}");
}

/// D2: sizes and checksums are those of what comes out.
#[test]
fn lying_sizes_and_checksums() {
    let entry = Entry::deflated("f", "content");
    refused(&zip(&[entry.clone().with(|e| e.unpacked_size += 1)]));
    refused(&zip(&[entry.clone().with(|e| e.unpacked_size -= 1)]));
    refused(&zip(&[entry.clone().with(|e| e.packed_size -= 3)]));
    refused(&zip(&[entry.clone().with(|e| e.packed_size += 10_000)]));
    refused(&zip(&[entry.clone().with(|e| e.crc ^= 1)]));
    refused(&zip(&[Entry::stored("f", "content").with(|e| e.unpacked_size = 3)]));
    refused(&zip(&[entry.with(|e| e.packed = vec![0xff; e.packed.len()])]));
}

/// D2: no byte is unpacked twice.
/// Many entries over one piece of data: 10 KB that inflate to as much as one likes.
#[test]
fn overlapping_entries() {
    let data = Entry::deflated("a", vec![7; 1_000]);
    let again: Vec<Entry> = std::iter::once(data.clone())
        .chain((0..50).map(|n| {
            data.clone().with(|e| {
                e.name = format!("b{n}").into_bytes();
                e.offset = Some(0);
            })
        }))
        .collect();
    assert!(refused(&zip(&again)).contains("shares bytes"));
    // A local header inside another entry's data.
    let inner = Entry::stored("inner", "x");
    let outer = Entry::stored("outer", inner.local());
    let at = 30 + 5;
    refused(&zip(&[outer, inner.with(|e| e.offset = Some(at))]));
}

/// D2: the large fields are believed no more than the small ones.
#[test]
fn zip64_lies() {
    let entries = [Entry::stored("f", "x")];
    let (body, central) = parts(&entries);
    let (at, size) = (body.len() as u64, central.len() as u64);
    let with = |count, size, offset| {
        let mut out = [body.as_slice(), &central, &end64(count, size, offset)].concat();
        out.extend(end(u16::MAX, u32::MAX, u32::MAX));
        out
    };
    Yard::new().unzip(&with(1, size, at), &LIMITS).unwrap();
    for (count, size, offset) in [
        (u64::MAX, size, at),
        (2, size, at),
        (1, u64::MAX / 2, at),
        (1, size, u64::MAX / 2),
        (1, size - 1, at + 1),
        (1, size, at + 1),
        (1, 0, at),
        (1 << 40, size, at),
    ] {
        refused(&with(count, size, offset));
    }
    let wide = |value: u64| {
        let entry = Entry::stored("f", "x").with(|e| {
            e.offset = Some(u32::MAX);
            e.extra = [&[1, 0, 8, 0][..], &value.to_le_bytes()].concat();
        });
        zip64(&[entry])
    };
    Yard::new().unzip(&wide(0), &LIMITS).unwrap();
    for value in [1, 1 << 40, u64::MAX, u64::MAX - 29] {
        refused(&wide(value));
    }
    // The field is promised and missing.
    refused(&zip64(&[Entry::stored("f", "x").with(|e| e.offset = Some(u32::MAX))]));
}

#[test]
fn one_entry_too_many() {
    let entry = |n| Entry::stored(format!("f{n}"), "");
    let limits = Limits { entries: 10, ..LIMITS };
    let ten: Vec<Entry> = (0..10).map(entry).collect();
    Yard::new().unzip(&zip(&ten), &limits).unwrap();
    let eleven: Vec<Entry> = (0..11).map(entry).collect();
    let error = Yard::new().unzip(&zip(&eleven), &limits).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    // Directories that no entry names count as well.
    let deep: Vec<Entry> = (0..4).map(|n| Entry::stored(format!("{n}/a/b/f"), "")).collect();
    let error = Yard::new().unzip(&zip(&deep), &limits).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
}

/// D2: entries are counted before anything is written.
#[test]
fn more_entries_than_aws_allows_make_no_file() {
    let entries: Vec<Entry> =
        (0..=ZIP_ENTRIES).map(|n| Entry::stored(format!("f{n}"), "")).collect();
    let yard = Yard::new();
    let error = yard.unzip(&zip64(&entries), &Limits::AWS).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    assert!(super::listing(&yard.task()).is_empty());
}

/// D2: unpacking has an end in processor time.
#[test]
fn the_processor_has_a_limit() {
    let limits = Limits { cpu: Duration::ZERO, ..LIMITS };
    let yard = Yard::new();
    let error = yard.unzip(&zip(&[Entry::deflated("f", "x")]), &limits).unwrap_err();
    assert!(matches!(error, UnzipError::TooSlow), "{error}");
}
