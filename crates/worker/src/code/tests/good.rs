//! Archives that unpack, and to what.

use super::archive::{Entry, zip, zip64};
use super::{LIMITS, Yard, listing};

fn unpacked(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let yard = Yard::new();
    yard.unzip(bytes, &LIMITS).unwrap();
    listing(&yard.task()).into_iter().map(|(path, (mode, bytes))| (path, mode, bytes)).collect()
}

fn entry(path: &str, mode: u32, content: &[u8]) -> (String, u32, Vec<u8>) {
    (path.to_owned(), mode, content.to_vec())
}

#[test]
fn files_directories_and_links_come_out() {
    let yard = Yard::new();
    let contents = yard
        .unzip(
            &zip(&[
                Entry::deflated("handler.py", "def handler(e, c): return e\n"),
                Entry::stored("lib/", "").mode(0o040_700),
                Entry::stored("lib/empty", ""),
                Entry::stored("bin/deep/run", "#!/bin/sh\n").mode(0o100_755),
                Entry::link("lib/run", "../bin/deep/run"),
            ]),
            &LIMITS,
        )
        .unwrap();
    assert_eq!((contents.nodes, contents.bytes), (7, 28 + 10 + 15));
    let found = listing(&yard.task());
    assert_eq!(found["handler.py"], (0o644, b"def handler(e, c): return e\n".to_vec()));
    assert_eq!(found["lib"], (0o755, vec![]));
    assert_eq!(found["lib/empty"], (0o644, vec![]));
    assert_eq!(found["bin/deep/run"], (0o755, b"#!/bin/sh\n".to_vec()));
    assert_eq!(found["lib/run"].1, b"../bin/deep/run");
    assert_eq!(std::fs::read(yard.task().join("lib/run")).unwrap(), b"#!/bin/sh\n");
}

#[test]
fn modes_are_readable_and_never_special() {
    for (mode, made) in [
        (0o100_000, 0o644),
        (0o100_600, 0o644),
        (0o100_700, 0o755),
        (0o106_777, 0o755),
        (0o101_666, 0o644),
        (0, 0o644),
    ] {
        let found = unpacked(&zip(&[Entry::stored("f", "x").mode(mode)]));
        assert_eq!(found, [entry("f", made, b"x")], "{mode:o}");
    }
    // Made on Windows, where the upper half of the attributes means nothing.
    let windows = Entry::stored("f", "target").mode(0o120_777).with(|e| e.made_by = 0);
    assert_eq!(unpacked(&zip(&[windows])), [entry("f", 0o644, b"target")]);
}

#[test]
fn dots_and_doubled_slashes_vanish() {
    let found = unpacked(&zip(&[
        Entry::stored("./", "").mode(0o040_755),
        Entry::stored("./a//b/./c", "x"),
    ]));
    assert_eq!(
        found,
        [entry("a", 0o755, b""), entry("a/b", 0o755, b""), entry("a/b/c", 0o644, b"x")]
    );
}

#[test]
fn the_last_of_duplicates_wins() {
    let found = unpacked(&zip(&[
        Entry::stored("f", "first"),
        Entry::stored("f", "second").mode(0o100_755),
        Entry::link("l", "f"),
        Entry::stored("./l", "now a file"),
    ]));
    assert_eq!(found, [entry("f", 0o755, b"second"), entry("l", 0o644, b"now a file")]);
}

#[test]
fn names_that_differ_in_case_are_two_names() {
    let found = unpacked(&zip(&[Entry::stored("A", "1"), Entry::stored("a", "2")]));
    assert_eq!(found, [entry("A", 0o644, b"1"), entry("a", 0o644, b"2")]);
}

#[test]
fn something_in_front_a_comment_and_zip64_are_fine() {
    let entries = [Entry::deflated("f", "content")];
    let mut in_front = b"#!/usr/bin/env python3\n".to_vec();
    in_front.extend(zip(&entries));
    assert_eq!(unpacked(&in_front), [entry("f", 0o644, b"content")]);

    let mut commented = zip(&entries);
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&300u16.to_le_bytes());
    commented.extend([b'-'; 300]);
    assert_eq!(unpacked(&commented), [entry("f", 0o644, b"content")]);

    assert_eq!(unpacked(&zip64(&entries)), [entry("f", 0o644, b"content")]);
    let wide = entries[0].clone().with(|e| {
        let mut extra = vec![1, 0, 16, 0];
        extra.extend(7u64.to_le_bytes());
        extra.extend((e.packed.len() as u64).to_le_bytes());
        e.extra = extra;
        (e.packed_size, e.unpacked_size) = (u32::MAX, u32::MAX);
    });
    assert_eq!(unpacked(&zip64(&[wide])), [entry("f", 0o644, b"content")]);
}
