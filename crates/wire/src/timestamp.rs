//! Points in time as the dialects write them. Inside, a time is seconds since 1970 (UTC) with a
//! fraction; there is no other form of it in a [`crate::Call`].

use crate::model::TimestampFormat;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;

/// Reads seconds, ISO 8601 or RFC 822.
pub(crate) fn parse(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => rfc2822::parse(text).ok()?.timestamp(),
    };
    Some(time.as_millisecond() as f64 / 1000.0)
}

/// A time as it goes on the wire. `None` for what is neither a number nor a readable time.
pub(crate) fn format(value: &Value, format: TimestampFormat) -> Option<Value> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => parse(text)?,
        _ => return None,
    };
    if format == TimestampFormat::Unix {
        let whole = seconds.fract() == 0.0 && seconds.abs() < 9.0e15;
        return Some(if whole { Value::from(seconds as i64) } else { Value::from(seconds) });
    }
    let time = Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok()?;
    let pattern = match format {
        TimestampFormat::Rfc822 => "%a, %d %b %Y %H:%M:%S GMT",
        _ if time.subsec_millisecond() == 0 => "%Y-%m-%dT%H:%M:%SZ",
        _ => "%Y-%m-%dT%H:%M:%S%.3fZ",
    };
    Some(Value::from(time.strftime(pattern).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_reads_back() {
        for seconds in [0.0, 1_795_347_520.0, 1_795_347_520.25] {
            for form in [TimestampFormat::Iso8601, TimestampFormat::Unix] {
                let written = format(&Value::from(seconds), form).unwrap();
                let text = written.as_str().map_or(written.to_string(), str::to_owned);
                assert_eq!(parse(&text), Some(seconds), "{text}");
            }
        }
        let text = format(&Value::from(1_795_347_520), TimestampFormat::Rfc822).unwrap();
        assert_eq!(text, "Sun, 22 Nov 2026 11:38:40 GMT");
        assert_eq!(parse("Sun, 22 Nov 2026 11:38:40 GMT"), Some(1_795_347_520.0));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "soon", "NaN", "inf", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(&Value::from(1.0e300), TimestampFormat::Iso8601), None);
    }
}
