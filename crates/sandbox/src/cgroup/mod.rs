//! Limits and counts by cgroup, in the old hierarchy (v1, also beside v2) and the new one (v2).
//!
//! Parents are named `lamplight-<instance>`; each sandbox has a child. Without the right to make
//! them there are none, and sandboxes run with rlimits only.

mod files;
mod hierarchy;
mod pressure;
mod room;

pub(crate) use hierarchy::find;
pub(crate) use pressure::Watch;

use files::{read_again, read_field, remove_directory, write};
use lamplight_init::protocol;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Processes and threads of one sandbox.
// AWS: 742 for the function's user; the rest is room for init and for starts.
const PROCESSES: u32 = 768;
/// Length of a scheduling period, in microseconds.
const PERIOD: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Pids,
    Cpu,
    /// v2 without controllers, beside v1: only `cgroup.kill`.
    Unified,
    /// v2 with all of them.
    All,
}

/// The launcher's parents.
pub(crate) struct Cgroups {
    parents: Vec<(Kind, PathBuf)>,
}

impl Cgroups {
    /// Makes the parents of `instance`. `None` when this user may not.
    pub(crate) fn set_up(instance: &str) -> io::Result<Option<Self>> {
        let mut parents = Vec::new();
        for found in find() {
            let path = found.parent(instance);
            match std::fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EACCES | libc::EPERM | libc::EROFS)
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            }
            if found.kind == Kind::All {
                hierarchy::delegate(&found.root, &path)?;
            }
            parents.push((found.kind, path));
        }
        Ok((!parents.is_empty()).then_some(Self { parents }))
    }

    /// Makes one sandbox's groups; what it may use comes with [`Group::limit`].
    pub(crate) fn create(&self, name: &str) -> io::Result<Group> {
        let (directories, peak, killed) = (Vec::new(), OnceLock::new(), Arc::default());
        let mut group = Group { directories, memory: 0, tmp: 0, peak, killed };
        for (kind, parent) in &self.parents {
            let path = parent.join(name);
            let made = std::fs::create_dir(&path);
            if made.is_ok() {
                group.directories.push((*kind, path.clone()));
            }
            if let Err(error) = made.and_then(|()| settle(*kind, &path)) {
                // Best effort: the error that matters is the first.
                let _ = group.remove();
                return Err(error);
            }
        }
        Ok(group)
    }

    fn memory(&self) -> Option<&(Kind, PathBuf)> {
        self.parents.iter().find(|(kind, _)| matches!(kind, Kind::Memory | Kind::All))
    }

    /// What all sandboxes use, without caches of files. Bytes.
    pub(crate) fn memory_used(&self) -> Option<u64> {
        let (kind, path) = self.memory()?;
        room::used(*kind, path)
    }

    /// The least that a limit of the parent, or of a group above it, leaves to them.
    pub(crate) fn memory_left(&self, kept: fn(u64) -> u64) -> Option<u64> {
        let (kind, path) = self.memory()?;
        path.ancestors().filter_map(|group| room::left(*kind, group, kept)).min()
    }

    /// Removes the parents; they must be empty.
    pub(crate) fn remove(&self) {
        for (_, path) in &self.parents {
            if let Err(error) = remove_directory(path) {
                tracing::warn!(%error, path = %path.display(), "a cgroup stays behind");
            }
        }
    }
}

/// What holds for sandboxes of every size: as many processes, no swap, one vCPU.
fn settle(kind: Kind, path: &Path) -> io::Result<()> {
    match kind {
        Kind::Memory => {
            let _ = write(path, "memory.swappiness", 0);
        }
        Kind::Pids => write(path, "pids.max", PROCESSES)?,
        // The period is the kernel's own.
        Kind::Cpu => write(path, "cpu.cfs_quota_us", PERIOD)?,
        Kind::Unified => {}
        Kind::All => {
            let _ = write(path, "memory.swap.max", 0);
            write(path, "pids.max", PROCESSES)?;
            let _ = write(path, "cpu.max", format!("{PERIOD} {PERIOD}"));
        }
    }
    Ok(())
}

