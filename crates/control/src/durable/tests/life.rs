//! How executions live: waits, retries, callbacks, chained invokes, pauses and ends.

use super::*;
use crate::durable::facts::End;
use crate::durable::machine::FAILURES;
use lamplight_rpc::{CallbackAnswer, PauseRequest};

fn wait(id: &str, seconds: u32) -> Value {
    with(update(id, "WAIT", "START"), json!({ "WaitOptions": { "WaitSeconds": seconds } }))
}

#[test]
fn a_wait_suspends_and_wakes() {
    let mut driven = Driven::new();
    let event = &driven.events[0];
    assert_eq!(event["DurableExecutionArn"], arn().to_string());
    let first = &event["InitialExecutionState"]["Operations"][0];
    assert_eq!((&first["Type"], &first["StartTimestamp"]), (&json!("EXECUTION"), &json!(START)));
    assert_eq!(first["ExecutionDetails"]["InputPayload"], "{}");

    driven.checkpoint(json!([wait("w", 10)])).unwrap();
    assert!(driven.pending().is_empty());
    assert_eq!(driven.machine.wake(), START + 10_000);
    assert!(driven.later(9).is_empty());
    assert!(is_invoked(&driven.later(1)));
    let event = driven.events.last().unwrap();
    assert_eq!(event["UpdatedOperationIds"], json!(["w"]));
    assert_eq!(event["InitialExecutionState"]["Operations"][1]["Status"], "SUCCEEDED");
    let wishes = driven.answer(Ok(json!({ "Status": "SUCCEEDED", "Result": "1" })));
    assert!(matches!(&wishes[..], [Wish::Tell(told)] if told.succeeded));
    assert_eq!(driven.status(), "SUCCEEDED");
    // It is kept for as long as was asked for.
    assert_eq!(driven.machine.wake(), driven.now + 7 * 24 * 3600 * 1000);
    assert!(driven.later(3600 * 24).is_empty());
}

#[test]
fn a_timer_that_goes_off_during_an_invocation_is_told_there() {
    let mut driven = Driven::new();
    driven.checkpoint(json!([wait("w", 1), wait("long", 60)])).unwrap();
    assert!(driven.later(2).is_empty());
    let answer = driven.checkpoint(json!([])).unwrap();
    assert_eq!(answer["NewExecutionState"]["Operations"][0]["Status"], "SUCCEEDED");
    assert_eq!(driven.checkpoint(json!([])).unwrap()["NewExecutionState"]["Operations"], json!([]));
    // Known to the handler, it is no reason to be invoked again; not known, it is.
    assert!(!is_invoked(&driven.pending()));
    driven.later(60);
    driven.checkpoint(json!([wait("short", 1), wait("last", 60)])).unwrap();
    driven.now += 5000;
    driven.act(|_, _| Ok(Vec::new())).unwrap();
    assert!(is_invoked(&driven.pending()));
}

#[test]
fn tokens_are_good_once_and_for_one_invocation() {
    let mut driven = Driven::new();
    let first = driven.token.clone();
    driven.checkpoint(json!([wait("w", 1)])).unwrap();
    let second = driven.token.clone();
    assert_ne!(first, second);
    let invalid = Err(DurableError::Invalid("Invalid checkpoint token".to_owned()));
    assert_eq!(driven.checkpoint_with(&first, None, json!([])), invalid);
    assert_eq!(driven.checkpoint_with("YWJj", None, json!([])), invalid);
    driven.pending();
    assert_eq!(driven.checkpoint_with(&second, None, json!([])), invalid);
    driven.later(1);
    assert_eq!(driven.checkpoint_with(&second, None, json!([])), invalid);
    driven.checkpoint(json!([])).unwrap();

    let mut other = Driven::new();
    other.machine.arn.id = "0-9".into();
    let foreign = other.checkpoint_with(&driven.token, None, json!([]));
    let text = "Checkpoint token is not valid for the durable execution ARN";
    assert_eq!(foreign, Err(DurableError::Invalid(text.to_owned())));
}

