//! Taking dead letters back to where they came from, or to another queue.
//!
//! A task is a document, so what a crash interrupts is taken up again when the queue's tasks are asked
//! for; each message moves in one step, so no message is lost or doubled on the way.

use super::queues::Found;
use super::sending::State;
use super::{Call, Sqs, invalid_value, store_failed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lamplight_model::Scope;
use lamplight_rpc::{DocumentError, DocumentKey, Expected};
use lamplight_store::{Ask, Moved, Step, StoreError};
use lamplight_wire::{ApiError, Output};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const KIND: &str = "sqs-move-task";
/// AWS: how many tasks of a queue are remembered.
const KEPT: usize = 10;
/// Messages that are moved at once.
const AT_ONCE: usize = 10;
/// Long enough to move what was leased.
const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Task {
    /// Of this form.
    v: u8,
    id: String,
    source_arn: String,
    destination_arn: Option<String>,
    /// Messages a second.
    rate: Option<u32>,
    status: Status,
    /// Unix ms.
    started: i64,
    /// Messages in the source when it began.
    to_move: u64,
    moved: u64,
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Running,
    Completed,
    Cancelling,
    Cancelled,
    Failed,
}

impl Task {
    fn handle(&self) -> String {
        URL_SAFE_NO_PAD
            .encode(json!({ "taskId": self.id, "sourceArn": self.source_arn }).to_string())
    }

    fn is_active(&self) -> bool {
        matches!(self.status, Status::Running | Status::Cancelling)
    }

    fn shown(&self) -> Value {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("Status", json!(self.status));
        set("SourceArn", json!(self.source_arn));
        set("ApproximateNumberOfMessagesMoved", json!(self.moved));
        set("ApproximateNumberOfMessagesToMove", json!(self.to_move));
        set("StartedTimestamp", json!(self.started));
        if self.status == Status::Running {
            set("TaskHandle", json!(self.handle()));
        }
        if let Some(arn) = &self.destination_arn {
            set("DestinationArn", json!(arn));
        }
        if let Some(rate) = self.rate {
            set("MaxNumberOfMessagesPerSecond", json!(rate));
        }
        if let Some(reason) = &self.failure {
            set("FailureReason", json!(reason));
        }
        Value::Object(members)
    }
}

impl Sqs {
    /// Has somebody work on a task that is under way, unless somebody does: a server that was started
    /// again takes a task up when it is asked about the queue.
    fn run(self: &Arc<Self>, scope: &Scope, task: &Task) {
        let first = self.moving.lock().expect("no holder panics").insert(task.id.clone());
        if !first || !task.is_active() {
            return;
        }
        let (sqs, scope, task) = (Arc::clone(self), scope.clone(), task.clone());
        self.env.tasks.spawn(async move {
            let id = task.id.clone();
            sqs.work(&scope, task).await;
            sqs.moving.lock().expect("no holder panics").remove(&id);
        });
    }

    async fn work(&self, scope: &Scope, mut task: Task) {
        let mut stop = self.env.tasks.stop_signal();
        // Forgotten together with its queue, it ends.
        while let Some((kept, rev)) = self.load(scope, &task) {
            task.status = kept.status;
            if task.status == Status::Cancelling {
                task.status = Status::Cancelled;
            } else {
                match self.move_some(scope, &task).await {
                    Ok(0) => task.status = Status::Completed,
                    Ok(moved) => task.moved += moved,
                    Err(error) => {
                        task.status = Status::Failed;
                        task.failure = Some(error.message);
                    }
                }
            }
            let mut pause = task.rate.map_or(0.0, |rate| AT_ONCE as f64 / f64::from(rate.max(1)));
            match self.save(scope, &task, Expected::Rev(rev)).await {
                Ok(()) if !task.is_active() => return,
                // Cancelled meanwhile: look again at once.
                Err(DocumentError::Conflict) => continue,
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(%error, "the progress of moving messages is not written");
                    task.status = Status::Running;
                    pause = pause.max(1.0);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs_f64(pause)) => {}
                () = stop.stopped() => return,
            }
        }
    }

    /// How many were moved; none when none can be.
    async fn move_some(&self, scope: &Scope, task: &Task) -> Result<u64, ApiError> {
        let gone = || ApiError::new("QueueDoesNotExist", "The source queue does not exist.");
        let source = self.find_arn(scope, &task.source_arn).ok_or_else(gone)?;
        let now = self.now();
        let ask = Ask {
            messages: AT_ONCE,
            bytes: 16 * 1024 * 1024,
            in_order: source.settings.fifo,
            until: now.plus(LEASE),
        };
        let leased = self.messages.lease(&source.key(scope)?, ask, now).await;
        let mut moved = 0;
        for message in leased.map_err(store_failed)? {
            let target = match (&task.destination_arn, State::of(&message).dead_from) {
                (Some(arn), _) => self.find_arn(scope, arn),
                (None, Some(arn)) => self.find_arn(scope, &arn),
                (None, None) => None,
            };
            let Some(target) = target else {
                return Err(ApiError::new(
                    "QueueDoesNotExist",
                    "The queue that a message would go back to does not exist.",
                ));
            };
            let retention = Duration::from_secs(target.settings.retention_seconds.into());
            let step = Step::Move(
                message.receipt,
                Moved {
                    queue: target.key(scope)?,
                    due: now,
                    // AWS: moved back, a message is as if sent anew.
                    expires: Some(now.plus(retention)),
                    state: State::moving(&message, None),
                    keep_body: true,
                },
            );
            match self.messages.apply(vec![step], now).await {
                Ok(_) => moved += 1,
                Err(StoreError::LeaseLost(_)) => {}
                Err(error) => return Err(store_failed(error)),
            }
        }
        Ok(moved)
    }

    fn load(&self, scope: &Scope, task: &Task) -> Option<(Task, i64)> {
        let found = self.documents.get(&key(scope, task)?)?;
        Some((serde_json::from_value((*found.body).clone()).ok()?, found.rev))
    }

    async fn save(
        &self,
        scope: &Scope,
        task: &Task,
        expected: Expected,
    ) -> Result<(), DocumentError> {
        let broken = |error: &str| DocumentError::Unavailable(error.to_owned());
        let key = key(scope, task).ok_or_else(|| broken("a task of no queue"))?;
        let body = serde_json::to_value(task).map_err(|error| broken(&error.to_string()))?;
        self.documents.put(key, expected, body).await.map(|_| ())
    }

    /// Tasks of a queue, the newest first.
    fn tasks(&self, scope: &Scope, source: &Found) -> Vec<Task> {
        let found =
            self.documents.list((KIND, scope), Some(source.name.as_str()), None, usize::MAX);
        let mut tasks: Vec<Task> = found
            .iter()
            .filter_map(|found| serde_json::from_value((*found.body).clone()).ok())
            .collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.started));
        tasks
    }
}

