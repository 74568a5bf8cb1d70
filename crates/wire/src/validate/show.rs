//! Values as AWS's messages echo them: Java's `toString`, in quotes.

use super::{Map, Value};
use crate::model::{Kind, Service, ShapeId};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Longest echo, in bytes. AWS echoes all of it; ten findings may each quote the same megabytes.
const LONGEST: usize = 8192;

/// ` 'x'` with its leading blank, or nothing for a value that must not be echoed.
pub(super) fn value(service: &Service, id: ShapeId, value: &Value) -> String {
    let shape = service.shape(id);
    // AWS: "Value at 'environment.variables' failed to satisfy constraint".
    if shape.sensitive {
        return String::new();
    }
    let mut out = String::from(" '");
    write(&mut out, service, id, value);
    cut(&mut out);
    out.push('\'');
    out
}

/// `VpcConfig` → `vpcConfig`: the first letter alone, so `KMSKeyArn` → `kMSKeyArn` as AWS has it.
pub(super) fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let mut text = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default().to_owned();
    text.push('…');
    Cow::Owned(text)
}

fn cut(out: &mut String) {
    if out.len() > LONGEST {
        out.truncate(out.floor_char_boundary(LONGEST));
        out.push('…');
    }
}

/// Stops adding once `out` is long enough to be cut.
fn write(out: &mut String, service: &Service, id: ShapeId, value: &Value) {
    if out.len() > LONGEST {
        return;
    }
    let shape = service.shape(id);
    if shape.sensitive {
        out.push_str("***");
        return;
    }
    match (&shape.kind, value) {
        (Kind::Blob, Value::String(text)) => {
            let length = super::decoded_length(text);
            let _ = write!(out, "java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]");
        }
        (_, Value::String(text)) => out.push_str(&shortened(text)),
        (Kind::Double, Value::Number(number)) => {
            let _ = write!(out, "{:?}", number.as_f64().unwrap_or_default());
        }
        (Kind::List { element, .. }, Value::Array(values)) => {
            sequence(out, "[", "]", values.iter(), |out, value| {
                write(out, service, element.shape, value);
            });
        }
        (Kind::Map { value: element, .. }, Value::Object(entries)) => {
            sequence(out, "{", "}", entries.iter(), |out, (key, value)| {
                let _ = write!(out, "{}=", shortened(key));
                write(out, service, element.shape, value);
            });
        }
        (Kind::Structure(structure), Value::Object(members)) => {
            out.push_str(&shape.name);
            sequence(out, "(", ")", structure.members.iter(), |out, member| {
                let _ = write!(out, "{}=", lower_first(&member.name));
                write(out, service, member.shape, found(members, &member.name));
            });
        }
        (_, other) => {
            let _ = write!(out, "{other}");
        }
    }
}

fn found<'v>(members: &'v Map<String, Value>, name: &str) -> &'v Value {
    members.get(name).unwrap_or(&Value::Null)
}

fn sequence<T>(
    out: &mut String,
    open: &str,
    close: &str,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push_str(open);
    for (index, item) in items.enumerate() {
        if out.len() > LONGEST {
            break;
        }
        if index > 0 {
            out.push_str(", ");
        }
        each(out, item);
    }
    out.push_str(close);
}
