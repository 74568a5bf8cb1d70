//! The sandbox's file system: a small read-only tmpfs with the sources, `/proc` and `/tmp` on it.
//!
//! Made in two steps: [`enter`] makes what all sandboxes have, [`furnish`] what this one has, after
//! which the root cannot be changed any more.
//!
//! Everything is addressed relative to the new root's descriptor, on directories made here: no
//! tenant has written a byte yet. `/dev` holds five devices; there is no `/sys`, no cgroup file
//! system, no `/dev/shm` and no terminal. // AWS: `/dev/shm` is not usable there either.

use crate::fault::{At, Fault, Step};
use crate::protocol::{Blueprint, Furniture, PROGRAM_GID, PROGRAM_UID, Place, Tmp};
use crate::sources::{
    NO_DEV, NO_EXEC, NO_SUID, READ_ONLY, SYSTEM, Source, directory_flags, system_link,
};
use crate::sys;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};
use std::os::fd::{AsFd, OwnedFd};

/// Files of `/proc` that the kernel guards by user id alone; hidden besides.
const HIDDEN: [&str; 7] = [
    "proc/kcore",
    "proc/keys",
    "proc/key-users",
    "proc/timer_list",
    "proc/kallsyms",
    "proc/kmsg",
    "proc/vmallocinfo",
];
/// Parts of `/proc` that change the kernel when written.
const FIXED: [&str; 5] = ["proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus", "proc/fs"];

/// Builds the root, makes it `/` and lets go of the host's.
pub fn enter(blueprint: &Blueprint, sources: Vec<Source>) -> Result<OwnedFd, Fault> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at(Step::MakeMountsPrivate, "/")?;
    let root = file_system(
        "tmpfs",
        &[("size", "4m"), ("nr_inodes", "4096"), ("mode", "0755")],
        0,
        Step::MountRoot,
    )?;
    // On top of the old root: the one directory that every host has.
    attach(&root, CWD, "/", Step::AttachRoot)?;

    skeleton(root.as_fd(), blueprint)?;
    for source in &sources {
        place(root.as_fd(), source)?;
    }
    proc(root.as_fd())?;

    rustix::process::fchdir(&root).at(Step::PivotRoot, "/")?;
    rustix::process::pivot_root(".", ".").at(Step::PivotRoot, "/")?;
    unmount(".", UnmountFlags::DETACH).at(Step::DetachOldRoot, "/")?;
    rustix::process::chdir("/").at(Step::DetachOldRoot, "/")?;
    Ok(root)
}

/// Adds what is of one tenant, and closes the root for good.
pub fn furnish(root: OwnedFd, furniture: &Furniture, trees: Vec<OwnedFd>) -> Result<(), Fault> {
    if trees.len() != furniture.places.len() {
        let on = format!("{} places, {} mounts", furniture.places.len(), trees.len());
        return Err(Fault { step: Step::AwaitFurniture, errno: libc::EPROTO, on });
    }
    write_file(root.as_fd(), "etc/hostname", furniture.hostname.as_bytes())?;
    for (at, tree) in furniture.places.iter().zip(trees) {
        let Place { target, directory } = at;
        place(root.as_fd(), &Source { target: target.clone(), tree, directory: *directory })?;
    }
    tmp(root.as_fd(), furniture.tmp)?;
    sys::restrict_mount(&root, READ_ONLY | NO_SUID | NO_DEV, false).at(Step::FreezeRoot, "/")
}

fn skeleton(root: std::os::fd::BorrowedFd<'_>, blueprint: &Blueprint) -> Result<(), Fault> {
    // AWS: these exist in every sandbox, empty when the function brings nothing for them.
    for directory in [
        "dev",
        "proc",
        "tmp",
        "etc",
        "opt",
        "var/task",
        "var/runtime",
        "var/lang",
        "run",
        "root",
        "home",
    ] {
        make_directories(root, directory)?;
    }
    for name in SYSTEM.into_iter().filter(|_| blueprint.host_system) {
        if let Some(target) = system_link(name) {
            symlinkat(target, root, name).at(Step::MakeLink, name)?;
        }
    }
    for (link, target) in [
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
        ("etc/mtab", "/proc/self/mounts"),
        ("var/tmp", "/tmp"),
    ] {
        symlinkat(target, root, link).at(Step::MakeLink, link)?;
    }
    // Which system the programs are of; the rest of `/usr/lib` is there as well.
    if blueprint.host_system {
        symlinkat("../usr/lib/os-release", root, "etc/os-release")
            .at(Step::MakeLink, "os-release")?;
    }
    for (link, target) in &blueprint.links {
        if let Some((parent, _)) = link.rsplit_once('/') {
            make_directories(root, parent)?;
        }
        symlinkat(target, root, link).at(Step::MakeLink, link)?;
    }
    let passwd = format!(
        "root:x:0:0:root:/root:/sbin/nologin\nsbx_user1051:x:{PROGRAM_UID}:{PROGRAM_GID}::/home/sbx_user1051:/sbin/nologin\n"
    );
    let group = format!("root:x:0:\nsbx_user1051:x:{PROGRAM_GID}:\n");
    // AWS: the sandbox's own name in /etc/hosts.
    let hosts = "127.0.0.1 localhost\n169.254.100.1 sandbox.localdomain sandbox\n";
    let resolvers: String =
        blueprint.resolvers.iter().map(|address| format!("nameserver {address}\n")).collect();
    let switch =
        "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n";
    for (path, text) in [
        ("etc/passwd", passwd.as_str()),
        ("etc/group", &group),
        ("etc/hosts", hosts),
        ("etc/resolv.conf", &resolvers),
        ("etc/nsswitch.conf", switch),
    ] {
        write_file(root, path, text.as_bytes())?;
    }
    Ok(())
}

