//! Names of functions: a bare name, a partial ARN or a full ARN, with or without a qualifier.

use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Twelve digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// `None` unless `text` is twelve ASCII digits.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The account and region that a request is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    pub account: AccountId,
    pub region: Arc<str>,
}

/// What may follow a function's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qualifier {
    Latest,
    /// `$LATEST.PUBLISHED` of Managed Instances.
    LatestPublished,
    Version(u64),
    Alias(String),
}

impl Qualifier {
    /// The number under which `$LATEST.PUBLISHED` is kept among the versions. No other has it, and
    /// a request that gives it as a number means a version that is not there.
    pub const LATEST_PUBLISHED: u64 = u64::MAX;

    /// The version that is kept under this number.
    pub fn of_number(number: u64) -> Self {
        match number {
            Self::LATEST_PUBLISHED => Self::LatestPublished,
            number => Self::Version(number),
        }
    }

    /// The grammar itself is the service model's to check; this only tells the kinds apart.
    pub fn parse(text: &str) -> Self {
        match text {
            "$LATEST" => Self::Latest,
            "$LATEST.PUBLISHED" => Self::LatestPublished,
            _ => match text.parse::<u64>() {
                Ok(number) if !text.starts_with('+') => Self::Version(number),
                _ => Self::Alias(text.to_owned()),
            },
        }
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::LatestPublished => f.write_str("$LATEST.PUBLISHED"),
            Self::Version(number) => write!(f, "{number}"),
            Self::Alias(name) => f.write_str(name),
        }
    }
}

/// A function in a scope, without qualifier. Displays as its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionArn {
    pub scope: Scope,
    pub name: Arc<str>,
}

impl FunctionArn {
    pub fn new(scope: &Scope, name: &str) -> Self {
        Self { scope: scope.clone(), name: name.into() }
    }

    pub fn qualified(&self, qualifier: &Qualifier) -> String {
        format!("{self}:{qualifier}")
    }
}

impl fmt::Display for FunctionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { account, region } = &self.scope;
        write!(f, "arn:aws:lambda:{region}:{account}:function:{}", self.name)
    }
}

/// A function as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    pub function: FunctionArn,
    pub qualifier: Option<Qualifier>,
}

impl FunctionRef {
    /// Reads `{FunctionName}` and `?Qualifier` of a request that arrived in `scope`.
    pub fn parse(scope: &Scope, name: &str, qualifier: Option<&str>) -> Result<Self, NameError> {
        let mut parts: Vec<&str> = name.split(':').collect();
        let (region, account) = match parts.first() {
            Some(&"arn") => {
                // arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
                if parts.len() < 7 || parts[2] != "lambda" || parts[5] != "function" {
                    return Err(NameError::Malformed);
                }
                let head: Vec<&str> = parts.drain(..6).collect();
                (Some(head[3]), Some(head[4]))
            }
            // ACCOUNT:function:NAME[:QUALIFIER]
            Some(first) if parts.len() >= 3 && parts[1] == "function" => {
                let account = *first;
                parts.drain(..2);
                (None, Some(account))
            }
            // ACCOUNT:NAME[:QUALIFIER]. AWS: the pattern of names takes twelve digits as an account.
            Some(first) if parts.len() >= 2 && AccountId::new(first).is_some() => {
                (None, Some(parts.remove(0)))
            }
            // function:NAME[:QUALIFIER]
            Some(&"function") if parts.len() >= 2 => {
                parts.remove(0);
                (None, None)
            }
            _ => (None, None),
        };
        if let Some(region) = region.filter(|region| *region != &*scope.region) {
            return Err(NameError::OtherRegion {
                asked: region.to_owned(),
                here: scope.region.to_string(),
            });
        }
        if account.is_some_and(|account| account != scope.account.as_str()) {
            return Err(NameError::OtherAccount);
        }
        let (name, derived) = match parts.as_slice() {
            [name] => (*name, None),
            [name, derived] => (*name, Some(*derived)),
            _ => return Err(NameError::Malformed),
        };
        if name.len() > limits::FUNCTION_NAME {
            return Err(NameError::TooLong(name.to_owned()));
        }
        let qualifier = match (derived, qualifier) {
            (Some(derived), Some(given)) if derived != given => return Err(NameError::Mismatch),
            (derived, given) => given.or(derived).map(Qualifier::parse),
        };
        Ok(Self { function: FunctionArn::new(scope, name), qualifier })
    }

    /// The ARN as it was asked for, with the qualifier where one was given.
    pub fn arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => self.function.qualified(qualifier),
            None => self.function.to_string(),
        }
    }

    /// The qualifier, `$LATEST` where none was given.
    pub fn qualifier_or_latest(&self) -> Qualifier {
        self.qualifier.clone().unwrap_or(Qualifier::Latest)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("the name is none of NAME, ACCOUNT:function:NAME and an ARN")]
    Malformed,
    #[error("Functions from '{asked}' are not reachable in this region ('{here}')")]
    OtherRegion { asked: String, here: String },
    #[error("the function belongs to another account")]
    OtherAccount,
    #[error("The derived qualifier from the function name does not match the specified qualifier.")]
    Mismatch,
    #[error("{0} is longer than 64 characters")]
    TooLong(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { account: AccountId::new("000000000000").unwrap(), region: "us-east-1".into() }
    }

    fn parse(name: &str, qualifier: Option<&str>) -> Result<String, NameError> {
        FunctionRef::parse(&scope(), name, qualifier).map(|f| f.arn())
    }

    #[test]
    fn every_form_names_the_same_function() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:thumbs";
        for name in [
            arn,
            "000000000000:function:thumbs",
            "000000000000:thumbs",
            "function:thumbs",
            "thumbs",
        ] {
            assert_eq!(parse(name, None).unwrap(), arn);
            assert_eq!(parse(&format!("{name}:7"), None).unwrap(), format!("{arn}:7"));
            assert_eq!(parse(name, Some("$LATEST")).unwrap(), format!("{arn}:$LATEST"));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(parse("thumbs:live", Some("beta")), Err(NameError::Mismatch));
        assert_eq!(parse("thumbs:live", Some("live")).map(drop), Ok(()));
        assert_eq!(parse("111111111111:function:thumbs", None), Err(NameError::OtherAccount));
        assert_eq!(
            parse("arn:aws:lambda:eu-west-1:000000000000:function:thumbs", None)
                .unwrap_err()
                .to_string(),
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
        );
        assert_eq!(parse("arn:aws:lambda", None), Err(NameError::Malformed));
        assert_eq!(parse("a:b:c", None), Err(NameError::Malformed));
        assert!(matches!(parse(&"a".repeat(65), None), Err(NameError::TooLong(_))));
    }

    #[test]
    fn qualifiers_are_told_apart() {
        assert_eq!(Qualifier::parse("$LATEST"), Qualifier::Latest);
        assert_eq!(Qualifier::parse("12"), Qualifier::Version(12));
        assert_eq!(Qualifier::parse("v12"), Qualifier::Alias("v12".into()));
    }
}
