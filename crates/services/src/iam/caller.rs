//! Whoever a request is from.

use super::evaluate::Principal;
use lamplight_model::AccountId;
use serde::{Deserialize, Serialize};

/// AWS: the form of a role's id. No role ever gets this one.
const NO_ROLE: &str = "AROA00000000000000000";

/// An identity of this server. Part of session tokens, so its form is durable for some hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// The owner of the server, who may do everything.
    Root,
    User {
        name: String,
        /// AWS: of whoever is made anew under the same name, it differs.
        id: String,
    },
    Role {
        /// With its path, as in the role's ARN.
        name: String,
        /// Absent where there was no such role when the session began: it has none then, whatever
        /// is made later.
        id: Option<String>,
        session: String,
        /// The function whose environment this is.
        function: Option<String>,
    },
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub account: AccountId,
    pub arn: String,
    pub user_id: String,
    pub who: Who,
    /// What their session may do at most: the text of a policy.
    pub session_policy: Option<String>,
    /// Under temporary credentials.
    pub temporary: bool,
    /// Has proved nothing but that a link came to them.
    pub by_link: bool,
}

impl Caller {
    /// AWS: the user who owns the account.
    pub fn root(account: &AccountId) -> Self {
        Self::new(account, Who::Root)
    }

    pub fn new(account: &AccountId, who: Who) -> Self {
        let (arn, user_id) = match &who {
            Who::Root => (format!("arn:aws:iam::{account}:root"), account.to_string()),
            Who::User { name, id } => (format!("arn:aws:iam::{account}:user{name}"), id.clone()),
            Who::Role { name, id, session, .. } => {
                // AWS: the path of a role is not part of its sessions' names.
                let role = name.rsplit('/').next().unwrap_or(name);
                let id = id.as_deref().unwrap_or(NO_ROLE);
                let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{session}");
                (arn, format!("{id}:{session}"))
            }
        };
        let account = account.clone();
        Self { account, arn, user_id, who, session_policy: None, temporary: false, by_link: false }
    }

    /// As policies name them.
    pub fn principal(&self) -> Principal {
        let arn = self.arn.clone();
        let arns = match &self.who {
            // The account itself, by number.
            Who::Root => vec![arn, self.account.to_string()],
            Who::User { .. } => vec![arn],
            // The role that a function names may be one elsewhere, with a namesake here.
            Who::Role { id: None, .. } => vec![self.user_id.clone()],
            Who::Role { name, .. } => {
                vec![arn, format!("arn:aws:iam::{}:role{name}", self.account)]
            }
        };
        Principal::Aws { account: self.account.to_string(), arns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_role_is_named_as_on_aws() {
        let account = AccountId::new("000000000000").unwrap();
        let role = Who::Role {
            name: "/service/thumbs".into(),
            id: Some("AROA1".into()),
            session: "f".into(),
            function: None,
        };
        let caller = Caller::new(&account, role);
        assert_eq!(caller.arn, "arn:aws:sts::000000000000:assumed-role/thumbs/f");
        assert_eq!(caller.user_id, "AROA1:f");
        let Principal::Aws { arns, .. } = caller.principal() else { unreachable!() };
        assert!(arns.contains(&"arn:aws:iam::000000000000:role/service/thumbs".to_owned()));
        let Who::Role { name, session, .. } = caller.who else { unreachable!() };
        let none = Who::Role { name, id: None, session, function: None };
        let Principal::Aws { arns, .. } = Caller::new(&account, none).principal() else {
            unreachable!()
        };
        assert_eq!(arns, ["AROA00000000000000000:f"]);
    }
}
