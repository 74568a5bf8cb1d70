//! Whether a filter's pattern is one: the grammar of event patterns. Pure; nothing is matched here.

use serde_json::{Map, Value};

/// Whether `text` is a pattern.
pub fn is_valid(text: &str) -> bool {
    match serde_json::from_str(text) {
        Ok(Value::Object(pattern)) => is_pattern(&pattern),
        _ => false,
    }
}

fn is_pattern(pattern: &Map<String, Value>) -> bool {
    !pattern.is_empty()
        && pattern.iter().all(|(name, value)| match value {
            Value::Object(inner) => is_pattern(inner),
            Value::Array(choices) if name == "$or" => {
                choices.len() > 1
                    && choices.iter().all(|choice| choice.as_object().is_some_and(is_pattern))
            }
            Value::Array(rules) => !rules.is_empty() && rules.iter().all(is_rule),
            _ => false,
        })
}

/// One of the things that a field may be.
fn is_rule(rule: &Value) -> bool {
    let Value::Object(rule) = rule else { return !rule.is_array() };
    let mut members = rule.iter();
    let (Some((name, argument)), None) = (members.next(), members.next()) else { return false };
    match name.as_str() {
        "prefix" | "suffix" => argument.is_string() || is_caseless(argument),
        "equals-ignore-case" | "wildcard" | "cidr" => argument.is_string(),
        "exists" => argument.is_boolean(),
        "numeric" => argument.as_array().is_some_and(|range| is_range(range)),
        "anything-but" => is_anything_but(argument),
        _ => false,
    }
}

fn is_caseless(argument: &Value) -> bool {
    argument.as_object().is_some_and(|members| {
        members.len() == 1 && members.get("equals-ignore-case").is_some_and(Value::is_string)
    })
}

fn is_anything_but(argument: &Value) -> bool {
    let all = |items: &[Value], is: fn(&Value) -> bool| !items.is_empty() && items.iter().all(is);
    let text_or_texts = |value: &Value| {
        value.is_string() || value.as_array().is_some_and(|items| all(items, Value::is_string))
    };
    match argument {
        Value::String(_) | Value::Number(_) => true,
        Value::Array(items) => all(items, |item| item.is_string() || item.is_number()),
        Value::Object(members) => {
            members.len() == 1
                && members.iter().all(|(name, value)| {
                    matches!(name.as_str(), "prefix" | "suffix" | "equals-ignore-case" | "wildcard")
                        && text_or_texts(value)
                })
        }
        _ => false,
    }
}

/// `["=", 5]`, `["<", 10]`, or a lower and an upper bound in that order.
fn is_range(range: &[Value]) -> bool {
    match range {
        [operator, bound] => {
            bound.is_number() && matches!(operator.as_str(), Some("=" | "<" | "<=" | ">" | ">="))
        }
        [lower, from, upper, to] => {
            let (Some(from), Some(to)) = (from.as_f64(), to.as_f64()) else { return false };
            matches!(lower.as_str(), Some(">" | ">="))
                && matches!(upper.as_str(), Some("<" | "<="))
                && from < to
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guide_shows_is_valid() {
        for pattern in [
            r#"{"body":{"item":["x",1,true,null,""]}}"#,
            r#"{"a":[{"prefix":"p"},{"suffix":{"equals-ignore-case":".PNG"}}]}"#,
            r#"{"a":[{"anything-but":["x",2]}],"b":[{"anything-but":{"prefix":"p"}}]}"#,
            r#"{"a":[{"numeric":[">",0,"<=",5]}],"b":[{"numeric":["=",3.1]}]}"#,
            r#"{"a":[{"exists":false}],"b":[{"equals-ignore-case":"x"}],"c":[{"cidr":"10.0.0.0/8"}]}"#,
            r#"{"$or":[{"a":["x"]},{"b":[{"wildcard":"*z"}]}]}"#,
        ] {
            assert!(is_valid(pattern), "{pattern}");
        }
    }

    #[test]
    fn other_texts_are_not() {
        for pattern in [
            "",
            "null",
            "\"simple string\"",
            "[]",
            "{}",
            "{",
            r#"{"eventSource":"aws:sqs"}"#,
            r#"{"eventSource":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[["x"]]}"#,
            r#"{"a":[{}]}"#,
            r#"{"a":[{"prefix":"p","suffix":"s"}]}"#,
            r#"{"a":[{"sounds-like":"p"}]}"#,
            r#"{"a":[{"numeric":["<",5,">",0]}]}"#,
            r#"{"a":[{"numeric":[">",5,"<",5]}]}"#,
            r#"{"a":[{"numeric":["about",5]}]}"#,
            r#"{"a":[{"anything-but":[]}]}"#,
            r#"{"$or":[{"a":["x"]}]}"#,
            r#"{"$or":["a","b"]}"#,
            r#"{"a":[{"exists":"yes"}]}"#,
        ] {
            assert!(!is_valid(pattern), "{pattern}");
        }
        assert!(!is_valid(&r#"{"a":"#.repeat(5_000)));
    }
}
