//! AddPermission and RemovePermission: statements of the queue's policy by their label.

use super::queues::Record;
use super::{Call, invalid_value};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

/// AWS: statements that this way makes.
const MOST_STATEMENTS: usize = 7;

pub(super) async fn add(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let label = label(call)?;
    let texts = |member: &str| -> Vec<String> {
        let given = call.input.get(member).and_then(Value::as_array);
        given.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (accounts, actions) = (texts("AWSAccountIds"), texts("Actions"));
    if accounts.is_empty() || actions.is_empty() {
        return Err(super::missing(if accounts.is_empty() {
            "AWSAccountId"
        } else {
            "ActionName"
        }));
    }
    if let Some(strange) = actions.iter().find(|action| !is_action(action)) {
        return Err(invalid_value(format!(
            "Value SQS:{strange} for parameter ActionName is invalid. Reason: Please refer to the \
             appropriate WSDL for a list of valid actions."
        )));
    }
    let arn = found.name.arn(call.scope());
    let one_or_all = |mut texts: Vec<String>| match (texts.len(), texts.pop()) {
        (1, Some(only)) => Value::from(only),
        (_, Some(last)) => {
            texts.push(last);
            json!(texts)
        }
        (_, None) => Value::Null,
    };
    let principals =
        accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    let statement = json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_all(principals) },
        "Action": one_or_all(actions.iter().map(|action| format!("SQS:{action}")).collect()),
        "Resource": arn,
    });
    let edit = |record: &mut Record| {
        let mut policy = policy_of(record).unwrap_or_else(|| {
            json!({ "Version": "2012-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": [] })
        });
        let Some(statements) = policy.get_mut("Statement").and_then(Value::as_array_mut) else {
            return Err(invalid_value("The policy of the queue has no list of statements."));
        };
        if statements.iter().any(|one| one.get("Sid").is_some_and(|sid| *sid == *label)) {
            return Err(invalid_value(format!(
                "Value {label} for parameter Label is invalid. Reason: Already exists."
            )));
        }
        if statements.len() >= MOST_STATEMENTS {
            return Err(ApiError::new(
                "OverLimit",
                format!(
                    "{} statements were found, maximum allowed is {MOST_STATEMENTS}.",
                    statements.len() + 1
                ),
            ));
        }
        statements.push(statement.clone());
        record.attributes.insert("Policy".to_owned(), Value::from(policy.to_string()));
        Ok(())
    };
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let label = label(call)?;
    let edit = |record: &mut Record| {
        let missing = || {
            invalid_value(format!(
                "Value {label} for parameter Label is invalid. Reason: can't find label on existing \
                 policy."
            ))
        };
        let mut policy = policy_of(record).ok_or_else(missing)?;
        let statements = policy.get_mut("Statement").and_then(Value::as_array_mut);
        let statements = statements.ok_or_else(missing)?;
        let before = statements.len();
        statements.retain(|one| one.get("Sid").is_none_or(|sid| *sid != *label));
        if statements.len() == before {
            return Err(missing());
        }
        if statements.is_empty() {
            record.attributes.remove("Policy");
        } else {
            record.attributes.insert("Policy".to_owned(), Value::from(policy.to_string()));
        }
        Ok(())
    };
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
}

fn policy_of(record: &Record) -> Option<Value> {
    serde_json::from_str(record.attributes.get("Policy")?.as_str()?).ok()
}

fn label<'c>(call: &'c Call<'_>) -> Result<&'c str, ApiError> {
    let label = call.required("Label")?;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if label.len() <= 80 && label.bytes().all(word) {
        return Ok(label);
    }
    Err(invalid_value(format!(
        "Value {label} for parameter Label is invalid. Reason: Can only include alphanumeric \
         characters, hyphens, or underscores. 1 to 80 in length."
    )))
}

fn is_action(name: &str) -> bool {
    name == "*" || super::OPERATIONS.contains(&name)
}
