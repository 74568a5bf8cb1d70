//! Answers an S3 event with the name of the bucket it came from.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::SystemTime;

/// The part of an S3 event that is read here.
#[derive(Deserialize)]
struct S3Event {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Bucket,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Serialize)]
struct Answer {
    #[serde(rename = "statusCode")]
    status_code: u16,
    body: String,
}

async fn handler(event: LambdaEvent<Value>) -> Result<Answer, Error> {
    let (event, context) = event.into_parts();
    let remaining = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    println!("{event}");
    println!("remaining time: {} ms", remaining.as_millis());
    println!("memory limit: {} MB", context.env_config.memory);
    let event: S3Event = serde_json::from_value(event)?;
    let record = event.records.first().ok_or("the event has no records")?;
    Ok(Answer { status_code: 200, body: serde_json::to_string(&record.s3.bucket.name)? })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handler)).await
}
