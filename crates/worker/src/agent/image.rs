//! How a sandbox shows the root of a container image: what to bind where, and which links to make.
//!
//! Top-level names are shown as they are, those of `/etc` and `/var` one by one beside what every
//! sandbox has of its own there. `/dev`, `/proc`, `/sys`, `/run` and `/tmp` are the sandbox's.

use lamplight_sandbox::{Bind, System};
use std::fs;
use std::io;
use std::path::Path;

/// Names that the sandbox makes itself.
const OWN: [&str; 5] = ["dev", "proc", "sys", "run", "tmp"];
const SPLIT: [&str; 2] = ["etc", "var"];
const OWN_IN_SPLIT: [&str; 8] = [
    "etc/passwd",
    "etc/group",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/nsswitch.conf",
    "etc/hostname",
    "etc/mtab",
    "var/tmp",
];
/// Mounts of one sandbox.
const MOST: usize = 512;

/// What to show of the image whose root is unpacked at `root`; at the paths `elsewhere`, which are at
/// its top or in `/var`, comes something else.
pub fn shown(root: &Path, elsewhere: &[&str]) -> io::Result<(Vec<Bind>, System)> {
    let (mut binds, mut links) = (Vec::new(), Vec::new());
    let mut todo = vec![String::new()];
    while let Some(above) = todo.pop() {
        for entry in fs::read_dir(root.join(&above))? {
            let entry = entry?;
            // A name that is no text cannot be asked for by one either.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if above.is_empty() { name } else { format!("{above}/{name}") };
            let kind = entry.file_type()?;
            let own = OWN.contains(&path.as_str()) || OWN_IN_SPLIT.contains(&path.as_str());
            if own || elsewhere.iter().any(|other| other.trim_start_matches('/') == path) {
                continue;
            }
            if kind.is_symlink() {
                if let (false, Some(target)) =
                    (SPLIT.contains(&path.as_str()), fs::read_link(entry.path())?.to_str())
                {
                    links.push((format!("/{path}"), target.to_owned()));
                }
            } else if kind.is_dir() && SPLIT.contains(&path.as_str()) {
                todo.push(path);
            } else {
                binds.push(Bind { source: entry.path(), target: format!("/{path}") });
            }
            if binds.len() + links.len() > MOST {
                return Err(io::Error::other("the image has too many names at its top"));
            }
        }
    }
    Ok((binds, System::Own { links }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_sandbox_keeps_what_is_its_own() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        for file in ["usr/bin/x", "etc/passwd", "etc/app.conf", "var/task/x", "dev/null", "run.sh"]
        {
            make(file);
        }
        symlink("usr/bin", root.path().join("bin")).unwrap();
        symlink("/run", root.path().join("var/run")).unwrap();
        let (binds, system) = shown(root.path(), &[]).unwrap();
        let mut targets: Vec<_> = binds.iter().map(|bind| bind.target.as_str()).collect();
        targets.sort();
        assert_eq!(targets, ["/etc/app.conf", "/run.sh", "/usr", "/var/task"]);
        let (others, _) = shown(root.path(), &["/opt", "/var/task"]).unwrap();
        assert!(others.iter().all(|bind| bind.target != "/var/task"));
        let System::Own { mut links } = system else { panic!("not the image's own") };
        links.sort();
        let link = |at: &str, to: &str| (at.to_owned(), to.to_owned());
        assert_eq!(links, [link("/bin", "usr/bin"), link("/var/run", "/run")]);
    }
}
