//! Configuration: the file, then the command line over it. The only reader of either.

mod file;
mod registry;

pub use registry::{Registries, registries};

use crate::args::{AuthMode, Isolation, ServeArgs};
use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use lamplight_control::planner::Keep;
use lamplight_model::{AccountId, limits};
use lamplight_remote::S3;
use lamplight_sandbox::{Egress, Mode, Prefix, Rates};
use lamplight_wire::sigv4::{Credentials, Secret};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that can be set, with its value.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: DataDir,
    pub listen: SocketAddr,
    pub mode: Mode,
    pub open: bool,
    /// Whether IAM policies are asked.
    pub enforce: bool,
    pub account: AccountId,
    pub region: String,
    pub egress: Egress,
    pub keep: Keep,
    pub idle_most: Option<usize>,
    /// Of all environments together, in bytes.
    pub memory_most: Option<u64>,
    pub concurrent_executions: u32,
    /// What functions are told; one of their region where absent.
    pub zone: Option<String>,
    pub events: lamplight_events::Options,
    pub runtimes: BTreeMap<String, PathBuf>,
    pub s3: Option<S3>,
    /// Bytes in a second, beyond the first part of a streamed response.
    pub stream_rate: Option<NonZeroU64>,
    /// What is to fail on purpose: [`lamplight_env::faults`].
    pub faults: Option<String>,
    pub registries: Registries,
}

pub fn load(args: &ServeArgs) -> Result<Config> {
    let file = read(args.config.as_deref())?;
    let listen = args.listen.clone().or(file.listen).unwrap_or_else(|| "127.0.0.1:4566".into());
    let listen = address(&listen)?;
    let isolation = args.isolation.or(file.isolation).unwrap_or(Isolation::Namespaces);
    let auth = args.auth.or(file.auth).unwrap_or(AuthMode::Sigv4);
    if !listen.ip().is_loopback() {
        if isolation == Isolation::Process {
            bail!(
                "isolation \"process\" runs functions as this user, so it listens on loopback only, not on {listen}. Use isolation \"namespaces\", or listen on 127.0.0.1"
            );
        }
        if auth == AuthMode::None {
            bail!(
                "auth \"none\" lets everybody who can connect run code, so it listens on loopback only, not on {listen}. Use auth \"sigv4\", or listen on 127.0.0.1"
            );
        }
    }
    let account = file.account.unwrap_or_else(|| "000000000000".into());
    let account = AccountId::new(&account).context("account: give twelve digits")?;
    let region = file.region.unwrap_or_else(|| "us-east-1".into());
    Ok(Config {
        s3: s3(file.s3, &region)?,
        data_dir: DataDir::new(args.data_dir.clone().or(file.data_dir))?,
        listen,
        mode: match isolation {
            Isolation::Namespaces => Mode::Namespaces,
            Isolation::Process => Mode::Process,
        },
        open: auth == AuthMode::None,
        enforce: file.iam.mode != Some(file::IamMode::Off),
        account,
        region,
        egress: egress(file.network)?,
        idle_most: file.functions.idle_environments,
        memory_most: file
            .functions
            .memory_megabytes
            .map(|megabytes| megabytes.saturating_mul(1 << 20)),
        keep: match file.functions.idle_seconds {
            Some(seconds) => Keep::fixed(Duration::from_secs(seconds.max(1))),
            None => Keep::default(),
        },
        concurrent_executions: file
            .functions
            .concurrent_executions
            .unwrap_or(limits::CONCURRENT_EXECUTIONS),
        zone: zone(file.functions.availability_zone)?,
        events: events(&file.events)?,
        runtimes: file.runtimes,
        stream_rate: stream_rate(file.functions.stream_megabytes_per_second),
        faults: args.faults.clone(),
        registries: Registries(file.registry),
    })
}

/// The runtimes that a configuration file names.
pub fn runtimes(config: Option<&Path>) -> Result<BTreeMap<String, PathBuf>> {
    Ok(read(config)?.runtimes)
}

/// The data directory that was given, or that a configuration file names.
pub fn data_dir(given: Option<PathBuf>, config: Option<&Path>) -> Result<DataDir> {
    DataDir::new(given.or(read(config)?.data_dir))
}

fn read(path: Option<&Path>) -> Result<file::File> {
    let Some(path) = path else { return Ok(file::File::default()) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the configuration file {} cannot be read", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// Names are not looked up: a server's address should not depend on a resolver.
fn address(text: &str) -> Result<SocketAddr> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.to_owned(),
    };
    numeric.parse().with_context(|| {
        format!("\"{text}\" is no address to listen on: give HOST:PORT with a numeric host, for example 127.0.0.1:4566")
    })
}

