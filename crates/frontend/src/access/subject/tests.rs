//! What requests are about, however they spell it.

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
    let waiting = |id: &str| (id == "one").then(|| "arn:waiting".to_owned());
    let (named, waiting, scope) = (&named, &waiting, &scope);
    let asked = Asked { service, operation, caller, scope, named, waiting };
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
            "GetFunction",
            json!({ "FunctionName": "f:$LATEST" }),
            "lambda:GetFunction",
            format!("{lambda}:function:f"),
        ),
        (
            "lambda",
            "Invoke",
            json!({ "FunctionName": "f", "Qualifier": "$LATEST" }),
            "lambda:InvokeFunction",
            format!("{lambda}:function:f:$LATEST"),
        ),
        (
            "lambda",
            "GetLayerVersionByArn",
            json!({ "Arn": format!("{lambda}:layer:l:03").replace("arn:aws", "arn:aws-x") }),
            "lambda:GetLayerVersion",
            format!("{lambda}:layer:l:3"),
        ),
        (
            "lambda",
            "GetLayerVersion",
            json!({ "LayerName": format!("{lambda}:layer:l").replace("arn:aws", "arn:aws-x"), "VersionNumber": 3 }),
            "lambda:GetLayerVersion",
            format!("{lambda}:layer:l:3"),
        ),
        (
            "lambda",
            "TagResource",
            json!({ "Resource": "arn:aws-x:lambda:us-east-1:000000000000:code-signing-config:c" }),
            "lambda:TagResource",
            format!("{lambda}:code-signing-config:c"),
        ),
        (
            "lambda",
            "PutResourcePolicy",
            json!({ "ResourceArn": "arn:aws-x:lambda:us-east-1:000000000000:function:f:$LATEST" }),
            "lambda:PutResourcePolicy",
            format!("{lambda}:function:f"),
        ),
        (
            "lambda",
            "GetFunction",
            json!({ "FunctionName": "f:a", "Qualifier": "b" }),
            "lambda:GetFunction",
            "*".to_owned(),
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
            "SendDurableExecutionCallbackSuccess",
            json!({ "CallbackId": "one" }),
            "lambda:SendDurableExecutionCallbackSuccess",
            "arn:waiting".to_owned(),
        ),
        (
            "lambda",
            "SendDurableExecutionCallbackSuccess",
            json!({ "CallbackId": "two" }),
            "lambda:SendDurableExecutionCallbackSuccess",
            "*".to_owned(),
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
            "logs",
            "FilterLogEvents",
            json!({ "logGroupIdentifier": "arn:aws-x:logs:us-east-1:000000000000:log-group:/g" }),
            "logs:FilterLogEvents",
            "arn:aws:logs:us-east-1:000000000000:log-group:/g:*".to_owned(),
        ),
        (
            "logs",
            "DeleteLogGroup",
            json!({ "logGroupName": "arn:aws:logs:us-east-1:000000000000:log-group:/g:*" }),
            "logs:DeleteLogGroup",
            "arn:aws:logs:us-east-1:000000000000:log-group:/g:*".to_owned(),
        ),
        (
            "logs",
            "TagResource",
            json!({ "resourceArn": "arn:aws:logs:us-east-1:000000000000:log-group:/g:*" }),
            "logs:TagResource",
            "arn:aws:logs:us-east-1:000000000000:log-group:/g".to_owned(),
        ),
        (
            "iam",
            "AttachRolePolicy",
            json!({ "RoleName": "r", "PolicyArn": "arn:p" }),
            "iam:AttachRolePolicy",
            "arn:aws:iam::000000000000:role/r".to_owned(),
        ),
        ("iam", "GetPolicy", json!({ "PolicyArn": "arn:p" }), "iam:GetPolicy", "arn:p".to_owned()),
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

#[test]
fn code_and_layers_need_leave_too() {
    let besides = |operation: &str, input: Value| -> Vec<(String, String)> {
        let scope =
            Scope { account: AccountId::new("000000000000").unwrap(), region: "us-east-1".into() };
        let found = super::besides(operation, &scope, input.as_object().unwrap()).into_iter();
        found.map(|subject| (subject.action, subject.resource)).collect()
    };
    let code = json!({ "S3Bucket": "b", "S3Key": "k/l" });
    let object = ("s3:GetObject".to_owned(), "arn:aws:s3:::b/k/l".to_owned());
    let one = std::slice::from_ref(&object);
    let layer = "arn:aws-x:lambda:us-east-1:000000000000:layer:l:03";
    let known = "arn:aws:lambda:us-east-1:000000000000:layer:l:3".to_owned();
    let layers = ("lambda:GetLayerVersion".to_owned(), known);
    assert_eq!(besides("UpdateFunctionCode", code.clone()), one);
    assert_eq!(besides("PublishLayerVersion", json!({ "Content": code })), one);
    let input = json!({ "Code": code, "Layers": [layer] });
    assert_eq!(besides("CreateFunction", input), [object.clone(), layers.clone()]);
    assert_eq!(besides("UpdateFunctionConfiguration", json!({ "Layers": [layer] })), [layers]);
    assert_eq!(besides("Invoke", json!({ "FunctionName": "f" })), []);
    let calls = |name: &str| {
        json!({ "Updates": [
        { "Id": "a", "Type": "STEP" },
        { "Id": "b", "Type": "CHAINED_INVOKE", "ChainedInvokeOptions": { "FunctionName": name } },
    ] })
    };
    let other = "arn:aws:lambda:us-east-1:000000000000:function:other:1".to_owned();
    let other = ("lambda:InvokeFunction".to_owned(), other);
    assert_eq!(besides("CheckpointDurableExecution", calls("other:1")), [other]);
    let unknown = ("lambda:InvokeFunction".to_owned(), "*".to_owned());
    assert_eq!(besides("CheckpointDurableExecution", calls("a:b:c:d")), [unknown]);
}
