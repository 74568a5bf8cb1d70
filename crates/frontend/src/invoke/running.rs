//! A call whose response is streamed: what the function writes, then how the call ended.

use bytes::Bytes;
use lamplight_rpc::Outcome;
use lamplight_wire::ApiError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What comes next of a call.
#[derive(Debug)]
pub enum Step {
    /// A piece of the response.
    Chunk(Bytes),
    /// The call is over. The payload of a response that was not streamed is in the outcome.
    End(Result<Outcome, ApiError>),
}

/// A call on its way. Dropping it does not end the call: the function finishes unheard.
pub struct Running {
    chunks: mpsc::Receiver<Bytes>,
    call: JoinHandle<Result<Outcome, ApiError>>,
    /// The call is over, but not all of its chunks are taken.
    ended: Option<Result<Outcome, ApiError>>,
}

impl Running {
    pub fn new(chunks: mpsc::Receiver<Bytes>, call: JoinHandle<Result<Outcome, ApiError>>) -> Self {
        Self { chunks, call, ended: None }
    }

    /// Must not be called again after [`Step::End`].
    pub fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.ended.is_none() {
            // Whether the channel is open says nothing: the runtime's connection may still hold
            // its end when the call has timed out.
            if let Poll::Ready(Some(chunk)) = self.chunks.poll_recv(cx) {
                return Poll::Ready(Step::Chunk(chunk));
            }
            let ended = ready!(Pin::new(&mut self.call).poll(cx));
            // What was sent before the end is part of the response; nothing after it is.
            self.chunks.close();
            self.ended = Some(ended.unwrap_or_else(|panic| Err(ApiError::internal(panic))));
        }
        if let Ok(chunk) = self.chunks.try_recv() {
            return Poll::Ready(Step::Chunk(chunk));
        }
        let gone = || Err(ApiError::internal("a call was asked for after its end"));
        Poll::Ready(Step::End(self.ended.take().unwrap_or_else(gone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_rpc::After;
    use std::future::poll_fn;

    fn outcome() -> Outcome {
        Outcome { payload: Bytes::new(), function_error: None, log_tail: None, after: After::Free }
    }

    async fn step(running: &mut Running) -> Step {
        poll_fn(|cx| running.poll_step(cx)).await
    }

    #[tokio::test]
    async fn all_chunks_come_before_the_end() {
        let (sender, chunks) = mpsc::channel(1);
        // Its end of the channel outlives the call, as that of a timed-out runtime does.
        let kept = sender.clone();
        let mut tasks = tokio::task::JoinSet::new();
        let (done, call) = tokio::sync::oneshot::channel();
        tasks.spawn(async move {
            for chunk in ["a", "b", "c"] {
                sender.send(Bytes::from(chunk)).await.unwrap();
            }
            done.send(()).unwrap();
        });
        let env = lamplight_env::Tasks::new();
        let call = env.spawn(async move {
            call.await.unwrap();
            Ok(outcome())
        });
        let mut running = Running::new(chunks, call);
        for expected in ["a", "b", "c"] {
            assert!(matches!(step(&mut running).await, Step::Chunk(chunk) if chunk == expected));
        }
        assert!(matches!(step(&mut running).await, Step::End(Ok(_))));
        assert!(kept.send(Bytes::new()).await.is_err());
    }
}
