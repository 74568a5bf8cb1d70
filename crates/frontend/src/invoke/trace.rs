//! Trace ids, as X-Ray writes them.

use http::HeaderMap;

/// The caller's, where it sent one.
pub fn given(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    given.filter(|given| given.contains("Root=")).map(str::to_owned)
}
