//! Links that stay inside, and those that do not, however they go about it.

use super::archive::{Entry, zip};
use super::{LIMITS, Yard, refused};

#[test]
fn links_inside_are_kept() {
    for entries in [
        vec![Entry::link("l", "missing")],
        vec![Entry::link("a/b/l", "../../f"), Entry::stored("f", "x")],
        vec![
            Entry::link("d", "real"),
            Entry::stored("real/f", ""),
            Entry::link("l", "d/../real/f"),
        ],
        vec![Entry::link("l", "f/../../.."), Entry::stored("f", "a file leads nowhere")],
    ] {
        let yard = Yard::new();
        yard.unzip(&zip(&entries), &LIMITS).unwrap();
        assert_eq!(yard.escaped(), [""; 0]);
    }
}

#[test]
fn links_that_lead_out_are_refused() {
    for target in ["..", "../x", "a/../../x", "/etc/passwd", "/", "./../", "", "a\0b"] {
        let why = refused(&zip(&[Entry::stored("a/f", ""), Entry::link("l", target)]));
        assert!(why.contains("link"), "{target:?}: {why}");
    }
    assert!(refused(&zip(&[Entry::link("a/l", "../../x")])).contains("leads out"));
}

/// Text alone would allow these: each `..` has a component before it.
#[test]
fn links_that_lead_out_through_links_are_refused() {
    let deep = Entry::stored("d1/d2/d3/f", "");
    let up = Entry::link("d1/d2/d3/up", "../..");
    for target in ["d1/d2/d3/up/../..", "d1/d2/d3/up/../../x"] {
        let why = refused(&zip(&[deep.clone(), up.clone(), Entry::link("l", target)]));
        assert!(why.contains("leads out"), "{why}");
    }
    let top = Entry::link("top", "d1/d2/d3/up");
    let why = refused(&zip(&[deep, up, top, Entry::link("z", "top/../../x")]));
    assert!(why.contains("leads out"), "{why}");
}

#[test]
fn circles_end() {
    assert!(refused(&zip(&[Entry::link("a", "b"), Entry::link("b", "a")])).contains("circle"));
    assert!(refused(&zip(&[Entry::link("a", "a/a")])).contains("circle"));
    // Doubles with each link: 2^60 steps for who follows to the end.
    let doubling: Vec<Entry> = (0..60)
        .map(|n| Entry::link(format!("l{n}"), format!("l{}/../l{}", n + 1, n + 1)))
        .chain([Entry::stored("l60/f", "")])
        .collect();
    assert!(refused(&zip(&doubling)).contains("circle"));
}

/// CVE-2025-29787: a link, then an entry that is written through it.
#[test]
fn nothing_is_written_through_a_link() {
    let file = Entry::stored("l/owned", "x");
    let same = Entry::stored("l", "x");
    for link in [Entry::link("l", "../../outside"), Entry::link("l", "/tmp"), Entry::link("l", "d")]
    {
        refused(&zip(&[Entry::stored("d/", ""), link.clone(), file.clone()]));
        refused(&zip(&[Entry::stored("d/", ""), file.clone(), link.clone()]));
        // The same name: the file takes the link's place and the target is left alone.
        let yard = Yard::new();
        yard.unzip(&zip(&[link, same.clone()]), &LIMITS).unwrap();
        assert_eq!(std::fs::read(yard.task().join("l")).unwrap(), b"x");
        assert_eq!(yard.escaped(), [""; 0]);
    }
}

#[test]
fn long_targets_are_refused() {
    let why = refused(&zip(&[Entry::link("l", "x/".repeat(600))]));
    assert!(why.contains("too long"), "{why}");
}
