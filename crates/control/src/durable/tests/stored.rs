//! Executions over the store: what comes back after a restart, and what goes in the end.

use super::*;
use crate::durable::facts::{End, Entry, Start};
use crate::durable::tables;
use crate::durable::{Executions, Ways};
use async_trait::async_trait;
use lamplight_env::{Env, ManualClock, SeededRandom, Tasks, Timestamp};
use lamplight_model::DurableSettings;
use lamplight_rpc::{
    After, Call, DurableExecutions as _, ExecutionFilter, ExecutionPage, InvokeError, Invoked,
    Invoker, NewExecution, Outcome,
};
use lamplight_store::{Key, MemoryMeta, Meta};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A server, as far as executions see it.
pub struct World {
    pub executions: Arc<Executions>,
    tasks: Tasks,
}

impl World {
    pub async fn new(meta: &Arc<MemoryMeta>, clock: &Arc<ManualClock>, handler: Handler) -> Self {
        let tasks = Tasks::new();
        let random = Arc::new(SeededRandom::new(clock_seed(clock)));
        let env = Env { clock: Arc::clone(clock) as _, random, tasks: tasks.clone() };
        let executions = Executions::load(Arc::clone(meta) as Arc<dyn Meta>, env).await.unwrap();
        let executions = Arc::new(executions);
        let invoker =
            Arc::new(Function { handler, executions: OnceLock::new(), calls: Mutex::default() });
        let _ = invoker.executions.set(Arc::downgrade(&executions));
        executions.go_on(Ways {
            resolve: Box::new(chained::find),
            trace: Box::new(|given, _, _| given.unwrap_or_default().to_owned()),
            invoker,
        });
        Self { executions, tasks }
    }

    pub async fn end(self) {
        assert!(self.tasks.shut_down(Duration::from_secs(10)).await);
    }
}

fn clock_seed(clock: &Arc<ManualClock>) -> u64 {
    use lamplight_env::Clock as _;
    u64::try_from(clock.now().millis()).unwrap()
}

/// What the function answers to an event, and what it checkpoints before.
pub type Handler = fn(&Value) -> (Value, Value);

struct Function {
    handler: Handler,
    executions: OnceLock<std::sync::Weak<Executions>>,
    calls: Mutex<Vec<Value>>,
}

#[async_trait]
impl Invoker for Function {
    async fn invoke(&self, call: Call) -> Result<Invoked, InvokeError> {
        assert!(call.within_execution);
        chained::refuse(&call.function)?;
        let event: Value = serde_json::from_slice(&call.payload).unwrap();
        self.calls.lock().unwrap().push(event.clone());
        let (updates, answer) = (self.handler)(&event);
        let arn = ExecutionArn::parse(event["DurableExecutionArn"].as_str().unwrap()).unwrap();
        let token = event["CheckpointToken"].as_str().unwrap();
        let executions = self.executions.get().unwrap().upgrade().unwrap();
        let updates = updates.as_array().unwrap().clone();
        if !updates.is_empty() {
            executions.checkpoint(&arn, token, None, updates).await.unwrap();
        }
        let payload = answer.to_string().into();
        let outcome = Outcome { payload, function_error: None, log_tail: None, after: After::Free };
        let version = arn.version.clone();
        Ok(Invoked { outcome, version, trace_id: "".into() })
    }
}

/// Waits for an hour, then returns how much it was given.
pub fn patient(event: &Value) -> (Value, Value) {
    let operations = event["InitialExecutionState"]["Operations"].as_array().unwrap();
    match operations.get(1).map(|wait| wait["Status"].as_str().unwrap()) {
        None => {
            let wait = json!({ "WaitOptions": { "WaitSeconds": 3600 } });
            (json!([with(update("w", "WAIT", "START"), wait)]), json!({ "Status": "PENDING" }))
        }
        Some("SUCCEEDED") => {
            let input = operations[0]["ExecutionDetails"]["InputPayload"].as_str().unwrap();
            let result = input.len().to_string();
            (json!([]), json!({ "Status": "SUCCEEDED", "Result": result }))
        }
        Some(_) => (json!([]), json!({ "Status": "PENDING" })),
    }
}

pub fn new(name: &str, input: &str) -> NewExecution {
    NewExecution {
        function: arn().function,
        version: arn().version,
        name: Some(name.to_owned()),
        input: Some(input.into()),
        synchronous: false,
        trace_id: None,
        tenant: None,
        settings: DurableSettings { timeout: 86_400, retention_days: 1 },
    }
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(START)))
}

pub async fn records(meta: &Arc<MemoryMeta>) -> usize {
    let (heads, facts) = (Key::new(&["durable"]).unwrap(), Key::new(&["durable-facts"]).unwrap());
    meta.list_all(&heads).await.unwrap().len() + meta.list_all(&facts).await.unwrap().len()
}

