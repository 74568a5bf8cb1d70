//! Names and ARNs of topics and subscriptions.

use super::invalid;
use lamplight_model::Scope;
use lamplight_wire::ApiError;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicName(String);

impl TopicName {
    pub fn parse(name: &str) -> Result<Self, ApiError> {
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=256).contains(&name.len()) && !stem.is_empty() && stem.bytes().all(word) {
            return Ok(Self(name.to_owned()));
        }
        Err(invalid("Topic Name"))
    }

    /// From the ARN of a topic of `scope`.
    ///
    /// # Errors
    /// AWS: `InvalidParameter` for what is no ARN, `NotFound` for one of elsewhere.
    pub fn of_arn(arn: &str, scope: &Scope) -> Result<Self, ApiError> {
        let (name, rest) = split(arn, scope)?;
        if rest.is_some() { Err(invalid("TopicArn")) } else { Ok(name) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_fifo(&self) -> bool {
        self.0.ends_with(".fifo")
    }

    pub fn arn(&self, scope: &Scope) -> String {
        format!("arn:aws:sns:{}:{}:{}", scope.region, scope.account, self.0)
    }
}

/// A subscription's topic, and its id.
pub fn subscription_of_arn(arn: &str, scope: &Scope) -> Result<(TopicName, String), ApiError> {
    match split(arn, scope)? {
        (name, Some(id)) => Ok((name, id.to_owned())),
        (_, None) => Err(invalid("SubscriptionArn")),
    }
}

fn split<'a>(arn: &'a str, scope: &Scope) -> Result<(TopicName, Option<&'a str>), ApiError> {
    let mut parts = arn.splitn(7, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (prefix, _partition, service) = (next(), next(), next());
    let (region, account, name) = (next(), next(), next());
    if prefix != "arn" || service != "sns" || name.is_empty() {
        return Err(invalid("TopicArn"));
    }
    if region != &*scope.region || account != scope.account.to_string() {
        return Err(super::no_topic());
    }
    let name = TopicName::parse(name).map_err(|_| invalid("TopicArn"))?;
    Ok((name, parts.next()))
}

/// The topic that policies name for a request about a topic or a subscription of it.
pub fn topic_arn(arn: &str, scope: &Scope) -> Option<String> {
    split(arn, scope).ok().map(|(name, _)| name.arn(scope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::AccountId;

    #[test]
    fn arns_are_read_back_and_nothing_else_is() {
        let account = AccountId::new("000000000000").unwrap();
        let scope = Scope { account, region: "us-east-1".into() };
        let name = TopicName::parse("news.fifo").unwrap();
        assert!(name.is_fifo());
        assert_eq!(TopicName::of_arn(&name.arn(&scope), &scope).unwrap(), name);
        let subscription = format!("{}:abc", name.arn(&scope));
        let read = subscription_of_arn(&subscription, &scope).unwrap();
        assert_eq!(read, (name.clone(), "abc".to_owned()));
        assert_eq!(topic_arn(&subscription, &scope), Some(name.arn(&scope)));
        for (strange, code) in [
            ("", "InvalidParameterException"),
            ("news", "InvalidParameterException"),
            ("arn:aws:sqs:us-east-1:000000000000:news", "InvalidParameterException"),
            ("arn:aws:sns:eu-west-1:000000000000:news", "NotFoundException"),
            (subscription.as_str(), "InvalidParameterException"),
        ] {
            assert_eq!(TopicName::of_arn(strange, &scope).unwrap_err().code, code, "{strange}");
        }
        for bad in ["", ".fifo", "a b", &"a".repeat(257)] {
            assert!(TopicName::parse(bad).is_err(), "{bad}");
        }
    }
}
