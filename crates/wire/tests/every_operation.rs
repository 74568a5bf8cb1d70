//! Properties of every operation of every model: what a client encodes, the server routes and
//! decodes to the same input; and no bytes at all make it panic.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use lamplight_wire::model::{Element, Kind, Location, Member, Segment, ShapeId};
use lamplight_wire::{
    Operation, Output, Protocol, Service, decode, encode_output, operations, route, services,
    validate,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Values by the model, from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn text(&mut self, alphabet: &str) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..=self.below(8)).map(|_| letters[self.below(letters.len() as u64) as usize]).collect()
    }

    /// Members of a structure: all scalars of the first, some of the others, none below a depth.
    fn members(&mut self, service: &Service, id: ShapeId, depth: u8) -> Map<String, Value> {
        let mut members = Map::new();
        for (index, member) in service.members(Some(id)).iter().enumerate() {
            let kind = &service.shape(member.shape).kind;
            let deep = matches!(kind, Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. });
            let is_payload = service.payload(Some(id)).is_some_and(|it| it.name == member.name);
            let skip = index > 0 && member.location != Location::Uri && self.below(3) == 0;
            if (deep && depth > 4) || skip || (is_payload && matches!(kind, Kind::Blob)) {
                continue;
            }
            let value = match member.location {
                Location::Body => self.value(service, member.shape, depth + 1),
                // HTTP/1 headers hold little, and a path no segment of dots alone.
                Location::Header => Value::from(self.text("abcXYZ09-_:+/%$~=&?,'")),
                _ if matches!(kind, Kind::String) => {
                    Value::from(self.text("abcXYZ09-_:+/%$ ~=&?,'é𝟘"))
                }
                _ => self.value(service, member.shape, depth + 1),
            };
            members.insert(member.name.clone(), value);
        }
        members
    }

    fn value(&mut self, service: &Service, id: ShapeId, depth: u8) -> Value {
        match &service.shape(id).kind {
            Kind::Structure(_) => Value::Object(self.members(service, id, depth)),
            Kind::List { element, .. } => {
                (0..=self.below(3)).map(|_| self.value(service, element.shape, depth)).collect()
            }
            Kind::Map { value, .. } => {
                let count = 1 + self.below(3);
                let entry = |index| {
                    let name = format!("{index}{}", self.text("abc.é\"<&"));
                    (name, self.value(service, value.shape, depth))
                };
                Value::Object((0..count).map(entry).collect())
            }
            Kind::String => Value::from(self.text("ab \"\\\n<&>'é𝟘=+%/")),
            Kind::Blob => Value::from(BASE64_STANDARD.encode(self.text("ab\u{0}é"))),
            Kind::Boolean => Value::Bool(self.below(2) == 0),
            Kind::Integer => Value::from(self.next() as i32),
            Kind::Long => Value::from(self.next() as i64),
            Kind::Double => Value::from(self.below(1000) as f64 / 8.0 - 10.0),
            Kind::Timestamp(_) => Value::from(self.below(4_000_000_000) as f64 + 0.25),
        }
    }
}

/// A request as a client makes it.
fn encode(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    payload: &Bytes,
) -> (Parts, Bytes) {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AK/20261122/us-east-1/{}/aws4_request",
        service.signing_name
    );
    let builder =
        Request::builder().method(operation.method.clone()).header("authorization", authorization);
    let (builder, body) = match service.protocol {
        Protocol::RestJson => return rest(service, operation, input, payload, builder),
        Protocol::Query => {
            let mut form = format!("Action={}&Version={}", operation.name, service.api_version);
            for member in service.members(operation.input) {
                if let Some(value) = input.get(&member.name) {
                    let place = (member.wire_name.as_str(), member.shape, member.flattened);
                    flatten(service, &mut form, place, value);
                }
            }
            (builder.uri("/"), form)
        }
        Protocol::Json10 | Protocol::Json11 => {
            let prefix = service.target_prefix.as_deref().unwrap();
            let builder =
                builder.uri("/").header("x-amz-target", format!("{prefix}.{}", operation.name));
            (builder, json!(input).to_string())
        }
    };
    (builder.body(()).unwrap().into_parts().0, Bytes::from(body))
}

