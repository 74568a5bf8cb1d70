//! `WWW-Authenticate`: what a registry wants to see, and where tokens are to be had. Pure.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use lamplight_wire::percent;
use serde::Deserialize;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from this address.
    Bearer(String),
}

/// What the registry asks for: a token before a password, where it takes both.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let offers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut basic = None;
    for offer in offers {
        let (scheme, fields) = offer.split_once(' ').unwrap_or((offer, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return address(fields).map(Challenge::Bearer);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// The address to ask, of `realm="…",service="…",scope="…"`.
fn address(fields: &str) -> Option<String> {
    let field = |name: &str| {
        let (_, rest) = fields.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let mut address = field("realm")?.to_owned();
    for name in ["service", "scope"] {
        if let Some(value) = field(name) {
            let mark = if address.contains('?') { '&' } else { '?' };
            address.push_str(&format!("{mark}{name}={}", percent::encode(value)));
        }
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

    fn of(offers: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(WWW_AUTHENTICATE, offer.parse().unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn challenges_name_an_address() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull""#;
        let address =
            "https://auth.example/token?service=r.example&scope=repository%3Aa%2Fb%3Apull";
        let expected = Some(Challenge::Bearer(address.to_owned()));
        assert_eq!(of(&[bearer]), expected);
        assert_eq!(of(&["Basic realm=\"x\"", bearer]), expected);
        let odd = r#"bearer realm="https://auth.example/token?a=b",scope="s""#;
        let address = "https://auth.example/token?a=b&scope=s".to_owned();
        assert_eq!(of(&[odd]), Some(Challenge::Bearer(address)));
        assert_eq!(of(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(of(&["Negotiate"]), None);
        assert_eq!(of(&["Bearer nothing"]), None);
        assert_eq!(read(br#"{"access_token":"t"}"#).as_deref(), Some("t"));
    }
}
