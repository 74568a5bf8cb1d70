//! Policy documents: checked when they are written, and read into what evaluation needs.
//!
//! Whatever a document says that is not understood here makes it unreadable, and an unreadable
//! document is refused where it is written and denies where it is read.

use super::condition::Condition;
use serde_json::{Map, Value};
use thiserror::Error;

/// Where a document is attached decides what its statements must and must not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of a user, a role, a session or as a boundary: names resources and no principal.
    Identity,
    /// Of a resource: names principals.
    Resource,
    /// Who may assume a role: names principals and no resource.
    Trust,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub statements: Vec<Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub effect: Effect,
    /// Absent in identity policies, which are about whoever they are attached to.
    pub principals: Option<Principals>,
    pub actions: Patterns,
    /// Absent in trust policies, and in resource policies about the whole resource.
    pub resources: Option<Patterns>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Patterns {
    /// `NotAction`, `NotResource`: everything but these.
    pub negated: bool,
    pub patterns: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Principals {
    /// `NotPrincipal`.
    pub negated: bool,
    pub everybody: bool,
    /// ARNs, and accounts by their number.
    pub aws: Vec<String>,
    pub services: Vec<String>,
}

/// AWS: the texts of `MalformedPolicyDocument`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("This policy contains invalid Json")]
    Json,
    #[error("Syntax errors in policy.")]
    Syntax,
    #[error("The policy must contain a valid version string")]
    Version,
    #[error("Policy statement must contain actions.")]
    NoActions,
    #[error("Policy statement must contain resources.")]
    NoResources,
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    Vendor,
    #[error("Resource must be in ARN format or \"*\".")]
    ResourceForm,
    #[error("Policy document should not specify a principal.")]
    Principal,
    #[error("Missing required field Principal")]
    NoPrincipal,
    #[error("Has prohibited field Resource")]
    Resource,
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    SameSid,
}

impl Document {
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        let value = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
        Self::read(&value, kind)
    }

    pub fn read(value: &Value, kind: Kind) -> Result<Self, Malformed> {
        let fields = value.as_object().ok_or(Malformed::Syntax)?;
        known(fields, &["Version", "Id", "Statement"])?;
        match fields.get("Version").map(Value::as_str) {
            None | Some(Some("2012-10-17" | "2008-10-17")) => {}
            Some(_) => return Err(Malformed::Version),
        }
        let statements = match fields.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => return Err(Malformed::Syntax),
        };
        let mut sids: Vec<_> = statements.iter().filter_map(|s| s.get("Sid")?.as_str()).collect();
        sids.retain(|sid| !sid.is_empty());
        sids.sort_unstable();
        if sids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Malformed::SameSid);
        }
        let statements = statements.into_iter().map(|statement| read_statement(statement, kind));
        Ok(Self { statements: statements.collect::<Result<_, _>>()? })
    }
}

fn known(fields: &Map<String, Value>, names: &[&str]) -> Result<(), Malformed> {
    let all = fields.keys().all(|field| names.contains(&field.as_str()));
    if all { Ok(()) } else { Err(Malformed::Syntax) }
}

fn read_statement(statement: &Value, kind: Kind) -> Result<Statement, Malformed> {
    let fields = statement.as_object().ok_or(Malformed::Syntax)?;
    known(
        fields,
        &[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ],
    )?;
    let effect = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(Malformed::Syntax),
    };
    let actions = patterns(fields, "Action", "NotAction")?.ok_or(Malformed::NoActions)?;
    let prefaced = |action: &String| action == "*" || action.contains(':');
    if !actions.patterns.iter().all(prefaced) {
        return Err(Malformed::Vendor);
    }
    let resources = patterns(fields, "Resource", "NotResource")?;
    match (kind, &resources) {
        (Kind::Identity, None) => return Err(Malformed::NoResources),
        (Kind::Trust, Some(_)) => return Err(Malformed::Resource),
        (_, Some(resources)) => {
            let form = |name: &String| {
                name.starts_with("arn:") || name.starts_with('*') || name.starts_with("${")
            };
            if !resources.patterns.iter().all(form) {
                return Err(Malformed::ResourceForm);
            }
        }
        (_, None) => {}
    }
    let principals = match (fields.get("Principal"), fields.get("NotPrincipal")) {
        (None, None) => None,
        (Some(principals), None) => Some(read_principals(principals, false)?),
        (None, Some(principals)) => Some(read_principals(principals, true)?),
        (Some(_), Some(_)) => return Err(Malformed::Syntax),
    };
    match (kind, &principals) {
        (Kind::Identity, Some(_)) => return Err(Malformed::Principal),
        (Kind::Resource | Kind::Trust, None) => return Err(Malformed::NoPrincipal),
        _ => {}
    }
    let conditions = fields.get("Condition").map_or(Ok(Vec::new()), read_conditions)?;
    Ok(Statement { effect, principals, actions, resources, conditions })
}

