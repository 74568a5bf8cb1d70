//! Layers: their ARNs, a version as it is stored, and what a function keeps of one.

use crate::{AccountId, CodeRef, Scope};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A layer in a scope. Displays as its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerArn {
    pub scope: Scope,
    pub name: Arc<str>,
}

impl LayerArn {
    pub fn new(scope: &Scope, name: &str) -> Self {
        Self { scope: scope.clone(), name: name.into() }
    }

    pub fn version(&self, version: u64) -> LayerVersionArn {
        LayerVersionArn { layer: self.clone(), version }
    }

    /// Takes `arn:aws:lambda:REGION:ACCOUNT:layer:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", _, "lambda", region, account, "layer", name] = parts[..] else { return None };
        let scope = Scope { account: AccountId::new(account)?, region: region.into() };
        (!name.is_empty()).then(|| Self::new(&scope, name))
    }
}

impl fmt::Display for LayerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { account, region } = &self.scope;
        write!(f, "arn:aws:lambda:{region}:{account}:layer:{}", self.name)
    }
}

/// One version of a layer. Displays as its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerVersionArn {
    pub layer: LayerArn,
    pub version: u64,
}

impl LayerVersionArn {
    /// Takes the layer's ARN with `:VERSION` behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let (layer, version) = text.rsplit_once(':')?;
        let digits = version.bytes().all(|byte| byte.is_ascii_digit());
        let version = version.parse().ok().filter(|_| digits)?;
        Some(Self { layer: LayerArn::parse(layer)?, version })
    }
}

impl fmt::Display for LayerVersionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.layer, self.version)
    }
}

/// What a function keeps of a layer version that it uses: enough to run without the version, which
/// may be deleted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    /// Of the version.
    pub arn: String,
    pub code: CodeRef,
    /// Bytes.
    pub unzipped: u64,
}

/// A layer version as it is stored. The durable format is JSON with a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerVersion {
    /// Of the durable format; see [`LayerVersion::FORMAT`].
    pub format: u32,
    pub description: String,
    pub code: CodeRef,
    /// Bytes.
    pub unzipped: u64,
    /// Milliseconds since the epoch.
    pub created: i64,
    /// Absent when never given.
    pub runtimes: Option<Vec<String>>,
    pub architectures: Option<Vec<String>>,
    pub license: Option<String>,
}

impl LayerVersion {
    pub const FORMAT: u32 = 1;

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
            return Err(format!("layer version of a newer format ({})", versioned.format));
        }
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    pub fn reference(&self, arn: &LayerVersionArn) -> LayerRef {
        LayerRef { arn: arn.to_string(), code: self.code.clone(), unzipped: self.unzipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_as_they_are_written() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:layer:tools:12";
        let version = LayerVersionArn::parse(arn).unwrap();
        assert_eq!((&*version.layer.name, version.version), ("tools", 12));
        assert_eq!(version.to_string(), arn);
        for wrong in [
            "arn:aws:lambda:us-east-1:000000000000:layer:tools",
            "arn:aws:lambda:us-east-1:000000000000:layer:tools:+1",
            "arn:aws:lambda:us-east-1:0:layer:tools:1",
            "arn:aws:lambda:us-east-1:000000000000:function:tools:1",
            "arn:aws:lambda:::awslayer:tools",
            "",
        ] {
            assert_eq!(LayerVersionArn::parse(wrong), None, "{wrong}");
        }
    }

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const FORMAT_1: &str = r#"{"format":1,"description":"tools","code":{"digest":"00ff","size":7},"unzipped":9,"created":1795000000000,"runtimes":["python3.11"],"architectures":null,"license":"MIT"}"#;

    #[test]
    fn old_bytes_are_read_and_newer_ones_refused() {
        let version = LayerVersion::from_bytes(FORMAT_1.as_bytes()).unwrap();
        assert_eq!(version.runtimes, Some(vec!["python3.11".to_owned()]));
        assert_eq!((version.unzipped, version.architectures.as_ref()), (9, None));
        assert_eq!(LayerVersion::from_bytes(&version.to_bytes()).unwrap(), version);
        let newer = FORMAT_1.replace("\"format\":1", "\"format\":99");
        assert!(LayerVersion::from_bytes(newer.as_bytes()).unwrap_err().contains("newer"));
    }
}
