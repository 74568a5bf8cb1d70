//! Which functions may be forked from a zygote: those whose start would come to the same. Pure, but
//! for a look into their directories.
//!
//! A fork has the interpreter, the modules and the libraries that the zygote has loaded. A function
//! that says something else about any of them, by a variable or by what its package brings, is
//! executed instead.

use crate::runtimes::{Client, RuntimePlan};
use lamplight_model::Target;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What interpreters and the loaders of programs and libraries read when they start.
const READ_AT_START: [&str; 7] =
    ["AWS_LAMBDA_EXEC_WRAPPER", "LANG", "LANGUAGE", "GCONV_PATH", "LOCPATH", "NLSPATH", "TZDIR"];
/// The same, by how their names begin.
const READ_BY_PREFIX: [&str; 6] = ["LC_", "LD_", "PYTHON", "GLIBC_", "MALLOC_", "OPENSSL_"];

/// How deep directories of the code are looked at, and how many.
const DEPTH: usize = 3;
const MOST_ROOTS: usize = 256;

/// Whether a variable matters to a zygote's start.
pub fn matters(name: &str) -> bool {
    READ_AT_START.contains(&name) || READ_BY_PREFIX.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a function could be a fork at all.
pub fn is_forkable(target: &Target, plan: &RuntimePlan) -> bool {
    plan.client == Some(Client::Python)
        && plan.root.is_none()
        && !target.environment.keys().any(|name| matters(name))
}

/// The directories of a function in which it may bring what a zygote has loaded.
pub struct Brought<'a> {
    pub code: &'a Path,
    pub opt: &'a Path,
}

impl Brought<'_> {
    /// Whether it brings any of them: then it means its own.
    pub fn any_of(&self, modules: &BTreeSet<String>, libraries: &BTreeSet<String>) -> bool {
        let of_module =
            |name: &str| name.split('.').next().is_some_and(|stem| modules.contains(stem));
        let found = |name: &str| of_module(name) || libraries.contains(name);
        let python = self.opt.join("python");
        // Of every version: there is one.
        let versions = entries(&python.join("lib")).into_iter();
        let packages = versions.map(|name| python.join("lib").join(name).join("site-packages"));
        let libraries = [self.code.join("lib"), self.opt.join("lib")];
        let Some(roots) = roots(self.code) else { return true };
        roots
            .into_iter()
            .chain([self.code.to_owned(), python.clone()])
            .chain(packages)
            .chain(libraries)
            .any(|directory| entries(&directory).iter().any(|name| found(name)))
    }
}

/// Directories of the code that it may put on the interpreter's path by itself: those that are no
/// packages, some levels deep. `None` where there are too many to look at.
fn roots(code: &Path) -> Option<Vec<PathBuf>> {
    let (mut found, mut level) = (Vec::new(), vec![code.to_owned()]);
    for _ in 0..DEPTH {
        let mut below = Vec::new();
        for directory in &level {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                // What links lead to is looked at where it is.
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_directory && !path.join("__init__.py").exists() {
                    below.push(path);
                }
                if found.len() + below.len() > MOST_ROOTS {
                    return None;
                }
            }
        }
        found.extend_from_slice(&below);
        level = below;
    }
    Some(found)
}

/// Names that are no text are none of a module's.
fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_reads_is_known() {
        for name in
            ["PYTHONPATH", "LD_PRELOAD", "LC_ALL", "LANG", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"]
        {
            assert!(matters(name), "{name}");
        }
        for name in ["TZ", "PATH", "STAGE", "AWS_REGION", "MY_LANG"] {
            assert!(!matters(name), "{name}");
        }
    }

    #[test]
    fn a_package_that_brings_a_module_or_library_is_seen() {
        let (code, opt) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (modules, libraries) = (set(&["queue", "email"]), set(&["libz.so.1"]));
        let brought = Brought { code: code.path(), opt: opt.path() };
        std::fs::write(code.path().join("app.py"), "").unwrap();
        std::fs::write(code.path().join("queued.py"), "").unwrap();
        assert!(!brought.any_of(&modules, &libraries));
        for path in [
            "python/queue.py",
            "python/email/__init__.py",
            "python/queue.cpython-311-x86_64-linux-gnu.so",
            "python/lib/python3.11/site-packages/queue.py",
            "lib/libz.so.1",
        ] {
            let path = opt.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            assert!(brought.any_of(&modules, &libraries), "{}", path.display());
            std::fs::remove_dir_all(opt.path()).unwrap();
        }
        let (package, place) = (code.path().join("package"), code.path().join("src/app"));
        for directory in [&package, &place] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::write(package.join("__init__.py"), "").unwrap();
        std::fs::write(package.join("queue.py"), "").unwrap();
        assert!(!brought.any_of(&modules, &libraries), "package.queue is another name");
        std::fs::write(place.join("queue.py"), "").unwrap();
        assert!(brought.any_of(&modules, &libraries), "it may put the directory on its path");
        std::fs::remove_file(place.join("queue.py")).unwrap();
        std::fs::write(code.path().join("queue.py"), "").unwrap();
        assert!(brought.any_of(&modules, &libraries));
        std::fs::remove_file(code.path().join("queue.py")).unwrap();
        for number in 0..=MOST_ROOTS {
            std::fs::create_dir(code.path().join(number.to_string())).unwrap();
        }
        assert!(brought.any_of(&modules, &libraries), "too many to look at");
    }
}
