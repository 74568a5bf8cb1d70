//! What sandboxes of an instance have on this host.

use std::path::{Path, PathBuf};

/// Names of everything left: processes, cgroups of sandboxes, links, directories. The nursery is the
/// launcher's.
pub fn leftovers(instance: &str, run_dir: &Path) -> Vec<String> {
    let nursery = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|n| n == "jail-nursery\n")
    };
    let sandboxes = processes(instance).into_iter().filter(|pid| !nursery(pid));
    let mut left: Vec<String> = sandboxes.map(|pid| format!("process {pid}")).collect();
    left.extend(groups(instance).iter().map(|path| format!("cgroup {}", path.display())));
    let link = format!("ll{instance}");
    left.extend(names(Path::new("/sys/class/net")).filter(|name| name.starts_with(&link)));
    left.extend(names(run_dir).map(|name| format!("directory {name}")));
    left
}

/// The nursery, jails, inits and keepers of the instance.
pub fn processes(instance: &str) -> Vec<u32> {
    let wanted = format!("lamplight-jail\0{instance}\0");
    let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let pids = names(Path::new("/proc")).filter_map(|name| name.parse().ok());
    pids.filter(|pid| line(pid).starts_with(wanted.as_bytes())).collect()
}

/// Cgroups of single sandboxes.
pub fn groups(instance: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let top = Path::new("/sys/fs/cgroup");
    let places = names(top).map(|name| top.join(name)).chain([top.to_owned()]);
    for parent in places.map(|place| place.join(format!("lamplight-{instance}"))) {
        let children = std::fs::read_dir(&parent).into_iter().flatten().flatten();
        found
            .extend(children.filter(|c| c.file_type().unwrap().is_dir()).map(|child| child.path()));
    }
    found
}

/// Processes in the sandboxes of an instance, inits too.
pub fn population(instance: &str) -> usize {
    let count = |path: &PathBuf| {
        std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines().count()
    };
    groups(instance).iter().map(count).max().unwrap_or(0)
}

fn names(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
