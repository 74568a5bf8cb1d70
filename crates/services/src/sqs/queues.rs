//! Queues: what there are, what they are set to, and how full they are.
//!
//! A queue is one document under its name. Its generation names where its messages are, so that a
//! queue made anew under the same name has none of the old one's.

use super::name::QueueName;
use super::settings::{self, Allow, COMPUTED, Settings};
use super::{Call, Sqs, invalid_attribute_name, invalid_value, no_queue, store_failed};
use crate::records::{self, Fate};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lamplight_model::{Scope, limits};
use lamplight_rpc::{DocumentError, DocumentKey, Expected};
use lamplight_store::Key;
use lamplight_wire::{ApiError, Output};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const KIND: &str = "sqs-queue";
/// AWS: entries of a page.
const PAGE: usize = 1000;

/// A queue as it is kept (version 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub v: u8,
    pub generation: String,
    /// Those that were set and those that every queue has, as they were given.
    pub attributes: Map<String, Value>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub created: i64,
    pub modified: i64,
}

/// A queue that is there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub name: QueueName,
    pub record: Record,
    pub settings: Settings,
}

impl Found {
    /// Where its messages are.
    pub(super) fn key(&self, scope: &Scope) -> Result<Key, ApiError> {
        let account = scope.account.to_string();
        Key::new(&["sqs", &account, &scope.region, &self.record.generation])
            .map_err(ApiError::internal)
    }
}

impl Sqs {
    pub(super) fn find(&self, scope: &Scope, name: &QueueName) -> Option<Found> {
        let found = self.documents.get(&DocumentKey::only(KIND, scope, name.as_str()))?;
        let record: Record = records::read(&found)?;
        let settings = Settings::read(&record.attributes);
        Some(Found { name: name.clone(), record, settings })
    }

    /// By an ARN of the scope.
    pub(super) fn find_arn(&self, scope: &Scope, arn: &str) -> Option<Found> {
        self.find(scope, &QueueName::of_arn(arn, scope)?)
    }

    pub(super) fn all(&self, scope: &Scope, after: Option<&str>) -> Vec<Found> {
        let after = after.map(|name| (name, "-"));
        let documents = self.documents.list((KIND, scope), None, after, PAGE + 1);
        let names = documents.iter().filter_map(|one| QueueName::parse(&one.key.owner).ok());
        names.filter_map(|name| self.find(scope, &name)).collect()
    }

    /// Whether the queue of an ARN is here.
    pub fn has(&self, scope: &Scope, arn: &str) -> bool {
        self.find_arn(scope, arn).is_some()
    }

    /// The text of a queue's policy.
    pub fn policy(&self, scope: &Scope, url: &str) -> Option<String> {
        let found = self.find(scope, &QueueName::of_url(url, scope)?)?;
        Some(found.record.attributes.get("Policy")?.as_str()?.to_owned())
    }

    /// The text of the policy of an ARN's queue.
    pub fn policy_of_arn(&self, scope: &Scope, arn: &str) -> Option<String> {
        let found = self.find_arn(scope, arn)?;
        Some(found.record.attributes.get("Policy")?.as_str()?.to_owned())
    }

    /// Writes what `edit` makes of a queue, seen again when somebody else was faster.
    pub(super) async fn change(
        &self,
        scope: &Scope,
        name: &QueueName,
        edit: impl Fn(&mut Record) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let key = DocumentKey::only(KIND, scope, name.as_str());
        let decide = |found: Option<Record>| {
            let before = found.ok_or_else(no_queue)?;
            let mut record = before.clone();
            edit(&mut record)?;
            if record == before {
                return Ok((Fate::Stays, ()));
            }
            record.modified = self.now().seconds();
            Ok((Fate::Becomes(record), ()))
        };
        let changed = records::change(&*self.documents, &key, decide).await;
        changed.map_err(|why| why.told(unavailable))
    }
}

impl Call<'_> {
    /// The queue that the request's URL names.
    pub(super) fn queue(&self) -> Result<Found, ApiError> {
        let url = self.required("QueueUrl")?;
        let name = QueueName::of_url(url, self.scope()).ok_or_else(no_queue)?;
        self.sqs.find(self.scope(), &name).ok_or_else(no_queue)
    }
}

pub(super) fn unavailable(error: &DocumentError) -> ApiError {
    tracing::error!(%error, "a queue could not be written");
    ApiError::new("ServiceUnavailable", "The queue could not be written. Please try again.")
        .with_status(503)
}

