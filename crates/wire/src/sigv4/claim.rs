//! What a request says about its signature, before any of it is believed.

use super::{Scope, invalid, refused, time};
use crate::{ApiError, percent};
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use std::borrow::Cow;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// AWS: how far a header signature may be from the present, in minutes.
const SKEW_MINUTES: i64 = 5;
/// AWS: a week, in seconds.
const LONGEST_EXPIRY: i64 = 604_800;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Header,
    Query,
}

#[derive(Debug)]
pub(super) struct Claim<'p> {
    pub form: Form,
    pub access_key: &'p str,
    pub date: &'p str,
    pub region: &'p str,
    pub service: &'p str,
    terminator: &'p str,
    /// Semicolon-separated, as given.
    pub signed_headers: &'p str,
    pub signature: &'p str,
    /// `YYYYMMDD'T'HHMMSS'Z'`.
    pub timestamp: &'p str,
    pub token: Option<Cow<'p, str>>,
    /// Seconds a presigned request is good for.
    expires: Option<i64>,
}

/// The fields of either form, undivided.
struct Fields<'p> {
    credential: &'p str,
    signed_headers: &'p str,
    signature: &'p str,
    timestamp: &'p str,
}

impl<'p> Claim<'p> {
    pub fn read(parts: &'p Parts) -> Result<Self, ApiError> {
        let presigned = presigned(parts);
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        match (headers.next(), headers.next(), presigned) {
            (Some(header), None, false) => Self::from_header(parts, header.to_str().unwrap_or("")),
            (None, _, true) => Self::from_query(parts),
            (None, _, false) => Err(missing()),
            _ => Err(incomplete("A request must have exactly one signature.".to_owned())),
        }
    }

    fn from_header(parts: &'p Parts, header: &'p str) -> Result<Self, ApiError> {
        let Some(fields) = header.strip_prefix(ALGORITHM).filter(|f| f.starts_with([' ', '\t']))
        else {
            // AWS: what is no signature at all (Basic, Bearer) counts as none.
            return Err(missing());
        };
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in self::fields(fields) {
            match field.split_once('=') {
                // The first of each counts, as it does for `claimed_scope`.
                Some(("Credential", value)) => credential = credential.or(Some(value)),
                Some(("SignedHeaders", value)) => signed_headers = signed_headers.or(Some(value)),
                Some(("Signature", value)) => signature = signature.or(Some(value)),
                Some(_) => {}
                None => {
                    return Err(incomplete(format!(
                        "'{field}' not a valid key=value pair (missing equal-sign) in Authorization \
                         header: '{header}'."
                    )));
                }
            }
        }
        let date = parts.headers.get("x-amz-date").or_else(|| parts.headers.get(DATE));
        let timestamp = date.and_then(|value| value.to_str().ok());
        if let (Some(credential), Some(signed_headers), Some(signature), Some(timestamp)) =
            (credential, signed_headers, signature, timestamp)
        {
            let token = parts.headers.get("x-amz-security-token");
            let token = token.map(|value| String::from_utf8_lossy(value.as_bytes()));
            let fields = Fields { credential, signed_headers, signature, timestamp };
            return Self::from_fields(Form::Header, fields, token);
        }
        // AWS: one sentence for each thing that is missing.
        let needs = [
            ("'Credential' parameter", credential),
            ("'Signature' parameter", signature),
            ("'SignedHeaders' parameter", signed_headers),
            ("existence of either a 'X-Amz-Date' or a 'Date' header", timestamp),
        ];
        let mut message = String::new();
        for (need, _) in needs.iter().filter(|(_, found)| found.is_none()) {
            message.push_str(&format!("Authorization header requires {need}. "));
        }
        message.push_str(&format!("Authorization={header}"));
        Err(incomplete(message))
    }

