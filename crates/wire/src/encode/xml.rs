//! Answers of the query protocol.

use crate::model::{Kind, Member, Operation, Service, ShapeId, TimestampFormat};
use crate::timestamp;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::fmt::Write as _;

pub(super) fn answer(
    service: &Service,
    operation: &Operation,
    members: Map<String, Value>,
    request_id: &str,
) -> Bytes {
    let mut xml = Writer { service, out: String::new() };
    let root = format!("{}Response", operation.name);
    xml.open_root(&root);
    let shapes = service.members(operation.output);
    match &operation.result_wrapper {
        Some(wrapper) => xml.within(wrapper, |xml| xml.members(shapes, &members)),
        None => xml.members(shapes, &members),
    }
    xml.within("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    xml.close(&root);
    Bytes::from(xml.out)
}

pub(super) fn error(
    service: &Service,
    code: &str,
    message: &str,
    (status, request_id): (u16, &str),
) -> Bytes {
    let mut xml = Writer { service, out: String::new() };
    xml.open_root("ErrorResponse");
    xml.within("Error", |xml| {
        xml.text("Type", if status < 500 { "Sender" } else { "Receiver" });
        xml.text("Code", code);
        xml.text("Message", message);
    });
    xml.text("RequestId", request_id);
    xml.close("ErrorResponse");
    Bytes::from(xml.out)
}

struct Writer<'s> {
    service: &'s Service,
    out: String,
}

impl Writer<'_> {
    fn open_root(&mut self, name: &str) {
        let _ = match &self.service.xml_namespace {
            Some(namespace) => write!(self.out, "<{name} xmlns=\"{namespace}\">"),
            None => write!(self.out, "<{name}>"),
        };
    }

    fn close(&mut self, name: &str) {
        let _ = write!(self.out, "</{name}>");
    }

    fn within(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        let _ = write!(self.out, "<{name}>");
        inside(self);
        self.close(name);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.within(name, |xml| xml.escape(text));
    }

    fn members(&mut self, shapes: &[Member], members: &Map<String, Value>) {
        for member in shapes {
            if let Some(value) = members.get(&member.name).filter(|value| !value.is_null()) {
                self.value(&member.wire_name, member.shape, value, member.flattened);
            }
        }
    }

    fn value(&mut self, name: &str, id: ShapeId, value: &Value, flat: bool) {
        match (&self.service.shape(id).kind, value) {
            (Kind::Structure(shape), Value::Object(members)) => {
                self.within(name, |xml| xml.members(&shape.members, members));
            }
            (Kind::List { element, flattened }, Value::Array(values)) => {
                if flat || *flattened {
                    let name = element.wire_name.as_deref().unwrap_or(name);
                    values.iter().for_each(|value| self.value(name, element.shape, value, false));
                } else {
                    let item = element.wire_name.as_deref().unwrap_or("member");
                    self.within(name, |xml| {
                        values
                            .iter()
                            .for_each(|value| xml.value(item, element.shape, value, false));
                    });
                }
            }
            (Kind::Map { key, value: element, flattened }, Value::Object(entries)) => {
                let flat = flat || *flattened;
                let item = if flat { name } else { "entry" };
                let write = |xml: &mut Self| {
                    for (entry, value) in entries {
                        xml.within(item, |xml| {
                            xml.text(key.wire_name.as_deref().unwrap_or("key"), entry);
                            let name = element.wire_name.as_deref().unwrap_or("value");
                            xml.value(name, element.shape, value, false);
                        });
                    }
                };
                if flat { write(self) } else { self.within(name, write) }
            }
            (Kind::Timestamp(format), value) => {
                let format = format.unwrap_or(TimestampFormat::Iso8601);
                let written = timestamp::format(value, format);
                self.scalar(name, written.as_ref().unwrap_or(value));
            }
            (_, value) => self.scalar(name, value),
        }
    }

    fn scalar(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) => self.text(name, text),
            other => self.text(name, &other.to_string()),
        }
    }

    /// Escapes markup; control characters, which XML 1.0 cannot hold, become U+FFFD.
    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '&' => self.out.push_str("&amp;"),
                '"' => self.out.push_str("&quot;"),
                '\r' => self.out.push_str("&#xD;"),
                '\t' | '\n' => self.out.push(c),
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    self.out.push('\u{fffd}');
                }
                c => self.out.push(c),
            }
        }
    }
}
