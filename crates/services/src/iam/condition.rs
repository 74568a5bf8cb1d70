//! The operators of a policy's `Condition`.
//!
//! An operator that is not known here cannot be read, so that no policy seems to restrict what it
//! does not.

use super::evaluate::Context;
use super::pattern;
use std::net::IpAddr;

#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    operator: Operator,
    /// How many of the request's values have to match.
    quantity: Quantity,
    if_exists: bool,
    /// In lower case: keys are compared without regard to it.
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    One,
    ForAnyValue,
    ForAllValues,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Operator {
    kind: Kind,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    TextIgnoringCase,
    TextLike,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// `None` for an operator that there is not.
    pub fn new(operator: &str, key: &str, values: Vec<String>) -> Option<Self> {
        let (quantity, operator) = match operator.split_once(':') {
            Some(("ForAnyValue", operator)) => (Quantity::ForAnyValue, operator),
            Some(("ForAllValues", operator)) => (Quantity::ForAllValues, operator),
            Some(_) => return None,
            None => (Quantity::One, operator),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let operator = Operator::named(operator)?;
        let key = key.to_ascii_lowercase();
        Some(Self { operator, quantity, if_exists, key, values })
    }

    pub fn holds(&self, context: &Context) -> bool {
        let found = context.get(&self.key).filter(|found| !found.is_empty());
        if self.operator.kind == Kind::Null {
            return self.values.iter().any(|value| (value == "true") == found.is_none());
        }
        let Some(found) = found else {
            // AWS: what says what must not be there holds where nothing is.
            return self.if_exists
                || match self.quantity {
                    Quantity::One => self.operator.negated,
                    Quantity::ForAnyValue => false,
                    Quantity::ForAllValues => true,
                };
        };
        let one = |value: &String| {
            let any = self.values.iter().any(|wanted| self.operator.meets(wanted, value, context));
            any != self.operator.negated
        };
        match self.quantity {
            Quantity::ForAllValues => found.iter().all(one),
            Quantity::ForAnyValue => found.iter().any(one),
            // Several values are nothing that an operator without quantity says anything about.
            Quantity::One if self.operator.negated => found.iter().all(one),
            Quantity::One => found.iter().any(one),
        }
    }
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let order = |suffix: &str| match suffix {
            "Equals" => Some((Equal, false)),
            "NotEquals" => Some((Equal, true)),
            "LessThan" => Some((Less, false)),
            "LessThanEquals" => Some((LessOrEqual, false)),
            "GreaterThan" => Some((Greater, false)),
            "GreaterThanEquals" => Some((GreaterOrEqual, false)),
            _ => None,
        };
        let (kind, negated) = match name {
            "StringEquals" => (Kind::Text, false),
            "StringNotEquals" => (Kind::Text, true),
            "StringEqualsIgnoreCase" => (Kind::TextIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Kind::TextIgnoringCase, true),
            "StringLike" => (Kind::TextLike, false),
            "StringNotLike" => (Kind::TextLike, true),
            "Bool" => (Kind::Bool, false),
            "BinaryEquals" => (Kind::Binary, false),
            "IpAddress" => (Kind::Address, false),
            "NotIpAddress" => (Kind::Address, true),
            // AWS: the two are the same for ARNs.
            "ArnEquals" | "ArnLike" => (Kind::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
            "Null" => (Kind::Null, false),
            _ => match (name.strip_prefix("Numeric"), name.strip_prefix("Date")) {
                (Some(suffix), _) => {
                    let (order, negated) = order(suffix)?;
                    (Kind::Number(order), negated)
                }
                (_, Some(suffix)) => {
                    let (order, negated) = order(suffix)?;
                    (Kind::Date(order), negated)
                }
                _ => return None,
            },
        };
        Some(Self { kind, negated })
    }

    /// Whether a request's `value` is as the policy's `wanted`, not yet negated. What cannot be read
    /// as the operator wants it is not.
    fn meets(self, wanted: &str, value: &str, context: &Context) -> bool {
        match self.kind {
            Kind::TextLike => return pattern::matches(wanted, value, context),
            Kind::Arn => return pattern::matches_arn(wanted, value, context),
            _ => {}
        }
        let Some(wanted) = pattern::expand(wanted, context) else { return false };
        match self.kind {
            Kind::Text | Kind::Binary => wanted == value,
            Kind::TextIgnoringCase => wanted.to_lowercase() == value.to_lowercase(),
            Kind::Bool => wanted.eq_ignore_ascii_case(value),
            Kind::Number(order) => match (wanted.parse::<f64>(), value.parse::<f64>()) {
                (Ok(wanted), Ok(value)) => order.holds(&value, &wanted),
                _ => false,
            },
            Kind::Date(order) => match (date(&wanted), date(value)) {
                (Some(wanted), Some(value)) => order.holds(&value, &wanted),
                _ => false,
            },
            Kind::Address => inside(&wanted, value),
            Kind::TextLike | Kind::Arn | Kind::Null => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

/// Seconds since 1970, of an ISO 8601 date or of the number itself.
fn date(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_second());
    }
    let day: jiff::civil::Date = text.parse().ok()?;
    Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Whether an address is in a range such as `10.0.0.0/8`, or is that one address.
fn inside(range: &str, address: &str) -> bool {
    let (network, length) = match range.split_once('/') {
        Some((network, length)) => (network, Some(length)),
        None => (range, None),
    };
    let (Ok(network), Ok(address)) = (network.parse::<IpAddr>(), address.parse::<IpAddr>()) else {
        return false;
    };
    let (network, address, bits) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let length: u32 = match length.map(str::parse) {
        Some(Ok(length)) if length <= bits => length,
        Some(_) => return false,
        None => bits,
    };
    let shift = bits - length;
    network.checked_shr(shift) == address.checked_shr(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, wanted: &[&str], given: &[&str]) -> bool {
        let mut context = Context::default();
        context.set_all("aws:Key", given.iter().map(|value| (*value).to_owned()).collect());
        let wanted = wanted.iter().map(|value| (*value).to_owned()).collect();
        Condition::new(operator, "AWS:key", wanted).unwrap().holds(&context)
    }

    #[test]
    fn operators_say_what_aws_says() {
        for (operator, wanted, given) in [
            ("StringEquals", "a", "a"),
            ("StringNotEquals", "a", "b"),
            ("StringEqualsIgnoreCase", "A", "a"),
            ("StringLike", "a*", "abc"),
            ("StringNotLike", "a*", "b"),
            ("NumericLessThan", "10", "9.5"),
            ("NumericGreaterThanEquals", "10", "10"),
            ("NumericNotEquals", "10", "11"),
            ("DateLessThan", "2026-01-01T00:00:00Z", "1"),
            ("DateGreaterThan", "2020-01-01", "2026-01-01T00:00:00Z"),
            ("Bool", "true", "TRUE"),
            ("IpAddress", "10.0.0.0/8", "10.9.8.7"),
            ("IpAddress", "::/0", "2001:db8::1"),
            ("NotIpAddress", "10.0.0.0/8", "11.0.0.1"),
            ("NotIpAddress", "10.0.0.0/8", "2001:db8::1"),
            ("ArnLike", "arn:aws:s3:::bucket*", "arn:aws:s3:::bucket-1"),
            ("ArnEquals", "arn:aws:s3:::*", "arn:aws:s3:::b"),
            ("Null", "false", "x"),
        ] {
            assert!(holds(operator, &[wanted], &[given]), "{operator} {wanted} {given}");
        }
        for (operator, wanted, given) in [
            ("StringEquals", "a", "A"),
            ("StringEquals", "a*", "ab"),
            ("NumericEquals", "1", "one"),
            ("DateEquals", "yesterday", "1"),
            ("Bool", "true", "false"),
            ("IpAddress", "10.0.0.0/33", "10.0.0.1"),
            ("IpAddress", "10.0.0.1", "10.0.0.2"),
            ("ArnNotLike", "arn:aws:s3:::*", "arn:aws:s3:::b"),
            ("Null", "true", "x"),
        ] {
            assert!(!holds(operator, &[wanted], &[given]), "{operator} {wanted} {given}");
        }
    }

    #[test]
    fn several_values_and_none() {
        assert!(holds("ForAnyValue:StringEquals", &["a", "b"], &["x", "b"]));
        assert!(!holds("ForAllValues:StringEquals", &["a", "b"], &["x", "b"]));
        assert!(holds("ForAllValues:StringEquals", &["a"], &[]));
        assert!(!holds("ForAnyValue:StringEquals", &["a"], &[]));
        assert!(!holds("StringEquals", &["a"], &[]));
        assert!(holds("StringEqualsIfExists", &["a"], &[]));
        assert!(!holds("StringEqualsIfExists", &["a"], &["b"]));
        assert!(holds("StringNotEquals", &["a"], &[]));
        assert!(holds("Null", &["true"], &[]) && !holds("Null", &["false"], &[]));
        assert!(!holds("StringNotEquals", &["a", "b"], &["b"]));
    }

    #[test]
    fn an_operator_that_there_is_not_cannot_be_read() {
        for operator in ["", "StringMatches", "NumericLike", "ForSome:StringEquals", "Date"] {
            assert_eq!(Condition::new(operator, "k", Vec::new()), None, "{operator}");
        }
    }
}
