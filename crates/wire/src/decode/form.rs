//! Form bodies of the query protocol: `Tags.member.1.Key=a`, flattened lists `Tag.1.Key=a`, maps
//! `Attributes.entry.1.key=a`. There are at most [`MOST`] parameters, nested at most [`DEPTH`] deep:
//! each costs many times its bytes in memory.

use super::{scalar, serialization};
use crate::model::{Kind, Member, Service, ShapeId};
use crate::{ApiError, percent};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const DEPTH: usize = 12;
const MOST: usize = 10_000;

/// Parameters as a tree along the dots in their names.
#[derive(Default)]
pub(super) struct Form {
    value: Option<String>,
    below: BTreeMap<String, Form>,
}

impl Form {
    pub(super) fn read(body: &[u8], query: Option<&str>) -> Result<Self, ApiError> {
        let body = std::str::from_utf8(body)
            .map_err(|_| serialization("The request body is not valid UTF-8."))?;
        let mut root = Self::default();
        let pairs = percent::pairs(query.unwrap_or_default()).chain(percent::pairs(body));
        for (count, (name, value)) in pairs.enumerate() {
            if count == MOST {
                return Err(serialization("There are too many parameters."));
            }
            let (Some(name), Some(value)) =
                (percent::decode_form(name), percent::decode_form(value))
            else {
                return Err(serialization("A parameter is not valid UTF-8."));
            };
            let mut node = &mut root;
            for (depth, part) in name.split('.').enumerate() {
                if depth == DEPTH {
                    return Err(serialization("A parameter's name is nested too deeply."));
                }
                node = node.below.entry(part.to_owned()).or_default();
            }
            node.value = Some(value.into_owned());
        }
        Ok(root)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.below.get(name)?.value.as_deref()
    }

    pub(super) fn members(
        &self,
        service: &Service,
        members: &[Member],
    ) -> Result<Map<String, Value>, ApiError> {
        let mut into = Map::new();
        for member in members {
            if let Some(node) = self.below.get(&member.wire_name) {
                let value = node.shaped(service, member.shape, member.flattened)?;
                into.insert(member.name.clone(), value);
            }
        }
        Ok(into)
    }

    fn shaped(&self, service: &Service, id: ShapeId, flat: bool) -> Result<Value, ApiError> {
        match &service.shape(id).kind {
            Kind::Structure(shape) => self.members(service, &shape.members).map(Value::Object),
            Kind::List { element, flattened } => {
                let wrapper = element.wire_name.as_deref().unwrap_or("member");
                let Some(items) = self.inside(wrapper, flat || *flattened) else {
                    return Ok(Value::Array(Vec::new()));
                };
                let values = items.numbered().into_iter();
                let values = values.map(|item| item.shaped(service, element.shape, false));
                values.collect::<Result<_, _>>().map(Value::Array)
            }
            Kind::Map { key, value, flattened } => {
                let mut into = Map::new();
                let Some(items) = self.inside("entry", flat || *flattened) else {
                    return Ok(Value::Object(into));
                };
                for item in items.numbered() {
                    let name = item.value(key.wire_name.as_deref().unwrap_or("key"));
                    let found = item.below.get(value.wire_name.as_deref().unwrap_or("value"));
                    if let (Some(name), Some(found)) = (name, found) {
                        into.insert(name.to_owned(), found.shaped(service, value.shape, false)?);
                    }
                }
                Ok(Value::Object(into))
            }
            kind => scalar(kind, self.value.as_deref().unwrap_or_default()),
        }
    }

    /// Where the numbers are: below the wrapper, or right here for a flattened collection.
    fn inside(&self, wrapper: &str, flat: bool) -> Option<&Self> {
        if flat { Some(self) } else { self.below.get(wrapper) }
    }

    /// Children by their number. Gaps close up, and what is no number is none of ours.
    fn numbered(&self) -> Vec<&Self> {
        let mut items: Vec<(u32, &Self)> =
            self.below.iter().filter_map(|(name, item)| Some((name.parse().ok()?, item))).collect();
        items.sort_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, item)| item).collect()
    }
}
