//! A container image as one file: a head, then its layers as the registry has them.
//!
//! The file begins with [`MAGIC`] and one line of JSON, the [`BundleHead`]; the layers follow in
//! order, from the bottom up. The same image always makes the same file.

use serde::{Deserialize, Serialize};

/// No zip file begins like this.
pub const MAGIC: &[u8] = b"lamplight image\n";
/// The line of JSON, bytes.
pub const HEAD_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleHead {
    /// Of the durable format; see [`BundleHead::FORMAT`].
    pub format: u32,
    pub config: ImageConfig,
    pub layers: Vec<BundleLayer>,
}

/// A tar file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleLayer {
    /// Bytes in the file.
    pub size: u64,
    pub gzip: bool,
}

/// What an image says of its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    pub entry_point: Vec<String>,
    pub command: Vec<String>,
    /// As `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Empty for `/`.
    pub working_directory: String,
}

/// What a function says of the start of its image; what is absent is the image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageOverrides {
    pub entry_point: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub working_directory: Option<String>,
}

impl ImageConfig {
    /// The command, and the directory to run it in.
    pub fn start(&self, overrides: &ImageOverrides) -> (Vec<String>, String) {
        let entry_point = overrides.entry_point.as_ref().unwrap_or(&self.entry_point);
        let command = overrides.command.as_ref().unwrap_or(&self.command);
        let directory = overrides.working_directory.as_ref().unwrap_or(&self.working_directory);
        let directory = if directory.is_empty() { "/" } else { directory };
        (entry_point.iter().chain(command).cloned().collect(), directory.to_owned())
    }
}

impl BundleHead {
    pub const FORMAT: u32 = 1;

    /// Everything before the layers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = serde_json::to_vec(self).expect("plain data with text keys serialises");
        [MAGIC, &head, b"\n"].concat()
    }

    /// Reads the line of JSON, without magic and end of line.
    pub fn from_line(line: &[u8]) -> Result<Self, String> {
        let head: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        match head.format > Self::FORMAT {
            true => Err(format!("image of a newer format ({})", head.format)),
            false => Ok(head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a released version wrote. Never edit them: add new ones.
    const FORMAT_1: &str = r#"{"format":1,"config":{"entry_point":["/run"],"command":["app.handler"],"environment":["A=1"],"working_directory":"/srv"},"layers":[{"size":7,"gzip":true}]}"#;

    #[test]
    fn old_bytes_are_read_and_newer_ones_refused() {
        let head = BundleHead::from_line(FORMAT_1.as_bytes()).unwrap();
        assert_eq!(head.layers, [BundleLayer { size: 7, gzip: true }]);
        assert_eq!(head.to_bytes(), format!("lamplight image\n{FORMAT_1}\n").into_bytes());
        let newer = FORMAT_1.replace("\"format\":1", "\"format\":9");
        assert!(BundleHead::from_line(newer.as_bytes()).unwrap_err().contains("newer"));
    }

    #[test]
    fn a_function_overrides_its_image_member_by_member() {
        let config = BundleHead::from_line(FORMAT_1.as_bytes()).unwrap().config;
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let (argv, directory) = config.start(&ImageOverrides::default());
        assert_eq!((argv, directory.as_str()), (texts(&["/run", "app.handler"]), "/srv"));
        let other = ImageOverrides { command: Some(texts(&["b"])), ..Default::default() };
        assert_eq!(config.start(&other).0, texts(&["/run", "b"]));
        assert_eq!(ImageConfig::default().start(&other), (texts(&["b"]), "/".to_owned()));
    }
}
