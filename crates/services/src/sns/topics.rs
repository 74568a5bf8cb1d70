//! Topics: what there are and what they are set to.
//!
//! A topic is one document under its name.

use super::name::TopicName;
use super::{Call, Sns, invalid, no_topic, unavailable};
use crate::records::{self, Fate};
use lamplight_model::{Scope, limits};
use lamplight_rpc::{DocumentKey, Expected};
use lamplight_wire::{ApiError, Output};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const KIND: &str = "sns-topic";
/// AWS: entries of a page.
pub(super) const PAGE: usize = 100;
/// Attributes that are kept and shown, and change nothing.
const KEPT: [&str; 18] = [
    "ApplicationFailureFeedbackRoleArn",
    "ApplicationSuccessFeedbackRoleArn",
    "ApplicationSuccessFeedbackSampleRate",
    "ArchivePolicy",
    "FifoThroughputScope",
    "FirehoseFailureFeedbackRoleArn",
    "FirehoseSuccessFeedbackRoleArn",
    "FirehoseSuccessFeedbackSampleRate",
    "HTTPFailureFeedbackRoleArn",
    "HTTPSuccessFeedbackRoleArn",
    "HTTPSuccessFeedbackSampleRate",
    "KmsMasterKeyId",
    "LambdaFailureFeedbackRoleArn",
    "LambdaSuccessFeedbackRoleArn",
    "LambdaSuccessFeedbackSampleRate",
    "SQSFailureFeedbackRoleArn",
    "SQSSuccessFeedbackRoleArn",
    "SQSSuccessFeedbackSampleRate",
];
/// AWS: what shows where no delivery policy was set.
const EFFECTIVE: &str = r#"{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}"#;

/// A topic as it is kept (version 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub v: u8,
    /// Of one made anew under the same name, it differs.
    pub generation: String,
    /// Those that were set.
    pub attributes: Map<String, Value>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_protection: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub name: TopicName,
    pub record: Record,
}

impl Topic {
    pub(super) fn is(&self, attribute: &str) -> bool {
        self.record.attributes.get(attribute).is_some_and(|value| value == "true")
    }
}

impl Sns {
    pub(super) fn topic(&self, scope: &Scope, name: &TopicName) -> Option<Topic> {
        let key = DocumentKey::only(KIND, scope, name.as_str());
        let record = records::read(&self.around.documents.get(&key)?)?;
        Some(Topic { name: name.clone(), record })
    }

    /// The text of a topic's policy, where one was set.
    pub fn policy(&self, scope: &Scope, arn: &str) -> Option<String> {
        let topic = self.topic(scope, &TopicName::of_arn(arn, scope).ok()?)?;
        Some(topic.record.attributes.get("Policy")?.as_str()?.to_owned())
    }

    pub(super) async fn change(
        &self,
        scope: &Scope,
        name: &TopicName,
        edit: impl Fn(&mut Record) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let key = DocumentKey::only(KIND, scope, name.as_str());
        let decide = |found: Option<Record>| {
            let mut record = found.ok_or_else(no_topic)?;
            edit(&mut record)?;
            Ok((Fate::Becomes(record), ()))
        };
        let changed = records::change(&*self.around.documents, &key, decide).await;
        changed.map_err(|why| why.told(|error| unavailable(error)))
    }
}

impl Call<'_> {
    /// The topic that a member names.
    pub(super) fn topic(&self, member: &str) -> Result<Topic, ApiError> {
        let name = TopicName::of_arn(self.required(member)?, self.scope)?;
        self.sns.topic(self.scope, &name).ok_or_else(no_topic)
    }
}

fn check(name: &TopicName, attribute: &str, value: &str) -> Result<(), ApiError> {
    let object = || serde_json::from_str::<Value>(value).is_ok_and(|value| value.is_object());
    let fits = match attribute {
        "DisplayName" => value.chars().count() <= 100,
        "Policy" => object(),
        "DeliveryPolicy" => value.is_empty() || object(),
        "FifoTopic" => (value == "true") == name.is_fifo(),
        "ContentBasedDeduplication" => name.is_fifo() && matches!(value, "true" | "false"),
        "SignatureVersion" => matches!(value, "1" | "2"),
        "TracingConfig" => matches!(value, "Active" | "PassThrough"),
        other if KEPT.contains(&other) => true,
        _ => return Err(invalid("AttributeName")),
    };
    let reason = || invalid(&format!("Attributes Reason: {attribute}: the value is not allowed"));
    if fits { Ok(()) } else { Err(reason()) }
}

