//! AWS's own policies, those that functions and their builders commonly use.
//!
//! They say what AWS's say about the services that there can be here, in fewer words.

use super::store::{ManagedPolicy, Version};
use serde_json::json;
use std::collections::BTreeMap;

const LOGS: &[&str] = &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];

/// What comes after `policy/` in the ARN, and the actions that are allowed on everything.
const POLICIES: &[(&str, &[&str])] = &[
    ("AdministratorAccess", &["*"]),
    (
        "AWSLambda_FullAccess",
        &["lambda:*", "logs:*", "iam:GetRole", "iam:ListRoles", "iam:PassRole"],
    ),
    (
        "AWSLambda_ReadOnlyAccess",
        &["lambda:Get*", "lambda:List*", "logs:Describe*", "logs:Get*", "logs:FilterLogEvents"],
    ),
    ("AWSXRayDaemonWriteAccess", &["xray:Put*", "xray:GetSampling*"]),
    ("AmazonDynamoDBFullAccess", &["dynamodb:*"]),
    ("AmazonEventBridgeFullAccess", &["events:*", "scheduler:*", "pipes:*"]),
    ("AmazonKinesisFullAccess", &["kinesis:*"]),
    ("AmazonS3FullAccess", &["s3:*"]),
    ("AmazonS3ReadOnlyAccess", &["s3:Get*", "s3:List*", "s3:Describe*"]),
    ("AmazonSNSFullAccess", &["sns:*"]),
    ("AmazonSQSFullAccess", &["sqs:*"]),
    ("CloudWatchLogsFullAccess", &["logs:*"]),
    (
        "CloudWatchLogsReadOnlyAccess",
        &["logs:Describe*", "logs:Get*", "logs:List*", "logs:FilterLogEvents"],
    ),
    ("IAMFullAccess", &["iam:*"]),
    (
        "service-role/AWSLambdaBasicDurableExecutionRolePolicy",
        &[
            "lambda:CheckpointDurableExecution",
            "lambda:GetDurableExecutionState",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
    ("service-role/AWSLambdaBasicExecutionRole", LOGS),
    (
        "service-role/AWSLambdaDynamoDBExecutionRole",
        &[
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
    (
        "service-role/AWSLambdaKinesisExecutionRole",
        &[
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
            "kinesis:ListStreams",
            "kinesis:SubscribeToShard",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
    ("service-role/AWSLambdaRole", &["lambda:InvokeFunction"]),
    (
        "service-role/AWSLambdaSQSQueueExecutionRole",
        &[
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
    (
        "service-role/AWSLambdaVPCAccessExecutionRole",
        &[
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "ec2:CreateNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DeleteNetworkInterface",
        ],
    ),
];

/// The policy that comes after `arn:aws:iam::aws:policy/`.
pub fn find(path: &str) -> Option<ManagedPolicy> {
    POLICIES.iter().find(|(known, _)| *known == path).map(|(path, actions)| policy(path, actions))
}

/// All of them, with their ARNs.
pub fn all() -> impl Iterator<Item = (String, ManagedPolicy)> {
    POLICIES
        .iter()
        .map(|(path, actions)| (format!("arn:aws:iam::aws:policy/{path}"), policy(path, actions)))
}

fn policy(path: &str, actions: &[&str]) -> ManagedPolicy {
    let (path, name) = match path.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name),
        None => ("/".to_owned(), path),
    };
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    });
    ManagedPolicy {
        name: name.to_owned(),
        id: format!("ANPA{:Z>17.17}", name.to_ascii_uppercase().replace('_', "")),
        path,
        description: None,
        created: 0,
        updated: 0,
        tags: BTreeMap::new(),
        versions: vec![Version { number: 1, document: document.to_string(), created: 0 }],
        default: 1,
        newest: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{Document, Kind};
    use super::*;

    #[test]
    fn every_policy_can_be_read() {
        for (arn, policy) in all() {
            Document::parse(policy.document().unwrap(), Kind::Identity).unwrap();
            assert_eq!(find(arn.strip_prefix("arn:aws:iam::aws:policy/").unwrap()), Some(policy));
        }
    }
}
