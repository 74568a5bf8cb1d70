//! One immutable state of a function version: all that a worker needs to run it.

use crate::{FunctionArn, ImageOverrides, Qualifier};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What runs. Two targets with equal [`Target::key`]s are interchangeable for the environments
/// that serve them; any change of code or settings makes another key.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub function: FunctionArn,
    /// `$LATEST` or a version's number.
    pub version: Qualifier,
    pub generation: u64,
    pub runtime: String,
    pub handler: String,
    pub role: String,
    pub timeout: Duration,
    pub memory_mb: u32,
    pub tmp_mb: u32,
    pub environment: BTreeMap<String, String>,
    /// Lower-case hex SHA-256 of the zip file.
    pub code: String,
    /// What it says of the start of its image; `None` where its code is a zip file.
    pub image: Option<ImageOverrides>,
    /// The same of its layers, the first at the bottom.
    pub layers: Vec<String>,
    pub log_group: String,
    /// `Text` or `JSON`.
    pub log_format: String,
    /// Both levels are present with `JSON` only.
    pub application_log_level: Option<String>,
    pub system_log_level: Option<String>,
    /// Each call is for a tenant, and an environment serves one tenant alone.
    pub tenant_isolation: bool,
    /// Of a durable function, whose calls are executions.
    pub durable: Option<DurableSettings>,
    /// Calls that an environment takes at once; `None` where it takes one, and is frozen between.
    pub max_concurrency: Option<u32>,
    /// AWS: a published version of a function with SnapStart.
    pub snap_start: bool,
}

/// AWS: the `DurableConfig` of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableSettings {
    /// How long an execution may run, seconds.
    pub timeout: u32,
    /// How long it is kept after its end.
    pub retention_days: u32,
}

impl Target {
    /// All zip files that it runs.
    pub fn packages(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.code).chain(&self.layers)
    }

    /// Which environments may serve this target.
    pub fn key(&self) -> Arc<str> {
        format!("{}:{}#{}", self.function, self.version, self.generation).into()
    }
}
