//! From the members of a request to a function's settings. The model has checked shapes, ranges
//! and patterns before; here are the rules that no model states.

use lamplight_model::{FunctionSettings, PackageType, Runtime, limits};
use lamplight_wire::ApiError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// AWS: variables that functions may not set.
const RESERVED: [&str; 21] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
];

pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValueException", message)
}

/// The settings of a new function.
pub fn create(input: &Map<String, Value>) -> Result<FunctionSettings, ApiError> {
    let package_type = match text(input, "PackageType").as_deref() {
        Some("Image") => PackageType::Image,
        _ => PackageType::Zip,
    };
    let mut settings = FunctionSettings {
        role: String::new(),
        package_type,
        runtime: None,
        handler: None,
        description: String::new(),
        timeout: limits::TIMEOUT_SECONDS_DEFAULT,
        memory_mb: limits::MEMORY_MB_DEFAULT,
        tmp_mb: limits::TMP_MB_DEFAULT,
        architectures: vec!["x86_64".to_owned()],
        environment: None,
        layers: Vec::new(),
        echoed: Map::new(),
    };
    if let Some(architectures) = texts(input, "Architectures") {
        settings.architectures = architectures;
    }
    apply(&mut settings, input)?;
    if package_type == PackageType::Zip {
        // AWS: the model does not require them, the service does.
        if settings.runtime.is_none() {
            return Err(invalid(
                "Runtime is mandatory if the function is created with the deployment package being a .zip archive.",
            ));
        }
        if settings.handler.is_none() {
            return Err(invalid(
                "Handler is mandatory if the function is created with the deployment package being a .zip archive.",
            ));
        }
    }
    Ok(settings)
}

/// What UpdateFunctionConfiguration does: members that are absent stay as they are. Layers have to
/// be looked up, so they are not for this pure function.
pub fn apply(settings: &mut FunctionSettings, input: &Map<String, Value>) -> Result<(), ApiError> {
    let given = |name: &str| input.get(name).is_some_and(|value| !value.is_null());
    if settings.package_type == PackageType::Image
        && ["Handler", "Runtime", "Layers"].into_iter().any(given)
    {
        return Err(invalid(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
        ));
    }
    if let Some(role) = text(input, "Role") {
        settings.role = role;
    }
    if let Some(runtime) = text(input, "Runtime") {
        if Runtime::is_blocked(&runtime) {
            return Err(invalid(format!(
                "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."
            )));
        }
        settings.runtime = Some(runtime);
    }
    if let Some(handler) = text(input, "Handler") {
        settings.handler = Some(handler);
    }
    if let Some(description) = text(input, "Description") {
        settings.description = description;
    }
    if let Some(timeout) = number(input, "Timeout") {
        settings.timeout = timeout;
    }
    if let Some(memory) = number(input, "MemorySize") {
        settings.memory_mb = memory;
    }
    if let Some(size) = input.get("EphemeralStorage").and_then(|e| e.get("Size")) {
        settings.tmp_mb = size.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(settings.tmp_mb);
    }
    if let Some(environment) = input.get("Environment") {
        settings.environment = Some(variables(environment)?);
    }
    super::echoed::apply(settings, input)?;
    check_limits(settings)
}

/// The model's ranges are those of functions with a capacity provider; others have smaller ones.
fn check_limits(settings: &FunctionSettings) -> Result<(), ApiError> {
    if settings.has_capacity_provider() {
        return Ok(());
    }
    let largest = [
        ("timeout", settings.timeout, limits::TIMEOUT_SECONDS),
        ("memorySize", settings.memory_mb, limits::MEMORY_MB),
        ("ephemeralStorage.size", settings.tmp_mb, limits::TMP_MB),
    ];
    match largest.iter().find(|(_, value, most)| value > most) {
        None => Ok(()),
        Some((name, value, most)) => Err(invalid(format!(
            "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must have value less than or equal to {most}"
        ))),
    }
}