pub(super) async fn create(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = TopicName::parse(call.required("Name")?)?;
    let attributes = call.map("Attributes");
    for (attribute, value) in &attributes {
        check(&name, attribute, value.as_str().unwrap_or_default())?;
    }
    if name.is_fifo() != attributes.get("FifoTopic").is_some_and(|value| value == "true") {
        return Err(invalid(
            "Topic Name Reason: The name of a FIFO topic ends with .fifo, and its attribute \
             FifoTopic is true.",
        ));
    }
    let tags = read_tags(call.input.get("Tags"))?;
    let answer = || Output::of(json!({ "TopicArn": name.arn(call.scope) }));
    let same = |topic: Topic| {
        let kept = &topic.record.attributes;
        if attributes.iter().any(|(name, value)| kept.get(name) != Some(value)) {
            return Err(invalid(
                "Attributes Reason: Topic already exists with different attributes",
            ));
        }
        if !tags.is_empty() && topic.record.tags != tags {
            return Err(invalid("Tags Reason: Topic already exists with different tags"));
        }
        answer()
    };
    if let Some(topic) = call.sns.topic(call.scope, &name) {
        return same(topic);
    }
    let record = Record {
        v: 1,
        generation: call.sns.around.env.random.uuid(),
        attributes: attributes.clone(),
        tags: tags.clone(),
        data_protection: call.text("DataProtectionPolicy").map(str::to_owned),
    };
    let key = DocumentKey::only(KIND, call.scope, name.as_str());
    match records::create(&*call.sns.around.documents, key, &record).await {
        Ok(()) => {
            call.sns.sweep_subscriptions(call.scope, (&name, &record.generation)).await;
            answer()
        }
        Err(why) => match call.sns.topic(call.scope, &name) {
            // Somebody else made it at the same moment.
            Some(topic) => same(topic),
            None => Err(why.told(|error| unavailable(error))),
        },
    }
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = TopicName::of_arn(call.required("TopicArn")?, call.scope)?;
    // First the topic: a subscription of none gets nothing, and a namesake sweeps it.
    let key = DocumentKey::only(KIND, call.scope, name.as_str());
    let documents = &call.sns.around.documents;
    documents.delete(&key, Expected::Anything).await.map_err(|error| unavailable(&error))?;
    let gone = documents.delete_owned(&[super::subscriptions::KIND], call.scope, name.as_str());
    gone.await.map_err(|error| unavailable(&error))?;
    Ok(Output::empty())
}

