//! A Runtime API without a server around it: real runtimes ask it for events and answer them.

use crate::echo::accept;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use lamplight_env::Env;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// An event and who waits for its answer.
pub struct Call {
    pub event: Bytes,
    pub answer: oneshot::Sender<Bytes>,
}

/// Calls, taken by whichever environment asks first.
pub type Calls = Arc<tokio::sync::Mutex<mpsc::Receiver<Call>>>;

/// One environment: its process, which ends with it.
pub struct Environment {
    _process: Child,
    asked: mpsc::Receiver<()>,
}

struct Api {
    calls: Calls,
    running: Mutex<Option<oneshot::Sender<Bytes>>>,
    asked: mpsc::Sender<()>,
    env: Env,
}

impl Environment {
    pub async fn start(program: &[String], calls: Calls, env: &Env) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (asking, asked) = mpsc::channel(1);
        let api = Api { calls, running: Mutex::default(), asked: asking, env: env.clone() };
        let api = Arc::new(api);
        env.tasks.spawn(accept(listener, env.tasks.clone(), move |request| {
            let api = api.clone();
            async move { api.answer(request).await }
        }));
        let (name, arguments) = program.split_first().context("no program")?;
        let process = Command::new(name)
            .args(arguments)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "floor")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "floor")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "floor")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { _process: process, asked })
    }

    /// Until the runtime has asked for its first event.
    pub async fn ready(&mut self) -> Result<()> {
        let asked = tokio::time::timeout(Duration::from_secs(30), self.asked.recv()).await;
        asked.context("the runtime does not ask for an event")?.context("the runtime is gone")
    }
}

impl Api {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        if request.method() == Method::GET && path.ends_with("/invocation/next") {
            return self.next().await;
        }
        let body = request.into_body().collect().await?.to_bytes();
        if !path.ends_with("/response") {
            bail!("{path}: {}", String::from_utf8_lossy(&body));
        }
        let waiting = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let waiting = waiting.context("an answer to nothing")?;
        let _ = waiting.send(body);
        Ok(Response::builder().status(StatusCode::ACCEPTED).body(Full::default())?)
    }

    async fn next(&self) -> Result<Response<Full<Bytes>>> {
        // Full: somebody already knows.
        let _ = self.asked.try_send(());
        let call = self.calls.lock().await.recv().await.context("no more calls")?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(call.answer);
        let deadline = self.env.clock.now().plus(Duration::from_secs(30)).millis();
        Ok(Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("Lambda-Runtime-Deadline-Ms", deadline)
            .header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:000000000000:function:floor",
            )
            .body(Full::new(call.event))?)
    }
}
