//! Reading and writing of cgroup files.

use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

pub(super) fn write(directory: &Path, file: &str, value: impl Display) -> io::Result<()> {
    let path = directory.join(file);
    std::fs::write(&path, value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

pub(super) fn read(directory: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The number that an open file holds now.
pub(super) fn read_again(file: &File) -> Option<u64> {
    let mut text = [0; 24];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

/// The number after `field` in a file of `name number` lines.
pub(super) fn read_field(directory: &Path, file: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Kills all processes of a group: at once where there is `cgroup.kill`, else one by one.
pub(super) fn kill(directory: &Path) {
    if std::fs::write(directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for pid in processes(directory) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

pub(super) fn processes(directory: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

/// Removes an empty group. Processes that have just been reaped may hold it for a moment.
pub(super) fn remove_directory(path: &Path) -> io::Result<()> {
    let mut patience = 400;
    loop {
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && patience > 0 => {
                patience -= 1;
                // The kernel tells nobody when a group becomes removable.
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "oom 3\noom_kill_disable 0\noom_kill 7\n").unwrap();
        assert_eq!(read_field(dir.path(), "f", "oom_kill"), Some(7));
        assert_eq!(read_field(dir.path(), "f", "oom_group_kill"), None);
    }
}