/// The task's id, and the ARN of its source.
fn read_handle(handle: &str) -> Option<(String, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(handle).ok()?;
    let read: Value = serde_json::from_slice(&bytes).ok()?;
    let text = |name: &str| Some(read.get(name)?.as_str()?.to_owned());
    Some((text("taskId")?, text("sourceArn")?))
}

/// The ARN of the queue that a task takes messages from, which is what cancelling it is about.
pub fn source_of_task(handle: &str, scope: &Scope) -> Option<String> {
    let (_, arn) = read_handle(handle)?;
    super::QueueName::of_arn(&arn, scope).map(|name| name.arn(scope))
}

fn key(scope: &Scope, task: &Task) -> Option<DocumentKey> {
    let name = super::QueueName::of_arn(&task.source_arn, scope)?;
    Some(DocumentKey::new(KIND, scope, name.as_str(), &task.id))
}

fn source(call: &Call<'_>) -> Result<Found, ApiError> {
    let arn = call.required("SourceArn")?;
    call.sqs.find_arn(call.scope(), arn).ok_or_else(|| {
        ApiError::new(
            "ResourceNotFoundException",
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        )
    })
}

pub(super) async fn start(sqs: &Arc<Sqs>, call: &Call<'_>) -> Result<Output, ApiError> {
    let source = source(call)?;
    let arn = source.name.arn(call.scope());
    let is_dead_letter_queue = {
        let mut after = None;
        loop {
            let page = sqs.all(call.scope(), after.as_deref());
            let Some(last) = page.last() else { break false };
            after = Some(last.name.as_str().to_owned());
            let redrives = |found: &Found| {
                found.settings.redrive.as_ref().is_some_and(|it| it.dead_letter_arn == arn)
            };
            if page.iter().any(redrives) {
                break true;
            }
        }
    };
    if !is_dead_letter_queue {
        return Err(invalid_value("Source queue must be configured as a Dead Letter Queue."));
    }
    let destination_arn = call.text("DestinationArn").map(str::to_owned);
    if let Some(arn) = &destination_arn {
        let Some(destination) = sqs.find_arn(call.scope(), arn) else {
            return Err(ApiError::new(
                "ResourceNotFoundException",
                "The resource that you specified for the DestinationArn parameter doesn't exist.",
            ));
        };
        if destination.name == source.name {
            return Err(invalid_value(
                "Source queue arn and destination queue arn cannot be the same.",
            ));
        }
        if destination.name.is_fifo() != source.name.is_fifo() {
            return Err(invalid_value(
                "Source queue and destination queue must be of the same type.",
            ));
        }
    }
    let rate = call.number("MaxNumberOfMessagesPerSecond", 1..=500)?;
    let known = sqs.tasks(call.scope(), &source);
    for task in &known {
        sqs.run(call.scope(), task);
    }
    if known.iter().any(Task::is_active) {
        return Err(invalid_value(
            "There is already a task running. Only one active task is allowed for a source queue \
             arn at a given time.",
        ));
    }
    let key_of_source = source.key(call.scope())?;
    let depths = sqs.messages.depths(&key_of_source, sqs.now()).await.map_err(store_failed)?;
    let to_move = depths.iter().find(|depth| depth.queue == key_of_source).map_or(0, |d| d.ready);
    let task = Task {
        v: 1,
        id: sqs.env.random.uuid(),
        source_arn: arn,
        destination_arn,
        rate,
        status: Status::Running,
        started: sqs.now().millis(),
        to_move,
        moved: 0,
        failure: None,
    };
    let saved = sqs.save(call.scope(), &task, Expected::Nothing).await;
    saved.map_err(|error| super::queues::unavailable(&error))?;
    for old in known.iter().skip(KEPT - 1) {
        if let Some(key) = key(call.scope(), old) {
            let gone = sqs.documents.delete(&key, Expected::Anything).await;
            gone.map_err(|error| super::queues::unavailable(&error))?;
        }
    }
    let handle = task.handle();
    sqs.run(call.scope(), &task);
    Output::of(json!({ "TaskHandle": handle }))
}

