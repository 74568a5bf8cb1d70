//! Trims botocore's service models into `crates/wire/models/`.
//!
//! Keeps what routing, validation and encoding read, in the order of the source; drops
//! documentation, examples, paginators and waiters. The same input gives the same bytes. Python is
//! a child process here, and only to fetch botocore.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our file name, the model's place in botocore's `data` directory, and the operations that are
/// wanted of a service of which this program has only a part; all of them where none is named.
type Model = (&'static str, &'static str, &'static [&'static str]);

const MODELS: [Model; 6] = [
    ("lambda", "lambda/2015-03-31", &[]),
    ("logs", "logs/2014-03-28", &[]),
    ("sts", "sts/2011-06-15", &[]),
    ("iam", "iam/2010-05-08", IAM),
    ("sqs", "sqs/2012-11-05", &[]),
    ("sns", "sns/2010-03-31", SNS),
];

/// Models of older releases: how SQS is spoken to in the query protocol, which SDKs before 2024 use,
/// is in none that came after 1.31.80.
const OLDER: (&str, Model) = ("1.31.80", ("sqs-query", "sqs/2012-11-05", &[]));

/// Topics and subscriptions; neither phones nor mobile applications.
const SNS: &[&str] = &[
    "AddPermission",
    "ConfirmSubscription",
    "CreateTopic",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "ListTopics",
    "Publish",
    "PublishBatch",
    "PutDataProtectionPolicy",
    "RemovePermission",
    "SetSubscriptionAttributes",
    "SetTopicAttributes",
    "Subscribe",
    "TagResource",
    "Unsubscribe",
    "UntagResource",
];

/// Users, keys, roles and policies; neither groups nor logins nor devices.
const IAM: &[&str] = &[
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
    "ListRoles",
    "ListRoleTags",
    "ListUserPolicies",
    "ListUsers",
    "ListUserTags",
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

const METADATA: &[&str] = &[
    "apiVersion",
    "endpointPrefix",
    "jsonVersion",
    "protocol",
    "serviceFullName",
    "serviceId",
    "signingName",
    "targetPrefix",
    "xmlNamespace",
];
const OPERATION: &[&str] = &["name", "http", "input", "output", "errors", "deprecated"];
const HTTP: &[&str] = &["method", "requestUri", "responseCode"];
/// A reference to a shape: a member, an element, a key, an input or an output.
const REFERENCE: &[&str] = &[
    "shape",
    "resultWrapper",
    "location",
    "locationName",
    "flattened",
    "streaming",
    "timestampFormat",
    "idempotencyToken",
    "eventpayload",
    "eventheader",
    "xmlAttribute",
    "xmlNamespace",
];
const SHAPE: &[&str] = &[
    "type",
    "required",
    "members",
    "member",
    "key",
    "value",
    "payload",
    "min",
    "max",
    "pattern",
    "enum",
    "flattened",
    "streaming",
    "timestampFormat",
    "sensitive",
    "union",
    "document",
    "event",
    "eventstream",
    "xmlNamespace",
    "locationName",
    "error",
    "exception",
    "fault",
];
const ERROR: &[&str] = &["code", "httpStatusCode", "senderFault"];

/// `codegen`: reads the newest botocore, and the older one of [`OLDER`].
pub fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: codegen");
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/wire/models");
    std::fs::create_dir_all(&models)?;
    let newest = write(&models, "botocore", &MODELS)?;
    let (release, older) = OLDER;
    let older = write(&models, &format!("botocore=={release}"), &[older])?;
    std::fs::write(models.join("NOTICE"), notice(&newest, &older))?;
    Ok(())
}

/// Writes what is wanted of one release and returns its version.
fn write(models: &Path, requirement: &str, wanted: &[Model]) -> Result<String> {
    let (package, scratch) = install(requirement)?;
    for (name, place, operations) in wanted {
        let model: Value = serde_json::from_slice(&read(&package.join("data").join(place))?)
            .with_context(|| format!("reading {place} of {requirement}"))?;
        let text = print(&trim(&model, operations)?)?;
        std::fs::write(models.join(format!("{name}.json")), &text)?;
        println!("{name}.json: {} bytes", text.len());
    }
    let version = version(&package)?;
    std::fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
    Ok(version)
}

/// A release of botocore: its package directory, and the temporary directory to remove afterwards.
fn install(requirement: &str) -> Result<(PathBuf, PathBuf)> {
    let scratch = std::env::temp_dir().join(format!("{requirement}-{}", std::process::id()));
    let installed = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&scratch)
        .arg(requirement)
        .status()
        .context("starting python3")?;
    if !installed.success() {
        bail!("pip could not install {requirement}");
    }
    Ok((scratch.join("botocore"), scratch))
}