fn place(root: std::os::fd::BorrowedFd<'_>, source: &Source) -> Result<(), Fault> {
    if source.directory {
        make_directories(root, &source.target)?;
    } else {
        if let Some((parent, _)) = source.target.rsplit_once('/') {
            make_directories(root, parent)?;
        }
        write_file(root, &source.target, b"")?;
    }
    attach(&source.tree, root, &source.target, Step::AttachSource)
}

fn proc(root: std::os::fd::BorrowedFd<'_>) -> Result<(), Fault> {
    let attributes = NO_SUID | NO_DEV | NO_EXEC;
    // Programs then see the processes of their own user only, not init.
    let proc = match file_system("proc", &[("hidepid", "invisible")], attributes, Step::MountProc) {
        Err(fault) if fault.errno == libc::EINVAL => {
            file_system("proc", &[], attributes, Step::MountProc)?
        }
        other => other?,
    };
    attach(&proc, root, "proc", Step::MountProc)?;
    for path in FIXED {
        let Some(tree) = clone_inside(root, path)? else { continue };
        sys::restrict_mount(&tree, READ_ONLY, true).at(Step::RestrictProc, path)?;
        attach(&tree, root, path, Step::RestrictProc)?;
    }
    for path in HIDDEN {
        if rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            continue;
        }
        // The device was checked when it was opened, and nobody can have replaced it since.
        let Some(null) = clone_inside(root, "dev/null")? else { continue };
        attach(&null, root, path, Step::RestrictProc)?;
    }
    Ok(())
}

fn tmp(root: std::os::fd::BorrowedFd<'_>, size: Tmp) -> Result<(), Fault> {
    let (bytes, inodes) = (size.bytes.to_string(), size.inodes.to_string());
    let options = [("size", bytes.as_str()), ("nr_inodes", &inodes), ("mode", "1777")];
    let tmp = file_system("tmpfs", &options, NO_SUID | NO_DEV, Step::MountTmp)?;
    attach(&tmp, root, "tmp", Step::MountTmp)
}

fn file_system(
    kind: &str,
    options: &[(&str, &str)],
    attributes: u64,
    step: Step,
) -> Result<OwnedFd, Fault> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(step, kind)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value).at(step, key)?;
    }
    fsconfig_create(context.as_fd()).at(step, kind)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(step, kind)
}

fn attach(mount: &OwnedFd, at: impl AsFd, path: &str, step: Step) -> Result<(), Fault> {
    move_mount(mount, "", at, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(step, path)
}

fn clone_inside(root: std::os::fd::BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    match open_tree(root, path, flags) {
        Ok(tree) => Ok(Some(tree)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).at(Step::RestrictProc, path),
    }
}

/// Makes every directory on the way to `path`, walking by descriptor.
fn make_directories(root: std::os::fd::BorrowedFd<'_>, path: &str) -> Result<(), Fault> {
    let mut here =
        openat(root, ".", directory_flags(), Mode::empty()).at(Step::MakeDirectory, path)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        match mkdirat(&here, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).at(Step::MakeDirectory, path),
        }
        here =
            openat(&here, name, directory_flags(), Mode::empty()).at(Step::MakeDirectory, path)?;
    }
    Ok(())
}

fn write_file(root: std::os::fd::BorrowedFd<'_>, path: &str, content: &[u8]) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(root, path, flags, Mode::from_raw_mode(0o644)).at(Step::WriteFile, path)?;
    rustix::io::write(&file, content).at(Step::WriteFile, path)?;
    Ok(())
}
