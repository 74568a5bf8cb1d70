//! Whatever happens, in whatever order: nothing panics, the facts alone give the same state, and
//! what has ended stays as it is.

use super::*;
use lamplight_rpc::{CallbackAnswer, PauseRequest};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    Checkpoint(Vec<(u8, usize, usize, u32)>),
    Stale,
    Pending,
    Succeeded,
    Crash,
    Callback(u8, bool),
    Chained(u8),
    Pause(bool),
    Resume,
    Stop,
    Later(i64),
}

const KINDS: [&str; 6] = ["STEP", "CONTEXT", "WAIT", "CALLBACK", "CHAINED_INVOKE", "EXECUTION"];
const ACTIONS: [&str; 5] = ["START", "SUCCEED", "FAIL", "RETRY", "CANCEL"];

fn event() -> impl Strategy<Value = Event> {
    let update = (0u8..6, 0usize..6, 0usize..5, 1u32..20);
    prop_oneof![
        6 => prop::collection::vec(update, 0..4).prop_map(Event::Checkpoint),
        1 => Just(Event::Stale),
        4 => Just(Event::Pending),
        1 => Just(Event::Succeeded),
        1 => Just(Event::Crash),
        2 => (0u8..6, any::<bool>()).prop_map(|(id, good)| Event::Callback(id, good)),
        2 => (0u8..6).prop_map(Event::Chained),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => Just(Event::Resume),
        1 => Just(Event::Stop),
        6 => (0i64..30).prop_map(Event::Later),
    ]
}

fn updates_of(given: &[(u8, usize, usize, u32)]) -> Value {
    let made = given.iter().map(|(id, kind, action, number)| {
        let options = json!({
            "StepOptions": { "NextAttemptDelaySeconds": number },
            "WaitOptions": { "WaitSeconds": number },
            "CallbackOptions": { "TimeoutSeconds": number, "HeartbeatTimeoutSeconds": number / 2 },
            "ChainedInvokeOptions": { "FunctionName": if number % 2 == 0 { "known" } else { "nobody" } },
        });
        let mut made = with(update(&format!("op{id}"), KINDS[*kind], ACTIONS[*action]), options);
        if ACTIONS[*action] != "RETRY" {
            made.as_object_mut().unwrap().remove("StepOptions");
        }
        // The end of everything is rare.
        if KINDS[*kind] == "EXECUTION" && number % 7 != 0 {
            made["Type"] = json!("STEP");
        }
        made
    });
    Value::Array(made.collect())
}

fn happen(driven: &mut Driven, event: &Event) {
    match event {
        Event::Checkpoint(given) => drop(driven.checkpoint(updates_of(given))),
        Event::Stale => assert!(driven.checkpoint_with("c3RhbGU=", None, json!([])).is_err()),
        Event::Pending => drop(driven.pending()),
        Event::Succeeded => {
            drop(driven.answer(Ok(json!({ "Status": "SUCCEEDED", "Result": "1" }))))
        }
        Event::Crash => drop(driven.answer(Err("crash"))),
        Event::Callback(id, good) => {
            let answer = match good {
                true => CallbackAnswer::Success(None),
                false => CallbackAnswer::Heartbeat,
            };
            let _ = driven.act(|machine, _| machine.callback(&format!("op{id}"), &answer));
            driven.follow();
        }
        Event::Chained(id) => {
            let id: super::super::facts::Text = format!("op{id}").into();
            let ended = (super::super::facts::End::Succeeded, None, None);
            driven.act(|machine, _| Ok(machine.chained_ended(&id, ended))).unwrap();
            driven.follow();
        }
        Event::Pause(timeout_paused) => {
            let request = PauseRequest { timeout_paused: *timeout_paused, ..Default::default() };
            let _ = driven.act(|machine, _| machine.pause(&request));
            driven.follow();
        }
        Event::Resume => {
            let _ = driven.act(|machine, _| machine.resume(&PauseRequest::default()));
            driven.follow();
        }
        Event::Stop => {
            driven.act(|machine, _| Ok(machine.stop(None))).unwrap();
            driven.follow();
        }
        Event::Later(seconds) => drop(driven.later(*seconds)),
    }
}

/// All that callers can see of it.
fn shown(machine: &Machine) -> Value {
    let page = lamplight_rpc::ExecutionPage { max: 1000, ..Default::default() };
    json!([
        show::execution(machine, true),
        show::state(machine, 0, 1000, show::Times::Millis).0,
        super::super::history::page(machine, &page, true).unwrap(),
        machine.head,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn executions_hold_together(events in prop::collection::vec(event(), 1..60)) {
        let mut driven = Driven::new();
        let mut ended: Option<Value> = None;
        for event in &events {
            happen(&mut driven, event);
            let machine = &driven.machine;
            if machine.is_ended() {
                let now = json!([show::execution(machine, true), driven.operations()]);
                prop_assert_eq!(ended.get_or_insert(now.clone()), &now);
            } else {
                // Something will happen, or somebody has been called: nothing is forgotten.
                prop_assert!(machine.wake() < i64::MAX);
                let waits = machine.state.is_paused() || !machine.is_idle();
                prop_assert!(waits || machine.wake() > driven.now);
            }
        }
        let ends = driven.kinds().into_iter().filter(|kind| {
            kind.starts_with("Execution") && !["ExecutionStarted", "ExecutionPaused", "ExecutionResumed"].contains(&&**kind)
        });
        prop_assert_eq!(ends.count(), usize::from(driven.machine.is_ended()));

        let mut again = Machine::new(arn(), head());
        for (at, facts) in &driven.journal {
            let text = serde_json::to_vec(facts).unwrap();
            again.apply(*at, serde_json::from_slice::<Vec<Fact>>(&text).unwrap());
        }
        prop_assert_eq!(shown(&again), shown(&driven.machine));
    }
}
