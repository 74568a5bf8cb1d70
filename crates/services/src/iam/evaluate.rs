//! May they? The decision over all policies that have a say, as AWS documents it.
//!
//! Pure. A deny anywhere wins over every allow; what nothing allows is refused.

use super::document::{Document, Effect, Patterns, Principals, Statement};
use super::pattern;
use std::collections::BTreeMap;

/// What is known about a request: condition keys and their values.
#[derive(Debug, Clone, Default)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.set_all(key, vec![value.into()]);
    }

    pub fn set_all(&mut self, key: &str, values: Vec<String>) {
        self.0.insert(key.to_ascii_lowercase(), values);
    }

    pub fn get(&self, key: &str) -> Option<&[String]> {
        match self.0.get(key) {
            Some(values) => Some(values),
            None => self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice),
        }
    }
}

/// Who asks, as the principals of a policy name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A service of this server, by its name: `s3.amazonaws.com`.
    Service(String),
    Aws {
        account: String,
        /// All ARNs that mean them: of a session, also its role's.
        arns: Vec<String>,
    },
}

#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub principal: &'a Principal,
    /// `lambda:InvokeFunction`.
    pub action: &'a str,
    /// An ARN, or `*` where an action is about no one resource.
    pub resource: &'a str,
    pub context: &'a Context,
}

/// The policies that have a say.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub identity: Vec<Document>,
    /// What the identity may have at most.
    pub boundary: Option<Document>,
    /// What its session may have at most.
    pub session: Option<Document>,
    /// Of the resource.
    pub resource: Option<Document>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Identity,
    Boundary,
    Session,
    Resource,
}

impl Source {
    /// AWS: how refusals call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
            Self::Resource => "resource-based policy",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// This one says no.
    Denied(Source),
    /// This one would have to say yes, and does not.
    NotAllowed(Source),
}

pub fn evaluate(policies: &Policies, question: &Question<'_>) -> Verdict {
    let one = |document: &Option<Document>| document.as_ref().map(|one| ask(one, question));
    let identity = policies.identity.iter().map(|document| ask(document, question)).max();
    let identity = identity.unwrap_or(Answer::Silent);
    let (boundary, session) = (one(&policies.boundary), one(&policies.session));
    let resource = one(&policies.resource).unwrap_or(Answer::Silent);
    for (source, answer) in [
        (Source::Identity, Some(identity)),
        (Source::Resource, Some(resource)),
        (Source::Boundary, boundary),
        (Source::Session, session),
    ] {
        if answer == Some(Answer::Denies) {
            return Verdict::Denied(source);
        }
    }
    // In one account, either side may let somebody in.
    if identity != Answer::Allows && resource != Answer::Allows {
        return Verdict::NotAllowed(Source::Identity);
    }
    for (source, answer) in [(Source::Boundary, boundary), (Source::Session, session)] {
        if answer == Some(Answer::Silent) {
            return Verdict::NotAllowed(source);
        }
    }
    Verdict::Allowed
}

/// In the order in which answers win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Silent,
    Allows,
    Denies,
}

/// What one document says.
pub fn ask(document: &Document, question: &Question<'_>) -> Answer {
    let applying = document.statements.iter().filter(|statement| applies(statement, question));
    let answers = applying.map(|statement| match statement.effect {
        Effect::Allow => Answer::Allows,
        Effect::Deny => Answer::Denies,
    });
    answers.max().unwrap_or(Answer::Silent)
}

fn applies(statement: &Statement, question: &Question<'_>) -> bool {
    let context = question.context;
    let principals =
        statement.principals.as_ref().is_none_or(|who| is_one(who, question, statement.effect));
    let action = |pattern: &str| {
        let (pattern, action) = (pattern.to_ascii_lowercase(), question.action);
        pattern::matches(&pattern, &action.to_ascii_lowercase(), context)
    };
    let resource = |pattern: &str| pattern::matches_arn(pattern, question.resource, context);
    principals
        && meets(&statement.actions, action)
        && statement.resources.as_ref().is_none_or(|resources| meets(resources, resource))
        && statement.conditions.iter().all(|condition| condition.holds(context))
}

fn meets(patterns: &Patterns, matches: impl Fn(&str) -> bool) -> bool {
    patterns.patterns.iter().any(|pattern| matches(pattern)) != patterns.negated
}

fn is_one(principals: &Principals, question: &Question<'_>, effect: Effect) -> bool {
    let named = principals.everybody
        || match question.principal {
            Principal::Service(name) => principals.services.contains(name),
            Principal::Aws { account, arns } => principals.aws.iter().any(|named| {
                let whole_account =
                    named == account || *named == format!("arn:aws:iam::{account}:root");
                // AWS: to allow an account is to let that account decide who of it may, which is
                // not yet an allow; to deny it is to deny everybody in it.
                arns.contains(named)
                    || whole_account && (effect == Effect::Deny || principals.negated)
            }),
        };
    named != principals.negated
}

#[cfg(test)]
mod tests;
