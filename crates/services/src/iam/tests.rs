//! IAM through its operations, on documents in memory.

use super::evaluate::{Context, Question, Source, Verdict};
use super::*;
use async_trait::async_trait;
use lamplight_model::Scope;
use lamplight_rpc::{Document, DocumentError, DocumentKey, Expected};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Default)]
pub struct InMemory(Mutex<BTreeMap<DocumentKey, Document>>);

#[async_trait]
impl Documents for InMemory {
    fn get(&self, key: &DocumentKey) -> Option<Document> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn list(
        &self,
        (kind, scope): (&'static str, &Scope),
        owner: Option<&str>,
        after: Option<(&str, &str)>,
        max: usize,
    ) -> Vec<Document> {
        assert_eq!((owner, after), (None, None), "not asked for here");
        let all = self.0.lock().unwrap();
        let here = all.values().filter(|d| d.key.kind == kind && d.key.scope == *scope);
        here.take(max).cloned().collect()
    }

    fn labelled(
        &self,
        _: (&'static str, &Scope),
        _: &str,
        _: Option<(&str, &str)>,
        _: usize,
    ) -> Vec<Document> {
        panic!("not asked for here")
    }

    async fn put(
        &self,
        key: DocumentKey,
        expected: Expected,
        body: Value,
    ) -> Result<Document, DocumentError> {
        let mut all = self.0.lock().unwrap();
        let found = all.get(&key).map(|document| document.rev);
        match expected {
            Expected::Nothing if found.is_some() => return Err(DocumentError::Conflict),
            Expected::Rev(rev) if found != Some(rev) => return Err(DocumentError::Conflict),
            _ => {}
        }
        let rev = found.unwrap_or(0) + 1;
        let document = Document { key: key.clone(), body: body.into(), rev };
        all.insert(key, document.clone());
        Ok(document)
    }

    async fn delete(&self, key: &DocumentKey, _: Expected) -> Result<bool, DocumentError> {
        Ok(self.0.lock().unwrap().remove(key).is_some())
    }

    async fn delete_owned(
        &self,
        _: &[&'static str],
        _: &Scope,
        _: &str,
    ) -> Result<(), DocumentError> {
        Err(DocumentError::Unavailable("not asked for here".to_owned()))
    }
}

pub fn iam() -> (Iam, Caller) {
    let account = AccountId::new("000000000000").unwrap();
    let root = Caller::root(&account);
    (Iam::new(Arc::new(InMemory::default()), Env::system(), account), root)
}

async fn ask(iam: &Iam, operation: &str, input: Value) -> Result<Map<String, Value>, ApiError> {
    let root = Caller::root(&iam.account);
    iam.call(operation, &root, input.as_object().unwrap()).await.map(|output| output.members)
}

async fn refused(iam: &Iam, operation: &str, input: Value) -> (String, String) {
    let error = ask(iam, operation, input).await.unwrap_err();
    (error.code.into_owned(), error.message)
}

fn trust(principal: Value) -> String {
    let statement =
        json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

fn allow(action: &str) -> String {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// A user `alice` with a key, and whoever signs with it.
async fn alice(iam: &Iam) -> Caller {
    ask(iam, "CreateUser", json!({ "UserName": "alice" })).await.unwrap();
    let key = ask(iam, "CreateAccessKey", json!({ "UserName": "alice" })).await.unwrap();
    let id = key["AccessKey"]["AccessKeyId"].as_str().unwrap();
    iam.access_key(id).unwrap().1
}

fn may(iam: &Iam, caller: &Caller, action: &str) -> Verdict {
    let (principal, context) = (caller.principal(), Context::default());
    let question = Question { principal: &principal, action, resource: "*", context: &context };
    iam.verdict(caller, None, &question)
}

#[tokio::test]
async fn a_user_may_what_its_policies_allow() {
    let (iam, root) = iam();
    let caller = alice(&iam).await;
    assert_eq!(caller.arn, "arn:aws:iam::000000000000:user/alice");
    let no = Verdict::NotAllowed(Source::Identity);
    assert_eq!(may(&iam, &caller, "lambda:ListFunctions"), no);
    assert_eq!(may(&iam, &root, "lambda:ListFunctions"), Verdict::Allowed);
    let policy =
        json!({ "UserName": "alice", "PolicyName": "p", "PolicyDocument": allow("lambda:List*") });
    ask(&iam, "PutUserPolicy", policy).await.unwrap();
    assert_eq!(may(&iam, &caller, "lambda:ListFunctions"), Verdict::Allowed);
    assert_eq!(may(&iam, &caller, "lambda:DeleteFunction"), no);

    let policy = json!({ "PolicyName": "all", "PolicyDocument": allow("*") });
    let policy = ask(&iam, "CreatePolicy", policy).await.unwrap()["Policy"].clone();
    let attach = json!({ "UserName": "alice", "PolicyArn": policy["Arn"] });
    ask(&iam, "AttachUserPolicy", attach.clone()).await.unwrap();
    assert_eq!(may(&iam, &caller, "lambda:DeleteFunction"), Verdict::Allowed);
    let (code, _) = refused(&iam, "DeletePolicy", json!({ "PolicyArn": policy["Arn"] })).await;
    assert_eq!(code, "DeleteConflict");
    let (_, why) = refused(&iam, "DeleteUser", json!({ "UserName": "alice" })).await;
    assert_eq!(why, "Cannot delete entity, must delete access keys first.");
    let boundary = "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess";
    let bounded = json!({ "UserName": "alice", "PermissionsBoundary": boundary });
    ask(&iam, "PutUserPermissionsBoundary", bounded).await.unwrap();
    let bounded = Verdict::NotAllowed(Source::Boundary);
    assert_eq!(may(&iam, &caller, "lambda:DeleteFunction"), bounded);
    ask(&iam, "DetachUserPolicy", attach).await.unwrap();
    assert_eq!(may(&iam, &caller, "lambda:DeleteFunction"), no);
}

#[tokio::test]
async fn a_new_user_of_an_old_name_is_somebody_else() {
    let (iam, _) = iam();
    let old = alice(&iam).await;
    let keys = ask(&iam, "ListAccessKeys", json!({ "UserName": "alice" })).await.unwrap();
    let id = keys["AccessKeyMetadata"][0]["AccessKeyId"].clone();
    ask(&iam, "DeleteAccessKey", json!({ "UserName": "alice", "AccessKeyId": id })).await.unwrap();
    assert!(iam.access_key(id.as_str().unwrap()).is_none());
    ask(&iam, "DeleteUser", json!({ "UserName": "alice" })).await.unwrap();
    let new = alice(&iam).await;
    let policy = json!({ "UserName": "alice", "PolicyName": "p", "PolicyDocument": allow("*") });
    ask(&iam, "PutUserPolicy", policy).await.unwrap();
    assert_eq!(may(&iam, &new, "a:b"), Verdict::Allowed);
    assert_eq!(may(&iam, &old, "a:b"), Verdict::NotAllowed(Source::Identity));
}

#[tokio::test]
async fn keys_are_few_and_can_be_switched_off() {
    let (iam, _) = iam();
    alice(&iam).await;
    let second = ask(&iam, "CreateAccessKey", json!({ "UserName": "alice" })).await.unwrap();
    let (code, message) = refused(&iam, "CreateAccessKey", json!({ "UserName": "alice" })).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
    );
    let id = second["AccessKey"]["AccessKeyId"].as_str().unwrap();
    let off = json!({ "UserName": "alice", "AccessKeyId": id, "Status": "Inactive" });
    ask(&iam, "UpdateAccessKey", off).await.unwrap();
    assert!(iam.access_key(id).is_none());
    let other = json!({ "UserName": "alice", "AccessKeyId": "AKIANOBODY", "Status": "Active" });
    assert_eq!(refused(&iam, "UpdateAccessKey", other).await.0, "NoSuchEntity");
}

#[tokio::test]
async fn a_role_is_taken_on_by_whom_it_trusts() {
    let (iam, root) = iam();
    let caller = alice(&iam).await;
    let create = |name: &str, principal: Value| {
        ask(
            &iam,
            "CreateRole",
            json!({ "RoleName": name, "AssumeRolePolicyDocument": trust(principal) }),
        )
        .map_ok_arn()
    };
    let service = create("service", json!({ "Service": "lambda.amazonaws.com" })).await;
    let named = create("named", json!({ "AWS": caller.arn })).await;
    let account = create("account", json!({ "AWS": "arn:aws:iam::000000000000:root" })).await;
    let lambda = |arn: &str| iam.trusts_service(arn, "lambda.amazonaws.com");
    assert_eq!((lambda(&service), lambda(&named)), (Trust::Given, Trust::Refused));
    assert_eq!(lambda("arn:aws:iam::000000000000:role/none"), Trust::NoRole);
    let context = Context::default();
    assert_eq!(iam.trusts(&caller, &named, &context), Trust::Given);
    assert_eq!(iam.trusts(&caller, &service, &context), Trust::Refused);
    assert_eq!(iam.trusts(&caller, &account, &context), Trust::Refused);
    assert_eq!(iam.trusts(&root, &account, &context), Trust::Given);
    assert_eq!(iam.trusts(&root, &named, &context), Trust::Refused);
    let policy = json!({ "UserName": "alice", "PolicyName": "p", "PolicyDocument": allow("sts:AssumeRole") });
    ask(&iam, "PutUserPolicy", policy).await.unwrap();
    assert_eq!(iam.trusts(&caller, &account, &context), Trust::Given);
    assert_eq!(iam.trusts(&caller, &service, &context), Trust::Refused);
}

/// What is asked of a resource whose policy lets everybody, and these in particular, do everything.
fn let_in(iam: &Iam, caller: &Caller, named: &[&str]) -> Verdict {
    let statement = |principal: Value| json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Principal": principal });
    let policy =
        json!({ "Statement": [statement(json!("*")), statement(json!({ "AWS": named }))] });
    let policy = document::Document::read(&policy, document::Kind::Resource).unwrap();
    let (principal, context) = (caller.principal(), Context::default());
    let question =
        Question { principal: &principal, action: "a:b", resource: "arn:x", context: &context };
    iam.verdict(caller, Some(policy), &question)
}

#[tokio::test]
async fn whoever_is_gone_is_let_in_nowhere() {
    let (iam, root) = iam();
    let user = alice(&iam).await;
    let trusting = trust(json!({ "AWS": "*" }));
    let create = json!({ "RoleName": "r", "AssumeRolePolicyDocument": trusting });
    let made = ask(&iam, "CreateRole", create.clone()).await.unwrap()["Role"].clone();
    let (arn, id) = (made["Arn"].as_str().unwrap(), made["RoleId"].as_str().unwrap());
    let session = |id: Option<&str>, function: Option<&str>| {
        let (id, function) = (id.map(str::to_owned), function.map(str::to_owned));
        let who = Who::Role { name: "/r".into(), id, session: "f".into(), function };
        Caller::new(&root.account, who)
    };
    let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let (role, guest) = (session(Some(id), None), session(Some(id), Some(function)));
    let named = [user.arn.as_str(), arn, role.arn.as_str()];
    let context = Context::default();
    for caller in [&user, &role, &guest] {
        assert_eq!(let_in(&iam, caller, &named), Verdict::Allowed);
        assert_eq!(iam.trusts(caller, arn, &context), Trust::Given);
    }
    // Who began without a role has none, also where there is one of that name.
    let never = session(None, Some(function));
    let no = Verdict::NotAllowed(Source::Identity);
    assert_eq!(let_in(&iam, &never, &named), no);

    let keys = ask(&iam, "ListAccessKeys", json!({ "UserName": "alice" })).await.unwrap();
    let key = keys["AccessKeyMetadata"][0]["AccessKeyId"].clone();
    ask(&iam, "DeleteAccessKey", json!({ "UserName": "alice", "AccessKeyId": key })).await.unwrap();
    ask(&iam, "DeleteUser", json!({ "UserName": "alice" })).await.unwrap();
    ask(&iam, "DeleteRole", json!({ "RoleName": "r" })).await.unwrap();
    // Nor are they those who come after them.
    for again in [false, true] {
        if again {
            alice(&iam).await;
            ask(&iam, "CreateRole", create.clone()).await.unwrap();
        }
        for caller in [&user, &role, &guest, &never] {
            assert_eq!(let_in(&iam, caller, &named), no, "{caller:?}");
            assert_ne!(iam.trusts(caller, arn, &context), Trust::Given, "{caller:?}");
        }
    }
}

trait ArnOf {
    async fn map_ok_arn(self) -> String;
}

impl<F: Future<Output = Result<Map<String, Value>, ApiError>>> ArnOf for F {
    async fn map_ok_arn(self) -> String {
        self.await.unwrap()["Role"]["Arn"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_role_that_nobody_made_may_write_its_functions_logs() {
    let (iam, _) = iam();
    let account = AccountId::new("000000000000").unwrap();
    let who = Who::Role {
        name: "/any".into(),
        id: None,
        session: "f".into(),
        function: Some("arn:aws:lambda:us-east-1:000000000000:function:f".into()),
    };
    let caller = Caller::new(&account, who);
    let (principal, context) = (caller.principal(), Context::default());
    let may = |action: &str, group: &str| {
        let resource =
            format!("arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/{group}:*");
        let question =
            Question { principal: &principal, action, resource: &resource, context: &context };
        iam.verdict(&caller, None, &question) == Verdict::Allowed
    };
    assert!(may("logs:PutLogEvents", "f"));
    assert!(!may("logs:PutLogEvents", "g"));
    assert!(!may("logs:GetLogEvents", "f"));
    assert!(!may("lambda:InvokeFunction", "f"));
}

#[tokio::test]
async fn policies_have_versions() {
    let (iam, _) = iam();
    let policy = json!({ "PolicyName": "p", "PolicyDocument": allow("a:b"), "Path": "/x/" });
    let arn = ask(&iam, "CreatePolicy", policy.clone()).await.unwrap()["Policy"]["Arn"].clone();
    assert_eq!(arn, "arn:aws:iam::000000000000:policy/x/p");
    let (code, message) = refused(&iam, "CreatePolicy", policy).await;
    assert_eq!(code, "EntityAlreadyExists");
    assert_eq!(message, "A policy called p already exists. Duplicate names are not allowed.");
    for number in 2..=5 {
        let version = json!({ "PolicyArn": arn, "PolicyDocument": allow("a:c"), "SetAsDefault": number == 3 });
        let made = ask(&iam, "CreatePolicyVersion", version).await.unwrap();
        assert_eq!(made["PolicyVersion"]["VersionId"], format!("v{number}"));
    }
    let sixth = json!({ "PolicyArn": arn, "PolicyDocument": allow("a:c") });
    assert_eq!(refused(&iam, "CreatePolicyVersion", sixth).await.0, "LimitExceeded");
    let shown = ask(&iam, "GetPolicy", json!({ "PolicyArn": arn })).await.unwrap();
    assert_eq!(shown["Policy"]["DefaultVersionId"], "v3");
    let default = json!({ "PolicyArn": arn, "VersionId": "v3" });
    assert_eq!(refused(&iam, "DeletePolicyVersion", default).await.0, "DeleteConflict");
    assert_eq!(
        refused(&iam, "DeletePolicy", json!({ "PolicyArn": arn })).await.0,
        "DeleteConflict"
    );
    for version in ["v1", "v2", "v4", "v5"] {
        let version = json!({ "PolicyArn": arn, "VersionId": version });
        ask(&iam, "DeletePolicyVersion", version).await.unwrap();
    }
    ask(&iam, "DeletePolicy", json!({ "PolicyArn": arn })).await.unwrap();
    let (_, message) = refused(&iam, "GetPolicy", json!({ "PolicyArn": arn })).await;
    assert_eq!(message, "Policy arn:aws:iam::000000000000:policy/x/p was not found.");
}

#[tokio::test]
async fn every_operation_that_is_listed_is_answered() {
    let (iam, _) = iam();
    for operation in OPERATIONS {
        if let Err(error) = ask(&iam, operation, json!({})).await {
            assert_ne!(error.code, "InvalidAction", "{operation}");
        }
    }
    assert_eq!(refused(&iam, "CreateGroup", json!({})).await.0, "InvalidAction");
}
