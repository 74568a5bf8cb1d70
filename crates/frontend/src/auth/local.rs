//! Who may use a server that asks for no signature: programs of its machine, and no web page.
//!
//! A browser sends what any page asks it to, also to loopback, and with a name that its owner
//! points there (DNS rebinding) even shows the page the answer. Browsers say so, though: with
//! `Origin`, with `Sec-Fetch-Site`, and with the page's own name in `Host`.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::request::Parts as Head;
use http::uri::Authority;
use lamplight_wire::ApiError;
use std::net::IpAddr;

pub fn check(head: &Head) -> Result<(), ApiError> {
    if from_a_page(&head.headers) {
        return Err(refused("web pages may not use it"));
    }
    let hosts = head.headers.get_all(HOST).iter();
    let named = hosts.map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let mut names = named.chain(head.uri.authority().cloned().map(Some)).peekable();
    let local = |name: Option<Authority>| name.is_some_and(|name| is_local(name.host()));
    if names.peek().is_none() || !names.all(local) {
        return Err(refused("it can be reached only under a loopback address or as localhost"));
    }
    Ok(())
}

fn from_a_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    // `none` is the user, typing an address.
    headers.contains_key(ORIGIN) || sites.any(|site| site != "same-origin" && site != "none")
}

fn is_local(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        // RFC 6761: names below it are loopback, too.
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::new(
        "AccessDeniedException",
        format!(
            "This server asks for no signature (auth \"none\"), so {why}. Use auth \"sigv4\" to \
             allow it."
        ),
    )
    .with_status(403)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(uri: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head).map_err(|error| error.message)
    }

    #[test]
    fn programs_of_the_machine_are_let_in() {
        for host in [
            "localhost",
            "LOCALHOST:9001",
            "127.0.0.1:9001",
            "127.8.8.8",
            "[::1]:9001",
            "bucket.localhost:1",
        ] {
            assert_eq!(checked("/", &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(checked("http://localhost:9/x", &[("host", "localhost:9")]), Ok(()));
        assert_eq!(checked("/", &[("host", "localhost"), ("sec-fetch-site", "none")]), Ok(()));
    }

    #[test]
    fn web_pages_and_foreign_names_are_not() {
        let local = ("host", "localhost");
        for header in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let error = checked("/", &[local, header]).unwrap_err();
            assert!(error.contains("web pages may not use it"), "{error}");
        }
        let foreign: [&[(&str, &str)]; 7] = [
            &[],
            &[("host", "evil.example:9001")],
            &[("host", "localhost.evil.example")],
            &[("host", "evil.example#localhost")],
            &[("host", "10.0.0.1")],
            &[("host", "")],
            &[local, ("host", "evil.example")],
        ];
        for headers in foreign {
            let error = checked("/", headers).unwrap_err();
            assert!(error.contains("loopback"), "{headers:?}: {error}");
        }
        assert!(checked("http://evil.example/", &[local]).is_err());
    }
}
