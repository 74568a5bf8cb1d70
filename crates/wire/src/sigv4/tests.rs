//! Against requests that botocore signed (`fixtures/botocore_signed.py`), against tampering, and
//! against ourselves.

use super::*;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Request;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    now_ms: i64,
    access_key: String,
    secret_key: String,
    requests: Vec<Signed>,
}

#[derive(Deserialize, Clone)]
struct Signed {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    region: String,
    service: String,
    token: Option<String>,
    presigned: bool,
}

impl Signed {
    /// `None`: no HTTP request can look like this.
    fn parts(&self) -> Option<Parts> {
        let mut builder = Request::builder().method(self.method.as_str()).uri(&self.target);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        Some(builder.body(()).ok()?.into_parts().0)
    }

    fn body(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.body).unwrap()
    }

    fn replace(&mut self, name: &str, change: impl FnOnce(&str) -> String) {
        let (_, value) =
            self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)).unwrap();
        *value = change(value);
    }
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../fixtures/botocore_signed.json")).unwrap()
}

impl Fixture {
    fn verify(&self, request: &Signed, body: &[u8], now_ms: i64) -> Result<Verified, ApiError> {
        let secret =
            Secret { secret_key: self.secret_key.clone(), session_token: request.token.clone() };
        let lookup = |key: &str| (key == self.access_key).then(|| secret.clone());
        verify(&request.parts().unwrap(), || sha256(body), &lookup, now_ms)
    }

    /// A plain Lambda request signed in the header.
    fn plain(&self) -> Signed {
        self.requests.iter().find(|request| !request.presigned).unwrap().clone()
    }

    fn presigned(&self) -> Signed {
        self.requests.iter().find(|request| request.presigned).unwrap().clone()
    }

    fn refusal(&self, request: &Signed) -> (String, String) {
        let error = self.verify(request, &request.body(), self.now_ms).unwrap_err();
        assert_eq!(error.status, Some(403));
        (error.code.into_owned(), error.message)
    }
}

#[test]
fn what_botocore_signs_verifies() {
    let fixture = fixture();
    assert!(fixture.requests.len() > 50);
    for request in &fixture.requests {
        let verified = fixture.verify(request, &request.body(), fixture.now_ms);
        let expected = Verified {
            access_key: fixture.access_key.clone(),
            region: request.region.clone(),
            service: request.service.clone(),
            date: "20261122".to_owned(),
        };
        assert_eq!(verified, Ok(expected), "{} {}", request.method, request.target);
    }
}

#[test]
fn one_byte_changed_anywhere_is_refused() {
    let fixture = fixture();
    let mut tried = 0;
    let mut refused = |changed: &Signed, body: &[u8]| {
        if changed.target.starts_with('/') && changed.parts().is_some() {
            tried += 1;
            let result = fixture.verify(changed, body, fixture.now_ms);
            assert!(result.is_err(), "{} {:?}", changed.target, changed.headers);
        }
    };
    let flips = |text: &str| -> Vec<String> {
        (0..text.len())
            .filter_map(|at| {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] ^= 1;
                String::from_utf8(bytes).ok()
            })
            .collect()
    };
    // A path with dots in it may lose them and mean the same; those are left out.
    for request in fixture.requests.iter().filter(|request| !request.target.contains("/./")) {
        let body = request.body();
        for target in flips(&request.target) {
            refused(&Signed { target, ..request.clone() }, &body);
        }
        for index in 0..request.headers.len() {
            for value in flips(&request.headers[index].1) {
                let mut changed = request.clone();
                changed.headers[index].1 = value;
                refused(&changed, &body);
            }
        }
        for method in ["HEAD", "PATCH"] {
            refused(&Signed { method: method.to_owned(), ..request.clone() }, &body);
        }
        let unsigned_body = request.service == "s3" && request.presigned;
        for at in (0..body.len()).filter(|_| !unsigned_body) {
            let mut body = body.clone();
            body[at] ^= 1;
            refused(request, &body);
        }
    }
    assert!(tried > 10_000);
}

