//! InvokeWithResponseStream: the same call as Invoke, its response told as events while it is
//! written.
//!
//! The head is sent with the first event, so that a call that never began is still answered with
//! its error. What a caller does not read is held back at the function: nothing is queued here.

use super::running::{Running, Step};
use super::shaping::Shaping;
use super::way::Admitted;
use super::{ask, check, dry_run, invoke_error};
use crate::api::lambda::invalid;
use crate::api::{Answer, Request};
use base64::Engine as _;
use bytes::Bytes;
use http_body::{Body, Frame};
use lamplight_env::Clock;
use lamplight_rpc::Outcome;
use lamplight_wire::{ApiError, Output, eventstream};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

pub async fn invoke_with_response_stream(request: &Request<'_>) -> Result<Answer, ApiError> {
    let asked = ask(request)?;
    if asked.target.durable.is_some() {
        return Err(invalid("The response of a durable function cannot be streamed."));
    }
    let Some(admitted) = check(request, asked)? else { return Ok(dry_run().into()) };
    let version = admitted.target.version.to_string();
    let trace_id = admitted.call.trace_id.clone();
    let rate = request
        .parts
        .options
        .stream_rate
        .map(|rate| (Shaping::new(rate.get()), Arc::clone(&request.parts.env.clock)));
    let mut events = Events::new(begin_stream(request, admitted), rate);
    events.head().await?;
    let mut output = Output { trace_id, ..Output::default() };
    output.members.insert("StatusCode".to_owned(), json!(200));
    output.members.insert("ExecutedVersion".to_owned(), json!(version));
    Ok(Answer { output, stream: Some(http_body_util::combinators::UnsyncBoxBody::new(events)) })
}

/// Starts a call whose response is taken while the function writes it.
fn begin_stream(request: &Request<'_>, mut admitted: Admitted) -> Running {
    // One piece is on its way, another waits at the function.
    let (sender, chunks) = mpsc::channel(1);
    admitted.call.stream = Some(sender);
    let call = request.parts.functions.run(admitted);
    let call = async move { call.await.map(|ended| ended.outcome).map_err(invoke_error) };
    // A task from the start: a caller that does not read must not keep its call from timing out.
    Running::new(chunks, request.parts.env.tasks.spawn(call))
}

/// The events of a call, framed.
struct Events {
    /// Absent when the call is over.
    running: Option<Running>,
    framed: VecDeque<Bytes>,
    /// Where there is a rate.
    shaping: Option<(Shaping, Arc<dyn Clock>)>,
    /// Runs while the rate says to wait.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Events {
    fn new(running: Running, shaping: Option<(Shaping, Arc<dyn Clock>)>) -> Self {
        Self { running: Some(running), framed: VecDeque::new(), shaping, pause: None }
    }

    /// Waits for the first event, or for the error of a call that had none.
    async fn head(&mut self) -> Result<(), ApiError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        match poll_fn(|cx| running.poll_step(cx)).await {
            Step::End(Err(error)) => {
                self.running = None;
                Err(error)
            }
            step => {
                self.take(step);
                Ok(())
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Chunk(chunk) => {
                let bytes = chunk.len();
                frame(&mut self.framed, PAYLOAD_CHUNK, chunk);
                if let Some((shaping, clock)) = &mut self.shaping {
                    let pause = shaping.pause(bytes, clock.instant());
                    self.pause = (!pause.is_zero()).then(|| Box::pin(sleep(pause)));
                }
            }
            Step::End(ended) => {
                self.running = None;
                if let Ok(Outcome { payload, function_error: None, .. }) = &ended
                    && !payload.is_empty()
                {
                    frame(&mut self.framed, PAYLOAD_CHUNK, payload.clone());
                }
                frame(&mut self.framed, INVOKE_COMPLETE, completion(ended));
            }
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.framed.is_empty()
            && let Some(pause) = &mut self.pause
        {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.framed.is_empty()
            && let Some(running) = &mut self.running
        {
            let step = ready!(running.poll_step(cx));
            self.take(step);
        }
        Poll::Ready(self.framed.pop_front().map(|framed| Ok(Frame::data(framed))))
    }
}

/// Pieces up to this are copied into one piece with their frame: that costs less than three.
const JOIN: usize = 8 * 1024;

/// The limits of responses are below that of a frame.
fn frame(framed: &mut VecDeque<Bytes>, (event, content_type): (&str, &str), payload: Bytes) {
    let Some((head, tail)) = eventstream::event(event, content_type, &payload) else {
        tracing::error!(event, bytes = payload.len(), "an event that cannot be framed is left out");
        return;
    };
    if payload.len() <= JOIN {
        framed.push_back([&head[..], &payload, &tail].concat().into());
    } else {
        framed.extend([head, payload, tail]);
    }
}

const PAYLOAD_CHUNK: (&str, &str) = ("PayloadChunk", "application/octet-stream");
const INVOKE_COMPLETE: (&str, &str) = ("InvokeComplete", "application/json");

/// What the last event says.
fn completion(ended: Result<Outcome, ApiError>) -> Bytes {
    let mut members = Map::new();
    let mut set = |name: &str, value: String| members.insert(name.to_owned(), Value::String(value));
    match ended {
        Ok(outcome) => {
            if let Some(error) = outcome.function_error {
                set("ErrorCode", error.to_owned());
                set("ErrorDetails", String::from_utf8_lossy(&outcome.payload).into_owned());
            }
            if let Some(tail) = outcome.log_tail {
                set("LogResult", base64::engine::general_purpose::STANDARD.encode(tail));
            }
        }
        // The head is sent, so this is the only place left to say it.
        Err(error) => {
            set("ErrorCode", error.code.into_owned());
            set("ErrorDetails", error.message);
        }
    }
    Value::Object(members).to_string().into()
}
