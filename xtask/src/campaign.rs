//! Starts a campaign of tests/campaigns: `cargo xtask campaign c7 [--size pr|night] [--seed N]
//! [--sabotage BUG] [--strict] [--markdown]`, or `all` for one after the other.
//!
//! The campaigns themselves are Python, on the harness of the scenarios. Here is what has to be built
//! for one: with `--sabotage`, a server that can fail on purpose, kept where nobody takes it for the
//! real one.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The campaigns and their scripts.
const CAMPAIGNS: [(&str, &str); 11] = [
    ("c1", "c1_kills.py"),
    ("c2", "c2_power.py"),
    ("c3", "c3_disk.py"),
    ("c5", "c5_oom.py"),
    ("c6", "c6_neighbours.py"),
    ("c7", "c7_churn.py"),
    ("c8", "c8_http.py"),
    ("c9", "c9_packages.py"),
    ("c10", "c10_escape.py"),
    ("c11", "c11_overload.py"),
    ("c16", "c16_logs.py"),
];

/// Those that need no server: crashes, late stores (C14) and jumps of the clock (C4) in simulated
/// time, from seeds. Each seed has all of it.
const SIMULATED: [&str; 2] = ["c4", "c14"];

pub fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!(
            "usage: campaign NAME|all [--size tiny|pr|night] [--seed N] [--sabotage BUG] [--strict]"
        )
    };
    let chosen: Vec<_> =
        CAMPAIGNS.iter().filter(|(known, _)| name == "all" || name == known).collect();
    if chosen.is_empty() && !SIMULATED.contains(&name.as_str()) {
        let scripts = CAMPAIGNS.iter().map(|(known, _)| *known);
        let known: Vec<_> = scripts.chain(SIMULATED).collect();
        bail!("there is no campaign {name:?}; there are: {}, all", known.join(", "));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    if SIMULATED.contains(&name.as_str()) {
        return simulate(&root, rest);
    }
    let sabotaged = rest.iter().any(|argument| argument.starts_with("--sabotage"));
    let server = if sabotaged { Some(with_faults(&root)?) } else { None };
    let mut red = Vec::new();
    for (name, script) in chosen {
        let mut command = Command::new(root.join(".venv/bin/python"));
        command
            .arg(root.join("tests/campaigns").join(script))
            .args(rest)
            .env("PYTHONPATH", root.join("tests/e2e"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&root);
        if let Some(server) = &server {
            command.env("LAMPLIGHT_BIN", server);
        }
        let status = command.status().context("starting Python: tests/setup.sh makes .venv")?;
        if !status.success() {
            red.push(*name);
        }
    }
    if !red.is_empty() {
        bail!("red: {}", red.join(", "));
    }
    Ok(())
}

/// As many seeds as the size says, from `--seed` on. That planted bugs are found is a test of the
/// simulation itself.
fn simulate(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut first, mut count) = (0, 200);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--seed" => first = value.parse().context("--seed")?,
            [name, value] if name == "--size" => {
                count = match value.as_str() {
                    "tiny" => 20,
                    "pr" => 200,
                    "night" => 20_000,
                    other => bail!("there is no size {other:?}"),
                }
            }
            _ => bail!("{pair:?}: only --size and --seed"),
        }
    }
    let seeds = format!("{first}..{}", first + count);
    let status = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--package", "lamplight-events", "simulation"])
        .args(["--", "--nocapture"])
        .env("LAMPLIGHT_SEEDS", seeds)
        .current_dir(root)
        .status()
        .context("running cargo test")?;
    if !status.success() {
        bail!("red");
    }
    Ok(())
}

/// Builds a server with the feature `faults` and moves it out of the way of the usual builds.
fn with_faults(root: &Path) -> Result<PathBuf> {
    if let Some(built) = std::env::var_os("LAMPLIGHT_BIN_WITH_FAULTS") {
        return Ok(built.into());
    }
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "lamplight", "--features", "faults"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running cargo build")?;
    if !output.status.success() {
        bail!("the server with faults does not build");
    }
    let built = executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo names no executable")?;
    let kept = root.join("target/faults/lamplight");
    std::fs::create_dir_all(root.join("target/faults"))?;
    // The name in the target directory is a link that cargo makes again; ours stays.
    std::fs::rename(&built, &kept).or_else(|_| std::fs::copy(&built, &kept).map(drop))?;
    Ok(kept)
}

/// The program among cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter(|message| message["target"]["name"] == "lamplight");
    programs.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let text = "{\"target\":{\"name\":\"lamplight_env\"},\"executable\":null}\nnoise\n\
                    {\"target\":{\"name\":\"lamplight\"},\"executable\":\"/x/lamplight\"}";
        assert_eq!(executable(text), Some(PathBuf::from("/x/lamplight")));
        assert_eq!(executable("noise"), None);
    }

    #[test]
    fn every_campaign_has_its_script() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/campaigns");
        for (_, script) in CAMPAIGNS {
            assert!(scripts.join(script).exists(), "{script}");
        }
    }

    #[test]
    fn an_unknown_campaign_is_named() {
        let error = run(&["c99".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("c99") && error.contains("c16"), "{error}");
    }
}