#[test]
fn a_header_signature_is_good_for_five_minutes_either_way() {
    let fixture = fixture();
    let request = fixture.plain();
    let at = |minutes: i64, seconds: i64| {
        let now = fixture.now_ms + (minutes * 60 + seconds) * 1000;
        fixture.verify(&request, b"", now).map(|_| ()).map_err(|error| error.message)
    };
    assert_eq!(at(5, 0), Ok(()));
    assert_eq!(at(-5, 0), Ok(()));
    assert_eq!(
        at(5, 1).unwrap_err(),
        "Signature expired: 20261122T113840Z is now earlier than 20261122T113841Z \
         (20261122T114341Z - 5 min.)"
    );
    assert_eq!(
        at(-5, -1).unwrap_err(),
        "Signature not yet current: 20261122T113840Z is still later than 20261122T113839Z \
         (20261122T113339Z + 5 min.)"
    );
}

#[test]
fn a_presigned_request_is_good_until_it_expires() {
    let fixture = fixture();
    let request = fixture.presigned();
    let at = |seconds: i64| fixture.verify(&request, b"", fixture.now_ms + seconds * 1000);
    assert!(at(600).is_ok());
    assert_eq!(
        at(601).unwrap_err().message,
        "Signature expired: 20261122T114840Z is now earlier than 20261122T114841Z"
    );
    for expires in ["0", "604801", "-1", "x", "99999999999999999999"] {
        let mut changed = request.clone();
        changed.target = request.target.replace("Expires=600", &format!("Expires={expires}"));
        let error = fixture.verify(&changed, b"", fixture.now_ms).unwrap_err();
        assert_eq!(error.code, "AuthorizationQueryParametersError", "{expires}");
    }
}

#[test]
fn refusals_have_their_code_and_words() {
    let fixture = fixture();
    let plain = fixture.plain();

    let mut request = plain.clone();
    request.headers.retain(|(name, _)| name != "Authorization");
    let missing = ("MissingAuthenticationTokenException", "Missing Authentication Token");
    assert_eq!(fixture.refusal(&request), (missing.0.to_owned(), missing.1.to_owned()));
    request.headers.push(("Authorization".to_owned(), "Bearer abc".to_owned()));
    assert_eq!(fixture.refusal(&request).0, missing.0);

    let mut request = plain.clone();
    request.replace("Authorization", |value| value.replace("EXAMPLE", "ELPMAXE"));
    let unknown = "The security token included in the request is invalid.";
    assert_eq!(
        fixture.refusal(&request),
        ("UnrecognizedClientException".to_owned(), unknown.to_owned())
    );

    let mut request = plain.clone();
    request.replace("Authorization", |_| "AWS4-HMAC-SHA256 Credential=a".to_owned());
    assert_eq!(
        fixture.refusal(&request),
        (
            "IncompleteSignatureException".to_owned(),
            "Authorization header requires 'Signature' parameter. Authorization header requires \
             'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256 Credential=a"
                .to_owned()
        )
    );

    let mut request = plain.clone();
    request.replace("Authorization", |value| value.replace("host;", ""));
    assert_eq!(
        fixture.refusal(&request).1,
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    );

    let mut request = plain.clone();
    request.replace("Authorization", |value| value.replace("host;", "host;host;"));
    assert!(fixture.refusal(&request).1.starts_with("The names in 'SignedHeaders' must be sorted"));

    let mut request = plain.clone();
    request.headers.retain(|(name, _)| name != "X-Amz-Date");
    request.headers.push(("Date".to_owned(), "20261122 11:38:40".to_owned()));
    let (code, message) = fixture.refusal(&request);
    assert_eq!(code, "IncompleteSignatureException");
    assert!(message.starts_with("Date must be in ISO-8601 'basic format'."), "{message}");

    let mut request = plain.clone();
    request.replace("Authorization", |value| value.replace("aws4_request", "aws5_request"));
    assert!(fixture.refusal(&request).1.starts_with("Credential should be scoped with a valid"));

    let mut request = plain.clone();
    request.replace("x-amz-date", |_| "20261121T235959Z".to_owned());
    assert!(fixture.refusal(&request).1.starts_with("Date in Credential scope does not match"));

    let mut request = plain.clone();
    request.headers.push(request.headers.last().unwrap().clone());
    assert_eq!(fixture.refusal(&request).0, "IncompleteSignatureException");

    let mut request = plain;
    request.replace("Authorization", |value| format!("{}g", &value[..value.len() - 1]));
    let (code, message) = fixture.refusal(&request);
    assert_eq!(code, "InvalidSignatureException");
    assert!(message.starts_with("The request signature we calculated does not match"));
}

