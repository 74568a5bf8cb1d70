//! A small HTTP client: one connection for each request, with TLS where the address says so.
//!
//! Absences: redirects, proxies, cookies, compression and HTTP/2.

use crate::reach::Reach;
use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lamplight_env::Tasks;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const CONNECT: Duration = Duration::from_secs(10);
/// For the head of an answer, and between two pieces of its body.
const IDLE: Duration = Duration::from_secs(30);
/// The least that a body may bring on average, bytes a second, after a time to begin.
const RATE: u64 = 256 * 1024;

/// Why there is no answer. The texts are for log lines and for people.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("{0} is no address with http or https and a host")]
    Address(String),
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("{0} leads into a network that is not public")]
    NotPublic(String),
    #[error("the server was silent for too long")]
    Silent,
    #[error("the answer came too slowly")]
    Slow,
    #[error("the exchange broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

#[derive(Clone)]
pub struct Client {
    tasks: Tasks,
    /// Made when first needed: it reads all certificates of this machine.
    tls: Arc<OnceLock<TlsConnector>>,
}

impl Client {
    pub fn new(tasks: Tasks) -> Self {
        Self { tasks, tls: Arc::default() }
    }

    /// Trusts the certificate authorities of this machine.
    fn tls(&self) -> &TlsConnector {
        self.tls.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            TlsConnector::from(Arc::new(tls))
        })
    }

    /// Sends a request with an absolute address to a machine within reach.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        reach: Reach,
    ) -> Result<Response<Incoming>, HttpError>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let uri = request.uri().clone();
        let wrong = || HttpError::Address(uri.to_string());
        let host = uri.host().ok_or_else(wrong)?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        if !secure && uri.scheme() != Some(&Scheme::HTTP) {
            return Err(wrong());
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        // Brackets are the address's way to write an IPv6 host.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = in_time(CONNECT, connect(&host, port, reach)).await??;
        if !secure {
            return self.exchange(stream, request).await;
        }
        let name = ServerName::try_from(host).map_err(|_| wrong())?;
        let stream = in_time(CONNECT, self.tls().connect(name, stream)).await?;
        self.exchange(stream.map_err(HttpError::Connect)?, request).await
    }

    async fn exchange<S, B>(
        &self,
        stream: S,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        make_origin_form(&mut request)?;
        let (mut sender, connection) =
            in_time(CONNECT, http1::handshake(TokioIo::new(stream))).await??;
        let mut stop = self.tasks.stop_signal();
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to another server ended");
                },
                () = stop.stopped() => {}
            }
        });
        Ok(in_time(IDLE, sender.send_request(request)).await??)
    }
}

/// The names are looked up once, so that what is checked is what is connected to.
async fn connect(host: &str, port: u16, reach: Reach) -> Result<TcpStream, HttpError> {
    let found = lookup_host((host, port)).await.map_err(HttpError::Connect)?;
    let found: Vec<SocketAddr> = found.filter(|address| reach.allows(address.ip())).collect();
    if found.is_empty() {
        return Err(HttpError::NotPublic(host.to_owned()));
    }
    TcpStream::connect(&found[..]).await.map_err(HttpError::Connect)
}

/// The whole body, of at most `limit` bytes.
pub async fn read(body: Incoming, limit: usize) -> Result<Bytes, HttpError> {
    let mut whole = BytesMut::new();
    append(body, limit, &mut whole).await?;
    Ok(whole.freeze())
}

/// Puts the whole body, of at most `limit` bytes, behind what is there. A body of `limit` bytes
/// must come at [`RATE`] at least.
pub async fn append<B>(body: B, limit: usize, whole: &mut BytesMut) -> Result<(), HttpError>
where
    B: Body<Data = Bytes> + Unpin,
    HttpError: From<B::Error>,
{
    let patience = IDLE + Duration::from_secs(limit as u64 / RATE);
    timeout(patience, gather(body, limit, whole)).await.map_err(|_| HttpError::Slow)?
}

async fn gather<B>(mut body: B, limit: usize, whole: &mut BytesMut) -> Result<(), HttpError>
where
    B: Body<Data = Bytes> + Unpin,
    HttpError: From<B::Error>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(HttpError::TooLong(limit));
    }
    let mut left = limit;
    while let Some(frame) = in_time(IDLE, body.frame()).await? {
        let Ok(data) = frame?.into_data() else { continue };
        left = left.checked_sub(data.len()).ok_or(HttpError::TooLong(limit))?;
        whole.extend_from_slice(&data);
    }
    Ok(())
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, HttpError> {
    timeout(limit, work).await.map_err(|_| HttpError::Silent)
}

/// Servers are asked for a path, with the host in a header.
fn make_origin_form<B>(request: &mut Request<B>) -> Result<(), HttpError> {
    let uri = request.uri().clone();
    let wrong = || HttpError::Address(uri.to_string());
    let host = uri.authority().ok_or_else(wrong)?.as_str();
    let host = HeaderValue::from_str(host).map_err(|_| wrong())?;
    request.headers_mut().entry(HOST).or_insert(host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| wrong())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::channel::Channel;

    #[tokio::test(start_paused = true)]
    async fn bodies_that_trickle_have_an_end() {
        let (mut sender, body) = Channel::<Bytes, hyper::Error>::new(1);
        let trickle = async {
            // Never silent for long.
            while sender.send_data(Bytes::from_static(b"x")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        };
        let mut whole = BytesMut::new();
        let limit = 100 * 1024 * 1024;
        tokio::select! {
            result = append(body, limit, &mut whole) => {
                assert!(matches!(result, Err(HttpError::Slow)), "{result:?}");
            }
            () = trickle => panic!("the body was left alone"),
        }
        assert!(!whole.is_empty());
    }
}