#[test]
fn a_checkpoint_whose_answer_was_lost_is_answered_again() {
    let mut driven = Driven::new();
    let token = driven.token.clone();
    let batch = json!([wait("w", 1)]);
    let answer = driven.checkpoint_with(&token, Some("once"), batch.clone()).unwrap();
    assert_eq!(driven.checkpoint_with(&token, Some("once"), batch.clone()), Ok(answer));
    assert!(driven.checkpoint_with(&token, Some("twice"), batch).is_err());
    assert_eq!(driven.operations().len(), 1);
}

#[test]
fn a_step_is_tried_until_it_is_ready() {
    let mut driven = Driven::new();
    let retry = json!({ "StepOptions": { "NextAttemptDelaySeconds": 5 }, "Error": { "ErrorMessage": "no" } });
    driven.checkpoint(json!([update("s", "STEP", "START")])).unwrap();
    driven.checkpoint(json!([with(update("s", "STEP", "RETRY"), retry)])).unwrap();
    assert_eq!(driven.operations(), ["s PENDING"]);
    driven.pending();
    assert!(is_invoked(&driven.later(5)));
    assert_eq!(driven.operations(), ["s READY"]);
    driven.checkpoint(json!([update("s", "STEP", "START")])).unwrap();
    driven.checkpoint(json!([update("s", "STEP", "SUCCEED")])).unwrap();
    assert_eq!(
        driven.kinds()[1..],
        ["StepStarted", "StepFailed", "InvocationCompleted", "StepStarted", "StepSucceeded"]
    );
}

#[test]
fn callbacks_are_answered_once_and_time_out() {
    let mut driven = Driven::new();
    let options = |timeout, heartbeat| json!({ "CallbackOptions": { "TimeoutSeconds": timeout, "HeartbeatTimeoutSeconds": heartbeat } });
    driven
        .checkpoint(json!([
            update("plain", "CALLBACK", "START"),
            with(update("timed", "CALLBACK", "START"), options(20, 0)),
            with(update("heard", "CALLBACK", "START"), options(60, 10)),
        ]))
        .unwrap();
    driven.pending();
    let yes = CallbackAnswer::Success(Some("yes".into()));
    driven.act(|machine, _| machine.callback("plain", &yes)).unwrap();
    assert!(is_invoked(&driven.follow()));
    driven.pending();
    for id in ["plain", "nobody"] {
        let refused = driven.act(|machine, _| machine.callback(id, &yes));
        assert_eq!(refused, Err(DurableError::CallbackClosed));
    }
    driven.later(9);
    driven.act(|machine, _| machine.callback("heard", &CallbackAnswer::Heartbeat)).unwrap();
    driven.later(9);
    assert_eq!(driven.operations(), ["plain SUCCEEDED", "timed STARTED", "heard STARTED"]);
    driven.later(2);
    assert_eq!(driven.operations(), ["plain SUCCEEDED", "timed TIMED_OUT", "heard TIMED_OUT"]);
    let error = |id: &str| {
        let error = driven.machine.state.operation(id).unwrap().error.clone().unwrap();
        error.error_type.unwrap().to_string()
    };
    assert_eq!(
        (error("timed"), error("heard")),
        ("Callback.Timeout".into(), "Callback.Heartbeat".into())
    );
}

#[test]
fn chained_invokes_are_made_once_and_again_after_a_restart() {
    let mut driven = Driven::new();
    let options =
        json!({ "ChainedInvokeOptions": { "FunctionName": "durable:1" }, "Payload": "1" });
    driven.checkpoint(json!([with(update("c", "CHAINED_INVOKE", "START"), options)])).unwrap();
    driven.checkpoint(json!([])).unwrap();
    assert_eq!(driven.calls, ["c"]);
    assert!(driven.pending().is_empty());

    let mut again = Machine::new(arn(), driven.machine.head.clone());
    for (at, facts) in driven.journal.clone() {
        again.apply(at, facts);
    }
    // The head says that there is something to do as soon as the server starts.
    assert_eq!(again.head.due, 0);
    assert!(matches!(&again.wishes(driven.now, String::new)[..], [Wish::Call(..)]));

    let ended = (End::Succeeded, Some("2".into()), None);
    driven.act(|machine, _| Ok(machine.chained_ended(&"c".into(), ended.clone()))).unwrap();
    assert!(is_invoked(&driven.follow()));
    driven.act(|machine, _| Ok(machine.chained_ended(&"c".into(), ended))).unwrap();
    assert_eq!(driven.operations(), ["c SUCCEEDED"]);
}

