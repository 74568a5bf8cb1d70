//! Answers and refusals of each dialect, byte for byte.

use super::*;
use crate::ApiError;
use crate::model::service;
use serde_json::json;

fn answer(name: &str, operation: &str, output: Output) -> Response<Bytes> {
    let service = service(name).unwrap();
    encode_output(service, service.operation(operation).unwrap(), output, "id-1")
}

fn members(value: Value) -> Output {
    Output::of(value).unwrap()
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn header<'r>(response: &'r Response<Bytes>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn an_invocation_answers_in_headers_and_payload() {
    let output = Output {
        payload: Some(Bytes::from_static(b"{\"errorMessage\": \"x\"}")),
        ..members(
            json!({"FunctionError": "Unhandled", "ExecutedVersion": "$LATEST", "LogResult": null}),
        )
    };
    let response = answer("lambda", "Invoke", output);
    assert_eq!(response.status(), 200);
    assert_eq!(text(&response), "{\"errorMessage\": \"x\"}");
    assert_eq!(header(&response, "x-amz-function-error"), Some("Unhandled"));
    assert_eq!(header(&response, "x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(header(&response, "x-amz-log-result"), None);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(header(&response, "x-amzn-requestid"), Some("id-1"));
}

#[test]
fn the_status_is_the_outputs_or_the_models() {
    let of = |output| answer("lambda", "Invoke", output).status();
    assert_eq!(of(Output { status: Some(202), ..Output::default() }), 202);
    assert_eq!(of(members(json!({"StatusCode": 202}))), 202);
    let deleted =
        answer("lambda", "DeleteFunction", Output { status: Some(204), ..Output::default() });
    assert_eq!((deleted.status().as_u16(), text(&deleted)), (204, ""));
    assert_eq!(answer("lambda", "CreateFunction", Output::empty()).status(), 201);
    assert_eq!(of(Output { status: Some(7), ..Output::default() }), 500);
}

#[test]
fn nulls_and_strangers_are_not_sent_and_the_order_is_the_models() {
    let output = json!({
        "MemorySize": 128, "Nothing": 1, "FunctionName": "f", "Description": "", "Runtime": null,
        "Environment": {"Variables": {"B": "1", "A": "2"}, "Error": null},
    });
    let response = answer("lambda", "GetFunctionConfiguration", members(output));
    assert_eq!(
        text(&response),
        r#"{"FunctionName":"f","Description":"","MemorySize":128,"Environment":{"Variables":{"B":"1","A":"2"}}}"#
    );
}

#[test]
fn times_are_written_as_the_protocol_has_them() {
    let output = json!({"LastModified": 1_795_347_520.5, "FunctionArn": "a"});
    let response = answer("lambda", "GetFunctionEventInvokeConfig", members(output));
    assert_eq!(text(&response), r#"{"LastModified":1795347520.5,"FunctionArn":"a"}"#);
    let output = json!({"Credentials": {"AccessKeyId": "a", "Expiration": 1_795_347_520}});
    let response = answer("sts", "GetSessionToken", members(output));
    assert!(text(&response).contains("<Expiration>2026-11-22T11:38:40Z</Expiration>"));
}

#[test]
fn a_stream_answers_with_its_content_type() {
    let output = members(json!({"ExecutedVersion": "1"}));
    let response = answer("lambda", "InvokeWithResponseStream", output);
    assert_eq!(header(&response, "content-type"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(header(&response, "x-amz-executed-version"), Some("1"));
}

#[test]
fn what_no_header_holds_is_left_out() {
    let response = answer("lambda", "Invoke", members(json!({"FunctionError": "a\r\nX-Evil: 1"})));
    assert_eq!(header(&response, "x-amz-function-error"), None);
    assert_eq!(header(&response, "x-evil"), None);
}

#[test]
fn json_answers_are_json_or_nothing() {
    let response = answer("logs", "DescribeLogGroups", members(json!({"logGroups": []})));
    assert_eq!(text(&response), r#"{"logGroups":[]}"#);
    assert_eq!(header(&response, "content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(text(&answer("logs", "CreateLogGroup", Output::empty())), "");
}

#[test]
fn query_answers_are_xml() {
    let output = json!({"Arn": "arn:aws:iam::1:user/<a&b>", "Account": "1", "UserId": "\u{1}u"});
    let response = answer("sts", "GetCallerIdentity", members(output));
    assert_eq!(header(&response, "content-type"), Some("text/xml"));
    assert_eq!(
        text(&response),
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><UserId>\u{fffd}u</UserId><Account>1</Account>\
         <Arn>arn:aws:iam::1:user/&lt;a&amp;b&gt;</Arn></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>"
    );
}

fn refusal(name: &str, error: &ApiError) -> Response<Bytes> {
    encode_error(service(name), error, "id-1")
}

#[test]
fn errors_have_the_members_their_shape_has() {
    let response = refusal("lambda", &ApiError::new("ResourceNotFoundException", "gone"));
    assert_eq!(response.status(), 404);
    assert_eq!(header(&response, "x-amzn-errortype"), Some("ResourceNotFoundException"));
    assert_eq!(text(&response), r#"{"Type":"User","Message":"gone"}"#);

    let response = refusal("lambda", &ApiError::new("ResourceConflictException", "busy"));
    assert_eq!(
        (response.status().as_u16(), text(&response)),
        (409, r#"{"Type":"User","message":"busy"}"#)
    );

    let response = refusal("lambda", &ApiError::internal("a cause that stays here"));
    assert_eq!(response.status(), 500);
    assert!(text(&response).starts_with(r#"{"Type":"Service","Message":"#));
    assert!(!text(&response).contains("cause"));

    // AWS: recorded without Type, being no error of the model.
    let response = refusal("lambda", &ApiError::new("ValidationException", "bad"));
    assert_eq!((response.status().as_u16(), text(&response)), (400, r#"{"message":"bad"}"#));

    let typeless = ApiError::new("InvalidParameterValueException", "m").with("Type", Value::Null);
    assert_eq!(text(&refusal("lambda", &typeless)), r#"{"message":"m"}"#);
}

#[test]
fn throttling_says_why_and_for_how_long() {
    let error = ApiError::new("TooManyRequestsException", "Rate Exceeded.")
        .with("Reason", "ReservedFunctionConcurrentInvocationLimitExceeded")
        .with("retryAfterSeconds", "1");
    let response = refusal("lambda", &error);
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), Some("1"));
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        body,
        json!({"Type": "User", "message": "Rate Exceeded.",
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"})
    );
}

#[test]
fn json_errors_name_their_type_in_the_body() {
    let response = refusal("logs", &ApiError::new("ResourceNotFoundException", "no group"));
    assert_eq!(response.status(), 400);
    assert_eq!(text(&response), r#"{"__type":"ResourceNotFoundException","message":"no group"}"#);
    assert_eq!(header(&response, "content-type"), Some("application/x-amz-json-1.1"));
}

#[test]
fn query_errors_use_the_codes_of_that_protocol() {
    let error = ApiError::new("InvalidSignatureException", "a < b").with_status(403);
    let response = refusal("sts", &error);
    assert_eq!(response.status(), 403);
    assert_eq!(
        text(&response),
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>a &lt; b</Message></Error>\
         <RequestId>id-1</RequestId></ErrorResponse>"
    );
    let error = ApiError::new("MalformedPolicyDocumentException", "m");
    assert!(text(&refusal("sts", &error)).contains("<Code>MalformedPolicyDocument</Code>"));
}

#[test]
fn an_error_for_nobody_in_particular_says_all_it_knows() {
    let error = ApiError::new("MissingAuthenticationTokenException", "m").with_status(403);
    let response = encode_error(None, &error, "id-1");
    assert_eq!(response.status(), 403);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body, json!({"__type": "MissingAuthenticationTokenException", "message": "m"}));
    assert_eq!(header(&response, "x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
}

#[test]
fn sqs_answers_in_both_its_dialects() {
    let older = crate::model::older_dialect(crate::service("sqs").unwrap()).unwrap();
    let message = json!({"MessageId": "m", "Body": "<b>", "Attributes": {"SenderId": "s"}});
    let operation = older.operation("ReceiveMessage").unwrap();
    let response = encode_output(older, operation, members(json!({"Messages": [message]})), "r");
    let expected = "<ReceiveMessageResult><Message><MessageId>m</MessageId><Body>&lt;b&gt;</Body>\
        <Attribute><Name>SenderId</Name><Value>s</Value></Attribute></Message>\
        </ReceiveMessageResult>";
    assert!(text(&response).contains(expected), "{}", text(&response));
    let missing = ApiError::new("QueueDoesNotExist", "m");
    let code = "AWS.SimpleQueueService.NonExistentQueue";
    assert_eq!(
        header(&refusal("sqs", &missing), "x-amzn-query-error"),
        Some(format!("{code};Sender").as_str())
    );
    let response = encode_error(Some(older), &missing, "r");
    assert!(text(&response).contains(&format!("<Code>{code}</Code>")));
}
