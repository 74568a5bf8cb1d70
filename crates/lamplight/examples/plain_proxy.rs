//! A plain proxy on hyper, for bench/streaming: `plain_proxy ORIGIN-HOST:PORT`. Prints the address it
//! listens on and passes every request on to the origin, and the answer back, piece by piece.
//!
//! No timeouts and no limits: it is the floor that streaming through Lamplight is held against.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lamplight_env::Tasks;
use tokio::net::{TcpListener, TcpStream};

type Reply = Response<BoxBody<Bytes, hyper::Error>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let Some(origin) = std::env::args().nth(1) else {
        eprintln!("usage: plain_proxy HOST:PORT");
        std::process::exit(64);
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let tasks = Tasks::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (origin, inner) = (origin.clone(), tasks.clone());
        tasks.spawn(async move {
            let service = service_fn(move |request| pass(request, origin.clone(), inner.clone()));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                eprintln!("{error}");
            }
        });
    }
}

async fn pass(request: Request<Incoming>, origin: String, tasks: Tasks) -> std::io::Result<Reply> {
    let stream = TcpStream::connect(&origin).await?;
    stream.set_nodelay(true)?;
    let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(std::io::Error::other)?;
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let request = Request::get(request.uri().path())
        .header("host", origin)
        .body(Empty::<Bytes>::new())
        .map_err(std::io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(std::io::Error::other)?;
    Ok(answer.map(BodyExt::boxed))
}