/// The model in a directory, which newer releases compress.
fn read(place: &Path) -> Result<Vec<u8>> {
    let plain = place.join("service-2.json");
    if plain.exists() {
        return Ok(std::fs::read(plain)?);
    }
    inflate(&place.join("service-2.json.gz"))
}

fn inflate(path: &Path) -> Result<Vec<u8>> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().context("starting gzip")?;
    if !output.status.success() {
        bail!("{}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

fn version(package: &Path) -> Result<String> {
    let init = std::fs::read_to_string(package.join("__init__.py"))?;
    init.lines()
        .find_map(|line| line.strip_prefix("__version__ = "))
        .map(|quoted| quoted.trim_matches(['\'', '"']).to_owned())
        .context("botocore does not say its version")
}

fn trim(model: &Value, wanted: &[&str]) -> Result<Value> {
    let metadata = keep(object(model, "metadata")?, METADATA);
    let all = object(model, "operations")?;
    if let Some(missing) = wanted.iter().find(|name| !all.contains_key(**name)) {
        bail!("the model has no operation {missing}");
    }
    let mut operations = Map::new();
    for (name, operation) in all {
        if wanted.is_empty() || wanted.contains(&name.as_str()) {
            operations.insert(name.clone(), Value::Object(trim_operation(operation)?));
        }
    }
    let all = object(model, "shapes")?;
    let reached = reached(&operations, all);
    let mut shapes = Map::new();
    for (name, shape) in all {
        if wanted.is_empty() || reached.contains(name.as_str()) {
            shapes.insert(name.clone(), Value::Object(trim_shape(shape)?));
        }
    }
    Ok(json!({ "metadata": metadata, "operations": operations, "shapes": shapes }))
}

/// The shapes that operations refer to, directly or through others.
fn reached(operations: &Map<String, Value>, shapes: &Map<String, Value>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Value> = operations.values().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(name)) = fields.get("shape")
                    && reached.insert(name.clone())
                {
                    open.extend(shapes.get(name));
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    reached
}

fn trim_operation(operation: &Value) -> Result<Map<String, Value>> {
    let mut kept = keep(operation.as_object().context("an operation is no object")?, OPERATION);
    for (key, value) in kept.iter_mut() {
        match (key.as_str(), value) {
            ("http", Value::Object(http)) => *http = keep(http, HTTP),
            ("input" | "output", Value::Object(shape)) => *shape = keep(shape, REFERENCE),
            ("errors", Value::Array(errors)) => {
                for error in errors.iter_mut().filter_map(Value::as_object_mut) {
                    *error = keep(error, REFERENCE);
                }
            }
            _ => {}
        }
    }
    Ok(kept)
}

fn trim_shape(shape: &Value) -> Result<Map<String, Value>> {
    let mut kept = keep(shape.as_object().context("a shape is no object")?, SHAPE);
    for (key, value) in kept.iter_mut() {
        match (key.as_str(), value) {
            ("members", Value::Object(members)) => {
                for member in members.values_mut().filter_map(Value::as_object_mut) {
                    *member = keep(member, REFERENCE);
                }
            }
            ("member" | "key" | "value", Value::Object(reference)) => {
                *reference = keep(reference, REFERENCE);
            }
            ("error", Value::Object(error)) => *error = keep(error, ERROR),
            _ => {}
        }
    }
    Ok(kept)
}

fn keep(from: &Map<String, Value>, wanted: &[&str]) -> Map<String, Value> {
    from.iter()
        .filter(|(key, _)| wanted.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn object<'a>(value: &'a Value, key: &str) -> Result<&'a Map<String, Value>> {
    value.get(key).and_then(Value::as_object).with_context(|| format!("the model lacks {key}"))
}

/// One line for each operation and each shape, so that a new model reads well as a diff.
fn print(model: &Value) -> Result<String> {
    let mut text = String::from("{");
    for (index, (section, entries)) in model.as_object().context("no model")?.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}\n{}: {{", Value::from(section.as_str()))?;
        for (index, (name, entry)) in entries.as_object().context("no section")?.iter().enumerate()
        {
            let comma = if index == 0 { "" } else { "," };
            write!(text, "{comma}\n  {}: {entry}", Value::from(name.as_str()))?;
        }
        text.push_str("\n}");
    }
    text.push_str("\n}\n");
    Ok(text)
}

fn notice(newest: &str, older: &str) -> String {
    format!(
        "The service models in this directory are derived from botocore {newest}\n\
         (sqs-query.json: {older}; https://github.com/boto/botocore), Copyright 2012-2022 Amazon.com, Inc. or its\n\
         affiliates. All Rights Reserved. Licensed under the Apache License, Version 2.0.\n\
         \n\
         Changes: documentation, examples and the keys that this program does not read were\n\
         removed. `cargo xtask codegen` makes the files anew.\n"
    )
}