pub(super) async fn create(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = QueueName::parse(call.required("QueueName")?)?;
    let none = Map::new();
    let given = call.input.get("Attributes").and_then(Value::as_object).unwrap_or(&none);
    let answer = || Output::of(json!({ "QueueUrl": call.url(&name) }));
    let attributes = settings::of_new_queue(&name, given)?;
    check_redrive(call, &name, given)?;
    if let Some(found) = call.sqs.find(call.scope(), &name) {
        return same(&found, given).and_then(|()| answer());
    }
    let tags = tags_of(call.input.get("tags"));
    check_tags(&tags)?;
    let now = call.sqs.now().seconds();
    let generation = call.sqs.env.random.uuid();
    let record = Record { v: 1, generation, attributes, tags, created: now, modified: now };
    let key = DocumentKey::only(KIND, call.scope(), name.as_str());
    match records::create(&*call.sqs.documents, key, &record).await {
        Ok(()) => answer(),
        Err(why) => match call.sqs.find(call.scope(), &name) {
            // Somebody else made it at the same moment.
            Some(found) => same(&found, given).and_then(|()| answer()),
            None => Err(why.told(unavailable)),
        },
    }
}

/// AWS: making a queue again is fine with the attributes it has.
fn same(found: &Found, given: &Map<String, Value>) -> Result<(), ApiError> {
    let differs = given.iter().find(|(name, value)| {
        let kept = found.record.attributes.get(*name).and_then(Value::as_str);
        kept.unwrap_or_default() != value.as_str().unwrap_or_default()
    });
    match differs {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::new(
            "QueueNameExists",
            format!(
                "A queue already exists with the same name and a different value for attribute {name}"
            ),
        )),
    }
}

/// A dead letter queue has to be there, of the same kind, and willing.
fn check_redrive(
    call: &Call<'_>,
    name: &QueueName,
    given: &Map<String, Value>,
) -> Result<(), ApiError> {
    let Some(text) = given.get("RedrivePolicy").and_then(Value::as_str) else { return Ok(()) };
    let Some(redrive) = Settings::read(given).redrive else { return Ok(()) };
    let refuse = |reason: &str| {
        invalid_value(format!(
            "Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"
        ))
    };
    let Some(target) = call.sqs.find_arn(call.scope(), &redrive.dead_letter_arn) else {
        return Err(refuse("Dead letter target does not exist."));
    };
    if target.name.is_fifo() != name.is_fifo() {
        return Err(refuse(if name.is_fifo() {
            "Dead-letter queue must be same type of queue as the source."
        } else {
            "Dead-letter queue can't be a FIFO queue for a standard queue."
        }));
    }
    if !Allow::of(&target.record.attributes).allows(&name.arn(call.scope())) {
        return Err(refuse("The dead-letter queue does not allow this queue as its source."));
    }
    Ok(())
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let key = DocumentKey::only(KIND, call.scope(), found.name.as_str());
    call.sqs
        .documents
        .delete(&key, Expected::Anything)
        .await
        .map_err(|error| unavailable(&error))?;
    // What a crash leaves here is nobody's, and ends with its age.
    call.sqs.messages.purge(&found.key(call.scope())?).await.map_err(store_failed)?;
    Ok(Output::empty())
}

pub(super) async fn purge(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    call.sqs.messages.purge(&found.key(call.scope())?).await.map_err(store_failed)?;
    Ok(Output::empty())
}

pub(super) fn url(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = QueueName::parse(call.required("QueueName")?).map_err(|_| no_queue())?;
    if let Some(owner) = call.text("QueueOwnerAWSAccountId")
        && owner != call.scope().account.to_string()
    {
        return Err(no_queue());
    }
    let found = call.sqs.find(call.scope(), &name).ok_or_else(no_queue)?;
    Output::of(json!({ "QueueUrl": call.url(&found.name) }))
}

pub(super) fn list(call: &Call<'_>) -> Result<Output, ApiError> {
    let prefix = call.text("QueueNamePrefix").unwrap_or_default();
    pages(call, "QueueUrls", |found| found.name.as_str().starts_with(prefix))
}

/// Queues whose dead letters go to this one.
pub(super) fn list_sources(call: &Call<'_>) -> Result<Output, ApiError> {
    let arn = call.queue()?.name.arn(call.scope());
    pages(call, "queueUrls", |found| {
        found.settings.redrive.as_ref().is_some_and(|redrive| redrive.dead_letter_arn == arn)
    })
}

