//! The Runtime API of one environment: what the process inside the sandbox talks to.
//!
//! Each environment has a listener of its own, so a request needs no identity beyond the socket it
//! came through. Everything that arrives here is hostile: bodies are bounded, ids are checked
//! against the one call that runs, and a request that makes no sense gets AWS's refusal.

mod credentials;
mod crowd;
mod extension_api;
mod extension_server;
mod extensions;
mod machine;
mod metadata;
mod response;
mod server;
mod subscribing;

use crate::logs::Capture;
use crate::telemetry::Telemetry;
use bytes::Bytes;
pub use credentials::{Credentials, PATH as CREDENTIALS};
use crowd::Crowd;
pub use extension_api::Reason;
use extensions::Extensions;
pub use extensions::{Kind, MOST as MOST_EXTENSIONS};
use lamplight_env::Env;
use lamplight_rpc::Invocation;
pub use machine::Refusal;
use machine::{Asked, Machine};
pub use metadata::Metadata;
pub use server::{Side, serve};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot};

/// An event on its way to the runtime.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub call: Invocation,
    /// Milliseconds since the epoch.
    pub deadline_ms: i64,
}

/// How the runtime ended a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Response(Bytes),
    /// The caller has got the response already.
    Streamed {
        bytes: usize,
    },
    /// The error document, passed to the caller as it is.
    Error {
        body: Bytes,
        error_type: String,
    },
    /// The response was over the limit, in bytes, and was refused.
    TooLarge {
        limit: usize,
    },
    /// A streamed response broke off, and the runtime went on with its life.
    Truncated,
}

/// How initialisation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Init {
    Done,
    Failed { body: Bytes, error_type: String },
}

#[derive(Default)]
struct Inner {
    machine: Machine,
    /// Present where the runtime takes several calls at once. The machine then knows only how its
    /// initialisation stands.
    crowd: Option<Crowd>,
    /// The runtime's open request for an event.
    waiter: Option<oneshot::Sender<Delivery>>,
    /// Handed over when the runtime comes for it: it answers before it asks again.
    undelivered: Option<Delivery>,
    on_init: Option<oneshot::Sender<Init>>,
    on_answer: Option<oneshot::Sender<Answer>>,
    /// When the runtime began to answer.
    answering: Option<Instant>,
    /// The caller's end of a streamed response.
    stream: Option<mpsc::Sender<Bytes>>,
    extensions: Extensions,
    /// Open requests of extensions for an event, by identifier.
    turns: HashMap<String, oneshot::Sender<Bytes>>,
    /// Events for extensions that have not come for them yet.
    untaken: HashMap<String, Bytes>,
    /// What extensions are told once everything is to end.
    ending: Option<Bytes>,
}

/// What extensions are told of their function.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub account: String,
    pub function: String,
    /// `$LATEST` or a version's number.
    pub version: String,
    pub handler: String,
    /// Whether it starts as from a snapshot.
    pub snap_start: bool,
}

/// The shell around the state machine: channels between the sockets and the environment.
pub struct RuntimeApi {
    about: About,
    env: Env,
    telemetry: Arc<Telemetry>,
    capture: Arc<Capture>,
    inner: Mutex<Inner>,
    /// A stream has ended, one way or the other.
    stream_over: Notify,
    /// The runtime or an extension has gone on.
    changed: Notify,
    /// Calls that the runtime takes at once; `None` where it takes one.
    several: Option<u32>,
    /// Held while a body comes in: many at once would only fill the memory of the server.
    uploads: Semaphore,
}

/// Bodies that come in at once from a runtime with several calls.
const UPLOADS: usize = 32;
/// A runtime needs one connection, each extension two, threads a few more.
const CONNECTIONS: usize = 48;

