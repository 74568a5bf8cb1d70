//! AddPermission and RemovePermission: statements of the topic's policy by their label.

use super::topics::{Record, default_policy};
use super::{Call, invalid};
use crate::statements::{self, Refusal, Statement, texts};
use lamplight_wire::{ApiError, Output};

/// AWS: statements of a topic's policy.
const MOST_STATEMENTS: usize = 100;

pub(super) async fn add(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let label = call.required("Label")?;
    let (accounts, actions) = (texts(call.input, "AWSAccountId"), texts(call.input, "ActionName"));
    if accounts.is_empty() || actions.is_empty() {
        return Err(invalid(if accounts.is_empty() { "AWSAccountId" } else { "ActionName" }));
    }
    if !actions.iter().all(|action| action == "*" || super::OPERATIONS.contains(&action.as_str())) {
        return Err(invalid("Policy statement action out of service scope!"));
    }
    let arn = topic.name.arn(call.scope);
    let account = call.scope.account.to_string();
    let statement = Statement { service: "SNS", label, accounts, actions, resource: &arn };
    let fresh = || default_policy(&arn, &account);
    let edit = |record: &mut Record| {
        let added = statements::add(&mut record.attributes, &statement, fresh, MOST_STATEMENTS);
        added.map_err(|refusal| match refusal {
            Refusal::NoList => invalid("Policy"),
            Refusal::Known => invalid("Statement already exists"),
            Refusal::Full(_) => invalid("Policy Reason: too many statements"),
        })
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}

pub(super) async fn remove(call: &Call<'_>) -> Result<Output, ApiError> {
    let topic = call.topic("TopicArn")?;
    let label = call.required("Label")?;
    let edit = |record: &mut Record| {
        // AWS: taking away what is not there is fine.
        let _ = statements::remove(&mut record.attributes, label);
        Ok(())
    };
    call.sns.change(call.scope, &topic.name, edit).await?;
    Ok(Output::empty())
}
