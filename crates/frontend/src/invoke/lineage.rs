//! Loops: how often a function has been called in one chain of calls.
//!
//! The count travels in the trace id. Functions get it with each call, and the AWS SDKs pass it on
//! with the calls that they make.
//!
//! Written as `Lineage=1:HASH:COUNT`, with `|` between functions. AWS: the form is not documented;
//! what matters here is that SDKs pass it on as it is.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// AWS: a function that is called more often in one chain is taken for a loop.
pub const HOPS: u32 = 16;
/// Functions that a lineage remembers; the oldest are forgotten.
const FUNCTIONS: usize = 16;

/// The trace id with one more call of `function`, and how many that makes.
pub fn extend(trace_id: &str, function: &str) -> (String, u32) {
    let mut rest = Vec::new();
    let mut entries: Vec<(&str, u32)> = Vec::new();
    for part in trace_id.split(';').filter(|part| !part.is_empty()) {
        match part.strip_prefix("Lineage=") {
            Some(lineage) => entries.extend(lineage.split('|').filter_map(entry)),
            None => rest.push(part),
        }
    }
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(function).into();
    let hash = format!("{:08x}", u32::from_be_bytes([a, b, c, d]));
    let found = entries.iter().position(|(known, _)| *known == hash);
    let hops = found.map_or(0, |at| entries.remove(at).1).saturating_add(1);
    entries.push((&hash, hops));
    let forgotten = entries.len().saturating_sub(FUNCTIONS);
    let mut extended = String::with_capacity(trace_id.len() + 32);
    for part in rest {
        extended.push_str(part);
        extended.push(';');
    }
    extended.push_str("Lineage=");
    for (at, (hash, count)) in entries.iter().skip(forgotten).enumerate() {
        let between = if at == 0 { "" } else { "|" };
        let _ = write!(extended, "{between}1:{hash}:{count}");
    }
    (extended, hops)
}

/// The trace id of a call that `function` makes while it is called with `own`. The one that it gave
/// itself is taken, but what led there stays known: else a loop would begin anew with every call.
pub fn inherit(given: Option<&str>, own: &str, function: &str) -> String {
    let is_lineage = |part: &&str| part.starts_with("Lineage=");
    let (mine, _) = extend(own, function);
    let lineage = mine.split(';').find(is_lineage).unwrap_or_default();
    match given {
        None => mine,
        Some(given) if given.split(';').any(|part| is_lineage(&part)) => given.to_owned(),
        Some(given) => format!("{given};{lineage}"),
    }
}

fn entry(text: &str) -> Option<(&str, u32)> {
    let mut parts = text.rsplit(':');
    let count = parts.next()?.parse().ok()?;
    let hash = parts.next()?;
    (hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some((hash, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_each_function_are_counted() {
        let (mut trace, mut counts) = ("Root=1-2-3;Parent=4;Sampled=0".to_owned(), Vec::new());
        for function in ["a", "b", "a", "a", "b"] {
            let (next, hops) = extend(&trace, function);
            assert!(next.starts_with("Root=1-2-3;Parent=4;Sampled=0;Lineage=1:"), "{next}");
            counts.push(hops);
            trace = next;
        }
        assert_eq!(counts, [1, 1, 2, 3, 2]);
    }

    #[test]
    fn calls_know_what_led_to_them() {
        let (first, _) = extend("Root=1", "a");
        assert_eq!(inherit(None, "Root=1", "a"), first);
        // One of its own does not hide it; one that has come the whole way is better.
        let own = inherit(Some("Root=2;Parent=3"), "Root=1", "a");
        assert!(own.starts_with("Root=2;Parent=3;Lineage="), "{own}");
        assert_eq!(extend(&own, "a").1, 2);
        let (twice, _) = extend(&first, "a");
        assert_eq!(inherit(Some(&twice), "Root=1", "a"), twice);
    }

    #[test]
    fn nothing_that_clients_send_makes_it_grow_or_fail() {
        let strange = "Root=1;Lineage=;Lineage=|:|x:y:z|1:zzzzzzzz:3|1:0123abcd:99999999999;;";
        assert_eq!(extend(strange, "a").1, 1);
        assert_eq!(extend(&extend("Root=1", "a").0, "a").1, 2);
        let most = format!("Lineage=1:ca978112:{}", u32::MAX);
        assert_eq!(extend(&most, "a").1, u32::MAX);
        let many: Vec<String> = (0..500).map(|n| format!("1:{n:08x}:1")).collect();
        let (long, _) = extend(&format!("Lineage={}", many.join("|")), "a");
        assert_eq!(long.split('|').count(), FUNCTIONS);
    }
}
