//! The one way in for everything inside the server that calls a function: HTTP, event pollers,
//! schedules, durable executions.

use crate::{CatalogError, Outcome, StartError, Throttled};
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_model::{FunctionRef, Qualifier};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::mpsc;

/// What is to be called, and with what. Whoever may not call it has been refused before.
#[derive(Debug, Clone)]
pub struct Call {
    pub function: FunctionRef,
    /// The same for every attempt of one event. Names the execution of a durable function, so that
    /// it is started once.
    pub request_id: String,
    /// JSON; empty stands for `{}`.
    pub payload: Bytes,
    /// Already decoded JSON text.
    pub client_context: Option<String>,
    /// An `X-Amzn-Trace-Id`, with its lineage where it has one; a new one is made where absent.
    pub trace_id: Option<String>,
    /// Given where the function isolates tenants, and nowhere else.
    pub tenant: Option<String>,
    /// Whether the caller wants the end of the log.
    pub tail: bool,
    /// See [`crate::Invocation::stream`].
    pub stream: Option<mpsc::Sender<Bytes>>,
    /// Whether it is an invocation within a durable execution, and does not start one.
    pub within_execution: bool,
    /// Nobody waits for the result: of a durable function, the execution only has to be started.
    pub detached: bool,
}

impl Call {
    /// A call that answers as a whole and tells nothing of its log.
    pub fn new(function: FunctionRef, request_id: impl Into<String>, payload: Bytes) -> Self {
        Self {
            function,
            request_id: request_id.into(),
            payload,
            client_context: None,
            trace_id: None,
            tenant: None,
            tail: false,
            stream: None,
            within_execution: false,
            detached: false,
        }
    }
}

/// A call that a function ended, well or not: see [`Outcome::function_error`].
#[derive(Debug)]
pub struct Invoked {
    pub outcome: Outcome,
    /// Which version an alias led to.
    pub version: Qualifier,
    /// As the function saw it.
    pub trace_id: Arc<str>,
}

/// Why a function was not called. Only a [`InvokeError::Start`] may have used up time, and none of
/// them has run the handler to its end.
#[derive(Debug, Clone, Error)]
pub enum InvokeError {
    /// There is no such function, or it cannot be called in its state.
    #[error(transparent)]
    Refused(#[from] CatalogError),
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// It has called itself so often in this chain of calls that it is taken for a loop.
    #[error(
        "Lambda has detected your function being invoked in a recursive loop with other Amazon Web \
         Services resources and stopped your function's invocation."
    )]
    Recursive(FunctionRef),
    /// No environment of `version` took the call.
    #[error("{error}")]
    Start { version: Qualifier, error: StartError },
}

/// Resolve, count, assign, call, settle.
#[async_trait]
pub trait Invoker: Send + Sync {
    /// Ends when the call has ended. When the future is dropped the call still ends by itself, is
    /// logged, and gives back what it held.
    async fn invoke(&self, call: Call) -> Result<Invoked, InvokeError>;
}
