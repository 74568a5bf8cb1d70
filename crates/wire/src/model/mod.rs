//! The AWS service models as typed, immutable data, parsed once from the JSON in `models/`.
//!
//! Every reference between shapes is checked while loading, so a [`ShapeId`] taken from a service
//! always resolves in that service. Nothing here looks at a request.

mod load;
mod pattern;
mod template;

pub use load::ModelError;
pub use pattern::Pattern;
pub use template::{Segment, UriTemplate};

use std::sync::LazyLock;

/// The services this program speaks for, in the order in which requests are offered to them.
pub fn services() -> &'static [Service] {
    static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(|| {
        let models = [
            include_str!("../../models/lambda.json"),
            include_str!("../../models/logs.json"),
            include_str!("../../models/sts.json"),
            include_str!("../../models/iam.json"),
            include_str!("../../models/sns.json"),
            include_str!("../../models/sqs.json"),
            include_str!("../../models/sqs-query.json"),
        ];
        let parsed: Result<Vec<_>, _> = models.into_iter().map(Service::parse).collect();
        parsed.expect("the models are part of the program, and the tests load them")
    });
    &SERVICES
}

/// A service by its name (`lambda`, `logs`, `sts`, …). Of one that is spoken in two dialects, the
/// newer.
pub fn service(name: &str) -> Option<&'static Service> {
    services().iter().find(|service| service.name == name)
}

/// The same service in the query protocol that it was spoken in before.
pub(crate) fn older_dialect(of: &Service) -> Option<&'static Service> {
    let json = matches!(of.protocol, Protocol::Json10 | Protocol::Json11);
    let older = |service: &&Service| service.protocol == Protocol::Query && service.name == of.name;
    services().iter().find(older).filter(|_| json)
}

/// All operations of a service, in the model's order.
pub fn operations(service: &Service) -> impl Iterator<Item = &Operation> {
    service.operations.iter()
}

#[derive(Debug)]
pub struct Service {
    /// The endpoint prefix, which is the first label of the service's host name.
    pub name: String,
    /// The service in a SigV4 credential scope; several services may share one.
    pub signing_name: String,
    pub protocol: Protocol,
    pub api_version: String,
    /// What precedes the dot in `X-Amz-Target`, for the JSON protocols.
    pub target_prefix: Option<String>,
    pub xml_namespace: Option<String>,
    operations: Vec<Operation>,
    shapes: Vec<Shape>,
}

impl Service {
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    /// # Panics
    /// With an id of another service.
    pub fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0]
    }

    /// The error shape that goes by `code`, which is its own name or the code its traits give it.
    pub fn error(&self, code: &str) -> Option<(&Shape, &ErrorTraits)> {
        self.shapes.iter().find_map(|shape| {
            let traits = shape.error.as_ref()?;
            (shape.name == code || traits.code.as_deref() == Some(code)).then_some((shape, traits))
        })
    }

    /// The members of a structure shape; none for any other kind.
    pub fn members(&self, id: Option<ShapeId>) -> &[Member] {
        match id.map(|id| &self.shape(id).kind) {
            Some(Kind::Structure(structure)) => &structure.members,
            _ => &[],
        }
    }

    /// The member of a structure shape that is the whole body.
    pub fn payload(&self, id: Option<ShapeId>) -> Option<&Member> {
        match id.map(|id| &self.shape(id).kind) {
            Some(Kind::Structure(structure)) => structure.members.get(structure.payload?),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    RestJson,
    Json10,
    Json11,
    Query,
}

#[derive(Debug)]
pub struct Operation {
    pub name: String,
    pub method: http::Method,
    pub uri: UriTemplate,
    /// The status of a success unless the output says otherwise.
    pub status: u16,
    pub input: Option<ShapeId>,
    pub output: Option<ShapeId>,
    pub errors: Vec<ShapeId>,
    /// The element around the members of a query answer.
    pub result_wrapper: Option<String>,
}

/// Index of a shape within its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShapeId(usize);

#[derive(Debug)]
pub struct Shape {
    pub name: String,
    pub kind: Kind,
    pub constraints: Constraints,
    /// Values must not be echoed in messages.
    pub sensitive: bool,
    pub error: Option<ErrorTraits>,
}

#[derive(Debug)]
pub enum Kind {
    Structure(Structure),
    List { element: Element, flattened: bool },
    Map { key: Element, value: Element, flattened: bool },
    String,
    Blob,
    Boolean,
    Integer,
    Long,
    Double,
    Timestamp(Option<TimestampFormat>),
}

#[derive(Debug)]
pub struct Structure {
    pub members: Vec<Member>,
    /// Index of the member that is the whole body.
    pub payload: Option<usize>,
    /// Members are the events of a stream, which this crate does not frame.
    pub event_stream: bool,
}

#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub shape: ShapeId,
    /// The name in the JSON object, header, query string or XML element.
    pub wire_name: String,
    pub location: Location,
    pub required: bool,
    pub flattened: bool,
    pub idempotency_token: bool,
}

/// What a list holds, or a map as key or value.
#[derive(Debug)]
pub struct Element {
    pub shape: ShapeId,
    pub wire_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Body,
    Uri,
    Query,
    Header,
    StatusCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampFormat {
    Iso8601,
    Rfc822,
    /// Seconds since 1970, with a fraction where there is one.
    Unix,
}

#[derive(Debug, Default)]
pub struct Constraints {
    /// Least value of a number, or least length of a string, blob, list or map.
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub pattern: Option<Pattern>,
    /// The values of an enum, in the model's order; empty for what is no enum.
    pub choices: Vec<String>,
}

#[derive(Debug)]
pub struct ErrorTraits {
    /// The code on the wire where it differs from the shape's name.
    pub code: Option<String>,
    pub status: u16,
    /// The caller's fault, not the service's.
    pub sender_fault: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_loads() {
        let counts: Vec<_> = services()
            .iter()
            .map(|service| (service.name.as_str(), operations(service).count()))
            .collect();
        let neighbours = [("sns", 21), ("sqs", 23), ("sqs", 23)];
        let first = [("lambda", 91), ("logs", 118), ("sts", 11), ("iam", 54)];
        assert_eq!(counts, [&first[..], &neighbours[..]].concat());
    }

    #[test]
    fn every_pattern_compiles() {
        for service in services() {
            for shape in &service.shapes {
                if let Some(pattern) = &shape.constraints.pattern {
                    assert!(pattern.compiles(), "{}: {}", shape.name, pattern.text());
                }
            }
        }
    }

    #[test]
    fn errors_are_found_by_name_and_by_code() {
        let sts = service("sts").unwrap();
        let (shape, traits) = sts.error("MalformedPolicyDocument").unwrap();
        assert_eq!(shape.name, "MalformedPolicyDocumentException");
        assert_eq!(traits.status, 400);
        let lambda = service("lambda").unwrap();
        assert_eq!(lambda.error("TooManyRequestsException").unwrap().1.status, 429);
        assert!(lambda.error("FunctionConfiguration").is_none());
    }
}
