//! AddPermission and RemovePermission of SQS and SNS: statements of a resource's policy by their
//! label. The texts of refusals are each service's own.

use serde_json::{Map, Value, json};

/// A statement that lets accounts do something.
pub(crate) struct Statement<'a> {
    /// `SQS`.
    pub service: &'static str,
    pub label: &'a str,
    pub accounts: Vec<String>,
    pub actions: Vec<String>,
    pub resource: &'a str,
}

/// Why a policy does not take a statement.
pub(crate) enum Refusal {
    /// It has no list of statements.
    NoList,
    Known,
    /// It would have so many.
    Full(usize),
}

impl Statement<'_> {
    fn shown(&self) -> Value {
        let one_or_all = |texts: Vec<String>| match texts.as_slice() {
            [only] => Value::from(only.as_str()),
            all => json!(all),
        };
        let principals = self.accounts.iter().map(|id| format!("arn:aws:iam::{id}:root")).collect();
        let actions = self.actions.iter().map(|one| format!("{}:{one}", self.service)).collect();
        json!({
            "Sid": self.label,
            "Effect": "Allow",
            "Principal": { "AWS": one_or_all(principals) },
            "Action": one_or_all(actions),
            "Resource": self.resource,
        })
    }
}

/// The texts of a list of the input.
pub(crate) fn texts(input: &Map<String, Value>, member: &str) -> Vec<String> {
    let given = input.get(member).and_then(Value::as_array);
    given.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The policy among a resource's attributes.
fn policy(attributes: &Map<String, Value>) -> Option<Value> {
    serde_json::from_str(attributes.get("Policy")?.as_str()?).ok()
}

/// Adds a statement to the policy in `attributes`, or to `fresh` where there is none.
pub(crate) fn add(
    attributes: &mut Map<String, Value>,
    statement: &Statement<'_>,
    fresh: impl FnOnce() -> Value,
    most: usize,
) -> Result<(), Refusal> {
    let mut policy = policy(attributes).unwrap_or_else(fresh);
    let list = policy.get_mut("Statement").and_then(Value::as_array_mut).ok_or(Refusal::NoList)?;
    if list.iter().any(|one| one.get("Sid").is_some_and(|sid| *sid == *statement.label)) {
        return Err(Refusal::Known);
    }
    if list.len() >= most {
        return Err(Refusal::Full(list.len() + 1));
    }
    list.push(statement.shown());
    attributes.insert("Policy".to_owned(), Value::from(policy.to_string()));
    Ok(())
}

/// Takes the statement of a label out of the policy in `attributes`. `None` when it has none of that
/// label, else how many are left.
pub(crate) fn remove(attributes: &mut Map<String, Value>, label: &str) -> Option<usize> {
    let mut policy = policy(attributes)?;
    let list = policy.get_mut("Statement")?.as_array_mut()?;
    let before = list.len();
    list.retain(|one| one.get("Sid").is_none_or(|sid| *sid != *label));
    let left = list.len();
    attributes.insert("Policy".to_owned(), Value::from(policy.to_string()));
    (left < before).then_some(left)
}
