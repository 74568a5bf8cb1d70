//! FunctionConfiguration: a stored function as every operation shows it.

use lamplight_model::{FunctionArn, FunctionRecord, LastUpdate, Qualifier, Runtime, Scope, State};
use serde_json::{Map, Value, json};

/// Which of the status members a reply has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// One function.
    Full,
    /// AWS: listings leave out State and LastUpdateStatus.
    Listed,
}

/// The members of FunctionConfiguration, as AWS answers for the same function.
pub fn of(scope: &Scope, record: &FunctionRecord, detail: Detail) -> Map<String, Value> {
    let settings = &record.settings;
    let arn = FunctionArn::new(scope, &record.name);
    let mut members = settings.echoed.clone();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    };
    set("FunctionName", json!(record.name));
    set("FunctionArn", json!(arn.to_string()));
    set("Runtime", json!(settings.runtime));
    set("Role", json!(settings.role));
    set("Handler", json!(settings.handler));
    set("CodeSize", json!(record.code.shown_size()));
    set("CodeSha256", json!(record.code.code_sha256()));
    set("Description", json!(settings.description));
    set("Timeout", json!(settings.timeout));
    set("MemorySize", json!(settings.memory_mb));
    set("LastModified", json!(last_modified(record.last_modified)));
    set("Version", json!(record.version().to_string()));
    set("RevisionId", json!(record.revision_id));
    set("PackageType", json!(settings.package_type));
    set("Architectures", json!(settings.architectures));
    set("EphemeralStorage", json!({ "Size": settings.tmp_mb }));
    if let Some(variables) = &settings.environment {
        set("Environment", json!({ "Variables": variables }));
    }
    if !settings.layers.is_empty() {
        let layers = settings.layers.iter();
        let shown = layers.map(|l| json!({ "Arn": l.arn, "CodeSize": l.code.size }));
        set("Layers", shown.collect());
    }
    if let Some(runtime) = &settings.runtime {
        let version = Runtime::version_arn(&scope.region, runtime);
        set("RuntimeVersionConfig", json!({ "RuntimeVersionArn": version }));
    }
    set_logging(&mut members, &record.name);
    set_snap_start(&mut members);
    if let Some(Value::Object(vpc)) = members.get_mut("VpcConfig") {
        let placed = vpc.get("SubnetIds").and_then(Value::as_array).is_some_and(|s| !s.is_empty());
        // One network for each account, by the account's name; none without subnets.
        let id =
            if placed { format!("vpc-{:0>17}", scope.account.as_str()) } else { String::new() };
        vpc.insert("VpcId".to_owned(), json!(id));
    }
    if let Some(image) = members.remove("ImageConfig") {
        members.insert("ImageConfigResponse".to_owned(), json!({ "ImageConfig": image }));
    }
    members.entry("TracingConfig").or_insert_with(|| json!({ "Mode": "PassThrough" }));
    if detail == Detail::Full {
        set_status(&mut members, record);
    }
    members
}

/// The same, with the ARN of the version or alias that it is shown as.
pub fn qualified(
    scope: &Scope,
    record: &FunctionRecord,
    detail: Detail,
    qualifier: &Qualifier,
) -> Map<String, Value> {
    let mut members = of(scope, record, detail);
    let arn = FunctionArn::new(scope, &record.name).qualified(qualifier);
    members.insert("FunctionArn".to_owned(), json!(arn));
    members
}

/// AWS: the name of the function's state.
pub(super) fn state(record: &FunctionRecord) -> &'static str {
    match &record.state {
        State::Pending => "Pending",
        State::Active => "Active",
        State::Failed { .. } => "Failed",
    }
}

fn set_status(members: &mut Map<String, Value>, record: &FunctionRecord) {
    let mut set = |prefix: &str, status: &str, reason: Option<(&str, &str)>| {
        let name = if prefix == "State" { "State" } else { "LastUpdateStatus" };
        members.insert(name.to_owned(), json!(status));
        if let Some((code, reason)) = reason {
            members.insert(format!("{name}Reason"), json!(reason));
            members.insert(format!("{name}ReasonCode"), json!(code));
        }
    };
    const CREATING: Option<(&str, &str)> = Some(("Creating", "The function is being created."));
    match &record.state {
        State::Pending => set("State", "Pending", CREATING),
        State::Active => set("State", "Active", None),
        State::Failed { code, reason } => set("State", "Failed", Some((code, reason))),
    }
    match &record.last_update {
        // AWS: absent until the function has been created.
        LastUpdate::Never if record.state == State::Pending => {}
        LastUpdate::Never | LastUpdate::Successful => set("LastUpdate", "Successful", None),
        // AWS: an update in progress carries the reason of a creation.
        LastUpdate::InProgress => set("LastUpdate", "InProgress", CREATING),
        LastUpdate::Failed { code, reason } => set("LastUpdate", "Failed", Some((code, reason))),
    }
}

