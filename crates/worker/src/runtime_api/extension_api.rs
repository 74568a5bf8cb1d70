//! Extensions beside the runtime: the shell around their state machine.
//!
//! An event for an extension waits until it asks for it. An extension that never comes back holds
//! up its own environment, until the call's deadline, and nothing else.

use super::extensions::{Extension, Kind, refusal};
use super::{Delivery, Inner, Refusal, RuntimeApi};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;

/// Why an environment, or what runs in it, is ended. The words are AWS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Spindown,
    Timeout,
    Failure,
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

impl RuntimeApi {
    /// Lets an extension in; gives it its identifier.
    pub(super) fn register(&self, name: &str, events: &[&str]) -> Result<String, Refusal> {
        // AWS: where calls are beside each other, nobody is told of single ones.
        if self.several.is_some() && events.contains(&"INVOKE") {
            let why = "INVOKE: ErrorInvalidEventType";
            return Err(refusal("Extension.InvalidEventType", why));
        }
        let id = self.env.random.uuid();
        self.lock().extensions.register(name, events, &id)?;
        self.changed.notify_waiters();
        Ok(id)
    }

    /// What comes out is closed without an event when the environment goes away.
    pub(super) fn next_event(&self, id: &str) -> Result<oneshot::Receiver<Bytes>, Refusal> {
        let mut inner = self.lock();
        let (sender, receiver) = oneshot::channel();
        if let Some(event) = inner.untaken.remove(id) {
            // A receiver in hand cannot be gone.
            let _ = sender.send(event);
            return Ok(receiver);
        }
        let waiting = inner.turns.get(id).is_some_and(|turn| !turn.is_closed());
        inner.extensions.next(id, waiting)?;
        match inner.ending.clone().filter(|_| inner.extensions.hears_shutdown(id)) {
            Some(event) => {
                let _ = sender.send(event);
            }
            None => {
                inner.turns.insert(id.to_owned(), sender);
            }
        }
        inner.settle_init_if_ready();
        drop(inner);
        self.changed.notify_waiters();
        Ok(receiver)
    }

    pub(super) fn extension_init_error(&self, id: &str, error_type: &str) -> Result<(), Refusal> {
        self.lock().extensions.init_error(id, error_type)
    }

    pub(super) fn extension_exit_error(&self, id: &str, error_type: &str) -> Result<(), Refusal> {
        self.lock().extensions.exit_error(id, error_type)
    }

    pub(super) fn name_of(&self, id: &str) -> Option<String> {
        self.lock().extensions.name_of(id).map(str::to_owned)
    }

    /// The program of an external extension could not be started.
    pub fn launch_error(&self, name: &str, error_type: &str) {
        self.lock().extensions.launch_error(name, error_type);
    }

    /// What an extension said of its failure before it ended.
    pub fn extension_failure(&self) -> Option<&'static str> {
        self.lock().extensions.failed()
    }

    pub fn extensions(&self) -> Vec<Extension> {
        self.lock().extensions.all().to_vec()
    }

    /// Which extensions have registered.
    pub fn kind(&self) -> Kind {
        self.lock().extensions.kind()
    }

    /// Whether extensions are told of calls, so that a call is over when they say so.
    pub fn is_attended(&self) -> bool {
        self.lock().extensions.attend()
    }

    /// Resolves when all external extensions have registered.
    pub async fn registered(&self) {
        self.until(|inner| inner.extensions.are_registered()).await;
    }

    /// Resolves when the runtime asks for another event.
    pub async fn runtime_ready(&self) {
        self.until(|inner| inner.machine.is_waiting()).await;
    }

    /// Resolves when the runtime has asked for its first event.
    pub async fn initialised(&self) {
        self.until(|inner| inner.machine.has_initialised()).await;
    }

    pub fn are_extensions_ready(&self) -> bool {
        self.lock().extensions.are_ready()
    }

    /// Resolves when no extension works any more.
    pub async fn extensions_ready(&self) {
        self.until(|inner| inner.extensions.are_ready()).await;
    }

    async fn until(&self, holds: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Tells the extensions that want to know that everything ends, now or when they ask. Gives
    /// their names.
    pub fn begin_shutdown(&self, reason: Reason, deadline_ms: i64) -> Vec<String> {
        let event = json!({
            "eventType": "SHUTDOWN",
            "deadlineMs": deadline_ms,
            "shutdownReason": reason.word(),
        });
        let event = Bytes::from(event.to_string());
        let mut inner = self.lock();
        inner.ending = Some(event.clone());
        for id in inner.extensions.begin_shutdown() {
            inner.hand_over(id, event.clone());
        }
        let told = inner.extensions.all().iter().filter(|extension| extension.hears_shutdown());
        told.map(|extension| extension.name.clone()).collect()
    }
}

impl Inner {
    /// A call begins: those extensions that want to know are told.
    pub(super) fn tell_extensions(&mut self, delivery: &Delivery) {
        let told = self.extensions.begin_call();
        if told.is_empty() {
            return;
        }
        let call = &delivery.call;
        let mut event = json!({
            "eventType": "INVOKE",
            "deadlineMs": delivery.deadline_ms,
            "requestId": call.request_id,
            "invokedFunctionArn": call.invoked_arn,
        });
        if let Some(trace) = &call.trace_id {
            event["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": trace });
        }
        let event = Bytes::from(event.to_string());
        for id in told {
            self.hand_over(id, event.clone());
        }
    }

    fn hand_over(&mut self, id: String, event: Bytes) {
        let untaken = match self.turns.remove(&id) {
            Some(turn) => turn.send(event).err(),
            None => Some(event),
        };
        if let Some(event) = untaken {
            self.untaken.insert(id, event);
        }
    }
}
