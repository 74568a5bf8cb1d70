//! Where interpreters may be. Looks at names and first bytes; runs nothing.
//!
//! Version managers put scripts of the interpreters' names on PATH, which choose a version by the
//! directory they are called in. Those are passed over: the versions they choose from are looked
//! up where they are installed.

use lamplight_model::{Language, Runtime};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// An executable that may be an interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    pub language: Language,
    pub path: PathBuf,
}

/// Candidates asked at most: somebody's disk may hold hundreds.
const MOST: usize = 64;
const ELF: [u8; 4] = *b"\x7fELF";

/// Below the home directory; `*` is any one name.
const IN_HOME: [&str; 22] = [
    ".pyenv/versions/*/bin",
    ".local/share/uv/python/*/bin",
    ".nvm/versions/node/*/bin",
    ".local/share/mise/installs/python/*/bin",
    ".local/share/mise/installs/node/*/bin",
    ".asdf/installs/python/*/bin",
    ".asdf/installs/nodejs/*/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    ".fnm/node-versions/*/installation/bin",
    ".volta/tools/image/node/*/bin",
    ".nodenv/versions/*/bin",
    ".local/share/rtx/installs/*/*/bin",
    ".local/bin",
    "miniconda3/bin",
    "miniconda3/envs/*/bin",
    "miniforge3/bin",
    "miniforge3/envs/*/bin",
    "anaconda3/bin",
    "anaconda3/envs/*/bin",
    "n/bin",
    ".sdkman/candidates/java/*/bin",
    ".jdks/*/bin",
];

/// For the whole machine.
const IN_SYSTEM: [&str; 12] = [
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/*/bin",
    "/usr/local/n/versions/node/*/bin",
    "/opt/*/bin",
    "/opt/python/*/bin",
    "/opt/pyenv/versions/*/bin",
    "/opt/hostedtoolcache/Python/*/*/bin",
    "/opt/hostedtoolcache/node/*/*/bin",
    "/usr/share/pyenv/versions/*/bin",
    "/usr/lib/jvm/*/bin",
    "/home/linuxbrew/.linuxbrew/bin",
];

/// Directories to look in, as patterns.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    pub path: Vec<PathBuf>,
    pub home: Option<PathBuf>,
    pub system: Vec<String>,
}

impl Places {
    /// PATH and HOME of the process, which are about the machine and no settings of ours.
    pub(super) fn of_this_user() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            path: std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect(),
            home: std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
            system: IN_SYSTEM.iter().map(|place| (*place).to_owned()).collect(),
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        let mut found = self.path.clone();
        for place in &self.system {
            expand(Path::new("/"), place.trim_start_matches('/'), &mut found);
        }
        for place in IN_HOME {
            if let Some(home) = &self.home {
                expand(home, place, &mut found);
            }
        }
        found
    }
}

/// The executables in `places` with an interpreter's name, each once.
pub(super) fn candidates(places: &Places) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for dir in places.directories() {
        for (language, name) in names() {
            let path = dir.join(name);
            let Ok(real) = fs::canonicalize(&path) else { continue };
            if found.len() < MOST && !seen.contains(&real) && is_program(&real) {
                seen.insert(real);
                found.push(Candidate { language, path });
            }
        }
    }
    found
}

/// What the configuration means by `path` for `identifier`: an executable, of whatever kind, or
/// the directory of an installation. `None` for languages that take no interpreter.
pub(super) fn named(identifier: &str, path: &Path) -> Option<Candidate> {
    let language = Runtime::parse(identifier)?.language;
    if !matches!(language, Language::Python | Language::Node | Language::Java) {
        return None;
    }
    let mut inside = [path.join("bin"), path.to_owned()].into_iter().flat_map(|dir| {
        names().filter(|name| name.0 == language).map(move |(_, name)| dir.join(name))
    });
    let path = match path.is_dir() {
        true => inside.find(|path| path.is_file()).unwrap_or_else(|| path.to_owned()),
        false => path.to_owned(),
    };
    Some(Candidate { language, path })
}

fn names() -> impl Iterator<Item = (Language, String)> {
    let node = ["node", "nodejs"].map(|name| (Language::Node, name.to_owned()));
    let python = (8..=20).rev().map(|minor| (Language::Python, format!("python3.{minor}")));
    let last = [(Language::Python, "python3"), (Language::Java, "java")];
    node.into_iter().chain(python).chain(last.map(|(language, name)| (language, name.to_owned())))
}

fn expand(base: &Path, pattern: &str, found: &mut Vec<PathBuf>) {
    let Some((before, after)) = pattern.split_once('*') else {
        found.push(base.join(pattern));
        return;
    };
    let Ok(entries) = fs::read_dir(base.join(before)) else { return };
    let mut dirs: Vec<PathBuf> = entries.flatten().take(200).map(|entry| entry.path()).collect();
    // Not in the disk's order, which changes.
    dirs.sort();
    for dir in dirs {
        expand(&dir, after.trim_start_matches('/'), found);
    }
}

fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == ELF
}
