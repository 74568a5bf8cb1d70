//! Statements of resource policies as AddPermission makes them.

use super::settings::{invalid, text};
use lamplight_wire::ApiError;
use serde_json::{Map, Value, json};

/// The statement that the members of an AddPermission request describe, in AWS's order.
pub fn build(input: &Map<String, Value>, resource: &str) -> Result<Value, ApiError> {
    let member = |name: &str| text(input, name).unwrap_or_default();
    let mut statement = Map::new();
    let mut set = |name: &str, value: Value| statement.insert(name.to_owned(), value);
    set("Sid", json!(member("StatementId")));
    set("Effect", json!("Allow"));
    set("Principal", principal(&member("Principal"))?);
    set("Action", json!(member("Action")));
    set("Resource", json!(resource));
    let condition = condition(input);
    if !condition.is_empty() {
        set("Condition", Value::Object(condition));
    }
    Ok(Value::Object(statement))
}

/// A service's name, an account's number, an ARN of an identity, or everybody.
pub fn principal(given: &str) -> Result<Value, ApiError> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if given == "*" {
        return Ok(json!("*"));
    }
    if is_account(given) {
        // AWS: stored as the account's root user.
        return Ok(json!({ "AWS": format!("arn:aws:iam::{given}:root") }));
    }
    if is_service(given) {
        return Ok(json!({ "Service": given }));
    }
    let parts: Vec<&str> = given.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam" | "sts", "", account, name] if is_account(account) && !name.is_empty() => {
            Ok(json!({ "AWS": given }))
        }
        _ => Err(invalid(
            "The provided principal was invalid. Please check the principal and try again.",
        )),
    }
}

fn is_service(name: &str) -> bool {
    let name = name.strip_suffix(".cn").unwrap_or(name);
    let labels = |labels: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        labels.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
    };
    name.strip_suffix(".amazonaws.com").is_some_and(labels)
}

fn condition(input: &Map<String, Value>) -> Map<String, Value> {
    let mut equals = Map::new();
    for (member, key) in [
        ("FunctionUrlAuthType", "lambda:FunctionUrlAuthType"),
        ("PrincipalOrgID", "aws:PrincipalOrgID"),
        ("SourceAccount", "AWS:SourceAccount"),
        ("EventSourceToken", "lambda:EventSourceToken"),
    ] {
        if let Some(value) = text(input, member) {
            equals.insert(key.to_owned(), json!(value));
        }
    }
    let mut condition = Map::new();
    if !equals.is_empty() {
        condition.insert("StringEquals".to_owned(), Value::Object(equals));
    }
    if let Some(via_url) = input.get("InvokedViaFunctionUrl").and_then(Value::as_bool) {
        let value = json!({ "lambda:InvokedViaFunctionUrl": via_url.to_string() });
        condition.insert("Bool".to_owned(), value);
    }
    if let Some(source) = text(input, "SourceArn") {
        condition.insert("ArnLike".to_owned(), json!({ "AWS:SourceArn": source }));
    }
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f:live";

    fn built(extra: Value) -> Result<Value, ApiError> {
        let mut input = json!({ "StatementId": "s1", "Action": "lambda:InvokeFunction" });
        input.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        build(input.as_object().unwrap(), ARN)
    }

    #[test]
    fn statements_have_the_shape_that_tools_parse() {
        let statement = built(json!({
            "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::b", "SourceAccount": "111111111111",
        }));
        assert_eq!(
            statement.unwrap().to_string(),
            format!(
                r#"{{"Sid":"s1","Effect":"Allow","Principal":{{"Service":"s3.amazonaws.com"}},"Action":"lambda:InvokeFunction","Resource":"{ARN}","Condition":{{"StringEquals":{{"AWS:SourceAccount":"111111111111"}},"ArnLike":{{"AWS:SourceArn":"arn:aws:s3:::b"}}}}}}"#
            )
        );
        let url = built(json!({
            "Principal": "*", "FunctionUrlAuthType": "NONE", "InvokedViaFunctionUrl": true,
            "PrincipalOrgID": "o-1234567890",
        }))
        .unwrap();
        assert_eq!(url["Principal"], "*");
        assert_eq!(
            url["Condition"],
            json!({
                "StringEquals": {
                    "lambda:FunctionUrlAuthType": "NONE", "aws:PrincipalOrgID": "o-1234567890",
                },
                "Bool": { "lambda:InvokedViaFunctionUrl": "true" },
            })
        );
    }

    #[test]
    fn principals_are_accounts_services_identities_or_everybody() {
        let shown =
            |given: &str| built(json!({ "Principal": given })).map(|s| s["Principal"].clone());
        let root = json!({ "AWS": "arn:aws:iam::111111111111:root" });
        assert_eq!(shown("111111111111").unwrap(), root);
        let user = "arn:aws:iam::111111111111:user/a/b";
        assert_eq!(shown(user).unwrap(), json!({ "AWS": user }));
        assert!(built(json!({ "Principal": "*" })).unwrap().get("Condition").is_none());
        for bad in [
            "",
            "invalid.nonaws.com",
            "amazonaws.com",
            ".amazonaws.com",
            "arn:aws:iam::1:user/a",
            "arn:aws:s3:::b",
            "12345",
        ] {
            assert_eq!(
                shown(bad).unwrap_err().message,
                "The provided principal was invalid. Please check the principal and try again."
            );
        }
    }
}