#[test]
fn a_token_is_for_its_key_and_no_other() {
    let mut fixture = fixture();
    for request in &mut fixture.requests {
        request.token = match &request.token {
            Some(_) => None,
            None => Some("expected".to_owned()),
        };
    }
    for request in &fixture.requests {
        let error = fixture.verify(request, &request.body(), fixture.now_ms).unwrap_err();
        assert_eq!(error.code, "UnrecognizedClientException");
    }
}

#[test]
fn the_claimed_scope_is_the_one_that_is_verified() {
    let fixture = fixture();
    for request in &fixture.requests {
        let parts = request.parts().unwrap();
        let scope = claimed_scope(&parts).unwrap();
        assert_eq!((scope.region, scope.service), (&*request.region, &*request.service));
    }
    let mut request = fixture.plain();
    request.replace("Authorization", |value| {
        value.replace(
            "Credential=",
            "Credential=AK/20261122/us-east-1/sts/aws4_request, Credential=",
        )
    });
    assert_eq!(claimed_scope(&request.parts().unwrap()).unwrap().service, "sts");
    assert!(fixture.verify(&request, b"", fixture.now_ms).is_err());
}

#[test]
fn the_body_is_not_asked_for_when_the_head_is_wrong() {
    let fixture = fixture();
    let parts = fixture.plain().parts().unwrap();
    let result = verify(&parts, || panic!("the body was read"), &|_| None, fixture.now_ms);
    assert_eq!(result.unwrap_err().code, "UnrecognizedClientException");
}

#[test]
fn an_unsigned_body_may_be_anything_if_the_signer_says_so() {
    let credentials = credentials("secret", None);
    let request = Request::post("http://localhost/2015-03-31/functions/f/invocations");
    for label in ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let request = Request::from_parts(request_parts(&request), ());
        let (mut parts, ()) = request.into_parts();
        parts.headers.insert("x-amz-content-sha256", label.parse().unwrap());
        let scope = Scope { region: "us-east-1", service: "lambda" };
        sign(&mut parts, sha256(b"one"), &credentials, scope, 0).unwrap();
        let lookup = |_: &str| Some(credentials.secret.clone());
        assert!(verify(&parts, || sha256(b"another"), &lookup, 0).is_ok());
        parts.headers.remove("x-amz-content-sha256");
        assert!(verify(&parts, || sha256(b"one"), &lookup, 0).is_err());
    }
}

fn request_parts(builder: &http::request::Builder) -> Parts {
    let uri = builder.uri_ref().unwrap().clone();
    Request::builder().method("POST").uri(uri).body(()).unwrap().into_parts().0
}

fn credentials(secret: &str, token: Option<String>) -> Credentials {
    let secret = Secret { secret_key: secret.to_owned(), session_token: token };
    Credentials { access_key: "LKIATEST".to_owned(), secret }
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-zA-Z0-9.~_%:@-]{0,8}){1,5}"
}

fn query() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9%/+._-]{0,6}=?[a-zA-Z0-9%/+._-]{0,6}&?){0,4}"
}

