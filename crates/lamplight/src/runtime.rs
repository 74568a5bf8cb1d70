//! `lamplight runtime`: which runtimes this machine can run and with what, and how to get others.
//!
//! Works beside a running server, which notices. Nothing is fetched but what a command names.

use crate::args::{RuntimeCommand, RuntimePlace};
use crate::config;
use crate::data_dir::DataDir;
use crate::output::say;
use anyhow::{Context, Result, bail};
use lamplight_env::Env;
use lamplight_model::Runtime;
use lamplight_remote::Registries;
use lamplight_rpc::Images;
use lamplight_worker::runtimes::{Installed, Installer, Runtimes};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Below the data directory.
pub const INSTALLED: &str = "runtimes";

pub async fn run(command: RuntimeCommand) -> Result<ExitCode> {
    match command {
        RuntimeCommand::List { name: None, place } => list(&place).await,
        RuntimeCommand::List { name: Some(name), place } => explain(&name, &place).await,
        RuntimeCommand::Install { name, from, jars, place } => {
            let installer = installer(&place)?;
            match (from, jars) {
                (Some(image), _) => install_image(&installer, (&name, &image), &place).await?,
                (None, Some(jars)) => install_jars(&installer, &name, &jars)?,
                (None, None) => bail!("say --from REGISTRY/IMAGE, or for Java --jars DIRECTORY"),
            }
            say!(
                "New environments of {name} functions run on it; those that run already end in \
                 their own time."
            )?;
            // Whether it serves may be up to the machine, too.
            explain(&name, &place).await
        }
        RuntimeCommand::Remove { name, place } => {
            if !installer(&place)?.remove(&name)? {
                bail!("nothing is installed for {name}");
            }
            say!("{name} is removed. Its files go when the server starts next.")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Every name that functions can be made with.
async fn list(place: &RuntimePlace) -> Result<ExitCode> {
    let runtimes = discover(place).await?;
    let mut names = lamplight_wire::runtimes();
    names.sort_by_key(|name| sorting(name));
    for name in names {
        match runtimes.describe(name) {
            Ok(with) => say!("  {name:<16} yes  {with}")?,
            Err(missing) => say!("  {name:<16} no   {}", missing.in_short())?,
        }
    }
    say!("\n`lamplight runtime list NAME` says how to get one that is missing.")?;
    Ok(ExitCode::SUCCESS)
}

/// Fails when functions of the runtime could not run.
async fn explain(name: &str, place: &RuntimePlace) -> Result<ExitCode> {
    check(name)?;
    Ok(match discover(place).await?.describe(name) {
        Ok(with) => {
            say!("{name} runs with {with}")?;
            ExitCode::SUCCESS
        }
        Err(missing) => {
            say!("{missing}")?;
            ExitCode::FAILURE
        }
    })
}

async fn install_image(
    installer: &Installer,
    (name, image): (&str, &str),
    place: &RuntimePlace,
) -> Result<()> {
    check(name)?;
    let env = Env::system();
    let access = config::registries(place.config.as_deref())?.access()?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    say!("pulling {image}")?;
    let pulled = Registries::new(&env, access).pull(image, architecture).await?;
    let names = (image, pulled.resolved.as_str());
    let record = installer.image(name, names, &pulled.bundle).await?;
    say!("{name} is installed: {}", record.describe())?;
    Ok(())
}

fn install_jars(installer: &Installer, name: &str, jars: &Path) -> Result<()> {
    check(name)?;
    if !name.starts_with("java") {
        bail!("--jars is for Java alone; other runtimes are installed with --from REGISTRY/IMAGE");
    }
    let record = installer.jars(name, jars)?;
    say!("{name} has its client: {}", record.describe())?;
    Ok(())
}

fn check(name: &str) -> Result<()> {
    match lamplight_wire::runtimes().contains(&name) {
        true => Ok(()),
        false => bail!("{name:?} is no runtime that functions can be made with"),
    }
}

fn installer(place: &RuntimePlace) -> Result<Installer> {
    let dir = data_dir(place)?.create()?;
    Installer::open(&dir.join(INSTALLED)).context("runtimes cannot be installed")
}

fn data_dir(place: &RuntimePlace) -> Result<DataDir> {
    config::data_dir(place.data_dir.clone(), place.config.as_deref())
}

/// What a server with these settings would find.
pub async fn discover(place: &RuntimePlace) -> Result<Runtimes> {
    let explicit = config::runtimes(place.config.as_deref())?;
    let dir: PathBuf = data_dir(place)?.join(INSTALLED);
    Ok(Runtimes::discover(&explicit, None).await.with_installed(Installed::new(&dir)))
}

/// By language, then by number: 3.9 before 3.10.
fn sorting(name: &str) -> (String, Vec<u32>, String) {
    let version = Runtime::parse(name).map(|runtime| runtime.version).unwrap_or_default();
    let numbers = version.split('.').map_while(|part| part.parse().ok()).collect();
    (name.trim_end_matches(version.as_str()).to_owned(), numbers, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_listed_as_people_count() {
        let mut names = ["python3.10", "nodejs20.x", "python3.9", "java17.al2023", "java17"];
        names.sort_by_key(|name| sorting(name));
        assert_eq!(names, ["java17", "java17.al2023", "nodejs20.x", "python3.9", "python3.10"]);
    }
}
