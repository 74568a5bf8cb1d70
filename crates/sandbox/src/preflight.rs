//! What this machine can do for sandboxes, in plain words: for `lamplight doctor`.
//!
//! Looks and asks, changes nothing. It cannot see everything (a security module may still refuse);
//! the last word is a sandbox that starts.

use crate::{Mode, cgroup, network};

/// One finding.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub severity: Severity,
    /// What was found.
    pub finding: String,
    /// How to get what is missing; empty when nothing is.
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Without it there is no namespaces mode.
    Required,
    /// Without it sandboxes run, with less protection or reach.
    Advised,
}

/// Looks at everything.
pub fn preflight() -> Vec<Check> {
    vec![
        kernel(),
        user_namespaces(),
        proc_mount(),
        seccomp(),
        landlock(),
        root(),
        cgroups(),
        egress(),
    ]
}

/// The modes that can run, the better first.
pub fn modes(checks: &[Check]) -> Vec<Mode> {
    let namespaces = checks.iter().all(|check| check.ok || check.severity == Severity::Advised);
    if namespaces { vec![Mode::Namespaces, Mode::Process] } else { vec![Mode::Process] }
}

fn check(name: &'static str, severity: Severity, found: Result<String, (String, &str)>) -> Check {
    match found {
        Ok(finding) => Check { name, ok: true, severity, finding, remedy: String::new() },
        Err((finding, remedy)) => {
            Check { name, ok: false, severity, finding, remedy: remedy.to_owned() }
        }
    }
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let found = match version(&release) {
        Some(version) if version >= (5, 12) => Ok(format!("Linux {release}")),
        _ => Err((
            format!("Linux {release}"),
            "sandboxes are mounted with calls that came with Linux 5.12: use a newer kernel",
        )),
    };
    check("kernel", Severity::Required, found)
}

/// Major and minor of a release such as `6.18.44-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn setting(path: &str) -> Option<i64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn user_namespaces() -> Check {
    let root = rustix::process::geteuid().is_root();
    let found = if setting("/proc/sys/user/max_user_namespaces").unwrap_or(0) <= 0 {
        Err((
            "user namespaces are switched off".to_owned(),
            "sysctl user.max_user_namespaces=65536, and a kernel built with CONFIG_USER_NS",
        ))
    } else if !root && setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        Err((
            "ordinary users may not make user namespaces".to_owned(),
            "run as root, or sysctl kernel.unprivileged_userns_clone=1",
        ))
    } else if !root && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1)
    {
        Err((
            "AppArmor keeps ordinary users from using user namespaces".to_owned(),
            "run as root, or sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ))
    } else {
        Ok("user namespaces can be made".to_owned())
    };
    check("user namespaces", Severity::Required, found)
}

fn proc_mount() -> Check {
    // The kernel lets a user namespace mount /proc only if nothing hides a part of the one it has.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let covered: Vec<&str> = covered(&mounts);
    let found = match covered.first() {
        None => Ok("a fresh /proc can be mounted".to_owned()),
        Some(first) => Err((
            format!("parts of /proc are covered ({first}), as in a container"),
            "run outside the container, or give it an uncovered /proc (docker run --security-opt systempaths=unconfined)",
        )),
    };
    check("proc", Severity::Required, found)
}

/// Mount points below `/proc` that hide something; what is mounted for binary formats hides nothing.
fn covered(mountinfo: &str) -> Vec<&str> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.starts_with("/proc/") && *point != "/proc/sys/fs/binfmt_misc")
        .collect()
}

fn seccomp() -> Check {
    let actions =
        std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let found = if actions.contains("kill_process") {
        Ok("system calls can be filtered".to_owned())
    } else {
        Err((
            "system calls cannot be filtered".to_owned(),
            "use a kernel built with CONFIG_SECCOMP_FILTER",
        ))
    };
    check("seccomp", Severity::Required, found)
}

fn landlock() -> Check {
    let found = match lamplight_init::sys::landlock_version() {
        Some(version) => {
            Ok(format!("Landlock (version {version}) guards the file system a second time"))
        }
        None => Err((
            "Landlock is not active: mounts alone guard the file system".to_owned(),
            "use a kernel built with CONFIG_SECURITY_LANDLOCK, with landlock in its parameter lsm=",
        )),
    };
    check("landlock", Severity::Advised, found)
}

fn root() -> Check {
    let found = if crate::launcher::may_map_users() {
        Ok("each sandbox gets users of its own".to_owned())
    } else {
        Err((
            "without the rights of root all sandboxes share the server's user".to_owned(),
            "run as root (in a container: with CAP_SYS_ADMIN), which is needed for the set-up only",
        ))
    };
    check("users", Severity::Advised, found)
}

fn cgroups() -> Check {
    let writable =
        |path: &std::path::Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let found: Vec<_> = cgroup::find().into_iter().filter(|found| writable(&found.root)).collect();
    let limits =
        found.iter().any(|found| matches!(found.kind, cgroup::Kind::Memory | cgroup::Kind::All));
    let found = match (limits, found.is_empty()) {
        (true, _) => Ok(format!(
            "memory and processes are limited by {}",
            if found.iter().any(|f| f.kind == cgroup::Kind::All) {
                "cgroup v2"
            } else {
                "cgroup v1"
            }
        )),
        (false, false) => Err((
            "there are cgroups, but no memory controller".to_owned(),
            "enable the memory controller (kernel parameter cgroup_enable=memory, or Delegate=yes in the unit)",
        )),
        (false, true) => Err((
            "no cgroup can be made: memory is not limited".to_owned(),
            "run as root, or start the server with systemd-run --user -p Delegate=yes",
        )),
    };
    check("cgroups", Severity::Advised, found)
}

fn egress() -> Check {
    let found = match network::may_filter() {
        Ok(()) => Ok("sandboxes can reach the internet, and nothing else".to_owned()),
        Err(error) => Err((
            format!("no packet filter ({error}): sandboxes reach nothing outside"),
            "run as root on a kernel with nf_tables (modprobe nf_tables)",
        )),
    };
    check("network", Severity::Advised, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("odd"), None);
    }

    #[test]
    fn a_covered_proc_is_noticed() {
        let table = "1 2 0:3 / /proc rw - proc proc rw\n2 1 0:4 / /proc/kcore ro - tmpfs tmpfs ro\n\
            3 1 0:5 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw\n";
        assert_eq!(covered(table), ["/proc/kcore"]);
    }

    #[test]
    fn one_missing_requirement_leaves_process_mode() {
        let checks = |ok, severity| {
            vec![Check { name: "x", ok, severity, finding: String::new(), remedy: String::new() }]
        };
        assert_eq!(modes(&checks(false, Severity::Required)), [Mode::Process]);
        assert_eq!(modes(&checks(false, Severity::Advised)), [Mode::Namespaces, Mode::Process]);
        assert_eq!(modes(&checks(true, Severity::Required)), [Mode::Namespaces, Mode::Process]);
    }
}
