//! Single cases; the properties over all operations are in `tests/every_operation.rs`.

use super::*;
use crate::route::route;
use http::Request;
use serde_json::json;

fn lambda(method: &str, target: &str, body: &str) -> Result<Call, ApiError> {
    let parts = Request::builder().method(method).uri(target).body(()).unwrap().into_parts().0;
    decode(&route(&parts).unwrap(), &parts, Bytes::copy_from_slice(body.as_bytes()))
}

fn update(body: &str) -> Result<Value, ApiError> {
    let call = lambda("PUT", "/2015-03-31/functions/f/configuration", body)?;
    let mut input = call.input;
    assert_eq!(input.remove("FunctionName"), Some(Value::from("f")));
    Ok(Value::Object(input))
}

#[test]
fn members_come_from_path_query_and_body() {
    let target = "/2017-03-31/tags/arn%3Aaws?tagKeys=a&tagKeys=b%2Bc+d";
    let call = lambda("DELETE", target, "ignored").unwrap();
    assert_eq!(
        Value::Object(call.input),
        json!({"Resource": "arn:aws", "TagKeys": ["a", "b+c d"]})
    );
    let call = lambda("GET", "/2015-03-31/functions?MaxItems=5", "").unwrap();
    assert_eq!(Value::Object(call.input), json!({"MaxItems": 5}));
    let error = lambda("GET", "/2015-03-31/functions?MaxItems=five", "").unwrap_err();
    assert_eq!(error.message, "STRING_VALUE can not be converted to an Integer");
}

#[test]
fn unknown_and_null_members_are_as_if_absent() {
    let body =
        r#"{"Timeout": 3, "Nothing": {"a": 1}, "Description": null, "FunctionName": "other"}"#;
    assert_eq!(update(body).unwrap(), json!({"Timeout": 3}));
    for empty in ["", " \n", "{}", "null"] {
        assert_eq!(update(empty).unwrap(), json!({}));
    }
}

#[test]
fn the_payload_is_not_touched() {
    let target = "/2015-03-31/functions/f/invocations?Qualifier=v1";
    let call = lambda("POST", target, "{not json").unwrap();
    assert_eq!(call.payload.as_deref(), Some(&b"{not json"[..]));
    assert_eq!(Value::Object(call.input), json!({"FunctionName": "f", "Qualifier": "v1"}));
    assert_eq!(lambda("POST", target, "").unwrap().payload, None);
}

