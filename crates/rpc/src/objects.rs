//! Objects of S3 that code is taken from.

use async_trait::async_trait;
use bytes::Bytes;
use lamplight_model::S3Object;
use std::any::Any;
use thiserror::Error;

pub struct FetchedObject {
    pub bytes: Bytes,
    /// The version that was fetched; absent where the bucket has none.
    pub version: Option<String>,
    /// A share of the memory that all objects may take; to be kept as long as `bytes`.
    pub share: Box<dyn Any + Send + Sync>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    #[error(
        "Code from S3 needs an S3 endpoint, which this server has none of: set one in the section [s3] of its configuration, or send the zip file itself."
    )]
    NotConfigured,
    /// AWS: what S3 said, within what Lambda says.
    #[error("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")]
    Refused { code: String, message: String },
    #[error("Unzipped size must be smaller than 262144000 bytes")]
    TooLarge,
    #[error("{0}")]
    Unreachable(String),
}

#[async_trait]
pub trait Objects: Send + Sync {
    /// The whole object, where it is no larger than code may be.
    async fn get(&self, object: &S3Object) -> Result<FetchedObject, ObjectError>;
}
