//! What the errors of store and worker mean to a caller of the catalog.

use lamplight_rpc::{CatalogError, PrepareError};
use lamplight_store::StoreError;
use thiserror::Error;

/// Why the catalog cannot start.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("the functions cannot be read: {0}")]
    Read(#[from] StoreError),
    #[error("the record {key} cannot be understood: {reason}")]
    Record { key: String, reason: String },
}

pub(crate) fn of_store(error: StoreError) -> CatalogError {
    match error {
        StoreError::Conflict(_) => CatalogError::Conflict(
            "The operation cannot be performed at this time. The function was changed by another \
             request."
                .to_owned(),
        ),
        StoreError::TooLarge(what) => {
            CatalogError::Invalid(format!("The settings of the function are too large: {what}"))
        }
        StoreError::Key(error) => {
            CatalogError::Invalid(format!("The function name is not valid: {error}"))
        }
        other => CatalogError::Unavailable(other.to_string()),
    }
}

pub(super) fn of_prepare(error: PrepareError) -> CatalogError {
    match error {
        // AWS: the same text for every way in which a file is not a zip file; why goes to the log.
        PrepareError::BadZip(_) | PrepareError::TooLarge => {
            CatalogError::Invalid(error.to_string())
        }
        PrepareError::Failed(reason) => CatalogError::Unavailable(reason),
    }
}
