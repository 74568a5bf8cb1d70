//! Managed policies: the account's own, with versions, and AWS's, which are part of the program.

use super::answers::{self, encoded, named, seconds};
use super::document::Kind;
use super::identities::{new_tags, remove_tags};
use super::store::{ManagedPolicy, Role, User, Version, absent};
use super::{Call, Iam, aws_managed, check, fault};
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// AWS: versions of one policy.
const VERSIONS: usize = 5;
/// AWS: bytes of a managed policy.
const LARGEST: usize = 6_144;

pub async fn call(operation: &str, call: &Call<'_>) -> Result<Output, ApiError> {
    match operation {
        "CreatePolicy" => create(call).await,
        "GetPolicy" => {
            let policy = call.policy()?;
            let arn = call.name("PolicyArn");
            let used = call.iam.usage().counts().get(arn).copied().unwrap_or_default();
            Output::of(json!({ "Policy": answers::policy(&policy, arn, used) }))
        }
        "ListPolicies" => list(call),
        "DeletePolicy" => delete(call).await,
        "CreatePolicyVersion" => create_version(call).await,
        "GetPolicyVersion" => {
            let policy = call.policy()?;
            let version = find(&policy, call.name("VersionId"))?;
            Output::of(json!({ "PolicyVersion": shown(&policy, version, true) }))
        }
        "ListPolicyVersions" => {
            let policy = call.policy()?;
            // AWS: the newest first.
            let age = |version: &&Version| format!("{:010}", u32::MAX - version.number);
            let (page, marker) = answers::cut(policy.versions.iter().collect(), age, call.input);
            let versions: Value = page.iter().map(|v| shown(&policy, v, false)).collect();
            Output::of(json!({
                "Versions": versions, "IsTruncated": marker.is_some(), "Marker": marker,
            }))
        }
        "DeletePolicyVersion" => {
            call.change(|policy| {
                let number = find(policy, call.name("VersionId"))?.number;
                if number == policy.default {
                    let message = "Cannot delete the default version of a policy.";
                    return Err(fault("DeleteConflict", message));
                }
                policy.versions.retain(|version| version.number != number);
                Ok(())
            })
            .await
        }
        "SetDefaultPolicyVersion" => {
            call.change(|policy| {
                policy.default = find(policy, call.name("VersionId"))?.number;
                Ok(())
            })
            .await
        }
        "TagPolicy" => {
            call.change(|policy| {
                policy.tags = new_tags(call, std::mem::take(&mut policy.tags))?;
                Ok(())
            })
            .await
        }
        "UntagPolicy" => {
            call.change(|policy| {
                remove_tags(call, &mut policy.tags);
                Ok(())
            })
            .await
        }
        "ListPolicyTags" => {
            answers::page("Tags", answers::tags(&call.policy()?.tags), named("Key"), call.input)
        }
        "ListEntitiesForPolicy" => {
            call.policy()?;
            let (usage, arn) = (call.iam.usage(), call.name("PolicyArn"));
            let user = |user: &User| json!({ "UserName": user.name, "UserId": user.id });
            let role = |role: &Role| json!({ "RoleName": role.name, "RoleId": role.id });
            let users = usage.users(arn).map(|one| (0, one.name.clone(), user(one)));
            let roles = usage.roles(arn).map(|one| (1, one.name.clone(), role(one)));
            let asked = match call.name("EntityFilter") {
                "User" => 0..1,
                "Role" => 1..2,
                "" => 0..2,
                _ => 0..0,
            };
            let all = users.chain(roles).filter(|(kind, ..)| asked.contains(kind)).collect();
            let (page, marker) =
                answers::cut(all, |(kind, name, _)| format!("{kind}{name}"), call.input);
            let of = |wanted: usize| -> Value {
                let some = page.iter().filter(|(kind, ..)| *kind == wanted);
                some.map(|(.., shown)| shown.clone()).collect()
            };
            Output::of(json!({
                "PolicyGroups": [], "PolicyUsers": of(0), "PolicyRoles": of(1),
                "IsTruncated": marker.is_some(), "Marker": marker,
            }))
        }
        other => Err(super::unknown(other)),
    }
}

/// Who has which policies, read once for a whole listing.
struct Usage {
    users: Vec<User>,
    roles: Vec<Role>,
}

impl Usage {
    fn users(&self, arn: &str) -> impl Iterator<Item = &User> {
        self.users.iter().filter(move |user| user.attached.managed.contains(arn))
    }

    fn roles(&self, arn: &str) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(move |role| role.attached.managed.contains(arn))
    }

    /// By policy: how many have it attached, and as their boundary.
    fn counts(&self) -> HashMap<&str, (usize, usize)> {
        let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
        let users = self.users.iter().map(|user| &user.attached);
        for attached in users.chain(self.roles.iter().map(|role| &role.attached)) {
            for arn in &attached.managed {
                counts.entry(arn).or_default().0 += 1;
            }
            if let Some(arn) = &attached.boundary {
                counts.entry(arn).or_default().1 += 1;
            }
        }
        counts
    }
}

impl Iam {
    /// The policy of an ARN, the account's own or AWS's.
    pub(super) fn managed_policy(&self, arn: &str) -> Option<ManagedPolicy> {
        match arn.strip_prefix("arn:aws:iam::aws:policy/") {
            Some(name) => aws_managed::find(name),
            None => {
                let policy = self.find::<ManagedPolicy>(arn.rsplit('/').next()?)?;
                (policy.arn(&self.account) == arn).then_some(policy)
            }
        }
    }

    fn usage(&self) -> Usage {
        Usage { users: self.all(), roles: self.all() }
    }
}

