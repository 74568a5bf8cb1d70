//! The directories and files of the host that a sandbox sees, opened as detached, restricted mounts.
//!
//! Runs with the server's rights when it has them, so that the sandbox's own user needs no access
//! to the directories above; an ordinary user opens them inside its new mount namespace.

use crate::fault::{At, Fault, Step};
use crate::protocol::{Bind, Blueprint};
use crate::sys;
use rustix::fs::{CWD, FileType, OFlags, major, minor};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A detached mount and where it goes, relative to the new root.
pub struct Source {
    pub target: String,
    pub tree: OwnedFd,
    pub directory: bool,
}

pub(crate) const READ_ONLY: u64 = 1;
pub(crate) const NO_SUID: u64 = 2;
pub(crate) const NO_DEV: u64 = 4;
pub(crate) const NO_EXEC: u64 = 8;

/// Top-level names that are links into `/usr` on merged hosts and directories on others.
pub(crate) const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What programs of the host need of `/etc`, and nothing that tells about the host's users.
const ETC: [&str; 9] = [
    "etc/ld.so.cache",
    "etc/localtime",
    "etc/alternatives",
    "etc/ssl/certs",
    "etc/ssl/openssl.cnf",
    "etc/pki/tls/certs",
    "etc/pki/ca-trust/extracted",
    "etc/protocols",
    "etc/services",
];

/// Runtimes that keep a part of their installation in `/etc`, by how its name begins.
const RUNTIMES: [&str; 4] = ["java", "python", "ruby", "dotnet"];

/// Character devices with their numbers: what was opened must be what was meant.
const DEVICES: [(&str, u32, u32); 5] = [
    ("dev/null", 1, 3),
    ("dev/zero", 1, 5),
    ("dev/full", 1, 7),
    ("dev/random", 1, 8),
    ("dev/urandom", 1, 9),
];

/// Opens everything the blueprint and every sandbox need.
///
/// # Errors
/// The path that could not be opened or restricted. What the host does not have is left out,
/// except devices and the blueprint's own binds.
pub fn open(blueprint: &Blueprint) -> Result<Vec<Source>, Fault> {
    let mut sources = Vec::new();
    let runtimes = runtime_directories();
    let host = blueprint.host_system;
    let names = SYSTEM.into_iter().chain(ETC).chain(runtimes.iter().map(String::as_str));
    for name in names.filter(|_| host) {
        let path = format!("/{name}");
        let system = SYSTEM.contains(&name);
        let found =
            if system { std::fs::symlink_metadata(&path) } else { std::fs::metadata(&path) };
        let Ok(found) = found else { continue };
        if !found.is_symlink() {
            let tree = open_one(&path, OpenTreeFlags::AT_RECURSIVE, READ_ONLY | NO_SUID | NO_DEV)?;
            sources.push(Source { target: name.to_owned(), tree, directory: found.is_dir() });
        }
    }
    for (name, wanted_major, wanted_minor) in DEVICES {
        let path = format!("/{name}");
        let tree = open_one(&path, OpenTreeFlags::AT_SYMLINK_NOFOLLOW, NO_SUID | NO_EXEC)?;
        let stat = rustix::fs::fstat(&tree).at(Step::OpenSource, &path)?;
        let device = (major(stat.st_rdev), minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
            || device != (wanted_major, wanted_minor)
        {
            return Err(Fault { step: Step::OpenSource, errno: libc::ENODEV, on: path });
        }
        sources.push(Source { target: name.to_owned(), tree, directory: false });
    }
    for bind in &blueprint.binds {
        sources.push(open_bind(bind)?);
    }
    Ok(sources)
}

/// Opens what one sandbox is to see besides.
///
/// # Errors
/// When it cannot be opened or restricted.
pub fn open_bind(bind: &Bind) -> Result<Source, Fault> {
    let flags = OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_one(&bind.source, flags, READ_ONLY | NO_SUID | NO_DEV)?;
    let stat = rustix::fs::fstat(&tree).at(Step::OpenSource, &bind.source)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let target = bind.target.trim_start_matches('/').to_owned();
    Ok(Source { target, tree, directory })
}

fn runtime_directories() -> Vec<String> {
    let entries = std::fs::read_dir("/etc").into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.filter_map(|entry| entry.file_name().into_string().ok());
    let wanted = names.filter(|name| RUNTIMES.iter().any(|prefix| name.starts_with(prefix)));
    wanted.map(|name| format!("etc/{name}")).collect()
}

fn open_one(path: &str, flags: OpenTreeFlags, attributes: u64) -> Result<OwnedFd, Fault> {
    let recursive = flags.contains(OpenTreeFlags::AT_RECURSIVE);
    let open = |flags| {
        open_tree(
            CWD,
            path,
            flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )
    };
    // EINVAL: mounts below are locked together for an ordinary user, so they have to come along.
    let tree = match open(flags) {
        Err(rustix::io::Errno::INVAL) if !recursive => open(flags | OpenTreeFlags::AT_RECURSIVE),
        other => other,
    };
    let tree = tree.at(Step::OpenSource, path)?;
    sys::restrict_mount(&tree, attributes, true).at(Step::RestrictSource, path)?;
    Ok(tree)
}

/// Opens a directory for its entries only.
pub(crate) fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Where a link of the host's top level points, when `name` is one.
pub(crate) fn system_link(name: &str) -> Option<String> {
    let target = std::fs::read_link(Path::new("/").join(name)).ok()?;
    target.to_str().map(str::to_owned)
}
