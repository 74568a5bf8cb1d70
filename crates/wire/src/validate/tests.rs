//! The answers recorded from AWS (`fixtures/recorded_validation.json`, with the recorder's
//! placeholders filled in), and what they do not show.

use super::*;
use crate::model::service;
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeSet;

/// Patterns that AWS has changed since the answers were recorded.
const MOVED_ON: [(&str, &str); 2] = [
    (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
        r"((arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+))",
    ),
    (
        r"|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)",
        r"|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|(capacity-provider|network-connector):[a-zA-Z0-9-_]{1,64})",
    ),
];

/// Runtimes that AWS has added since.
const NEW_RUNTIMES: [&str; 7] = [
    "custom",
    "java11.al2023",
    "java17.al2023",
    "java8.al2023",
    "nodejs26.x",
    "python3.15",
    "ruby4.0",
];

fn call(service_name: &str, operation: &str, input: Value) -> Call {
    let service = service(service_name).unwrap();
    let Value::Object(input) = input else { panic!("an input is an object") };
    let operation = service.operation(operation).unwrap();
    Call { service, operation, input, payload: None }
}

fn refused(service: &str, operation: &str, input: Value) -> (String, String) {
    let error = validate(&call(service, operation, input)).unwrap_err();
    (error.code.into_owned(), error.message)
}

/// A message without its enums, and the enums as sets: their order is not AWS's to keep.
fn without_sets(message: &str) -> (String, Vec<BTreeSet<String>>) {
    const START: &str = "enum value set: [";
    let mut pieces = message.split(START);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    let mut sets = Vec::new();
    for piece in pieces {
        let (set, rest) = piece.split_once(']').unwrap();
        let set: BTreeSet<_> = set.split(", ").map(str::to_owned).collect();
        sets.push(
            set.into_iter().filter(|value| !NEW_RUNTIMES.contains(&value.as_str())).collect(),
        );
        text.push_str(START);
        text.push_str(rest);
    }
    (text, sets)
}

#[test]
fn every_recorded_refusal_is_given_in_the_same_words() {
    let fixture = include_str!("../../fixtures/recorded_validation.json");
    let rows: Vec<(String, Value, String, String)> = serde_json::from_str(fixture).unwrap();
    assert_eq!(rows.len(), 38);
    for (operation, input, code, mut message) in rows {
        for (recorded, now) in MOVED_ON {
            message = message.replace(recorded, now);
        }
        let given = refused("lambda", &operation, input);
        assert_eq!(given.0, code, "{operation}: {message}");
        assert_eq!(without_sets(&given.1), without_sets(&message), "{operation}");
    }
}

#[test]
fn an_unknown_runtime_in_a_listing_names_all_the_model_has() {
    let (code, message) =
        refused("lambda", "ListLayers", json!({"CompatibleRuntime": "runtimedoesnotexist"}));
    assert_eq!(code, "ValidationException");
    let (text, sets) = without_sets(&message);
    assert_eq!(
        text,
        "1 validation error detected: Value 'runtimedoesnotexist' at 'compatibleRuntime' failed to \
         satisfy constraint: Member must satisfy enum value set: ["
    );
    for runtime in ["python3.7", "dotnetcore1.0", "nodejs", "provided", "java21"] {
        assert!(sets[0].contains(runtime), "{runtime}");
    }
}

#[test]
fn known_runtimes_and_arns_pass_even_when_retired() {
    for runtime in ["python3.13", "python3.7", "go1.x", "arn:aws:lambda:us-east-1::runtime:0cdc"] {
        let input = json!({"FunctionName": "f", "Runtime": runtime});
        assert_eq!(validate(&call("lambda", "UpdateFunctionConfiguration", input)), Ok(()));
    }
}

#[test]
fn the_bare_name_counts_in_every_form_of_a_name() {
    let long = "a".repeat(65);
    let fits = "a".repeat(64);
    for prefix in [
        "",
        "function:",
        "123456789012:function:",
        "arn:aws:lambda:us-east-1:123456789012:function:",
    ] {
        for suffix in ["", ":alias"] {
            let input = |name: &str| json!({"FunctionName": format!("{prefix}{name}{suffix}")});
            let (code, _) = refused("lambda", "GetFunction", input(&long));
            assert_eq!(code, "InvalidParameterValueException", "{prefix}…{suffix}");
            assert_eq!(validate(&call("lambda", "GetFunction", input(&fits))), Ok(()));
        }
    }
}

#[test]
fn several_findings_are_joined_and_counted() {
    let (_, message) = refused("lambda", "CreateFunction", json!({"FunctionName": ""}));
    assert_eq!(
        message.split(" detected: ").next().unwrap(),
        "4 validation errors",
        "empty name twice, no role, no code: {message}"
    );
    assert!(message.contains(
        "Value '' at 'functionName' failed to satisfy constraint: Member must have length greater \
         than or equal to 1; Value '' at 'functionName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: "
    ));
    assert!(message.ends_with(
        "Value null at 'role' failed to satisfy constraint: Member must not be null; Value null at \
         'code' failed to satisfy constraint: Member must not be null"
    ));
}

