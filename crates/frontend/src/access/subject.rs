//! What a request is about, as policies name it: its action, its resource, and condition keys.
//!
//! An operation that is not known here in particular is about `*`, which only a policy for
//! everything matches.

use lamplight_model::{FunctionRef, Scope};
use lamplight_services::iam::evaluate::Context;
use serde_json::{Map, Value};

/// AWS: these are about whoever asks, where they name no user.
const OWN: [&str; 5] =
    ["CreateAccessKey", "DeleteAccessKey", "GetUser", "ListAccessKeys", "UpdateAccessKey"];

pub struct Subject {
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Whose resource policy has a say.
    pub function: Option<FunctionRef>,
    keys: Vec<(String, Vec<String>)>,
}

impl Subject {
    pub fn new(action: &str, resource: &str) -> Self {
        let (action, resource) = (action.to_owned(), resource.to_owned());
        Self { action, resource, function: None, keys: Vec::new() }
    }

    fn set(&mut self, key: &str, values: Vec<String>) {
        self.keys.push((key.to_owned(), values));
    }

    pub fn describe(&self, context: &mut Context) {
        for (key, values) in &self.keys {
            context.set_all(key, values.clone());
        }
    }
}

/// A request, as far as it decides what it is about.
pub struct Asked<'a> {
    pub service: &'a str,
    pub operation: &'a str,
    /// The ARN of whoever asks.
    pub caller: &'a str,
    pub scope: &'a Scope,
    /// The ARN of the `user` or `role` of a name, where there is one.
    pub named: &'a dyn Fn(&str, &str) -> Option<String>,
}

/// `None`: nobody needs leave for it.
pub fn of(asked: &Asked<'_>, input: &Map<String, Value>) -> Option<Subject> {
    let Asked { service, operation, caller, scope, named } = *asked;
    let text = |name: &str| input.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let mut subject = Subject::new(&format!("{service}:{operation}"), "*");
    match service {
        // AWS: everybody may ask who they are; who may assume a role is its trust policy's affair.
        "sts" => return None,
        "iam" => {
            let account = &scope.account;
            // What is about to be made has its path in the request.
            let path = text("Path").unwrap_or("/");
            let named = |kind: &str, name: &str| {
                let new = || format!("arn:aws:iam::{account}:{kind}{path}{name}");
                named(kind, name).unwrap_or_else(new)
            };
            if OWN.contains(&operation) {
                subject.resource = caller.to_owned();
            }
            if let Some(arn) = text("PolicyArn").filter(|_| text("RoleName").is_none()) {
                subject.resource = arn.to_owned();
            }
            if let Some(name) = text("PolicyName").filter(|_| operation == "CreatePolicy") {
                subject.resource = named("policy", name);
            }
            if let Some(name) = text("UserName") {
                subject.resource = named("user", name);
            }
            if let Some(name) = text("RoleName") {
                subject.resource = named("role", name);
            }
            if let Some(arn) = text("PolicyArn") {
                subject.set("iam:PolicyARN", vec![arn.to_owned()]);
            }
            if let Some(arn) = text("PermissionsBoundary") {
                subject.set("iam:PermissionsBoundary", vec![arn.to_owned()]);
            }
        }
        "logs" => {
            if let Some(group) = text("logGroupName") {
                subject.resource = log_group(scope, group);
            } else if let Some(arn) = text("logGroupIdentifier").or(text("resourceArn")) {
                let group =
                    if arn.starts_with("arn:") { arn.to_owned() } else { log_group(scope, arn) };
                subject.resource = group;
            }
        }
        "lambda" => lambda(&mut subject, operation, scope, input),
        _ => {}
    }
    tags(&mut subject, input);
    Some(subject)
}

/// AWS: log groups are named with a star at the end.
fn log_group(scope: &Scope, name: &str) -> String {
    format!("arn:aws:logs:{}:{}:log-group:{name}:*", scope.region, scope.account)
}

