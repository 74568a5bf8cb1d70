//! The shapes of IAM's answers.

use super::store::{Attached, ManagedPolicy, Role, User};
use lamplight_model::AccountId;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub fn user(user: &User, account: &AccountId) -> Value {
    json!({
        "Path": user.path,
        "UserName": user.name,
        "UserId": user.id,
        "Arn": user.arn(account),
        "CreateDate": seconds(user.created),
        "PermissionsBoundary": boundary(&user.attached),
        "Tags": some_tags(&user.tags),
    })
}

pub fn role(role: &Role, account: &AccountId) -> Value {
    json!({
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn(account),
        "CreateDate": seconds(role.created),
        "AssumeRolePolicyDocument": encoded(&role.trust),
        "Description": role.description,
        "MaxSessionDuration": role.max_session,
        "PermissionsBoundary": boundary(&role.attached),
        "Tags": some_tags(&role.tags),
    })
}

/// `used`: how many identities have it attached, and as their boundary.
pub fn policy(policy: &ManagedPolicy, arn: &str, used: (usize, usize)) -> Value {
    json!({
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": arn,
        "Path": policy.path,
        "DefaultVersionId": format!("v{}", policy.default),
        "AttachmentCount": used.0,
        "PermissionsBoundaryUsageCount": used.1,
        "IsAttachable": true,
        "Description": policy.description,
        "CreateDate": seconds(policy.created),
        "UpdateDate": seconds(policy.updated),
        "Tags": some_tags(&policy.tags),
    })
}

fn boundary(attached: &Attached) -> Value {
    match &attached.boundary {
        Some(arn) => {
            json!({ "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn })
        }
        None => Value::Null,
    }
}

pub fn tags(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// AWS: left out where there are none.
fn some_tags(all: &BTreeMap<String, String>) -> Value {
    if all.is_empty() { Value::Null } else { Value::Array(tags(all)) }
}

pub fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1000)
}

/// AWS: documents inside answers are percent-encoded.
pub fn encoded(document: &str) -> String {
    let mut text = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// A page of `items` in the order of their names.
pub fn page(
    member: &str,
    items: Vec<Value>,
    name: impl Fn(&Value) -> String,
    input: &Map<String, Value>,
) -> Result<Output, ApiError> {
    let (page, marker) = cut(items, name, input);
    Output::of(json!({ member: page, "IsTruncated": marker.is_some(), "Marker": marker }))
}

/// What of `items`, in the order of their keys, the request asks for, and the marker of what is
/// left after that. No two have the same key.
pub fn cut<T>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
    input: &Map<String, Value>,
) -> (Vec<T>, Option<String>) {
    let most = input.get("MaxItems").and_then(Value::as_u64).unwrap_or(100).clamp(1, 1000);
    let most = usize::try_from(most).unwrap_or(1000);
    if let Some(after) = input.get("Marker").and_then(Value::as_str) {
        items.retain(|item| *key(item) > *after);
    }
    items.sort_by_cached_key(&key);
    let more = items.len() > most;
    items.truncate(most);
    let marker = items.last().filter(|_| more).map(key);
    (items, marker)
}

/// A listing of what there is none of.
pub fn none(member: &str) -> Result<Output, ApiError> {
    Output::of(json!({ member: [], "IsTruncated": false }))
}

/// The name by which a listing's item is ordered.
pub fn named(member: &'static str) -> impl Fn(&Value) -> String {
    move |item| item.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let items = || ["b", "a", "c"].map(|name| json!({ "Name": name })).to_vec();
        let ask = |input: Value| {
            page("All", items(), named("Name"), input.as_object().unwrap()).unwrap().members
        };
        let first = ask(json!({ "MaxItems": 2 }));
        assert_eq!(
            (first["IsTruncated"].clone(), first["Marker"].clone()),
            (json!(true), json!("b"))
        );
        let second = ask(json!({ "MaxItems": 2, "Marker": "b" }));
        assert_eq!(second["All"], json!([{ "Name": "c" }]));
        assert_eq!(
            (second["IsTruncated"].clone(), second["Marker"].clone()),
            (json!(false), json!(null))
        );
    }

    #[test]
    fn documents_are_percent_encoded() {
        assert_eq!(encoded("{\"a\": \"é-*\"}"), "%7B%22a%22%3A%20%22%C3%A9-%2A%22%7D");
    }
}
