//! `YYYYMMDD'T'HHMMSS'Z'`, the only form of time in a signature.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Seconds since 1970, or `None` for what is not exactly of this form.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        digits.parse::<i16>().ok()
    };
    let small = |from: usize| i8::try_from(number(from, from + 2)?).ok();
    let time =
        DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, 0);
    Some(Offset::UTC.to_timestamp(time.ok()?).ok()?.as_second())
}

/// A time out of jiff's range, which no clock shows, is printed as the number it is.
pub(super) fn format(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y%m%dT%H%M%SZ").to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(seconds("20261122T113840Z"), Some(1_795_347_520));
        assert_eq!(format(1_795_347_520), "20261122T113840Z");
        for text in [
            "",
            "20261122T113840",
            "2026-11-22T11:38Z",
            "20261322T113840Z",
            "2026112aT113840Z",
            "+0261122T113840Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
