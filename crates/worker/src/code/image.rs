//! Container images: the layers of a bundle unpacked over each other into one root.
//!
//! Everything is addressed by descriptors that the kernel resolves inside the root, whatever links
//! an image brings, so nothing is ever written outside of it. Devices, pipes and sockets are left
//! out. Modes are as for zip files: readable by everybody, never set-uid. What an image costs is
//! counted in blocks of the disk, also for what a later layer covers: layers of many tiny files, or
//! of the same ones again and again, are not cheap.
//!
//! Everything here blocks.

use super::error::UnzipError;
use super::limits::{Budget, LINK_BYTES, Limits, NAME_BYTES, PATH_BYTES, PATH_DEPTH};
use super::removal::remove_at;
use super::unzip::Contents;
use flate2::read::MultiGzDecoder;
use lamplight_model::{BundleHead, HEAD_BYTES, ImageConfig, MAGIC};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use tar::{Archive, EntryType};

/// What file systems give out at the least, for a file's content as for the file itself.
const BLOCK: u64 = 4096;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Whether a file is a bundle. Leaves it at its beginning or just behind the mark.
pub(super) fn is_bundle(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut mark = vec![0; MAGIC.len()];
    match file.read_exact_at(&mut mark, 0) {
        Ok(()) => Ok(mark == MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Unpacks a bundle into the empty directory `root`.
pub(super) fn unpack(
    file: &File,
    root: &Path,
    limits: &Limits,
) -> Result<(ImageConfig, Contents), UnzipError> {
    let mut bundle = BufReader::with_capacity(128 * 1024, file);
    let head = read_head(&mut bundle)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |error: Errno| UnzipError::write(b"the root", error.into());
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(failed)?;
    let place = real_path(&root).map_err(failed)?;
    let (budget, left) = (Budget::new(limits), limits.entries);
    let mut tree = Tree { root, place, budget, left };
    for layer in &head.layers {
        let mut part = (&mut bundle).take(layer.size);
        match layer.gzip {
            true => tree.lay(MultiGzDecoder::new(&mut part))?,
            false => tree.lay(&mut part)?,
        }
        // What is behind the end of an archive is padding.
        io::copy(&mut part, &mut io::sink()).map_err(UnzipError::Read)?;
    }
    let bytes = limits.bytes - tree.budget.bytes_left();
    let contents = Contents { nodes: (limits.entries - tree.left) as u64, bytes };
    Ok((head.config, contents))
}

fn read_head(bundle: &mut impl BufRead) -> Result<BundleHead, UnzipError> {
    let mut mark = vec![0; MAGIC.len()];
    bundle.read_exact(&mut mark).map_err(UnzipError::Read)?;
    let mut line = Vec::new();
    let mut head = bundle.take(HEAD_BYTES as u64);
    head.read_until(b'\n', &mut line).map_err(UnzipError::Read)?;
    match line.pop() {
        Some(b'\n') => {}
        _ => return Err(UnzipError::Malformed("its head does not end")),
    }
    BundleHead::from_line(&line).map_err(|_| UnzipError::Malformed("its head cannot be read"))
}

struct Tree {
    root: OwnedFd,
    /// Where the root is.
    place: Vec<u8>,
    budget: Budget,
    /// Entries that may still come, and directories that they need.
    left: usize,
}

/// What entries of their own say about the next one.
#[derive(Default)]
struct Long {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Tree {
    fn lay(&mut self, layer: impl Read) -> Result<(), UnzipError> {
        let mut archive = Archive::new(layer);
        let mut long = Long::default();
        for entry in archive.entries().map_err(broken)?.raw(true) {
            let mut entry = entry.map_err(broken)?;
            self.count()?;
            self.budget.check_cpu()?;
            let kind = entry.header().entry_type();
            match kind {
                EntryType::GNULongName => long.path = Some(small(&mut entry)?),
                EntryType::GNULongLink => long.link = Some(small(&mut entry)?),
                EntryType::XHeader => extended(&small(&mut entry)?, &mut long),
                EntryType::XGlobalHeader => {}
                _ => {
                    let own = std::mem::take(&mut long);
                    let path = own.path.unwrap_or_else(|| entry.header().path_bytes().into());
                    let link = own.link.or_else(|| Some(entry.header().link_name_bytes()?.into()));
                    self.put(&path, &link.unwrap_or_default(), (kind, &mut entry))?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), UnzipError> {
        self.left = self.left.checked_sub(1).ok_or(UnzipError::TooLarge)?;
        self.budget.draw(BLOCK)
    }

    fn put(
        &mut self,
        path: &[u8],
        link: &[u8],
        (kind, entry): (EntryType, &mut tar::Entry<'_, impl Read>),
    ) -> Result<(), UnzipError> {
        let refuse = |reason| UnzipError::entry(path, reason);
        let Some((parent, name)) = split(path).map_err(refuse)? else { return Ok(()) };
        let failed = |errno: Errno| UnzipError::write(path, errno.into());
        let parent = self.directory(&parent)?;
        if name == OPAQUE {
            return empty(&parent).map_err(|error| UnzipError::write(path, error));
        }
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            return remove(&parent, gone).map_err(|error| UnzipError::write(path, error));
        }
        if kind != EntryType::Directory {
            remove(&parent, name).map_err(|error| UnzipError::write(path, error))?;
        }
        match kind {
            EntryType::Directory => {
                // Only a directory, and no link to one, may stay where it is.
                if !is_directory(&parent, name) {
                    remove(&parent, name).map_err(|error| UnzipError::write(path, error))?;
                    self.make(&parent, (path, name))?;
                }
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if kind == EntryType::GNUSparse {
                    return Err(refuse("is a sparse file"));
                }
                self.write(&parent, (path, name), entry)
            }
            EntryType::Symlink => {
                if link.is_empty() || link.len() as u64 > LINK_BYTES || link.contains(&0) {
                    return Err(refuse("is a link to no path"));
                }
                rustix::fs::symlinkat(link, &parent, name).map_err(failed)
            }
            EntryType::Link => {
                let target = split(link).map_err(refuse)?;
                let (from, file) = target.ok_or_else(|| refuse("is a link to the root"))?;
                let from = self.directory(&from)?;
                if is_directory(&from, file) {
                    return Err(refuse("is a second name of a directory"));
                }
                rustix::fs::linkat(&from, file, &parent, name, AtFlags::empty()).map_err(failed)
            }
            // Nobody may have devices, and nobody needs pipes that were never opened.
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        parent: &OwnedFd,
        (path, name): (&[u8], &[u8]),
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<(), UnzipError> {
        let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, mode)
            .map_err(|errno| UnzipError::write(path, errno.into()))?;
        // The process's mask has no say.
        rustix::fs::fchmod(&file, mode).map_err(|errno| UnzipError::write(path, errno.into()))?;
        let mut file = File::from(file);
        let mut buffer = vec![0; 128 * 1024];
        let mut size: u64 = 0;
        loop {
            let count = entry.read(&mut buffer).map_err(broken)?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
                return self.budget.draw(size.next_multiple_of(BLOCK) - size);
            };
            self.budget.draw(count as u64)?;
            self.budget.check_cpu()?;
            size += count as u64;
            io::Write::write_all(&mut file, piece)
                .map_err(|error| UnzipError::write(path, error))?;
        }
    }

    /// The directory at `path`, followed inside the root, made where missing.
    fn directory(&mut self, path: &[u8]) -> Result<OwnedFd, UnzipError> {
        let failed = |errno: Errno| UnzipError::write(path, errno.into());
        if path.is_empty() {
            return self.open(b".").map_err(failed);
        }
        match self.open(path) {
            Err(Errno::NOENT) => {}
            done => return done.map_err(failed),
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = path.split_at(slash.unwrap_or(0));
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let parent = self.directory(parent)?;
        self.count()?;
        self.make(&parent, (path, name))?;
        self.open(path).map_err(failed)
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), inside)
    }

    /// Makes a directory, no deeper than paths may be: `parent` can be far below what an entry's
    /// own path says, through links.
    fn make(&self, parent: &OwnedFd, (path, name): (&[u8], &[u8])) -> Result<(), UnzipError> {
        let real = match real_path(parent) {
            Err(Errno::NAMETOOLONG) => None,
            other => Some(other.map_err(|errno| UnzipError::write(path, errno.into()))?),
        };
        let below = real.as_deref().and_then(|real| real.strip_prefix(&self.place[..]));
        let fits = below.is_some_and(|below| {
            below.len() + 1 + name.len() <= PATH_BYTES
                && below.iter().filter(|byte| **byte == b'/').count() < PATH_DEPTH
        });
        if !fits {
            return Err(UnzipError::entry(path, "leads too far down through links"));
        }
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(UnzipError::write(path, errno.into())),
        }
    }
}

/// Where the kernel sees an open directory.
fn real_path(directory: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    rustix::fs::readlink(link, Vec::new()).map(|path| path.into_bytes())
}

/// A directory and a name in it.
type Place<'a> = (Vec<u8>, &'a [u8]);

/// Where an entry goes; `None` for the root itself.
fn split(path: &[u8]) -> Result<Option<Place<'_>>, &'static str> {
    if path.contains(&0) {
        return Err("has a NUL in its path");
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut parts: Vec<&[u8]> = parts.collect();
    if parts.contains(&&b".."[..]) {
        return Err("leads out of the image");
    }
    let length = parts.iter().fold(0, |sum, part| sum + part.len() + 1);
    if length > PATH_BYTES + 1 || parts.len() > PATH_DEPTH {
        return Err("has a path that is too long");
    }
    if parts.iter().any(|part| part.len() > NAME_BYTES) {
        return Err("has a name that is too long");
    }
    Ok(parts.pop().map(|name| (parts.join(&b'/'), name)))
}

fn is_directory(parent: &OwnedFd, name: &[u8]) -> bool {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    })
}

/// Removes a name and all below it, or nothing.
fn remove(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
        return Ok(());
    }
    remove_at(parent, name)
}

fn empty(directory: &OwnedFd) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        remove(directory, entry?.file_name().to_bytes())?;
    }
    Ok(())
}

/// The content of an entry that is about the next one.
fn small(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, UnzipError> {
    const MOST: u64 = 64 * 1024;
    if entry.header().entry_size().map_err(broken)? > MOST {
        return Err(UnzipError::Malformed("a name is too long"));
    }
    let mut bytes = Vec::new();
    entry.take(MOST).read_to_end(&mut bytes).map_err(broken)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// Lines of `LENGTH KEY=VALUE`.
fn extended(lines: &[u8], long: &mut Long) {
    let mut rest = lines;
    while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
        let length = rest.get(..blank).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(length) = length.and_then(|digits| digits.parse::<usize>().ok()) else { return };
        let Some(pair) = rest.get(blank + 1..length.saturating_sub(1)) else { return };
        if let Some(path) = pair.strip_prefix(b"path=") {
            long.path = Some(path.to_vec());
        } else if let Some(link) = pair.strip_prefix(b"linkpath=") {
            long.link = Some(link.to_vec());
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// The archive's fault, as far as anybody can tell.
fn broken(error: io::Error) -> UnzipError {
    match error.raw_os_error() {
        Some(_) => UnzipError::Read(error),
        None => UnzipError::Malformed("a layer of the image is damaged"),
    }
}
