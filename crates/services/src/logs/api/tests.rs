//! The operations as the command line tools and SDKs use them.

use super::*;
use lamplight_env::{ManualClock, OsRandom, Tasks, Timestamp};
use lamplight_model::AccountId;
use serde_json::json;
use std::collections::HashSet;
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
        self.logs.call(operation, &self.scope, input).await.map(|output| output.members)
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
async fn put_keeps_awss_limits() {
    let bench = Bench::new();
    bench.call("CreateLogGroup", json!({ "logGroupName": "g" })).await;
    let put =
        |events: Value| json!({ "logGroupName": "g", "logStreamName": "s", "logEvents": events });
    let event = |at: i64, message: &str| json!({ "timestamp": at, "message": message });
    let one = put(json!([event(NOW, "x")]));
    assert_eq!(
        bench.refused("PutLogEvents", one.clone()).await.1,
        "The specified log stream does not exist."
    );
    bench.call("CreateLogStream", json!({ "logGroupName": "g", "logStreamName": "s" })).await;
    let again = json!({ "logGroupName": "g", "logStreamName": "s" });
    assert_eq!(
        bench.refused("CreateLogStream", again).await.1,
        "The specified log stream already exists"
    );
    let answer = bench.call("PutLogEvents", one).await;
    assert_eq!(answer["nextSequenceToken"].as_str().unwrap().len(), 56);
    assert_eq!(answer["rejectedLogEventsInfo"], Value::Null);

    let hour = 3_600_000;
    let old = put(json!([event(NOW - 14 * DAY - 1, "old"), event(NOW - 14 * DAY, "kept")]));
    let answer = bench.call("PutLogEvents", old).await;
    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "tooOldLogEventEndIndex": 1 }));
    let new = put(json!([event(NOW + 2 * hour, "kept too"), event(NOW + 2 * hour + 1, "new")]));
    let answer = bench.call("PutLogEvents", new).await;
    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "tooNewLogEventStartIndex": 1 }));
    bench.call("PutRetentionPolicy", json!({ "logGroupName": "g", "retentionInDays": 1 })).await;
    let expired = put(json!([event(NOW - DAY - 1, "expired"), event(NOW - DAY, "not yet")]));
    let answer = bench.call("PutLogEvents", expired).await;
    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "expiredLogEventEndIndex": 1 }));
    bench.call("DeleteRetentionPolicy", json!({ "logGroupName": "g" })).await;

    let full = "x".repeat(262_144 - 26);
    let at_limit: Vec<_> = (0..4).map(|n| event(NOW + n, &full)).collect();
    bench.call("PutLogEvents", put(at_limit.clone().into())).await;
    let mut over = at_limit;
    over[0]["message"] = format!("{full}x").into();
    let many: Vec<_> = (0..10_001).map(|_| event(NOW, "x")).collect();
    for (bad, text) in [
        (Value::from(over), "Upload too large: 1048577 bytes exceeds limit of 1048576"),
        (many.into(), "1 validation error detected: Value '10001 events'"),
        (json!([]), "1 validation error detected"),
        (json!([event(NOW, "")]), "1 validation error detected"),
        (json!([event(-1, "x")]), "1 validation error detected"),
        (
            json!([event(NOW, "b"), event(NOW - 1, "a")]),
            "Log events in a single PutLogEvents request must be in chronological order.",
        ),
        (
            json!([event(NOW - DAY - 1, "a"), event(NOW, "b")]),
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ),
    ] {
        let (code, message) = bench.refused("PutLogEvents", put(bad)).await;
        assert_eq!(code, "InvalidParameterException");
        assert!(message.starts_with(text), "{message}");
    }
    let odd = bench.refused("PutLogEvents", put(json!([{ "timestamp": "x" }]))).await;
    assert_eq!(odd.0, "SerializationException");
    let kept = bench.pages("FilterLogEvents", json!({ "logGroupName": "g" }), "events").await;
    assert_eq!(kept.len(), 1 + 1 + 1 + 1 + 4);
}

