//! Bodies that are large, many, slow or left behind.

use super::*;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};

const KIB: usize = 1024;
const CALL: Allowance = Allowance { limit: 1024 * KIB, upload: false };
const UPLOAD: Allowance = Allowance { limit: 1024 * KIB, upload: true };

/// Pieces, each of them some time after the one before. It is silent after the last one if it
/// announced more.
struct Pieces {
    pieces: VecDeque<(Duration, usize)>,
    wait: Option<Pin<Box<Sleep>>>,
    announced: Option<u64>,
}

fn pieces(pieces: impl IntoIterator<Item = (Duration, usize)>) -> Pieces {
    Pieces { pieces: pieces.into_iter().collect(), wait: None, announced: None }
}

/// At once, in pieces of 16 KiB.
fn quick(kib: usize) -> Pieces {
    pieces(std::iter::repeat_n((Duration::ZERO, 16 * KIB), kib / 16))
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((after, size)) = self.pieces.front().copied() else {
            return if self.announced.is_some() { Poll::Pending } else { Poll::Ready(None) };
        };
        if after > Duration::ZERO {
            ready!(self.wait.get_or_insert_with(|| Box::pin(sleep(after))).as_mut().poll(cx));
            self.wait = None;
        }
        self.pieces.pop_front();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; size])))))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

async fn refused(bodies: &Bodies, body: Pieces, allowance: Allowance) -> Refused {
    bodies.read(body, allowance).await.map(|(body, _)| body.len()).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_body_is_whole_and_its_share_goes_with_its_last_byte() {
    let bodies = Bodies::of(64, 256, 0);
    for kib in [16, 32, 48, 160] {
        let (body, share) = bodies.read(quick(kib), CALL).await.unwrap();
        assert!(body.len() == kib * KIB && body.iter().all(|byte| *byte == b'x'));
        let [firsts, payloads, _] = bodies.free();
        assert_eq!(firsts, 64 - kib.min(32));
        // At most twice what came, since the copy grows by doubling.
        assert!((256 - payloads) >= kib.saturating_sub(32) && (256 - payloads) <= 2 * kib);
        drop(share);
        let part = body.slice(1..2);
        drop(body);
        assert_ne!(bodies.free(), [64, 256, 0]);
        drop(part);
        assert_eq!(bodies.free(), [64, 256, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_costs_nothing() {
    let bodies = Bodies::of(64, 256, 0);
    let announced = Pieces { announced: Some(900 * KIB as u64), ..quick(16) };
    let mut reading = Box::pin(bodies.read(announced, CALL));
    assert!(timeout_of(&mut reading, Duration::from_secs(1)).await.is_none());
    assert_eq!(bodies.free(), [48, 256, 0]);
    assert_eq!(
        timeout_of(&mut reading, Duration::from_secs(60)).await,
        Some(Err(Refused::Stalled))
    );
    drop(reading);
    assert_eq!(bodies.free(), [64, 256, 0]);
}

async fn timeout_of<F, T>(
    reading: &mut Pin<Box<F>>,
    after: Duration,
) -> Option<Result<usize, Refused>>
where
    F: Future<Output = Result<(Bytes, T), Refused>>,
{
    let ended = tokio::time::timeout(after, reading).await.ok()?;
    Some(ended.map(|(body, _)| body.len()))
}

#[tokio::test(start_paused = true)]
async fn a_small_body_waits_for_no_large_one() {
    let bodies = Bodies::of(256, 256, 256);
    let (upload, _share) = bodies.read(quick(160), UPLOAD).await.unwrap();
    assert_eq!(refused(&bodies, quick(96), UPLOAD).await, Refused::Busy);
    let (call, _share) = bodies.read(quick(160), CALL).await.unwrap();
    assert_eq!(refused(&bodies, quick(96), CALL).await, Refused::Busy);
    let (small, _share) = bodies.read(quick(32), CALL).await.unwrap();
    assert_eq!(small.len() + call.len() + upload.len(), (32 + 160 + 160) * KIB);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_crawls_is_given_up() {
    let bodies = Bodies::default();
    let second = Duration::from_secs(1);
    let crawling = pieces(std::iter::repeat_n((29 * second, 1), 100));
    assert_eq!(refused(&bodies, crawling, CALL).await, Refused::Stalled);
    let silent = pieces([(31 * second, 1)]);
    assert_eq!(refused(&bodies, silent, CALL).await, Refused::Stalled);
    // An upload over a slow line.
    let slow = pieces(std::iter::repeat_n((second, 20 * KIB), 50));
    assert_eq!(bodies.read(slow, CALL).await.unwrap().0.len(), 1000 * KIB);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_read_to_its_end_and_kept_nowhere() {
    let bodies = Bodies::of(32, 1024, 0);
    assert_eq!(refused(&bodies, quick(1040), CALL).await, Refused::TooLarge);
    let announced = Pieces { announced: Some(1025 * KIB as u64), ..quick(64) };
    assert_eq!(refused(&bodies, announced, CALL).await, Refused::TooLarge);
    assert_eq!(bodies.free(), [32, 1024, 0]);
}
