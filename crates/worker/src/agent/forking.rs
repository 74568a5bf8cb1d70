//! Which functions may be forked from a zygote: those whose start would come to the same. Pure, but
//! for a look into their directories.
//!
//! A fork has the interpreter, the modules and the libraries that the zygote has loaded. A function
//! that says something else about any of them, by a variable or by what its package brings, is
//! executed instead.

use crate::runtimes::{Client, RuntimePlan};
use lamplight_model::Target;
use std::collections::BTreeSet;
use std::path::Path;

/// What interpreters and the loaders of programs and libraries read when they start.
const READ_AT_START: [&str; 7] =
    ["AWS_LAMBDA_EXEC_WRAPPER", "LANG", "LANGUAGE", "GCONV_PATH", "LOCPATH", "NLSPATH", "TZDIR"];
/// The same, by how their names begin.
const READ_BY_PREFIX: [&str; 6] = ["LC_", "LD_", "PYTHON", "GLIBC_", "MALLOC_", "OPENSSL_"];

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
        [self.code.to_owned(), python.clone()]
            .into_iter()
            .chain(packages)
            .chain(libraries)
            .any(|directory| entries(&directory).iter().any(|name| found(name)))
    }
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
        std::fs::write(code.path().join("queue.py"), "").unwrap();
        assert!(brought.any_of(&modules, &libraries));
    }
}
