//! Tags of log groups, by ARN and in the older way by name.

use super::answers::{constraint, invalid, refusal};
use super::{Call, names, read};
use crate::logs::store::Group;
use lamplight_model::limits;
use lamplight_wire::{ApiError, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    resource_arn: Option<String>,
    log_group_name: Option<String>,
}

impl Subject {
    fn group(self, call: &Call) -> Result<Arc<Group>, ApiError> {
        let named = match (self.resource_arn, self.log_group_name) {
            (Some(arn), _) => ("resourceArn", arn),
            (None, name) => ("logGroupName", name.unwrap_or_default()),
        };
        call.group(&names::named(&call.scope, named)?)
    }
}

#[derive(Deserialize)]
struct Tag {
    #[serde(flatten)]
    subject: Subject,
    tags: BTreeMap<String, String>,
}

pub fn tag(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Tag = read(input)?;
    let tags = check(input.tags)?;
    let by_name = input.subject.resource_arn.is_none();
    let group = input.subject.group(call)?;
    let mut all = group.meta().tags;
    all.extend(tags.clone());
    if all.len() > limits::TAGS {
        let why = "The number of tags exceeds the limit of 50.";
        // AWS: the older operation does not know the newer error.
        let error = if by_name { invalid(why) } else { ApiError::new("TooManyTagsException", why) };
        return Err(error);
    }
    group.change(|meta| meta.tags.extend(tags)).map_err(refusal)?;
    Ok(Output::empty())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Untag {
    #[serde(flatten)]
    subject: Subject,
    /// UntagResource calls them so, UntagLogGroup the other way.
    #[serde(alias = "tags")]
    tag_keys: Vec<String>,
}

pub fn untag(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Untag = read(input)?;
    let group = input.subject.group(call)?;
    group
        .change(|meta| meta.tags.retain(|key, _| !input.tag_keys.contains(key)))
        .map_err(refusal)?;
    Ok(Output::empty())
}

pub fn list(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let subject: Subject = read(input)?;
    Output::of(json!({ "tags": subject.group(call)?.meta().tags }))
}

/// Refuses what the model does: more than 50, keys beyond 128 and values beyond 256 characters.
pub fn check(tags: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ApiError> {
    if tags.len() > limits::TAGS {
        let rule = "Member must have length less than or equal to 50";
        return Err(constraint("tags", &format!("{} tags", tags.len()), rule));
    }
    for (key, value) in &tags {
        if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
            let rule = "Member must have a key of 1 to 128 and a value of at most 256 characters";
            return Err(constraint("tags", key, rule));
        }
    }
    Ok(tags)
}