/// Looks until something is as it should be.
pub async fn until(what: impl AsyncFn() -> bool) {
    let looking = async {
        while !what().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.expect("it did not happen");
}

pub async fn history(world: &World, arn: &ExecutionArn) -> Vec<String> {
    let history = world.executions.history(arn, ExecutionPage::default(), true).await.unwrap();
    let events = history["Events"].as_array().unwrap().iter();
    events.map(|event| event["EventType"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_execution_goes_on_after_a_restart() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    // More than a transaction holds.
    let input = format!("\"{}\"", "x".repeat(3 * 1024 * 1024));
    let arn = world.executions.start(new("one", &input)).await.unwrap();
    until(async || history(&world, &arn).await.contains(&"InvocationCompleted".to_owned())).await;
    world.end().await;

    clock.advance(Duration::from_secs(7200));
    let world = World::new(&meta, &clock, patient).await;
    let finished = world.executions.finished(&arn).await.unwrap();
    assert_eq!(finished.result.as_deref(), Some(&*input.len().to_string()));
    assert_eq!(history(&world, &arn).await[2..4], ["InvocationCompleted", "WaitSucceeded"]);
    // Somebody who comes later is told as well, from what is written.
    world.end().await;
    let world = World::new(&meta, &clock, patient).await;
    assert!(world.executions.finished(&arn).await.unwrap().succeeded);
    world.end().await;
}

#[tokio::test]
async fn names_are_taken_until_their_execution_is_gone() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    let arn = world.executions.start(new("one", "1")).await.unwrap();
    assert_eq!(world.executions.start(new("one", "1")).await.unwrap(), arn);
    let other = world.executions.start(new("one", "2")).await;
    assert_eq!(other, Err(DurableError::AlreadyStarted(arn.to_string())));
    assert!(matches!(world.executions.delete(&arn).await, Err(DurableError::Conflict(_))));
    world.executions.stop(&arn, None).await.unwrap();
    world.executions.delete(&arn).await.unwrap();
    let second = world.executions.start(new("one", "2")).await.unwrap();
    assert_ne!(second.id, arn.id);
    until(async || world.executions.get(&arn, true).await == Err(DurableError::NotFound)).await;
    assert!(world.executions.get(&second, true).await.is_ok());
    world.end().await;
}

#[tokio::test]
async fn nothing_is_left_of_an_execution_that_was_kept_long_enough() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    let arn = world.executions.start(new("one", "1")).await.unwrap();
    world.executions.stop(&arn, None).await.unwrap();
    clock.advance(Duration::from_secs(24 * 3600 - 1));
    world.end().await;
    let world = World::new(&meta, &clock, patient).await;
    assert!(world.executions.get(&arn, true).await.is_ok());
    clock.advance(Duration::from_secs(2));
    world.end().await;
    let world = World::new(&meta, &clock, patient).await;
    until(async || records(&meta).await == 0).await;
    assert_eq!(world.executions.get(&arn, true).await, Err(DurableError::NotFound));
    world.end().await;
}

#[tokio::test]
async fn the_executions_of_a_function_go_with_it() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    let mut all = Vec::new();
    for name in ["one", "two", "three"] {
        all.push(world.executions.start(new(name, "1")).await.unwrap());
    }
    world.executions.stop(&all[0], None).await.unwrap();
    world.executions.forget(&arn().function).await.unwrap();
    until(async || records(&meta).await == 0).await;
    let listed = world.executions.list(
        &arn().function,
        &ExecutionFilter::default(),
        &ExecutionPage::default(),
    );
    assert_eq!(listed.unwrap()["DurableExecutions"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn listings_have_pages_and_both_directions() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    for name in ["a", "b", "c", "d", "e"] {
        world.executions.start(new(name, "1")).await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    let names = |filter: ExecutionFilter, reverse: bool| {
        let (mut names, mut marker) = (String::new(), None);
        loop {
            let page = ExecutionPage { marker, max: 2, reverse };
            let listed = world.executions.list(&arn().function, &filter, &page).unwrap();
            for execution in listed["DurableExecutions"].as_array().unwrap() {
                names.push_str(execution["DurableExecutionName"].as_str().unwrap());
            }
            marker = listed.get("NextMarker").map(|next| next.as_str().unwrap().to_owned());
            if marker.is_none() {
                return names;
            }
        }
    };
    assert_eq!(names(ExecutionFilter::default(), false), "edcba");
    assert_eq!(names(ExecutionFilter::default(), true), "abcde");
    let after = ExecutionFilter { started_after: Some(START + 1000), ..Default::default() };
    assert_eq!(names(after, true), "cde");
    let before = ExecutionFilter { started_before: Some(START + 1000), ..Default::default() };
    assert_eq!(names(before, true), "a");
    let stopped = ExecutionFilter { statuses: vec!["STOPPED".to_owned()], ..Default::default() };
    assert_eq!(names(stopped, true), "");
    world.end().await;
}

#[tokio::test]
async fn memory_takes_so_much_and_no_more() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    let input = format!("\"{}\"", "x".repeat(5000));
    let arn = world.executions.start(new("one", &input)).await.unwrap();
    until(async || history(&world, &arn).await.contains(&"InvocationCompleted".to_owned())).await;
    // Nobody is busy with it, so nothing of it is in memory.
    let (bytes, room) = (&world.executions.core.bytes, &world.executions.core.room);
    until(async || bytes.load(Relaxed) == 0).await;
    let whole = room.swap(4000, Relaxed);
    // Alone it is read however large it is; beside others, where there is room.
    assert!(world.executions.get(&arn, true).await.is_ok());
    bytes.fetch_add(1, Relaxed);
    assert_eq!(world.executions.get(&arn, true).await, Err(DurableError::Throttled));
    room.store(whole, Relaxed);
    assert!(world.executions.get(&arn, true).await.is_ok());
    assert_eq!(bytes.load(Relaxed), 1);
    world.end().await;
}

#[tokio::test]
async fn what_is_damaged_is_named_and_not_served() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, patient).await;
    let arn = world.executions.start(new("one", "1")).await.unwrap();
    until(async || history(&world, &arn).await.contains(&"InvocationCompleted".to_owned())).await;
    world.end().await;
    let prefix = Key::new(&["durable-facts"]).unwrap();
    let first = meta.list_all(&prefix).await.unwrap().remove(0);
    meta.txn(vec![lamplight_store::Op::Delete(first.key)]).await.unwrap();
    let world = World::new(&meta, &clock, patient).await;
    let read = world.executions.get(&arn, true).await;
    assert!(matches!(read, Err(DurableError::Unavailable(why)) if why.contains("is damaged")));
    // It can be removed all the same, and does not keep others.
    world.executions.start(new("two", "1")).await.unwrap();
    world.executions.forget(&arn.function).await.unwrap();
    until(async || records(&meta).await == 0).await;
    world.end().await;
}

