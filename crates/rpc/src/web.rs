//! Messages to other people's servers.

use async_trait::async_trait;
use bytes::Bytes;

/// A request that tells something and wants nothing back.
#[derive(Debug, Clone)]
pub struct Post {
    /// Absolute, with http or https.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

#[async_trait]
pub trait Web: Send + Sync {
    /// The status of the answer, within a time that has an end; or why there is none, in words for
    /// a log. Follows no redirects.
    async fn post(&self, post: Post) -> Result<u16, String>;
}
