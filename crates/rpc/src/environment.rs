//! Counting, manager, placement and worker.

use async_trait::async_trait;
use bytes::Bytes;
use lamplight_model::{FunctionArn, Qualifier, Target};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// An execution environment, unique for the life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentId(pub u64);

impl std::fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One call of a function.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub request_id: String,
    pub payload: Bytes,
    /// With the qualifier that was asked for.
    pub invoked_arn: String,
    /// Already decoded JSON text.
    pub client_context: Option<String>,
    pub trace_id: Option<String>,
    /// For whom it is, of a function that isolates tenants.
    pub tenant: Option<String>,
    /// Whether the caller wants the end of the log.
    pub tail: bool,
    /// Takes a streamed response while the function writes it; without it the response is
    /// collected. The worker waits for room in it, and goes on without it once it is closed.
    pub stream: Option<mpsc::Sender<Bytes>>,
}

/// The largest piece of a response that is sent into [`Invocation::stream`]. Bytes.
pub const CHUNK: usize = 128 * 1024;

/// How a call ended. A function's own failure is an outcome, not an error.
#[derive(Debug)]
pub struct Outcome {
    /// The response or the error document. Empty when the response was streamed.
    pub payload: Bytes,
    /// The `X-Amz-Function-Error` header: `Unhandled`.
    pub function_error: Option<&'static str>,
    /// The last 4 KB of this call's log, where asked for.
    pub log_tail: Option<Vec<u8>>,
    pub after: After,
}

/// What becomes of the environment when its call is answered.
#[derive(Debug)]
pub enum After {
    /// It can serve another call.
    Free,
    /// It has served its last one.
    Spent,
    /// Not everybody in it is done: its extensions may work on after the answer, or one of several
    /// workers after its time. Resolves, sooner or later, with whether it can serve another call;
    /// dropped by the other side, it cannot.
    Busy(oneshot::Receiver<bool>),
}

impl After {
    /// Waits until nobody works on the call any more. Whether the environment can serve another.
    pub async fn reusable(self) -> bool {
        match self {
            Self::Free => true,
            Self::Spent => false,
            Self::Busy(end) => end.await.unwrap_or(false),
        }
    }
}

