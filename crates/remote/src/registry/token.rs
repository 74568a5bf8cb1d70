//! `WWW-Authenticate: Bearer realm=…,service=…,scope=…`: where to get a token for anybody. Pure.

use lamplight_wire::percent;
use serde::Deserialize;

/// The address to ask.
pub(super) fn address(challenge: &str) -> Option<String> {
    let fields = challenge.strip_prefix("Bearer ")?;
    let field = |name: &str| {
        let (_, rest) = fields.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let realm = field("realm")?;
    let mut address = realm.to_owned();
    for (name, mark) in [("service", '?'), ("scope", '&')] {
        let value = percent::encode(field(name).unwrap_or_default());
        address.push_str(&format!("{mark}{name}={value}"));
    }
    Some(address)
}

/// The token in an answer.
pub(super) fn read(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(json).ok()?;
    answer.token.or(answer.access_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_name_an_address() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull""#;
        assert_eq!(
            address(challenge).as_deref(),
            Some("https://auth.example/token?service=r.example&scope=repository%3Aa%2Fb%3Apull")
        );
        assert_eq!(address("Basic realm=\"x\""), None);
        assert_eq!(read(br#"{"access_token":"t"}"#).as_deref(), Some("t"));
    }
}
