//! Settings that are checked, stored and shown again, and that nothing here acts on. Pure.
//!
//! A request replaces each of them as a whole, but LoggingConfig, which it changes in part. What
//! AWS fills in is filled in when it is stored, so that two reads are the same.

use super::settings::{invalid, is_empty};
use lamplight_model::{FunctionSettings, Language, PackageType, Runtime};
use lamplight_wire::ApiError;
use serde_json::{Map, Value, json};

const NAMES: [&str; 12] = [
    "VpcConfig",
    "DeadLetterConfig",
    "KMSKeyArn",
    "TracingConfig",
    "FileSystemConfigs",
    "ImageConfig",
    "SnapStart",
    "LoggingConfig",
    "TenancyConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "AcceleratorConfig",
];
/// AWS: how long durable executions are kept where nothing else is said.
const RETENTION_DAYS: u64 = 30;

/// Takes over what a request gives; what is absent stays.
pub fn apply(settings: &mut FunctionSettings, input: &Map<String, Value>) -> Result<(), ApiError> {
    for name in NAMES {
        let Some(given) = input.get(name).filter(|value| !value.is_null()) else { continue };
        let kept = settings.echoed.get(name);
        let next = match name {
            // AWS: shows the lists empty once they were given.
            "VpcConfig" => Some(vpc(given)),
            "LoggingConfig" => Some(logging(kept, given)?),
            // AWS: an empty value takes the setting away.
            _ if is_empty(given) => None,
            "DeadLetterConfig" => Some(dead_letter(given)?),
            "DurableConfig" => Some(durable(given)),
            _ => Some(given.clone()),
        };
        match next {
            Some(next) => settings.echoed.insert(name.to_owned(), next),
            None => settings.echoed.remove(name),
        };
    }
    log_as_json(settings)?;
    check(settings)
}

/// AWS: functions on capacity providers log as JSON and no other way.
fn log_as_json(settings: &mut FunctionSettings) -> Result<(), ApiError> {
    if !settings.echoed.contains_key("CapacityProviderConfig") {
        return Ok(());
    }
    let logging = settings.echoed.entry("LoggingConfig").or_insert_with(|| json!({}));
    match logging["LogFormat"].as_str() {
        Some("JSON") => {}
        Some(_) => {
            return Err(invalid(
                "LogFormat Text is not supported for functions with a capacity provider. Use JSON.",
            ));
        }
        None => logging["LogFormat"] = json!("JSON"),
    }
    Ok(())
}

/// What cannot be together, whichever request brought it.
fn check(settings: &FunctionSettings) -> Result<(), ApiError> {
    let given = |name: &str| settings.echoed.get(name);
    // An environment that takes many calls at once would take them for many tenants.
    if settings.isolates_tenants() && given("CapacityProviderConfig").is_some() {
        return Err(invalid(
            "Capacity providers are not supported for functions with tenant isolation.",
        ));
    }
    let snapshots = given("SnapStart").is_some_and(|snap| snap["ApplyOn"] == "PublishedVersions");
    if snapshots {
        let runtime = settings.runtime.as_deref().unwrap_or_default();
        if settings.package_type == PackageType::Zip && !can_snapshot(runtime) {
            return Err(invalid(format!(
                "{runtime} is not supported for SnapStart enabled functions."
            )));
        }
        if settings.isolates_tenants() {
            return Err(invalid("SnapStart is not supported for functions with tenant isolation."));
        }
    }
    Ok(())
}

/// AWS: Java from 11, Python from 3.12, .NET from 8.
fn can_snapshot(runtime: &str) -> bool {
    let Some(runtime) = Runtime::parse(runtime) else { return false };
    let mut numbers = runtime.version.split('.').map(|number| number.parse::<u32>().ok());
    let version = (numbers.next().flatten().unwrap_or(0), numbers.next().flatten().unwrap_or(0));
    match runtime.language {
        Language::Java => version >= (11, 0),
        Language::Python => version >= (3, 12),
        Language::Dotnet => version >= (8, 0),
        _ => false,
    }
}

fn vpc(given: &Value) -> Value {
    let list = |name: &str| match &given[name] {
        Value::Array(items) => json!(items),
        _ => json!([]),
    };
    json!({
        "SubnetIds": list("SubnetIds"),
        "SecurityGroupIds": list("SecurityGroupIds"),
        "Ipv6AllowedForDualStack": given["Ipv6AllowedForDualStack"].as_bool().unwrap_or(false),
    })
}

/// AWS: members that are absent stay, and a format without levels takes them away.
fn logging(kept: Option<&Value>, given: &Value) -> Result<Value, ApiError> {
    let mut next = kept.and_then(Value::as_object).cloned().unwrap_or_default();
    let given = given.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut levels = false;
    for (name, value) in given {
        levels |= matches!(name.as_str(), "ApplicationLogLevel" | "SystemLogLevel");
        next.insert(name.clone(), value.clone());
    }
    if next.get("LogFormat").is_none_or(|format| format == "Text") {
        if levels {
            return Err(invalid(
                "Log Level is not supported when LogFormat is set to \"Text\". Remove log level from your request or change the LogFormat to \"JSON\" and try again.",
            ));
        }
        next.retain(|name, _| !matches!(name.as_str(), "ApplicationLogLevel" | "SystemLogLevel"));
    }
    Ok(Value::Object(next))
}

fn dead_letter(given: &Value) -> Result<Value, ApiError> {
    let target = given["TargetArn"].as_str().unwrap_or_default();
    match target.split(':').nth(2) {
        Some("sqs" | "sns") if !target.ends_with(".fifo") => Ok(given.clone()),
        _ => Err(invalid(format!(
            "The target of DeadLetterConfig must be a standard SQS queue or SNS topic: {target}"
        ))),
    }
}