/// AWS: an object of nothing but empty members is empty too.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().all(is_blank),
        other => is_blank(other),
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn variables(environment: &Value) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(Value::Object(variables)) = environment.get("Variables") else {
        return Ok(BTreeMap::new());
    };
    let reserved: Vec<&str> =
        RESERVED.into_iter().filter(|name| variables.contains_key(*name)).collect();
    if !reserved.is_empty() {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let measured = Value::Object(variables.clone()).to_string();
    if measured.len() > limits::ENVIRONMENT {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {measured}"
        )));
    }
    Ok(variables
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect())
}

pub fn text(input: &Map<String, Value>, name: &str) -> Option<String> {
    Some(input.get(name)?.as_str()?.to_owned())
}

pub fn flag(input: &Map<String, Value>, name: &str) -> bool {
    input.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub fn texts(input: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let items = input.get(name)?.as_array()?;
    Some(items.iter().filter_map(|item| Some(item.as_str()?.to_owned())).collect())
}

fn number(input: &Map<String, Value>, name: &str) -> Option<u32> {
    input.get(name)?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn minimal() -> Value {
        json!({ "Runtime": "python3.11", "Handler": "app.handler", "Role": "arn:aws:iam::000000000000:role/any" })
    }

    #[test]
    fn absent_members_stay_as_they_are() {
        let mut settings = create(&input(minimal())).unwrap();
        apply(&mut settings, &input(json!({ "Environment": { "Variables": { "A": "1" } }, "VpcConfig": { "SubnetIds": ["subnet-1"] } }))).unwrap();
        let before = settings.clone();
        apply(&mut settings, &input(json!({ "MemorySize": 256 }))).unwrap();
        assert_eq!(settings, FunctionSettings { memory_mb: 256, ..before });
        apply(&mut settings, &input(json!({ "Environment": {} }))).unwrap();
        assert_eq!(settings.environment, Some(BTreeMap::new()));
    }

    #[test]
    fn sizes_beyond_those_of_functions_on_demand_take_a_capacity_provider() {
        let create_with = |extra: Value| {
            let mut all = input(minimal());
            all.extend(input(extra));
            create(&all).map_err(|error| error.message)
        };
        for (large, at) in [
            (json!({ "Timeout": 901 }), "timeout"),
            (json!({ "MemorySize": 10_241 }), "memorySize"),
            (json!({ "EphemeralStorage": { "Size": 10_241 } }), "ephemeralStorage.size"),
        ] {
            assert!(create_with(large.clone()).unwrap_err().contains(&format!("at '{at}' failed")));
            let provider = json!({ "LambdaManagedInstancesCapacityProviderConfig": { "CapacityProviderArn": "a" } });
            let mut both = input(large);
            both.insert("CapacityProviderConfig".into(), provider);
            assert!(create_with(Value::Object(both)).is_ok());
        }
    }

    #[test]
    fn what_aws_refuses_is_refused_in_its_words() {
        let refused = |extra: Value| {
            let mut all = input(minimal());
            all.extend(input(extra));
            create(&all).unwrap_err().message
        };
        assert!(
            refused(json!({ "Runtime": "python3.7" }))
                .starts_with("The runtime parameter of python3.7 is no longer supported")
        );
        assert!(
            refused(json!({ "Environment": { "Variables": { "AWS_REGION": "x" } } }))
                .ends_with("Reserved keys used in this request: AWS_REGION")
        );
        let large = "x".repeat(4096);
        assert!(
            refused(json!({ "Environment": { "Variables": { "LARGE_VAR": large } } }))
                .ends_with(&format!("String measured: {{\"LARGE_VAR\":\"{large}\"}}"))
        );
        assert!(
            refused(json!({ "LoggingConfig": { "LogFormat": "Text", "SystemLogLevel": "WARN" } }))
                .starts_with("Log Level is not supported")
        );
        assert!(
            create(&input(json!({ "Handler": "a.b" })))
                .unwrap_err()
                .message
                .starts_with("Runtime is mandatory")
        );
    }
}
