//! A body that has to come: it may neither pause for long nor crawl.

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A sender that is silent for this long is given up.
const IDLE: Duration = Duration::from_secs(30);
/// What a body of no size may take.
const GRACE: Duration = Duration::from_secs(30);
/// Bytes a second that a sender has to keep up after that, on average.
const RATE: u32 = 16 * 1024;

/// Why there is no more.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    Slow,
    Broken,
}

pub struct Paced<B> {
    body: B,
    /// When it has been too slow on the whole.
    late: Instant,
}

impl<B: Body<Data = Bytes> + Unpin> Paced<B> {
    pub fn new(body: B) -> Self {
        Self { body, late: Instant::now() + GRACE }
    }

    /// The next piece; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Lost> {
        loop {
            let patience = self.late.min(Instant::now() + IDLE);
            // What is here already is taken without a timer.
            let frame = timeout_at(patience, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| Lost::Slow)? else { return Ok(None) };
            // Trailers say nothing to anybody here.
            let Ok(data) = frame.map_err(|_| Lost::Broken)?.into_data() else { continue };
            let earned = Duration::from_secs(1)
                .saturating_mul(u32::try_from(data.len()).unwrap_or(u32::MAX))
                / RATE;
            self.late += earned;
            return Ok(Some(data));
        }
    }
}