/// One sandbox's groups.
pub(crate) struct Group {
    directories: Vec<(Kind, PathBuf)>,
    /// In bytes; 0 before it is anybody's.
    memory: u64,
    tmp: u64,
    /// Asked for with every call, so it stays open.
    peak: OnceLock<Option<File>>,
    /// Whether the watch has killed a process.
    killed: Arc<AtomicBool>,
}

/// How a process comes into a group: born in the new hierarchy's directory, and written into the
/// files of the old one by itself.
#[derive(Default)]
pub(crate) struct Entrance {
    pub(crate) directory: Option<OwnedFd>,
    pub(crate) tasks: Vec<OwnedFd>,
}

impl Group {
    /// Limits what the sandbox may use, in MiB. Little is written here, for somebody waits.
    pub(crate) fn limit(&mut self, memory_mb: u32, tmp_mb: u32) -> io::Result<()> {
        self.memory = u64::from(memory_mb) << 20;
        self.tmp = u64::from(tmp_mb) << 20;
        let (memory, both, memory_mb) = (self.memory, self.memory + self.tmp, self.memory >> 20);
        // AWS: a full vCPU at 1769 MB. Below that AWS throttles; we give up to one vCPU when the
        // machine is idle, and the share by memory when it is not: cold starts are what users wait for.
        let quota = (memory_mb * PERIOD / 1769).max(PERIOD);
        let shares = (memory_mb * 1024 / 1769).clamp(2, 262_144);
        for (kind, path) in &self.directories {
            match kind {
                Kind::Memory => {
                    write(path, "memory.limit_in_bytes", both)?;
                    // Absent when the kernel does not account swap, or there is none.
                    let _ = write(path, "memory.memsw.limit_in_bytes", both);
                }
                Kind::Cpu => {
                    if quota != PERIOD {
                        write(path, "cpu.cfs_quota_us", quota)?;
                    }
                    write(path, "cpu.shares", shares)?;
                }
                Kind::Pids | Kind::Unified => {}
                Kind::All => {
                    write(path, "memory.max", both)?;
                    write(path, "memory.high", memory)?;
                    // A container's root group may lack the cpu controller.
                    if quota != PERIOD {
                        let _ = write(path, "cpu.max", format!("{quota} {PERIOD}"));
                    }
                    let _ = write(path, "cpu.weight", (shares * 100 / 1024).clamp(1, 10_000));
                }
            }
        }
        Ok(())
    }

    /// Where the jail takes itself and its child.
    pub(crate) fn directories(&self) -> protocol::Cgroups {
        let mut groups = protocol::Cgroups::default();
        for (kind, path) in &self.directories {
            let path = path.to_string_lossy().into_owned();
            match kind {
                Kind::Unified | Kind::All => groups.new = Some(path),
                Kind::Memory | Kind::Pids | Kind::Cpu => groups.old.push(path),
            }
        }
        groups
    }

    /// Opens the groups for a process that forks into them.
    pub(crate) fn entrance(&self) -> io::Result<Entrance> {
        let mut entrance = Entrance::default();
        for (kind, path) in &self.directories {
            match kind {
                Kind::Unified | Kind::All => entrance.directory = Some(File::open(path)?.into()),
                Kind::Memory | Kind::Pids | Kind::Cpu => {
                    let tasks = File::options().write(true).open(path.join("tasks"))?;
                    entrance.tasks.push(tasks.into());
                }
            }
        }
        Ok(entrance)
    }

    /// Kills every process in it. Returns at once.
    pub(crate) fn kill(&self) {
        for (_, path) in &self.directories {
            files::kill(path);
        }
    }