/// What the first version of these formats wrote.
#[test]
fn old_bytes_are_read() {
    let head = r#"{"format":1,"name":"one","version":"1","status":"TIMED_OUT","started":1000,
        "ended":2000,"timeout":3600,"retention_days":7,"synchronous":true,"input":"ab","trace":"Root=1",
        "tenant":null,"parent":{"execution":"arn","operation":"op"},"entries":3,"due":99}"#;
    let read = Head::from_bytes(head.as_bytes()).unwrap();
    assert_eq!((read.status, read.entries, read.due), (Status::TimedOut, 3, 99));
    assert_eq!(Head::from_bytes(&read.to_bytes()), Ok(read.clone()));
    assert!(Head::from_bytes(head.replace("\"format\":1", "\"format\":2").as_bytes()).is_err());

    let entry = r#"{"format":1,"at":5,"facts":[
        {"fact":"ExecutionStarted","input":"{}"},
        {"fact":"OperationStarted","id":"a","parent":null,"name":"n","sub_type":"Step","start":{"type":"Step"}},
        {"fact":"OperationStarted","id":"b","parent":"c","name":null,"sub_type":null,
         "start":{"type":"Callback","timeout":1,"heartbeat":2}},
        {"fact":"StepRetried","id":"a","result":null,"error":{"ErrorMessage":"m"},"delay":9},
        {"fact":"OperationEnded","id":"b","end":"TimedOut","result":null,"error":null},
        {"fact":"InvocationCompleted","started":1,"request_id":"r","error":null,
         "after":{"seen":4,"owed":true,"failures":1,"retry_at":7}},
        {"fact":"Paused"},
        {"fact":"ExecutionEnded","end":"Succeeded","result":"1","error":null}]}"#;
    let read: Entry = serde_json::from_str(entry).unwrap();
    assert_eq!(read.facts.len(), 8);
    assert!(matches!(
        &read.facts[2],
        Fact::OperationStarted { start: Start::Callback { heartbeat: 2, .. }, .. }
    ));
    assert!(matches!(
        &read.facts[4],
        Fact::OperationEnded { end: End::TimedOut, replay_children: false, .. }
    ));
}

/// A write that was cut off leaves nothing that a later one of the same number would be mixed with.
#[tokio::test]
async fn parts_of_an_entry_that_was_never_finished_do_no_harm() {
    let meta = MemoryMeta::default();
    let large = |byte: &str, mib: usize| Entry {
        format: 1,
        at: 1,
        facts: vec![Fact::ExecutionStarted { input: Some(byte.repeat(mib << 20).into()) }],
    };
    let counted = Head { entries: 1, ..head() };
    tables::append(&meta, &arn(), &counted, &large("a", 4)).await.unwrap();
    // The head never counted it.
    assert_eq!(tables::facts(&meta, &arn(), &Head { entries: 0, ..head() }).await.unwrap(), []);
    tables::append(&meta, &arn(), &counted, &large("b", 1)).await.unwrap();
    assert_eq!(tables::facts(&meta, &arn(), &counted).await.unwrap(), [large("b", 1)]);
}
