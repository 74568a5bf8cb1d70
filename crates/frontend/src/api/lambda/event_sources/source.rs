//! The kinds of event sources: what a mapping of each begins with and what it may be asked for.
//! Pure. Whether the source itself is there is not looked at: only its poller can tell.

use super::pattern;
use crate::api::lambda::settings::{invalid, is_empty};
use lamplight_wire::ApiError;
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Sqs { fifo: bool },
    Kinesis,
    DynamoDb,
    ManagedKafka,
    OwnKafka,
    Mq,
    DocumentDb,
}

/// Members of a mapping that requests set and answers show.
const SETTINGS: [&str; 23] = [
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FilterCriteria",
    "KMSKeyArn",
    "MetricsConfig",
    "LoggingConfig",
    "ScalingConfig",
    "ParallelizationFactor",
    "StartingPosition",
    "StartingPositionTimestamp",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "SelfManagedEventSource",
    "FunctionResponseTypes",
    "DocumentDBEventSourceConfig",
    "ProvisionedPollerConfig",
    "EventSourceArn",
];
const KAFKA_SETTINGS: [&str; 2] =
    ["AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"];
const FILTERS: usize = 5;

type Has = fn(Source) -> bool;

/// AWS: which kinds have a member that not all have, as the service model's texts say.
const ONLY_FOR: [(&str, Has); 17] = [
    ("AmazonManagedKafkaEventSourceConfig", |kind| kind == Source::ManagedKafka),
    ("BisectBatchOnFunctionError", |kind| kind.is_stream() || kind.is_kafka()),
    ("DestinationConfig", |kind| kind.is_stream() || kind.is_kafka()),
    ("DocumentDBEventSourceConfig", |kind| kind == Source::DocumentDb),
    ("FunctionResponseTypes", |kind| kind.is_queue() || kind.is_stream() || kind.is_kafka()),
    ("LoggingConfig", Source::is_kafka),
    ("MaximumRecordAgeInSeconds", |kind| kind.is_stream() || kind.is_kafka()),
    ("MaximumRetryAttempts", |kind| kind.is_stream() || kind.is_kafka()),
    ("ParallelizationFactor", Source::is_stream),
    ("ProvisionedPollerConfig", |kind| kind.is_queue() || kind.is_kafka()),
    ("Queues", |kind| kind == Source::Mq),
    ("ScalingConfig", Source::is_queue),
    ("SelfManagedEventSource", |kind| kind == Source::OwnKafka),
    ("SelfManagedKafkaEventSourceConfig", |kind| kind == Source::OwnKafka),
    ("SourceAccessConfigurations", |kind| !kind.is_queue() && !kind.is_stream()),
    ("Topics", Source::is_kafka),
    ("TumblingWindowInSeconds", Source::is_stream),
];

impl Source {
    pub fn of(input: &Map<String, Value>) -> Result<Self, ApiError> {
        let unknown = || invalid("Unrecognized event source.");
        if input.get("SelfManagedEventSource").is_some_and(|source| !source.is_null()) {
            return Ok(Self::OwnKafka);
        }
        let arn = input.get("EventSourceArn").and_then(Value::as_str).ok_or_else(unknown)?;
        Ok(match arn.split(':').nth(2) {
            Some("sqs") => Self::Sqs { fifo: arn.ends_with(".fifo") },
            Some("kinesis") => Self::Kinesis,
            Some("dynamodb") => Self::DynamoDb,
            Some("kafka") => Self::ManagedKafka,
            Some("mq") => Self::Mq,
            Some("rds") => Self::DocumentDb,
            _ => return Err(unknown()),
        })
    }

    fn is_queue(self) -> bool {
        matches!(self, Self::Sqs { .. })
    }

    fn is_stream(self) -> bool {
        matches!(self, Self::Kinesis | Self::DynamoDb)
    }

