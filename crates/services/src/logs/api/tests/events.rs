//! Putting events, reading a stream and searching many.

use super::{Bench, DAY, GROUP, NOW, messages};
use serde_json::{Value, json};
use std::collections::HashSet;

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