#[tokio::test]
async fn one_stream_is_read_either_way_with_awss_tokens() {
    let bench = Bench::new();
    let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    for n in 0..10 {
        // Ties in time, and another stream in between.
        bench.print("s", NOW + n / 3, &n.to_string());
        bench.print("other", NOW + n / 3, "other");
    }
    let base = json!({ "logGroupName": GROUP, "logStreamName": "s", "limit": 3 });
    let with = |member: &str, value: Value| {
        let mut input = base.clone();
        input[member] = value;
        input
    };
    let mut input = with("startFromHead", true.into());
    let mut seen: Vec<String> = Vec::new();
    let end = loop {
        let page = bench.call("GetLogEvents", input.clone()).await;
        seen.extend(messages(&page["events"]).into_iter().map(str::to_owned));
        if page["nextForwardToken"] == input["nextToken"] {
            break page;
        }
        input["nextToken"] = page["nextForwardToken"].clone();
    };
    assert_eq!(seen, expected);
    // Back again from the end, over the same events.
    let mut input = with("nextToken", end["nextBackwardToken"].clone());
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = bench.call("GetLogEvents", input.clone()).await;
        seen.splice(0..0, messages(&page["events"]).into_iter().map(str::to_owned));
        if page["nextBackwardToken"] == input["nextToken"] {
            // And forward once more from the very beginning.
            let input = with("nextToken", page["nextForwardToken"].clone());
            let page = bench.call("GetLogEvents", input).await;
            assert_eq!(messages(&page["events"]), ["0", "1", "2"]);
            break;
        }
        input["nextToken"] = page["nextBackwardToken"].clone();
    }
    assert_eq!(seen, expected);
    // The newest first, and what comes after it later.
    let page = bench.call("GetLogEvents", base.clone()).await;
    assert_eq!(messages(&page["events"]), ["7", "8", "9"]);
    bench.print("s", NOW + 9, "late");
    let input = with("nextToken", page["nextForwardToken"].clone());
    assert_eq!(messages(&bench.call("GetLogEvents", input).await["events"]), ["late"]);
    // The end of the range is not part of it.
    let mut range = with("startTime", (NOW + 1).into());
    range["endTime"] = (NOW + 2).into();
    let page = bench.call("GetLogEvents", range).await;
    assert_eq!(messages(&page["events"]), ["3", "4", "5"]);
    assert_eq!(page["events"][0]["ingestionTime"], NOW);
    for bad in [
        "x",
        "f/1/s",
        "f//s",
        "b/00/s",
        "g/00000000000000000000000000000000000000000000000000000000/s",
    ] {
        let refused = bench.refused("GetLogEvents", with("nextToken", bad.into())).await;
        assert_eq!(refused.1, "The specified nextToken is invalid.", "{bad}");
    }
    let far = format!("f/{}/s", "9".repeat(56));
    assert!(bench.try_call("GetLogEvents", with("nextToken", far.into())).await.is_err());
    let missing = with("logStreamName", "missing".into());
    assert_eq!(
        bench.refused("GetLogEvents", missing).await.1,
        "The specified log stream does not exist."
    );
}

#[tokio::test]
async fn a_search_finds_each_event_once_and_a_follower_misses_none() {
    let bench = Bench::new();
    for n in 0..60i64 {
        let level = if n % 4 == 0 { "ERROR" } else { "INFO" };
        let line = format!(r#"{{"level":"{level}","n":{n}}}"#);
        bench.print(["a1", "a2", "b"][(n % 3) as usize], NOW + n / 5, &line);
    }
    let base = json!({ "logGroupName": GROUP, "interleaved": true });
    for limit in [1, 7, 10_000] {
        for (pattern, count) in [("", 60), ("ERROR", 15), ("{ $.n >= 50 && $.level = INFO }", 8)] {
            let mut input = base.clone();
            input["limit"] = limit.into();
            input["filterPattern"] = pattern.into();
            let found = bench.pages("FilterLogEvents", input, "events").await;
            let ids: HashSet<_> = found.iter().map(|e| e["eventId"].as_str().unwrap()).collect();
            assert_eq!((found.len(), ids.len()), (count, count), "{pattern:?} by {limit}");
            assert!(found.is_sorted_by_key(|event| event["timestamp"].as_i64()));
        }
    }
    let mut by_prefix = base.clone();
    by_prefix["logStreamNamePrefix"] = "a".into();
    assert_eq!(bench.pages("FilterLogEvents", by_prefix.clone(), "events").await.len(), 40);
    by_prefix["logStreamNames"] = json!(["b"]);
    assert!(bench.try_call("FilterLogEvents", by_prefix).await.is_err());
    let mut by_name = base.clone();
    by_name["logStreamNames"] = json!(["b", "a1"]);
    // Both ends are part of the range.
    by_name["startTime"] = NOW.into();
    by_name["endTime"] = NOW.into();
    let found = bench.pages("FilterLogEvents", by_name.clone(), "events").await;
    assert_eq!(found.len(), 3);
    assert_eq!(found[0]["logStreamName"], "a1");
    by_name["logStreamNames"] = json!(["missing"]);
    assert_eq!(
        bench.refused("FilterLogEvents", by_name).await.1,
        "The specified log stream does not exist."
    );
    let mut bad = base.clone();
    bad["filterPattern"] = "{ $.x".into();
    let refused = bench.refused("FilterLogEvents", bad).await;
    assert_eq!(refused, ("InvalidParameterException".into(), "Invalid filter pattern".into()));

    // As `aws logs tail --follow` does: again from the newest time seen, leaving out known ids.
    let (mut from, mut known) = (NOW + 12, HashSet::new());
    for round in 0..5 {
        for n in 0..3 {
            bench.print("a1", NOW + 12 + round, &format!("{round} {n}"));
        }
        let mut input = base.clone();
        input["startTime"] = from.into();
        input["limit"] = 2.into();
        for event in bench.pages("FilterLogEvents", input, "events").await {
            from = from.max(event["timestamp"].as_i64().unwrap());
            known.insert(event["eventId"].as_str().unwrap().to_owned());
        }
        assert_eq!(known.len(), 3 * (round as usize + 1));
    }
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
    for operation in OPERATIONS {
        let refused = bench.try_call(operation, json!({ "limit": 0 })).await.unwrap_err();
        assert_ne!(refused.code, "UnknownOperationException", "{operation}");
    }
    assert_eq!(bench.refused("StartQuery", json!({})).await.0, "UnknownOperationException");
}