    /// AWS: streams say it in other words than the others.
    pub fn reason(self) -> &'static str {
        if self.is_stream() { "User action" } else { "USER_INITIATED" }
    }

    /// What a mapping has before anything is asked for. `uuid` is its own.
    pub fn defaults(self, uuid: &str) -> Map<String, Value> {
        let defaults = match self {
            Self::Sqs { .. } => json!({
                "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
            }),
            Self::Kinesis | Self::DynamoDb => json!({
                "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
                "BisectBatchOnFunctionError": false, "DestinationConfig": { "OnFailure": {} },
                "MaximumRecordAgeInSeconds": -1, "MaximumRetryAttempts": -1,
                "ParallelizationFactor": 1, "TumblingWindowInSeconds": 0,
                "LastProcessingResult": "No records processed",
            }),
            Self::ManagedKafka => json!({
                "BatchSize": 100, "LastProcessingResult": "No records processed",
                "AmazonManagedKafkaEventSourceConfig": { "ConsumerGroupId": uuid },
            }),
            Self::OwnKafka => json!({
                "BatchSize": 100, "LastProcessingResult": "No records processed",
                "StartingPosition": "TRIM_HORIZON",
                "SelfManagedKafkaEventSourceConfig": { "ConsumerGroupId": uuid },
            }),
            Self::Mq | Self::DocumentDb => json!({
                "BatchSize": 100, "LastProcessingResult": "No records processed",
            }),
        };
        defaults.as_object().cloned().unwrap_or_default()
    }

    /// Takes over what a request gives. AWS: what it gives empty goes.
    pub fn apply(self, config: &mut Map<String, Value>, input: &Map<String, Value>) {
        let given = |name: &&str| input.get(*name).filter(|value| !value.is_null());
        for name in SETTINGS {
            let Some(value) = given(&name) else { continue };
            let stays = matches!(name, "FunctionResponseTypes" | "DestinationConfig");
            let blank = match value {
                Value::Object(members) => members
                    .values()
                    .all(|member| member.is_null() || member.as_array().is_some_and(Vec::is_empty)),
                Value::Array(items) => items.is_empty(),
                Value::String(text) => text.is_empty(),
                _ => false,
            };
            match name {
                "DestinationConfig" => {
                    let failure = value.pointer("/OnFailure/Destination").and_then(Value::as_str);
                    let failure = match failure.filter(|arn| !arn.is_empty()) {
                        Some(arn) => json!({ "Destination": arn }),
                        None => json!({}),
                    };
                    config.insert(name.to_owned(), json!({ "OnFailure": failure }));
                }
                _ if blank && !stays => drop(config.remove(name)),
                _ => drop(config.insert(name.to_owned(), value.clone())),
            }
        }
        for name in KAFKA_SETTINGS {
            // The consumer group stays where only the schema registry is given.
            if let Some(Value::Object(given)) = given(&name) {
                let kept = config.entry(name).or_insert_with(|| json!({}));
                kept.as_object_mut().into_iter().for_each(|kept| kept.extend(given.clone()));
            }
        }
    }

    /// Refuses what a mapping of this kind cannot be, in AWS's words where they are known.
    pub fn check(
        self,
        config: &Map<String, Value>,
        input: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let given = |name: &str| input.get(name).is_some_and(|value| !is_empty(value));
        let number = |name: &str| config.get(name).and_then(Value::as_i64);
        let on_success = input.get("DestinationConfig").and_then(|both| both.get("OnSuccess"));
        if on_success.is_some_and(|side| !side.is_null()) {
            return Err(unsupported("DestinationConfig"));
        }
        if let Some(name) = self.unsupported().find(|name| given(name)) {
            return Err(unsupported(name));
        }
        for (name, shown) in self.required() {
            if config.get(*name).is_none_or(Value::is_null) {
                return Err(invalid(format!("Required '{shown}' parameter is missing.")));
            }
        }
        self.check_position(config)?;
        let batch = number("BatchSize").unwrap_or_default();
        match self {
            Self::Sqs { fifo: true } if batch > 10 => {
                return Err(invalid("BatchSize cannot be greater than 10 for FIFO queues."));
            }
            Self::Sqs { .. }
                if batch > 10 && number("MaximumBatchingWindowInSeconds").unwrap_or(0) == 0 =>
            {
                return Err(invalid(
                    "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
                ));
            }
            _ => {}
        }
        if number("MaximumRecordAgeInSeconds").is_some_and(|age| (0..60).contains(&age)) {
            return Err(invalid("MaximumRecordAgeInSeconds must be -1 or between 60 and 604800."));
        }
        check_filters(config)
    }

    fn check_position(self, config: &Map<String, Value>) -> Result<(), ApiError> {
        let position = config.get("StartingPosition").and_then(Value::as_str);
        let timestamp = config.get("StartingPositionTimestamp").is_some();
        match (self, position) {
            (Self::Sqs { .. } | Self::Mq | Self::OwnKafka, None) => Ok(()),
            (_, None) => Err(invalid(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.",
            )),
            (Self::Sqs { .. } | Self::Mq, Some(_)) | (Self::DynamoDb, Some("AT_TIMESTAMP")) => {
                Err(invalid(format!(
                    "Unsupported starting position for arn type: {}",
                    config.get("EventSourceArn").and_then(Value::as_str).unwrap_or_default()
                )))
            }
            (_, Some("AT_TIMESTAMP")) if !timestamp => Err(invalid(
                "StartingPositionTimestamp is required when StartingPosition is AT_TIMESTAMP.",
            )),
            (_, Some("AT_TIMESTAMP")) => Ok(()),
            (_, Some(_)) if timestamp => Err(invalid(
                "StartingPositionTimestamp is only supported when StartingPosition is AT_TIMESTAMP.",
            )),
            _ => Ok(()),
        }
    }

    /// Members that only other kinds have.
    fn unsupported(self) -> impl Iterator<Item = &'static str> {
        ONLY_FOR.iter().filter(move |(_, has)| !has(self)).map(|(name, _)| *name)
    }

    fn is_kafka(self) -> bool {
        matches!(self, Self::ManagedKafka | Self::OwnKafka)
    }

    /// Members that have no default, and what AWS calls them.
    fn required(self) -> &'static [(&'static str, &'static str)] {
        const ACCESS: (&str, &str) = ("SourceAccessConfigurations", "sourceAccessConfigurations");
        match self {
            Self::OwnKafka => &[
                ACCESS,
                ("SelfManagedEventSource", "selfManagedEventSource"),
                ("Topics", "topics"),
            ],
            Self::ManagedKafka => &[("Topics", "topics")],
            Self::Mq => &[ACCESS, ("Queues", "queues")],
            Self::DocumentDb => &[ACCESS],
            Self::Sqs { .. } | Self::Kinesis | Self::DynamoDb => &[],
        }
    }
}

