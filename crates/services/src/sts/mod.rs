//! STS: who is asking, and credentials for a while.
//!
//! GetCallerIdentity, AssumeRole, GetSessionToken and GetAccessKeyInfo. Nobody comes from elsewhere,
//! so there is no federation. Whether a role may be assumed is decided here and nowhere else.

mod sessions;

pub use sessions::{SealingKey, Session, Sessions, Temporary};

use crate::iam::document::{Document, Kind};
use crate::iam::evaluate::Context;
use crate::iam::{Caller, Iam, LAMBDA, Trust, Who};
use lamplight_model::{FunctionArn, limits};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The operations answered here, by their model names.
pub const OPERATIONS: &[&str] =
    &["AssumeRole", "GetAccessKeyInfo", "GetCallerIdentity", "GetSessionToken"];

/// AWS: seconds, where nothing else was asked for.
const ROLE: u64 = 3_600;
const USER: u64 = 43_200;
/// AWS: a role that was assumed by an assumed role.
const CHAINED: u64 = 3_600;

pub struct Sts {
    iam: Arc<Iam>,
    sessions: Arc<Sessions>,
}

impl Sts {
    pub fn new(iam: Arc<Iam>, sessions: Arc<Sessions>) -> Self {
        Self { iam, sessions }
    }

    /// Answers `operation` for `caller`. `context` is what is known about the request. Errors:
    /// `InvalidAction` for an operation not in [`OPERATIONS`].
    pub fn call(
        &self,
        operation: &str,
        caller: &Caller,
        input: &Map<String, Value>,
        context: &Context,
    ) -> Result<Output, ApiError> {
        match operation {
            "GetCallerIdentity" => Output::of(json!({
                "UserId": caller.user_id,
                "Account": caller.account,
                "Arn": caller.arn,
            })),
            "AssumeRole" => self.assume(caller, input, context),
            "GetSessionToken" => self.session_token(caller, input),
            // There is one account, and nothing is said about keys of others.
            "GetAccessKeyInfo" => Output::of(json!({ "Account": caller.account })),
            other => Err(ApiError::new(
                "InvalidAction",
                format!("Could not find operation {other} for version 2011-06-15"),
            )
            .with_status(400)),
        }
    }

    /// Credentials of the role that a function names, also where there is no role for it: one that
    /// nobody has made, of another account, or that does not trust Lambda any more. AWS lets no such
    /// function start, here it may next to nothing, for as long as the session lasts.
    pub fn for_function(&self, function: &FunctionArn, role_arn: &str) -> Temporary {
        let account = &function.scope.account;
        let name = role_arn.split_once(":role/").map_or(role_arn, |(_, name)| name);
        let trusted = self.iam.trusts_service(role_arn, LAMBDA) == Trust::Given;
        let role = trusted.then(|| self.iam.role(role_arn)).flatten();
        let id = role.map(|role| role.id);
        let who = Who::Role {
            name: format!("/{name}"),
            id,
            session: function.name.to_string(),
            function: Some(function.to_string()),
        };
        self.sessions.begin(&Caller::new(account, who), limits::ROLE_CREDENTIALS)
    }

    fn assume(
        &self,
        caller: &Caller,
        input: &Map<String, Value>,
        context: &Context,
    ) -> Result<Output, ApiError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default();
        let (arn, name) = (text("RoleArn"), text("RoleSessionName"));
        let mut context = context.clone();
        context.set("sts:RoleSessionName", name);
        if let Some(id) = input.get("ExternalId").and_then(Value::as_str) {
            context.set("sts:ExternalId", id);
        }
        // AWS: whether there is such a role is nobody's business who may not assume it.
        let refused = || {
            ApiError::new(
                "AccessDeniedException",
                format!(
                    "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                    caller.arn
                ),
            )
            .with_status(403)
        };
        if self.iam.trusts(caller, arn, &context) != Trust::Given {
            return Err(refused());
        }
        let role = self.iam.role(arn).ok_or_else(refused)?;
        let asked = input.get("DurationSeconds").and_then(Value::as_u64);
        let chained = matches!(caller.who, Who::Role { .. });
        let most = if chained { CHAINED } else { u64::from(role.max_session) };
        if asked.is_some_and(|asked| asked > most) {
            let message = if chained {
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            } else {
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            };
            return Err(ApiError::new("ValidationError", message).with_status(400));
        }
        let who = Who::Role {
            name: format!("{}{}", role.path, role.name),
            id: Some(role.id),
            session: name.to_owned(),
            function: None,
        };
        let mut assumed = Caller::new(&caller.account, who);
        assumed.session_policy = session_policy(input)?;
        let life = Duration::from_secs(asked.unwrap_or(ROLE).min(most));
        let credentials = self.sessions.begin(&assumed, life);
        Output::of(json!({
            "Credentials": shown(&credentials),
            "AssumedRoleUser": { "AssumedRoleId": assumed.user_id, "Arn": assumed.arn },
        }))
    }

    fn session_token(
        &self,
        caller: &Caller,
        input: &Map<String, Value>,
    ) -> Result<Output, ApiError> {
        if caller.temporary {
            let message = "Cannot call GetSessionToken with session credentials";
            return Err(ApiError::new("AccessDeniedException", message).with_status(403));
        }
        let asked = input.get("DurationSeconds").and_then(Value::as_u64).unwrap_or(USER);
        // AWS: the owner's sessions last an hour at most.
        let most = if caller.who == Who::Root { ROLE } else { asked };
        let credentials = self.sessions.begin(caller, Duration::from_secs(asked.min(most)));
        Output::of(json!({ "Credentials": shown(&credentials) }))
    }
}

