//! What happened to an execution, in the order in which it happened: the durable form of it.
//!
//! Facts are never changed. A new kind of fact, or a new member with a default, is no new format.

use lamplight_rpc::ErrorObject;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Text that may be large, shared between the facts and the state.
pub type Text = Arc<str>;

/// Facts that were written together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub format: u32,
    /// Milliseconds since the epoch.
    pub at: i64,
    pub facts: Vec<Fact>,
}

impl Entry {
    pub const FORMAT: u32 = 1;
}

/// AWS: how an execution or an operation can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact")]
pub enum Fact {
    ExecutionStarted {
        input: Option<Text>,
    },
    ExecutionEnded {
        end: End,
        result: Option<Text>,
        error: Option<ErrorObject>,
    },
    /// It will be paused once no invocation can write any more.
    PauseRequested {
        client_token: Option<String>,
        reason: Option<Text>,
        timeout_paused: bool,
    },
    /// Before it was paused.
    PauseCancelled {
        client_token: Option<String>,
    },
    Paused,
    Resumed {
        client_token: Option<String>,
        reason: Option<Text>,
    },
    OperationStarted {
        id: Text,
        parent: Option<Text>,
        name: Option<Text>,
        sub_type: Option<Text>,
        start: Start,
    },
    /// The next attempt of a step.
    StepStarted {
        id: Text,
    },
    StepRetried {
        id: Text,
        result: Option<Text>,
        error: Option<ErrorObject>,
        /// Seconds.
        delay: u32,
    },
    /// The delay of a step's next attempt is over.
    StepReady {
        id: Text,
    },
    OperationEnded {
        id: Text,
        end: End,
        result: Option<Text>,
        error: Option<ErrorObject>,
        #[serde(default)]
        replay_children: bool,
    },
    Heartbeat {
        id: Text,
    },
    InvocationCompleted {
        /// Milliseconds since the epoch.
        started: i64,
        request_id: Text,
        error: Option<ErrorObject>,
        after: After,
    },
}

/// What an invocation leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct After {
    /// The number of the last change that the handler knows of.
    pub seen: u64,
    /// Whether another invocation has to follow.
    pub owed: bool,
    /// How many in a row have failed.
    pub failures: u32,
    /// Not before this time, in milliseconds since the epoch.
    pub retry_at: Option<i64>,
}

/// What is particular about an operation from its start on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Start {
    Context,
    Step,
    Wait {
        seconds: u32,
    },
    Callback {
        /// Seconds; none where 0.
        timeout: u32,
        heartbeat: u32,
    },
    ChainedInvoke {
        function: Text,
        tenant: Option<Text>,
        trace: Option<Text>,
        input: Option<Text>,
        /// The version that it calls; none where there is no such function.
        version: Option<Text>,
        /// Of a durable function: the execution that it starts.
        execution: Option<Text>,
    },
}

impl Fact {
    /// What it adds to the size of its execution.
    pub fn bytes(&self) -> u64 {
        /// The rest of a fact: ids, names, times.
        const FRAME: usize = 256;
        let text = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.len());
        let error = |error: &Option<ErrorObject>| error.as_ref().map_or(0, ErrorObject::bytes);
        let bytes = match self {
            Self::ExecutionStarted { input } => text(input),
            Self::ExecutionEnded { result, error: e, .. }
            | Self::StepRetried { result, error: e, .. }
            | Self::OperationEnded { result, error: e, .. } => text(result) + error(e),
            Self::OperationStarted { start: Start::ChainedInvoke { input, trace, .. }, .. } => {
                text(input) + text(trace)
            }
            Self::InvocationCompleted { error: e, .. } => error(e),
            Self::PauseRequested { reason, .. } | Self::Resumed { reason, .. } => text(reason),
            _ => 0,
        };
        (FRAME + bytes) as u64
    }
}
