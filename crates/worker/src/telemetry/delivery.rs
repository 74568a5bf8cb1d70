//! From a subscriber's buffer into its socket, within the network of the sandbox.
//!
//! There is no limit to how long a subscriber may take: it may be frozen. What comes meanwhile is
//! the buffer's to keep or to drop. The task ends with its environment.

use super::buffer::Due;
use super::happening::{Happening, SEPARATOR};
use super::subscription::To;
use super::{Dial, Subscriber};
use crate::logs::Event;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lamplight_env::Clock;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a batch is tried: an extension may listen a moment after it has subscribed.
const TRIES: u32 = 5;
/// Between the first and the second; each further pause is twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// What is read of an answer's head; its body is of no interest. Bytes.
const ANSWER: usize = 16 * 1024;

pub async fn deliver(subscriber: Arc<Subscriber>, clock: Arc<dyn Clock>, dialer: Arc<dyn Dial>) {
    let mut line = Line { dialer, stream: None };
    loop {
        let changed = subscriber.changed.notified();
        let due = subscriber.buffer().due(clock.instant());
        match due {
            Due::Now => send(&subscriber, &*clock, &mut line).await,
            Due::Never => {
                subscriber.done.send_replace(true);
                changed.await;
            }
            Due::At(at) => tokio::select! {
                () = sleep_until(Instant::from_std(at)) => {}
                () = changed => {}
            },
        }
    }
}

/// The way to the subscriber.
struct Line {
    dialer: Arc<dyn Dial>,
    /// Kept open for lines of events.
    stream: Option<TcpStream>,
}

async fn send(subscriber: &Subscriber, clock: &dyn Clock, line: &mut Line) {
    let (mut batch, dropped) = {
        let mut buffer = subscriber.buffer();
        (buffer.take(clock.instant()), buffer.take_dropped())
    };
    if let Some(dropped) = dropped {
        let event = Event::SubscriberDropped { records: dropped.records, bytes: dropped.bytes };
        let happening = Happening::of(&event, clock.now());
        batch.extend(happening.told_to(&subscriber.subscription));
    }
    let mut pause = PAUSE;
    for attempt in 1..=TRIES {
        let sent = match &subscriber.subscription.to {
            To::Http { port, path } => line.post(*port, path, &batch).await,
            To::Tcp { port } => line.write(*port, &batch).await,
        };
        match sent {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, attempt, "telemetry could not be delivered"),
        }
        if attempt < TRIES {
            sleep(pause).await;
            pause *= 2;
        }
    }
    subscriber.buffer().lose(&batch);
}

impl Line {
    /// One array of all events.
    async fn post(&self, port: u16, path: &str, batch: &[String]) -> io::Result<()> {
        let stream = self.dialer.connect(port).await?;
        let body = format!("[{}]", batch.join(",").replace(SEPARATOR, ","));
        let request = Request::post(path)
            .header(header::HOST, format!("sandbox.localdomain:{port}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(ANSWER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let mut answer = pin!(sender.send_request(request));
        // The connection is closed with the answer's head; its body is not read.
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => {
                ended.map_err(io::Error::other)?;
                answer.await
            }
        };
        let answer = answer.map_err(io::Error::other)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(io::Error::other(format!("it was answered {status}"))),
        }
    }

    /// Each event on a line of its own.
    async fn write(&mut self, port: u16, batch: &[String]) -> io::Result<()> {
        // One that was closed is read to its end; nobody else has something to say.
        let is_open = |stream: &TcpStream| !matches!(stream.try_read(&mut [0]), Ok(0));
        let mut stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => self.dialer.connect(port).await?,
        };
        let mut text = batch.join("\n");
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        self.stream = Some(stream);
        Ok(())
    }
}