fn session_policy(input: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    if input.get("PolicyArns").and_then(Value::as_array).is_some_and(|arns| !arns.is_empty()) {
        let message = "PolicyArns is not supported by this server yet: use Policy.";
        return Err(ApiError::new("ValidationError", message).with_status(400));
    }
    let Some(policy) = input.get("Policy").and_then(Value::as_str) else { return Ok(None) };
    // AWS: 2,048 characters. The token has to fit into a header.
    if policy.len() > 2_048 {
        let message = "Packed size of session policy consumes 100% of allotted space.";
        return Err(ApiError::new("PackedPolicyTooLarge", message).with_status(400));
    }
    match Document::parse(policy, Kind::Identity) {
        Ok(_) => Ok(Some(policy.to_owned())),
        Err(malformed) => {
            Err(ApiError::new("MalformedPolicyDocument", malformed.to_string()).with_status(400))
        }
    }
}

fn shown(credentials: &Temporary) -> Value {
    json!({
        "AccessKeyId": credentials.access_key,
        "SecretAccessKey": credentials.secret,
        "SessionToken": credentials.token,
        "Expiration": credentials.expires.seconds(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::evaluate::{Question, Verdict};
    use lamplight_env::Env;
    use lamplight_model::{AccountId, Scope};

    fn input(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// What `lambda:GetFunction` of everything is answered to the session of a function, where
    /// `admin` trusts `service`.
    async fn of_role(role_arn: &str, service: &str) -> (String, bool) {
        let (iam, root) = crate::iam::tests::iam();
        let statement = json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": service } });
        let trust = json!({ "Statement": statement }).to_string();
        let admin = "arn:aws:iam::aws:policy/AdministratorAccess";
        for (operation, members) in [
            ("CreateRole", json!({ "RoleName": "admin", "AssumeRolePolicyDocument": trust })),
            ("AttachRolePolicy", json!({ "RoleName": "admin", "PolicyArn": admin })),
        ] {
            iam.call(operation, &root, &input(members)).await.unwrap();
        }
        let (iam, key) = (Arc::new(iam), SealingKey::from_secret("s"));
        let sessions = Arc::new(Sessions::new(Env::system(), key));
        let sts = Sts::new(Arc::clone(&iam), Arc::clone(&sessions));
        let scope = Scope { account: AccountId::new("000000000000").unwrap(), region: "r".into() };
        let made = sts.for_function(&FunctionArn::new(&scope, "f"), role_arn);
        let caller = sessions.open(&made.token).unwrap().caller;
        let (principal, context) = (caller.principal(), Context::default());
        let action = "lambda:GetFunction";
        let question = Question { principal: &principal, action, resource: "*", context: &context };
        (caller.arn.clone(), iam.verdict(&caller, None, &question) == Verdict::Allowed)
    }

    #[tokio::test]
    async fn a_function_has_its_role_and_not_a_namesake_elsewhere() {
        let session = "arn:aws:sts::000000000000:assumed-role/admin/f".to_owned();
        let ours = "arn:aws:iam::000000000000:role/admin";
        assert_eq!(of_role(ours, LAMBDA).await, (session.clone(), true));
        for elsewhere in
            ["arn:aws:iam::111111111111:role/admin", "arn:aws-cn:iam::000000000000:role/admin"]
        {
            assert_eq!(of_role(elsewhere, LAMBDA).await, (session.clone(), false));
        }
        assert!(!of_role("arn:aws:iam::000000000000:role/none", LAMBDA).await.1);
        // Trust may have been taken away since the function was made.
        assert_eq!(of_role(ours, "s3.amazonaws.com").await, (session, false));
    }
}
