//! The HTTP server: connections in, one request after the other through the same steps.

use crate::Parts;
use crate::api;
use crate::body::{self, Allowance, Bodies, Refused};
use crate::crowd::Crowd;
use crate::desk;
use crate::stalling::Stalling;
use bytes::Bytes;
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lamplight_env::{Timestamp, faults};
use lamplight_model::limits;
use lamplight_wire::{
    ApiError, OperationRef, Route, Service, decode, encode_error, encode_output, route, validate,
};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Sockets that are open at the same time; further clients wait in the backlog.
pub(crate) const CONNECTIONS: usize = 4096;
/// Of these, those of one address: a load balancer has many, and nobody has all.
const CONNECTIONS_OF_ONE: usize = CONNECTIONS / 4 * 3;
/// The same for one environment.
const GUEST_CONNECTIONS: usize = 64;
/// A request's head has to be there within this time.
const HEAD: Duration = Duration::from_secs(10);

/// Most bodies are there at once; some are written while the client reads.
type Content = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;
type Reply = Response<Content>;

/// Serves until the stop signal, then lets requests in flight end.
pub async fn serve(listener: TcpListener, parts: Arc<Parts>) {
    accept(listener, parts, (CONNECTIONS, Peer::Address), Arc::default()).await;
}

/// The same for a function, on a listener that only its environment reaches.
pub(crate) async fn serve_guest(listener: TcpListener, parts: Arc<Parts>, bodies: Arc<Bodies>) {
    accept(listener, parts, (GUEST_CONNECTIONS, |_| Peer::Guest), bodies).await;
}

async fn accept(
    listener: TcpListener,
    parts: Arc<Parts>,
    (connections, door): (usize, fn(IpAddr) -> Peer),
    bodies: Arc<Bodies>,
) {
    let places = Arc::new(Semaphore::new(connections));
    let crowd = Crowd::new(CONNECTIONS_OF_ONE);
    let mut stop = parts.env.tasks.stop_signal();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = tokio::select! {
            () = stop.stopped() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: others have to close first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some(seat) = crowd.enter(peer.ip()) else {
            tracing::debug!(peer = %peer.ip(), "one address has too many connections");
            continue;
        };
        let peer = door(peer.ip());
        let (task_parts, bodies) = (Arc::clone(&parts), Arc::clone(&bodies));
        parts.env.tasks.spawn(async move {
            connection((stream, peer), task_parts, bodies).await;
            drop((place, seat));
        });
    }
}

/// Where a request comes from, kept with its head.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    Address(IpAddr),
    /// A function, through the listener in its environment.
    Guest,
}