impl RuntimeApi {
    /// `several`: calls that the runtime takes at once.
    pub fn new(
        about: About,
        env: Env,
        telemetry: Arc<Telemetry>,
        capture: Arc<Capture>,
        several: Option<u32>,
    ) -> Self {
        Self {
            about,
            env,
            telemetry,
            capture,
            several,
            inner: Mutex::default(),
            stream_over: Notify::new(),
            changed: Notify::new(),
            uploads: Semaphore::new(if several.is_some() { UPLOADS } else { 1 }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A runtime process is about to be started, after the external extensions of these names.
    /// Resolves when all have initialised, or the runtime failed to.
    pub fn restart(&self, extensions: &[String]) -> oneshot::Receiver<Init> {
        let (sender, receiver) = oneshot::channel();
        let extensions = Extensions::expecting(extensions);
        let crowd = self.several.map(Crowd::new);
        *self.lock() = Inner { on_init: Some(sender), extensions, crowd, ..Inner::default() };
        receiver
    }

    /// Hands an event to the runtime, now or as soon as it asks. `None` when the runtime is not
    /// free, which is a bug of the caller or an environment that is going away.
    pub fn deliver(&self, delivery: Delivery) -> Option<oneshot::Receiver<Answer>> {
        let mut inner = self.lock();
        if inner.undelivered.is_some() || !inner.machine.deliver(&delivery.call.request_id) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        inner.on_answer = Some(sender);
        inner.answering = None;
        inner.stream.clone_from(&delivery.call.stream);
        inner.tell_extensions(&delivery);
        let unsent = match inner.waiter.take() {
            Some(waiter) => waiter.send(delivery).err(),
            None => Some(delivery),
        };
        inner.undelivered = unsent;
        Some(receiver)
    }

    /// Makes room for a call where the runtime takes several at once. `None` before it has
    /// initialised, and for one that is there already.
    pub fn admit_beside(&self, call: &Invocation) -> Option<oneshot::Receiver<Answer>> {
        let mut inner = self.lock();
        let ready = inner.machine.is_waiting();
        inner.crowd.as_mut().filter(|_| ready)?.admit(call)
    }

    /// Hands the event of such a call to the runtime, now or as soon as it asks.
    pub fn deliver_beside(&self, delivery: Delivery) {
        if let Some(crowd) = &mut self.lock().crowd {
            crowd.deliver(delivery);
        }
    }

    /// Nobody waits for one of several calls any more. See [`Crowd::give_up`].
    pub fn give_up(&self, request_id: &str) -> Option<oneshot::Receiver<bool>> {
        self.lock().crowd.as_mut()?.give_up(request_id)
    }

    /// Takes an event back that the runtime has not come for. Whether there was one: then the
    /// function has not seen the call.
    pub fn take_back(&self) -> bool {
        self.lock().undelivered.take().is_some()
    }

    /// Whether the runtime owes an answer.
    pub fn is_busy(&self) -> bool {
        let inner = self.lock();
        inner.undelivered.is_some() || inner.machine.is_busy()
    }

    async fn next(&self) -> Result<oneshot::Receiver<Delivery>, Refusal> {
        loop {
            let stream_over = self.stream_over.notified();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            stream_over.await;
        }
    }

    /// `None` while a stream is open.
    fn try_next(&self) -> Result<Option<oneshot::Receiver<Delivery>>, Refusal> {
        let mut inner = self.lock();
        let (sender, receiver) = oneshot::channel();
        if let Some(delivery) = inner.undelivered.take() {
            // The event was meant for this request; a receiver in hand cannot be gone.
            let _ = sender.send(delivery);
            return Ok(Some(receiver));
        }
        match inner.machine.next()? {
            Asked::Initialised => {
                inner.extensions.close();
                inner.settle_init_if_ready();
            }
            Asked::GaveUp => inner.settle_answer(Answer::Truncated),
            Asked::Later => return Ok(None),
            Asked::Free | Asked::Again => {}
        }
        match &mut inner.crowd {
            Some(crowd) => crowd.next(sender)?,
            None => inner.waiter = Some(sender),
        }
        drop(inner);
        self.changed.notify_waiters();
        Ok(Some(receiver))
    }

    /// The connection went away after an event was sent into it and before it was written.
    fn undeliver(&self, delivery: Delivery) {
        let mut inner = self.lock();
        match &mut inner.crowd {
            Some(crowd) => crowd.undeliver(delivery),
            None => inner.undelivered = Some(delivery),
        }
    }

    /// The right to send a body. A runtime with one call sends one at a time; another one is
    /// refused.
    async fn upload(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let permit = match self.several {
            Some(_) => self.uploads.acquire().await.ok(),
            None => self.uploads.try_acquire().ok(),
        };
        permit.ok_or_else(|| Refusal {
            status: 403,
            error_type: "InvalidStateTransition",
            message: "Another request body is still being sent".to_owned(),
        })
    }

    /// Connections that are open at once at most.
    fn connections(&self) -> usize {
        CONNECTIONS + 2 * self.several.unwrap_or(0) as usize
    }

    fn may_answer(&self, request_id: &str) -> Result<(), Refusal> {
        let now = self.env.clock.instant();
        let mut inner = self.lock();
        if let Some(crowd) = &mut inner.crowd {
            return crowd.may_answer(request_id);
        }
        inner.machine.may_answer(request_id)?;
        inner.answering.get_or_insert(now);
        Ok(())
    }

    /// When the runtime began to answer the call that was delivered last.
    pub fn answering(&self) -> Option<Instant> {
        self.lock().answering
    }

    fn answer(&self, request_id: &str, answer: Answer) -> Result<(), Refusal> {
        let mut inner = self.lock();
        if let Some(crowd) = &mut inner.crowd {
            return crowd.answer(request_id, answer);
        }
        inner.machine.answer(request_id)?;
        inner.settle_answer(answer);
        Ok(())
    }

    /// A streamed response begins. Gives the caller's end of it, where the caller wants one.
    fn begin_stream(&self, request_id: &str) -> Result<Option<mpsc::Sender<Bytes>>, Refusal> {
        let now = self.env.clock.instant();
        let mut inner = self.lock();
        if let Some(crowd) = &mut inner.crowd {
            return crowd.begin_stream(request_id);
        }
        inner.machine.begin_stream(request_id)?;
        inner.answering.get_or_insert(now);
        Ok(inner.stream.take())
    }

    fn end_stream(&self, request_id: &str, answer: Answer) -> Result<(), Refusal> {
        let mut inner = self.lock();
        if let Some(crowd) = &mut inner.crowd {
            return crowd.end_stream(request_id, answer);
        }
        inner.machine.end_stream(request_id)?;
        inner.settle_answer(answer);
        drop(inner);
        self.stream_over.notify_waiters();
        Ok(())
    }

    /// A streamed response will not come to its end. Says nothing when it already has.
    fn break_off(&self, request_id: &str) {
        let mut inner = self.lock();
        if let Some(crowd) = &mut inner.crowd {
            return crowd.break_off(request_id);
        }
        let broke = inner.machine.break_off(request_id).is_ok();
        drop(inner);
        if broke {
            self.stream_over.notify_waiters();
        }
    }

    fn may_fail_init(&self) -> Result<(), Refusal> {
        self.lock().machine.may_fail_init()
    }

    fn init_error(&self, body: Bytes, error_type: String) -> Result<(), Refusal> {
        let mut inner = self.lock();
        inner.machine.init_error()?;
        inner.settle_init(Init::Failed { body, error_type });
        Ok(())
    }

    fn restore(&self) -> Result<(), Refusal> {
        self.lock().machine.restore()
    }

    fn may_fail_restore(&self) -> Result<(), Refusal> {
        self.lock().machine.may_fail_restore()
    }

    fn restore_error(&self, body: Bytes, error_type: String) -> Result<(), Refusal> {
        let mut inner = self.lock();
        inner.machine.restore_error()?;
        inner.settle_init(Init::Failed { body, error_type });
        Ok(())
    }
}

impl Inner {
    fn settle_answer(&mut self, answer: Answer) {
        if let Some(caller) = self.on_answer.take() {
            // The call may have timed out in this moment; its answer is then nobody's.
            let _ = caller.send(answer);
        }
    }

    /// AWS: initialisation is over when the runtime and all extensions have asked for an event.
    fn settle_init_if_ready(&mut self) {
        if self.machine.has_initialised() && self.extensions.are_ready() {
            self.settle_init(Init::Done);
        }
    }

    fn settle_init(&mut self, init: Init) {
        if let Some(environment) = self.on_init.take() {
            let _ = environment.send(init);
        }
    }
}
