//! Names of groups and streams, and the ARNs that stand for them.

use super::answers::{constraint, invalid, no_group};
use lamplight_model::Scope;
use lamplight_wire::ApiError;

pub fn is_group(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_/#".contains(&b);
    (1..=512).contains(&name.len()) && name.bytes().all(allowed)
}

pub fn is_stream(name: &str) -> bool {
    (1..=512).contains(&name.chars().count()) && !name.contains([':', '*'])
}

/// The group that a request means by `name` or `identifier`.
pub fn group(
    scope: &Scope,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, ApiError> {
    let given = match (name, identifier) {
        (Some(_), Some(_)) => {
            return Err(invalid(
                "LogGroupName and LogGroupIdentifier cannot both be specified in the same request.",
            ));
        }
        (Some(name), None) => ("logGroupName", name),
        (None, Some(identifier)) => ("logGroupIdentifier", identifier),
        (None, None) => {
            return Err(invalid(
                "Either LogGroupName or LogGroupIdentifier must be specified in the request.",
            ));
        }
    };
    named(scope, given)
}

/// The group that the value of a member names, which may be an ARN, with or without `:*`.
pub fn named(scope: &Scope, (member, given): (&str, String)) -> Result<String, ApiError> {
    let name = match given.strip_prefix("arn:") {
        Some(rest) => from_arn(scope, rest)?.to_owned(),
        None => given,
    };
    if is_group(&name) {
        return Ok(name);
    }
    let rule = match name.len() {
        0 => "Member must have length greater than or equal to 1",
        513.. => "Member must have length less than or equal to 512",
        _ => r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
    };
    Err(constraint(member, &name, rule))
}

/// The group of `aws:logs:REGION:ACCOUNT:log-group:NAME[:*]`.
fn from_arn<'a>(scope: &Scope, rest: &'a str) -> Result<&'a str, ApiError> {
    let mut parts = rest.splitn(6, ':').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (service, region, account, kind, name) = (next(), next(), next(), next(), next());
    if service != "logs" || kind != "log-group" {
        return Err(invalid("The specified ARN is not that of a log group."));
    }
    if region != &*scope.region || account != scope.account.as_str() {
        return Err(no_group());
    }
    Ok(name.split_once(':').map_or(name, |(name, _)| name))
}

pub fn stream(name: String) -> Result<String, ApiError> {
    if is_stream(&name) {
        return Ok(name);
    }
    let rule = match name.chars().count() {
        0 => "Member must have length greater than or equal to 1",
        513.. => "Member must have length less than or equal to 512",
        _ => "Member must satisfy regular expression pattern: [^:*]*",
    };
    Err(constraint("logStreamName", &name, rule))
}

/// The ARN, without `:*`, of the group that a request means by a name or an identifier of any form.
/// `None` for what every operation refuses.
pub fn group_arn(scope: &Scope, given: &str) -> Option<String> {
    Some(arn(scope, &group(scope, None, Some(given.to_owned())).ok()?))
}

/// A group's ARN without `:*`.
pub fn arn(scope: &Scope, group: &str) -> String {
    let Scope { account, region } = scope;
    format!("arn:aws:logs:{region}:{account}:log-group:{group}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::AccountId;

    #[test]
    fn every_form_names_the_same_group_and_nonsense_none() {
        let scope =
            Scope { account: AccountId::new("000000000000").unwrap(), region: "eu-west-1".into() };
        let arn = arn(&scope, "/aws/lambda/f");
        let ask = |given: &str| group(&scope, None, Some(given.to_owned()));
        for form in ["/aws/lambda/f", &arn, &format!("{arn}:*")] {
            assert_eq!(ask(form).unwrap(), "/aws/lambda/f");
        }
        for bad in ["", "a b", "a:b", "arn:", "arn:aws:logs:eu-west-1:000000000000:log-group", "é"]
        {
            assert_eq!(ask(bad).unwrap_err().code, "InvalidParameterException", "{bad}");
        }
        for form in ["/aws/lambda/f", &format!("{arn}:*"), &arn.replace(":aws:", ":aws-cn:")] {
            assert_eq!(group_arn(&scope, form).as_ref(), Some(&arn));
        }
        assert_eq!(group_arn(&scope, "a:b"), None);
        let elsewhere = arn.replace("eu-west-1", "us-east-1");
        assert_eq!(ask(&elsewhere).unwrap_err().code, "ResourceNotFoundException");
        assert!(group(&scope, None, None).is_err());
        assert!(group(&scope, Some("a".into()), Some("a".into())).is_err());
        assert!(stream("2026/11/22/[$LATEST]ab".into()).is_ok());
        for bad in ["", "a:b", "a*", &"x".repeat(513)] {
            assert!(stream(bad.to_owned()).is_err());
        }
    }
}
