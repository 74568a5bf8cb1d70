//! Refuses dependencies whose licence we cannot ship under Apache-2.0.
//!
//! Reads what `cargo metadata` says of every crate in the locked graphs of the workspace and of the
//! Rust example. Knows the licences on its list and nothing else: an unknown one is a refusal, to
//! be looked at by a person. Does not read licence files, and not what only other systems build.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

const MANIFESTS: [&str; 2] = ["Cargo.toml", "examples/rust/Cargo.toml"];

pub fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: licences");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let (mut seen, mut refused) = (0, 0);
    for manifest in MANIFESTS {
        for package in packages(&root.join(manifest))? {
            seen += 1;
            if let Err(why) = judge(package["license"].as_str()) {
                refused += 1;
                eprintln!("{manifest}: {} {}: {why}", package["name"], package["version"]);
            }
        }
    }
    if refused > 0 {
        bail!("licences: {refused} crates refused");
    }
    println!("licences: {seen} crates, all allowed");
    Ok(())
}

fn packages(manifest: &Path) -> Result<Vec<Value>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(manifest)
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

/// Whether a crate under the licence expression may be used.
fn judge(expression: Option<&str>) -> Result<(), String> {
    let Some(expression) = expression else { return Err("names no licence".to_owned()) };
    // Crates from before SPDX expressions write `MIT/Apache-2.0`.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.as_slice();
    match either(&mut rest) {
        Some(true) if rest.is_empty() => Ok(()),
        Some(false) if rest.is_empty() => Err(format!("`{expression}` is not on the list")),
        _ => Err(format!("`{expression}` cannot be read")),
    }
}

/// `a OR b OR …`: one allowed is enough. `None` where the text is no expression.
fn either(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = both(words)?;
    while take(words, "OR") {
        allowed |= both(words)?;
    }
    Some(allowed)
}

/// `a AND b AND …`: all must be allowed.
fn both(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(words)?;
    while take(words, "AND") {
        allowed &= one(words)?;
    }
    Some(allowed)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if take(words, "(") {
        let allowed = either(words)?;
        return take(words, ")").then_some(allowed);
    }
    let name = next(words).filter(|word| !["OR", "AND", "WITH", ")"].contains(word))?;
    let licence =
        if take(words, "WITH") { format!("{name} WITH {}", next(words)?) } else { name.to_owned() };
    Some(ALLOWED.contains(&licence.as_str()))
}

fn next<'a>(words: &mut &[&'a str]) -> Option<&'a str> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let found = words.first() == Some(&word);
    if found {
        next(words);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_choices_are_taken() {
        for expression in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
        ] {
            assert_eq!(judge(Some(expression)), Ok(()), "{expression}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for expression in [
            "GPL-3.0-only",
            "AGPL-3.0",
            "BUSL-1.1",
            "MIT AND GPL-3.0",
            "MIT OR Apache-2.0 AND",
            "(MIT",
            "MIT)",
            "GPL-2.0 WITH LLVM-exception",
            "Apache-2.0 WITH",
            "",
        ] {
            assert!(judge(Some(expression)).is_err(), "{expression}");
        }
        assert!(judge(None).is_err());
    }
}