fn lambda(subject: &mut Subject, operation: &str, scope: &Scope, input: &Map<String, Value>) {
    let text = |name: &str| input.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let action = match operation {
        "Invoke" | "InvokeAsync" | "InvokeWithResponseStream" => "InvokeFunction",
        "GetLayerVersionByArn" => "GetLayerVersion",
        other => other,
    };
    subject.action = format!("lambda:{action}");
    let arn = |kind: &str, name: &str| {
        format!("arn:aws:lambda:{}:{}:{kind}:{name}", scope.region, scope.account)
    };
    let about_mapping = operation.contains("EventSourceMapping");
    if let Some(name) = text("FunctionName") {
        match FunctionRef::parse(scope, name, text("Qualifier")) {
            // AWS: a mapping is no function; which function it is for is a key.
            Ok(function) if about_mapping => {
                subject.set("lambda:FunctionArn", vec![function.arn()]);
            }
            Ok(function) => {
                subject.resource = function.arn();
                subject.function = Some(function);
            }
            Err(_) => subject.resource = name.to_owned(),
        }
    }
    if let Some(uuid) = text("UUID") {
        subject.resource = arn("event-source-mapping", uuid);
    }
    if let Some(name) = text("LayerName") {
        subject.resource =
            if name.starts_with("arn:") { name.to_owned() } else { arn("layer", name) };
        if let Some(version) = input.get("VersionNumber").and_then(Value::as_u64) {
            subject.resource = format!("{}:{version}", subject.resource);
        }
    }
    if let Some(name) = text("CapacityProviderName") {
        subject.resource =
            if name.starts_with("arn:") { name.to_owned() } else { arn("capacity-provider", name) };
    }
    for member in ["Arn", "Resource", "ResourceArn", "DurableExecutionArn"] {
        if let Some(resource) = text(member) {
            subject.resource = resource.to_owned();
        }
    }
    if let Some(config) = text("CodeSigningConfigArn") {
        subject.set("lambda:CodeSigningConfigArn", vec![config.to_owned()]);
        if text("FunctionName").is_none() {
            subject.resource = config.to_owned();
        }
    }
    for (member, key) in [
        ("Principal", "lambda:Principal"),
        ("AuthType", "lambda:FunctionUrlAuthType"),
        ("FunctionUrlAuthType", "lambda:FunctionUrlAuthType"),
        ("EventSourceToken", "lambda:EventSourceToken"),
    ] {
        if let Some(value) = text(member) {
            subject.set(key, vec![value.to_owned()]);
        }
    }
    let texts = |value: Option<&Value>| -> Option<Vec<String>> {
        let items = value?.as_array()?.iter();
        Some(items.filter_map(|item| Some(item.as_str()?.to_owned())).collect())
    };
    if let Some(layers) = texts(input.get("Layers")) {
        subject.set("lambda:Layer", layers);
    }
    let vpc = input.get("VpcConfig");
    for (member, key) in
        [("SubnetIds", "lambda:SubnetIds"), ("SecurityGroupIds", "lambda:SecurityGroupIds")]
    {
        if let Some(ids) = texts(vpc.and_then(|vpc| vpc.get(member))) {
            subject.set(key, ids);
        }
    }
}

