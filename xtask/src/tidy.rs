//! Keeps the house in the shape that ARCHITECTURE.md describes.
//!
//! Reads the manifests through `cargo metadata` and the files that git knows or would add. Says
//! everything that is wrong at once, as `file:line: what`. Formatting and lints are not its
//! business: rustfmt and clippy do those.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate of the workspace may use of the others. A crate that is missing here fails, so
/// that a new one is placed on purpose.
const DIRECTION: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("env", &[]),
    ("init", &[]),
    ("rpc", &["model", "env"]),
    ("store", &["model", "env"]),
    ("wire", &["model", "env"]),
    ("sandbox", &["init", "model", "env"]),
    ("control", &["rpc", "store", "wire", "model", "env"]),
    ("events", &["rpc", "store", "wire", "model", "env"]),
    ("services", &["rpc", "store", "wire", "model", "env"]),
    ("worker", &["rpc", "wire", "sandbox", "model", "env"]),
    ("frontend", &["services", "rpc", "wire", "model", "env"]),
    ("remote", &["rpc", "wire", "model", "env"]),
    ("testkit", &["rpc", "store", "wire", "model", "env"]),
];
/// The binary wires everything together.
const UNBOUND: &str = "lamplight";
/// May be a dev-dependency of every crate, and of none in earnest.
const TEST_ONLY: &str = "testkit";

/// Paths that mean the same everywhere: the home that AWS's sandboxes have, Homebrew's one place on
/// Linux, and what a sandbox must not be able to read.
const SAME_EVERYWHERE: [&str; 3] = ["/home/sbx_user", "/home/linuxbrew/", "/root/.ssh"];
const LINES: usize = 800;
const VAGUE_NAMES: [&str; 3] = ["util", "common", "helpers"];
/// The only crates that may ask for `unsafe`.
const UNSAFE_HOMES: [&str; 2] = ["crates/sandbox/", "crates/init/"];
const READ: [&str; 11] =
    ["rs", "md", "toml", "py", "sh", "mjs", "js", "json", "yml", "yaml", "sql"];

pub fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: tidy");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let mut wrong = directions(&metadata(&root)?);
    let files = tracked(&root)?;
    // Where this checkout stands is on this machine only.
    let checkouts = format!("{}/", root.parent().unwrap_or(&root).display());
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        wrong.extend(file_faults(&file.to_string_lossy(), &text));
        wrong.extend(machine_paths(&file.to_string_lossy(), &text, &checkouts));
    }
    wrong.extend(crate::cases::faults(&root, &files)?);
    for fault in &wrong {
        eprintln!("{fault}");
    }
    if !wrong.is_empty() {
        bail!("tidy: {} faults", wrong.len());
    }
    println!("tidy: {} files, no faults", files.len());
    Ok(())
}

fn metadata(root: &Path) -> Result<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Files that git tracks, or would on `git add`, with an extension we read.
pub fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("running git ls-files")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let names = String::from_utf8(output.stdout)?;
    let read = |path: &PathBuf| {
        path.extension().and_then(|e| e.to_str()).is_some_and(|e| READ.contains(&e))
    };
    Ok(names.split('\0').map(PathBuf::from).filter(read).collect())
}

/// Which crates use one that they must not.
fn directions(metadata: &Value) -> Vec<String> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let room = |name: &str| name.strip_prefix("lamplight-").map(str::to_owned);
    let mut wrong = Vec::new();
    for package in list(metadata, "packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(from) = room(name) else { continue };
        let Some((_, allowed)) = DIRECTION.iter().find(|(crate_, _)| *crate_ == from) else {
            wrong.push(format!("crates/{from}: has no place in xtask's table of directions"));
            continue;
        };
        for dependency in list(&package, "dependencies") {
            let Some(to) = dependency["name"].as_str().and_then(room) else {
                if dependency["name"] == UNBOUND {
                    wrong.push(format!("crates/{from}: uses the binary"));
                }
                continue;
            };
            let test = dependency["kind"] == "dev" && to == TEST_ONLY;
            if !test && !allowed.contains(&to.as_str()) {
                wrong.push(format!("crates/{from}: must not use {to}"));
            }
        }
    }
    wrong
}

fn file_faults(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut fault = |line: usize, what: &str| wrong.push(format!("{file}:{line}: {what}"));
    let rust = file.ends_with(".rs");
    if rust {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !first.starts_with("//!") {
            fault(1, "a module starts with `//!`: what it is for and what it is not");
        }
        if text.lines().count() > LINES {
            fault(LINES, "more than 800 lines: take a concept out");
        }
        let path = Path::new(file);
        for part in [path.file_stem(), path.parent().and_then(Path::file_name)] {
            if part.and_then(|p| p.to_str()).is_some_and(|p| VAGUE_NAMES.contains(&p)) {
                fault(1, "a module is named after what it holds");
            }
        }
    }
    let unsafe_allowed = !rust || UNSAFE_HOMES.iter().any(|home| file.starts_with(home));
    for (index, line) in text.lines().enumerate() {
        if rust && ["TO", "FIX"].iter().zip(["DO", "ME"]).any(|(a, b)| marked(line, a, b)) {
            fault(index + 1, "do it, or leave it out");
        }
        let asks = line.contains("allow(unsafe") || line.contains("expect(unsafe");
        if asks && !unsafe_allowed && !file.starts_with("xtask/") {
            fault(index + 1, "unsafe lives in crates/sandbox and crates/init");
        }
    }
    wrong
}

