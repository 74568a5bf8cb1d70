//! Container images that functions are made of.

use async_trait::async_trait;
use bytes::Bytes;
use std::any::Any;
use thiserror::Error;

pub struct PulledImage {
    /// The image as one file: see `lamplight_model::BundleHead`.
    pub bundle: Bytes,
    /// The name with the digest of what was pulled.
    pub resolved: String,
    /// A share of the memory that all images may take; to be kept as long as `bundle`.
    pub share: Box<dyn Any + Send + Sync>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// AWS: for names that cannot be read as well as for images that are not there.
    #[error("Source image {0} does not exist. Provide a valid source image.")]
    Missing(String),
    /// AWS: for everything about an image that cannot be used.
    #[error(
        "The image manifest, config or layer media type for the source image {0} is not supported."
    )]
    Unsupported(String),
    #[error("The source image {0} is larger than {1} bytes.")]
    TooLarge(String, usize),
    #[error("{0}")]
    Unreachable(String),
}

#[async_trait]
pub trait Images: Send + Sync {
    /// The image called `name`, such as `registry.example.com/app:1`, for an architecture of
    /// Lambda's.
    async fn pull(&self, name: &str, architecture: &str) -> Result<PulledImage, ImageError>;
}