fn patterns(
    fields: &Map<String, Value>,
    name: &str,
    negation: &str,
) -> Result<Option<Patterns>, Malformed> {
    let (value, negated) = match (fields.get(name), fields.get(negation)) {
        (None, None) => return Ok(None),
        (Some(value), None) => (value, false),
        (None, Some(value)) => (value, true),
        (Some(_), Some(_)) => return Err(Malformed::Syntax),
    };
    let patterns = texts(value)?;
    Ok((!patterns.is_empty()).then_some(Patterns { negated, patterns }))
}

fn read_principals(value: &Value, negated: bool) -> Result<Principals, Malformed> {
    let mut principals = Principals { negated, ..Principals::default() };
    match value {
        Value::String(everybody) if everybody == "*" => principals.everybody = true,
        Value::Object(kinds) if !kinds.is_empty() => {
            for (kind, names) in kinds {
                let names = texts(names)?;
                match kind.as_str() {
                    "AWS" if names.iter().any(|name| name == "*") => principals.everybody = true,
                    "AWS" => principals.aws.extend(names),
                    "Service" => principals.services.extend(names),
                    // There is nobody of these kinds here, so they are nobody.
                    "Federated" | "CanonicalUser" => {}
                    _ => return Err(Malformed::Syntax),
                }
            }
        }
        _ => return Err(Malformed::Syntax),
    }
    Ok(principals)
}

fn read_conditions(value: &Value) -> Result<Vec<Condition>, Malformed> {
    let mut conditions = Vec::new();
    for (operator, keys) in value.as_object().ok_or(Malformed::Syntax)? {
        for (key, values) in keys.as_object().ok_or(Malformed::Syntax)? {
            let condition = Condition::new(operator, key, texts(values)?);
            conditions.push(condition.ok_or(Malformed::Syntax)?);
        }
    }
    Ok(conditions)
}

/// AWS: one text stands for a list of one, and booleans and numbers for their texts.
fn texts(value: &Value) -> Result<Vec<String>, Malformed> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(Malformed::Syntax),
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fault(statement: Value, kind: Kind) -> Option<Malformed> {
        let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
        Document::parse(&document.to_string(), kind).err()
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = json!({ "Effect": "Allow", "Action": "lambda:*", "Resource": "*" });
        assert_eq!(fault(good.clone(), Kind::Identity), None);
        let with = |name: &str, value: Value| {
            let mut statement = good.clone();
            statement[name] = value;
            fault(statement, Kind::Identity)
        };
        assert_eq!(with("Effect", json!("allow")), Some(Malformed::Syntax));
        assert_eq!(with("Action", json!("everything")), Some(Malformed::Vendor));
        assert_eq!(with("Action", json!([])), Some(Malformed::NoActions));
        assert_eq!(with("NotAction", json!("a:b")), Some(Malformed::Syntax));
        assert_eq!(with("Resource", json!("thumbs")), Some(Malformed::ResourceForm));
        assert_eq!(with("Principal", json!("*")), Some(Malformed::Principal));
        assert_eq!(with("Condition", json!({ "Like": { "a:b": "c" } })), Some(Malformed::Syntax));
        assert_eq!(with("Conditions", json!({})), Some(Malformed::Syntax));
        assert_eq!(with("Condition", json!({ "Bool": { "a:b": true } })), None);
        assert_eq!(Document::parse("{", Kind::Trust), Err(Malformed::Json));
        assert_eq!(Document::parse("[]", Kind::Trust), Err(Malformed::Syntax));
        let version = r#"{"Version":"2013","Statement":[]}"#;
        assert_eq!(Document::parse(version, Kind::Identity), Err(Malformed::Version));
    }

    #[test]
    fn kinds_of_policies_differ_in_what_they_name() {
        let trust = json!({
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "Service": "lambda.amazonaws.com" },
        });
        assert_eq!(fault(trust.clone(), Kind::Trust), None);
        assert_eq!(fault(trust.clone(), Kind::Resource), None);
        assert_eq!(fault(trust, Kind::Identity), Some(Malformed::NoResources));
        let identity = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
        assert_eq!(fault(identity.clone(), Kind::Trust), Some(Malformed::Resource));
        assert_eq!(fault(identity, Kind::Resource), Some(Malformed::NoPrincipal));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = Document::parse(&text, Kind::Identity);
        }
    }
}
