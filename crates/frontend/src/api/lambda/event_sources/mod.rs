//! Event source mappings: created, changed, shown and deleted, in their states.
//!
//! Nothing polls the sources yet; of queues it is known whether they are there. A mapping goes through its states all the same, because the
//! tools wait for them: a change answers with the state that it began, and a nudge brings the
//! mapping to rest. Who looks at a mapping nudges it too, so one that a crash left in transition
//! goes on when it is next looked at.

mod pattern;
mod source;
mod states;

use super::documents::{self, MAPPING, Whose};
use super::settings::text;
use super::{function_ref, tags};
use crate::api::Request;
use lamplight_env::Clock;
use lamplight_model::FunctionRef;
use lamplight_rpc::{Document, DocumentError, DocumentKey, Documents, Expected};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};
use source::Source;
use states::{Rest, State};
use std::sync::Arc;

/// Attempts to bring a mapping to rest that others are always faster than.
const ATTEMPTS: usize = 16;

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let input = request.input;
    let source = Source::of(input)?;
    let uuid = request.parts.env.random.uuid();
    let mut config = source.defaults(&uuid);
    source.apply(&mut config, input);
    source.check(&config, input)?;
    let function = existing(request)?;
    let tags = tags::given(input)?;
    find(request, source)?;
    let scope = request.scope;
    let enabled = input.get("Enabled").and_then(Value::as_bool).unwrap_or(true);
    let own = [
        ("UUID", json!(uuid)),
        (
            "EventSourceMappingArn",
            json!(format!(
                "arn:aws:lambda:{}:{}:event-source-mapping:{uuid}",
                scope.region, scope.account
            )),
        ),
        ("FunctionArn", json!(function.arn())),
        ("LastModified", now(request)),
        ("State", json!(State::Creating.name())),
        ("StateTransitionReason", json!(source.reason())),
    ];
    config.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let config = Value::Object(config);
    let key = DocumentKey::only(MAPPING, scope, &uuid);
    refuse_twin(request, (source, &function), &config, |_| true)?;
    let body = json!({ "config": config, "tags": tags, "enabled": enabled });
    let created = documents::change(request, &key, |_| Ok(body.clone())).await?;
    // Of two that were made at the same moment, one steps back.
    if let Err(twin) = refuse_twin(request, (source, &function), &config, |other| *other < *uuid) {
        documents::delete(request, &key).await?;
        return Err(twin);
    }
    nudge(request, &key);
    shown(&created)
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let key = key(request);
    let mapping = documents::get(request, &key).ok_or_else(missing)?;
    nudge_if_moving(request, &mapping);
    shown(&mapping)
}

pub async fn update(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = match text(request.input, "FunctionName") {
        Some(_) => Some(existing(request)?),
        None => None,
    };
    let key = key(request);
    let updated = documents::change(request, &key, |found| {
        let mut body = found.ok_or_else(missing)?.clone();
        let enabled = request.input.get("Enabled").and_then(Value::as_bool);
        let enabled = enabled.unwrap_or_else(|| is_enabled(&body));
        let next = state(&body).and_then(|state| state.update(enabled));
        let next = next.ok_or_else(|| in_use("update"))?;
        let Some(Value::Object(config)) = body.get_mut("config") else { return Err(missing()) };
        let source = Source::of(config)?;
        source.apply(config, request.input);
        source.check(config, request.input)?;
        if let Some(function) = &function {
            config.insert("FunctionArn".to_owned(), json!(function.arn()));
        }
        config.insert("LastModified".to_owned(), now(request));
        config.insert("State".to_owned(), json!(next.name()));
        body["enabled"] = json!(enabled);
        Ok(body)
    });
    let updated = updated.await;
    nudge(request, &key);
    shown(&updated?)
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let key = key(request);
    let deleted = documents::change(request, &key, |found| {
        let mut body = found.ok_or_else(missing)?.clone();
        let next = state(&body).and_then(State::delete).ok_or_else(|| in_use("delete"))?;
        body["config"]["State"] = json!(next.name());
        body["config"]["LastModified"] = now(request);
        Ok(body)
    });
    let deleted = deleted.await;
    nudge(request, &key);
    shown(&deleted?)
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = match text(request.input, "FunctionName") {
        Some(_) => Some(function_ref(request)?.arn()),
        None => None,
    };
    let source = text(request.input, "EventSourceArn");
    let asked = |config: &Value| {
        source.as_ref().is_none_or(|arn| config["EventSourceArn"] == **arn)
            && function.as_ref().is_none_or(|arn| config["FunctionArn"] == **arn)
    };
    let whose = match function.as_deref().or(source.as_deref()) {
        Some(arn) => Whose::Label(arn),
        None => Whose::All,
    };
    documents::page(request, (MAPPING, whose), "EventSourceMappings", |mapping| {
        nudge_if_moving(request, mapping);
        mapping.body.get("config").filter(|config| asked(config)).cloned()
    })
}