#[test]
fn a_structure_may_be_the_payload() {
    let target = "/2025-12-01/durable-execution-callbacks/YQ%3D%3D/fail";
    let call = lambda("POST", target, r#"{"ErrorMessage": "m"}"#).unwrap();
    assert_eq!(
        Value::Object(call.input),
        json!({"CallbackId": "YQ==", "Error": {"ErrorMessage": "m"}})
    );
    assert_eq!(call.payload, None);
}

#[test]
fn wrong_types_are_told_in_the_readers_words() {
    for (body, message) in [
        (r#"{"Timeout": "3"}"#, "STRING_VALUE can not be converted to an Integer"),
        (r#"{"Timeout": 3000000000}"#, "NUMBER_VALUE can not be converted to an Integer"),
        (r#"{"Description": 1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Description": true}"#, "TRUE_VALUE can not be converted to a String"),
        (r#"{"Description": []}"#, "Start of list found where not expected"),
        (r#"{"Layers": {}}"#, "Start of structure or map found where not expected."),
        (r#"{"Layers": ["a", 1]}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"VpcConfig": "x"}"#, "Unexpected value type in payload"),
        (
            r#"{"Environment": {"Variables": {"A": 1}}}"#,
            "NUMBER_VALUE can not be converted to a String",
        ),
        (r#"[]"#, "Start of list found where not expected"),
        (r#""x""#, "Unexpected value type in payload"),
    ] {
        let error = update(body).unwrap_err();
        assert_eq!((&*error.code, &*error.message), ("SerializationException", message), "{body}");
    }
    assert_eq!(update(r#"{"Timeout": 3.9}"#).unwrap(), json!({"Timeout": 3}));
}

#[test]
fn broken_and_bottomless_json_is_refused() {
    for body in ["{", "{\"a\":}", "\u{0}", &format!("{{\"x\":{}", "[".repeat(100_000))] {
        let error = update(body).unwrap_err();
        assert_eq!((&*error.code, error.status), ("SerializationException", Some(400)));
        assert!(error.message.starts_with("Could not parse request body into json: "));
    }
}

#[test]
fn values_are_bounded_and_text_is_not_values() {
    let many = format!("{{\"Layers\": [{}1]}}", "1,".repeat(200_000));
    assert_eq!(update(&many).unwrap_err().message, "The request body has too many values.");
    let text = "[\\\",{".repeat(100_000);
    let body = json!({ "Description": text }).to_string();
    assert_eq!(update(&body).unwrap(), json!({ "Description": text }));
}

#[test]
fn blobs_have_to_be_base64() {
    let code = |zip: &str| {
        lambda("PUT", "/2015-03-31/functions/f/code", &json!({"ZipFile": zip}).to_string())
    };
    for zip in ["", "UEs=", "UEsDBA==", "UEsD"] {
        assert_eq!(code(zip).unwrap().input["ZipFile"], zip);
    }
    for zip in ["UEs", "UE=s", "UEs=UEs=", "UE-_", "UEt=", "====", "é==="] {
        assert_eq!(code(zip).unwrap_err().code, "SerializationException", "{zip}");
    }
}

#[test]
fn times_are_numbers_whatever_they_came_as() {
    let create = |time: &str| {
        let body = format!(r#"{{"FunctionName": "f", "StartingPositionTimestamp": {time}}}"#);
        lambda("POST", "/2015-03-31/event-source-mappings", &body)
    };
    for time in ["1795347520", "\"2026-11-22T11:38:40Z\"", "\"2026-11-22T12:38:40+01:00\""] {
        let call = create(time).unwrap();
        assert_eq!(call.input["StartingPositionTimestamp"].as_f64(), Some(1_795_347_520.0));
    }
    assert_eq!(create("\"soon\"").unwrap_err().code, "SerializationException");
}

/// A service that has what none of ours has: flattened lists and maps.
fn flattening() -> &'static Service {
    let model = json!({
        "metadata": {"apiVersion": "1", "endpointPrefix": "flat", "protocol": "query"},
        "operations": {"Do": {"http": {"method": "POST", "requestUri": "/"}, "input": {"shape": "In"}}},
        "shapes": {
            "In": {"type": "structure", "members": {
                "Names": {"shape": "FlatList", "locationName": "Name"},
                "Wrapped": {"shape": "List"},
                "Attributes": {"shape": "FlatMap", "locationName": "Attribute"},
                "Entries": {"shape": "Map"},
                "Nested": {"shape": "In"},
            }},
            "FlatList": {"type": "list", "member": {"shape": "S"}, "flattened": true},
            "List": {"type": "list", "member": {"shape": "S", "locationName": "item"}},
            "FlatMap": {"type": "map", "flattened": true,
                "key": {"shape": "S", "locationName": "Name"},
                "value": {"shape": "S", "locationName": "Value"}},
            "Map": {"type": "map", "key": {"shape": "S"}, "value": {"shape": "In"}},
            "S": {"type": "string"},
        },
    });
    Box::leak(Box::new(Service::parse(&model.to_string()).unwrap()))
}

fn form(service: &'static Service, body: &str) -> Result<Call, ApiError> {
    let parts = Request::post("/").body(()).unwrap().into_parts().0;
    let route = Route { service, operation: OperationRef::ByAction, labels: Vec::new() };
    decode(&route, &parts, Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn forms_hold_lists_and_maps_of_both_kinds() {
    let body = "Action=Do&Name.10=j&Name.1=a&Name.2=b+c&Wrapped.item.1=w&Attribute.1.Name=k\
                &Attribute.1.Value=v%26&Entries.entry.1.key=e&Entries.entry.1.value.Name.1=deep\
                &Nested.Nested.Name.1=n&Unknown=u&Name.x=no";
    assert_eq!(
        Value::Object(form(flattening(), body).unwrap().input),
        json!({
            "Names": ["a", "b c", "j"],
            "Wrapped": ["w"],
            "Attributes": {"k": "v&"},
            "Entries": {"e": {"Names": ["deep"]}},
            "Nested": {"Nested": {"Names": ["n"]}},
        })
    );
}

#[test]
fn forms_are_bounded_and_name_their_action() {
    let sts = crate::model::service("sts").unwrap();
    let refusal = |body: &str| form(sts, body).unwrap_err();
    assert_eq!(refusal("").code, "MissingAction");
    assert_eq!(refusal("Action=").code, "MissingAction");
    assert_eq!(refusal("Action=X&Version=1").message, "Could not find operation X for version 1");
    assert_eq!(refusal("Action=%ff").code, "SerializationException");
    let deep = format!("Action=AssumeRole&a{}=1", ".a".repeat(100_000));
    assert_eq!(refusal(&deep).code, "SerializationException");
    let many = format!("Action=AssumeRole{}", "&a=1".repeat(10_000));
    assert_eq!(refusal(&many).message, "There are too many parameters.");
    let call = form(sts, "Action=AssumeRole&DurationSeconds=900&Version=2011-06-15").unwrap();
    assert_eq!(call.input["DurationSeconds"], 900);
}

#[test]
fn sqs_is_understood_in_the_dialect_it_had_before() {
    let sqs = |path: &str, body: &str| {
        let request = Request::builder().method("POST").uri(path);
        let scope = "AKIDEXAMPLE/20261122/us-east-1/sqs/aws4_request";
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00");
        let request = request
            .header("authorization", authorization)
            .header("content-type", "application/x-www-form-urlencoded");
        let parts = request.body(()).unwrap().into_parts().0;
        decode(&route(&parts).unwrap(), &parts, Bytes::copy_from_slice(body.as_bytes())).unwrap()
    };
    let body = "Action=SendMessageBatch&Version=2012-11-05&SendMessageBatchRequestEntry.1.Id=a\
        &SendMessageBatchRequestEntry.1.MessageBody=b\
        &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
        &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String\
        &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=v";
    let entry = json!({"Id": "a", "MessageBody": "b", "MessageAttributes":
        {"n": {"DataType": "String", "StringValue": "v"}}});
    let call = sqs("/123456789012/jobs", body);
    assert_eq!(call.operation.name, "SendMessageBatch");
    assert_eq!(
        Value::Object(call.input),
        json!({"Entries": [entry], "QueueUrl": "/123456789012/jobs"})
    );
    let body = "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5\
        &Tag.1.Key=k&Tag.1.Value=v";
    assert_eq!(
        Value::Object(sqs("/", body).input),
        json!({"QueueName": "q", "Attributes": {"DelaySeconds": "5"}, "tags": {"k": "v"}})
    );
}