/// Whether `line` has the marker spelled `start` and `end`, as a word.
fn marked(line: &str, start: &str, end: &str) -> bool {
    let marker = format!("{start}{end}");
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == marker)
}

fn machine_paths(file: &str, text: &str, checkouts: &str) -> Vec<String> {
    let found = text.lines().enumerate().filter_map(|(index, line)| {
        let path = machine_path(line, checkouts)?;
        Some(format!("{file}:{}: `{path}` is a path of one machine", index + 1))
    });
    found.collect()
}

/// A path that exists on a developer's machine only: somebody's home, or a place of checkouts.
fn machine_path<'l>(line: &'l str, checkouts: &str) -> Option<&'l str> {
    ["/home/", "/Users/", "/root/.", checkouts].iter().find_map(|start| {
        let at = line.find(start)?;
        let before = line[..at].chars().next_back();
        // `/proc/1/root/.` and `{base}/home/` are not absolute, `/home/` alone is just a directory.
        let absolute = !before.is_some_and(|c| c.is_alphanumeric() || "})]>.-_*/".contains(c));
        let rest = &line[at + start.len()..];
        let named = rest.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "._-/".contains(c)));
        let path = &line[at..at + start.len() + end.unwrap_or(rest.len())];
        let known = SAME_EVERYWHERE.iter().any(|known| path.starts_with(known));
        (absolute && named && !known).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uses(from: &str, to: &str, kind: Value) -> Vec<String> {
        let dependency = json!({"name": to, "kind": kind});
        directions(&json!({"packages": [{"name": from, "dependencies": [dependency]}]}))
    }

    #[test]
    fn crates_look_down_only() {
        assert!(uses("lamplight-worker", "lamplight-sandbox", Value::Null).is_empty());
        assert!(uses("lamplight-worker", "serde", Value::Null).is_empty());
        assert_eq!(uses("lamplight-model", "lamplight-rpc", Value::Null).len(), 1);
        assert_eq!(uses("lamplight-control", "lamplight-worker", Value::Null).len(), 1);
        assert_eq!(uses("lamplight-frontend", "lamplight-store", Value::Null).len(), 1);
        assert_eq!(uses("lamplight-worker", "lamplight", Value::Null).len(), 1);
        assert_eq!(uses("lamplight-attic", "serde", Value::Null).len(), 1);
    }

    #[test]
    fn testkit_is_for_tests() {
        assert!(uses("lamplight-worker", "lamplight-testkit", json!("dev")).is_empty());
        assert_eq!(uses("lamplight-worker", "lamplight-testkit", Value::Null).len(), 1);
    }

    #[test]
    fn a_module_says_what_it_is_for() {
        assert!(file_faults("crates/a/src/b.rs", "//! B.\n").is_empty());
        assert_eq!(file_faults("crates/a/src/b.rs", "fn main() {}\n").len(), 1);
        assert_eq!(file_faults("crates/a/src/util.rs", "//! All sorts.\n").len(), 1);
        assert_eq!(file_faults("crates/a/src/util/mod.rs", "//! All sorts.\n").len(), 1);
        assert_eq!(file_faults("crates/a/src/b.rs", &"//!\n".repeat(801)).len(), 1);
    }

    #[test]
    fn unsafe_has_two_homes() {
        let text = "//! B.\n#![allow(unsafe_code)]\n";
        assert_eq!(file_faults("crates/worker/src/b.rs", text).len(), 1);
        assert!(file_faults("crates/sandbox/src/b.rs", text).is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        fn machine_path(line: &str) -> Option<&str> {
            super::machine_path(line, "/checkouts/")
        }
        let home = ["/ho", "me/ada/x.rs"].concat();
        assert_eq!(machine_path(&format!("see {home}, line 3")), Some(home.as_str()));
        assert_eq!(machine_path("\"/checkouts/lamplight\""), Some("/checkouts/lamplight"));
        assert_eq!(machine_path("the sandbox has no /home/ at all"), None);
        assert_eq!(machine_path("open(\"/proc/1/root/.x\")"), None);
        assert_eq!(machine_path("${root}/checkouts/dir"), None);
    }

    #[test]
    fn left_over_marks_are_found() {
        let text = format!("//! B.\n// {}: later\n", ["TO", "DO"].concat());
        assert_eq!(file_faults("crates/a/src/b.rs", &text).len(), 1);
        assert!(file_faults("crates/a/src/b.rs", "//! B.\n// TODOIST is a product\n").is_empty());
    }
}