fn rest(
    service: &Service,
    operation: &Operation,
    input: &Map<String, Value>,
    payload: &Bytes,
    mut builder: http::request::Builder,
) -> (Parts, Bytes) {
    let members = service.members(operation.input);
    let mut path = String::new();
    for segment in &operation.uri.segments {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::Label(name) | Segment::Greedy(name) => {
                let member = members.iter().find(|member| member.wire_name == *name).unwrap();
                path.push_str(&escape(&plain(&input[&member.name])));
            }
        }
    }
    let mut query: Vec<String> =
        operation.uri.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut body = Map::new();
    for member in members {
        let Some(value) = input.get(&member.name) else { continue };
        match (member.location, value) {
            (Location::Query, Value::Array(values)) => {
                query.extend(
                    values
                        .iter()
                        .map(|value| format!("{}={}", member.wire_name, escape(&plain(value)))),
                );
            }
            (Location::Query, value) => {
                query.push(format!("{}={}", member.wire_name, escape(&plain(value))))
            }
            (Location::Header, value) => builder = builder.header(&member.wire_name, plain(value)),
            (Location::Body, value) => {
                body.insert(member.wire_name.clone(), value.clone());
            }
            (Location::Uri | Location::StatusCode, _) => {}
        }
    }
    let is_blob = |member: &Member| matches!(service.shape(member.shape).kind, Kind::Blob);
    let body = match service.payload(operation.input) {
        Some(member) if is_blob(member) => payload.clone(),
        Some(member) => {
            Bytes::from(input.get(&member.name).map(Value::to_string).unwrap_or_default())
        }
        None => Bytes::from(Value::Object(body).to_string()),
    };
    let parts = builder.uri(format!("{path}?{}", query.join("&"))).body(()).unwrap().into_parts().0;
    (parts, body)
}

