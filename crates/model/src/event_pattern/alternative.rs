//! What one value may be.

use serde_json::{Map, Value};
use std::net::IpAddr;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Alternative {
    Is(Value),
    Exists(bool),
    Prefix(String),
    Suffix(String),
    IgnoringCase(String),
    Wildcard(String),
    Numeric(Vec<(Comparison, f64)>),
    Cidr(IpAddr, u8),
    /// None of these.
    But(Vec<Alternative>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Alternative {
    /// `None` for what is not understood.
    pub(super) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
                Some(Self::Is(value.clone()))
            }
            Value::Object(members) => read_operator(members),
            Value::Array(_) => None,
        }
    }

    /// Whether what a document has under a name is this; `None` for a document without the name.
    pub(super) fn matches(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            // AWS: what is not there is neither a value nor the absence of one, except to this.
            (Self::Exists(wanted), found) => {
                // AWS: only leaves exist.
                let there = found.is_some_and(|found| !found.is_object());
                there == *wanted
            }
            (_, None) => false,
            // All elements that are no match have to be no match.
            (Self::But(_), Some(Value::Array(elements))) => {
                !elements.is_empty() && elements.iter().all(|element| self.matches(Some(element)))
            }
            (_, Some(Value::Array(elements))) => {
                elements.iter().any(|element| self.matches(Some(element)))
            }
            (Self::But(others), Some(value)) => {
                !value.is_object() && !others.iter().any(|other| other.matches(Some(value)))
            }
            (Self::Is(wanted), Some(value)) => match (wanted.as_f64(), value.as_f64()) {
                (Some(wanted), Some(value)) => wanted == value,
                _ => wanted == value,
            },
            (Self::Numeric(comparisons), Some(value)) => value.as_f64().is_some_and(|value| {
                comparisons.iter().all(|(comparison, bound)| comparison.holds(value, *bound))
            }),
            (_, Some(Value::String(text))) => self.matches_text(text),
            _ => false,
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::IgnoringCase(wanted) => text.to_lowercase() == *wanted,
            Self::Wildcard(pattern) => wildcard(pattern.as_bytes(), text.as_bytes()),
            Self::Cidr(network, length) => {
                text.parse().is_ok_and(|it| in_network(it, *network, *length))
            }
            _ => false,
        }
    }
}

impl Comparison {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Equal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }
}

fn read_operator(members: &Map<String, Value>) -> Option<Alternative> {
    let mut all = members.iter();
    let (operator, operand) = all.next().filter(|_| members.len() == 1)?;
    let text = || operand.as_str().map(str::to_owned);
    match operator.as_str() {
        "exists" => operand.as_bool().map(Alternative::Exists),
        "prefix" => match operand {
            // AWS: a prefix may ignore case.
            Value::Object(_) => None,
            _ => text().map(Alternative::Prefix),
        },
        "suffix" => text().map(Alternative::Suffix),
        "equals-ignore-case" => text().map(|text| Alternative::IgnoringCase(text.to_lowercase())),
        "wildcard" => text().filter(|text| !text.contains("**")).map(Alternative::Wildcard),
        "cidr" => cidr(operand.as_str()?),
        "numeric" => numeric(operand.as_array()?),
        "anything-but" => but(operand),
        _ => None,
    }
}

fn but(operand: &Value) -> Option<Alternative> {
    let others = match operand {
        Value::Array(values) if !values.is_empty() => {
            let scalar = |value: &Value| Alternative::read(value).filter(|_| !value.is_object());
            values.iter().map(scalar).collect::<Option<_>>()?
        }
        Value::Array(_) => return None,
        Value::Object(members) => {
            let (operator, operand) = members.iter().next().filter(|_| members.len() == 1)?;
            if !matches!(operator.as_str(), "prefix" | "suffix" | "equals-ignore-case" | "wildcard")
            {
                return None;
            }
            let texts: Vec<&Value> = match operand {
                Value::Array(texts) => texts.iter().collect(),
                one => vec![one],
            };
            let one =
                |text: &Value| read_operator(&Map::from_iter([(operator.clone(), text.clone())]));
            texts.into_iter().map(one).collect::<Option<_>>()?
        }
        scalar => vec![Alternative::read(scalar)?],
    };
    Some(Alternative::But(others))
}

fn numeric(parts: &[Value]) -> Option<Alternative> {
    let mut comparisons = Vec::new();
    for pair in parts.chunks(2) {
        let [comparison, bound] = pair else { return None };
        comparisons.push((Comparison::read(comparison.as_str()?)?, bound.as_f64()?));
    }
    ((1..=2).contains(&comparisons.len())).then_some(Alternative::Numeric(comparisons))
}

fn cidr(text: &str) -> Option<Alternative> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some(Alternative::Cidr(address, length))
}

fn in_network(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((address, width), (network, other)) = (bits(address), bits(network));
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    width == other && address & mask == network & mask
}

/// `*` stands for any run of characters, `\*` for itself. Takes the product of the lengths at most.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last star has to take one more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let literal = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'\\') if matches!(pattern.get(p + 1), Some(b'*' | b'\\')) => {
                pattern.get(p + 1).map(|byte| (*byte, 2))
            }
            other => other.map(|byte| (*byte, 1)),
        };
        match (literal, text.get(t)) {
            (None, None) => return true,
            (Some((wanted, width)), Some(byte)) if wanted == *byte => {
                p += width;
                t += 1;
            }
            _ => match star {
                Some((after, from)) if from < text.len() => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                _ => return false,
            },
        }
    }
}
