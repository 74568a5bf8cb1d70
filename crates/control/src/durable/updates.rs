//! What a checkpoint asks for, read from the form that the service model gives it. The model has
//! been checked before; what is missing all the same is absent here.

use super::facts::Text;
use lamplight_rpc::ErrorObject;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Execution,
    Context,
    Step,
    Wait,
    Callback,
    ChainedInvoke,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Execution => "EXECUTION",
            Self::Context => "CONTEXT",
            Self::Step => "STEP",
            Self::Wait => "WAIT",
            Self::Callback => "CALLBACK",
            Self::ChainedInvoke => "CHAINED_INVOKE",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Succeed,
    Fail,
    Retry,
    Cancel,
}

#[derive(Debug, Clone)]
pub struct Update {
    pub id: Text,
    pub parent: Option<Text>,
    pub name: Option<Text>,
    pub kind: Kind,
    pub sub_type: Option<Text>,
    pub action: Action,
    pub payload: Option<Text>,
    pub error: Option<ErrorObject>,
    pub replay_children: bool,
    /// Of a retry, seconds.
    pub delay: Option<u32>,
    pub wait: Option<u32>,
    /// Of a callback: its timeout and that of its heartbeat, seconds.
    pub timeouts: (u32, u32),
    pub chained: Option<Target>,
}

/// What a chained invoke calls.
#[derive(Debug, Clone)]
pub struct Target {
    pub function: Text,
    pub tenant: Option<Text>,
    pub trace: Option<Text>,
}

impl Update {
    /// `None` for what the model does not have.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(text);
        let options = |name: &str| value.get(name).filter(|options| options.is_object());
        let number =
            |options: Option<&Value>, name: &str| u32::try_from(options?.get(name)?.as_u64()?).ok();
        let callback = options("CallbackOptions");
        let chained = options("ChainedInvokeOptions");
        Some(Self {
            id: text("Id")?,
            parent: text("ParentId"),
            name: text("Name"),
            kind: match value.get("Type")?.as_str()? {
                "EXECUTION" => Kind::Execution,
                "CONTEXT" => Kind::Context,
                "STEP" => Kind::Step,
                "WAIT" => Kind::Wait,
                "CALLBACK" => Kind::Callback,
                "CHAINED_INVOKE" => Kind::ChainedInvoke,
                _ => return None,
            },
            sub_type: text("SubType"),
            action: match value.get("Action")?.as_str()? {
                "START" => Action::Start,
                "SUCCEED" => Action::Succeed,
                "FAIL" => Action::Fail,
                "RETRY" => Action::Retry,
                "CANCEL" => Action::Cancel,
                _ => return None,
            },
            payload: text("Payload"),
            error: value.get("Error").and_then(ErrorObject::read),
            replay_children: options("ContextOptions")
                .is_some_and(|options| options["ReplayChildren"] == true),
            delay: number(options("StepOptions"), "NextAttemptDelaySeconds"),
            wait: number(options("WaitOptions"), "WaitSeconds"),
            timeouts: (
                number(callback, "TimeoutSeconds").unwrap_or(0),
                number(callback, "HeartbeatTimeoutSeconds").unwrap_or(0),
            ),
            chained: chained.and_then(|options| {
                Some(Target {
                    function: options.get("FunctionName").and_then(self::text)?,
                    tenant: options.get("TenantId").and_then(self::text),
                    trace: options.get("XAmznTraceId").and_then(self::text),
                })
            }),
        })
    }
}

fn text(value: &Value) -> Option<Text> {
    Some(value.as_str()?.into())
}
