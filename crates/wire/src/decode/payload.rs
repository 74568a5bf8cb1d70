//! Whether an invocation's payload is JSON, in AWS's words when it is not. It is scanned, not
//! built.

use crate::ApiError;
use serde::de::IgnoredAny;

/// AWS: how deep Jackson, which reads payloads there, lets a document nest.
const DEPTH: usize = 1000;

/// An empty payload is fine; it reaches the function as an empty event.
///
/// # Errors
/// `InvalidRequestContentException`.
pub fn check_payload(payload: &[u8]) -> Result<(), ApiError> {
    if payload.is_empty() {
        return Ok(());
    }
    // Validated up front because the JSON reader would let stray bytes in ignored strings pass.
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let broken = payload.get(at).copied().unwrap_or_default();
            let (line, column) = position(payload.get(..at).unwrap_or_default());
            // AWS: a first byte that cannot begin a value is named as a character, with its own
            // column; later ones are named as bytes, with the column after them.
            return Err(if at == 0 {
                invalid(&unexpected(char::from(broken)), line, column)
            } else {
                invalid(&format!("Invalid UTF-8 start byte 0x{broken:x}"), line, column + 1)
            });
        }
    };
    if depth_exceeds(payload, DEPTH) {
        // AWS: alone among these refusals, this one names no place.
        let reason = format!(
            "Document nesting depth ({}) exceeds the maximum allowed ({DEPTH}, from \
             `StreamReadConstraints.getMaxNestingDepth()`)",
            DEPTH + 1
        );
        return Err(refused(&reason));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let first = text.trim_start().chars().next();
            let starts_a_value = |c: char| {
                c.is_ascii_digit() || matches!(c, '{' | '[' | '"' | '-' | 't' | 'f' | 'n')
            };
            match first {
                Some(c) if !starts_a_value(c) => {
                    let at = text.len() - text.trim_start().len();
                    let (line, column) = position(payload.get(..at).unwrap_or_default());
                    Err(invalid(&unexpected(c), line, column))
                }
                _ => {
                    let text = error.to_string();
                    let reason = text.split(" at line ").next().unwrap_or_default();
                    Err(invalid(reason, error.line(), error.column()))
                }
            }
        }
    }
}

/// Whether arrays and objects open each other more than `max` deep. The JSON reader needs no stack
/// for what it ignores, but whatever reads the event in a function does.
fn depth_exceeds(payload: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    payload.iter().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > max
    })
}

fn unexpected(c: char) -> String {
    let shown = if c.is_control() {
        format!("(CTRL-CHAR, code {})", u32::from(c))
    } else {
        format!("'{c}' (code {})", u32::from(c))
    };
    format!(
        "Unexpected character ({shown}): expected a valid value (JSON String, Number, Array, Object \
         or token 'null', 'true' or 'false')"
    )
}

fn position(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    (lines + 1, before.len() - line_start + 1)
}

fn invalid(reason: &str, line: usize, column: usize) -> ApiError {
    // AWS: two blanks before "at", from a line break that was taken out.
    refused(&format!(
        "{reason}  at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); \
         line: {line}, column: {column}]"
    ))
}

fn refused(reason: &str) -> ApiError {
    ApiError::new(
        "InvalidRequestContentException",
        format!(
            "Could not parse request body into json: Could not parse payload into json: {reason}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS: both messages as recorded.
    #[test]
    fn broken_payloads_are_refused_in_the_words_recorded() {
        let message = |payload: &[u8]| check_payload(payload).unwrap_err().message;
        assert_eq!(
            message(b"n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt"),
            "Could not parse request body into json: Could not parse payload into json: Invalid \
             UTF-8 start byte 0x87  at [Source: REDACTED \
             (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 3]"
        );
        assert_eq!(
            message(b"\x99\xeb,j\x07\xa1zYh"),
            "Could not parse request body into json: Could not parse payload into json: Unexpected \
             character ((CTRL-CHAR, code 153)): expected a valid value (JSON String, Number, Array, \
             Object or token 'null', 'true' or 'false')  at [Source: REDACTED \
             (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 1]"
        );
    }

    #[test]
    fn json_of_every_kind_passes() {
        for payload in ["", "null", "1", "\"x\"", "[]", "{\"a\": [1, {\"b\": null}]}", " {} "] {
            assert_eq!(check_payload(payload.as_bytes()), Ok(()), "{payload:?}");
        }
        for payload in ["{", "{\"a\"}", "nul", "x", "{} {}", "[1,]"] {
            let error = check_payload(payload.as_bytes()).unwrap_err();
            assert_eq!(error.code, "InvalidRequestContentException", "{payload:?}");
        }
    }

    #[test]
    fn payloads_nest_a_thousand_deep_at_most() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check_payload(nested(1000).as_bytes()), Ok(()));
        for deep in [nested(1001), nested(100_000), "{\"a\":".repeat(1001), "[".repeat(1001)] {
            assert_eq!(
                check_payload(deep.as_bytes()).unwrap_err().message,
                "Could not parse request body into json: Could not parse payload into json: \
                 Document nesting depth (1001) exceeds the maximum allowed (1000, from \
                 `StreamReadConstraints.getMaxNestingDepth()`)"
            );
        }
        // Brackets in strings open nothing, and what is closed is open no more.
        let flat = format!("[\"{}\\\"{}\"{}]", "[".repeat(2000), "{".repeat(9), ",[]".repeat(2000));
        assert_eq!(check_payload(flat.as_bytes()), Ok(()));
    }
}
