//! Request bodies: bounded in size, in time, and in what all of them hold together.
//!
//! A body is charged for the memory that it takes, not for what it announces, and its share is
//! given back when the last holder of its bytes is gone, which may be long after its connection.
//! No body waits for more than a moment: where there is no room the answer says so.

mod budget;
mod pace;

pub use budget::{Bodies, Share, hold};

use budget::Full;
use bytes::Bytes;
use http_body::Body;
use pace::{Lost, Paced};
use std::sync::Arc;
use std::time::Duration;

/// What is read and thrown away of a body that is refused, so that the client, which is still
/// sending, gets to read the refusal.
const DISCARD: usize = 128 * 1024 * 1024;
/// For how long that is done for a client that nobody knows.
const STRANGER: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    TooLarge,
    /// Others hold the memory.
    Busy,
    /// The client stopped sending, or goes on too slowly.
    Stalled,
    /// The connection broke, or what came was no HTTP.
    Broken,
}

impl From<Full> for Refused {
    fn from(_: Full) -> Self {
        Self::Busy
    }
}

impl From<Lost> for Refused {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Slow => Self::Stalled,
            Lost::Broken => Self::Broken,
        }
    }
}

/// What an operation takes.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Bytes.
    pub limit: usize,
    /// Uploads have memory of their own, so that calls never wait for them.
    pub upload: bool,
}

impl Bodies {
    /// The whole body and its share of the memory, which the bytes hold, too.
    pub async fn read<B>(
        &self,
        body: B,
        allowance: Allowance,
    ) -> Result<(Bytes, Arc<Share>), Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Allowance { limit, upload } = allowance;
        let hint = body.size_hint();
        let most = hint.upper().map_or(limit, |upper| usize::try_from(upper).unwrap_or(limit));
        let mut buffer = Buffer::new(self.share(upload), most.min(limit));
        let mut body = Paced::new(body);
        let too_large = |total: usize| {
            let announced = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
            if announced.max(total) > limit { Err(Refused::TooLarge) } else { Ok(()) }
        };
        let mut total = 0usize;
        while let Some(data) = body.next().await? {
            total = total.saturating_add(data.len());
            let room = match too_large(total) {
                Ok(()) => buffer.add(data).await.map_err(Refused::from),
                refused => refused,
            };
            if let Err(refused) = room {
                drop(buffer);
                discard(&mut body).await;
                return Err(refused);
            }
        }
        Ok(buffer.finish())
    }
}

/// Takes leave of a client that nobody knows, at no cost in memory.
pub async fn refuse<B: Body<Data = Bytes> + Unpin>(body: B) {
    let mut body = Paced::new(body);
    let _ = tokio::time::timeout(STRANGER, discard(&mut body)).await;
}

async fn discard<B: Body<Data = Bytes> + Unpin>(body: &mut Paced<B>) {
    let mut total = 0usize;
    while let Ok(Some(data)) = body.next().await {
        total = total.saturating_add(data.len());
        if total > DISCARD {
            return;
        }
    }
}

/// A body as far as it is there.
struct Buffer {
    share: Share,
    /// Most bodies come in one piece, which then needs no copy.
    first: Bytes,
    whole: Vec<u8>,
    /// Bytes that are still to be expected at most.
    most: usize,
}

impl Buffer {
    /// Where the copy begins. Every body may take that much at any time.
    const START: usize = budget::FIRST;

    fn new(share: Share, most: usize) -> Self {
        Self { share, first: Bytes::new(), whole: Vec::new(), most }
    }

    async fn add(&mut self, data: Bytes) -> Result<(), Full> {
        if self.first.is_empty() && self.whole.is_empty() {
            self.share.grow(data.len()).await?;
            self.first = data;
            return Ok(());
        }
        let there = self.first.len() + self.whole.len();
        let needed = there + data.len();
        if needed > self.whole.capacity() {
            let roomy = needed.max(self.whole.capacity().saturating_mul(2)).max(Self::START);
            let capacity = roomy.min(self.most.max(needed));
            self.share.grow(capacity).await?;
            self.whole.reserve_exact(capacity - self.whole.len());
        }
        self.whole.extend_from_slice(&std::mem::take(&mut self.first));
        self.whole.extend_from_slice(&data);
        Ok(())
    }

    fn finish(self) -> (Bytes, Arc<Share>) {
        let body = if self.whole.is_empty() { self.first } else { Bytes::from(self.whole) };
        let share = Arc::new(self.share);
        (hold(body, Arc::clone(&share)), share)
    }
}

#[cfg(test)]
mod tests;
