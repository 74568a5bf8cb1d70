//! Log groups: making, describing, deleting, how long they keep what they get.

use super::answers::{self, constraint, invalid, refusal};
use super::{Call, names, read, tags};
use crate::logs::store::{Group, Settings};
use lamplight_wire::{ApiError, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// AWS: the days that a group may keep events.
const RETENTIONS: &[u32] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    log_group_name: Option<String>,
    kms_key_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    log_group_class: Option<String>,
    deletion_protection_enabled: Option<bool>,
}

pub fn create(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Create = read(input)?;
    let name = names::group(&call.scope, input.log_group_name, None)?;
    if input.kms_key_id.is_some() {
        // Said, rather than keeping in the clear what somebody believes to be encrypted.
        return Err(invalid("Encryption with a KMS key is not supported."));
    }
    let settings = Settings {
        tags: tags::check(input.tags.unwrap_or_default())?,
        class: input.log_group_class,
        protected: input.deletion_protection_enabled.unwrap_or(false),
    };
    call.intake.store.create(&call.scope, &name, call.now, settings).map_err(refusal)?;
    Ok(Output::empty())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    log_group_name: Option<String>,
    retention_in_days: Option<i64>,
}

pub fn delete(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Named = read(input)?;
    let name = names::group(&call.scope, input.log_group_name, None)?;
    if call.group(&name)?.meta().protected {
        return Err(ApiError::new(
            "ValidationException",
            "The log group has deletion protection enabled and cannot be deleted.",
        ));
    }
    call.intake.store.delete(&call.scope, &name).map_err(refusal)?;
    Ok(Output::empty())
}

pub fn put_retention(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Named = read(input)?;
    let name = names::group(&call.scope, input.log_group_name, None)?;
    let asked = input.retention_in_days.unwrap_or_default();
    let days = RETENTIONS.iter().copied().find(|days| i64::from(*days) == asked);
    let Some(days) = days else {
        let rule = format!("Member must satisfy enum value set: {RETENTIONS:?}");
        return Err(constraint("retentionInDays", &asked.to_string(), &rule));
    };
    call.group(&name)?.change(|meta| meta.retention_days = Some(days)).map_err(refusal)?;
    Ok(Output::empty())
}

pub fn delete_retention(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Named = read(input)?;
    let name = names::group(&call.scope, input.log_group_name, None)?;
    call.group(&name)?.change(|meta| meta.retention_days = None).map_err(refusal)?;
    Ok(Output::empty())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Describe {
    account_identifiers: Option<Vec<String>>,
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    log_group_class: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
}

pub fn describe(call: &Call, input: Map<String, Value>) -> Result<Output, ApiError> {
    let input: Describe = read(input)?;
    let limit = answers::limit(input.limit, 50)?;
    let (prefix, pattern) = (input.log_group_name_prefix, input.log_group_name_pattern);
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let wanted = input.log_group_identifiers.map(|identifiers| {
        let name = |identifier| names::group(&call.scope, None, Some(identifier)).ok();
        identifiers.into_iter().filter_map(name).collect::<Vec<_>>()
    });
    let ours = call.scope.account.as_str();
    let elsewhere = input.account_identifiers.is_some_and(|accounts| {
        !accounts.is_empty() && !accounts.iter().any(|account| account == ours)
    });
    let fits = |name: &str, group: &Group| {
        !elsewhere
            && prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix.as_str()))
            && pattern.as_ref().is_none_or(|pattern| name.contains(pattern.as_str()))
            && wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| wanted == name))
            && input.log_group_class.as_ref().is_none_or(|class| group.meta().class == *class)
    };
    let after = input.next_token.unwrap_or_default();
    let groups = call.intake.store.groups(&call.scope, &after);
    let mut fitting = groups.iter().filter(|(name, group)| fits(name, group));
    let page: Vec<_> = fitting.by_ref().take(limit).collect();
    let next = page.last().map(|(name, _)| name).filter(|_| fitting.next().is_some());
    let described: Vec<_> = page.iter().map(|(_, group)| description(call, group)).collect();
    Output::of(json!({ "logGroups": described, "nextToken": next }))
}

fn description(call: &Call, group: &Group) -> Value {
    let meta = group.meta();
    let arn = names::arn(&call.scope, &meta.name);
    let mut out = json!({
        "logGroupName": meta.name,
        "creationTime": meta.created,
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "logGroupArn": arn,
        "storedBytes": group.stored_bytes(),
        "logGroupClass": meta.class,
        "deletionProtectionEnabled": meta.protected,
    });
    if let Some(days) = meta.retention_days {
        out["retentionInDays"] = days.into();
    }
    out
}
