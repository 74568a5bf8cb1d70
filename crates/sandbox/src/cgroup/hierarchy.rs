//! Where this machine keeps its cgroups.

use super::Kind;
use super::files::write;
use std::io;
use std::path::{Path, PathBuf};

/// A place in which parents can be made.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    /// As root the top of the mount; as another user the group we are in.
    pub(crate) root: PathBuf,
}

impl Found {
    pub(crate) fn parent(&self, instance: &str) -> PathBuf {
        self.root.join(format!("lamplight-{instance}"))
    }
}

/// All places that are of use, from the mount table.
pub(crate) fn find() -> Vec<Found> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let top = rustix::process::geteuid().is_root();
    let mut found = Vec::new();
    for (kind, point) in parse(&mounts) {
        let root = if top {
            point.clone()
        } else {
            point.join(own_path(&own, kind).trim_start_matches('/'))
        };
        let kind = if kind == Kind::All && !has_controllers(&root) { Kind::Unified } else { kind };
        found.push(Found { kind, root });
    }
    found
}

fn has_controllers(root: &Path) -> bool {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    ["memory", "pids"].iter().all(|wanted| text.split_whitespace().any(|name| name == *wanted))
}

/// Kinds and mount points in a mount table. A v2 mount is `All` until its controllers are known.
fn parse(mountinfo: &str) -> Vec<(Kind, PathBuf)> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(point) = before.split(' ').nth(4) else { continue };
        let mut after = after.split(' ');
        let (kind, options) = (after.next().unwrap_or_default(), after.nth(1).unwrap_or_default());
        let has = |name: &str| options.split(',').any(|option| option == name);
        let kinds: &[Kind] = match kind {
            "cgroup2" => &[Kind::All],
            "cgroup" if has("memory") => &[Kind::Memory],
            "cgroup" if has("pids") => &[Kind::Pids],
            "cgroup" if has("cpu") => &[Kind::Cpu],
            _ => &[],
        };
        found.extend(kinds.iter().map(|kind| (*kind, PathBuf::from(point))));
    }
    found
}

/// The group we are in, in the hierarchy of `kind`.
fn own_path(own: &str, kind: Kind) -> String {
    let wanted = match kind {
        Kind::Memory => "memory",
        Kind::Pids => "pids",
        Kind::Cpu => "cpu",
        Kind::Unified | Kind::All => "",
    };
    let line = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == wanted).then(|| path.to_owned())
    });
    line.unwrap_or_else(|| "/".to_owned())
}

/// Hands the controllers down from `root` to `parent` and on to its children (v2 only).
pub(super) fn delegate(root: &Path, parent: &Path) -> io::Result<()> {
    for controller in ["memory", "pids", "cpu"] {
        for directory in [root, parent] {
            // v2: a group other than the root that has processes hands nothing down; they go to a leaf.
            let hand_down = || write(directory, "cgroup.subtree_control", format!("+{controller}"));
            if let Err(error) = hand_down() {
                if directory == root && controller == "memory" {
                    move_into_leaf(root)?;
                    hand_down()?;
                } else if controller != "cpu" {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

fn move_into_leaf(root: &Path) -> io::Result<()> {
    let leaf = root.join("lamplight-server");
    match std::fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    write(&leaf, "cgroup.procs", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hierarchies_are_found_in_a_mount_table() {
        let table = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n\
            33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let found = parse(table);
        let kinds: Vec<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Cpu, Kind::Memory, Kind::All]);
        assert_eq!(found[1].1, Path::new("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn our_own_group_is_read_for_each_hierarchy() {
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/d\n";
        assert_eq!(own_path(own, Kind::Memory), "/a/b");
        assert_eq!(own_path(own, Kind::Cpu), "/c");
        assert_eq!(own_path(own, Kind::All), "/d");
        assert_eq!(own_path(own, Kind::Pids), "/");
    }
}
