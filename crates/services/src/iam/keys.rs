//! Access keys of users.

use super::answers::{self, named, seconds};
use super::store::{AccessKey, User};
use super::{Call, Caller, Iam, Who, fault};
use lamplight_wire::sigv4::Secret;
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

/// AWS: keys of one user.
const MOST: usize = 2;

impl Iam {
    /// The secret of an access key that may be used, and whose it is.
    pub fn access_key(&self, id: &str) -> Option<(Secret, Caller)> {
        let key = self.find::<AccessKey>(id)?;
        let user = self.find::<User>(&key.user)?;
        let usable = key.active && key.user_id == user.id;
        let who = Who::User { name: format!("{}{}", user.path, user.name), id: user.id };
        let secret = Secret { secret_key: key.secret, session_token: None };
        usable.then(|| (secret, Caller::new(&self.account, who)))
    }
}

pub async fn create(call: &Call<'_>) -> Result<Output, ApiError> {
    let user = user(call)?;
    if of(call, &user.name).len() >= MOST {
        let message = format!("Cannot exceed quota for AccessKeysPerUser: {MOST}");
        return Err(fault("LimitExceeded", message));
    }
    let random = &call.iam.env.random;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let key = AccessKey {
        id: format!("AKIA{}", random.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)),
        secret: random.text(letters, 40),
        user: user.name,
        user_id: user.id,
        active: true,
        created: call.now(),
    };
    call.iam.create(&key.id, &key).await?;
    let mut shown = shown(&key);
    shown["SecretAccessKey"] = json!(key.secret);
    Output::of(json!({ "AccessKey": shown }))
}

pub fn list(call: &Call<'_>) -> Result<Output, ApiError> {
    let keys = of(call, &user(call)?.name).iter().map(shown).collect();
    answers::page("AccessKeyMetadata", keys, named("AccessKeyId"), call.input)
}

pub async fn update(call: &Call<'_>) -> Result<Output, ApiError> {
    let (user, id) = (user(call)?.name, call.name("AccessKeyId"));
    let change = |key: &mut AccessKey| {
        belongs(key, &user)?;
        key.active = call.name("Status") == "Active";
        Ok(())
    };
    call.iam.change(id, change).await?;
    Ok(Output::empty())
}

pub async fn delete(call: &Call<'_>) -> Result<Output, ApiError> {
    let user = user(call)?.name;
    call.iam.remove(call.name("AccessKeyId"), |key| belongs(key, &user)).await?;
    Ok(Output::empty())
}

/// AWS: without a name, the user who asks.
fn user(call: &Call<'_>) -> Result<User, ApiError> {
    let name = match (call.text("UserName"), &call.caller.who) {
        (Some(name), _) => name,
        (None, Who::User { name, .. }) => name.rsplit('/').next().unwrap_or(name).to_owned(),
        (None, _) => {
            let message = "Must specify userName when calling with non-User credentials";
            return Err(fault("ValidationError", message).with_status(400));
        }
    };
    call.iam.get::<User>(&name)
}

fn of(call: &Call<'_>, user: &str) -> Vec<AccessKey> {
    call.iam.all::<AccessKey>().into_iter().filter(|key| key.user == user).collect()
}

fn belongs(key: &AccessKey, user: &str) -> Result<(), ApiError> {
    if key.user == user { Ok(()) } else { Err(super::store::absent::<AccessKey>(&key.id)) }
}

fn shown(key: &AccessKey) -> Value {
    json!({
        "UserName": key.user,
        "AccessKeyId": key.id,
        "Status": if key.active { "Active" } else { "Inactive" },
        "CreateDate": seconds(key.created),
    })
}
