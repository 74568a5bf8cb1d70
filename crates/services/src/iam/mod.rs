//! IAM: users with access keys, roles, policies, and what they may do.
//!
//! Invariants: a policy that cannot be read is refused when it is written. The owner of the server
//! is no user here and may do everything. Absent: groups, logins, instance profiles, providers of
//! identities elsewhere.

mod answers;
mod attachments;
mod aws_managed;
mod caller;
mod condition;
pub mod document;
pub mod evaluate;
mod identities;
mod keys;
mod managed;
mod pattern;
mod permissions;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use caller::{Caller, Who};
pub use permissions::Trust;

use lamplight_env::Env;
use lamplight_model::AccountId;
use lamplight_rpc::Documents;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use store::{Role, User};

/// AWS: how Lambda is called in policies.
pub const LAMBDA: &str = "lambda.amazonaws.com";

/// IAM of one account.
pub struct Iam {
    documents: Arc<dyn Documents>,
    env: Env,
    account: AccountId,
}

/// The operations answered here, by their model names.
pub const OPERATIONS: &[&str] = &[
    "AttachRolePolicy",
    "AttachUserPolicy",
    "CreateAccessKey",
    "CreatePolicy",
    "CreatePolicyVersion",
    "CreateRole",
    "CreateUser",
    "DeleteAccessKey",
    "DeletePolicy",
    "DeletePolicyVersion",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DeleteUser",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "GetPolicy",
    "GetPolicyVersion",
    "GetRole",
    "GetRolePolicy",
    "GetUser",
    "GetUserPolicy",
    "ListAccessKeys",
    "ListAttachedRolePolicies",
    "ListAttachedUserPolicies",
    "ListEntitiesForPolicy",
    "ListGroupsForUser",
    "ListInstanceProfilesForRole",
    "ListPolicies",
    "ListPolicyTags",
    "ListPolicyVersions",
    "ListRolePolicies",
    "ListRoleTags",
    "ListRoles",
    "ListUserPolicies",
    "ListUserTags",
    "ListUsers",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "PutUserPermissionsBoundary",
    "PutUserPolicy",
    "SetDefaultPolicyVersion",
    "TagPolicy",
    "TagRole",
    "TagUser",
    "UntagPolicy",
    "UntagRole",
    "UntagUser",
    "UpdateAccessKey",
    "UpdateAssumeRolePolicy",
    "UpdateRole",
    "UpdateRoleDescription",
];

/// One call, as operations see it.
struct Call<'a> {
    iam: &'a Iam,
    caller: &'a Caller,
    input: &'a Map<String, Value>,
}

impl Iam {
    pub fn new(documents: Arc<dyn Documents>, env: Env, account: AccountId) -> Self {
        Self { documents, env, account }
    }

    /// Answers `operation`. Errors: `InvalidAction` for an operation not in [`OPERATIONS`].
    pub async fn call(
        &self,
        operation: &str,
        caller: &Caller,
        input: &Map<String, Value>,
    ) -> Result<Output, ApiError> {
        let call = &Call { iam: self, caller, input };
        match operation {
            "CreateUser" => identities::create_user(call).await,
            "GetUser" => identities::get_user(call),
            "ListUsers" => identities::list_users(call),
            "DeleteUser" => identities::delete_user(call).await,
            "TagUser" => identities::tag::<User>(call).await,
            "UntagUser" => identities::untag::<User>(call).await,
            "ListUserTags" => identities::list_tags::<User>(call),
            // There are no groups, so users are in none.
            "ListGroupsForUser" => {
                call.iam.get::<User>(call.name("UserName"))?;
                answers::none("Groups")
            }
            "CreateAccessKey" => keys::create(call).await,
            "ListAccessKeys" => keys::list(call),
            "UpdateAccessKey" => keys::update(call).await,
            "DeleteAccessKey" => keys::delete(call).await,
            "CreateRole" => identities::create_role(call).await,
            "GetRole" => identities::get_role(call),
            "ListRoles" => identities::list_roles(call),
            "UpdateRole" => identities::update_role(call).await,
            "UpdateRoleDescription" => identities::update_description(call).await,
            "UpdateAssumeRolePolicy" => identities::update_trust(call).await,
            "DeleteRole" => identities::delete_role(call).await,
            "TagRole" => identities::tag::<Role>(call).await,
            "UntagRole" => identities::untag::<Role>(call).await,
            "ListRoleTags" => identities::list_tags::<Role>(call),
            "ListInstanceProfilesForRole" => {
                call.iam.get::<Role>(call.name("RoleName"))?;
                answers::none("InstanceProfiles")
            }
            _ if operation.contains("RolePol") || operation.contains("RolePerm") => {
                attachments::call::<Role>(operation, call).await
            }
            "ListAttachedRolePolicies" => attachments::call::<Role>(operation, call).await,
            _ if operation.contains("UserPol") || operation.contains("UserPerm") => {
                attachments::call::<User>(operation, call).await
            }
            _ => managed::call(operation, call).await,
        }
    }
}

impl Call<'_> {
    /// A member that is text; empty where it is absent.
    fn name(&self, member: &str) -> &str {
        self.input.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    fn text(&self, member: &str) -> Option<String> {
        Some(self.input.get(member)?.as_str()?.to_owned())
    }

    fn now(&self) -> i64 {
        self.iam.env.clock.now().millis()
    }

    /// AWS: four letters that say what it is of, and 17 more.
    fn new_id(&self, prefix: &str) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        format!("{prefix}{}", self.iam.env.random.text(letters, 17))
    }
}

fn fault(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> ApiError {
    ApiError::new(code, message)
}

/// Refuses what is no policy of this kind.
fn check(text: &str, kind: document::Kind) -> Result<(), ApiError> {
    match document::Document::parse(text, kind) {
        Ok(_) => Ok(()),
        Err(malformed) => Err(fault("MalformedPolicyDocument", malformed.to_string())),
    }
}

fn unknown(operation: &str) -> ApiError {
    let message = format!("Could not find operation {operation} for version 2010-05-08");
    fault("InvalidAction", message).with_status(400)
}
