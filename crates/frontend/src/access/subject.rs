//! What a request is about, as policies name it: its action, its resource, and condition keys.
//!
//! An operation that is not known here in particular is about `*`, which only a policy for
//! everything matches.
//!
//! Invariant: however a request spells the name of something, its subject is the one ARN of that, by
//! the code that the operation reads the name with; else a policy that denies could be talked around.
//! What cannot be read is about `*`, for the operation to refuse.

use lamplight_model::{FunctionRef, LayerArn, LayerVersionArn, Qualifier, Scope};
use lamplight_services::iam::evaluate::Context;
use lamplight_services::logs::group_arn;
use lamplight_services::sns::topic_arn;
use lamplight_services::sqs::{queue_arn, source_of_task};
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
    /// The URL of the queue whose policy has a say.
    pub queue: Option<String>,
    /// The ARN of the topic whose policy has a say.
    pub topic: Option<String>,
    keys: Vec<(String, Vec<String>)>,
}

impl Subject {
    pub fn new(action: &str, resource: &str) -> Self {
        let (action, resource) = (action.to_owned(), resource.to_owned());
        Self { action, resource, function: None, queue: None, topic: None, keys: Vec::new() }
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
    /// The ARN of the durable execution that waits for a callback.
    pub waiting: &'a dyn Fn(&str) -> Option<String>,
}

/// `None`: nobody needs leave for it.
pub fn of(asked: &Asked<'_>, input: &Map<String, Value>) -> Option<Subject> {
    let Asked { service, operation, caller, scope, named, waiting } = *asked;
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
            let arn = |given: &str| group_arn(scope, given);
            // AWS: log groups are named with a star at the end, except where they are tagged.
            if let Some(group) = text("logGroupName").or(text("logGroupIdentifier")) {
                subject.resource = arn(group).map_or("*".to_owned(), |arn| format!("{arn}:*"));
            } else if let Some(group) = text("resourceArn") {
                subject.resource = arn(group).unwrap_or("*".to_owned());
            }
        }
        "sns" => sns(&mut subject, operation, scope, input),
        "sqs" => sqs(&mut subject, operation, scope, input),
        "lambda" => {
            lambda(&mut subject, operation, scope, input);
            if let Some(arn) = text("CallbackId").and_then(waiting) {
                subject.resource = arn;
            }
        }
        _ => {}
    }
    tags(&mut subject, input);
    Some(subject)
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
        let function = FunctionRef::parse(scope, name, text("Qualifier"));
        match function.map(|function| named(function, action)) {
            // AWS: a mapping is no function; which function it is for is a key.
            Ok(function) if about_mapping => {
                subject.set("lambda:FunctionArn", vec![function.arn()]);
            }
            Ok(function) => {
                subject.resource = function.arn();
                subject.function = Some(function);
            }
            Err(_) => {}
        }
    }
    if let Some(uuid) = text("UUID") {
        subject.resource = arn("event-source-mapping", uuid);
    }
    if let Some(name) = text("LayerName") {
        let layer = match name.starts_with("arn:") {
            true => LayerArn::parse(name),
            false => Some(LayerArn::new(scope, name)),
        };
        let version = input.get("VersionNumber").and_then(Value::as_u64);
        if let Some(layer) = layer {
            subject.resource = match version {
                Some(version) => layer.version(version).to_string(),
                None => layer.to_string(),
            };
        }
    }
    if let Some(name) = text("CapacityProviderName") {
        subject.resource =
            if name.starts_with("arn:") { name.to_owned() } else { arn("capacity-provider", name) };
    }
    if let Some(layer) = text("Arn").and_then(LayerVersionArn::parse) {
        subject.resource = layer.to_string();
    }
    for member in ["Resource", "ResourceArn", "DurableExecutionArn"] {
        if let Some(given) = text(member) {
            subject.resource = match FunctionRef::parse(scope, given, None) {
                Ok(function) => named(function, action).arn(),
                Err(_) => in_our_words(given),
            };
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

fn sns(subject: &mut Subject, operation: &str, scope: &Scope, input: &Map<String, Value>) {
    let text = |name: &str| input.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    // AWS: a batch is allowed like what it is made of.
    subject.action = format!("sns:{}", operation.strip_suffix("Batch").unwrap_or(operation));
    let names = ["TopicArn", "TargetArn", "ResourceArn", "SubscriptionArn"];
    if let Some(arn) = names.iter().find_map(|name| text(name)) {
        let topic = topic_arn(arn, scope);
        subject.resource = topic.clone().unwrap_or_else(|| in_our_words(arn));
        subject.topic = topic;
    } else if let Some(name) = text("Name") {
        subject.resource = format!("arn:aws:sns:{}:{}:{name}", scope.region, scope.account);
    }
    for (member, key) in [("Protocol", "sns:Protocol"), ("Endpoint", "sns:Endpoint")] {
        if let Some(value) = text(member) {
            subject.set(key, vec![value.to_owned()]);
        }
    }
}

fn sqs(subject: &mut Subject, operation: &str, scope: &Scope, input: &Map<String, Value>) {
    let text = |name: &str| input.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    // AWS: a batch is allowed like what it is made of.
    subject.action = format!("sqs:{}", operation.strip_suffix("Batch").unwrap_or(operation));
    if let Some(url) = text("QueueUrl") {
        subject.resource = queue_arn(url, scope).unwrap_or("*".to_owned());
        subject.queue = Some(url.to_owned());
    } else if let Some(name) = text("QueueName") {
        subject.resource = queue_arn(name, scope).unwrap_or("*".to_owned());
        subject.queue = Some(name.to_owned());
    } else if let Some(arn) = text("SourceArn") {
        subject.resource = in_our_words(arn);
    } else if let Some(handle) = text("TaskHandle") {
        subject.resource = source_of_task(handle, scope).unwrap_or("*".to_owned());
    }
}

/// What else a request needs leave for: whoever may have code run, or messages moved, may not thereby
/// reach what is kept from them.
pub fn besides(operation: &str, scope: &Scope, input: &Map<String, Value>) -> Vec<Subject> {
    let source = match operation {
        "CreateFunction" => input.get("Code").and_then(Value::as_object),
        "PublishLayerVersion" => input.get("Content").and_then(Value::as_object),
        "UpdateFunctionCode" => Some(input),
        _ => None,
    };
    let text = |name: &str| source?.get(name)?.as_str();
    let mut besides = Vec::new();
    if let (Some(bucket), Some(key)) = (text("S3Bucket"), text("S3Key")) {
        besides.push(Subject::new("s3:GetObject", &format!("arn:aws:s3:::{bucket}/{key}")));
    }
    let layers = input.get("Layers").and_then(Value::as_array).into_iter().flatten();
    for layer in layers.filter_map(Value::as_str) {
        let arn = LayerVersionArn::parse(layer).map_or("*".to_owned(), |arn| arn.to_string());
        besides.push(Subject::new("lambda:GetLayerVersion", &arn));
    }
    match operation {
        "CheckpointDurableExecution" => besides.extend(chained(scope, input)),
        "StartMessageMoveTask" => besides.extend(moved(input)),
        _ => {}
    }
    besides
}

/// AWS: whoever has messages moved could receive and delete them, and send them.
fn moved(input: &Map<String, Value>) -> Vec<Subject> {
    let subject = |action: &str, member: &str| {
        let arn = input.get(member)?.as_str()?;
        Some(Subject::new(action, &in_our_words(arn)))
    };
    let all = [
        subject("sqs:ReceiveMessage", "SourceArn"),
        subject("sqs:DeleteMessage", "SourceArn"),
        subject("sqs:SendMessage", "DestinationArn"),
    ];
    all.into_iter().flatten().collect()
}

/// The functions that a checkpoint calls, which is up to the role of its function.
fn chained(scope: &Scope, input: &Map<String, Value>) -> Vec<Subject> {
    let updates = input.get("Updates").and_then(Value::as_array).into_iter().flatten();
    let names = updates
        .filter_map(|update| update.get("ChainedInvokeOptions")?.get("FunctionName")?.as_str());
    let subject = |name: &str| match FunctionRef::parse(scope, name, None) {
        Ok(function) => {
            let mut subject = Subject::new("lambda:InvokeFunction", &function.arn());
            subject.function = Some(function);
            subject
        }
        Err(_) => Subject::new("lambda:InvokeFunction", "*"),
    };
    names.map(subject).collect()
}

/// A function as policies name it.
fn named(mut function: FunctionRef, action: &str) -> FunctionRef {
    // AWS: only to call `$LATEST` is something else than to call the function. For all that is done
    // to a function they are one.
    if action != "InvokeFunction" {
        function.qualifier = function.qualifier.filter(|qualifier| *qualifier != Qualifier::Latest);
    }
    function
}

/// The ARN in the partition of this server, which is not asked for when something is looked up.
fn in_our_words(arn: &str) -> String {
    let mut parts = arn.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("arn"), Some(_), Some(rest)) => format!("arn:aws:{rest}"),
        _ => arn.to_owned(),
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
mod tests;
