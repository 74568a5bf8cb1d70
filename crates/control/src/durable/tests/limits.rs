//! What is bounded: operations, bytes, pages.

use super::*;
use crate::durable::checkpoint::{OPERATIONS, PAYLOAD, STORED};
use crate::durable::show::{Times, marker};

#[test]
fn an_execution_with_too_many_operations_has_failed() {
    let mut driven = Driven::new();
    let steps = |from: usize, to: usize| {
        Value::Array((from..to).map(|n| update(&format!("s{n}"), "STEP", "SUCCEED")).collect())
    };
    driven.checkpoint(steps(0, OPERATIONS)).unwrap();
    assert_eq!(driven.status(), "RUNNING");
    let answer = driven.checkpoint(steps(OPERATIONS, OPERATIONS + 1)).unwrap();
    assert_eq!(answer.get("CheckpointToken"), None);
    assert_eq!(driven.status(), "FAILED");
    assert_eq!(driven.machine.state.operations.len(), OPERATIONS);
}

#[test]
fn an_execution_that_stores_too_much_has_failed() {
    let mut driven = Driven::new();
    let payload = "x".repeat(PAYLOAD);
    let step = |n: u64| {
        json!([with(update(&format!("s{n}"), "STEP", "SUCCEED"), json!({ "Payload": payload }))])
    };
    for n in 0..STORED / PAYLOAD as u64 - 1 {
        assert!(driven.checkpoint(step(n)).unwrap().contains_key("CheckpointToken"), "{n}");
    }
    driven.checkpoint(step(1000)).unwrap();
    assert_eq!(driven.status(), "FAILED");
    assert!(driven.machine.state.bytes < STORED + PAYLOAD as u64);
    let large = format!("{payload}x");
    let mut driven = Driven::new();
    let refused = driven
        .checkpoint(json!([with(update("s", "STEP", "SUCCEED"), json!({ "Payload": large }))]));
    let text = "STEP payload size must be less than or equal to 1048576 bytes.";
    assert_eq!(refused, Err(DurableError::Invalid(text.to_owned())));
}

#[test]
fn what_handlers_fail_of_is_bounded() {
    let huge = "x".repeat(6 * PAYLOAD);
    let mut driven = Driven::new();
    driven.answer(Err(&huge));
    assert_eq!(driven.status(), "RUNNING");
    assert!(driven.machine.state.bytes < PAYLOAD as u64 + 4096);
    for status in ["FAILED", "RETRY"] {
        let mut driven = Driven::new();
        driven.answer(Ok(json!({ "Status": status, "Error": { "ErrorMessage": huge } })));
        let error = driven.machine.finished().unwrap().error.unwrap();
        let text = "Error object size must be less than 1048576 bytes.";
        assert_eq!(error, ErrorObject::new("InvalidParameterValueException", text));
    }
}

fn chained(n: u64) -> Value {
    let options = json!({ "ChainedInvokeOptions": { "FunctionName": "known" } });
    with(update(&format!("c{n}"), "CHAINED_INVOKE", "START"), options)
}

fn assert_full(driven: &Driven) {
    let error = driven.machine.finished().unwrap().error.unwrap();
    assert_eq!(error.error_type.as_deref(), Some("ServiceQuotaExceededException"));
    assert!(driven.machine.state.bytes < STORED + 4096);
}

#[test]
fn what_comes_of_calls_counts_like_what_is_checkpointed() {
    let mut driven = Driven::new();
    let all = STORED / PAYLOAD as u64 + 1;
    driven.checkpoint(Value::Array((0..all).map(chained).collect())).unwrap();
    let result: crate::durable::facts::Text = "x".repeat(PAYLOAD).into();
    for n in 0..all {
        let ended = (crate::durable::facts::End::Succeeded, Some(result.clone()), None);
        let id = format!("c{n}").into();
        driven.act(|machine, _| Ok(machine.chained_ended(&id, ended))).unwrap();
    }
    assert_full(&driven);
}

#[test]
fn invocations_count_as_well() {
    let mut driven = Driven::new();
    let error = "x".repeat(PAYLOAD / 2);
    let mut invocations = 0;
    while driven.status() == "RUNNING" {
        // One that works in between makes failures start anew.
        driven.answer(Err(&error));
        driven.later(1);
        let wait = json!({ "WaitOptions": { "WaitSeconds": 1 } });
        let wait = with(update(&format!("w{invocations}"), "WAIT", "START"), wait);
        if driven.checkpoint(json!([wait])).is_ok() {
            driven.pending();
            driven.later(1);
        }
        invocations += 1;
        assert!(invocations < 1000);
    }
    assert_full(&driven);
}

#[test]
fn pages_have_all_of_the_state_once() {
    let mut driven = Driven::new();
    let steps = (0..25).map(|n| update(&format!("s{n}"), "STEP", "SUCCEED")).collect();
    driven.checkpoint(Value::Array(steps)).unwrap();
    let mut seen = Vec::new();
    let (mut from, mut pages) = (0, 0);
    loop {
        let (operations, next) = show::state(&driven.machine, from, 10, Times::Seconds);
        assert!(operations.len() <= 10);
        seen.extend(operations.iter().map(|op| op["Id"].as_str().unwrap().to_owned()));
        pages += 1;
        match next {
            Some(next) => from = marker(Some(&next)).unwrap(),
            None => break,
        }
    }
    let steps = (0..25).map(|n| format!("s{n}"));
    assert_eq!(seen, std::iter::once("0-1".to_owned()).chain(steps).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    assert!(marker(Some("x")).is_err());
    assert_eq!(show::state(&driven.machine, 9999, 10, Times::Seconds), (Vec::new(), None));
}

#[test]
fn large_states_and_changes_come_in_pieces() {
    let mut driven = Driven::new();
    let payload = "x".repeat(PAYLOAD);
    for n in 0..8 {
        let payload = json!({ "Payload": payload });
        driven
            .checkpoint(json!([with(update(&format!("s{n}"), "STEP", "SUCCEED"), payload)]))
            .unwrap();
    }
    let (operations, next) = show::state(&driven.machine, 0, 1000, Times::Seconds);
    assert_eq!((operations.len(), next.as_deref()), (5, Some("5")));
    let (changed, seen) = show::changes(&driven.machine, 0);
    let (rest, last) = show::changes(&driven.machine, seen);
    assert_eq!((changed.len() + rest.len(), last), (8, driven.machine.state.changes));
}

#[test]
fn what_is_below_a_context_that_has_ended_is_not_replayed() {
    let mut driven = Driven::new();
    let below =
        |id: &str, parent: &str| with(update(id, "STEP", "SUCCEED"), json!({ "ParentId": parent }));
    let context = |id: &str, parent: &str| {
        with(update(id, "CONTEXT", "START"), json!({ "ParentId": parent }))
    };
    driven
        .checkpoint(json!([
            update("a", "CONTEXT", "START"),
            below("a1", "a"),
            context("a2", "a"),
            below("a21", "a2"),
            update("b", "CONTEXT", "START"),
            below("b1", "b"),
        ]))
        .unwrap();
    assert_eq!(driven.operations().len(), 6);
    let replay = json!({ "ContextOptions": { "ReplayChildren": true } });
    driven
        .checkpoint(json!([
            update("a", "CONTEXT", "SUCCEED"),
            with(update("b", "CONTEXT", "SUCCEED"), replay)
        ]))
        .unwrap();
    assert_eq!(driven.operations(), ["a SUCCEEDED", "b SUCCEEDED", "b1 SUCCEEDED"]);
}
