//! Which updates are taken, and in which words the others are refused.

use super::*;
use crate::durable::checkpoint::{Callee, Resolved};
use crate::durable::updates::Target;

/// `known` and `durable:1` are there.
pub fn resolve(target: &Target) -> Result<Resolved, DurableError> {
    Ok(match &*target.function {
        "known" => Ok(Callee { version: "1".into(), execution: None }),
        "durable:1" => {
            let execution = Some(format!("{NAME}/durable-execution/child/0-2").into());
            Ok(Callee { version: "1".into(), execution })
        }
        other => Err(ErrorObject::new(
            "ResourceNotFoundException",
            format!("Function not found: {other}"),
        )),
    })
}

#[test]
fn what_cannot_be_is_refused_as_a_whole() {
    let mut driven = Driven::new();
    driven
        .checkpoint(json!([
            with(update("context", "CONTEXT", "START"), json!({ "Name": "c", "SubType": "Map" })),
            update("running", "STEP", "START"),
            update("done", "STEP", "SUCCEED"),
            with(update("wait", "WAIT", "START"), json!({ "WaitOptions": { "WaitSeconds": 60 } })),
            update("callback", "CALLBACK", "START"),
            with(
                update("call", "CHAINED_INVOKE", "START"),
                json!({ "ChainedInvokeOptions": { "FunctionName": "known" } })
            ),
        ]))
        .unwrap();
    let before = driven.operations();
    let retry = |more| with(update("running", "STEP", "RETRY"), more);
    let step = json!({ "NextAttemptDelaySeconds": 1 });
    let error = json!({ "ErrorMessage": "e" });
    for (updates, message) in [
        (json!([update("done", "STEP", "START")]), "Invalid current STEP state to start."),
        (json!([update("done", "STEP", "SUCCEED")]), "Invalid current STEP state to close."),
        (
            json!([with(update("done", "STEP", "RETRY"), json!({ "StepOptions": step }))]),
            "Invalid current STEP state to re-attempt.",
        ),
        (json!([retry(json!({}))]), "Invalid StepOptions for the given action."),
        (
            json!([retry(json!({ "StepOptions": step, "Payload": "1", "Error": error }))]),
            "Cannot provide both error and payload to RETRY a STEP.",
        ),
        (
            json!([with(update("running", "STEP", "SUCCEED"), json!({ "Error": error }))]),
            "Cannot provide an Error for SUCCEED action.",
        ),
        (
            json!([with(update("running", "STEP", "FAIL"), json!({ "Payload": "1" }))]),
            "Cannot provide a Payload for FAIL action.",
        ),
        (
            json!([update("running", "STEP", "CANCEL")]),
            "Invalid action for the given operation type.",
        ),
        (json!([update("new", "CONTEXT", "SUCCEED")]), "Invalid current CONTEXT state to close."),
        (
            json!([update("context", "CONTEXT", "START")]),
            "Cannot start a CONTEXT that already exist.",
        ),
        (
            json!([update("new", "WAIT", "START")]),
            "Update for WAIT operation requires WaitOptions.",
        ),
        (json!([update("wait", "WAIT", "START")]), "Cannot start a WAIT that already exist."),
        (
            json!([update("new", "WAIT", "CANCEL")]),
            "Cannot cancel a WAIT that does not exist or has already completed.",
        ),
        (
            json!([update("callback", "CALLBACK", "START")]),
            "Cannot start a CALLBACK that already exist.",
        ),
        (
            json!([update("callback", "CALLBACK", "SUCCEED")]),
            "Invalid action for the given operation type.",
        ),
        (
            json!([update("call", "CHAINED_INVOKE", "START")]),
            "Cannot start a CHAINED_INVOKE operation that already exists.",
        ),
        (
            json!([update("new", "CHAINED_INVOKE", "START")]),
            "Update for CHAINED_INVOKE operation requires ChainedInvokeOptions.",
        ),
        (json!([update("e", "EXECUTION", "START")]), "Invalid EXECUTION action."),
        (
            json!([update("e", "EXECUTION", "SUCCEED"), update("new", "STEP", "START")]),
            "EXECUTION checkpoint must be the last update.",
        ),
        (
            json!([update("e", "EXECUTION", "SUCCEED"), update("f", "EXECUTION", "SUCCEED")]),
            "Cannot checkpoint multiple EXECUTION updates.",
        ),
        (
            json!([update("new", "STEP", "SUCCEED"), update("new", "STEP", "SUCCEED")]),
            "Cannot checkpoint multiple operations with the same ID.",
        ),
        (json!([update("wait", "STEP", "START")]), "Inconsistent operation type."),
        (
            json!([with(update("context", "CONTEXT", "FAIL"), json!({ "SubType": "Step" }))]),
            "Inconsistent operation subtype.",
        ),
        (
            json!([with(update("context", "CONTEXT", "FAIL"), json!({ "Name": "d" }))]),
            "Inconsistent operation name.",
        ),
        (
            json!([with(update("running", "STEP", "FAIL"), json!({ "ParentId": "context" }))]),
            "Inconsistent parent operation id.",
        ),
        (
            json!([with(update("new", "STEP", "START"), json!({ "ParentId": "running" }))]),
            "Invalid parent operation id.",
        ),
    ] {
        // What comes before it in the batch does not happen either.
        let mut batch = vec![update("innocent", "STEP", "START")];
        batch.extend(updates.as_array().unwrap().clone());
        let refused = driven.checkpoint(Value::Array(batch)).unwrap_err();
        assert_eq!(refused, DurableError::Invalid(message.to_owned()));
        assert_eq!(driven.operations(), before);
    }
    // After all that the token is still good.
    driven.checkpoint(json!([update("running", "STEP", "SUCCEED")])).unwrap();
}

#[test]
fn a_function_that_is_not_there_fails_at_once() {
    let mut driven = Driven::new();
    let options = json!({ "ChainedInvokeOptions": { "FunctionName": "nobody" }, "Payload": "1" });
    let answer =
        driven.checkpoint(json!([with(update("call", "CHAINED_INVOKE", "START"), options)]));
    let operation = answer.unwrap()["NewExecutionState"]["Operations"][0].clone();
    assert_eq!(operation["Status"], "FAILED");
    assert_eq!(
        operation["ChainedInvokeDetails"]["Error"]["ErrorType"],
        "ResourceNotFoundException"
    );
    assert_eq!(driven.kinds()[1..], ["ChainedInvokeStarted", "ChainedInvokeFailed"]);
}
