//! Names, URLs and ARNs of queues.
//!
//! A queue's URL is this server's address, the account and the name. Only the last two of its path
//! are read, so a URL made for one address of the server works at all of them.

use lamplight_model::Scope;
use lamplight_wire::ApiError;

/// Names a queue of an account and region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueName(String);

impl QueueName {
    /// # Errors
    /// AWS's refusal of a name that no queue can have.
    pub fn parse(name: &str) -> Result<Self, ApiError> {
        let stem = name.strip_suffix(".fifo");
        let plain = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() <= 80 && plain(stem.unwrap_or(name)) {
            return Ok(Self(name.to_owned()));
        }
        Err(super::invalid_value(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ))
    }

    /// From the URL of a queue, or its path alone. `None` for what names no queue of `scope`.
    pub fn of_url(url: &str, scope: &Scope) -> Option<Self> {
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.split_once('/')?.1,
            None => url.strip_prefix('/').unwrap_or(url),
        };
        let mut parts = path.trim_end_matches('/').rsplit('/');
        let name = parts.next()?;
        match parts.next() {
            Some(account) if account == scope.account.to_string() => Self::parse(name).ok(),
            // AWS: some tools name a queue where its URL belongs.
            None => Self::parse(name).ok(),
            Some(_) => None,
        }
    }

    /// From an ARN of `scope`.
    pub fn of_arn(arn: &str, scope: &Scope) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let ours = parts.next()? == "arn"
            && parts.next().is_some()
            && parts.next()? == "sqs"
            && parts.next()? == &*scope.region
            && parts.next()? == scope.account.to_string();
        ours.then(|| parts.next()).flatten().and_then(|name| Self::parse(name).ok())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_fifo(&self) -> bool {
        self.0.ends_with(".fifo")
    }

    pub fn arn(&self, scope: &Scope) -> String {
        format!("arn:aws:sqs:{}:{}:{}", scope.region, scope.account, self.0)
    }

    /// `base` is the address a client reached the server by, e.g. `http://127.0.0.1:9000`.
    pub fn url(&self, base: &str, scope: &Scope) -> String {
        format!("{base}/{}/{}", scope.account, self.0)
    }
}

/// The resource of policies that a request about a queue has, from whatever names it.
pub fn queue_arn(url: &str, scope: &Scope) -> Option<String> {
    QueueName::of_url(url, scope).map(|name| name.arn(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            account: lamplight_model::AccountId::new("000000000000").unwrap(),
            region: "us-east-1".into(),
        }
    }

    #[test]
    fn a_queue_is_found_by_any_address_of_the_server() {
        let scope = scope();
        let name = QueueName::parse("jobs").unwrap();
        let account = scope.account.to_string();
        for url in [
            name.url("http://127.0.0.1:9000", &scope),
            format!("https://sqs.us-east-1.amazonaws.com/{account}/jobs"),
            format!("/{account}/jobs"),
            format!("http://h/queue/{account}/jobs/"),
            "jobs".to_owned(),
        ] {
            assert_eq!(QueueName::of_url(&url, &scope), Some(name.clone()), "{url}");
        }
        for url in ["", "/", "http://h", "http://h/000000000001/jobs", "/a b"] {
            assert_eq!(QueueName::of_url(url, &scope), None, "{url}");
        }
        assert_eq!(QueueName::of_arn(&name.arn(&scope), &scope), Some(name));
        assert_eq!(QueueName::of_arn("arn:aws:sns:us-east-1:000000000000:jobs", &scope), None);
    }

    #[test]
    fn names_are_those_aws_has() {
        for good in ["a", "A-b_9", "jobs.fifo", &"a".repeat(80)] {
            assert!(QueueName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".fifo", "a.b", "a.fifo.fifo", "a/b", &"a".repeat(81)] {
            assert!(QueueName::parse(bad).is_err(), "{bad}");
        }
    }
}
