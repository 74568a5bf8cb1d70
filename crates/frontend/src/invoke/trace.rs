//! Trace ids, as X-Ray writes them.

use http::HeaderMap;
use lamplight_env::Random;

/// The caller's, where it sent one.
pub fn given(headers: &HeaderMap) -> Option<String> {
    let given = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    given.filter(|given| given.contains("Root=")).map(str::to_owned)
}

/// A new one that is not sampled.
pub fn new(seconds: i64, random: &dyn Random) -> String {
    let bits = random.hex(20);
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=0", &bits[..24], &bits[24..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::SeededRandom;

    #[test]
    fn trace_ids_have_the_xray_shape() {
        let id = new(0x6561_0000, &SeededRandom::new(1));
        let parts: Vec<&str> = id.split([';', '=', '-']).collect();
        assert_eq!(parts[..3], ["Root", "1", "65610000"]);
        assert_eq!((parts[3].len(), parts[5].len()), (24, 16));
    }
}
