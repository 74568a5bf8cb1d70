//! The operations as the command line tools and SDKs use them.

mod events;

use super::*;
use lamplight_env::{ManualClock, OsRandom, Tasks, Timestamp};
use lamplight_model::AccountId;
use lamplight_wire::Service;
use lamplight_wire::model::{Kind, ShapeId};
use serde_json::json;
use std::time::Duration;

const DAY: i64 = 86_400_000;
const NOW: i64 = 20_000 * DAY + 5_000;
const GROUP: &str = "/aws/lambda/f";

struct Bench {
    logs: Arc<Logs>,
    clock: Arc<ManualClock>,
    scope: Scope,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOW)));
        let random = Arc::new(OsRandom);
        let env = Env { clock: clock.clone(), random, tasks: Tasks::new() };
        let logs = Logs::open(dir.path(), env).unwrap();
        let account = AccountId::new("000000000000").unwrap();
        Self { logs, clock, scope: Scope { account, region: "eu-west-1".into() }, dir }
    }

    async fn try_call(
        &self,
        operation: &str,
        input: Value,
    ) -> Result<Map<String, Value>, ApiError> {
        let input = input.as_object().cloned().unwrap();
        let answer = self.logs.call(operation, &self.scope, input).await;
        let service = lamplight_wire::service("logs").unwrap();
        let shape = service.operation(operation).and_then(|operation| operation.output);
        match &answer {
            Ok(output) => {
                let members = Value::Object(output.members.clone());
                if let Some(shape) = shape {
                    check_members(service, shape, &members);
                }
            }
            Err(error) => assert!(
                error.status.is_some() || service.error(&error.code).is_some(),
                "{} is in the model",
                error.code
            ),
        }
        answer.map(|output| output.members)
    }

    async fn call(&self, operation: &str, input: Value) -> Map<String, Value> {
        self.try_call(operation, input).await.unwrap_or_else(|e| panic!("{operation}: {e}"))
    }

    async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let error = self.try_call(operation, input).await.unwrap_err();
        (error.code.into_owned(), error.message)
    }

    /// Prints as a function does.
    fn print(&self, stream: &str, at: i64, message: &str) {
        let event = LogEvent { at: Timestamp::from_millis(at), message: message.to_owned() };
        self.logs.append(&self.scope, GROUP, stream, vec![event]);
    }

    /// All items of a paginated operation, following `nextToken`.
    async fn pages(&self, operation: &str, mut input: Value, list: &str) -> Vec<Value> {
        let mut items = Vec::new();
        loop {
            let page = self.call(operation, input.clone()).await;
            items.extend(page[list].as_array().unwrap().clone());
            match &page["nextToken"] {
                Value::Null => return items,
                token => {
                    assert_ne!(input["nextToken"], *token, "a page makes progress");
                    input["nextToken"] = token.clone();
                }
            }
        }
    }
}

/// Whatever is answered has the names that the service model knows.
fn check_members(service: &Service, shape: ShapeId, value: &Value) {
    match (&service.shape(shape).kind, value) {
        (Kind::Structure(structure), Value::Object(members)) => {
            for (name, value) in members {
                let member = structure.members.iter().find(|member| member.name == *name);
                let member = member.unwrap_or_else(|| panic!("{name} is in the model"));
                check_members(service, member.shape, value);
            }
        }
        (Kind::List { element, .. }, Value::Array(elements)) => {
            elements.iter().for_each(|value| check_members(service, element.shape, value));
        }
        (Kind::Structure(_) | Kind::List { .. }, other) => {
            assert!(other.is_null(), "{other} has the shape {}", service.shape(shape).name);
        }
        _ => {}
    }
}