fn set_logging(members: &mut Map<String, Value>, name: &str) {
    let logging = members.entry("LoggingConfig").or_insert_with(|| json!({}));
    let Value::Object(logging) = logging else { return };
    let group = || json!(format!("/aws/lambda/{name}"));
    logging.entry("LogGroup").or_insert_with(group);
    let format = logging.entry("LogFormat").or_insert_with(|| json!("Text"));
    if format == "JSON" {
        // AWS: both levels default to INFO, and only JSON has levels.
        logging.entry("ApplicationLogLevel").or_insert_with(|| json!("INFO"));
        logging.entry("SystemLogLevel").or_insert_with(|| json!("INFO"));
    }
}

fn set_snap_start(members: &mut Map<String, Value>) {
    let snap_start = members.entry("SnapStart").or_insert_with(|| json!({ "ApplyOn": "None" }));
    if let Value::Object(snap_start) = snap_start {
        snap_start.insert("OptimizationStatus".to_owned(), json!("Off"));
    }
}

/// `2026-11-22T01:33:09.000+0000`
pub(super) fn last_modified(millis: i64) -> String {
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::{AccountId, CodeRef, FunctionSettings, PackageType};

    fn record() -> FunctionRecord {
        FunctionRecord {
            format: FunctionRecord::FORMAT,
            name: "thumbs".into(),
            settings: FunctionSettings {
                role: "arn:aws:iam::000000000000:role/any".into(),
                package_type: PackageType::Zip,
                runtime: Some("python3.11".into()),
                handler: Some("app.lambda_handler".into()),
                description: String::new(),
                timeout: 3,
                memory_mb: 128,
                tmp_mb: 512,
                architectures: vec!["x86_64".into()],
                environment: None,
                layers: vec![],
                echoed: Map::new(),
            },
            code: CodeRef { digest: "00ff10".into(), size: 7, origin: None, unpacked: 0 },
            state: State::Pending,
            last_update: LastUpdate::Never,
            revision_id: "r".into(),
            last_modified: 1_795_311_189_000,
            generation: 1,
            tags: Default::default(),
            published: None,
            last_version: 0,
            reserved: None,
        }
    }

    fn shown(record: &FunctionRecord, detail: Detail) -> Value {
        let account = AccountId::new("000000000000").unwrap();
        let scope = Scope { account, region: "us-east-1".into() };
        Value::Object(of(&scope, record, detail))
    }

    #[test]
    fn a_minimal_reply_is_as_recorded() {
        let reply = shown(&record(), Detail::Full);
        let version = reply["RuntimeVersionConfig"]["RuntimeVersionArn"].as_str().unwrap();
        assert!(version.starts_with("arn:aws:lambda:us-east-1::runtime:"));
        let expected = json!({
            "FunctionName": "thumbs",
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:thumbs",
            "Runtime": "python3.11",
            "Role": "arn:aws:iam::000000000000:role/any",
            "Handler": "app.lambda_handler",
            "CodeSize": 7,
            "CodeSha256": "AP8Q",
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "LastModified": "2026-11-22T01:33:09.000+0000",
            "Version": "$LATEST",
            "TracingConfig": { "Mode": "PassThrough" },
            "RevisionId": "r",
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": { "Size": 512 },
            "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
            "RuntimeVersionConfig": { "RuntimeVersionArn": version },
            "LoggingConfig": { "LogFormat": "Text", "LogGroup": "/aws/lambda/thumbs" },
        });
        assert_eq!(reply, expected);
    }

    #[test]
    fn statuses_follow_the_record() {
        let mut record = record();
        record.state = State::Active;
        assert_eq!(shown(&record, Detail::Full)["LastUpdateStatus"], "Successful");
        record.last_update = LastUpdate::InProgress;
        let reply = shown(&record, Detail::Full);
        assert_eq!(reply["State"], "Active");
        assert_eq!(reply["LastUpdateStatus"], "InProgress");
        assert_eq!(reply["LastUpdateStatusReasonCode"], "Creating");
        assert_eq!(shown(&record, Detail::Listed).get("LastUpdateStatus"), None);
        record.settings.environment = Some(Default::default());
        assert_eq!(shown(&record, Detail::Full)["Environment"], json!({ "Variables": {} }));
    }
}