    fn from_query(parts: &'p Parts) -> Result<Self, ApiError> {
        let query = parts.uri.query();
        let find = |name: &str| {
            percent::pairs(query.unwrap_or_default())
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        if find("X-Amz-Algorithm") != Some(ALGORITHM) {
            return Err(parameters("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        // Taken as they are written: nothing in them is ever encoded but slashes and semicolons,
        // and `elements` and `names` read those both ways.
        let (
            Some(credential),
            Some(signed_headers),
            Some(signature),
            Some(timestamp),
            Some(expires),
        ) = (
            find("X-Amz-Credential"),
            find("X-Amz-SignedHeaders"),
            find("X-Amz-Signature"),
            find("X-Amz-Date"),
            find("X-Amz-Expires"),
        )
        else {
            return Err(parameters(
                "Query-string authentication requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ));
        };
        let expires = match expires.parse::<i64>() {
            Ok(seconds) if (1..=LONGEST_EXPIRY).contains(&seconds) => seconds,
            Ok(seconds) if seconds > LONGEST_EXPIRY => {
                return Err(parameters(
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given \
                     X-Amz-Expires must be less than 604800 seconds",
                ));
            }
            Ok(_) => return Err(parameters("X-Amz-Expires must be non-negative")),
            Err(_) => return Err(parameters("X-Amz-Expires should be a number")),
        };
        let token = find("X-Amz-Security-Token").and_then(percent::decode);
        let fields = Fields { credential, signed_headers, signature, timestamp };
        let claim = Self::from_fields(Form::Query, fields, token)?;
        Ok(Self { expires: Some(expires), ..claim })
    }

    fn from_fields(
        form: Form,
        fields: Fields<'p>,
        token: Option<Cow<'p, str>>,
    ) -> Result<Self, ApiError> {
        let Fields { credential, signed_headers, signature, timestamp } = fields;
        let Some([access_key, date, region, service, terminator]) = elements(credential) else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/term, got '{credential}'"
            )));
        };
        Ok(Self {
            form,
            access_key,
            date,
            region,
            service,
            terminator,
            signed_headers,
            signature,
            timestamp,
            token,
            expires: None,
        })
    }

    pub fn check_scope(&self) -> Result<(), ApiError> {
        if self.terminator != TERMINATOR {
            return Err(invalid(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                self.terminator
            )));
        }
        if self.timestamp.get(..8) != Some(self.date) {
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{}' != '{}', from '{}'.",
                self.date,
                self.timestamp.get(..8).unwrap_or(self.timestamp),
                self.timestamp
            )));
        }
        // A name given again and again would have its value hashed as often.
        if !self.names().is_sorted_by(|left, right| left < right) {
            return Err(invalid(
                "The names in 'SignedHeaders' must be sorted and each there once.",
            ));
        }
        if !self.names().any(|name| name == "host") {
            return Err(invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        Ok(())
    }

    /// A header signature is good for five minutes either way; a presigned one from five minutes
    /// before its date until it expires.
    pub fn check_time(&self, now_ms: i64) -> Result<(), ApiError> {
        let Some(signed) = time::seconds(self.timestamp) else {
            return Err(incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{}'. See \
                 http://en.wikipedia.org/wiki/ISO_8601",
                self.timestamp
            )));
        };
        let now = now_ms.div_euclid(1000);
        let skew = SKEW_MINUTES * 60;
        let show = time::format;
        if signed > now + skew {
            return Err(invalid(format!(
                "Signature not yet current: {} is still later than {} ({} + {SKEW_MINUTES} min.)",
                self.timestamp,
                show(now + skew),
                show(now)
            )));
        }
        match self.expires {
            Some(expires) if signed + expires < now => Err(invalid(format!(
                "Signature expired: {} is now earlier than {}",
                show(signed + expires),
                show(now)
            ))),
            None if signed < now - skew => Err(invalid(format!(
                "Signature expired: {} is now earlier than {} ({} - {SKEW_MINUTES} min.)",
                self.timestamp,
                show(now - skew),
                show(now)
            ))),
            _ => Ok(()),
        }
    }

    pub fn scope(&self) -> [&'p str; 3] {
        [self.date, self.region, self.service]
    }

    fn names(&self) -> impl Iterator<Item = &'p str> {
        super::canonical::names(self.signed_headers)
    }
}

/// The scope that a request says it was signed for, believing it: `None` if it does not say. This is
/// how services are told apart before, and without, verifying.
pub fn claimed_scope(parts: &Parts) -> Option<Scope<'_>> {
    let credential = match parts.headers.get(AUTHORIZATION) {
        Some(header) => {
            let list = header.to_str().ok()?.strip_prefix(ALGORITHM)?;
            fields(list).find_map(|field| field.strip_prefix("Credential="))?
        }
        None => percent::pairs(parts.uri.query().unwrap_or_default())
            .find_map(|(name, value)| (name == "X-Amz-Credential").then_some(value))?,
    };
    let [_, _, region, service, _] = elements(credential)?;
    Some(Scope { region, service })
}

/// The session token that a request comes with, in either form of a signature, believing nothing.
pub fn claimed_token(parts: &Parts) -> Option<Cow<'_, str>> {
    if parts.headers.contains_key(AUTHORIZATION) {
        return parts.headers.get("x-amz-security-token")?.to_str().ok().map(Cow::Borrowed);
    }
    percent::pairs(parts.uri.query().unwrap_or_default())
        .find_map(|(name, value)| (name == "X-Amz-Security-Token").then_some(value))
        .and_then(percent::decode)
}

/// The fields after the algorithm in an `Authorization` header.
fn fields(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|field| !field.is_empty())
}

/// Whether the query string carries a signature.
fn presigned(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    percent::pairs(query).any(|(name, _)| matches!(name, "X-Amz-Signature" | "X-Amz-Algorithm"))
}

/// The five parts of a credential, whose slashes a presigned URL writes `%2F`. An access key itself
/// may hold slashes in neither form.
fn elements(credential: &str) -> Option<[&str; 5]> {
    let mut elements = [""; 5];
    let mut rest = Some(credential);
    for slot in &mut elements {
        let text = rest?;
        let slash = |(at, byte): (usize, u8)| match byte {
            b'/' => Some((at, 1)),
            b'%' => text.get(at..at + 3)?.eq_ignore_ascii_case("%2f").then_some((at, 3)),
            _ => None,
        };
        (*slot, rest) = match text.bytes().enumerate().find_map(slash) {
            Some((at, width)) => (text.get(..at)?, text.get(at + width..)),
            None => (text, None),
        };
    }
    rest.is_none().then_some(elements)
}

fn missing() -> ApiError {
    refused("MissingAuthenticationTokenException", "Missing Authentication Token")
}

fn incomplete(message: String) -> ApiError {
    refused("IncompleteSignatureException", message)
}

fn parameters(message: &str) -> ApiError {
    ApiError::new("AuthorizationQueryParametersError", message).with_status(400)
}
