//! Messages to other people's servers.

use crate::http::{Client, read};
use crate::reach::Reach;
use async_trait::async_trait;
use http::Request;
use http_body_util::Full;
use lamplight_env::Env;
use lamplight_rpc::{Post, Web};
use std::time::Duration;

/// AWS: how long SNS waits for an endpoint.
const PATIENCE: Duration = Duration::from_secs(15);
/// What is read of an answer, whose text is nobody's.
const ANSWER: usize = 64 * 1024;

pub struct OtherServers(Client);

impl OtherServers {
    pub fn new(env: &Env) -> Self {
        Self(Client::new(env.tasks.clone()))
    }

    async fn send(&self, post: Post) -> Result<u16, String> {
        let mut request = Request::post(&post.url);
        for (name, value) in &post.headers {
            request = request.header(name, value);
        }
        let request = request.header("content-length", post.body.len());
        let request = request.body(Full::new(post.body)).map_err(|error| error.to_string())?;
        // The address is the subscriber's own.
        let answer = self.0.send(request, Reach::Anywhere).await;
        let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
        // To the end, so that the server sees no hang-up; a longer answer is one all the same.
        let _ = read(body, ANSWER).await;
        Ok(head.status.as_u16())
    }
}

#[async_trait]
impl Web for OtherServers {
    async fn post(&self, post: Post) -> Result<u16, String> {
        let sent = tokio::time::timeout(PATIENCE, self.send(post)).await;
        sent.unwrap_or_else(|_| Err(format!("no answer within {} seconds", PATIENCE.as_secs())))
    }
}