fn messages(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn groups_live_from_making_to_deleting() {
    let bench = Bench::new();
    let group = json!({ "logGroupName": GROUP });
    let not_found = (
        "ResourceNotFoundException".to_owned(),
        "The specified log group does not exist.".to_owned(),
    );
    assert_eq!(bench.refused("DeleteLogGroup", group.clone()).await, not_found);
    bench.call("CreateLogGroup", json!({ "logGroupName": GROUP, "tags": {"a": "b"} })).await;
    let twice = bench.refused("CreateLogGroup", group.clone()).await;
    assert_eq!(twice.0, "ResourceAlreadyExistsException");
    assert_eq!(twice.1, "The specified log group already exists");
    bench.call("PutRetentionPolicy", json!({ "logGroupName": GROUP, "retentionInDays": 7 })).await;
    let odd = json!({ "logGroupName": GROUP, "retentionInDays": 2 });
    assert_eq!(bench.refused("PutRetentionPolicy", odd).await.0, "InvalidParameterException");

    bench.print("s", NOW, "hello");
    let described = bench.call("DescribeLogGroups", json!({})).await;
    let stored = described["logGroups"][0]["storedBytes"].as_u64().unwrap();
    assert!(stored > 50);
    let arn = format!("arn:aws:logs:eu-west-1:000000000000:log-group:{GROUP}");
    assert_eq!(
        described["logGroups"],
        json!([{ "logGroupName": GROUP, "creationTime": NOW, "retentionInDays": 7,
            "metricFilterCount": 0, "arn": format!("{arn}:*"), "logGroupArn": arn,
            "storedBytes": stored, "logGroupClass": "STANDARD",
            "deletionProtectionEnabled": false }])
    );
    bench.call("DeleteRetentionPolicy", group.clone()).await;
    let described = bench.call("DescribeLogGroups", json!({})).await;
    assert_eq!(described["logGroups"][0].get("retentionInDays"), None);
    bench.call("DeleteLogGroup", group.clone()).await;
    assert_eq!(bench.refused("DescribeLogStreams", group).await, not_found);
    let guarded = json!({ "logGroupName": "g", "deletionProtectionEnabled": true });
    bench.call("CreateLogGroup", guarded).await;
    let group = json!({ "logGroupName": "g" });
    assert_eq!(bench.refused("DeleteLogGroup", group).await.0, "ValidationException");
    assert_eq!(
        bench.refused("CreateLogGroup", json!({ "logGroupName": "a b" })).await.1,
        "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
    );
}

#[tokio::test]
async fn groups_and_streams_are_listed_once_each_whatever_the_page() {
    let bench = Bench::new();
    for n in 0..12 {
        bench.call("CreateLogGroup", json!({ "logGroupName": format!("g{n:02}") })).await;
        bench.print(&format!("s{n:02}"), NOW - (n * 5 % 12), "x");
    }
    bench.call("CreateLogStream", json!({ "logGroupName": GROUP, "logStreamName": "empty" })).await;
    let names = |items: &[Value], name: &str| -> Vec<String> {
        items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
    };
    for limit in [1, 5, 50] {
        let input = json!({ "logGroupNamePrefix": "g", "limit": limit });
        let groups = bench.pages("DescribeLogGroups", input, "logGroups").await;
        let expected: Vec<_> = (0..12).map(|n| format!("g{n:02}")).collect();
        assert_eq!(names(&groups, "logGroupName"), expected);
        let input = json!({ "logGroupNamePattern": "ambda", "limit": limit });
        assert_eq!(bench.pages("DescribeLogGroups", input, "logGroups").await.len(), 1);

        let input = json!({ "logGroupName": GROUP, "limit": limit, "descending": true });
        let streams = bench.pages("DescribeLogStreams", input, "logStreams").await;
        let mut expected: Vec<_> = (0..12).map(|n| format!("s{n:02}")).collect();
        expected.insert(0, "empty".into());
        expected.reverse();
        assert_eq!(names(&streams, "logStreamName"), expected);
        let mut input = json!({ "logGroupIdentifier": GROUP, "limit": limit,
            "orderBy": "LastEventTime", "descending": true });
        let streams = bench.pages("DescribeLogStreams", input.clone(), "logStreams").await;
        assert!(streams[0]["lastEventTimestamp"].is_i64());
        let times: Vec<_> = streams.iter().map(|s| s["lastEventTimestamp"].as_i64()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
        assert_eq!(streams.len(), 13);
        input["logStreamNamePrefix"] = "s".into();
        assert_eq!(
            bench.refused("DescribeLogStreams", input).await.1,
            "Cannot order by LastEventTime with a logStreamNamePrefix."
        );
    }
    let both = json!({ "logGroupNamePattern": "g", "logGroupNamePrefix": "g" });
    assert_eq!(bench.refused("DescribeLogGroups", both).await.0, "InvalidParameterException");
    let many = json!({ "limit": 51 });
    assert_eq!(bench.refused("DescribeLogGroups", many).await.0, "InvalidParameterException");
}

#[tokio::test]
async fn tags_by_arn_and_by_name() {
    let bench = Bench::new();
    bench.call("CreateLogGroup", json!({ "logGroupName": "g", "tags": {"a": "1"} })).await;
    let arn = "arn:aws:logs:eu-west-1:000000000000:log-group:g";
    bench.call("TagResource", json!({ "resourceArn": arn, "tags": {"b": "2"} })).await;
    bench.call("TagLogGroup", json!({ "logGroupName": "g", "tags": {"c": "3"} })).await;
    let star = json!({ "resourceArn": format!("{arn}:*") });
    let tags = bench.call("ListTagsForResource", star).await;
    assert_eq!(tags["tags"], json!({ "a": "1", "b": "2", "c": "3" }));
    bench.call("UntagResource", json!({ "resourceArn": arn, "tagKeys": ["a"] })).await;
    bench.call("UntagLogGroup", json!({ "logGroupName": "g", "tags": ["b"] })).await;
    let tags = bench.call("ListTagsLogGroup", json!({ "logGroupName": "g" })).await;
    assert_eq!(tags["tags"], json!({ "c": "3" }));
    let many: Map<String, Value> = (0..50).map(|n| (format!("k{n}"), "v".into())).collect();
    let many = json!({ "resourceArn": arn, "tags": many });
    assert_eq!(bench.refused("TagResource", many).await.0, "TooManyTagsException");
}

#[tokio::test]
async fn deleted_streams_are_gone_and_everything_outlives_a_restart() {
    let bench = Bench::new();
    bench.print("gone", NOW, "secret");
    bench.print("kept", NOW, "hello");
    bench.call("DeleteLogStream", json!({ "logGroupName": GROUP, "logStreamName": "gone" })).await;
    let twice = json!({ "logGroupName": GROUP, "logStreamName": "gone" });
    assert_eq!(bench.refused("DeleteLogStream", twice).await.0, "ResourceNotFoundException");
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.logs.env.tasks.shut_down(Duration::from_secs(30)).await);
    bench.logs.intake.reclaim();
    let left = std::fs::read_dir(bench.dir.path().join("000000000000/eu-west-1/+aws+lambda+f"));
    for file in left.unwrap().map(|file| file.unwrap().path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("secret"), "{}", file.display());
    }
    let again = Logs::open(bench.dir.path(), Env::system()).unwrap();
    let input = json!({ "logGroupName": GROUP }).as_object().cloned().unwrap();
    let found = again.call("FilterLogEvents", &bench.scope, input.clone()).await.unwrap();
    assert_eq!(messages(&found.members["events"]), ["hello"]);
    let streams = again.call("DescribeLogStreams", &bench.scope, input).await.unwrap();
    assert_eq!(streams.members["logStreams"][0]["lastIngestionTime"], NOW);
    assert!(again.env.tasks.shut_down(Duration::from_secs(30)).await);
}

#[tokio::test]
async fn operations_are_listed_and_others_are_unknown() {
    let bench = Bench::new();
    assert!(OPERATIONS.is_sorted());
    let service = lamplight_wire::service("logs").unwrap();
    for operation in OPERATIONS {
        assert!(service.operation(operation).is_some(), "{operation}");
        let refused = bench.try_call(operation, json!({ "limit": 0 })).await.unwrap_err();
        assert_ne!(refused.code, "UnknownOperationException", "{operation}");
    }
    assert_eq!(bench.refused("StartQuery", json!({})).await.0, "UnknownOperationException");
}
