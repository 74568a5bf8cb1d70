//! Whether a function's role may use what the outcomes of its events are sent to.

use super::{policy, readable};
use crate::Parts;
use lamplight_model::{FunctionRef, Scope};
use lamplight_wire::ApiError;

/// Refuses a destination that the role cannot use, where policies count. Destinations that are not
/// served here are not asked about.
pub fn check(
    parts: &Parts,
    scope: &Scope,
    (function, role): (&str, &str),
    destination: &str,
) -> Result<(), ApiError> {
    let (service, operation) = match destination.split(':').nth(2) {
        Some("sqs") => ("sqs", "SendMessage"),
        Some("sns") => ("sns", "Publish"),
        Some("lambda") => ("lambda", "InvokeFunction"),
        _ => return Ok(()),
    };
    if !parts.options.enforce {
        return Ok(());
    }
    let policy = match service {
        "sqs" => readable(destination, parts.sqs.policy_of_arn(scope, destination)),
        "sns" => readable(destination, parts.sns.policy(scope, destination)),
        _ => FunctionRef::parse(scope, destination, None)
            .ok()
            .and_then(|function| policy(&*parts.documents, &function)),
    };
    let action = format!("{service}:{operation}");
    if parts.iam.role_may((role, function), (&action, destination), policy) {
        return Ok(());
    }
    // AWS: tools try again on this text, since a new policy takes a while to be known everywhere.
    Err(ApiError::new(
        "InvalidParameterValueException",
        format!(
            "The function's execution role does not have permissions to call {operation} on {destination}"
        ),
    ))
}
