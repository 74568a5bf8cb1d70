//! What an extension wants to be told, and how: the request of it, read and judged.

use super::buffer::Buffering;
use serde_json::{Map, Value};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// AWS: the older one, which is frozen.
    Logs,
    Telemetry,
}

/// How events are written. The versions of each dialect, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Schema {
    Logs20200815,
    Logs20210318,
    Telemetry20220701,
    Telemetry20221213,
    Telemetry20250129,
}

impl Schema {
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Logs20200815 | Self::Logs20210318 => Dialect::Logs,
            _ => Dialect::Telemetry,
        }
    }

    fn parse(dialect: Dialect, version: &str) -> Option<Self> {
        Some(match (dialect, version) {
            (Dialect::Logs, "2020-08-15") => Self::Logs20200815,
            (Dialect::Logs, "2021-03-18") => Self::Logs20210318,
            (Dialect::Telemetry, "2022-07-01") => Self::Telemetry20220701,
            (Dialect::Telemetry, "2022-12-13") => Self::Telemetry20221213,
            (Dialect::Telemetry, "2025-01-29") => Self::Telemetry20250129,
            _ => return None,
        })
    }
}

/// Which events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Types {
    pub platform: bool,
    pub function: bool,
    pub extension: bool,
}

impl Types {
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            ("platform", self.platform),
            ("function", self.function),
            ("extension", self.extension),
        ];
        all.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }
}

/// Always of this sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// One array of events in each request.
    Http { port: u16, path: String },
    /// One line for each event.
    Tcp { port: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub schema: Schema,
    pub types: Types,
    pub buffering: Buffering,
    pub to: To,
}

/// Why a request is refused, for its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

type Read<T> = Result<T, Invalid>;

fn invalid<T>(why: impl Into<String>) -> Read<T> {
    Err(Invalid(why.into()))
}

impl Subscription {
    pub fn read(dialect: Dialect, body: &[u8]) -> Read<Self> {
        let body: Map<String, Value> = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return invalid(format!("failed to parse JSON: {error}")),
        };
        Ok(Self {
            schema: schema(dialect, body.get("schemaVersion"))?,
            types: types(body.get("types"))?,
            buffering: buffering(body.get("buffering"))?,
            to: to(body.get("destination"))?,
        })
    }
}

fn schema(dialect: Dialect, version: Option<&Value>) -> Read<Schema> {
    match version {
        // AWS: the Logs API had no versions at first.
        None if dialect == Dialect::Logs => Ok(Schema::Logs20200815),
        None => invalid("schemaVersion is required"),
        Some(version) => version
            .as_str()
            .and_then(|version| Schema::parse(dialect, version))
            .ok_or_else(|| Invalid(format!("schemaVersion {version} is not supported"))),
    }
}

fn types(types: Option<&Value>) -> Read<Types> {
    let Some(all) = types.and_then(Value::as_array).filter(|all| !all.is_empty()) else {
        return invalid("types must be an array of at least one item");
    };
    let mut types = Types::default();
    for one in all {
        match one.as_str() {
            Some("platform") => types.platform = true,
            Some("function") => types.function = true,
            Some("extension") => types.extension = true,
            _ => {
                return invalid(format!(
                    "types: {one} is not one of platform, function, extension"
                ));
            }
        }
    }
    Ok(types)
}

/// AWS: bounds and defaults.
fn buffering(given: Option<&Value>) -> Read<Buffering> {
    let empty = Map::new();
    let given = match given {
        None => &empty,
        Some(Value::Object(given)) => given,
        Some(_) => return invalid("buffering must be an object"),
    };
    let number = |name: &str, least: u64, most: u64, otherwise: u64| match given.get(name) {
        None => Ok(otherwise),
        Some(value) => value
            .as_u64()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| Invalid(format!("buffering.{name} must be between {least} and {most}"))),
    };
    Ok(Buffering {
        items: number("maxItems", 1_000, 10_000, 10_000)? as usize,
        bytes: number("maxBytes", 262_144, 1_048_576, 262_144)? as usize,
        time: Duration::from_millis(number("timeoutMs", 25, 30_000, 1_000)?),
    })
}

