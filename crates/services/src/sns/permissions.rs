//! AddPermission and RemovePermission: statements of the topic's policy by their label.

use super::topics::{Record, default_policy};
use super::{Call, invalid};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

/// AWS: statements of a topic's policy.
const MOST_STATEMENTS: usize = 100;

pub(super) async fn add(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let label = call.required("Label")?;
    let texts = |member: &str| -> Vec<String> {
        let given = call.input.get(member).and_then(Value::as_array);
        given.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (accounts, actions) = (texts("AWSAccountId"), texts("ActionName"));
    if accounts.is_empty() || actions.is_empty() {
        return Err(invalid(if accounts.is_empty() { "AWSAccountId" } else { "ActionName" }));
    }
    if !actions.iter().all(|action| action == "*" || super::OPERATIONS.contains(&action.as_str())) {
        return Err(invalid("Policy statement action out of service scope!"));
    }
    let arn = topic.name.arn(call.scope);
    let one_or_all = |texts: Vec<String>| match texts.as_slice() {
        [only] => Value::from(only.as_str()),
        all => json!(all),
    };
    let principals =
        accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    let statement = json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_all(principals) },
        "Action": one_or_all(actions.iter().map(|action| format!("SNS:{action}")).collect()),
        "Resource": arn,
    });
    let account = call.scope.account.to_string();
    let edit = |record: &mut Record| {
        let mut policy = policy_of(record).unwrap_or_else(|| default_policy(&arn, &account));
        let statements = policy.get_mut("Statement").and_then(Value::as_array_mut);
        let statements = statements.ok_or_else(|| invalid("Policy"))?;
        if statements.iter().any(|one| one.get("Sid").is_some_and(|sid| *sid == *label)) {
            return Err(invalid("Statement already exists"));
        }
        if statements.len() >= MOST_STATEMENTS {
            return Err(invalid("Policy Reason: too many statements"));
        }
        statements.push(statement.clone());
        record.attributes.insert("Policy".to_owned(), Value::from(policy.to_string()));
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let label = call.required("Label")?;
    let edit = |record: &mut Record| {
        let Some(mut policy) = policy_of(record) else { return Ok(()) };
        if let Some(statements) = policy.get_mut("Statement").and_then(Value::as_array_mut) {
            statements.retain(|one| one.get("Sid").is_none_or(|sid| *sid != *label));
        }
        record.attributes.insert("Policy".to_owned(), Value::from(policy.to_string()));
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}

fn policy_of(record: &Record) -> Option<Value> {
    serde_json::from_str(record.attributes.get("Policy")?.as_str()?).ok()
}
