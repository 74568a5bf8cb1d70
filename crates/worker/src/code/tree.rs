//! From records to a tree: which paths an archive makes. Pure.
//!
//! Decisions: `.` and empty components vanish. Parents that no entry names are made. Of entries
//! with the same path the last one wins, as `unzip -o` has it. A path that is a file in one place
//! and a directory in another, or that leads through a link, refuses the archive. Names that differ
//! in case alone are different names.
//!
//! AWS: code is unpacked with the archive's own modes, and a file that others may not read fails
//! in the sandbox only. Here directories are 0755 and files 0644, or 0755 where any execute bit is
//! set, so that whichever user the sandbox runs as can read what it was given; set-uid, set-gid,
//! sticky and write bits for others never get through.

use super::central::Record;
use super::error::UnzipError;
use super::limits::{NAME_BYTES, PATH_BYTES, PATH_DEPTH};
use lamplight_env::faults;
use std::collections::BTreeMap;

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;

/// What a path is. The numbers are indexes of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File { record: usize, executable: bool },
    Link { record: usize },
}

/// Paths from the root without a slash in front, parents before children.
pub(super) type Tree = BTreeMap<Vec<u8>, Node>;

/// Plans the tree of `records`, of at most `nodes` nodes: a deep path costs as much as its
/// directories do.
pub(super) fn plan(records: &[Record], nodes: usize) -> Result<Tree, UnzipError> {
    let mut tree = Tree::new();
    for (index, record) in records.iter().enumerate() {
        let refuse = |reason| UnzipError::entry(&record.name, reason);
        let node = node(record, index)?;
        let path = normalise(&record.name).map_err(refuse)?;
        if path.is_empty() {
            match node {
                // "./", as archives of a whole directory have it.
                Node::Directory => continue,
                _ => return Err(refuse("has no name")),
            }
        }
        add_parents(&mut tree, &path).map_err(refuse)?;
        match (tree.get(&path), node) {
            (None, _) | (Some(Node::Directory), Node::Directory) => {}
            (Some(Node::Directory), _) | (Some(_), Node::Directory) => {
                return Err(refuse("is both a file and a directory"));
            }
            (Some(_), _) => {}
        }
        tree.insert(path, node);
        if tree.len() > nodes {
            return Err(UnzipError::Malformed("too many files and directories"));
        }
    }
    if tree.is_empty() {
        return Err(UnzipError::Malformed("no entries"));
    }
    Ok(tree)
}

fn node(record: &Record, index: usize) -> Result<Node, UnzipError> {
    let refuse = |reason| Err(UnzipError::entry(&record.name, reason));
    let named_directory = record.name.ends_with(b"/");
    let mode = record.unix_mode.unwrap_or(0);
    match mode & S_IFMT {
        S_IFDIR if !named_directory && record.unpacked > 0 => refuse("is a directory with content"),
        S_IFDIR => Ok(Node::Directory),
        S_IFLNK if named_directory => refuse("is a link named as a directory"),
        S_IFLNK => Ok(Node::Link { record: index }),
        0 | S_IFREG if named_directory && record.unpacked > 0 => {
            refuse("is a directory with content")
        }
        0 | S_IFREG if named_directory => Ok(Node::Directory),
        0 | S_IFREG => Ok(Node::File { record: index, executable: mode & 0o111 != 0 }),
        _ => refuse("is a device, a pipe or a socket"),
    }
}

/// `name` without its `.` and empty components; empty for the root itself.
fn normalise(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("has no name");
    }
    if name.len() > PATH_BYTES {
        return Err("has too long a path");
    }
    if name.contains(&0) {
        return Err("has a NUL in its name");
    }
    if name.contains(&b'\\') {
        return Err("has a backslash in its name");
    }
    if name.starts_with(b"/") {
        return Err("has an absolute path");
    }
    if matches!(name, [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return Err("has a drive letter in its path");
    }
    let mut path = Vec::with_capacity(name.len());
    let mut depth = 0;
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." if !faults::bug("follow-dots") => return Err("leads out of the archive"),
            _ => {}
        }
        depth += 1;
        if component.len() > NAME_BYTES || depth > PATH_DEPTH {
            return Err("has too long a path");
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(path)
}

fn add_parents(tree: &mut Tree, path: &[u8]) -> Result<(), &'static str> {
    let mut rest = path;
    while let Some(slash) = rest.iter().rposition(|byte| *byte == b'/') {
        rest = rest.get(..slash).unwrap_or_default();
        match tree.get(rest) {
            // Whoever made it made its parents.
            Some(Node::Directory) => return Ok(()),
            Some(_) => return Err("lies under a file or a link"),
            None => tree.insert(rest.to_vec(), Node::Directory),
        };
    }
    Ok(())
}
