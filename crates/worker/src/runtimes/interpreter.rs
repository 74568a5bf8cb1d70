//! One interpreter: what it is and where.

use lamplight_model::{Language, Runtime};
use std::fmt;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// Takes `3.11.2`, and what may follow the digits: `3.14.0rc1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next()?;
        let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        Some(Self { major, minor, patch: patch.get(..digits)?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A Python, Node.js or Java that has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub language: Language,
    pub version: Version,
    /// The installation, shown to functions as `/var/lang`. Without links; never `/`.
    pub prefix: PathBuf,
    /// The executable, below `prefix`. Without links.
    pub binary: PathBuf,
    /// Directories of shared libraries outside the system's own places; needed under the same
    /// path.
    pub libraries: Vec<PathBuf>,
    /// `binary` below `/var/lang`.
    pub inside: String,
}

impl Interpreter {
    /// The runtime that it serves by its version: `python3.11`, `nodejs20.x`.
    pub fn identifier(&self) -> String {
        let Version { major, minor, .. } = self.version;
        match self.language {
            Language::Node => format!("nodejs{major}.x"),
            Language::Java => format!("java{major}"),
            _ => format!("python{major}.{minor}"),
        }
    }

    pub(super) fn serves(&self, runtime: &Runtime) -> bool {
        let own = Runtime::parse(&self.identifier());
        own.is_some_and(|own| {
            own.language == runtime.language && Self::wanted(&own) == Self::wanted(runtime)
        })
    }

    /// The version that a runtime needs. AWS: `java17.al2023` says what system that Java is on.
    pub(super) fn wanted(runtime: &Runtime) -> &str {
        let version = runtime.version.as_str();
        match runtime.language {
            Language::Python => version,
            _ => version.split_once('.').map_or(version, |(major, _)| major),
        }
    }
}

/// Languages as people write them.
pub(super) fn name(language: Language) -> &'static str {
    match language {
        Language::Node => "Node.js",
        Language::Java => "Java",
        _ => "Python",
    }
}
