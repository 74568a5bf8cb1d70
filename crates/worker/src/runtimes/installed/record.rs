//! The durable word on an installed runtime.

use lamplight_model::ImageConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of this file; see [`Record::FORMAT`].
    format: u32,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A root file system to run on instead of the machine's.
    Image(Image),
    /// The client for Java, to be run by a JDK of the machine.
    Jars(Jars),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name that it was pulled by.
    pub name: String,
    /// The name with the digest of what was pulled.
    pub resolved: String,
    /// SHA-256 of the image as one file.
    pub root: String,
    pub config: ImageConfig,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jars {
    /// Below the directory of all jars.
    pub directory: String,
    /// In the order of the class path.
    pub files: Vec<String>,
    /// SHA-256 of each, for whoever wants to know where they are from.
    pub digests: BTreeMap<String, String>,
}

impl Record {
    pub const FORMAT: u32 = 1;

    pub fn new(what: What) -> Self {
        Self { format: Self::FORMAT, what }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain data with text keys serialises")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        // A newer one may say things in other ways, so its number comes first.
        let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match head.format > Self::FORMAT {
            true => Err(format!("written by a newer version (format {})", head.format)),
            false => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        match &self.what {
            What::Image(image) => image.resolved.clone(),
            What::Jars(jars) => jars.files.join(", "),
        }
    }
}