/// A unit of concurrency, given back when dropped.
pub struct Slot(#[allow(dead_code, reason = "held for its Drop")] pub Box<dyn Any + Send + Sync>);

/// AWS: the `Reason` of a TooManyRequestsException.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Rate Exceeded.")]
pub struct Throttled {
    pub reason: &'static str,
    pub retry_after_seconds: u32,
}

/// Is there concurrency left?
pub trait Counting: Send + Sync {
    /// `awaited`: somebody waits for the answer.
    fn admit(&self, function: &FunctionArn, awaited: bool) -> Result<Slot, Throttled>;

    /// What `function` has for itself from now on, and may not exceed.
    fn reserve(&self, function: &FunctionArn, reserved: Option<u32>);

    /// Calls of an account and region that may run at the same time.
    fn limit(&self) -> u32;
}

#[derive(Debug, Clone, Error)]
pub enum StartError {
    /// The machine has no such runtime; the text says how to get it.
    #[error("{0}")]
    RuntimeMissing(String),
    #[error("the code of the function could not be prepared: {0}")]
    Code(String),
    #[error("no sandbox could be made: {0}")]
    Sandbox(String),
    /// Of an environment that was to be ready ahead of calls.
    #[error("the function did not initialise: {0}")]
    Init(String),
    #[error("the server is shutting down")]
    Stopping,
    /// Ending idle environments did not help.
    #[error("{0}")]
    Memory(String),
    /// The function grows too fast.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The environment went away before it could take the call; another one may.
    #[error("the execution environment is gone")]
    Gone,
}

/// Runs environments on one machine.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Makes an environment and starts its runtime; initialisation goes on in the background.
    async fn start(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError>;

    /// Resolves when the runtime of an environment that was started asks for its first event, or is
    /// gone. It may never: be patient, but not for ever.
    async fn ready(&self, _id: EnvironmentId) {}

    /// Sees to the end of the initialisation of an environment that was started and that no call
    /// has taken: it is idle from then on, or else is to be ended.
    async fn initialise(&self, _id: EnvironmentId) -> Result<(), StartError> {
        Ok(())
    }

    /// How much more memory environments may take on this machine, in bytes; unknown where absent.
    fn memory_left(&self) -> Option<u64> {
        None
    }

    /// Makes an environment ahead of calls. Returns once it is initialised.
    async fn provision(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError>;

    /// Gives the environment one call and waits for its end. The caller makes sure that an
    /// environment has one call at a time, or as many as its target says. When the future is dropped the call still ends by
    /// itself and the environment is ended.
    async fn invoke(&self, id: EnvironmentId, call: Invocation) -> Result<Outcome, StartError>;

    /// Ends the environment. Returns when nothing of it is left.
    async fn end(&self, id: EnvironmentId);

    /// Unpacks and checks a zip file ahead of its first use. `zip` is the file with that digest.
    async fn prepare(&self, digest: &str, zip: &Path) -> Result<Prepared, PrepareError>;

    /// Forgets unpacked code that no function uses any more.
    async fn forget(&self, digest: &str);

    /// Whether this machine can run `runtime`; the error says how to get it.
    async fn can_run(&self, runtime: &str) -> Result<(), String>;

    /// Whether this machine can run container images; the error says what is missing.
    fn can_run_images(&self) -> Result<(), String>;
}

/// Told by a worker when an environment ended without being asked to.
pub type Ended = mpsc::UnboundedSender<EnvironmentId>;

/// What unpacking found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Bytes.
    pub unzipped: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrepareError {
    /// Not a zip file, or one that must not be unpacked; the reason is for the log.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    BadZip(String),
    #[error("Unzipped size must be smaller than 262144000 bytes")]
    TooLarge,
    #[error("{0}")]
    Failed(String),
}

/// Which worker starts the next environment of a target.
#[async_trait]
pub trait Placement: Send + Sync {
    async fn place(&self, target: &Target) -> Result<Arc<dyn Worker>, StartError>;
}

/// An environment for one call, which has it for itself unless the target takes several at once.
/// Hand it back with [`Manager::settle`]; a lost
/// assignment (the caller was cancelled) ends its environment.
pub struct Assignment {
    pub worker: Arc<dyn Worker>,
    pub id: EnvironmentId,
    /// Given back on drop: the manager's own bookkeeping.
    pub hold: Box<dyn Any + Send + Sync>,
}

/// How far the environments are that are to be ready ahead of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provisioning {
    /// Environments that are initialised.
    pub ready: u32,
    /// Why the last attempt to make one did not work.
    pub failed: Option<String>,
}

/// Which environments of a function have outlived their use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outdated {
    /// Those of `$LATEST` of an older generation than this.
    Latest(u64),
    /// The same of `$LATEST.PUBLISHED`.
    LatestPublished(u64),
    /// Those of a version that was deleted, by the number it was kept under.
    Version(u64),
    /// All: the function was deleted.
    All,
}

/// Keeps the environments: an idle one where there is one, else a new one.
#[async_trait]
pub trait Manager: Send + Sync {
    /// For a call of `target` on behalf of `tenant`: an environment serves no other tenant, ever.
    async fn assign(
        &self,
        target: &Arc<Target>,
        tenant: Option<&str>,
    ) -> Result<Assignment, StartError>;

    /// The caller has its answer, and something in the environment is still at the call: it takes
    /// its place there until [`Manager::settle`], but nobody waits for it.
    fn answered(&self, assignment: &mut Assignment);

    /// The call is over; `reusable` says whether the environment may serve another one.
    async fn settle(&self, assignment: Assignment, reusable: bool);

    /// What is to be ready ahead of calls from now on: so many initialised environments of each
    /// target, and none of others.
    fn provision(&self, wishes: Vec<(Arc<Target>, u32)>);

    /// How far that is for a version.
    fn provisioned(&self, function: &FunctionArn, version: &Qualifier) -> Provisioning;

    /// Ends the environments that nobody may use any more: idle ones now, busy ones after their
    /// call.
    async fn retire(&self, function: &FunctionArn, outdated: Outdated);
}
