//! From a stored function to what a worker runs.

use lamplight_model::{
    DurableSettings, FunctionArn, FunctionRecord, ImageOverrides, PackageType, Target,
};
use std::time::Duration;

pub(super) fn target(arn: &FunctionArn, record: &FunctionRecord) -> Target {
    let settings = &record.settings;
    let logging = |member| record.echoed_text("LoggingConfig", member);
    let max_concurrency = record.max_concurrency();
    // AWS: where calls run at once there are no other logs.
    let log_format =
        if max_concurrency.is_some() { "JSON" } else { logging("LogFormat").unwrap_or("Text") };
    // AWS: with JSON, what is not said is INFO; with Text there are no levels.
    let level =
        |member| (log_format == "JSON").then(|| logging(member).unwrap_or("INFO").to_owned());
    Target {
        function: arn.clone(),
        version: record.version(),
        generation: record.generation,
        runtime: settings.runtime.clone().unwrap_or_default(),
        handler: settings.handler.clone().unwrap_or_default(),
        role: settings.role.clone(),
        timeout: Duration::from_secs(settings.timeout.into()),
        memory_mb: settings.memory_mb,
        tmp_mb: settings.tmp_mb,
        // AWS: drops variables whose names begin with an underscore; `_HANDLER` is its own.
        environment: settings
            .environment
            .iter()
            .flatten()
            .filter(|(name, _)| !name.starts_with('_'))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        code: record.code.digest.clone(),
        image: (settings.package_type == PackageType::Image).then(|| overrides(record)),
        layers: settings.layers.iter().map(|layer| layer.code.digest.clone()).collect(),
        log_group: logging("LogGroup")
            .map_or_else(|| format!("/aws/lambda/{}", arn.name), str::to_owned),
        log_format: log_format.to_owned(),
        application_log_level: level("ApplicationLogLevel"),
        system_log_level: level("SystemLogLevel"),
        tenant_isolation: record.isolates_tenants(),
        durable: durable(record),
        max_concurrency,
        snap_start: record.snap_starts(),
    }
}

fn durable(record: &FunctionRecord) -> Option<DurableSettings> {
    let config = record.settings.echoed.get("DurableConfig")?;
    let number = |member: &str| u32::try_from(config.get(member)?.as_u64()?).ok();
    Some(DurableSettings {
        // AWS: a day where nothing else is said.
        timeout: number("ExecutionTimeout").unwrap_or(86_400),
        retention_days: number("RetentionPeriodInDays").unwrap_or(30),
    })
}

fn overrides(record: &FunctionRecord) -> ImageOverrides {
    let config = record.settings.echoed.get("ImageConfig");
    let texts = |member: &str| {
        let texts = config?.get(member)?.as_array()?.iter();
        Some(texts.filter_map(|text| Some(text.as_str()?.to_owned())).collect())
    };
    ImageOverrides {
        entry_point: texts("EntryPoint"),
        command: texts("Command"),
        working_directory: record.echoed_text("ImageConfig", "WorkingDirectory").map(str::to_owned),
    }
}
