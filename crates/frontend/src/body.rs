//! Request bodies: bounded in size, in time, and in what all of them hold together.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// A sender that is silent for this long is given up.
const IDLE: Duration = Duration::from_secs(30);
/// What is read and thrown away of a body that is too large, so that the client, which is still
/// sending, gets to read the refusal.
const DISCARD: usize = 128 * 1024 * 1024;
/// KiB that all bodies in flight may hold together.
const BUDGET: u32 = 512 * 1024;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    TooLarge,
    /// The client stopped sending.
    Stalled,
    /// The connection broke, or what came was no HTTP.
    Broken,
}

/// Memory for bodies.
pub struct Bodies(Semaphore);

impl Default for Bodies {
    fn default() -> Self {
        Self(Semaphore::new(BUDGET as usize))
    }
}

impl Bodies {
    /// The whole body of at most `limit` bytes. The permit is its share of the memory.
    pub async fn read(
        &self,
        mut body: Incoming,
        limit: usize,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Refused> {
        let announced = body.size_hint().exact().unwrap_or(limit as u64).min(limit as u64);
        let share = u32::try_from(announced / 1024 + 1).unwrap_or(BUDGET).min(BUDGET);
        let permit = self.0.acquire_many(share).await.map_err(|_| Refused::Broken)?;
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        let mut total = 0usize;
        while let Some(frame) = timeout(IDLE, body.frame()).await.map_err(|_| Refused::Stalled)? {
            let Ok(data) = frame.map_err(|_| Refused::Broken)?.into_data() else { continue };
            total = total.saturating_add(data.len());
            if total > limit {
                whole = BytesMut::new();
                if total > DISCARD {
                    break;
                }
            } else if first.is_empty() && whole.is_empty() {
                // Most bodies come in one piece, which then needs no copy.
                first = data;
            } else {
                if whole.is_empty() {
                    whole.reserve(usize::try_from(announced).unwrap_or(0));
                    whole.extend_from_slice(&std::mem::take(&mut first));
                }
                whole.extend_from_slice(&data);
            }
        }
        match total {
            _ if total > limit => Err(Refused::TooLarge),
            _ if whole.is_empty() => Ok((first, permit)),
            _ => Ok((whole.freeze(), permit)),
        }
    }
}
