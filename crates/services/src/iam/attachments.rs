//! Policies of users and roles: inline, attached, and as boundaries. One code for both.

use super::answers::{self, encoded, named};
use super::document::Kind;
use super::identities::Identity;
use super::{Call, check, fault};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

/// AWS: bytes of all inline policies of a role. Users have 2,048 there; here they have as much.
const INLINE: usize = 10_240;
/// AWS: managed policies of one identity.
const ATTACHED: usize = 10;

pub async fn call<I: Identity>(operation: &str, call: &Call<'_>) -> Result<Output, ApiError> {
    let name = call.name(I::NAME);
    match operation {
        "PutRolePolicy" | "PutUserPolicy" => put::<I>(call).await,
        "GetRolePolicy" | "GetUserPolicy" => get::<I>(call),
        "DeleteRolePolicy" | "DeleteUserPolicy" => {
            let policy = call.name("PolicyName");
            let change = |identity: &mut I| match identity.attached().inline.remove(policy) {
                Some(_) => Ok(()),
                None => Err(no_policy::<I>(policy)),
            };
            call.iam.change(name, change).await?;
            Ok(Output::empty())
        }
        "ListRolePolicies" | "ListUserPolicies" => {
            let mut identity = call.iam.get::<I>(name)?;
            let names = identity.attached().inline.keys().map(|name| json!(name)).collect();
            let by = |name: &Value| name.as_str().unwrap_or_default().to_owned();
            answers::page("PolicyNames", names, by, call.input)
        }
        "AttachRolePolicy" | "AttachUserPolicy" => attach::<I>(call).await,
        "DetachRolePolicy" | "DetachUserPolicy" => {
            let arn = call.name("PolicyArn");
            let change = |identity: &mut I| match identity.attached().managed.remove(arn) {
                true => Ok(()),
                false => Err(fault("NoSuchEntity", format!("Policy {arn} was not found."))),
            };
            call.iam.change(name, change).await?;
            Ok(Output::empty())
        }
        "ListAttachedRolePolicies" | "ListAttachedUserPolicies" => list_attached::<I>(call),
        "PutRolePermissionsBoundary" | "PutUserPermissionsBoundary" => {
            let boundary = call.boundary()?;
            let change = |identity: &mut I| {
                identity.attached().boundary.clone_from(&boundary);
                Ok(())
            };
            call.iam.change(name, change).await?;
            Ok(Output::empty())
        }
        "DeleteRolePermissionsBoundary" | "DeleteUserPermissionsBoundary" => {
            let change = |identity: &mut I| {
                identity.attached().boundary = None;
                Ok(())
            };
            call.iam.change(name, change).await?;
            Ok(Output::empty())
        }
        other => Err(super::unknown(other)),
    }
}

impl Call<'_> {
    /// The PermissionsBoundary of the request, which has to be there.
    pub fn boundary(&self) -> Result<Option<String>, ApiError> {
        match self.text("PermissionsBoundary") {
            Some(arn) if self.iam.managed_policy(&arn).is_none() => {
                let message = format!("Scope ARN: {arn} does not exist or is not attachable.");
                Err(fault("NoSuchEntity", message))
            }
            boundary => Ok(boundary),
        }
    }
}

async fn put<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let document = call.name("PolicyDocument");
    check(document, Kind::Identity)?;
    let change = |identity: &mut I| {
        let inline = &mut identity.attached().inline;
        inline.insert(call.name("PolicyName").to_owned(), document.to_owned());
        if inline.values().map(String::len).sum::<usize>() > INLINE {
            let message = format!(
                "Maximum policy size of {INLINE} bytes exceeded for {} {}",
                I::NOUN,
                call.name(I::NAME)
            );
            return Err(fault("LimitExceeded", message));
        }
        Ok(())
    };
    call.iam.change(call.name(I::NAME), change).await?;
    Ok(Output::empty())
}

fn get<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let mut identity = call.iam.get::<I>(call.name(I::NAME))?;
    let policy = call.name("PolicyName");
    let document = identity.attached().inline.get(policy).ok_or_else(|| no_policy::<I>(policy))?;
    Output::of(json!({
        I::NAME: call.name(I::NAME),
        "PolicyName": policy,
        "PolicyDocument": encoded(document),
    }))
}

async fn attach<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let arn = call.name("PolicyArn");
    if call.iam.managed_policy(arn).is_none() {
        let message = format!("Policy {arn} does not exist or is not attachable.");
        return Err(fault("NoSuchEntity", message));
    }
    let change = |identity: &mut I| {
        let managed = &mut identity.attached().managed;
        managed.insert(arn.to_owned());
        if managed.len() > ATTACHED {
            let message =
                format!("Cannot exceed quota for PoliciesPer{}: {ATTACHED}", title::<I>());
            return Err(fault("LimitExceeded", message));
        }
        Ok(())
    };
    call.iam.change(call.name(I::NAME), change).await?;
    Ok(Output::empty())
}

fn list_attached<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let mut identity = call.iam.get::<I>(call.name(I::NAME))?;
    let prefix = call.text("PathPrefix").unwrap_or_else(|| "/".to_owned());
    let attached = identity.attached().managed.iter().filter_map(|arn| {
        let (_, path) = arn.split_once(":policy")?;
        let name = path.rsplit('/').next()?;
        path.starts_with(&prefix).then(|| json!({ "PolicyName": name, "PolicyArn": arn }))
    });
    answers::page("AttachedPolicies", attached.collect(), named("PolicyArn"), call.input)
}

fn no_policy<I: Identity>(policy: &str) -> ApiError {
    fault("NoSuchEntity", format!("The {} policy with name {policy} cannot be found.", I::NOUN))
}

fn title<I: Identity>() -> &'static str {
    I::NAME.strip_suffix("Name").unwrap_or(I::NAME)
}