fn events(events: &file::Events) -> Result<lamplight_events::Options> {
    let mut options = lamplight_events::Options::default();
    for (retry, seconds) in options.retries.iter_mut().zip(events.retry_seconds.iter().flatten()) {
        *retry = Duration::try_from_secs_f64(*seconds)
            .with_context(|| format!("events.retry_seconds: {seconds} is no time to wait"))?;
    }
    options.kept = events
        .record_hours
        .map_or(options.kept, |hours| Duration::from_secs(hours.saturating_mul(3600)));
    options.records = events.records.unwrap_or(options.records);
    options.queued = events.queued.unwrap_or(options.queued);
    Ok(options)
}

fn egress(network: file::Network) -> Result<Egress> {
    if network.egress == Some(file::EgressMode::Denied) {
        return Ok(Egress::Denied);
    }
    let resolvers = match network.resolvers {
        Some(resolvers) => resolvers,
        None => host_resolvers(),
    };
    let also_blocked = network
        .block
        .iter()
        .map(|text| {
            prefix(text).with_context(|| {
                format!("network.block: \"{text}\" is no ADDRESS/BITS such as 203.0.113.0/24")
            })
        })
        .collect::<Result<_>>()?;
    Ok(Egress::Internet { resolvers, also_blocked, rates: Rates::default() })
}

fn zone(zone: Option<String>) -> Result<Option<String>> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match zone {
        Some(zone) if zone.is_empty() || zone.len() > 64 || !zone.chars().all(plain) => {
            bail!("functions.availability_zone: \"{zone}\" is no name such as use1-az1")
        }
        zone => Ok(zone),
    }
}

/// 0 is no limit, as where nothing is said.
fn stream_rate(megabytes: Option<u32>) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(megabytes?) * 1024 * 1024)
}

fn s3(s3: file::S3, region: &str) -> Result<Option<S3>> {
    let Some(endpoint) = s3.endpoint else {
        match (s3.access_key, s3.secret, s3.region) {
            (None, None, None) => return Ok(None),
            _ => bail!("s3: give the endpoint that the rest is for"),
        }
    };
    let uri: http::Uri = endpoint.parse().context("s3.endpoint")?;
    if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        bail!("s3.endpoint: \"{endpoint}\" is no address such as https://s3.example.com");
    }
    let credentials = match (s3.access_key, s3.secret) {
        (Some(access_key), Some(secret_key)) => {
            Some(Credentials { access_key, secret: Secret { secret_key, session_token: None } })
        }
        (None, None) => None,
        _ => bail!("s3: give both access_key and secret, or neither for public buckets"),
    };
    let region = s3.region.unwrap_or_else(|| region.to_owned());
    Ok(Some(S3 { endpoint: uri, region, credentials }))
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some(Prefix { address, length })
}

/// The resolvers that this machine uses. One on loopback is no use to a sandbox; the stub of
/// systemd-resolved names the real ones beside it.
fn host_resolvers() -> Vec<IpAddr> {
    for path in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found: Vec<IpAddr> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok())
            .filter(|address: &IpAddr| !address.is_loopback() && address.is_ipv4())
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(file: &str, change: impl FnOnce(&mut ServeArgs)) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lamplight.toml");
        std::fs::write(&path, file).unwrap();
        let mut args =
            ServeArgs { config: Some(path), data_dir: Some("/data".into()), ..Default::default() };
        change(&mut args);
        load(&args)
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let config = load_with("listen = \"127.0.0.1:1\"\nregion = \"eu-west-1\"", |args| {
            args.listen = Some("localhost:2".into());
        })
        .unwrap();
        assert_eq!(config.listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(config.region, "eu-west-1");
    }

    #[test]
    fn what_is_dangerous_stays_on_loopback() {
        let refused = |file: &str| load_with(file, |_| {}).unwrap_err().to_string();
        let open = "listen = \"0.0.0.0:80\"\nauth = \"none\"";
        assert!(refused(open).contains("loopback only"), "{}", refused(open));
        let process = "listen = \"0.0.0.0:80\"\nisolation = \"process\"";
        assert!(refused(process).contains("loopback only"));
        assert!(load_with("listen = \"0.0.0.0:80\"", |_| {}).is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        let error = load_with("lisen = \"127.0.0.1:1\"", |_| {}).unwrap_err();
        assert!(format!("{error:#}").contains("lisen"), "{error:#}");
        let error = load_with("listen = \"example.com:80\"", |_| {}).unwrap_err();
        assert!(error.to_string().contains("numeric host"));
        let error = load_with("[functions]\navailability_zone = \"A\"", |_| {}).unwrap_err();
        assert!(error.to_string().contains("use1-az1"));
        let error = load_with("[network]\nblock = [\"nonsense\"]", |_| {}).unwrap_err();
        assert!(error.to_string().contains("nonsense"));
    }

    #[test]
    fn the_example_in_the_docs_is_valid() {
        let docs = include_str!("../../../../docs/configuration.md");
        let example = docs.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        load_with(example.expect("docs/configuration.md has an example"), |_| {}).unwrap();
    }
}