/// A value as parameters of a form, as the SDKs write it.
fn flatten(
    service: &Service,
    form: &mut String,
    (name, id, flat): (&str, ShapeId, bool),
    value: &Value,
) {
    match (&service.shape(id).kind, value) {
        (Kind::Structure(shape), Value::Object(values)) => {
            for member in &shape.members {
                if let Some(value) = values.get(&member.name) {
                    let name = format!("{name}.{}", member.wire_name);
                    flatten(service, form, (&name, member.shape, member.flattened), value);
                }
            }
        }
        (Kind::List { element, flattened }, Value::Array(values)) => {
            let wrapper = element.wire_name.as_deref().unwrap_or("member");
            let flat = flat || *flattened;
            let name = if flat { name.to_owned() } else { format!("{name}.{wrapper}") };
            for (index, value) in values.iter().enumerate() {
                let name = format!("{name}.{}", index + 1);
                flatten(service, form, (&name, element.shape, false), value);
            }
        }
        (Kind::Map { key, value: element, flattened }, Value::Object(values)) => {
            let flat = flat || *flattened;
            let name = if flat { name.to_owned() } else { format!("{name}.entry") };
            let of = |element: &Element, default: &str| {
                element.wire_name.as_deref().unwrap_or(default).to_owned()
            };
            for (index, (entry, value)) in values.iter().enumerate() {
                let name = format!("{name}.{}", index + 1);
                form.push_str(&format!("&{name}.{}={}", of(key, "key"), escape(entry)));
                let name = format!("{name}.{}", of(element, "value"));
                flatten(service, form, (&name, element.shape, false), value);
            }
        }
        (_, scalar) => form.push_str(&format!("&{name}={}", escape(&plain(scalar)))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn everything() -> impl Iterator<Item = (&'static Service, &'static Operation)> {
    services()
        .iter()
        .flat_map(|service| operations(service).map(move |operation| (service, operation)))
}

fn round_trip(service: &'static Service, operation: &Operation, random: &mut Random, body: &Bytes) {
    let input = operation.input.map(|id| random.members(service, id, 0)).unwrap_or_default();
    let (parts, sent) = encode(service, operation, &input, body);
    let call = decode(&route(&parts).unwrap(), &parts, sent).unwrap();
    assert_eq!(call.service.name, service.name);
    assert_eq!(call.operation.name, operation.name);
    assert_eq!(call.input, input, "{}", operation.name);
    let payload = service.payload(operation.input);
    let blob = payload.is_some_and(|it| matches!(service.shape(it.shape).kind, Kind::Blob));
    assert_eq!(call.payload.as_ref(), blob.then_some(body));
    // Most of it breaks constraints. The point is that saying so never fails.
    if let Err(error) = validate(&call) {
        assert!(error.message.contains("failed to satisfy constraint"), "{error}");
    }
}

fn answer(service: &Service, operation: &Operation, random: &mut Random) {
    let members = operation.output.map(|id| random.members(service, id, 0)).unwrap_or_default();
    let output = Output { members: members.clone(), ..Output::default() };
    let response = encode_output(service, operation, output, "an-id");
    assert_eq!(response.headers()["x-amzn-requestid"], "an-id");
    let elsewhere = operation.output.is_none() || service.payload(operation.output).is_some();
    if service.protocol == Protocol::Query || elsewhere || response.status() == 204 {
        return;
    }
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    for member in service.members(operation.output) {
        if member.location == Location::Body {
            let (sent, meant) = (body.get(&member.wire_name), members.get(&member.name));
            assert_eq!(sent, meant, "{}", operation.name);
        }
    }
}

/// Any body, query and headers for an operation whose path is right.
fn garbage(service: &Service, operation: &Operation, body: &Bytes, (query, header): (&str, &[u8])) {
    let mut input = Map::new();
    for member in service.members(operation.input) {
        if member.location == Location::Uri {
            input.insert(member.name.clone(), Value::from("1"));
        }
    }
    let (mut parts, _) = encode(service, operation, &input, body);
    if let Ok(uri) = format!("{}?{query}", parts.uri.path()).parse() {
        parts.uri = uri;
    }
    for member in service.members(operation.input) {
        if member.location == Location::Header
            && let Ok(value) = http::HeaderValue::from_bytes(header)
        {
            let name: http::HeaderName = member.wire_name.parse().unwrap();
            parts.headers.insert(name, value);
        }
    }
    if let Ok(route) = route(&parts)
        && let Ok(call) = decode(&route, &parts, body.clone())
    {
        let _ = validate(&call);
    }
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let form = "(Action=AssumeRole)?(&[A-Za-z.0-9%+]{0,20}=?[a-z%+]{0,5}){0,10}";
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:0-9a-z]{0,100}".prop_map(String::into_bytes),
        form.prop_map(String::into_bytes),
    ]
}

fn few() -> ProptestConfig {
    ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn what_is_encoded_routes_and_decodes(
        seed in any::<u64>(),
        payload in proptest::collection::vec(any::<u8>(), 1..50),
    ) {
        let payload = Bytes::from(payload);
        for (service, operation) in everything() {
            round_trip(service, operation, &mut Random(seed), &payload);
        }
    }

    #[test]
    fn outputs_encode_to_what_they_are(seed in any::<u64>()) {
        for (service, operation) in everything() {
            answer(service, operation, &mut Random(seed));
        }
    }

    #[test]
    fn garbage_never_panics(
        body in bodies(),
        query in "[ -~]{0,40}",
        header in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let body = Bytes::from(body);
        for (service, operation) in everything() {
            garbage(service, operation, &body, (&query, &header));
        }
    }
}
