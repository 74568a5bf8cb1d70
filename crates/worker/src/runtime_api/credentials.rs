//! Credentials of the function's role, for SDKs to fetch and to renew by themselves.
//!
//! AWS: functions with SnapStart have these and no keys among their variables, where a snapshot
//! would keep them until they are stale. Nothing is kept here: each answer has new ones, good for
//! as long as any.

use super::server::{Reply, reply};
use crate::logs::iso_millis;
use http::{HeaderMap, Method, StatusCode, header};
use lamplight_rpc::RoleCredentials;

// AWS: `AWS_CONTAINER_CREDENTIALS_FULL_URI` ends in it.
pub const PATH: &str = "/2021-04-23/credentials";

/// Of one environment.
pub struct Credentials {
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`, the value of the `Authorization` header as it is.
    token: String,
    make: Box<dyn Fn() -> RoleCredentials + Send + Sync>,
}

impl Credentials {
    pub fn new(token: String, make: impl Fn() -> RoleCredentials + Send + Sync + 'static) -> Self {
        Self { token, make: Box::new(make) }
    }

    pub(super) fn answer(&self, method: &Method, headers: &HeaderMap) -> Reply {
        if method != Method::GET {
            return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "");
        }
        let given = headers.get(header::AUTHORIZATION);
        if given.is_none_or(|given| given.as_bytes() != self.token.as_bytes()) {
            // AWS: this status and this text, whatever is wrong with the token.
            let text = "cannot get credentials for the provided token\n";
            return reply(StatusCode::NOT_FOUND, "text/plain", text);
        }
        let made = (self.make)();
        let body = serde_json::json!({
            "AccessKeyId": made.access_key,
            "SecretAccessKey": made.secret,
            "Token": made.session_token,
            "Expiration": iso_millis(made.expires),
        });
        reply(StatusCode::OK, "application/json", body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http_body_util::BodyExt as _;
    use lamplight_env::Timestamp;

    #[tokio::test]
    async fn only_the_token_opens_them_and_each_answer_is_new() {
        let made = std::sync::atomic::AtomicI64::new(1_795_000_000_000);
        let credentials = Credentials::new("t".to_owned(), move || {
            let expires = made.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
            RoleCredentials {
                access_key: "ASIA1".into(),
                secret: "s".into(),
                session_token: "m".into(),
                expires: Timestamp::from_millis(expires),
            }
        });
        let answer = |method: Method, token: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(token) = token {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(token));
            }
            credentials.answer(&method, &headers)
        };
        for wrong in [None, Some(""), Some("T"), Some("Bearer t")] {
            assert_eq!(answer(Method::GET, wrong).status(), 404, "{wrong:?}");
        }
        assert_eq!(answer(Method::POST, Some("t")).status(), 405);
        for expires in ["2026-11-18T11:06:40.000Z", "2026-11-18T11:06:41.000Z"] {
            let body = answer(Method::GET, Some("t")).into_body().collect().await.unwrap();
            let told: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
            let expected = serde_json::json!({
                "AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "m", "Expiration": expires,
            });
            assert_eq!(told, expected);
        }
    }
}
