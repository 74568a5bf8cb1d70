//! From a caller to the policies that have a say about them.
//!
//! Invariants: whoever is gone is refused before any policy is asked, be it of a resource or a
//! role's trust; whoever is made anew under the same name is somebody else.

use super::document::{Document, Kind};
use super::evaluate::{
    Answer, Context, Policies, Principal, Question, Source, Verdict, ask, evaluate,
};
use super::store::{Attached, Role, User};
use super::{Caller, Iam, Who};
use serde_json::json;

/// Whether a role may be taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// There is no such role.
    NoRole,
    Refused,
    Given,
}

/// What is left of a caller.
enum Standing<'a> {
    Owner,
    Here(Box<Attached>),
    /// The session of a function, without a role.
    OwnLogs(&'a str),
    Gone,
}

impl Iam {
    /// May `caller` do it? `resource` is the policy of the resource, where it has one.
    pub fn verdict(
        &self,
        caller: &Caller,
        resource: Option<Document>,
        question: &Question<'_>,
    ) -> Verdict {
        let (own, resource) = match self.standing(caller) {
            Standing::Owner => return Verdict::Allowed,
            Standing::Gone => return Verdict::NotAllowed(Source::Identity),
            Standing::Here(attached) => (self.attached(&attached), resource),
            // No policy can mean a role that is not there.
            Standing::OwnLogs(function) => (own_logs(function), None),
        };
        let session = caller.session_policy.as_ref().map(|p| readable(p, Kind::Identity));
        evaluate(&Policies { resource, session, ..own }, question)
    }

    /// Whether the trust policy of a role lets a service of this server take it on.
    pub fn trusts_service(&self, role_arn: &str, service: &str) -> Trust {
        let Some(role) = self.role(role_arn) else { return Trust::NoRole };
        let principal = Principal::Service(service.to_owned());
        let context = Context::default();
        let action = "sts:AssumeRole";
        let question =
            Question { principal: &principal, action, resource: role_arn, context: &context };
        match ask(&readable(&role.trust, Kind::Trust), &question) {
            Answer::Allows => Trust::Given,
            _ => Trust::Refused,
        }
    }

    /// Whether a role lets `function`, its session, do `on`: an action and a resource, whose policy
    /// may allow it too. Of a role that is not here nobody knows, and it is taken to be right.
    pub fn role_may(
        &self,
        (role_arn, function): (&str, &str),
        on: (&str, &str),
        policy: Option<Document>,
    ) -> bool {
        let (Some(role), Some((_, name))) = (self.role(role_arn), role_arn.split_once(":role"))
        else {
            return true;
        };
        let session = Who::Role {
            name: name.into(),
            id: Some(role.id),
            session: function.into(),
            function: None,
        };
        let caller = Caller::new(&self.account, session);
        let (principal, mut context) = (caller.principal(), Context::default());
        // What a request of that session would say of itself, which Lambda sends encrypted.
        context.set("aws:PrincipalAccount", self.account.to_string());
        context.set("aws:PrincipalArn", role_arn);
        context.set("aws:PrincipalType", "AssumedRole");
        context.set("aws:userid", &*caller.user_id);
        context.set("aws:SecureTransport", "true");
        let (action, resource) = on;
        let question = Question { principal: &principal, action, resource, context: &context };
        self.verdict(&caller, policy, &question) == Verdict::Allowed
    }

    /// Whether `caller` may take on a role: its trust policy names them, or names their account and
    /// their own policies allow it.
    pub fn trusts(&self, caller: &Caller, role_arn: &str, context: &Context) -> Trust {
        let Some(role) = self.role(role_arn) else { return Trust::NoRole };
        let trust = readable(&role.trust, Kind::Trust);
        let action = "sts:AssumeRole";
        let says = |principal: &Principal| {
            ask(&trust, &Question { principal, action, resource: role_arn, context })
        };
        let principal = caller.principal();
        let direct = says(&principal);
        let account = says(&Caller::root(&self.account).principal());
        let question = Question { principal: &principal, action, resource: role_arn, context };
        // The trust policy lets in whom it names, within their boundary and session policy.
        let own = self.verdict(caller, Some(trust.clone()), &question);
        let named = [direct, account].contains(&Answer::Allows);
        let denied = [direct, account].contains(&Answer::Denies);
        match own {
            Verdict::Allowed if named && !denied => Trust::Given,
            _ => Trust::Refused,
        }
    }

