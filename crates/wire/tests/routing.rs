//! How requests find their service and operation, as SDKs, command lines and plain curl send them.

use http::Request;
use http::request::{Builder, Parts};
use lamplight_wire::{ApiError, OperationRef, Protocol, Route, decode, encode_error, route};

fn parts(builder: Builder) -> Parts {
    builder.body(()).unwrap().into_parts().0
}

fn found(builder: Builder) -> String {
    name(&route(&parts(builder)).unwrap())
}

fn name(route: &Route) -> String {
    match route.operation {
        OperationRef::Known(operation) => format!("{}.{}", route.service.name, operation.name),
        OperationRef::ByAction => format!("{} by action", route.service.name),
    }
}

fn refused(builder: Builder) -> ApiError {
    route(&parts(builder)).unwrap_err()
}

fn scope(service: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=AK/20261122/us-east-1/{service}/aws4_request, Signature=0")
}

#[test]
fn paths_select_lambda_operations() {
    for (method, target, operation) in [
        ("GET", "/2015-03-31/functions", "ListFunctions"),
        ("GET", "/2015-03-31/functions/", "ListFunctions"),
        ("POST", "/2015-03-31/functions", "CreateFunction"),
        ("GET", "/2015-03-31/functions/f", "GetFunction"),
        ("GET", "/2015-03-31/functions/f/configuration", "GetFunctionConfiguration"),
        ("GET", "/2018-10-31/layers", "ListLayers"),
        ("GET", "/2018-10-31/layers?find=LayerVersion&Arn=a", "GetLayerVersionByArn"),
        ("GET", "/2018-10-31/layers?Arn=a&find=LayerVersion", "GetLayerVersionByArn"),
        ("GET", "/2018-10-31/layers?find=Other", "ListLayers"),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency?List=ALL",
            "ListProvisionedConcurrencyConfigs",
        ),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
            "GetProvisionedConcurrencyConfig",
        ),
        ("GET", "/2019-09-25/functions/f/event-invoke-config", "GetFunctionEventInvokeConfig"),
        (
            "GET",
            "/2019-09-25/functions/f/event-invoke-config/list",
            "ListFunctionEventInvokeConfigs",
        ),
        ("POST", "/2015-03-31/functions/f/invocations", "Invoke"),
        ("DELETE", "/2017-03-31/tags/arn%3Aaws?tagKeys=a", "UntagResource"),
    ] {
        for authorization in [None, Some(scope("lambda"))] {
            let mut builder = Request::builder().method(method).uri(target);
            if let Some(authorization) = authorization {
                builder = builder.header("authorization", authorization);
            }
            assert_eq!(found(builder), format!("lambda.{operation}"), "{method} {target}");
        }
    }
}

#[test]
fn labels_are_decoded() {
    let target = "/2025-12-01/durable-executions/arn%3Aaws%3Alambda%3Af%3A1%2Fdurable-execution%2Fn%2Fi/state";
    let route = route(&parts(Request::get(target))).unwrap();
    assert_eq!(name(&route), "lambda.GetDurableExecutionState");
    let arn = "arn:aws:lambda:f:1/durable-execution/n/i".to_owned();
    assert_eq!(route.labels, [("DurableExecutionArn", arn)]);

    let error = refused(Request::get("/2015-03-31/functions/%ff"));
    assert_eq!((&*error.code, error.status), ("SerializationException", Some(400)));
}

#[test]
fn targets_select_json_operations() {
    let request = || Request::post("/").header("x-amz-target", "Logs_20140328.CreateLogGroup");
    assert_eq!(found(request()), "logs.CreateLogGroup");
    assert_eq!(found(request().header("authorization", scope("logs"))), "logs.CreateLogGroup");

    let error = refused(Request::post("/").header("x-amz-target", "Logs_20140328.Nothing"));
    assert_eq!((&*error.code, error.status), ("UnknownOperationException", Some(400)));
    let error = refused(request().header("authorization", scope("lambda")));
    assert_eq!(error.code, "UnknownOperationException");
}

