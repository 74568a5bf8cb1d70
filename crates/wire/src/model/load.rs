//! Parses one trimmed service model. Refuses a model that refers to shapes it lacks or uses a trait
//! this crate does not know how to honour.

use super::{
    Constraints, Element, ErrorTraits, Kind, Location, Member, Operation, Pattern, Protocol,
    Service, Shape, ShapeId, Structure, TimestampFormat, UriTemplate,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the model is not the JSON it should be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("shape {0} is referred to and does not exist")]
    MissingShape(String),
    #[error("{what} {value:?} is not supported")]
    Unsupported { what: &'static str, value: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawService {
    metadata: RawMetadata,
    operations: Map<String, Value>,
    shapes: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    api_version: String,
    endpoint_prefix: String,
    protocol: String,
    signing_name: Option<String>,
    json_version: Option<String>,
    target_prefix: Option<String>,
    xml_namespace: Option<String>,
}

#[derive(Deserialize)]
struct RawOperation {
    http: RawHttp,
    input: Option<RawReference>,
    output: Option<RawReference>,
    #[serde(default)]
    errors: Vec<RawReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttp {
    method: String,
    request_uri: String,
    response_code: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct RawReference {
    shape: String,
    result_wrapper: Option<String>,
    location: Option<String>,
    location_name: Option<String>,
    flattened: bool,
    idempotency_token: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawShape {
    r#type: String,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    members: Map<String, Value>,
    member: Option<RawReference>,
    key: Option<RawReference>,
    value: Option<RawReference>,
    payload: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    pattern: Option<String>,
    #[serde(default)]
    r#enum: Vec<String>,
    #[serde(default)]
    flattened: bool,
    location_name: Option<String>,
    timestamp_format: Option<String>,
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    eventstream: bool,
    error: Option<RawError>,
    #[serde(default)]
    exception: bool,
    #[serde(default)]
    fault: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawError {
    code: Option<String>,
    http_status_code: Option<u16>,
    sender_fault: Option<bool>,
}

impl Service {
    /// Parses a model as `cargo xtask codegen` writes it.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let raw: RawService = serde_json::from_str(text)?;
        let mut names = Names {
            ids: raw
                .shapes
                .keys()
                .enumerate()
                .map(|(id, name)| (name.clone(), ShapeId(id)))
                .collect(),
            flat: HashMap::new(),
        };
        if raw.metadata.protocol == "query" {
            for (name, shape) in &raw.shapes {
                names
                    .flat
                    .extend(flat_name(RawShape::deserialize(shape)?).map(|on| (name.clone(), on)));
            }
        }
        let shapes = raw
            .shapes
            .iter()
            .map(|(name, shape)| names.shape(name, RawShape::deserialize(shape)?))
            .collect::<Result<_, _>>()?;
        let operations = raw
            .operations
            .iter()
            .map(|(name, operation)| names.operation(name, RawOperation::deserialize(operation)?))
            .collect::<Result<_, _>>()?;
        let metadata = raw.metadata;
        let json_version = metadata.json_version.as_deref();
        let protocol = match (metadata.protocol.as_str(), json_version) {
            ("rest-json", _) => Protocol::RestJson,
            ("json", Some("1.1")) => Protocol::Json11,
            ("json", _) => Protocol::Json10,
            ("query", _) => Protocol::Query,
            (other, _) => return unsupported("protocol", other),
        };
        Ok(Self {
            signing_name: metadata.signing_name.unwrap_or_else(|| metadata.endpoint_prefix.clone()),
            name: metadata.endpoint_prefix,
            protocol,
            api_version: metadata.api_version,
            target_prefix: metadata.target_prefix,
            xml_namespace: metadata.xml_namespace,
            operations,
            shapes,
        })
    }
}

struct Names {
    ids: HashMap<String, ShapeId>,
    /// What members of a shape are called on the wire, whatever they are called themselves.
    flat: HashMap<String, String>,
}

/// In the query protocol a flattened list goes by the name of its elements, and a flattened map by
/// a name of its own.
fn flat_name(shape: RawShape) -> Option<String> {
    if !shape.flattened {
        return None;
    }
    shape.location_name.or(shape.member.and_then(|element| element.location_name))
}

impl Names {
    fn id(&self, name: &str) -> Result<ShapeId, ModelError> {
        self.ids.get(name).copied().ok_or_else(|| ModelError::MissingShape(name.to_owned()))
    }

    fn operation(&self, name: &str, raw: RawOperation) -> Result<Operation, ModelError> {
        let id = |reference: &RawReference| self.id(&reference.shape);
        Ok(Operation {
            name: name.to_owned(),
            method: raw.http.method.parse().or_else(|_| unsupported("method", &raw.http.method))?,
            uri: UriTemplate::parse(&raw.http.request_uri),
            status: raw.http.response_code.unwrap_or(200),
            input: raw.input.as_ref().map(id).transpose()?,
            output: raw.output.as_ref().map(id).transpose()?,
            errors: raw.errors.iter().map(id).collect::<Result<_, _>>()?,
            result_wrapper: raw.output.and_then(|output| output.result_wrapper),
        })
    }

    fn shape(&self, name: &str, raw: RawShape) -> Result<Shape, ModelError> {
        let error = (raw.exception || raw.error.is_some()).then(|| {
            let traits = raw.error.unwrap_or_default();
            let sender_fault = traits.sender_fault.unwrap_or(!raw.fault);
            ErrorTraits {
                code: traits.code,
                status: traits.http_status_code.unwrap_or(if sender_fault { 400 } else { 500 }),
                sender_fault,
            }
        });
        let kind = match raw.r#type.as_str() {
            "structure" => {
                let members = raw
                    .members
                    .iter()
                    .map(|(name, member)| {
                        let required = raw.required.contains(name);
                        self.member(name, RawReference::deserialize(member)?, required)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let payload = raw
                    .payload
                    .and_then(|payload| members.iter().position(|member| member.name == payload));
                Kind::Structure(Structure { members, payload, event_stream: raw.eventstream })
            }
            "list" => Kind::List { element: self.element(raw.member)?, flattened: raw.flattened },
            "map" => Kind::Map {
                key: self.element(raw.key)?,
                value: self.element(raw.value)?,
                flattened: raw.flattened,
            },
            "string" | "character" => Kind::String,
            "blob" => Kind::Blob,
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "long" => Kind::Long,
            "float" | "double" => Kind::Double,
            "timestamp" => Kind::Timestamp(match raw.timestamp_format.as_deref() {
                None => None,
                Some("iso8601") => Some(TimestampFormat::Iso8601),
                Some("rfc822") => Some(TimestampFormat::Rfc822),
                Some("unixTimestamp") => Some(TimestampFormat::Unix),
                Some(other) => return unsupported("timestamp format", other),
            }),
            other => return unsupported("shape type", other),
        };
        let constraints = Constraints {
            min: raw.min,
            max: raw.max,
            pattern: raw.pattern.map(Pattern::new),
            choices: raw.r#enum,
        };
        let name = name.to_owned();
        Ok(Shape { name, kind, constraints, sensitive: raw.sensitive, error })
    }

    fn member(&self, name: &str, raw: RawReference, required: bool) -> Result<Member, ModelError> {
        Ok(Member {
            name: name.to_owned(),
            shape: self.id(&raw.shape)?,
            wire_name: self
                .flat
                .get(&raw.shape)
                .cloned()
                .or(raw.location_name)
                .unwrap_or_else(|| name.to_owned()),
            location: match raw.location.as_deref() {
                None => Location::Body,
                Some("uri") => Location::Uri,
                Some("querystring") => Location::Query,
                Some("header") => Location::Header,
                Some("statusCode") => Location::StatusCode,
                Some(other) => return unsupported("location", other),
            },
            required,
            flattened: raw.flattened,
            idempotency_token: raw.idempotency_token,
        })
    }

    fn element(&self, raw: Option<RawReference>) -> Result<Element, ModelError> {
        let raw = raw.unwrap_or_default();
        Ok(Element { shape: self.id(&raw.shape)?, wire_name: raw.location_name })
    }
}

fn unsupported<T>(what: &'static str, value: &str) -> Result<T, ModelError> {
    Err(ModelError::Unsupported { what, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_refers_to_nothing_is_refused() {
        let text = r#"{"metadata":{"apiVersion":"1","endpointPrefix":"x","protocol":"query"},
            "operations":{},"shapes":{"A":{"type":"list","member":{"shape":"B"}}}}"#;
        assert!(matches!(Service::parse(text), Err(ModelError::MissingShape(name)) if name == "B"));
    }

    #[test]
    fn an_unknown_protocol_is_refused() {
        let text = r#"{"metadata":{"apiVersion":"1","endpointPrefix":"x","protocol":"soap"},
            "operations":{},"shapes":{}}"#;
        assert!(matches!(Service::parse(text), Err(ModelError::Unsupported { .. })));
    }
}