#[test]
fn numbers_and_their_bounds_are_printed_as_java_does() {
    let provider = |memory: Value| {
        json!({"FunctionName": "f", "CapacityProviderConfig": {
        "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": "arn:aws:lambda:us-east-1:111111111111:capacity-provider:c",
            "ExecutionEnvironmentMemoryGiBPerVCpu": memory,
        }}})
    };
    let (_, message) = refused("lambda", "UpdateFunctionConfiguration", provider(json!(9)));
    assert!(
        message.ends_with(
            "Value '9.0' at 'capacityProviderConfig.lambdaManagedInstancesCapacityProviderConfig.\
             executionEnvironmentMemoryGiBPerVCpu' failed to satisfy constraint: Member must have \
             value less than or equal to 8.0"
        ),
        "{message}"
    );
    let input = json!({"FunctionName": "f", "Timeout": 0});
    let (_, message) = refused("lambda", "UpdateFunctionConfiguration", input);
    assert_eq!(
        message,
        "1 validation error detected: Value '0' at 'timeout' failed to satisfy constraint: Member \
         must have value greater than or equal to 1"
    );
}

#[test]
fn secrets_are_not_echoed() {
    let input = json!({"FunctionName": "f", "Environment": {"Variables": {"1BAD": "secret"}}});
    let (_, message) = refused("lambda", "UpdateFunctionConfiguration", input);
    assert_eq!(
        message,
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: \
         Map keys must satisfy constraint: [Member must satisfy regular expression pattern: \
         [a-zA-Z]([a-zA-Z0-9_])+]"
    );
}

#[test]
fn elements_of_lists_are_counted_from_one() {
    let input = json!({
        "logGroupName": "g", "logStreamName": "s",
        "logEvents": [{"timestamp": 1, "message": "m"}, {"timestamp": 2}, null],
    });
    let (code, message) = refused("logs", "PutLogEvents", input);
    assert_eq!(code, "InvalidParameterException");
    assert_eq!(
        message,
        "2 validation errors detected: Value null at 'logEvents.2.member.message' failed to satisfy \
         constraint: Member must not be null; Value null at 'logEvents.3.member' failed to satisfy \
         constraint: Member must not be null"
    );
}

#[test]
fn a_null_in_a_list_of_scalars_is_a_finding_about_the_list() {
    let input = json!({"FunctionName": "f", "Layers": [null]});
    let (_, message) = refused("lambda", "UpdateFunctionConfiguration", input);
    assert!(message.starts_with("1 validation error detected: Value '[null]' at 'layers'"));
}

#[test]
fn findings_and_echoes_are_bounded() {
    let events: Vec<_> = (0..1000).map(|_| json!({"timestamp": 1})).collect();
    let input = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events});
    let (_, message) = refused("logs", "PutLogEvents", input);
    assert!(message.starts_with("10 validation errors detected: "));

    let long = "é".repeat(1_000_000);
    let (_, message) = refused("lambda", "GetFunction", json!({"FunctionName": long}));
    assert!(message.len() < 40_000 && message.contains('…'));
}

#[test]
fn lengths_are_those_of_java() {
    let tag = |key: &str| {
        let input = json!({"Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "TagKeys": [key]});
        validate(&call("lambda", "UntagResource", input))
    };
    assert_eq!(tag(&"𝟘".repeat(64)), Ok(()), "128 units in 64 characters");
    assert!(tag(&"𝟘".repeat(65)).is_err());
}

#[test]
fn payloads_have_lengths_and_may_be_required() {
    let mut call =
        call("lambda", "SendDurableExecutionCallbackSuccess", json!({"CallbackId": "YQ=="}));
    call.payload = Some(Bytes::from(vec![b'x'; 1_048_577]));
    assert_eq!(
        validate(&call).unwrap_err().message,
        "1 validation error detected: Value at 'result' failed to satisfy constraint: Member must \
         have length less than or equal to 1048576"
    );
    call.payload = Some(Bytes::from(vec![b'x'; 1_048_576]));
    assert_eq!(validate(&call), Ok(()));
    let (_, message) = refused("lambda", "InvokeAsync", json!({"FunctionName": "f"}));
    assert!(message.contains("Value null at 'invokeArgs'"));
}

#[test]
fn the_query_protocol_has_its_own_code() {
    let input = json!({"RoleArn": "short", "RoleSessionName": "session"});
    let (code, message) = refused("sts", "AssumeRole", input);
    assert_eq!(code, "ValidationError");
    assert_eq!(
        message,
        "1 validation error detected: Value 'short' at 'roleArn' failed to satisfy constraint: \
         Member must have length greater than or equal to 20"
    );
}
