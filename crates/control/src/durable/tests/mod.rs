//! Executions in memory, and over the in-memory store.

mod chained;
mod life;
mod limits;
mod random;
mod stored;
mod words;

use super::facts::Fact;
use super::machine::{Invocation, Machine, Wish};
use super::show;
use super::tables::{Head, Status};
use super::updates::Update;
use lamplight_rpc::{DurableError, ErrorObject, ExecutionArn};
use serde_json::{Map, Value, json};

pub const NAME: &str = "arn:aws:lambda:us-east-1:000000000000:function:orders:1";
pub const START: i64 = 1_000_000;

pub fn arn() -> ExecutionArn {
    ExecutionArn::parse(&format!("{NAME}/durable-execution/one/0-1")).unwrap()
}

pub fn head() -> Head {
    Head {
        format: Head::FORMAT,
        name: "one".to_owned(),
        version: "1".to_owned(),
        status: Status::Running,
        started: START,
        ended: None,
        timeout: 3600,
        retention_days: 7,
        synchronous: false,
        input: String::new(),
        trace: None,
        tenant: None,
        parent: None,
        entries: 1,
        bytes: 0,
        due: 0,
    }
}

/// An execution, driven by hand as the service drives it.
pub struct Driven {
    pub machine: Machine,
    pub now: i64,
    /// Of the invocation that goes on.
    pub token: String,
    pub request: String,
    pub events: Vec<Value>,
    /// Chained invokes that were to be made.
    pub calls: Vec<String>,
    invocations: u32,
    /// All facts, with their times.
    pub journal: Vec<(i64, Vec<Fact>)>,
}

impl Driven {
    /// Started, and invoked for the first time.
    pub fn new() -> Self {
        let machine = Machine::new(arn(), head());
        let mut driven = Self {
            machine,
            now: START,
            token: String::new(),
            request: String::new(),
            events: Vec::new(),
            calls: Vec::new(),
            invocations: 0,
            journal: Vec::new(),
        };
        driven.apply(vec![Fact::ExecutionStarted { input: Some("{}".into()) }]);
        driven.follow();
        driven
    }

    fn apply(&mut self, facts: Vec<Fact>) {
        if !facts.is_empty() {
            self.journal.push((self.now, facts.clone()));
            self.machine.apply(self.now, facts);
        }
    }

    /// Notes a new invocation, if there is one.
    pub fn follow(&mut self) -> Vec<Wish> {
        self.invocations += 1;
        let id = format!("request-{}", self.invocations);
        let wishes = self.machine.wishes(self.now, || id);
        for wish in &wishes {
            if let Wish::Call(id, _) = wish {
                self.calls.push(id.to_string());
            }
            if let Wish::Invoke { request_id, payload } = wish {
                let event: Value = serde_json::from_slice(payload).unwrap();
                self.token = event["CheckpointToken"].as_str().unwrap().to_owned();
                self.request = request_id.clone();
                self.events.push(event);
            }
        }
        wishes
    }

    pub fn act(
        &mut self,
        decide: impl FnOnce(&Machine, i64) -> Result<Vec<Fact>, DurableError>,
    ) -> Result<(), DurableError> {
        let due = self.machine.due(self.now);
        self.apply(due);
        let decided = decide(&self.machine, self.now);
        if let Ok(facts) = &decided {
            self.apply(facts.clone());
        }
        decided.map(drop)
    }

    /// What happens by itself when so much time has passed.
    pub fn later(&mut self, seconds: i64) -> Vec<Wish> {
        self.now += seconds * 1000;
        self.act(|_, _| Ok(Vec::new())).unwrap();
        self.follow()
    }

    pub fn checkpoint(&mut self, updates: Value) -> Result<Map<String, Value>, DurableError> {
        let token = self.token.clone();
        self.checkpoint_with(&token, None, updates)
    }

    pub fn checkpoint_with(
        &mut self,
        token: &str,
        client_token: Option<&str>,
        updates: Value,
    ) -> Result<Map<String, Value>, DurableError> {
        if let Some(replayed) = self.machine.replayed(token, client_token) {
            return Ok(replayed);
        }
        let updates: Vec<Update> =
            updates.as_array().unwrap().iter().map(|u| Update::read(u).unwrap()).collect();
        self.act(|machine, now| {
            machine.check_token(token)?;
            machine.checkpoint(&updates, now, &words::resolve)
        })?;
        let answer = self.machine.answer(token, client_token.map(str::to_owned));
        if let Some(token) = answer.get("CheckpointToken") {
            self.token = token.as_str().unwrap().to_owned();
        }
        self.follow();
        Ok(answer)
    }

    /// The handler answers, or dies of an error.
    pub fn answer(&mut self, answer: Result<Value, &str>) -> Vec<Wish> {
        let answer = match answer {
            Ok(answer) => Ok(answer.to_string().into_bytes()),
            Err(error) => Err(ErrorObject::new("Unhandled", error)),
        };
        let request_id = self.request.clone();
        let ended = Invocation { request_id: request_id.clone(), started: self.now, answer };
        self.act(|machine, now| Ok(machine.completed(&ended, now))).unwrap();
        self.machine.settled(&request_id);
        self.follow()
    }

    pub fn pending(&mut self) -> Vec<Wish> {
        self.answer(Ok(json!({ "Status": "PENDING" })))
    }

    pub fn status(&self) -> &'static str {
        self.machine.status().name()
    }

    /// The statuses of operations, in the order of their start.
    pub fn operations(&self) -> Vec<String> {
        let (operations, _) = show::state(&self.machine, 1, 10_000, show::Times::Seconds);
        operations
            .iter()
            .map(|op| format!("{} {}", op["Id"].as_str().unwrap(), op["Status"].as_str().unwrap()))
            .collect()
    }

    pub fn kinds(&self) -> Vec<String> {
        let page = lamplight_rpc::ExecutionPage { max: 1000, ..Default::default() };
        let history = super::history::page(&self.machine, &page, true).unwrap();
        let events = history["Events"].as_array().unwrap().iter();
        events.map(|event| event["EventType"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn update(id: &str, kind: &str, action: &str) -> Value {
    json!({ "Id": id, "Type": kind, "Action": action })
}

/// `update` with more members.
pub fn with(mut update: Value, more: Value) -> Value {
    update.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    update
}

pub fn is_invoked(wishes: &[Wish]) -> bool {
    wishes.iter().any(|wish| matches!(wish, Wish::Invoke { .. }))
}
