//! The load generator: every client has a connection of its own and sends one request after another,
//! bytes that were made and signed before the clock starts. Only right answers are timed.
//!
//! The first call of a client is timed from the moment that all clients are let go, so that those who
//! had to wait for their turn to send have waited.

use crate::answer::{Answer, Buffer};
use anyhow::{Context, Result, ensure};
use lamplight_env::Env;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Barrier;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Calls of each client.
    #[arg(long, conflicts_with = "seconds", required_unless_present = "seconds")]
    each: Option<usize>,
    #[arg(long)]
    seconds: Option<f64>,
    /// Whole HTTP requests, each behind its length in four bytes, the lowest first. Client n begins
    /// with the nth and goes round.
    #[arg(long)]
    requests: PathBuf,
    /// The only right body; without it, every body of a 200 is right.
    #[arg(long)]
    expect: Option<PathBuf>,
    /// Prints the bodies of right answers too.
    #[arg(long)]
    bodies: bool,
}

struct Job {
    port: u16,
    requests: Vec<Vec<u8>>,
    expected: Option<Vec<u8>>,
    each: Option<usize>,
    until: Option<Duration>,
    bodies: bool,
}

#[derive(Default)]
struct Outcome {
    nanoseconds: Vec<u64>,
    bodies: Vec<String>,
    wrong: usize,
    example: Option<String>,
    ended: Option<Instant>,
}

pub async fn run(options: Options, env: &Env) -> Result<Value> {
    let requests = split(&std::fs::read(&options.requests)?)?;
    let expected = options.expect.as_ref().map(std::fs::read).transpose()?;
    let until = options.seconds.map(Duration::try_from_secs_f64).transpose()?;
    let Options { port, each, bodies, .. } = options;
    let job = Arc::new(Job { port, requests, expected, each, until, bodies });
    let ready = Arc::new(Barrier::new(options.clients + 1));
    let clients: Vec<_> = (0..options.clients)
        .map(|number| env.tasks.spawn(client(number, job.clone(), ready.clone(), env.clone())))
        .collect();
    ready.wait().await;
    let (start, started) = (env.clock.instant(), env.clock.now().millis());
    let mut all = Outcome::default();
    for client in clients {
        let one = client.await?;
        all.nanoseconds.extend(one.nanoseconds);
        all.bodies.extend(one.bodies);
        all.wrong += one.wrong;
        all.example = all.example.or(one.example);
        all.ended = all.ended.max(one.ended);
    }
    let wall = all.ended.map_or(0, |ended| nanoseconds(ended - start));
    Ok(json!({
        "nanoseconds": all.nanoseconds, "bodies": all.bodies, "wrong": all.wrong,
        "example": all.example, "wall": wall, "started_ms": started,
    }))
}

/// One client; it reaches the barrier whatever happens, so that the others are not held up.
async fn client(number: usize, job: Arc<Job>, ready: Arc<Barrier>, env: Env) -> Outcome {
    let connected = connect(job.port).await;
    ready.wait().await;
    let start = env.clock.instant();
    let mut outcome = Outcome::default();
    let mut stream = match connected {
        Ok(stream) => Some(stream),
        Err(error) => {
            outcome.fails(format!("{error:#}"));
            None
        }
    };
    let (mut buffer, mut begin, mut count) = (Buffer::default(), start, 0);
    while job.each.is_none_or(|each| count < each)
        && job.until.is_none_or(|until| begin - start < until)
    {
        let Some(open) = &mut stream else { break };
        let request = &job.requests[(number + count) % job.requests.len()];
        let answered = exchange(open, &mut buffer, request).await;
        let end = env.clock.instant();
        let again = !matches!(&answered, Ok(answer) if !answer.closes);
        outcome.judge(answered, nanoseconds(end - begin), &job);
        if again {
            buffer = Buffer::default();
            stream = match connect(job.port).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    outcome.fails(format!("{error:#}"));
                    None
                }
            };
        }
        count += 1;
        outcome.ended = Some(end);
        begin = env.clock.instant();
    }
    outcome
}

async fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn exchange(stream: &mut TcpStream, buffer: &mut Buffer, request: &[u8]) -> Result<Answer> {
    stream.write_all(request).await?;
    buffer.answer(stream).await
}

impl Outcome {
    fn judge(&mut self, answered: Result<Answer>, taken: u64, job: &Job) {
        match answered {
            Err(error) => self.fails(format!("{error:#}")),
            Ok(answer) => {
                let body = job.expected.as_ref().is_none_or(|expected| *expected == answer.body);
                if answer.status == 200 && body {
                    self.nanoseconds.push(taken);
                    if job.bodies {
                        self.bodies.push(String::from_utf8_lossy(&answer.body).into_owned());
                    }
                } else {
                    let start = &answer.body[..answer.body.len().min(300)];
                    self.fails(format!("{}: {}", answer.status, String::from_utf8_lossy(start)));
                }
            }
        }
    }

    fn fails(&mut self, example: String) {
        self.wrong += 1;
        self.example.get_or_insert(example);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn split(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let request = rest.get(..length).context("a request is cut off")?;
        requests.push(request.to_vec());
        bytes = &rest[length..];
    }
    ensure!(
        bytes.is_empty() && !requests.is_empty(),
        "there are no requests, or bytes behind them"
    );
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(split(b"\x02\0\0\0ab\x01\0\0\0c").unwrap(), [b"ab".to_vec(), b"c".to_vec()]);
        assert!(split(b"").is_err());
        assert!(split(b"\x02\0\0\0a").is_err());
        assert!(split(b"\x01\0\0\0ab").is_err());
    }
}
