//! The rules that hold for all policies, and the examples that show each of them.

use super::super::document::Kind;
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::000000000000:role/r";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn document(statements: Value, kind: Kind) -> Document {
    Document::read(&json!({ "Version": "2012-10-17", "Statement": statements }), kind).unwrap()
}

fn identity(statements: Value) -> Policies {
    Policies { identity: vec![document(statements, Kind::Identity)], ..Policies::default() }
}

fn resource(statements: Value) -> Policies {
    Policies { resource: Some(document(statements, Kind::Resource)), ..Policies::default() }
}

fn role() -> Principal {
    let session = "arn:aws:sts::000000000000:assumed-role/r/s".to_owned();
    Principal::Aws { account: "000000000000".into(), arns: vec![ROLE.into(), session] }
}

fn verdict(policies: &Policies, action: &str) -> Verdict {
    let mut context = Context::default();
    context.set("aws:SourceAccount", "111111111111");
    let principal = role();
    let question =
        Question { principal: &principal, action, resource: FUNCTION, context: &context };
    evaluate(policies, &question)
}

const NO: Verdict = Verdict::NotAllowed(Source::Identity);

#[test]
fn only_what_is_allowed_is_allowed() {
    let read = identity(json!([{ "Effect": "Allow", "Action": "lambda:get*", "Resource": "*" }]));
    assert_eq!(verdict(&read, "lambda:GetFunction"), Verdict::Allowed);
    assert_eq!(verdict(&read, "lambda:DeleteFunction"), NO);
    let other = format!("{FUNCTION}-other");
    let elsewhere = identity(json!([{ "Effect": "Allow", "Action": "*", "Resource": other }]));
    assert_eq!(verdict(&elsewhere, "lambda:GetFunction"), NO);
    let all_but = identity(
        json!([{ "Effect": "Allow", "NotAction": "lambda:Delete*", "NotResource": other }]),
    );
    assert_eq!(verdict(&all_but, "lambda:GetFunction"), Verdict::Allowed);
    assert_eq!(verdict(&all_but, "lambda:DeleteFunction"), NO);
}

#[test]
fn conditions_have_to_hold() {
    let only = |account: &str| {
        identity(json!([{
            "Effect": "Allow", "Action": "*", "Resource": "*",
            "Condition": { "StringEquals": { "AWS:SourceAccount": account } },
        }]))
    };
    assert_eq!(verdict(&only("111111111111"), "lambda:GetFunction"), Verdict::Allowed);
    assert_eq!(verdict(&only("222222222222"), "lambda:GetFunction"), NO);
}

#[test]
fn a_resource_lets_in_whom_it_names() {
    let named = |principal: Value| {
        resource(json!([{
            "Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction",
            "Resource": FUNCTION,
        }]))
    };
    let invoke = |principal: Value| verdict(&named(principal), "lambda:InvokeFunction");
    assert_eq!(invoke(json!({ "AWS": ROLE })), Verdict::Allowed);
    assert_eq!(invoke(json!("*")), Verdict::Allowed);
    assert_eq!(invoke(json!({ "AWS": format!("{ROLE}2") })), NO);
    assert_eq!(invoke(json!({ "Service": "s3.amazonaws.com" })), NO);
    // The account itself then decides, with an identity policy.
    assert_eq!(invoke(json!({ "AWS": "arn:aws:iam::000000000000:root" })), NO);
    assert_eq!(invoke(json!({ "AWS": "000000000000" })), NO);
}

#[test]
fn a_service_is_let_in_by_name() {
    let policies = resource(json!([{
        "Effect": "Allow", "Principal": { "Service": "s3.amazonaws.com" },
        "Action": "lambda:InvokeFunction", "Resource": FUNCTION,
    }]));
    let context = Context::default();
    let asked = |name: &str| {
        let principal = Principal::Service(name.to_owned());
        let action = "lambda:InvokeFunction";
        evaluate(
            &policies,
            &Question { principal: &principal, action, resource: FUNCTION, context: &context },
        )
    };
    assert_eq!(asked("s3.amazonaws.com"), Verdict::Allowed);
    assert_eq!(asked("sns.amazonaws.com"), NO);
}