    /// The most memory it has had, in bytes: with file cache, and with `/tmp` as far as it fits.
    // AWS: the memory used is never reported above the size.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        let open = || {
            self.directories.iter().find_map(|(kind, path)| match kind {
                Kind::Memory => File::open(path.join("memory.max_usage_in_bytes")).ok(),
                Kind::All => File::open(path.join("memory.peak")).ok(),
                _ => None,
            })
        };
        let peak = read_again(self.peak.get_or_init(open).as_ref()?)?;
        Some(peak.min(self.memory))
    }

    /// Whether a process was killed for want of memory, by the kernel or by the watch. How many is
    /// not said: both may have killed the same one.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let count = self.directories.iter().find_map(|(kind, path)| match kind {
            Kind::Memory => read_field(path, "memory.oom_control", "oom_kill"),
            Kind::All => read_field(path, "memory.events", "oom_kill"),
            _ => None,
        });
        count.unwrap_or(0) > 0 || self.killed.load(Ordering::Relaxed)
    }

    /// Removes the groups, waiting a moment for the kernel to let go of the last process.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.directories.iter().try_for_each(|(_, path)| remove_directory(path))
    }
}

/// Kills and removes the groups of `instance`: how many sandboxes had some.
pub(crate) fn sweep(instance: &str) -> usize {
    let mut names = std::collections::BTreeSet::new();
    for found in find() {
        let parent = found.parent(instance);
        for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                files::kill(&entry.path());
                match remove_directory(&entry.path()) {
                    Ok(()) => _ = names.insert(entry.file_name()),
                    Err(error) => {
                        tracing::warn!(%error, path = %entry.path().display(), "cannot sweep")
                    }
                }
            }
        }
        // The next launcher makes it again; a failure is named there.
        let _ = std::fs::remove_dir(&parent);
    }
    names.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories that only look like cgroups: for what is written, not for what it does.
    #[test]
    fn the_same_sizes_are_written_to_both_hierarchies() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let parents = vec![
            (Kind::Memory, old.path().join("m")),
            (Kind::Pids, old.path().join("p")),
            (Kind::Cpu, old.path().join("c")),
            (Kind::All, new.path().to_owned()),
        ];
        for (_, path) in &parents[..3] {
            std::fs::create_dir(path).unwrap();
        }
        let mut group = Cgroups { parents }.create("s").unwrap();
        group.limit(3538, 512).unwrap();
        let written =
            |path: &std::path::Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap();
        let both = (4050u64 << 20).to_string();
        assert_eq!(written(&old.path().join("m/s"), "memory.limit_in_bytes"), both);
        assert_eq!(written(&old.path().join("p/s"), "pids.max"), "768");
        assert_eq!(written(&old.path().join("c/s"), "cpu.cfs_quota_us"), "200000");
        let new = new.path().join("s");
        assert_eq!(written(&new, "memory.max"), both);
        assert_eq!(written(&new, "memory.high"), (3538u64 << 20).to_string());
        assert_eq!(written(&new, "memory.swap.max"), "0");
        assert_eq!(written(&new, "pids.max"), "768");
        assert_eq!(written(&new, "cpu.max"), "200000 100000");

        std::fs::write(new.join("memory.events"), "low 0\nhigh 9\noom 2\noom_kill 0\n").unwrap();
        let v2 = Group { directories: vec![(Kind::All, new.clone())], ..group };
        assert!(!v2.ran_out_of_memory());
        v2.killed.store(true, Ordering::Relaxed);
        assert!(v2.ran_out_of_memory());
        v2.killed.store(false, Ordering::Relaxed);
        std::fs::write(new.join("memory.events"), "low 0\nhigh 9\noom 2\noom_kill 1\n").unwrap();
        assert!(v2.ran_out_of_memory());
        std::fs::write(new.join("memory.peak"), (9000u64 << 20).to_string()).unwrap();
        assert_eq!(v2.memory_peak(), Some(3538 << 20), "never above the size");
        assert_eq!(v2.directories().new.as_deref(), new.to_str());
    }
}