async fn connection((stream, peer): (TcpStream, Peer), parts: Arc<Parts>, bodies: Arc<Bodies>) {
    let _ = stream.set_nodelay(true);
    let mut stop = parts.env.tasks.stop_signal();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (parts, bodies) = (Arc::clone(&parts), Arc::clone(&bodies));
        async move { Ok::<_, Infallible>(handle(&parts, &bodies, request).await) }
    });
    let patience = if faults::bug("no-request-timeout") { HEAD * 1000 } else { HEAD };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(256 * 1024)
        .serve_connection(TokioIo::new(Stalling::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn handle(parts: &Arc<Parts>, bodies: &Bodies, request: Request<Incoming>) -> Reply {
    let request_id = parts.env.random.uuid();
    let arrived = parts.env.clock.now();
    let (mut head, body) = request.into_parts();
    if !framed_plainly(&head) {
        let error = ApiError::new(
            "SerializationException",
            "A request's Transfer-Encoding must be chunked.",
        );
        let mut refused = refusal(None, &error.with_status(400), &request_id);
        refused.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        return refused;
    }
    if head.uri.path() == "/_lamplight/health" {
        return Response::new(whole(Bytes::from_static(b"ok\n")));
    }
    if desk::requested(&head).is_some() {
        return match desk::answer(parts, &head, arrived).await {
            Ok(answer) => answer.map(whole),
            Err(error) => refusal(None, &error, &request_id),
        };
    }
    if let Some(requested) = parts.downloads.requested(&head, &*parts.env.clock) {
        return match requested {
            Ok(digest) => match parts.downloads.send(&*parts.code, &digest).await {
                Ok(zip) => zip.map(Either::Right),
                Err(error) => refusal(None, &error, &request_id),
            },
            Err(error) => refusal(None, &error, &request_id),
        };
    }
    let route = match route(&head) {
        Ok(route) => route,
        Err(error) => return refusal(None, &error, &request_id),
    };
    let service = route.service;
    let body = match receive((parts, bodies), (&mut head, body), &route, arrived).await {
        Ok(body) => body,
        Err(error) => return refusal(Some(service), &error, &request_id),
    };
    match answer(parts, (&head, body), (&route, arrived), &request_id).await {
        Ok(reply) => reply,
        Err(error) => refusal(Some(service), &error, &request_id),
    }
}

/// Whether everybody on the way reads the end of the body at the same place. hyper takes a coding of
/// which the last part is `chunked`; a proxy before us may not, and see another request in it.
fn framed_plainly(head: &Head) -> bool {
    let mut codings = head.headers.get_all(http::header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// The whole body of a request that may have one. The head keeps its share of the memory for the
/// operation, which may need as much again.
async fn receive(
    (parts, bodies): (&Parts, &Bodies),
    (head, body): (&mut Head, Incoming),
    route: &Route,
    arrived: Timestamp,
) -> Result<Bytes, ApiError> {
    if parts.auth.by_link(head, route.operation).is_none()
        && let Err(error) = parts.auth.precheck(head, arrived)
    {
        body::refuse(body).await;
        return Err(error);
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let (allowance, name) = limit(route);
    let refused = |refused| match refused {
        Refused::TooLarge => ApiError::new(
            "RequestEntityTooLargeException",
            format!(
                "Request must be smaller than {} bytes for the {name} operation",
                allowance.limit
            ),
        )
        .with_status(413),
        Refused::Busy => ApiError::new(
            "TooManyRequestsException",
            "The server holds as many requests as its memory allows. Please try again.",
        )
        .with_status(429)
        .with("Reason", "CallerRateLimitExceeded")
        .with("retryAfterSeconds", "1"),
        Refused::Stalled => {
            ApiError::new("RequestTimeout", "The request body did not arrive in time.")
                .with_status(408)
        }
        Refused::Broken => {
            ApiError::new("SerializationException", "The request body broke off.").with_status(400)
        }
    };
    let (body, share) = bodies.read(body, allowance).await.map_err(refused)?;
    head.extensions.insert(share);
    Ok(body)
}

/// The steps of every request that has arrived. Its signature covers its body.
async fn answer(
    parts: &Arc<Parts>,
    (head, body): (&Head, Bytes),
    (route, arrived): (&Route, Timestamp),
    request_id: &str,
) -> Result<Reply, ApiError> {
    let region = &parts.options.region;
    let (caller, scope) = match parts.auth.by_link(head, route.operation) {
        Some(by_link) => by_link,
        None => parts.auth.check(head, &body, arrived, region)?,
    };
    let call = decode(route, head, body)?;
    if let Err(error) = validate(&call) {
        return Ok(refusal(Some(call.service), &error, request_id));
    }
    // The body may have said that another service is meant than the route.
    let (service, operation) = (call.service, call.operation);
    let answer = match api::call(parts, head, (&caller, &scope), call, request_id).await {
        Ok(answer) => answer,
        Err(error) => return Ok(refusal(Some(service), &error, request_id)),
    };
    let response = encode_output(service, operation, answer.output, request_id);
    Ok(match answer.stream {
        Some(stream) => response.map(|_| Either::Right(stream)),
        None => response.map(whole),
    })
}

fn whole(body: Bytes) -> Content {
    Either::Left(Full::new(body))
}

/// What the body of an operation may be, and what AWS calls the operation in its refusal.
fn limit(route: &Route) -> (Allowance, &str) {
    let name = match route.operation {
        OperationRef::Known(operation) => operation.name.as_str(),
        OperationRef::ByAction => "requested",
    };
    let call = |limit| Allowance { limit, upload: false };
    match name {
        "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion" => {
            (Allowance { limit: limits::CODE_REQUEST, upload: true }, name)
        }
        "Invoke" => (call(limits::SYNC_PAYLOAD), "InvokeFunction"),
        "InvokeWithResponseStream" => (call(limits::SYNC_PAYLOAD), name),
        _ => (call(limits::REQUEST), name),
    }
}

fn refusal(service: Option<&'static Service>, error: &ApiError, request_id: &str) -> Reply {
    let mut response = encode_error(service, error, request_id);
    if let Some(seconds) = error.members.get("retryAfterSeconds").and_then(|s| s.as_str())
        && let Ok(seconds) = seconds.parse()
    {
        response.headers_mut().entry(http::header::RETRY_AFTER).or_insert(seconds);
    }
    response.map(whole)
}
