//! Trace ids, as X-Ray writes them.

use lamplight_env::Random;

/// A new one that is not sampled.
pub fn new_trace(seconds: i64, random: &dyn Random) -> String {
    let bits = random.hex(20);
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=0", &bits[..24], &bits[24..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::SeededRandom;

    #[test]
    fn trace_ids_have_the_xray_shape() {
        let id = new_trace(0x6561_0000, &SeededRandom::new(1));
        let parts: Vec<&str> = id.split([';', '=', '-']).collect();
        assert_eq!(parts[..3], ["Root", "1", "65610000"]);
        assert_eq!((parts[3].len(), parts[5].len()), (24, 16));
    }
}
