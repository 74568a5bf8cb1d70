//! `lamplight doctor`: what this machine can do, in words, and how to get what is missing.

use crate::args::RuntimePlace;
use crate::output::say;
use crate::runtime;
use anyhow::Result;
use lamplight_sandbox::{Check, Mode, Severity};
use std::process::ExitCode;

/// Fails when functions could not run in the default mode.
pub async fn run(place: &RuntimePlace) -> Result<ExitCode> {
    let checks = lamplight_sandbox::preflight();
    let modes = lamplight_sandbox::modes(&checks);
    say!("Isolation")?;
    for check in &checks {
        say!("{}", line(check))?;
    }
    for (mode, name) in [(Mode::Namespaces, "namespaces"), (Mode::Process, "process")] {
        let verdict = if modes.contains(&mode) { "can" } else { "cannot" };
        say!("  This machine {verdict} run isolation \"{name}\".")?;
    }
    say!("\nRuntimes")?;
    let found = runtime::discover(place).await?;
    let listing = found.listing();
    for listed in &listing {
        match &listed.problem {
            None => {
                let (path, version) = (listed.path.display(), &listed.version);
                say!("  {:<14} {version:<9} {path}", listed.identifier)?;
            }
            Some(problem) => say!("  {:<14} cannot be used: {problem}", listed.identifier)?,
        }
    }
    for (identifier, installed) in found.installed() {
        match installed {
            Ok(record) => say!("  {identifier:<14} installed {}", record.describe())?,
            Err(problem) => say!("  {identifier:<14} cannot be used: {problem}")?,
        }
    }
    say!("  {:<14} {:<9} functions bring their own bootstrap", "provided.*", "")?;
    for language in ["python3.13", "nodejs22.x"] {
        let prefix = language.trim_end_matches(|c: char| c.is_ascii_digit() || ".x".contains(c));
        if !listing.iter().any(|listed| listed.identifier.starts_with(prefix))
            && let Err(missing) = found.find(language)
        {
            say!("  {missing}")?;
        }
    }
    say!("  `lamplight runtime list` says it of every runtime.")?;
    let usable = modes.contains(&Mode::Namespaces);
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(check: &Check) -> String {
    let mark = match (check.ok, check.severity) {
        (true, _) => "ok     ",
        (false, Severity::Required) => "missing",
        (false, Severity::Advised) => "limited",
    };
    let mut line = format!("  {mark}  {:<22} {}", check.name, check.finding);
    if !check.ok && !check.remedy.is_empty() {
        line.push_str(&format!("\n           {:<22} {}", "", check.remedy));
    }
    line
}
