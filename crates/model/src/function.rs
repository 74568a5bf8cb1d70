//! A function as it is stored: settings, code, state. The durable format is JSON with a version.

use crate::{Language, LayerRef, Qualifier, Runtime};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The settings that the platform itself reads, and the rest as it came, to be echoed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionSettings {
    pub role: String,
    pub package_type: PackageType,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub description: String,
    /// Seconds.
    pub timeout: u32,
    pub memory_mb: u32,
    pub tmp_mb: u32,
    pub architectures: Vec<String>,
    /// AWS: absent when never given, `{}` when given empty; the two read back differently.
    pub environment: Option<BTreeMap<String, String>>,
    /// In the order in which they are laid over each other, the first at the bottom.
    pub layers: Vec<LayerRef>,
    /// Members of FunctionConfiguration that are only validated, stored and echoed, by model name:
    /// VpcConfig, DeadLetterConfig, TracingConfig, LoggingConfig, SnapStart, ImageConfig, ….
    pub echoed: Map<String, Value>,
}

impl FunctionSettings {
    /// `TenancyConfig`, which has one mode.
    pub fn isolates_tenants(&self) -> bool {
        self.echoed
            .get("TenancyConfig")
            .is_some_and(|config| config["TenantIsolationMode"] == "PER_TENANT")
    }
}

impl FunctionSettings {
    pub fn has_capacity_provider(&self) -> bool {
        self.echoed.contains_key("CapacityProviderConfig")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackageType {
    Zip,
    Image,
}

/// The zip file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRef {
    /// Lower-case hex SHA-256 of the zip file: its name in the blob store.
    pub digest: String,
    /// Of the zip file, bytes.
    pub size: u64,
    /// Where it came from, where the caller asked to have that kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What an image takes on the disk beside its file, bytes; 0 for zip files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpacked: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where code came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    Object(S3Object),
    Image {
        /// As it was asked for.
        name: String,
        /// With the digest of what was pulled.
        resolved: String,
    },
}

/// An object of S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Object {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

impl CodeRef {
    /// What counts against the code storage of the account. AWS: images do not, being kept
    /// elsewhere; here they are on the same disk, and small files may hold large images.
    pub fn charged(&self) -> u64 {
        self.size.saturating_add(self.unpacked)
    }

    /// AWS: `CodeSize`; 0 for images.
    pub fn shown_size(&self) -> u64 {
        match self.origin {
            Some(Origin::Image { .. }) => 0,
            _ => self.size,
        }
    }

    /// AWS: `CodeSha256`, the digest in base64; of an image its own digest in hexadecimal.
    pub fn code_sha256(&self) -> String {
        if let Some(Origin::Image { resolved, .. }) = &self.origin {
            return resolved.rsplit(':').next().unwrap_or_default().to_owned();
        }
        let digit = |at: usize| self.digest.get(2 * at..2 * at + 2);
        let bytes = (0..self.digest.len() / 2)
            .filter_map(|at| u8::from_str_radix(digit(at)?, 16).ok())
            .collect::<Vec<u8>>();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}

/// AWS: `State` of FunctionConfiguration, as far as functions here reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Pending,
    Active,
    Failed { code: String, reason: String },
}

/// AWS: `LastUpdateStatus`; absent on a function that is still being created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastUpdate {
    Never,
    InProgress,
    Successful,
    Failed { code: String, reason: String },
}

/// What a record still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    Creation,
    Update,
}

/// What a published version has and `$LATEST` has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// From 1 on; never used again, not even after the version was deleted. The one of
    /// `$LATEST.PUBLISHED`, which is published again and again, is above all others.
    pub number: u64,
    /// Of `$LATEST` when it was published: the version itself may have got another one.
    pub latest_description: String,
    /// Provisioned concurrency of the version itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<Provisioned>,
}

/// Provisioned concurrency as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// Environments.
    pub requested: u32,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
}

/// `$LATEST` of a function, or one published version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// Of the durable format; see [`FunctionRecord::FORMAT`].
    pub format: u32,
    pub name: String,
    pub settings: FunctionSettings,
    pub code: CodeRef,
    pub state: State,
    pub last_update: LastUpdate,
    /// Changes with every change of the record.
    pub revision_id: String,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
    /// Counts what environments depend on: one of another generation is never used again.
    pub generation: u64,
    /// Of the function; a published version has none of its own.
    pub tags: BTreeMap<String, String>,
    /// None for `$LATEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// The highest number that a version of this function has or had. Of `$LATEST`.
    #[serde(default)]
    pub last_version: u64,
    /// Reserved concurrency of the function. Of `$LATEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<u32>,
}