    /// The ARN of a user or a role that there is, with its path.
    pub fn arn_of(&self, kind: &str, name: &str) -> Option<String> {
        match kind {
            "user" => self.find::<User>(name).map(|user| user.arn(&self.account)),
            "role" => self.find::<Role>(name).map(|role| role.arn(&self.account)),
            _ => None,
        }
    }

    /// The role of an ARN.
    pub(crate) fn role(&self, arn: &str) -> Option<Role> {
        let role = self.find::<Role>(arn.rsplit('/').next()?)?;
        (role.arn(&self.account) == arn).then_some(role)
    }

    fn standing<'a>(&self, caller: &'a Caller) -> Standing<'a> {
        let found = match &caller.who {
            Who::Root => return Standing::Owner,
            Who::User { name, id } => {
                let user = self.find::<User>(name.rsplit('/').next().unwrap_or(name));
                user.filter(|user| user.id == *id).map(|user| user.attached)
            }
            Who::Role { name, id, .. } => {
                let role = self.role(&format!("arn:aws:iam::{}:role{name}", self.account));
                role.filter(|role| id.as_ref() == Some(&role.id)).map(|role| role.attached)
            }
        };
        match (found, &caller.who) {
            (Some(attached), _) => Standing::Here(Box::new(attached)),
            (None, Who::Role { function: Some(function), .. }) => Standing::OwnLogs(function),
            (None, _) => Standing::Gone,
        }
    }

    fn attached(&self, attached: &Attached) -> Policies {
        let inline = attached.inline.values().map(|text| readable(text, Kind::Identity));
        // A policy that is gone allows nothing; deletion refuses while it is attached.
        let managed = attached.managed.iter().filter_map(|arn| self.managed(arn));
        let boundary = attached.boundary.as_ref();
        let boundary = boundary.map(|arn| self.managed(arn).unwrap_or_else(nothing));
        let identity = inline.chain(managed).collect();
        Policies { identity, boundary, session: None, resource: None }
    }

    fn managed(&self, arn: &str) -> Option<Document> {
        let policy = self.managed_policy(arn)?;
        Some(readable(policy.document()?, Kind::Identity))
    }
}

/// A stored policy. It was checked when it was written; one that cannot be read all the same denies
/// everything, since nobody knows what it was meant to deny.
fn readable(text: &str, kind: Kind) -> Document {
    Document::parse(text, kind).unwrap_or_else(|malformed| {
        tracing::error!(%malformed, "a stored policy cannot be read");
        let mut deny = json!({ "Effect": "Deny", "Action": "*" });
        if kind != Kind::Trust {
            deny["Resource"] = json!("*");
        }
        if kind != Kind::Identity {
            deny["Principal"] = json!("*");
        }
        Document::read(&json!({ "Statement": deny }), kind).unwrap_or_else(|_| nothing())
    })
}

fn nothing() -> Document {
    Document { statements: Vec::new() }
}

/// What a function's role may do that nobody has made, or that is gone: write the function's logs.
fn own_logs(function: &str) -> Policies {
    let parts: Vec<&str> = function.split(':').collect();
    let [arn, partition, _, region, account, _, name, ..] = parts[..] else {
        return Policies::default();
    };
    let group = format!("{arn}:{partition}:logs:{region}:{account}:log-group:/aws/lambda/{name}");
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": [group, format!("{group}:*")],
        }],
    });
    let identity = Document::read(&document, Kind::Identity).into_iter().collect();
    Policies { identity, ..Policies::default() }
}
