//! Runtimes: what a `Runtime` identifier means for the machine that runs it.

/// How a managed runtime is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    Python,
    Node,
    Java,
    Dotnet,
    Ruby,
    Go,
    /// The function brings its own `bootstrap`.
    Provided,
    /// A customer-managed runtime.
    Custom,
}

/// A runtime identifier taken apart: `python3.11` is Python, version `3.11`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Runtime {
    pub language: Language,
    pub version: String,
}

/// AWS: identifiers that CreateFunction refuses because their block date has passed.
const BLOCKED: [&str; 20] = [
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "java8",
    "python2.7",
    "python3.6",
    "python3.7",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "ruby2.5",
    "ruby2.7",
    "go1.x",
    "provided",
];

impl Runtime {
    /// `None` for an identifier of no language we know; the service model lists the valid ones.
    pub fn parse(identifier: &str) -> Option<Self> {
        let prefixes = [
            ("python", Language::Python),
            ("nodejs", Language::Node),
            ("java", Language::Java),
            ("dotnet", Language::Dotnet),
            ("ruby", Language::Ruby),
            ("go", Language::Go),
            ("provided", Language::Provided),
            ("custom", Language::Custom),
        ];
        prefixes.iter().find_map(|(prefix, language)| {
            let version = identifier.strip_prefix(prefix)?;
            Some(Self { language: *language, version: version.trim_matches('.').to_owned() })
        })
    }

    /// The ARN that stands for this server's build of a runtime, as RuntimeVersionConfig and
    /// INIT_START show it: the same text for the same identifier everywhere.
    pub fn version_arn(region: &str, identifier: &str) -> String {
        use sha2::{Digest, Sha256};
        use std::fmt::Write as _;
        let mut arn = format!("arn:aws:lambda:{region}::runtime:");
        for byte in Sha256::digest(identifier.as_bytes()) {
            let _ = write!(arn, "{byte:02x}");
        }
        arn
    }

    /// Whether AWS no longer lets functions be created or updated with this identifier.
    pub fn is_blocked(identifier: &str) -> bool {
        BLOCKED.contains(&identifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_apart() {
        let python = Runtime::parse("python3.11").unwrap();
        assert_eq!((python.language, python.version.as_str()), (Language::Python, "3.11"));
        let node = Runtime::parse("nodejs20.x").unwrap();
        assert_eq!((node.language, node.version.as_str()), (Language::Node, "20.x"));
        let provided = Runtime::parse("provided.al2023").unwrap();
        assert_eq!((provided.language, provided.version.as_str()), (Language::Provided, "al2023"));
        assert_eq!(Runtime::parse("cobol85"), None);
    }
}
