//! Trees go, whatever shape they have.

use super::super::removal::remove;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs;

#[test]
fn trees_of_any_depth_go() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    // No path leads that far down: made from descriptor to descriptor.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = rustix::fs::openat(CWD, &root, flags, Mode::empty()).unwrap();
    for level in 0..3000 {
        rustix::fs::symlinkat("/", &at, "link").unwrap();
        // A name that moving would like to use.
        rustix::fs::mkdirat(&at, format!(".moved-{level}"), Mode::RWXU).unwrap();
        rustix::fs::mkdirat(&at, "down", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "down", flags, Mode::empty()).unwrap();
    }
    // A thread with a small stack, as any recursion would end there.
    let moved = root.clone();
    let small = std::thread::Builder::new().stack_size(64 * 1024);
    small.spawn(move || remove(&moved)).unwrap().join().unwrap().unwrap();
    assert!(!root.exists());
    assert_eq!(rustix::fs::statat(&at, "", AtFlags::EMPTY_PATH).unwrap().st_nlink, 0);
}

#[test]
fn files_links_and_nothing_go_and_what_links_name_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("kept/below")).unwrap();
    fs::create_dir_all(path("tree/a/b/c")).unwrap();
    fs::write(path("tree/a/b/file"), "x").unwrap();
    std::os::unix::fs::symlink(path("kept"), path("tree/a/link")).unwrap();
    std::os::unix::fs::symlink(path("kept"), path("link")).unwrap();
    fs::write(path("file"), "x").unwrap();
    for name in ["tree", "link", "file", "none"] {
        remove(&path(name)).unwrap();
        assert!(fs::symlink_metadata(path(name)).is_err(), "{name}");
    }
    assert!(path("kept/below").is_dir());
}