fn unsupported(name: &str) -> ApiError {
    invalid(format!("Unsupported {name} parameter for given event source mapping type."))
}

fn check_filters(config: &Map<String, Value>) -> Result<(), ApiError> {
    let filters = config.get("FilterCriteria").and_then(|criteria| criteria.get("Filters"));
    let filters = filters.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if filters.len() > FILTERS {
        return Err(invalid(format!("An event source mapping takes at most {FILTERS} filters.")));
    }
    let valid = |filter: &Value| {
        filter.get("Pattern").and_then(Value::as_str).is_some_and(pattern::is_valid)
    };
    if filters.iter().all(valid) {
        Ok(())
    } else {
        Err(invalid("Invalid filter pattern definition."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn checked(input: Value) -> Result<Map<String, Value>, String> {
        let input = map(input);
        let source = Source::of(&input).map_err(|error| error.message)?;
        let mut config = source.defaults("uuid");
        source.apply(&mut config, &input);
        source.check(&config, &input).map_err(|error| error.message)?;
        Ok(config)
    }

    fn arn(service: &str) -> String {
        format!("arn:aws:{service}:us-east-1:000000000000:x")
    }

    #[test]
    fn a_member_of_another_kind_is_refused() {
        let refused = |service: &str, name: &str, value: Value| {
            let mut input =
                map(json!({ "EventSourceArn": arn(service), "StartingPosition": "LATEST" }));
            if matches!(service, "sqs" | "mq") {
                input.remove("StartingPosition");
            }
            input.insert(name.to_owned(), value);
            checked(Value::Object(input)).err()
        };
        for (service, name, value) in [
            ("sqs", "ParallelizationFactor", json!(2)),
            ("sqs", "Topics", json!(["t"])),
            ("kinesis", "ScalingConfig", json!({ "MaximumConcurrency": 2 })),
            ("dynamodb", "SourceAccessConfigurations", json!([{ "Type": "BASIC_AUTH" }])),
            ("mq", "DestinationConfig", json!({ "OnFailure": { "Destination": "d" } })),
            ("kafka", "TumblingWindowInSeconds", json!(1)),
        ] {
            assert_eq!(
                refused(service, name, value).unwrap(),
                format!("Unsupported {name} parameter for given event source mapping type.")
            );
        }
        assert_eq!(refused("kinesis", "TumblingWindowInSeconds", json!(1)), None);
        assert_eq!(refused("sqs", "ScalingConfig", json!({ "MaximumConcurrency": 2 })), None);
        // What is given empty is not given.
        assert_eq!(refused("kinesis", "Topics", json!([])), None);
    }

    #[test]
    fn kafka_and_brokers_need_more_than_a_source() {
        let missing = |input: Value| checked(input).unwrap_err();
        assert_eq!(
            missing(json!({ "EventSourceArn": arn("kafka"), "StartingPosition": "LATEST" })),
            "Required 'topics' parameter is missing."
        );
        assert_eq!(
            missing(json!({ "EventSourceArn": arn("mq"), "Queues": ["q"] })),
            "Required 'sourceAccessConfigurations' parameter is missing."
        );
        let topics = json!({ "EventSourceArn": arn("kafka"), "StartingPosition": "LATEST", "Topics": ["t"] });
        let config = checked(topics).unwrap();
        assert_eq!(
            config["AmazonManagedKafkaEventSourceConfig"],
            json!({ "ConsumerGroupId": "uuid" })
        );
        assert_eq!(
            checked(json!({ "EventSourceArn": arn("iam") })).unwrap_err(),
            "Unrecognized event source."
        );
    }
}
