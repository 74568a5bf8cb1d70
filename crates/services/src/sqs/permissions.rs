//! AddPermission and RemovePermission: statements of the queue's policy by their label.

use super::queues::Record;
use super::{Call, invalid_value};
use crate::statements::{self, Refusal, Statement, texts};
use lamplight_wire::{ApiError, Output};
use serde_json::json;

/// AWS: statements that this way makes.
const MOST_STATEMENTS: usize = 7;

pub(super) async fn add(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let label = label(call)?;
    let (accounts, actions) = (texts(call.input, "AWSAccountIds"), texts(call.input, "Actions"));
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
    let statement = Statement { service: "SQS", label, accounts, actions, resource: &arn };
    let fresh = || json!({ "Version": "2012-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": [] });
    let edit = |record: &mut Record| {
        let added = statements::add(&mut record.attributes, &statement, fresh, MOST_STATEMENTS);
        added.map_err(|refusal| match refusal {
            Refusal::NoList => invalid_value("The policy of the queue has no list of statements."),
            Refusal::Known => invalid_value(format!(
                "Value {label} for parameter Label is invalid. Reason: Already exists."
            )),
            Refusal::Full(count) => ApiError::new(
                "OverLimit",
                format!("{count} statements were found, maximum allowed is {MOST_STATEMENTS}."),
            ),
        })
    };
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let label = label(call)?;
    let edit = |record: &mut Record| {
        let left = statements::remove(&mut record.attributes, label).ok_or_else(|| {
            invalid_value(format!(
                "Value {label} for parameter Label is invalid. Reason: can't find label on existing \
                 policy."
            ))
        })?;
        if left == 0 {
            record.attributes.remove("Policy");
        }
        Ok(())
    };
    call.sqs.change(call.scope(), &found.name, edit).await?;
    Ok(Output::empty())
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
