//! Layers over each other: what wins, what stays, what goes.

use super::super::CodeCache;
use super::archive::{Entry, zip};
use super::{listing, written};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

struct Bench {
    dir: tempfile::TempDir,
    cache: CodeCache,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&dir.path().join("code")).unwrap();
        Self { dir, cache }
    }

    async fn add(&self, entries: &[Entry]) -> String {
        let bytes = zip(entries);
        let digest = format!("{:x}", Sha256::digest(&bytes));
        let file = written(self.dir.path(), &digest, &bytes);
        self.cache.prepare(&digest, &file).await.unwrap();
        digest
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("code")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != super::super::unsynced::MARK).collect()
    }
}

fn content(tree: &Path, name: &str) -> String {
    String::from_utf8(listing(tree)[name].1.clone()).unwrap()
}

#[tokio::test]
async fn later_layers_win_and_directories_are_joined() {
    let bench = Bench::new();
    let low = bench
        .add(&[
            Entry::stored("bin/tool", "low").mode(0o100_755),
            Entry::stored("bin/same", "low"),
            Entry::stored("file-then-directory", "low"),
            Entry::stored("directory-then-file/x", "low"),
            Entry::link("link-then-directory", "bin"),
        ])
        .await;
    let high = bench
        .add(&[
            Entry::stored("bin/same", "high"),
            Entry::stored("file-then-directory/x", "high"),
            Entry::stored("directory-then-file", "high"),
            Entry::stored("link-then-directory/same", "through no link"),
            Entry::link("link", "bin/same"),
        ])
        .await;
    let before = listing(&bench.cache.unpacked(&low).unwrap());
    let tree = bench.cache.merged(&[low.clone(), high.clone()]).await.unwrap();
    let names: Vec<String> = listing(&tree).into_keys().collect();
    assert_eq!(
        names,
        [
            "bin",
            "bin/same",
            "bin/tool",
            "directory-then-file",
            "file-then-directory",
            "file-then-directory/x",
            "link",
            "link-then-directory",
            "link-then-directory/same",
        ]
    );
    assert_eq!(listing(&tree)["bin/tool"], (0o755, b"low".to_vec()));
    for name in ["bin/same", "file-then-directory/x", "directory-then-file"] {
        assert_eq!(content(&tree, name), "high", "{name}");
    }
    assert_eq!(content(&tree, "link"), "bin/same");
    // The layers themselves are as they were, and the other order is another tree.
    assert_eq!(listing(&bench.cache.unpacked(&low).unwrap()), before);
    let other = bench.cache.merged(&[high, low]).await.unwrap();
    assert_ne!(other, tree);
    assert_eq!(content(&other, "bin/same"), "low");
}

#[tokio::test]
async fn a_tree_goes_with_its_first_layer_and_survives_a_restart() {
    let bench = Bench::new();
    let one = bench.add(&[Entry::stored("one", "")]).await;
    let two = bench.add(&[Entry::stored("two", "")]).await;
    let both = [one.clone(), two.clone()];
    let tree = bench.cache.merged(&both).await.unwrap();
    assert_eq!(bench.cache.merged(&both).await.unwrap(), tree);
    // One layer needs no tree of its own.
    let alone = bench.cache.merged(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(alone, bench.cache.unpacked(&one).unwrap());
    let half = bench.dir.path().join("code/merged-half/opt");
    fs::create_dir_all(&half).unwrap();

    let reopened = CodeCache::open(&bench.dir.path().join("code")).unwrap();
    assert!(!half.exists());
    assert!(tree.join("one").exists());
    reopened.forget(&one).await;
    assert!(!tree.exists());
    assert_eq!(bench.names(), [two]);
}

#[tokio::test]
async fn layers_that_are_not_there_make_no_tree() {
    let bench = Bench::new();
    let one = bench.add(&[Entry::stored("one", "")]).await;
    let none: [String; 0] = [];
    for wrong in [&["0".repeat(64), one.clone()][..], &["../x".to_owned(), one][..], &none] {
        let refused: Result<PathBuf, _> = bench.cache.merged(wrong).await;
        assert!(refused.is_err(), "{wrong:?}");
    }
    assert_eq!(bench.names().len(), 1);
}
