//! The texts and codes that clients match on.

use crate::logs::store::LogsError;
use lamplight_wire::ApiError;

pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}

/// A member that breaks a constraint of the model.
pub fn constraint(member: &str, value: &str, constraint: &str) -> ApiError {
    let value: String = value.chars().take(512).collect();
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         {constraint}"
    ))
}

pub fn bad_token() -> ApiError {
    invalid("The specified nextToken is invalid.")
}

pub fn no_group() -> ApiError {
    ApiError::new("ResourceNotFoundException", "The specified log group does not exist.")
}

/// What the store refused, in AWS's words.
pub fn refusal(error: LogsError) -> ApiError {
    match error {
        LogsError::NoGroup(_) => no_group(),
        LogsError::NoStream(_) => {
            ApiError::new("ResourceNotFoundException", "The specified log stream does not exist.")
        }
        LogsError::GroupExists(_) => ApiError::new(
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        ),
        LogsError::StreamExists(_) => ApiError::new(
            "ResourceAlreadyExistsException",
            "The specified log stream already exists",
        ),
        LogsError::Io { ref source, .. } => {
            tracing::error!(%error, cause = %source, "a log operation failed");
            unavailable()
        }
        LogsError::Damaged { .. } | LogsError::Restless => {
            tracing::error!(%error, "a log operation failed");
            unavailable()
        }
    }
}

fn unavailable() -> ApiError {
    ApiError::new("ServiceUnavailableException", "The service cannot complete the request.")
        .with_status(503)
}

/// `limit`, `most` where it is absent.
pub fn limit(limit: Option<i64>, most: usize) -> Result<usize, ApiError> {
    match limit.map(usize::try_from) {
        None => Ok(most),
        Some(Ok(limit)) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => {
            let value = limit.unwrap_or_default();
            let bound = match value < 1 {
                true => "Member must have value greater than or equal to 1".to_owned(),
                false => format!("Member must have value less than or equal to {most}"),
            };
            Err(constraint("limit", &value.to_string(), &bound))
        }
    }
}