pub(super) async fn cancel(sqs: &Arc<Sqs>, call: &Call<'_>) -> Result<Output, ApiError> {
    let handle = call.required("TaskHandle")?;
    let gone = || ApiError::new("ResourceNotFoundException", "Task does not exist.");
    let (id, arn) = read_handle(handle).ok_or_else(gone)?;
    let source = call.sqs.find_arn(call.scope(), &arn).ok_or_else(gone)?;
    let tasks = call.sqs.tasks(call.scope(), &source);
    let mut task = tasks.into_iter().find(|task| task.id == id).ok_or_else(gone)?;
    if !task.is_active() {
        return Err(ApiError::new("UnsupportedOperation", "Only active tasks can be cancelled."));
    }
    task.status = Status::Cancelling;
    let saved = call.sqs.save(call.scope(), &task, Expected::Anything).await;
    saved.map_err(|error| super::queues::unavailable(&error))?;
    sqs.run(call.scope(), &task);
    Output::of(json!({ "ApproximateNumberOfMessagesMoved": task.moved }))
}

pub(super) fn list(sqs: &Arc<Sqs>, call: &Call<'_>) -> Result<Output, ApiError> {
    let source = source(call)?;
    let most = call.number("MaxResults", 1..=10)?.unwrap_or(1);
    let tasks = call.sqs.tasks(call.scope(), &source);
    for task in &tasks {
        sqs.run(call.scope(), task);
    }
    let shown: Vec<Value> = tasks.iter().take(most as usize).map(Task::shown).collect();
    Output::of(json!({ "Results": shown }))
}
