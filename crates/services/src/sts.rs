//! STS: who is asking.
//!
//! Only `GetCallerIdentity`. There are no roles to assume and no session tokens to give out.

use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value};

/// The operations answered here, by their model names.
pub const OPERATIONS: &[&str] = &["GetCallerIdentity"];

/// An authenticated caller, as the front door found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    pub arn: String,
    pub user_id: String,
}

/// Answers `operation` for `caller`. Errors: `InvalidAction` for an operation not in [`OPERATIONS`].
pub fn call(
    operation: &str,
    caller: &Caller,
    _input: Map<String, Value>,
) -> Result<Output, ApiError> {
    match operation {
        "GetCallerIdentity" => Output::of(serde_json::json!({
            "UserId": caller.user_id,
            "Account": caller.account,
            "Arn": caller.arn,
        })),
        other => Err(ApiError::new(
            "InvalidAction",
            format!("Could not find operation {other} for version 2011-06-15"),
        )
        .with_status(400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_who_they_are_and_nothing_else_is_answered() {
        let caller = Caller {
            account: "000000000000".into(),
            arn: "arn:aws:iam::000000000000:root".into(),
            user_id: "000000000000".into(),
        };
        let answer = call("GetCallerIdentity", &caller, Map::new()).unwrap();
        assert_eq!(answer.members["Arn"], "arn:aws:iam::000000000000:root");
        assert_eq!(answer.members["Account"], "000000000000");
        assert_eq!(answer.members["UserId"], "000000000000");
        assert_eq!(call("AssumeRole", &caller, Map::new()).unwrap_err().status, Some(400));
    }
}