#[test]
fn invocations_that_fail_are_tried_again_for_a_while() {
    let mut driven = Driven::new();
    for failure in 1..FAILURES {
        assert!(!is_invoked(&driven.answer(Err("boom"))));
        assert_eq!(driven.status(), "RUNNING");
        let delay = 1 << (failure - 1);
        assert_eq!(driven.machine.wake(), driven.now + delay * 1000);
        assert!(is_invoked(&driven.later(delay)));
    }
    driven.answer(Err("boom"));
    assert_eq!(driven.status(), "FAILED");
    let error = driven.machine.state.outcome.clone().unwrap().error.unwrap();
    assert_eq!(error.error_message.as_deref(), Some("boom"));

    // One that works in between makes them start anew.
    let mut driven = Driven::new();
    driven.answer(Err("boom"));
    driven.later(1);
    driven.checkpoint(json!([wait("w", 1)])).unwrap();
    driven.pending();
    assert_eq!(driven.machine.state.after.failures, 0);
}

#[test]
fn a_handler_has_to_say_what_it_means() {
    for (answer, message) in [
        (json!({ "Status": "DONE" }), "Invalid Status in invocation output."),
        (json!("text"), "Invalid Status in invocation output."),
        (
            json!({ "Status": "SUCCEEDED", "Error": {} }),
            "Cannot provide an Error for SUCCEEDED status.",
        ),
        (
            json!({ "Status": "FAILED", "Result": "1" }),
            "Cannot provide a Result for FAILED status.",
        ),
    ] {
        let mut driven = Driven::new();
        driven.answer(Ok(answer));
        let error = driven.machine.state.outcome.clone().unwrap().error.unwrap();
        assert_eq!(error, ErrorObject::new("InvalidParameterValueException", message));
    }
    // To wait for nothing is tried again, and then an error.
    let mut driven = Driven::new();
    for delay in [1, 2] {
        driven.pending();
        assert_eq!(driven.status(), "RUNNING");
        driven.later(delay);
    }
    driven.pending();
    assert_eq!(driven.status(), "FAILED");
}

#[test]
fn the_end_may_be_checkpointed_when_it_is_large() {
    let mut driven = Driven::new();
    let payload = json!({ "Payload": "\"large\"" });
    let answer =
        driven.checkpoint(json!([with(update("e", "EXECUTION", "SUCCEED"), payload)])).unwrap();
    assert_eq!(answer.get("CheckpointToken"), None);
    driven.answer(Ok(json!({ "Status": "SUCCEEDED", "Result": "" })));
    assert_eq!(driven.machine.finished().unwrap().result.as_deref(), Some("\"large\""));
    assert_eq!(driven.kinds(), ["ExecutionStarted", "ExecutionSucceeded", "InvocationCompleted"]);
}

#[test]
fn a_stop_is_final() {
    let mut driven = Driven::new();
    driven.checkpoint(json!([wait("w", 10)])).unwrap();
    driven.act(|machine, _| Ok(machine.stop(None))).unwrap();
    assert_eq!(driven.status(), "STOPPED");
    assert!(driven.checkpoint(json!([])).is_err());
    driven.answer(Ok(json!({ "Status": "SUCCEEDED", "Result": "1" })));
    assert_eq!(driven.status(), "STOPPED");
    assert!(driven.later(3600 * 24 * 3).is_empty());
    driven.act(|machine, _| Ok(machine.stop(None))).unwrap();
    assert_eq!(driven.kinds().iter().filter(|kind| *kind == "ExecutionStopped").count(), 1);
}

#[test]
fn an_execution_times_out() {
    let mut driven = Driven::new();
    driven.checkpoint(json!([wait("w", 10_000)])).unwrap();
    driven.pending();
    assert_eq!(driven.machine.wake(), START + 3_600_000);
    driven.later(3600);
    assert_eq!(driven.status(), "TIMED_OUT");
    let error = driven.machine.finished().unwrap().error.unwrap();
    assert_eq!(error.error_message.as_deref(), Some("Execution timed out after 3600 seconds."));
}