fn existing(request: &Request<'_>) -> Result<FunctionRef, ApiError> {
    let function = function_ref(request)?;
    match request.parts.catalog.get(&function) {
        Ok(record) if record.isolates_tenants() => Err(super::settings::invalid(
            "Event source mappings are not supported for functions with tenant isolation.",
        )),
        Ok(_) => Ok(function),
        // AWS: here it is the parameter that is wrong.
        Err(_) => Err(super::settings::invalid("Function does not exist")),
    }
}

/// Looks whether the source of a new mapping is there, where it is of a service of this server.
fn find(request: &Request<'_>, source: Source) -> Result<(), ApiError> {
    let arn = text(request.input, "EventSourceArn").unwrap_or_default();
    match source {
        Source::Sqs { .. } if !request.parts.sqs.has(request.scope, &arn) => {
            Err(super::settings::invalid(
                "Error occurred while ReceiveMessage. SQS Error Code: \
                 AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue \
                 does not exist.",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses a mapping of the same source to the same function, if it is among `others`.
fn refuse_twin(
    request: &Request<'_>,
    (source, function): (Source, &FunctionRef),
    config: &Value,
    others: impl Fn(&str) -> bool,
) -> Result<(), ApiError> {
    let place = (MAPPING, request.scope);
    let mappings = request.parts.documents.labelled(place, &function.arn(), None, usize::MAX);
    let twin = mappings.iter().find(|mapping| {
        others(&mapping.key.owner) && same_source(source, &mapping.body["config"], config)
    });
    let Some(twin) = twin else { return Ok(()) };
    let uuid = &twin.key.owner;
    let arn = config["EventSourceArn"].as_str().unwrap_or_default();
    let name = &function.function.name;
    // AWS: three wordings, with these blanks.
    let what = match source {
        Source::Sqs { .. } => format!(
            "An event source mapping with SQS arn (\" {arn} \") and function (\" {name} \") already exists."
        ),
        Source::OwnKafka => format!(
            "An event source mapping with event source (\"{}\"), function (\"{}\"), topics (\"{}\") already exists.",
            texts(servers(&config["SelfManagedEventSource"])).join(","),
            function.arn(),
            texts(&config["Topics"]).join(","),
        ),
        _ => format!(
            "The event source arn (\" {arn} \") and function (\" {name} \") provided mapping already exists."
        ),
    };
    Err(ApiError::new(
        "ResourceConflictException",
        format!("{what} Please update or delete the existing mapping with UUID {uuid}"),
    ))
}

fn same_source(source: Source, other: &Value, config: &Value) -> bool {
    if source != Source::OwnKafka {
        return config["EventSourceArn"].is_string()
            && other["EventSourceArn"] == config["EventSourceArn"];
    }
    let shared = |theirs: &Value, ours: &Value| {
        let ours = texts(ours);
        texts(theirs).iter().any(|text| ours.contains(text))
    };
    shared(servers(&other["SelfManagedEventSource"]), servers(&config["SelfManagedEventSource"]))
        && shared(&other["Topics"], &config["Topics"])
}

fn servers(source: &Value) -> &Value {
    &source["Endpoints"]["KAFKA_BOOTSTRAP_SERVERS"]
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn nudge_if_moving(request: &Request<'_>, mapping: &Document) {
    if state(&mapping.body).is_some_and(|state| state.settle(true).is_some()) {
        nudge(request, &mapping.key);
    }
}

/// Brings the mapping to rest, beside the request.
fn nudge(request: &Request<'_>, key: &DocumentKey) {
    let (parts, key) = (Arc::clone(request.parts), key.clone());
    request.parts.env.tasks.spawn(async move {
        settle(&*parts.documents, &key, || seconds(&*parts.env.clock)).await;
    });
}

async fn settle(documents: &dyn Documents, key: &DocumentKey, now: impl Fn() -> Value) {
    for _ in 0..ATTEMPTS {
        let Some(mapping) = documents.get(key) else { return };
        let rest = state(&mapping.body).and_then(|state| state.settle(is_enabled(&mapping.body)));
        let expected = Expected::Rev(mapping.rev);
        let settled = match rest {
            None => return,
            Some(Rest::Gone) => documents.delete(key, expected).await.map(drop),
            Some(Rest::In(state)) => {
                let mut body = (*mapping.body).clone();
                body["config"]["State"] = json!(state.name());
                // AWS: a change of state is a change.
                body["config"]["LastModified"] = now();
                documents.put(key.clone(), expected, body).await.map(drop)
            }
        };
        match settled {
            Err(DocumentError::Conflict) => {}
            Err(error) => {
                return tracing::warn!(%error, "an event source mapping stays in transition");
            }
            Ok(()) => return,
        }
    }
}

fn key(request: &Request<'_>) -> DocumentKey {
    let uuid = text(request.input, "UUID").unwrap_or_default();
    DocumentKey::only(MAPPING, request.scope, &uuid)
}

fn state(body: &Value) -> Option<State> {
    State::parse(body["config"]["State"].as_str()?)
}

fn is_enabled(body: &Value) -> bool {
    body["enabled"].as_bool().unwrap_or(true)
}

fn shown(mapping: &Document) -> Result<Output, ApiError> {
    Output::of(&mapping.body["config"])
}

fn now(request: &Request<'_>) -> Value {
    seconds(&*request.parts.env.clock)
}

fn seconds(clock: &dyn Clock) -> Value {
    json!(clock.now().millis() as f64 / 1000.0)
}

fn missing() -> ApiError {
    ApiError::new("ResourceNotFoundException", "The resource you requested does not exist.")
}

fn in_use(what: &str) -> ApiError {
    ApiError::new(
        "ResourceInUseException",
        format!("Cannot {what} the event source mapping because it is in use."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that a released version wrote. Never edit it: add new ones.
    const STORED: &str = r#"{"config":{"UUID":"u","EventSourceArn":"arn:aws:sqs:us-east-1:000000000000:q","FunctionArn":"arn:aws:lambda:us-east-1:000000000000:function:f","BatchSize":10,"State":"Disabling","StateTransitionReason":"USER_INITIATED","LastModified":1795000000.5},"tags":{"a":"b"},"enabled":false}"#;

    #[test]
    fn old_bodies_are_read() {
        let body: Value = serde_json::from_str(STORED).unwrap();
        assert_eq!((state(&body), is_enabled(&body)), (Some(State::Disabling), false));
        assert_eq!(tags::of(&body)["a"], "b");
        let Some(Value::Object(config)) = body.get("config") else { panic!("no configuration") };
        assert_eq!(Source::of(config).unwrap(), Source::Sqs { fifo: false });
    }

    #[test]
    fn clusters_are_the_same_when_a_server_and_a_topic_are() {
        let cluster = |servers: &[&str], topic: &str| {
            json!({
                "SelfManagedEventSource": { "Endpoints": { "KAFKA_BOOTSTRAP_SERVERS": servers } },
                "Topics": [topic],
            })
        };
        let one = cluster(&["a:1", "b:1"], "t");
        assert!(same_source(Source::OwnKafka, &one, &cluster(&["b:1", "c:1"], "t")));
        assert!(!same_source(Source::OwnKafka, &one, &cluster(&["c:1"], "t")));
        assert!(!same_source(Source::OwnKafka, &one, &cluster(&["a:1"], "other")));
        // Two clusters have no ARN in common by both having none.
        assert!(!same_source(Source::Kinesis, &one, &one));
    }
}
