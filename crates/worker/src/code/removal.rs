//! Removes trees, however deep: without recursion, and with a handful of descriptors.
//!
//! What is below a directory of the tree is renamed up beside it until nothing is deeper than one
//! level. So every directory is moved once at most, and no path is ever longer than two names.
//! Links are removed and never followed.
//!
//! Everything here blocks.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Removes a file, a link or a tree, or nothing.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    remove_at(CWD, path)
}

/// Of a name in a directory.
pub(super) fn remove_at(parent: impl AsFd, path: impl rustix::path::Arg + Copy) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut moved = 0;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(parent, path, flags, Mode::empty())?;
    while flatten(&top, &mut moved)? {}
    rustix::fs::unlinkat(parent, path, AtFlags::REMOVEDIR)?;
    Ok(())
}

/// Removes the names that are in the directory now, after moving up what is below them. Says
/// whether there were any: renaming while a directory is read may show less than all.
fn flatten(top: &OwnedFd, moved: &mut u64) -> io::Result<bool> {
    let mut found = false;
    for_each(top, |name| {
        found = true;
        if is_gone(top, name)? {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let child = rustix::fs::openat(top, name, flags, Mode::empty())?;
        let mut left = true;
        while left {
            left = false;
            for_each(&child, |below| {
                left = true;
                match is_gone(&child, below)? {
                    true => Ok(()),
                    false => move_up(&child, below, (top, moved)),
                }
            })?;
        }
        Ok(rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR)?)
    })?;
    Ok(found)
}

/// Removes what is no directory or an empty one. `false` where it has something in it.
fn is_gone(parent: &OwnedFd, name: &CStr) -> io::Result<bool> {
    let flags = match is_directory(parent, name)? {
        true => AtFlags::REMOVEDIR,
        false => AtFlags::empty(),
    };
    match rustix::fs::unlinkat(parent, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_directory(parent: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Under a name that nothing has yet.
fn move_up(from: &OwnedFd, name: &CStr, (top, moved): (&OwnedFd, &mut u64)) -> io::Result<()> {
    loop {
        *moved += 1;
        let new = format!(".moved-{moved}");
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from, name, top, new.as_str(), flags) {
            Err(Errno::EXIST) => {}
            done => return Ok(done?),
        }
    }
}

fn for_each(directory: &OwnedFd, mut visit: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            visit(entry.file_name())?;
        }
    }
    Ok(())
}
