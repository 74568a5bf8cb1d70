//! What an environment is told of the place it runs in.
//!
//! AWS: the token keeps a function that fetches any URL for its callers from giving this away.

use super::server::Reply;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

pub(super) const PATH: &str = "/2026-01-15/metadata/execution-environment";

/// Of one environment.
pub struct Metadata {
    /// The value of the `Authorization` header.
    authorization: String,
    body: Bytes,
}

impl Metadata {
    pub fn new(token: &str, zone: &str) -> Self {
        let body = serde_json::json!({ "AvailabilityZoneID": zone }).to_string();
        Self { authorization: format!("Bearer {token}"), body: body.into() }
    }

    /// The id of the first zone of a region: `use1-az1` of `us-east-1`.
    pub fn zone_of(region: &str) -> String {
        let short = |part: &str| match part {
            "gov" | "iso" | "north" | "south" | "east" | "west" | "central" => part[..1].to_owned(),
            "northeast" | "northwest" | "southeast" | "southwest" => {
                format!("{}{}", &part[..1], &part[5..6])
            }
            other => other.to_owned(),
        };
        let region: String = region.split('-').map(short).collect();
        format!("{region}-az1")
    }

    pub(super) fn answer(&self, method: &Method, headers: &HeaderMap) -> Reply {
        if method != Method::GET {
            return refusal(StatusCode::METHOD_NOT_ALLOWED);
        }
        let given = headers.get(header::AUTHORIZATION);
        if given.is_none_or(|given| given.as_bytes() != self.authorization.as_bytes()) {
            return refusal(StatusCode::UNAUTHORIZED);
        }
        let mut response = Response::new(Full::new(self.body.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let cache = HeaderValue::from_static("private, max-age=43200, immutable");
        headers.insert(header::CACHE_CONTROL, cache);
        response
    }
}

fn refusal(status: StatusCode) -> Reply {
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens_it() {
        let metadata = Metadata::new("t", "use1-az1");
        let answer = |method: Method, authorization: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            metadata.answer(&method, &headers).status().as_u16()
        };
        assert_eq!(answer(Method::GET, Some("Bearer t")), 200);
        for wrong in [None, Some("t"), Some("bearer t"), Some("Bearer "), Some("Bearer t ")] {
            assert_eq!(answer(Method::GET, wrong), 401, "{wrong:?}");
        }
        assert_eq!(answer(Method::POST, Some("Bearer t")), 405);
    }

    #[test]
    fn zones_are_named_after_their_region() {
        for (region, zone) in [
            ("us-east-1", "use1-az1"),
            ("eu-central-1", "euc1-az1"),
            ("ap-southeast-2", "apse2-az1"),
            ("ap-northeast-1", "apne1-az1"),
            ("us-gov-west-1", "usgw1-az1"),
            ("", "-az1"),
        ] {
            assert_eq!(Metadata::zone_of(region), zone);
        }
    }
}