impl Call<'_> {
    fn policy(&self) -> Result<ManagedPolicy, ApiError> {
        let arn = self.name("PolicyArn");
        self.iam.managed_policy(arn).ok_or_else(|| absent::<ManagedPolicy>(arn))
    }

    /// The name of the account's own policy that the request is about.
    fn own(&self) -> Result<String, ApiError> {
        let policy = self.policy()?;
        if self.name("PolicyArn").starts_with("arn:aws:iam::aws:") {
            let message = "Policies of AWS cannot be changed.";
            return Err(ApiError::new("AccessDenied", message).with_status(403));
        }
        Ok(policy.name)
    }

    async fn change(
        &self,
        change: impl Fn(&mut ManagedPolicy) -> Result<(), ApiError>,
    ) -> Result<Output, ApiError> {
        let now = self.now();
        let change = |policy: &mut ManagedPolicy| {
            policy.updated = now;
            change(policy)
        };
        self.iam.change(&self.own()?, change).await?;
        Ok(Output::empty())
    }

    fn document(&self) -> Result<String, ApiError> {
        let document = self.name("PolicyDocument");
        check(document, Kind::Identity)?;
        if document.len() > LARGEST {
            let message = format!("Cannot exceed quota for PolicySize: {LARGEST}");
            return Err(fault("LimitExceeded", message));
        }
        Ok(document.to_owned())
    }
}

async fn create(call: &Call<'_>) -> Result<Output, ApiError> {
    let created = call.now();
    let policy = ManagedPolicy {
        name: call.name("PolicyName").to_owned(),
        id: call.new_id("ANPA"),
        path: call.text("Path").unwrap_or_else(|| "/".to_owned()),
        description: call.text("Description"),
        created,
        updated: created,
        tags: new_tags(call, BTreeMap::new())?,
        versions: vec![Version { number: 1, document: call.document()?, created }],
        default: 1,
        newest: 1,
    };
    call.iam.create(&policy.name, &policy).await.map_err(|mut error| {
        if error.code == "EntityAlreadyExists" {
            error.message = format!(
                "A policy called {} already exists. Duplicate names are not allowed.",
                policy.name
            );
        }
        error
    })?;
    let arn = policy.arn(&call.iam.account);
    Output::of(json!({ "Policy": answers::policy(&policy, &arn, (0, 0)) }))
}

fn list(call: &Call<'_>) -> Result<Output, ApiError> {
    let prefix = call.text("PathPrefix").unwrap_or_else(|| "/".to_owned());
    let only_attached = call.input.get("OnlyAttached").and_then(Value::as_bool) == Some(true);
    let scope = call.text("Scope").unwrap_or_else(|| "All".to_owned());
    let mut all: Vec<(String, ManagedPolicy)> = Vec::new();
    if scope != "AWS" {
        let own = call.iam.all::<ManagedPolicy>().into_iter();
        all.extend(own.map(|policy| (policy.arn(&call.iam.account), policy)));
    }
    if scope != "Local" {
        all.extend(aws_managed::all());
    }
    let usage = call.iam.usage();
    let counts = usage.counts();
    let mut shown: Vec<Value> = all
        .iter()
        .filter(|(_, policy)| policy.path.starts_with(&prefix))
        .map(|(arn, policy)| {
            let used = counts.get(arn.as_str()).copied().unwrap_or_default();
            answers::policy(policy, arn, used)
        })
        .filter(|policy| !only_attached || policy["AttachmentCount"] != 0)
        .collect();
    shown.sort_by_key(named("Arn"));
    for policy in shown.iter_mut().filter_map(Value::as_object_mut) {
        policy.remove("Tags");
        policy.remove("Description");
    }
    answers::page("Policies", shown, named("Arn"), call.input)
}

async fn delete(call: &Call<'_>) -> Result<Output, ApiError> {
    let name = call.own()?;
    if call.iam.usage().counts().contains_key(call.name("PolicyArn")) {
        return Err(fault("DeleteConflict", "Cannot delete a policy attached to entities."));
    }
    let check = |policy: &ManagedPolicy| match policy.versions.len() {
        0 | 1 => Ok(()),
        _ => Err(fault(
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        )),
    };
    call.iam.remove(&name, check).await?;
    Ok(Output::empty())
}

async fn create_version(call: &Call<'_>) -> Result<Output, ApiError> {
    let (name, document, created) = (call.own()?, call.document()?, call.now());
    let change = |policy: &mut ManagedPolicy| {
        if policy.versions.len() >= VERSIONS {
            return Err(fault(
                "LimitExceeded",
                "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
            ));
        }
        policy.newest += 1;
        policy.updated = created;
        let version = Version { number: policy.newest, document: document.clone(), created };
        if call.input.get("SetAsDefault").and_then(Value::as_bool) == Some(true) {
            policy.default = version.number;
        }
        let shown = shown(policy, &version, false);
        policy.versions.insert(0, version);
        Ok(shown)
    };
    let version = call.iam.change(&name, change).await?;
    Output::of(json!({ "PolicyVersion": version }))
}

fn find<'a>(policy: &'a ManagedPolicy, id: &str) -> Result<&'a Version, ApiError> {
    let number = id.strip_prefix('v').and_then(|number| number.parse::<u32>().ok());
    policy.versions.iter().find(|version| Some(version.number) == number).ok_or_else(|| {
        let message =
            format!("Policy {} version {id} does not exist or is not attachable.", policy.name);
        fault("NoSuchEntity", message)
    })
}

fn shown(policy: &ManagedPolicy, version: &Version, with_document: bool) -> Value {
    json!({
        "Document": with_document.then(|| encoded(&version.document)),
        "VersionId": format!("v{}", version.number),
        "IsDefaultVersion": version.number == policy.default,
        "CreateDate": seconds(version.created),
    })
}
