//! Responses of functions: whole ones, and streamed ones on their way to the caller.
//!
//! A streamed response passes through piece by piece. A caller that reads slowly slows the
//! function down; one that has gone away does not: its function finishes into the void. A stream
//! that ends in any other way than its last byte counts as broken off, also when this code is
//! dropped with its connection.

use super::server::{Reply, accepted, error_type, truncated};
use super::{Answer, Refusal, RuntimeApi};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use lamplight_model::limits;
use lamplight_rpc::CHUNK;
use tokio::sync::mpsc;

pub async fn response(
    api: &RuntimeApi,
    id: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    match headers.get("lambda-runtime-function-response-mode").map(|mode| mode.as_bytes()) {
        None => whole(api, id, body).await,
        Some(b"streaming") => streamed(api, id, body).await,
        Some(_) => {
            api.may_answer(id)?;
            Err(Refusal {
                status: 400,
                error_type: "InvalidFunctionResponseMode",
                message: "Invalid function response mode".to_owned(),
            })
        }
    }
}

async fn whole(api: &RuntimeApi, id: &str, body: Incoming) -> Result<Reply, Refusal> {
    api.may_answer(id)?;
    let _one = api.upload().await?;
    match Limited::new(body, limits::RESPONSE_PAYLOAD).collect().await {
        Ok(body) => {
            api.answer(id, Answer::Response(body.to_bytes()))?;
            Ok(accepted())
        }
        Err(error) if error.is::<LengthLimitError>() => {
            api.answer(id, Answer::TooLarge { limit: limits::RESPONSE_PAYLOAD })?;
            Err(too_large(limits::RESPONSE_PAYLOAD))
        }
        Err(_) => Err(truncated()),
    }
}

async fn streamed(api: &RuntimeApi, id: &str, mut body: Incoming) -> Result<Reply, Refusal> {
    let mut to = match api.begin_stream(id)? {
        Some(caller) => To::Caller(caller),
        None => To::Collected(BytesMut::new()),
    };
    let open = Open { api, id };
    let mut left = to.limit();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| truncated())?.into_data() {
            Ok(data) => {
                let Some(rest) = left.checked_sub(data.len()) else {
                    open.end(Answer::TooLarge { limit: to.limit() })?;
                    return Err(too_large(to.limit()));
                };
                left = rest;
                to.take(data).await;
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let failed = trailers.as_ref().and_then(error_in);
    let bytes = to.limit() - left;
    open.end(failed.unwrap_or_else(|| to.answer(bytes)))?;
    Ok(accepted())
}

/// Where a streamed response goes.
enum To {
    Caller(mpsc::Sender<Bytes>),
    /// The caller wants it whole.
    Collected(BytesMut),
}

impl To {
    /// Bytes.
    fn limit(&self) -> usize {
        match self {
            Self::Caller(_) => limits::STREAMED_RESPONSE,
            Self::Collected(_) => limits::RESPONSE_PAYLOAD,
        }
    }

    async fn take(&mut self, mut data: Bytes) {
        match self {
            Self::Collected(whole) => whole.extend_from_slice(&data),
            Self::Caller(caller) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(CHUNK));
                    if caller.send(piece).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn answer(self, bytes: usize) -> Answer {
        match self {
            Self::Caller(_) => Answer::Streamed { bytes },
            Self::Collected(whole) => Answer::Response(whole.freeze()),
        }
    }
}

/// A streamed response that has begun.
struct Open<'a> {
    api: &'a RuntimeApi,
    id: &'a str,
}

impl Open<'_> {
    fn end(&self, answer: Answer) -> Result<(), Refusal> {
        self.api.end_stream(self.id, answer)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.api.break_off(self.id);
    }
}

/// AWS: a stream that fails half-way says so in its trailers.
fn error_in(trailers: &HeaderMap) -> Option<Answer> {
    trailers.get("lambda-runtime-function-error-type")?;
    let body = trailers
        .get("lambda-runtime-function-error-body")
        .and_then(|body| base64::engine::general_purpose::STANDARD.decode(body.as_bytes()).ok());
    let error_type = error_type(trailers, "Function.Unknown");
    Some(Answer::Error { body: body.unwrap_or_default().into(), error_type })
}

fn too_large(limit: usize) -> Refusal {
    Refusal {
        status: 413,
        error_type: "RequestEntityTooLarge",
        message: format!("Exceeded maximum allowed payload size ({limit} bytes)."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_tell_of_a_failure_only_with_its_type() {
        let trailers = |all: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in all {
                map.insert(*name, value.parse().unwrap());
            }
            error_in(&map)
        };
        const TYPE: &str = "lambda-runtime-function-error-type";
        const BODY: &str = "lambda-runtime-function-error-body";
        let failed = |body: &'static str, error_type: &str| {
            Some(Answer::Error { body: body.into(), error_type: error_type.to_owned() })
        };
        assert_eq!(trailers(&[(BODY, "e30=")]), None);
        assert_eq!(trailers(&[(TYPE, "Function.Oh"), (BODY, "e30=")]), failed("{}", "Function.Oh"));
        assert_eq!(trailers(&[(TYPE, "Error"), (BODY, "%")]), failed("", "Function.Unknown"));
    }
}