#[test]
fn a_pause_waits_for_the_next_checkpoint() {
    let mut driven = Driven::new();
    let request =
        PauseRequest { client_token: Some("p".into()), timeout_paused: true, ..Default::default() };
    driven.act(|machine, _| machine.pause(&request)).unwrap();
    assert_eq!(driven.status(), "PAUSING");
    // The same request again is the same pause; another one is too late.
    driven.act(|machine, _| machine.pause(&request)).unwrap();
    let other = driven.act(|machine, _| machine.pause(&PauseRequest::default()));
    assert!(matches!(other, Err(DurableError::Conflict(_))));

    let answer = driven.checkpoint(json!([wait("w", 10)])).unwrap();
    assert_eq!(answer.get("CheckpointToken"), None);
    assert_eq!(driven.status(), "PAUSED");
    assert!(driven.checkpoint(json!([])).is_err());
    driven.pending();
    // Waits go on, the timeout does not, and nobody is invoked.
    assert!(driven.later(4000).is_empty());
    assert_eq!((driven.status(), driven.operations()), ("PAUSED", vec!["w SUCCEEDED".to_owned()]));
    driven.act(|machine, _| machine.resume(&PauseRequest::default())).unwrap();
    assert!(is_invoked(&driven.follow()));
    assert_eq!(driven.machine.state.timeout_at(3600), START + (3600 + 4000) * 1000);
    let again = driven.act(|machine, _| machine.resume(&PauseRequest::default()));
    assert!(matches!(again, Err(DurableError::Conflict(_))));
}

#[test]
fn a_pause_can_be_cancelled_before_it_holds() {
    let mut driven = Driven::new();
    driven.act(|machine, _| machine.pause(&PauseRequest::default())).unwrap();
    driven.act(|machine, _| machine.resume(&PauseRequest::default())).unwrap();
    assert_eq!(driven.status(), "RUNNING");
    let answer = driven.checkpoint(json!([wait("w", 10)])).unwrap();
    assert!(answer.contains_key("CheckpointToken"));
    assert!(!driven.kinds().contains(&"ExecutionPaused".to_owned()));
}

#[test]
fn a_function_that_cannot_be_called_is_called_later() {
    let mut driven = Driven::new();
    for delay in [1, 2, 4] {
        driven.machine.hold(driven.now);
        assert!(!is_invoked(&driven.follow()));
        assert!(is_invoked(&driven.later(delay)));
    }
    assert_eq!(driven.machine.state.after.failures, 0);
}

#[test]
fn whoever_waits_for_another_execution_is_idle() {
    let mut driven = Driven::new();
    let options = json!({ "ChainedInvokeOptions": { "FunctionName": "durable:1" } });
    driven.checkpoint(json!([with(update("c", "CHAINED_INVOKE", "START"), options)])).unwrap();
    driven.pending();
    assert!(!driven.machine.is_idle());
    driven.machine.handed_over("c");
    assert!(driven.machine.is_idle());
    assert!(driven.follow().is_empty());
    // It has ended while it was handed over: that is not known to it any more.
    driven.machine.uncalled("c");
    driven.machine.handed_over("c");
    assert!(matches!(&driven.follow()[..], [Wish::Call(..)]));
    // After its end nothing of a call matters.
    driven.act(|machine, _| Ok(machine.stop(None))).unwrap();
    assert!(driven.machine.is_idle());
}

#[test]
fn where_there_is_no_room_nobody_is_invoked_whatever_else_goes_on() {
    let mut driven = Driven::new();
    let options = json!({ "ChainedInvokeOptions": { "FunctionName": "known" } });
    let call = with(update("c", "CHAINED_INVOKE", "START"), options);
    driven.checkpoint(json!([call, wait("w", 10)])).unwrap();
    driven.pending();
    driven.now += 10_000;
    driven.act(|_, _| Ok(Vec::new())).unwrap();
    driven.machine.hold_back(driven.now);
    // To be looked at again does not put it off for longer.
    driven.machine.hold_back(driven.now);
    assert!(!driven.machine.is_idle());
    assert!(!is_invoked(&driven.follow()));
    assert!(is_invoked(&driven.later(1)));
    // One that goes on is not touched.
    driven.machine.hold_back(driven.now);
    driven.checkpoint(json!([])).unwrap();
}
