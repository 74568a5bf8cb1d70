//! Executions that other executions start, over the store.

use super::stored::{World, clock, history, new, records, until};
use super::*;
use crate::durable::updates::Target as Called;
use lamplight_model::{DurableSettings, FunctionArn, FunctionRef, Target};
use lamplight_rpc::{CatalogError, DurableExecutions as _, InvokeError, NewExecution};
use lamplight_store::MemoryMeta;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// There is one function besides, `child`, which is durable and for no tenants.
pub fn find(function: &FunctionRef, tenant: Option<&str>) -> Result<Arc<Target>, CatalogError> {
    if tenant.is_some() {
        return Err(CatalogError::Invalid("It is for no tenants.".to_owned()));
    }
    if function.function.name != "child".into() {
        return Err(CatalogError::NotFound(function.arn()));
    }
    Ok(Arc::new(Target {
        function: function.function.clone(),
        version: arn().version,
        generation: 1,
        runtime: "python3.12".into(),
        handler: "index.handler".into(),
        role: String::new(),
        timeout: Duration::from_secs(3),
        memory_mb: 128,
        tmp_mb: 512,
        environment: Default::default(),
        code: "ab".repeat(32),
        image: None,
        layers: Vec::new(),
        log_group: "/aws/lambda/child".into(),
        log_format: "Text".into(),
        application_log_level: None,
        system_log_level: None,
        tenant_isolation: false,
        durable: Some(DurableSettings { timeout: 86_400, retention_days: 1 }),
        max_concurrency: None,
        snap_start: false,
    }))
}

/// Calls that would be refused again.
pub fn refuse(function: &FunctionRef) -> Result<(), InvokeError> {
    match &*function.function.name {
        "loop" => Err(InvokeError::Recursive(function.clone())),
        "wrong" => Err(CatalogError::Invalid("It cannot be called.".to_owned()).into()),
        _ => Ok(()),
    }
}

/// Calls `child` and says how that ended; `child` itself waits for an hour.
fn parent(event: &Value) -> (Value, Value) {
    if event["DurableExecutionArn"].as_str().unwrap().contains(":child:") {
        return stored::patient(event);
    }
    let operations = event["InitialExecutionState"]["Operations"].as_array().unwrap();
    match operations.get(1).map(|call| call["Status"].as_str().unwrap()) {
        None => {
            let options = json!({ "FunctionName": "child:1" });
            let call = json!({ "ChainedInvokeOptions": options, "Payload": "12345" });
            let call = with(update("c", "CHAINED_INVOKE", "START"), call);
            (json!([call]), json!({ "Status": "PENDING" }))
        }
        Some("STARTED") => (json!([]), json!({ "Status": "PENDING" })),
        Some(status) => {
            let result = json!([status, operations[1]["ChainedInvokeDetails"]["Result"]]);
            (json!([]), json!({ "Status": "SUCCEEDED", "Result": result.to_string() }))
        }
    }
}

fn child() -> FunctionArn {
    FunctionArn::new(&arn().function.scope, "child")
}

/// Starts a parent with an input of so many bytes, and waits until its child waits.
async fn started(world: &World, bytes: usize) -> (ExecutionArn, ExecutionArn) {
    let input = format!("\"{}\"", "x".repeat(bytes));
    let parent = world.executions.start(new("one", &input)).await.unwrap();
    let core = &world.executions.core;
    until(async || !core.index().of_function(&child()).is_empty()).await;
    let child = core.index().of_function(&child()).remove(0);
    until(async || history(world, &child).await.contains(&"InvocationCompleted".to_owned())).await;
    (parent, child)
}

#[tokio::test]
async fn whoever_waits_for_another_execution_takes_no_memory() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, parent).await;
    let (parent_arn, child) = started(&world, 5000).await;
    until(async || world.executions.core.bytes.load(Relaxed) == 0).await;
    // To be looked at changes nothing about that, and calls nobody twice.
    assert!(world.executions.get(&parent_arn, true).await.is_ok());
    until(async || world.executions.core.bytes.load(Relaxed) == 0).await;
    world.end().await;
    clock.advance(Duration::from_secs(7200));
    let world = World::new(&meta, &clock, parent).await;
    assert_eq!(result(&world, &parent_arn).await, "[\"SUCCEEDED\",\"5\"]");
    assert_eq!(world.executions.core.index().of_function(&child.function), [child]);
    world.end().await;
}

/// Of an execution that comes to its end without being asked.
async fn result(world: &World, arn: &ExecutionArn) -> String {
    let core = &world.executions.core;
    let is_open = || core.index().get(&arn.id).is_some_and(|(_, head)| head.status.is_open());
    until(async || !is_open()).await;
    world.executions.finished(arn).await.unwrap().result.unwrap().to_string()
}

/// The parent is too large to be told when its child ends.
async fn with_a_parent_that_is_not_told(world: &World) -> (ExecutionArn, ExecutionArn) {
    let (parent, child) = started(world, 50_000).await;
    let core = &world.executions.core;
    until(async || core.bytes.load(Relaxed) == 0).await;
    core.bytes.fetch_add(1, Relaxed);
    core.room.store(20_000, Relaxed);
    world.executions.stop(&child, None).await.unwrap();
    (parent, child)
}

#[tokio::test]
async fn whoever_cannot_be_told_now_is_told_later() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, parent).await;
    let (parent, _) = with_a_parent_that_is_not_told(&world).await;
    assert_eq!(world.executions.get(&parent, true).await, Err(DurableError::Throttled));
    world.executions.core.room.store(1 << 30, Relaxed);
    assert_eq!(result(&world, &parent).await, "[\"STOPPED\",null]");
    world.end().await;
}

#[tokio::test]
async fn an_execution_is_not_removed_before_its_parent_knows_of_its_end() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, parent).await;
    let (parent_arn, child_arn) = with_a_parent_that_is_not_told(&world).await;
    world.executions.delete(&child_arn).await.unwrap();
    world.end().await;
    let world = World::new(&meta, &clock, parent).await;
    assert_eq!(result(&world, &parent_arn).await, "[\"STOPPED\",null]");
    until(async || world.executions.core.index().of_function(&child()).is_empty()).await;
    world.executions.delete(&parent_arn).await.unwrap();
    until(async || records(&meta).await == 0).await;
    world.end().await;
}

#[tokio::test]
async fn calls_that_would_be_refused_again_are_the_end() {
    let (meta, clock) = (Arc::new(MemoryMeta::default()), clock());
    let world = World::new(&meta, &clock, parent).await;
    for (name, kind) in
        [("loop", "RecursiveInvocationException"), ("wrong", "InvalidParameterValueException")]
    {
        let function = FunctionArn::new(&arn().function.scope, name);
        let new = NewExecution { function, ..new(name, "1") };
        let execution = world.executions.start(new).await.unwrap();
        let error = world.executions.finished(&execution).await.unwrap().error.unwrap();
        assert_eq!(error.error_type.as_deref(), Some(kind));
    }
    // What can be seen before is told at once.
    let called = Called { function: "child:1".into(), tenant: Some("t".into()), trace: None };
    let refused = world.executions.core.resolve(&arn(), &called).unwrap().err().unwrap();
    let text = "It is for no tenants.";
    assert_eq!(refused, ErrorObject::new("InvalidParameterValueException", text));
    world.end().await;
}