/// `aws:RequestTag/KEY` and `aws:TagKeys`, from a map or a list of keys and values.
fn tags(subject: &mut Subject, input: &Map<String, Value>) {
    let given = input.get("Tags").or(input.get("tags"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let given: Vec<(String, String)> = match given {
        Some(Value::Object(tags)) => {
            tags.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
        }
        Some(Value::Array(tags)) => {
            let pair = |tag: &Value| Some((text(tag.get("Key")?)?, text(tag.get("Value")?)?));
            tags.iter().filter_map(pair).collect()
        }
        _ => Vec::new(),
    };
    let removed = input.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    let removed = removed.filter_map(text);
    let keys: Vec<String> = given.iter().map(|(key, _)| key.clone()).chain(removed).collect();
    for (key, value) in given {
        subject.set(&format!("aws:RequestTag/{key}"), vec![value]);
    }
    if !keys.is_empty() {
        subject.set("aws:TagKeys", keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::AccountId;
    use serde_json::json;

    fn subject(service: &str, operation: &str, input: Value) -> (String, String) {
        let scope =
            Scope { account: AccountId::new("000000000000").unwrap(), region: "us-east-1".into() };
        let caller = "arn:aws:iam::000000000000:user/alice";
        let named = |kind: &str, name: &str| {
            (name == "old").then(|| format!("arn:aws:iam::000000000000:{kind}/x/old"))
        };
        let asked = Asked { service, operation, caller, scope: &scope, named: &named };
        let subject = of(&asked, input.as_object().unwrap()).unwrap();
        (subject.action, subject.resource)
    }

    #[test]
    fn requests_are_about_what_aws_says() {
        let lambda = "arn:aws:lambda:us-east-1:000000000000";
        for (service, operation, input, action, resource) in [
            (
                "lambda",
                "Invoke",
                json!({ "FunctionName": "f", "Qualifier": "live" }),
                "lambda:InvokeFunction",
                format!("{lambda}:function:f:live"),
            ),
            (
                "lambda",
                "GetFunction",
                json!({ "FunctionName": format!("{lambda}:function:f") }),
                "lambda:GetFunction",
                format!("{lambda}:function:f"),
            ),
            ("lambda", "ListFunctions", json!({}), "lambda:ListFunctions", "*".to_owned()),
            (
                "lambda",
                "GetLayerVersion",
                json!({ "LayerName": "l", "VersionNumber": 3 }),
                "lambda:GetLayerVersion",
                format!("{lambda}:layer:l:3"),
            ),
            (
                "lambda",
                "CreateEventSourceMapping",
                json!({ "FunctionName": "f" }),
                "lambda:CreateEventSourceMapping",
                "*".to_owned(),
            ),
            (
                "lambda",
                "GetCapacityProvider",
                json!({ "CapacityProviderName": format!("{lambda}:capacity-provider:c") }),
                "lambda:GetCapacityProvider",
                format!("{lambda}:capacity-provider:c"),
            ),
            (
                "lambda",
                "StopDurableExecution",
                json!({ "DurableExecutionArn": "arn:d" }),
                "lambda:StopDurableExecution",
                "arn:d".to_owned(),
            ),
            (
                "lambda",
                "TagResource",
                json!({ "Resource": "arn:x" }),
                "lambda:TagResource",
                "arn:x".to_owned(),
            ),
            (
                "logs",
                "PutLogEvents",
                json!({ "logGroupName": "/g" }),
                "logs:PutLogEvents",
                "arn:aws:logs:us-east-1:000000000000:log-group:/g:*".to_owned(),
            ),
            (
                "iam",
                "AttachRolePolicy",
                json!({ "RoleName": "r", "PolicyArn": "arn:p" }),
                "iam:AttachRolePolicy",
                "arn:aws:iam::000000000000:role/r".to_owned(),
            ),
            (
                "iam",
                "GetPolicy",
                json!({ "PolicyArn": "arn:p" }),
                "iam:GetPolicy",
                "arn:p".to_owned(),
            ),
            (
                "iam",
                "GetUser",
                json!({}),
                "iam:GetUser",
                "arn:aws:iam::000000000000:user/alice".to_owned(),
            ),
            (
                "iam",
                "GetRole",
                json!({ "RoleName": "old" }),
                "iam:GetRole",
                "arn:aws:iam::000000000000:role/x/old".to_owned(),
            ),
            (
                "iam",
                "CreateRole",
                json!({ "RoleName": "new", "Path": "/y/" }),
                "iam:CreateRole",
                "arn:aws:iam::000000000000:role/y/new".to_owned(),
            ),
        ] {
            assert_eq!(subject(service, operation, input), (action.to_owned(), resource));
        }
    }
}