fn durable(given: &Value) -> Value {
    let mut next = given.clone();
    if next["RetentionPeriodInDays"].is_null() {
        next["RetentionPeriodInDays"] = json!(RETENTION_DAYS);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::super::settings;
    use super::*;

    fn with(echoes: &[Value]) -> Result<Map<String, Value>, String> {
        let mut all = json!({ "Runtime": "python3.11", "Handler": "a.b", "Role": "r" });
        let mut made = None;
        for echo in echoes {
            all.as_object_mut().unwrap().extend(echo.as_object().unwrap().clone());
            match &mut made {
                None => {
                    made = Some(settings::create(all.as_object().unwrap()).map_err(|e| e.message)?)
                }
                Some(made) => apply(made, echo.as_object().unwrap()).map_err(|e| e.message)?,
            }
        }
        Ok(made.unwrap().echoed)
    }

    #[test]
    fn a_vpc_that_was_taken_away_is_shown_empty() {
        let vpc = json!({ "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] });
        let empty = json!({ "SubnetIds": [], "SecurityGroupIds": [] });
        let shown = |given: &Value| json!({ "SubnetIds": given["SubnetIds"], "SecurityGroupIds": given["SecurityGroupIds"], "Ipv6AllowedForDualStack": false });
        let first = with(&[json!({ "VpcConfig": vpc })]).unwrap();
        assert_eq!(first["VpcConfig"], shown(&vpc));
        let both = with(&[json!({ "VpcConfig": vpc }), json!({ "VpcConfig": empty })]).unwrap();
        assert_eq!(both["VpcConfig"], shown(&empty));
        assert_eq!(with(&[json!({})]).unwrap().get("VpcConfig"), None);
    }

    #[test]
    fn logging_changes_in_part() {
        let logging = |steps: &[Value]| {
            let steps: Vec<_> = steps.iter().map(|l| json!({ "LoggingConfig": l })).collect();
            Ok::<_, String>(with(&steps)?["LoggingConfig"].clone())
        };
        let json_debug = json!({ "LogFormat": "JSON", "ApplicationLogLevel": "DEBUG" });
        let moved = logging(&[json_debug.clone(), json!({ "LogGroup": "cool" })]).unwrap();
        assert_eq!(
            moved,
            json!({ "LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "cool" })
        );
        let text = logging(&[json_debug.clone(), json!({ "LogFormat": "Text" })]).unwrap();
        assert_eq!(text, json!({ "LogFormat": "Text" }));
        assert!(logging(&[json_debug, json!({ "SystemLogLevel": "WARN" })]).is_ok());
        for refused in [
            json!({ "SystemLogLevel": "WARN" }),
            json!({ "LogFormat": "Text", "ApplicationLogLevel": "INFO" }),
        ] {
            assert!(logging(&[refused]).unwrap_err().starts_with("Log Level is not supported"));
        }
    }

    #[test]
    fn empty_values_take_settings_away_and_wrong_ones_are_refused() {
        let queue = json!({ "TargetArn": "arn:aws:sqs:us-east-1:000000000000:q" });
        assert_eq!(
            with(&[json!({ "DeadLetterConfig": queue })]).unwrap()["DeadLetterConfig"],
            queue
        );
        let none = [
            json!({ "DeadLetterConfig": queue }),
            json!({ "DeadLetterConfig": { "TargetArn": "" } }),
        ];
        assert_eq!(with(&none).unwrap().get("DeadLetterConfig"), None);
        let wrong = json!({ "DeadLetterConfig": { "TargetArn": "arn:aws:s3:::bucket" } });
        assert!(with(&[wrong]).unwrap_err().contains("standard SQS queue"));
        let key = [json!({ "KMSKeyArn": "arn:aws:kms:x" }), json!({ "KMSKeyArn": "" })];
        assert_eq!(with(&key).unwrap().get("KMSKeyArn"), None);
        let kept = with(&[json!({ "DurableConfig": { "ExecutionTimeout": 60 } })]).unwrap();
        assert_eq!(kept["DurableConfig"]["RetentionPeriodInDays"], 30);
    }

    #[test]
    fn tenants_are_not_isolated_in_what_is_made_ahead_of_calls() {
        let tenancy = json!({ "TenancyConfig": { "TenantIsolationMode": "PER_TENANT" } });
        assert!(with(std::slice::from_ref(&tenancy)).is_ok());
        for mut both in [
            json!({ "Runtime": "java21", "SnapStart": { "ApplyOn": "PublishedVersions" } }),
            json!({ "CapacityProviderConfig": { "LambdaManagedInstancesCapacityProviderConfig": { "CapacityProviderArn": "a" } } }),
        ] {
            both["TenancyConfig"] = tenancy["TenancyConfig"].clone();
            let refused = with(&[both]).unwrap_err();
            assert!(refused.ends_with("for functions with tenant isolation."), "{refused}");
        }
    }

    #[test]
    fn only_some_runtimes_can_be_snapshotted() {
        let snap = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
        let refused = with(std::slice::from_ref(&snap)).unwrap_err();
        assert_eq!(refused, "python3.11 is not supported for SnapStart enabled functions.");
        for runtime in ["java11", "java21", "java17.al2023", "python3.12", "dotnet8", "dotnet10"] {
            assert!(can_snapshot(runtime), "{runtime}");
        }
        for runtime in ["java8.al2", "python3.9", "dotnet6", "nodejs24.x", "provided.al2023"] {
            assert!(!can_snapshot(runtime), "{runtime}");
        }
    }
}