#[test]
fn boundary_and_session_are_the_most_there_is() {
    let everything = json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]);
    let reading = json!([{ "Effect": "Allow", "Action": "lambda:Get*", "Resource": "*" }]);
    let reading = || Some(document(reading.clone(), Kind::Identity));
    let bounded = Policies { boundary: reading(), ..identity(everything.clone()) };
    assert_eq!(verdict(&bounded, "lambda:GetFunction"), Verdict::Allowed);
    let refused = Verdict::NotAllowed(Source::Boundary);
    assert_eq!(verdict(&bounded, "lambda:DeleteFunction"), refused);
    let session = Policies { session: reading(), ..identity(everything) };
    let refused = Verdict::NotAllowed(Source::Session);
    assert_eq!(verdict(&session, "lambda:DeleteFunction"), refused);
    // They give nothing by themselves.
    let nothing = Policies { session: reading(), boundary: reading(), ..Policies::default() };
    assert_eq!(verdict(&nothing, "lambda:GetFunction"), NO);
}

#[test]
fn not_principal_denies_everybody_else() {
    let policies = |principal: &str| Policies {
        resource: Some(document(
            json!([{
                "Effect": "Deny", "NotPrincipal": { "AWS": principal }, "Action": "*",
                "Resource": "*",
            }]),
            Kind::Resource,
        )),
        ..identity(json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]))
    };
    assert_eq!(verdict(&policies(ROLE), "lambda:GetFunction"), Verdict::Allowed);
    let refused = Verdict::Denied(Source::Resource);
    assert_eq!(
        verdict(&policies("arn:aws:iam::000000000000:role/x"), "lambda:GetFunction"),
        refused
    );
}

fn statement() -> impl Strategy<Value = Value> {
    let action = prop_oneof![Just("*"), Just("lambda:*"), Just("lambda:Get*"), Just("s3:*")];
    let resource = prop_oneof![Just("*"), Just(FUNCTION), Just("arn:aws:lambda:*:*:function:x")];
    (prop::bool::ANY, prop::bool::ANY, action, resource).prop_map(
        |(allow, negated, action, resource)| {
            json!({
                "Effect": if allow { "Allow" } else { "Deny" },
                if negated { "NotAction" } else { "Action" }: action,
                "Resource": resource,
            })
        },
    )
}

proptest! {
    #[test]
    fn a_deny_always_wins(mut statements in prop::collection::vec(statement(), 0..6), at in 0usize..6) {
        let deny = json!({ "Effect": "Deny", "Action": "lambda:GetFunction", "Resource": FUNCTION });
        statements.insert(at.min(statements.len()), deny);
        let policies = identity(Value::Array(statements));
        prop_assert_eq!(verdict(&policies, "lambda:GetFunction"), Verdict::Denied(Source::Identity));
    }

    #[test]
    fn without_an_allow_nothing_is_allowed(statements in prop::collection::vec(statement(), 0..6)) {
        let denials: Vec<Value> =
            statements.into_iter().filter(|statement| statement["Effect"] == "Deny").collect();
        let policies = identity(Value::Array(denials));
        prop_assert_ne!(verdict(&policies, "lambda:GetFunction"), Verdict::Allowed);
    }

    #[test]
    fn order_does_not_matter(statements in prop::collection::vec(statement(), 0..6)) {
        let forwards = verdict(&identity(Value::Array(statements.clone())), "lambda:GetFunction");
        let backwards = Value::Array(statements.into_iter().rev().collect());
        prop_assert_eq!(forwards, verdict(&identity(backwards), "lambda:GetFunction"));
    }

    #[test]
    fn a_further_allow_takes_nothing_away(statements in prop::collection::vec(statement(), 0..5)) {
        let before = verdict(&identity(Value::Array(statements.clone())), "lambda:GetFunction");
        let mut more = statements;
        more.push(json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }));
        let after = verdict(&identity(Value::Array(more)), "lambda:GetFunction");
        prop_assert!(before != Verdict::Allowed || after == Verdict::Allowed);
    }
}
