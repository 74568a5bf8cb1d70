//! The bare three-hop chain: client, front, an idle runtime, and back. No signatures, no policy, no
//! counting, no logs, no sandbox: what a call costs with nothing but the hops.

use crate::echo::{accept, until_nobody_asks};
use crate::runtime::{Call, Environment};
use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::Response;
use lamplight_env::Env;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};

pub async fn serve(environments: usize, program: Vec<String>, env: &Env) -> Result<()> {
    let (give, calls) = mpsc::channel(1024);
    let calls = Arc::new(Mutex::new(calls));
    let mut running = Vec::new();
    for _ in 0..environments {
        let mut one = Environment::start(&program, calls.clone(), env).await?;
        one.ready().await?;
        running.push(one);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    env.tasks.spawn(accept(listener, env.tasks.clone(), move |request| {
        let give = give.clone();
        async move {
            let event = request.into_body().collect().await?.to_bytes();
            let (answer, answered) = oneshot::channel();
            give.send(Call { event, answer }).await.ok().context("nobody takes calls")?;
            Ok(Response::new(Full::new(answered.await?)))
        }
    }));
    until_nobody_asks(&env.tasks).await?;
    drop(running);
    Ok(())
}
