//! Pages of listings: how much of one, and where the next begins.

use super::Request;
use super::settings::{invalid, text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lamplight_wire::ApiError;
use serde_json::Value;

/// AWS: pages of 50 whatever more is asked for.
const PAGE: usize = 50;

pub fn page_size(request: &Request<'_>) -> usize {
    let max = request.input.get("MaxItems").and_then(Value::as_u64).unwrap_or(PAGE as u64);
    usize::try_from(max).unwrap_or(PAGE).clamp(1, PAGE)
}

/// The place, as [`next`] took it, that the request goes on after.
pub fn after(request: &Request<'_>) -> Result<Option<String>, ApiError> {
    let Some(marker) = text(request.input, "Marker") else { return Ok(None) };
    decode(&marker).map(Some).ok_or_else(strange)
}

/// The marker of a place. Markers are opaque to clients, and say nothing that the listing did not
/// say.
pub fn next(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// The name and number that the request goes on after.
pub fn marker(request: &Request<'_>) -> Result<Option<(String, u64)>, ApiError> {
    let Some(marker) = text(request.input, "Marker") else { return Ok(None) };
    read(&marker).map(Some).ok_or_else(strange)
}

pub fn next_marker((name, number): &(String, u64)) -> String {
    next(&format!("{number}:{name}"))
}

pub fn strange() -> ApiError {
    invalid("The Marker is not one that this operation has given out.")
}

fn read(marker: &str) -> Option<(String, u64)> {
    let text = decode(marker)?;
    let (number, name) = text.split_once(':')?;
    Some((name.to_owned(), number.parse().ok()?))
}

fn decode(marker: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(marker).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_back_and_nothing_else_is() {
        let place = ("a:b".to_owned(), 7);
        assert_eq!(read(&next_marker(&place)), Some(place));
        for bad in ["", "!", "YQ", &URL_SAFE_NO_PAD.encode("x:y")] {
            assert_eq!(read(bad), None);
        }
    }
}
