//! A small signed client of our own API, for `demo` and `events`.

use crate::credentials::Credentials;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use lamplight_env::{Clock, SystemClock};
use lamplight_wire::sigv4;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;

pub struct Client {
    pub address: SocketAddr,
    pub region: String,
    pub credentials: Credentials,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("the server did not answer with JSON")
    }

    /// This reply, or what the server refused with.
    pub fn success(self) -> Result<Self> {
        if self.status < 300 {
            return Ok(self);
        }
        Err(anyhow!("the server answered {}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    /// A call of the Lambda API.
    pub async fn lambda(&self, method: &str, path: &str, body: Bytes) -> Result<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(self.uri(path))
            .header("x-amz-log-type", "Tail")
            .body(body)?;
        self.send(request, "lambda").await
    }

    /// A call of CloudWatch Logs.
    pub async fn logs(&self, operation: &str, input: &Value) -> Result<Value> {
        let request = Request::post(self.uri("/"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Logs_20140328.{operation}"))
            .body(input.to_string().into())?;
        self.send(request, "logs").await?.success()?.json()
    }

    /// A page for the owner of the server.
    pub async fn owner(&self, method: http::Method, path: &str) -> Result<Value> {
        let request = Request::builder().method(method).uri(self.uri(path)).body(Bytes::new())?;
        self.send(request, "lambda").await?.success()?.json()
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn send(&self, request: Request<Bytes>, service: &str) -> Result<Reply> {
        let (mut head, body) = request.into_parts();
        let credentials = sigv4::Credentials {
            access_key: self.credentials.access_key.clone(),
            secret: sigv4::Secret {
                secret_key: self.credentials.secret.clone(),
                session_token: None,
            },
        };
        let scope = sigv4::Scope { region: &self.region, service };
        let now = SystemClock.now().millis();
        sigv4::sign(&mut head, sigv4::sha256(&body), &credentials, scope, now)?;
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let response = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            drop(sender);
            Ok::<_, hyper::Error>(Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        let (reply, _) = tokio::join!(exchange, connection);
        Ok(reply?)
    }
}
