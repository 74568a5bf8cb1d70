//! The configuration file as it is written. An unknown key is a mistake and is named.

use crate::args::{AuthMode, Isolation};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub data_dir: Option<PathBuf>,
    pub listen: Option<String>,
    pub isolation: Option<Isolation>,
    pub auth: Option<AuthMode>,
    /// Twelve digits; only read at the first start.
    pub account: Option<String>,
    pub region: Option<String>,
    pub functions: Functions,
    pub events: Events,
    pub iam: Iam,
    pub network: Network,
    pub s3: S3,
    /// By the registry's name, as images have it.
    pub registry: BTreeMap<String, Registry>,
    /// Interpreters by runtime identifier, for those that are not found by themselves.
    pub runtimes: BTreeMap<String, PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Functions {
    pub idle_seconds: Option<u64>,
    pub idle_environments: Option<usize>,
    pub memory_megabytes: Option<u64>,
    pub concurrent_executions: Option<u32>,
    pub stream_megabytes_per_second: Option<u32>,
    pub availability_zone: Option<String>,
}

/// Calls that nobody waits for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Before the second and the third attempt.
    pub retry_seconds: Option<[f64; 2]>,
    pub record_hours: Option<u64>,
    pub records: Option<u64>,
    pub queued: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Iam {
    pub mode: Option<IamMode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IamMode {
    /// Users and roles may do what policies allow.
    Enforce,
    /// Whoever has a key may do everything.
    Off,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    pub egress: Option<EgressMode>,
    /// DNS servers for functions; those of this machine where absent.
    pub resolvers: Option<Vec<IpAddr>>,
    /// Further networks that functions must not reach, as ADDRESS/BITS.
    pub block: Vec<String>,
}

/// Where code comes from that functions name by bucket and key.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key: Option<String>,
    pub secret: Option<String>,
}

/// How this server gets into a registry of container images.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    pub username: Option<String>,
    /// The password is what is in this file, without the end of its line.
    pub password_file: Option<PathBuf>,
    /// Where it may send this server for tokens, beside itself and public places.
    pub token_server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EgressMode {
    Internet,
    Denied,
}