pub(super) fn list(call: &Call<'_>) -> Result<Output, ApiError> {
    let after = call.text("NextToken").map(super::subscriptions::read_token).transpose()?;
    let after = after.as_ref().map(|(name, _)| (name.as_str(), "-"));
    let documents = &call.sns.around.documents;
    let mut found = documents.list((KIND, call.scope), None, after, PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let names = found.iter().filter_map(|one| TopicName::parse(&one.key.owner).ok());
    let topics: Vec<Value> =
        names.map(|name| json!({ "TopicArn": name.arn(call.scope) })).collect();
    let next = found.last().filter(|_| more);
    let next = next.map(|last| super::subscriptions::token(&last.key.owner, "-"));
    Output::of(json!({ "Topics": topics, "NextToken": next }))
}

pub(super) fn attributes(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let arn = topic.name.arn(call.scope);
    let (confirmed, pending) = call.sns.count(call.scope, &topic);
    let account = call.scope.account.to_string();
    let mut shown = Map::new();
    for (name, value) in [
        ("Policy", default_policy(&arn, &account).to_string()),
        ("Owner", account),
        ("SubscriptionsPending", pending.to_string()),
        ("TopicArn", arn),
        ("EffectiveDeliveryPolicy", EFFECTIVE.to_owned()),
        ("SubscriptionsConfirmed", confirmed.to_string()),
        ("DisplayName", String::new()),
        ("SubscriptionsDeleted", "0".to_owned()),
    ] {
        shown.insert(name.to_owned(), Value::from(value));
    }
    if topic.name.is_fifo() {
        shown.insert("ContentBasedDeduplication".to_owned(), Value::from("false"));
    }
    if let Some(policy) = topic.record.attributes.get("DeliveryPolicy") {
        shown.insert("EffectiveDeliveryPolicy".to_owned(), policy.clone());
    }
    shown.extend(topic.record.attributes);
    Output::of(json!({ "Attributes": shown }))
}

/// AWS: the policy of a topic that was given none. Its condition is about a key that requests do
/// not have any more, so it lets in nobody whom no other policy lets in.
pub(super) fn default_policy(arn: &str, account: &str) -> Value {
    let actions = [
        "SNS:GetTopicAttributes",
        "SNS:SetTopicAttributes",
        "SNS:AddPermission",
        "SNS:RemovePermission",
        "SNS:DeleteTopic",
        "SNS:Subscribe",
        "SNS:ListSubscriptionsByTopic",
        "SNS:Publish",
    ];
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": actions,
            "Resource": arn,
            "Condition": { "StringEquals": { "AWS:SourceOwner": account } },
        }],
    })
}

pub(super) async fn set_attribute(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let attribute = call.required("AttributeName")?;
    let value = call.text("AttributeValue").unwrap_or_default();
    if attribute == "FifoTopic" {
        return Err(invalid("AttributeName"));
    }
    check(&topic.name, attribute, value)?;
    let edit = |record: &mut Record| {
        record.attributes.insert(attribute.to_owned(), Value::from(value));
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}

fn read_tags(given: Option<&Value>) -> Result<BTreeMap<String, String>, ApiError> {
    let given = given.and_then(Value::as_array).into_iter().flatten();
    let text = |tag: &Value, name: &str| {
        tag.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut tags = BTreeMap::new();
    for tag in given {
        if tags.insert(text(tag, "Key"), text(tag, "Value")).is_some() {
            return Err(invalid("Duplicated keys are not allowed."));
        }
    }
    let fits = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256
    };
    if tags.len() > limits::TAGS {
        return Err(ApiError::new(
            "TagLimitExceededException",
            "Could not complete request: tag quota of per resource exceeded",
        ));
    }
    if tags.iter().all(fits) { Ok(tags) } else { Err(invalid("Tags")) }
}

fn no_resource() -> ApiError {
    ApiError::new("ResourceNotFoundException", "Resource does not exist")
}

pub(super) async fn tag(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("ResourceArn").map_err(|_| no_resource())?;
    let new = read_tags(call.input.get("Tags"))?;
    let edit = |record: &mut Record| {
        record.tags.extend(new.clone());
        if record.tags.len() > limits::TAGS {
            return Err(ApiError::new(
                "TagLimitExceededException",
                "Could not complete request: tag quota of per resource exceeded",
            ));
        }
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}

pub(super) async fn untag(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("ResourceArn").map_err(|_| no_resource())?;
    let gone = call.input.get("TagKeys").and_then(Value::as_array).cloned().unwrap_or_default();
    let edit = |record: &mut Record| {
        record.tags.retain(|key, _| !gone.iter().any(|gone| gone == key.as_str()));
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}

pub(super) fn tags(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("ResourceArn").map_err(|_| no_resource())?;
    let tags = topic.record.tags.iter();
    let tags: Vec<Value> = tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Output::of(json!({ "Tags": tags }))
}

pub(super) fn data_protection(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("ResourceArn")?;
    Output::of(json!({ "DataProtectionPolicy": topic.record.data_protection.unwrap_or_default() }))
}

pub(super) async fn set_data_protection(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("ResourceArn")?;
    let policy = call.text("DataProtectionPolicy").unwrap_or_default();
    let edit = |record: &mut Record| {
        record.data_protection = Some(policy.to_owned()).filter(|policy| !policy.is_empty());
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}