impl FunctionRecord {
    /// 2: versions, reserved concurrency and layers.
    pub const FORMAT: u32 = 2;

    /// `$LATEST`, `$LATEST.PUBLISHED` or the version's number.
    pub fn version(&self) -> Qualifier {
        match &self.published {
            Some(published) => Qualifier::of_number(published.number),
            None => Qualifier::Latest,
        }
    }

    /// Whether this version runs what `latest` would run, with the same settings.
    pub fn is_published_state_of(&self, latest: &FunctionRecord) -> bool {
        let Some(published) = &self.published else { return false };
        let described = FunctionSettings {
            description: published.latest_description.clone(),
            ..self.settings.clone()
        };
        self.code == latest.code && described == latest.settings
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with text keys serialises")
    }

    /// Reads any format up to the current one. The message names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if versioned.format > Self::FORMAT {
            return Err(format!("function record of a newer format ({})", versioned.format));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        // What is written next is of the current format.
        Ok(Self { format: Self::FORMAT, ..record })
    }

    /// All zip files that it runs: its code, then its layers from the bottom to the top.
    pub fn packages(&self) -> impl Iterator<Item = &CodeRef> {
        std::iter::once(&self.code).chain(self.settings.layers.iter().map(|layer| &layer.code))
    }

    /// AWS: whether it is a function on Managed Instances.
    pub fn is_managed(&self) -> bool {
        self.settings.has_capacity_provider()
    }

    /// What the reconciler has to finish.
    pub fn pending(&self) -> Option<Pending> {
        match (&self.state, &self.last_update) {
            (State::Pending, _) => Some(Pending::Creation),
            (_, LastUpdate::InProgress) => Some(Pending::Update),
            _ => None,
        }
    }

    /// Calls that each of its environments takes at once; `None` where it takes one.
    pub fn max_concurrency(&self) -> Option<u32> {
        let config = self.settings.echoed.get("CapacityProviderConfig")?;
        let config = config.get("LambdaManagedInstancesCapacityProviderConfig")?;
        let given = config.get("PerExecutionEnvironmentMaxConcurrency").and_then(Value::as_u64);
        if let Some(given) = given {
            return Some(u32::try_from(given).unwrap_or(u32::MAX).max(1));
        }
        // AWS: so many for each processor, of which there is one for two GiB where nothing is said.
        let per_processor = config.get("ExecutionEnvironmentMemoryGiBPerVCpu");
        let gib = per_processor.and_then(Value::as_f64).unwrap_or(2.0).max(0.25);
        let processors = (f64::from(self.settings.memory_mb) / 1024.0 / gib).max(1.0) as u32;
        let runtime = self.settings.runtime.as_deref().and_then(Runtime::parse);
        let each = match runtime.map(|runtime| runtime.language) {
            Some(Language::Python) => 16,
            Some(Language::Node) => 64,
            Some(Language::Java | Language::Dotnet) => 32,
            _ => 8,
        };
        Some(processors.saturating_mul(each))
    }

    /// AWS: whether its environments start as from a snapshot, which `$LATEST` never does.
    pub fn snap_starts(&self) -> bool {
        let applies = self.echoed_text("SnapStart", "ApplyOn") == Some("PublishedVersions");
        applies && matches!(self.version(), Qualifier::Version(_))
    }

    /// Whether each of its environments serves one tenant alone.
    pub fn isolates_tenants(&self) -> bool {
        self.settings.isolates_tenants()
    }

    /// A member of the echoed settings' object, e.g. `("LoggingConfig", "LogGroup")`.
    pub fn echoed_text(&self, setting: &str, member: &str) -> Option<&str> {
        self.settings.echoed.get(setting)?.get(member)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const FORMAT_1: &str = r#"{"format":1,"name":"thumbs","settings":{"role":"arn:aws:iam::000000000000:role/any","package_type":"Zip","runtime":"python3.11","handler":"app.lambda_handler","description":"","timeout":3,"memory_mb":128,"tmp_mb":512,"architectures":["x86_64"],"environment":null,"layers":[],"echoed":{"TracingConfig":{"Mode":"PassThrough"}}},"code":{"digest":"00ff","size":7},"state":"Active","last_update":{"Failed":{"code":"InvalidZipFileException","reason":"broken"}},"revision_id":"r","last_modified":1795000000000,"generation":4,"tags":{}}"#;

    const FORMAT_2: &str = r#"{"format":2,"name":"thumbs","settings":{"role":"arn:aws:iam::000000000000:role/any","package_type":"Zip","runtime":"python3.11","handler":"app.lambda_handler","description":"first","timeout":3,"memory_mb":128,"tmp_mb":512,"architectures":["x86_64"],"environment":null,"layers":[],"echoed":{}},"code":{"digest":"00ff","size":7},"state":"Pending","last_update":"Never","revision_id":"r","last_modified":1795000000000,"generation":4,"tags":{},"published":{"number":3,"latest_description":"","provisioned":{"requested":2,"last_modified":1795000000001}},"last_version":0}"#;
    const FORMAT_2_LATEST: &str = r#"{"format":2,"name":"thumbs","settings":{"role":"arn:aws:iam::000000000000:role/any","package_type":"Zip","runtime":"python3.11","handler":"app.lambda_handler","description":"","timeout":3,"memory_mb":128,"tmp_mb":512,"architectures":["x86_64"],"environment":null,"layers":[],"echoed":{}},"code":{"digest":"00ff","size":7},"state":"Active","last_update":"Successful","revision_id":"r","last_modified":1795000000000,"generation":4,"tags":{},"last_version":3,"reserved":0}"#;

    #[test]
    fn versions_of_old_bytes_are_read() {
        let version = FunctionRecord::from_bytes(FORMAT_2.as_bytes()).unwrap();
        assert_eq!(version.version(), Qualifier::Version(3));
        let published = version.published.clone().unwrap();
        assert_eq!(published.provisioned.map(|p| p.requested), Some(2));
        let latest = FunctionRecord::from_bytes(FORMAT_2_LATEST.as_bytes()).unwrap();
        assert_eq!((latest.version(), latest.last_version), (Qualifier::Latest, 3));
        assert_eq!(latest.reserved, Some(0));
        assert!(version.is_published_state_of(&latest), "only the description differs");
        let mut changed = latest.clone();
        changed.settings.timeout = 4;
        assert!(!version.is_published_state_of(&changed));
        assert!(!latest.is_published_state_of(&latest));
        assert_eq!(FunctionRecord::from_bytes(&version.to_bytes()).unwrap(), version);
        assert_eq!(version.code.code_sha256(), "AP8=");
    }

    #[test]
    fn what_was_published_last_is_kept_under_the_highest_number() {
        let number = format!("\"number\":{}", u64::MAX);
        let bytes = FORMAT_2.replace("\"number\":3", &number);
        let record = FunctionRecord::from_bytes(bytes.as_bytes()).unwrap();
        assert_eq!(record.version(), Qualifier::LatestPublished);
        assert_eq!(FunctionRecord::from_bytes(&record.to_bytes()).unwrap(), record);
    }

    #[test]
    fn old_bytes_are_read() {
        let record = FunctionRecord::from_bytes(FORMAT_1.as_bytes()).unwrap();
        assert_eq!(record.name, "thumbs");
        assert_eq!(record.state, State::Active);
        assert_eq!(record.echoed_text("TracingConfig", "Mode"), Some("PassThrough"));
        assert_eq!(record.pending(), None);
        assert_eq!(FunctionRecord::from_bytes(&record.to_bytes()).unwrap(), record);
    }

    #[test]
    fn layers_are_read_as_they_are_written() {
        let layer = r#"[{"arn":"arn:aws:lambda:r:000000000000:layer:l:1","code":{"digest":"01","size":2,"origin":{"Object":{"bucket":"b","key":"k","version":null}}},"unzipped":3}]"#;
        let bytes = FORMAT_2.replace("\"layers\":[]", &format!("\"layers\":{layer}"));
        let record = FunctionRecord::from_bytes(bytes.as_bytes()).unwrap();
        let packages: Vec<&str> = record.packages().map(|code| code.digest.as_str()).collect();
        assert_eq!(packages, ["00ff", "01"]);
        assert_eq!(String::from_utf8(record.to_bytes()).unwrap(), bytes);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let newer = FORMAT_1.replace("\"format\":1", "\"format\":99");
        assert!(FunctionRecord::from_bytes(newer.as_bytes()).unwrap_err().contains("newer"));
    }
}
