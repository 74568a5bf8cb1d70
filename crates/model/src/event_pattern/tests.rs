//! Patterns and what they match.

use super::*;
use serde_json::json;

#[track_caller]
fn check(pattern: Value, yes: &[Value], no: &[Value]) {
    let read = EventPattern::read(&pattern).unwrap();
    for document in yes {
        assert!(read.matches(document), "{pattern} should match {document}");
    }
    for document in no {
        assert!(!read.matches(document), "{pattern} should not match {document}");
    }
}

#[test]
fn values_match_exactly_and_any_of_a_list_does() {
    check(
        json!({"a": ["x", 1, null, true]}),
        &[json!({"a": "x"}), json!({"a": 1.0}), json!({"a": null}), json!({"a": ["y", true]})],
        &[json!({}), json!({"a": "X"}), json!({"a": "1"}), json!({"a": []}), json!("x")],
    );
}

#[test]
fn all_names_have_to_match_however_deep() {
    check(
        json!({"a": {"b": ["x"]}, "c": [1]}),
        &[json!({"a": {"b": "x", "z": 0}, "c": 1}), json!({"a": [{"b": "y"}, {"b": "x"}], "c": 1})],
        &[json!({"a": {"b": "x"}}), json!({"a": "x", "c": 1}), json!({"c": 1})],
    );
    check(
        json!({"$or": [{"a": [1]}, {"b": [2]}], "c": [3]}),
        &[json!({"a": 1, "c": 3}), json!({"b": 2, "c": 3})],
        &[json!({"a": 1}), json!({"a": 2, "b": 1, "c": 3})],
    );
    // A name that is called so and holds values is a name.
    check(json!({"$or": ["x"]}), &[json!({"$or": "x"})], &[json!({})]);
}

#[test]
fn texts_are_compared_by_their_parts() {
    check(json!({"a": [{"prefix": "ab"}]}), &[json!({"a": "abc"})], &[json!({"a": "ba"})]);
    check(json!({"a": [{"suffix": ".png"}]}), &[json!({"a": "x.png"})], &[json!({"a": "x"})]);
    check(
        json!({"a": [{"equals-ignore-case": "AbÉ"}]}),
        &[json!({"a": "aBé"})],
        &[json!({"a": "ab"}), json!({"a": 1})],
    );
    check(
        json!({"a": [{"wildcard": "a*b\\*c*"}]}),
        &[json!({"a": "ab*c"}), json!({"a": "axxb b*czz"})],
        &[json!({"a": "abc"}), json!({"a": "xab*c"}), json!({"a": ""})],
    );
    check(
        json!({"a": [{"cidr": "10.0.0.0/24"}]}),
        &[json!({"a": "10.0.0.255"})],
        &[json!({"a": "10.0.1.0"}), json!({"a": "::1"}), json!({"a": "x"})],
    );
    check(
        json!({"a": [{"cidr": "::/0"}]}),
        &[json!({"a": "2001:db8::1"})],
        &[json!({"a": "1.2.3.4"})],
    );
}

#[test]
fn numbers_are_compared() {
    check(
        json!({"a": [{"numeric": [">", 0, "<=", 5]}]}),
        &[json!({"a": 5}), json!({"a": 0.5}), json!({"a": [9, 1]})],
        &[json!({"a": 0}), json!({"a": 6}), json!({"a": "3"})],
    );
    check(json!({"a": [{"numeric": ["=", 3.0]}]}), &[json!({"a": 3})], &[json!({"a": 4})]);
}

#[test]
fn absence_is_asked_for() {
    check(json!({"a": [{"exists": true}]}), &[json!({"a": null})], &[json!({}), json!({"a": {}})]);
    check(json!({"a": [{"exists": false}]}), &[json!({}), json!({"a": {}})], &[json!({"a": 0})]);
    check(json!({"a": {"b": [{"exists": false}]}}), &[json!({"a": {}}), json!({})], &[]);
}

#[test]
fn anything_but_is_true_of_what_is_there() {
    check(
        json!({"a": [{"anything-but": ["x", 1]}]}),
        &[json!({"a": "y"}), json!({"a": 2}), json!({"a": null})],
        &[json!({"a": "x"}), json!({"a": 1}), json!({}), json!({"a": ["y", "x"]})],
    );
    check(json!({"a": [{"anything-but": "x"}]}), &[json!({"a": "y"})], &[json!({"a": "x"})]);
    check(
        json!({"a": [{"anything-but": {"prefix": "x"}}]}),
        &[json!({"a": "y"})],
        &[json!({"a": "xy"})],
    );
    check(
        json!({"a": [{"anything-but": {"suffix": ["x", "y"]}}]}),
        &[json!({"a": "z"})],
        &[json!({"a": "ay"})],
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for strange in [
        json!([]),
        json!({"a": "x"}),
        json!({"a": []}),
        json!({"a": {}}),
        json!({"a": [[1]]}),
        json!({"a": [{"prefix": 1}]}),
        json!({"a": [{"prefix": "x", "suffix": "y"}]}),
        json!({"a": [{"like": "x"}]}),
        json!({"a": [{"numeric": [">"]}]}),
        json!({"a": [{"numeric": ["~", 1]}]}),
        json!({"a": [{"cidr": "10.0.0.0/33"}]}),
        json!({"a": [{"anything-but": []}]}),
        json!({"a": [{"anything-but": {"exists": true}}]}),
        json!({"a": [{"wildcard": "a**"}]}),
        json!({"$or": [{"a": [1]}]}),
    ] {
        assert!(EventPattern::read(&strange).is_err(), "{strange}");
    }
    let many: Vec<u32> = (0..=MOST_RULES as u32).collect();
    assert_eq!(EventPattern::read(&json!({"a": many})), Err(PatternError::TooLarge));
    let deep = (0..40).fold(json!({"a": [1]}), |below, _| json!({"a": below}));
    assert_eq!(EventPattern::read(&deep), Err(PatternError::TooLarge));
}

#[test]
fn a_wildcard_of_many_stars_takes_no_longer_than_the_product() {
    let pattern = json!({"a": [{"wildcard": format!("{}b", "a*".repeat(500))}]});
    check(pattern, &[], &[json!({"a": "a".repeat(20_000)})]);
}