fn pages(
    call: &Call<'_>,
    member: &str,
    wanted: impl Fn(&Found) -> bool,
) -> Result<Output, ApiError> {
    let most = call.number("MaxResults", 1..=1000)?;
    let size = most.map_or(PAGE, |most| most as usize);
    let mut after = match call.text("NextToken") {
        None => None,
        Some(token) => Some(read_token(token)?),
    };
    let mut names = Vec::new();
    'all: loop {
        let page = call.sqs.all(call.scope(), after.as_deref());
        let Some(last) = page.last() else { break };
        after = Some(last.name.as_str().to_owned());
        for found in page.into_iter().filter(&wanted) {
            names.push(found.name);
            if names.len() > size {
                break 'all;
            }
        }
    }
    let more = names.len() > size;
    names.truncate(size);
    let mut members = Map::new();
    // AWS: without a MaxResults there is no token, whatever there is.
    if let (true, Some(last), true) = (more, names.last(), most.is_some()) {
        members.insert("NextToken".to_owned(), URL_SAFE_NO_PAD.encode(last.as_str()).into());
    }
    let urls: Vec<String> = names.iter().map(|name| call.url(name)).collect();
    // AWS: a listing of nothing has no list at all.
    if !urls.is_empty() || member == "queueUrls" {
        members.insert(member.to_owned(), json!(urls));
    }
    Ok(Output { members, ..Output::default() })
}

fn read_token(token: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| invalid_value("Invalid or expired next token."))
}

pub(super) async fn attributes(call: &Call<'_>) -> Result<Output, ApiError> {
    const SETTABLE: [&str; 17] = [
        "All",
        "Policy",
        "VisibilityTimeout",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "DelaySeconds",
        "ReceiveMessageWaitTimeSeconds",
        "RedrivePolicy",
        "RedriveAllowPolicy",
        "FifoQueue",
        "ContentBasedDeduplication",
        "KmsMasterKeyId",
        "KmsDataKeyReusePeriodSeconds",
        "DeduplicationScope",
        "FifoThroughputLimit",
        "SqsManagedSseEnabled",
        "Tags",
    ];
    let found = call.queue()?;
    let wanted: Vec<&str> = call
        .input
        .get("AttributeNames")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if let Some(strange) =
        wanted.iter().find(|name| !SETTABLE.contains(name) && !COMPUTED.contains(name))
    {
        return Err(invalid_attribute_name(strange));
    }
    if wanted.is_empty() {
        return Ok(Output::empty());
    }
    let mut all = computed(call, &found).await?;
    all.extend(found.record.attributes);
    let everything = wanted.contains(&"All");
    all.retain(|name, _| everything || wanted.contains(&name.as_str()));
    Output::of(json!({ "Attributes": all }))
}

async fn computed(call: &Call<'_>, found: &Found) -> Result<Map<String, Value>, ApiError> {
    let key = found.key(call.scope())?;
    let depths = call.sqs.messages.depths(&key, call.sqs.now()).await.map_err(store_failed)?;
    let depth = depths.iter().find(|depth| depth.queue == key);
    let count = |of: fn(&lamplight_store::Depth) -> u64| depth.map_or(0, of).to_string();
    let pairs = [
        ("QueueArn", found.name.arn(call.scope())),
        ("ApproximateNumberOfMessages", count(|depth| depth.ready)),
        ("ApproximateNumberOfMessagesNotVisible", count(|depth| depth.leased)),
        ("ApproximateNumberOfMessagesDelayed", count(|depth| depth.delayed)),
        ("CreatedTimestamp", found.record.created.to_string()),
        ("LastModifiedTimestamp", found.record.modified.to_string()),
    ];
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
}

pub(super) async fn set_attributes(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let given = call.input.get("Attributes").and_then(Value::as_object);
    let given = given.ok_or_else(|| super::missing("Attributes"))?;
    check_redrive(call, &found.name, given)?;
    let edit =
        |record: &mut Record| settings::change(&found.name, &mut record.attributes, given, false);
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
}

fn tags_of(given: Option<&Value>) -> BTreeMap<String, String> {
    let given = given.and_then(Value::as_object).into_iter().flatten();
    given.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > limits::TAGS {
        return Err(invalid_value(format!(
            "Too many tags added for queue. Maximum: {}",
            limits::TAGS
        )));
    }
    let fits = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256
    };
    if !tags.iter().all(fits) {
        return Err(invalid_value("Tag keys have 1 to 128 characters and values up to 256."));
    }
    Ok(())
}

pub(super) async fn tag(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let new = tags_of(call.input.get("Tags"));
    let edit = |record: &mut Record| {
        record.tags.extend(new.clone());
        check_tags(&record.tags)
    };
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
}

pub(super) async fn untag(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let gone = call.input.get("TagKeys").and_then(Value::as_array).cloned().unwrap_or_default();
    let edit = |record: &mut Record| {
        record.tags.retain(|key, _| !gone.iter().any(|gone| gone == key.as_str()));
        Ok(())
    };
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
}

pub(super) fn tags(call: &Call<'_>) -> Result<Output, ApiError> {
    let tags = call.queue()?.record.tags;
    if tags.is_empty() {
        return Ok(Output::empty());
    }
    Output::of(json!({ "Tags": tags }))
}
