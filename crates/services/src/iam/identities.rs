//! Users and roles themselves.

use super::answers::{self, named};
use super::document::Kind;
use super::store::{AccessKey, Attached, Record, Role, User};
use super::{Call, Who, check, fault};
use lamplight_model::limits;
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// AWS: seconds that a session of a role lasts at most, where nothing else was said.
const SESSION: u32 = 3600;
/// AWS: bytes of a trust policy.
const TRUST: usize = 2_048;

/// What users and roles are to the operations they share.
pub trait Identity: Record {
    /// The member that names one.
    const NAME: &'static str;
    fn attached(&mut self) -> &mut Attached;
    fn tags(&mut self) -> &mut BTreeMap<String, String>;
}

impl Identity for User {
    const NAME: &'static str = "UserName";
    fn attached(&mut self) -> &mut Attached {
        &mut self.attached
    }
    fn tags(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.tags
    }
}

impl Identity for Role {
    const NAME: &'static str = "RoleName";
    fn attached(&mut self) -> &mut Attached {
        &mut self.attached
    }
    fn tags(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.tags
    }
}

pub async fn create_user(call: &Call<'_>) -> Result<Output, ApiError> {
    let user = User {
        name: call.name("UserName").to_owned(),
        id: call.new_id("AIDA"),
        path: call.text("Path").unwrap_or_else(|| "/".to_owned()),
        created: call.now(),
        tags: new_tags(call, BTreeMap::new())?,
        attached: Attached { boundary: call.boundary()?, ..Attached::default() },
    };
    call.iam.create(&user.name, &user).await?;
    Output::of(json!({ "User": answers::user(&user, &call.iam.account) }))
}

/// AWS: without a name, whoever asks.
pub fn get_user(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = match (call.text("UserName"), &call.caller.who) {
        (Some(name), _) => name,
        (None, Who::User { name, .. }) => name.rsplit('/').next().unwrap_or(name).to_owned(),
        (None, Who::Root) => {
            let user = json!({
                "Path": "/",
                "UserName": "root",
                "UserId": call.caller.user_id,
                "Arn": call.caller.arn,
                "CreateDate": 0,
            });
            return Output::of(json!({ "User": user }));
        }
        (None, Who::Role { .. }) => {
            let message = "Must specify userName when calling with non-User credentials";
            return Err(fault("ValidationError", message).with_status(400));
        }
    };
    let user = call.iam.get::<User>(&name)?;
    Output::of(json!({ "User": answers::user(&user, &call.iam.account) }))
}

pub fn list_users(call: &Call<'_>) -> Result<Output, ApiError> {
    let prefix = call.text("PathPrefix").unwrap_or_else(|| "/".to_owned());
    let users = call.iam.all::<User>().into_iter().filter(|user| user.path.starts_with(&prefix));
    let mut users: Vec<Value> = users.map(|user| answers::user(&user, &call.iam.account)).collect();
    without_details(&mut users);
    answers::page("Users", users, named("UserName"), call.input)
}

pub async fn delete_user(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = call.name("UserName");
    let has_keys = call.iam.all::<AccessKey>().iter().any(|key| key.user == name);
    let check = |user: &User| {
        if has_keys {
            let message = "Cannot delete entity, must delete access keys first.";
            return Err(fault("DeleteConflict", message));
        }
        nothing_attached(&user.attached)
    };
    call.iam.remove(name, check).await?;
    Ok(Output::empty())
}

pub async fn create_role(call: &Call<'_>) -> Result<Output, ApiError> {
    let role = Role {
        name: call.name("RoleName").to_owned(),
        id: call.new_id("AROA"),
        path: call.text("Path").unwrap_or_else(|| "/".to_owned()),
        created: call.now(),
        tags: new_tags(call, BTreeMap::new())?,
        attached: Attached { boundary: call.boundary()?, ..Attached::default() },
        trust: trust(call, "AssumeRolePolicyDocument")?,
        description: call.text("Description"),
        max_session: session(call).unwrap_or(SESSION),
    };
    call.iam.create(&role.name, &role).await?;
    Output::of(json!({ "Role": answers::role(&role, &call.iam.account) }))
}

pub fn get_role(call: &Call<'_>) -> Result<Output, ApiError> {
    let role = call.iam.get::<Role>(call.name("RoleName"))?;
    Output::of(json!({ "Role": answers::role(&role, &call.iam.account) }))
}