proptest! {
    #[test]
    fn what_we_sign_verifies(
        path in path(),
        query in query(),
        headers in proptest::collection::vec(("x-amz-[a-z]{1,8}", "[ -~\t]{0,20}"), 0..4),
        body in proptest::collection::vec(any::<u8>(), 0..64),
        token in proptest::option::of("[a-zA-Z0-9+/=]{1,40}"),
        s3 in any::<bool>(),
        now_ms in 0i64..4_000_000_000_000,
    ) {
        let uri = format!("http://localhost:9000{path}?{query}");
        let mut builder = Request::post(uri);
        for (name, value) in &headers {
            // What means something to the signature itself is not for a client to set.
            if !matches!(name.as_str(), "x-amz-date" | "x-amz-content") {
                builder = builder.header(name, value);
            }
        }
        let Ok(request) = builder.body(()) else { return Ok(()) };
        let (mut parts, ()) = request.into_parts();
        let credentials = credentials("secret", token);
        let scope = Scope { region: "eu-west-1", service: if s3 { "s3" } else { "lambda" } };
        sign(&mut parts, sha256(&body), &credentials, scope, now_ms).unwrap();
        let lookup = |key: &str| (key == "LKIATEST").then(|| credentials.secret.clone());
        let verified = verify(&parts, || sha256(&body), &lookup, now_ms);
        prop_assert_eq!(verified.map(|verified| verified.region), Ok("eu-west-1".to_owned()));
        let other = Secret { secret_key: "other".to_owned(), ..credentials.secret.clone() };
        let wrong = |_: &str| Some(other.clone());
        prop_assert!(verify(&parts, || sha256(&body), &wrong, now_ms).is_err());
    }

    #[test]
    fn what_we_presign_verifies(
        path in path(),
        query in query(),
        token in proptest::option::of("[a-zA-Z0-9+/=]{1,40}"),
        s3 in any::<bool>(),
        expires_s in 1u32..=604_800,
    ) {
        let Ok(uri) = format!("http://localhost:9000{path}?{query}").parse() else { return Ok(()) };
        let credentials = credentials("secret", token);
        let scope = Scope { region: "eu-west-1", service: if s3 { "s3" } else { "lambda" } };
        let now_ms = 1_795_347_520_000;
        let signed = presign(&uri, &credentials, scope, expires_s, now_ms).unwrap();
        let relative = signed.path_and_query().unwrap().as_str();
        let request = Request::get(relative).header("host", "localhost:9000").body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let lookup = |_: &str| Some(credentials.secret.clone());
        let later = now_ms + i64::from(expires_s) * 1000;
        prop_assert!(verify(&parts, || sha256(b""), &lookup, later).is_ok());
        prop_assert!(verify(&parts, || sha256(b""), &lookup, later + 1000).is_err());
    }

    #[test]
    fn garbage_is_refused(
        authorization in ".{0,200}",
        date in ".{0,20}",
        query in "[ -~]{0,100}",
        now_ms in any::<i64>(),
    ) {
        let prefix = "AWS4-HMAC-SHA256 Credential=a/20261122/r/lambda/aws4_request,";
        for authorization in [authorization.clone(), format!("{prefix}{authorization}")] {
            let mut builder = Request::get(format!("/x?{query}"));
            if let Ok(value) = http::HeaderValue::from_bytes(authorization.as_bytes()) {
                builder = builder.header("authorization", value);
            }
            if let Ok(value) = http::HeaderValue::from_bytes(date.as_bytes()) {
                builder = builder.header("x-amz-date", value);
            }
            if let Ok(request) = builder.body(()) {
                let lookup = |_: &str| Some(credentials("secret", None).secret);
                let parts = request.into_parts().0;
                prop_assert!(verify(&parts, || sha256(b""), &lookup, now_ms).is_err());
            }
        }
    }
}

#[test]
fn what_needs_no_body_is_known_before_it() {
    let fixture = fixture();
    let check = |request: &Signed, known: bool, now_ms| {
        let (secret_key, session_token) = (fixture.secret_key.clone(), request.token.clone());
        let secret = Secret { secret_key, session_token };
        precheck(&request.parts().unwrap(), &|_| known.then(|| secret.clone()), now_ms)
    };
    for request in &fixture.requests {
        assert_eq!(check(request, true, fixture.now_ms), Ok(()));
        let unknown = check(request, false, fixture.now_ms).unwrap_err();
        assert_eq!(unknown.code, "UnrecognizedClientException");
        let late = check(request, true, fixture.now_ms + 8 * 86_400_000).unwrap_err();
        assert_eq!(late.code, "InvalidSignatureException");
    }
}