#[test]
fn forms_are_the_query_protocol() {
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    assert_eq!(found(Request::post("/").header("content-type", form)), "sts by action");
    assert_eq!(found(Request::post("/").header("authorization", scope("sts"))), "sts by action");
    let get = "/?Action=GetCallerIdentity&Version=2011-06-15";
    assert_eq!(found(Request::get(get)), "sts.GetCallerIdentity");

    let error = refused(Request::get("/?Action=Nothing&Version=2011-06-15"));
    assert_eq!(error.code, "InvalidAction");
    assert_eq!(error.message, "Could not find operation Nothing for version 2011-06-15");
    let error = refused(Request::get("/?Action=GetCallerIdentity&Version=2010-05-08"));
    assert_eq!(error.message, "Could not find operation GetCallerIdentity for version 2010-05-08");
}

#[test]
fn without_a_signature_the_action_says_which_service_is_meant() {
    assert_eq!(found(Request::get("/?Action=ListUsers&Version=2010-05-08")), "iam.ListUsers");
    assert_eq!(found(Request::get("/?Action=ListUsers")), "iam.ListUsers");
    let error = refused(Request::get("/?Action=Nothing&Version=2010-05-08"));
    assert_eq!(error.message, "Could not find operation Nothing for version 2010-05-08");

    let form = "application/x-www-form-urlencoded";
    let parts = parts(Request::post("/").header("content-type", form));
    let route = route(&parts).unwrap();
    let called = |body: &'static str| {
        let call = decode(&route, &parts, body.into())?;
        Ok::<_, ApiError>(format!("{}.{}", call.service.name, call.operation.name))
    };
    assert_eq!(called("Action=ListUsers&Version=2010-05-08").unwrap(), "iam.ListUsers");
    assert_eq!(
        called("Action=GetCallerIdentity&Version=2011-06-15").unwrap(),
        "sts.GetCallerIdentity"
    );
    assert_eq!(called("Version=2010-05-08").unwrap_err().code, "MissingAction");
    let error = called("Action=GetCallerIdentity&Version=2010-05-08").unwrap_err();
    assert_eq!(error.code, "InvalidAction");

    // A signature's scope has the last word.
    let parts = self::parts(
        Request::post("/").header("content-type", form).header("authorization", scope("sts")),
    );
    let body = "Action=ListUsers&Version=2010-05-08".into();
    assert_eq!(decode(&route, &parts, body).unwrap_err().code, "InvalidAction");
}

#[test]
fn a_presigned_scope_selects_the_service() {
    let credential = "X-Amz-Credential=AK%2F20261122%2Fus-east-1%2Fsts%2Faws4_request";
    let target = format!("/?Action=GetCallerIdentity&Version=2011-06-15&{credential}");
    assert_eq!(found(Request::get(target)), "sts.GetCallerIdentity");
    let target = format!("/2015-03-31/functions?{}", credential.replace("sts", "lambda"));
    assert_eq!(found(Request::get(target)), "lambda.ListFunctions");
}

#[test]
fn what_nobody_serves_is_refused_by_name() {
    let error = refused(Request::get("/").header("authorization", scope("dynamodb")));
    assert_eq!(error.status, Some(404));
    assert_eq!(
        error.message,
        "The service 'dynamodb' is not served here; there is: lambda, logs, sts, iam, sns, sqs."
    );
    for target in [
        "/",
        "/2015-03-31/functions/f/nothing",
        "/2015-03-31/functions//invocations",
        "/2015-03-31/functions/../configuration",
        "/2015-03-31",
    ] {
        let error = refused(Request::get(target));
        assert_eq!(
            (&*error.code, error.status),
            ("UnknownOperationException", Some(404)),
            "{target}"
        );
        let response = encode_error(None, &error, "id");
        assert_eq!(response.headers()["x-amzn-errortype"], "UnknownOperationException");
    }
    assert_eq!(refused(Request::patch("/2015-03-31/functions")).status, Some(404));
}

#[test]
fn all_services_have_the_protocol_expected() {
    let services = lamplight_wire::services().iter();
    let protocols: Vec<_> =
        services.map(|service| (service.name.as_str(), service.protocol)).collect();
    let expected = [
        ("lambda", Protocol::RestJson),
        ("logs", Protocol::Json11),
        ("sts", Protocol::Query),
        ("iam", Protocol::Query),
        ("sns", Protocol::Query),
        ("sqs", Protocol::Json10),
        ("sqs", Protocol::Query),
    ];
    assert_eq!(protocols, expected);
}