pub fn list_roles(call: &Call<'_>) -> Result<Output, ApiError> {
    let prefix = call.text("PathPrefix").unwrap_or_else(|| "/".to_owned());
    let roles = call.iam.all::<Role>().into_iter().filter(|role| role.path.starts_with(&prefix));
    let mut roles: Vec<Value> = roles.map(|role| answers::role(&role, &call.iam.account)).collect();
    without_details(&mut roles);
    answers::page("Roles", roles, named("RoleName"), call.input)
}

pub async fn update_role(call: &Call<'_>) -> Result<Output, ApiError> {
    let change = |role: &mut Role| {
        if let Some(description) = call.text("Description") {
            role.description = Some(description);
        }
        role.max_session = session(call).unwrap_or(role.max_session);
        Ok(())
    };
    call.iam.change(call.name("RoleName"), change).await?;
    Ok(Output::empty())
}

pub async fn update_description(call: &Call<'_>) -> Result<Output, ApiError> {
    let change = |role: &mut Role| {
        role.description = call.text("Description");
        Ok(answers::role(role, &call.iam.account))
    };
    let role = call.iam.change(call.name("RoleName"), change).await?;
    Output::of(json!({ "Role": role }))
}

pub async fn update_trust(call: &Call<'_>) -> Result<Output, ApiError> {
    let trust = trust(call, "PolicyDocument")?;
    let change = |role: &mut Role| {
        role.trust.clone_from(&trust);
        Ok(())
    };
    call.iam.change(call.name("RoleName"), change).await?;
    Ok(Output::empty())
}

pub async fn delete_role(call: &Call<'_>) -> Result<Output, ApiError> {
    let check = |role: &Role| nothing_attached(&role.attached);
    call.iam.remove(call.name("RoleName"), check).await?;
    Ok(Output::empty())
}

pub async fn tag<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let change = |identity: &mut I| {
        let tags = std::mem::take(identity.tags());
        *identity.tags() = new_tags(call, tags)?;
        Ok(())
    };
    call.iam.change(call.name(I::NAME), change).await?;
    Ok(Output::empty())
}

pub async fn untag<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let change = |identity: &mut I| {
        remove_tags(call, identity.tags());
        Ok(())
    };
    call.iam.change(call.name(I::NAME), change).await?;
    Ok(Output::empty())
}

pub fn list_tags<I: Identity>(call: &Call<'_>) -> Result<Output, ApiError> {
    let mut identity = call.iam.get::<I>(call.name(I::NAME))?;
    answers::page("Tags", answers::tags(identity.tags()), named("Key"), call.input)
}

/// `tags`, and those of the request.
pub fn new_tags(
    call: &Call<'_>,
    mut tags: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let given = call.input.get("Tags").and_then(Value::as_array).into_iter().flatten();
    for tag in given {
        let text = |name: &str| tag.get(name).and_then(Value::as_str).unwrap_or_default();
        tags.insert(text("Key").to_owned(), text("Value").to_owned());
    }
    if tags.len() > limits::TAGS {
        let message = format!("The number of tags has reached the maximum limit: {}", limits::TAGS);
        return Err(fault("LimitExceeded", message));
    }
    Ok(tags)
}

pub fn remove_tags(call: &Call<'_>, tags: &mut BTreeMap<String, String>) {
    let keys = call.input.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    for key in keys.filter_map(Value::as_str) {
        tags.remove(key);
    }
}

fn nothing_attached(attached: &Attached) -> Result<(), ApiError> {
    let message = if !attached.managed.is_empty() {
        "Cannot delete entity, must detach all policies first."
    } else if !attached.inline.is_empty() {
        "Cannot delete entity, must delete policies first."
    } else {
        return Ok(());
    };
    Err(fault("DeleteConflict", message))
}

fn trust(call: &Call<'_>, member: &str) -> Result<String, ApiError> {
    let text = call.name(member).to_owned();
    check(&text, Kind::Trust)?;
    if text.len() > TRUST {
        return Err(fault(
            "LimitExceeded",
            format!("Cannot exceed quota for ACLSizePerRole: {TRUST}"),
        ));
    }
    Ok(text)
}

fn session(call: &Call<'_>) -> Option<u32> {
    call.input.get("MaxSessionDuration")?.as_u64()?.try_into().ok()
}

/// AWS: lists leave out what only a look at one of them says.
fn without_details(items: &mut [Value]) {
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        item.remove("Tags");
        item.remove("PermissionsBoundary");
    }
}