fn to(destination: Option<&Value>) -> Read<To> {
    let Some(destination) = destination.and_then(Value::as_object) else {
        return invalid("destination is required");
    };
    match destination.get("protocol").and_then(Value::as_str) {
        Some("HTTP") => {
            let uri = destination.get("URI").and_then(Value::as_str);
            let Some(uri) = uri else { return invalid("destination.URI is required") };
            http(uri)
        }
        Some("TCP") => {
            let port = destination.get("port").and_then(Value::as_u64);
            match port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
                Some(port) => Ok(To::Tcp { port }),
                None => invalid("destination.port must be between 1 and 65535"),
            }
        }
        _ => invalid("destination.protocol must be HTTP or TCP"),
    }
}

fn http(uri: &str) -> Read<To> {
    let Ok(uri) = uri.parse::<http::Uri>() else {
        return invalid("could not parse destination.URI");
    };
    // AWS: the other name is that of the same host.
    if !matches!(uri.host(), Some("sandbox.localdomain" | "sandbox")) {
        return invalid("destination.URI host must be sandbox.localdomain");
    }
    if uri.scheme_str() != Some("http") {
        return invalid("destination.URI scheme must be http");
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(To::Http { port: uri.port_u16().unwrap_or(80), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(dialect: Dialect, body: Value) -> Read<Subscription> {
        Subscription::read(dialect, body.to_string().as_bytes())
    }

    fn http_to(uri: &str) -> Value {
        json!({ "protocol": "HTTP", "URI": uri })
    }

    #[test]
    fn a_request_is_read_with_awss_defaults() {
        let body = json!({
            "schemaVersion": "2022-12-13",
            "types": ["platform", "extension"],
            "destination": http_to("http://sandbox.localdomain:8080/in?x=1"),
        });
        let read = read(Dialect::Telemetry, body).unwrap();
        assert_eq!(read.schema, Schema::Telemetry20221213);
        assert_eq!(read.types.names(), ["platform", "extension"]);
        assert_eq!(read.to, To::Http { port: 8080, path: "/in?x=1".into() });
        let Buffering { items, bytes, time } = read.buffering;
        assert_eq!((items, bytes, time.as_millis()), (10_000, 262_144, 1_000));
    }

    #[test]
    fn every_version_belongs_to_one_dialect() {
        for (dialect, versions) in [
            (Dialect::Logs, ["2020-08-15", "2021-03-18"].as_slice()),
            (Dialect::Telemetry, &["2022-07-01", "2022-12-13", "2025-01-29"]),
        ] {
            for version in versions {
                let body = json!({
                    "schemaVersion": version,
                    "types": ["function"],
                    "destination": { "protocol": "TCP", "port": 4243 },
                });
                let read = read(dialect, body).unwrap();
                assert_eq!((read.schema.dialect(), read.to), (dialect, To::Tcp { port: 4243 }));
            }
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let with = |name: &str, value: Value| {
            let mut body = json!({
                "schemaVersion": "2022-07-01",
                "types": ["function"],
                "buffering": {},
                "destination": http_to("http://sandbox:80"),
            });
            assert!(read(Dialect::Telemetry, body.clone()).is_ok());
            body[name] = value;
            read(Dialect::Telemetry, body).unwrap_err().0
        };
        for (name, value, why) in [
            ("schemaVersion", json!("2020-08-15"), "schemaVersion \"2020-08-15\" is not supported"),
            ("types", json!([]), "types must be an array of at least one item"),
            ("types", json!(["x"]), "types: \"x\" is not one of platform, function, extension"),
            (
                "buffering",
                json!({ "maxItems": 999 }),
                "buffering.maxItems must be between 1000 and 10000",
            ),
            (
                "buffering",
                json!({ "timeoutMs": 24 }),
                "buffering.timeoutMs must be between 25 and 30000",
            ),
            (
                "buffering",
                json!({ "maxBytes": "1" }),
                "buffering.maxBytes must be between 262144 and 1048576",
            ),
            ("buffering", json!(1), "buffering must be an object"),
            ("destination", json!({}), "destination.protocol must be HTTP or TCP"),
            (
                "destination",
                json!({ "protocol": "TCP", "port": 70_000 }),
                "destination.port must be between 1 and 65535",
            ),
            (
                "destination",
                http_to("http://169.254.169.254:80"),
                "destination.URI host must be sandbox.localdomain",
            ),
            ("destination", http_to("https://sandbox:80"), "destination.URI scheme must be http"),
        ] {
            assert_eq!(with(name, value), why);
        }
        assert!(Subscription::read(Dialect::Logs, b"{").is_err());
    }
}
