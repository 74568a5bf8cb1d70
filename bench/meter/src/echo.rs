//! The floor of every exchange: hyper, and nothing behind it.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lamplight_env::{Env, Tasks};
use std::future::Future;
use tokio::net::TcpListener;

pub async fn serve(env: &Env) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    env.tasks.spawn(accept(listener, env.tasks.clone(), |request: Request<Incoming>| async {
        let body = request.into_body().collect().await?.to_bytes();
        Ok(Response::new(Full::new(body)))
    }));
    until_nobody_asks(&env.tasks).await
}

/// Answers every request on every connection of a listener.
pub async fn accept<S, F>(listener: TcpListener, tasks: Tasks, answer: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>>> + Send,
{
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tasks.spawn(async move {
            if stream.set_nodelay(true).is_err() {
                return;
            }
            let service = service_fn(move |request| {
                let answered = answer(request);
                async { answered.await.map_err(std::io::Error::other) }
            });
            // A client that hangs up is none of our business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Until standard input ends: with whoever started this program.
pub async fn until_nobody_asks(tasks: &Tasks) -> Result<()> {
    let reading = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tasks.spawn_blocking(reading).await??;
    Ok(())
}
