//! From the pipe of a sandbox to the log stream of its function.
//!
//! The reader never stops draining: a function that writes much, or writes nonsense, must not hang
//! on a full pipe. Platform lines enter beside the pipe and cannot be forged through it by order.

use super::lines::Lines;
use super::{Event, Style};
use crate::telemetry::{Happening, Telemetry};
use lamplight_env::{Clock, faults};
use lamplight_model::{Scope, limits};
use lamplight_rpc::{LogEvent, LogSink};
use rustix::buffer::spare_capacity;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::unix::pipe::Receiver;

/// What one pass over a pipe reads at most, so that a writer that never pauses cannot hold up
/// whoever waits for the pass.
const PASS: usize = 1024 * 1024;

/// What a line costs beside its text wherever it is kept, bytes.
const LINE: usize = 64;

/// Where the lines of one environment go.
pub struct Destination {
    pub scope: Scope,
    pub group: String,
    pub stream: String,
    pub style: Style,
    /// Whether the runtime client writes frames.
    pub framed: bool,
    pub sink: Arc<dyn LogSink>,
    /// Told of everything, whatever the levels of the log.
    pub telemetry: Arc<Telemetry>,
    pub clock: Arc<dyn Clock>,
}

/// Whose output it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Function,
    Extension,
}

#[derive(Default)]
struct State {
    /// Of the function. Extensions have lines of their own.
    lines: Lines,
    /// The end of this call's log, where the caller asked for it.
    tail: Option<Vec<u8>>,
    /// The same of calls that run at once, by their ids: what names them.
    tails: Vec<(String, Vec<u8>)>,
    logged: usize,
    dropped: usize,
}

/// The log of one environment.
pub struct Capture {
    to: Destination,
    state: Mutex<State>,
}

impl Capture {
    pub fn new(to: Destination) -> Self {
        let lines = if to.framed { Lines::framed() } else { Lines::default() };
        Self { to, state: Mutex::new(State { lines, ..State::default() }) }
    }

    /// The name of the log stream.
    pub fn stream(&self) -> &str {
        &self.to.stream
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A call begins: its bounds and its tail start empty.
    pub fn begin_call(&self, tail: bool) {
        let mut state = self.lock();
        // What was cut between the calls is said before the log of this one begins.
        let cut = self.cut(&mut state);
        self.append(&mut state, cut.into_iter().collect());
        state.tail = tail.then(Vec::new);
        state.logged = 0;
    }

    /// One of several calls begins.
    pub fn begin_beside(&self, request_id: &str, tail: bool) {
        let mut state = self.lock();
        let cut = self.cut(&mut state);
        self.append(&mut state, cut.into_iter().collect());
        state.logged = 0;
        if tail {
            state.tails.push((request_id.to_owned(), Vec::new()));
        }
    }

    /// It is over. Gives the end of its log, where asked for.
    pub fn end_beside(&self, request_id: &str) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let at = state.tails.iter().position(|(id, _)| id == request_id)?;
        Some(state.tails.swap_remove(at).1)
    }

    /// The call is over. Gives the end of its log, where asked for.
    pub fn end_call(&self) -> Option<Vec<u8>> {
        self.lock().tail.take()
    }

    /// Something that the platform says, after all that the function wrote before it.
    pub fn platform(&self, event: &Event<'_>) {
        self.all(std::slice::from_ref(event));
    }

    /// The same of what it says in one breath.
    pub fn all(&self, events: &[Event<'_>]) {
        let (style, at) = (&self.to.style, self.to.clock.now());
        let mut state = self.lock();
        let mut lines = Vec::with_capacity(2 + events.len());
        // This one comes while the runtime may be in the middle of a line.
        let beside = events.iter().all(|event| matches!(event, Event::Subscribed { .. }));
        if !beside && let Some(last) = state.lines.finish() {
            self.tell(Source::Function, &last);
            lines.extend(Some(last).filter(|line| style.keeps(line)));
        }
        lines.extend(self.cut(&mut state));
        for event in events {
            if self.to.telemetry.listens() {
                self.to.telemetry.tell(Happening::of(event, at));
            }
            lines.extend(style.line(event, at));
        }
        self.append(&mut state, lines);
    }

    /// `own` are the lines that the bytes belong to, where they are not the function's.
    fn take_in(&self, own: Option<&mut Lines>, bytes: &[u8]) {
        let mut state = self.lock();
        let state = &mut *state;
        let room = limits::LOG_PER_CALL.saturating_sub(state.logged).min(bytes.len());
        state.logged += room;
        state.dropped += bytes.len() - room;
        let source = if own.is_some() { Source::Extension } else { Source::Function };
        let mut events = Vec::new();
        let mut lines = 0;
        own.unwrap_or(&mut state.lines).push(&bytes[..room], |line| {
            lines += 1;
            self.tell(source, &line);
            if self.to.style.keeps(&line) {
                events.push(line);
            }
        });
        state.logged += lines * LINE;
        if faults::bug("merge-lines") && events.len() > 1 {
            events = vec![events.concat()];
        }
        self.append(state, events);
    }

    /// Nothing more comes of these lines.
    fn finish(&self, own: &mut Lines) {
        let mut state = self.lock();
        let last = own.finish();
        last.iter().for_each(|line| self.tell(Source::Extension, line));
        let last = last.filter(|line| self.to.style.keeps(line));
        self.append(&mut state, last.into_iter().collect());
    }

    fn tell(&self, source: Source, line: &str) {
        if self.to.telemetry.listens() {
            let json = self.to.style != Style::Text;
            let at = self.to.clock.now();
            self.to.telemetry.tell(Happening::line(source, line, json, at));
        }
    }

    /// The mark of what was dropped since the last one.
    fn cut(&self, state: &mut State) -> Option<String> {
        let bytes = std::mem::take(&mut state.dropped);
        let dropped = Event::LogsDropped { bytes };
        if bytes > 0 { self.to.style.line(&dropped, self.to.clock.now()) } else { None }
    }

    fn append(&self, state: &mut State, events: Vec<String>) {
        if events.is_empty() {
            return;
        }
        if let Some(tail) = &mut state.tail {
            keep_end(tail, events.iter());
        }
        for (id, tail) in &mut state.tails {
            keep_end(tail, events.iter().filter(|event| event.contains(id.as_str())));
        }
        let at = self.to.clock.now();
        let events = events.into_iter().map(|message| LogEvent { at, message }).collect();
        self.to.sink.append(&self.to.scope, &self.to.group, &self.to.stream, events);
    }
}

fn keep_end<'a>(tail: &mut Vec<u8>, events: impl Iterator<Item = &'a String>) {
    for event in events {
        tail.extend_from_slice(event.as_bytes());
        tail.push(b'\n');
    }
    let excess = tail.len().saturating_sub(limits::LOG_TAIL);
    tail.drain(..excess);
}

/// The read end of a sandbox's pipe.
pub struct Pipe {
    /// Tells when there is something to read, and reads only what it has told of.
    ready: Receiver,
    /// The same pipe, to see what is in it at this very moment.
    now: OwnedFd,
    /// Two readers at once would put lines out of order. With the lines of an extension; those of
    /// a function are the capture's, because the platform ends them.
    reading: Mutex<Option<Lines>>,
}

impl Pipe {
    /// `fd` is the read end of a pipe.
    pub fn new(fd: OwnedFd, source: Source) -> std::io::Result<Self> {
        let now = fd.try_clone()?;
        let lines = (source == Source::Extension).then(Lines::default);
        Ok(Self { ready: Receiver::from_owned_fd(fd)?, now, reading: Mutex::new(lines) })
    }

    /// Takes in what is there now, in one bounded pass.
    pub fn drain(&self, capture: &Capture) -> Drained {
        self.pass(capture, |buffer| Ok(rustix::io::read(&self.now, spare_capacity(buffer))?))
    }

    fn pass(
        &self,
        capture: &Capture,
        mut read: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>,
    ) -> Drained {
        let mut own = self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Not cleared before it is read into: most passes find nothing.
        let mut buffer = Vec::with_capacity(16 * 1024);
        let mut total = 0;
        while total < PASS {
            buffer.clear();
            match read(&mut buffer) {
                Ok(0) => {
                    if let Some(own) = own.as_mut() {
                        capture.finish(own);
                    }
                    return Drained::Closed;
                }
                Ok(n) => {
                    capture.take_in(own.as_mut(), &buffer);
                    total += n;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Drained::Empty,
                Err(_) => return Drained::Closed,
            }
        }
        Drained::More
    }

    /// Drains until the other end is closed.
    pub async fn pump(&self, capture: &Capture) {
        while self.ready.readable().await.is_ok() {
            match self.pass(capture, |buffer| self.ready.try_read_buf(buffer)) {
                Drained::Closed => return,
                Drained::Empty => {}
                Drained::More => tokio::task::yield_now().await,
            }
        }
    }
}

/// How a pass over a pipe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left for now.
    Empty,
    /// The pass was full before the pipe was empty.
    More,
    /// The other end is closed.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::super::level::Level;
    use super::*;
    use lamplight_env::{SystemClock, Timestamp};
    use lamplight_model::AccountId;
    use std::io::Write;

    #[derive(Default)]
    struct Collected(Mutex<Vec<String>>);

    #[async_trait::async_trait]
    impl LogSink for Collected {
        fn append(&self, _: &Scope, _: &str, _: &str, events: Vec<LogEvent>) {
            assert!(events.iter().all(|e| e.at > Timestamp::from_millis(0)));
            self.0.lock().unwrap().extend(events.into_iter().map(|e| e.message));
        }

        async fn settle(&self) {}
    }

    fn capture() -> (Arc<Collected>, Capture) {
        with(Style::Text)
    }

    fn with(style: Style) -> (Arc<Collected>, Capture) {
        let sink = Arc::new(Collected::default());
        let to = Destination {
            scope: Scope { account: AccountId::new("000000000000").unwrap(), region: "r".into() },
            group: "g".into(),
            stream: "s".into(),
            style,
            framed: false,
            sink: sink.clone(),
            telemetry: crate::telemetry::tests::telemetry(),
            clock: Arc::new(SystemClock),
        };
        (sink, Capture::new(to))
    }

    #[test]
    fn the_tail_is_the_last_four_kilobytes_and_platform_lines_end_partial_ones() {
        let (sink, capture) = capture();
        capture.begin_call(true);
        capture.take_in(None, &b"0123456789\n".repeat(1000));
        capture.take_in(None, b"no newline");
        capture.platform(&Event::End { request_id: "1" });
        let tail = capture.end_call().unwrap();
        assert_eq!(tail.len(), limits::LOG_TAIL);
        assert!(tail.ends_with(b"\nno newline\nEND RequestId: 1\n"));
        let all = sink.0.lock().unwrap();
        assert_eq!(all.len(), 1002);
    }

    #[test]
    fn calls_at_once_have_each_their_tail() {
        let (_, capture) = with(Style::Json { system: Level::Info, application: Level::Info });
        for id in ["call-a", "call-b"] {
            capture.begin_beside(id, true);
            capture.platform(&Event::Start {
                request_id: id,
                version: "1",
                trace: None,
                tenant: None,
            });
        }
        capture.take_in(None, b"{\"requestId\":\"call-b\"}\nof nobody\n");
        let tail = |id| String::from_utf8(capture.end_beside(id).unwrap()).unwrap();
        assert_eq!(tail("call-a").lines().count(), 1);
        assert!(tail("call-b").ends_with("\n{\"requestId\":\"call-b\"}\n"));
        assert_eq!(capture.end_beside("call-a"), None);
    }

    #[test]
    fn a_subscription_does_not_end_a_line_of_the_function() {
        let (sink, capture) = capture();
        capture.take_in(None, b"half a ");
        let (dialect, name) = (crate::telemetry::Dialect::Telemetry, "spy");
        capture.platform(&Event::Subscribed { dialect, name, types: &[] });
        capture.take_in(None, b"line\n");
        assert_eq!(sink.0.lock().unwrap()[1..], ["half a line"]);
    }

    #[test]
    fn lines_and_events_below_their_level_are_nowhere() {
        let style = Style::Json { system: Level::Warn, application: Level::Warn };
        let (sink, capture) = with(style);
        capture.begin_call(true);
        capture.platform(&Event::Start {
            request_id: "1",
            version: "1",
            trace: None,
            tenant: None,
        });
        let line =
            |level: &str| format!(r#"{{"timestamp":"2026-11-18T11:06:40Z","level":"{level}"}}"#);
        let [low, high] = [line("INFO"), line("WARN")];
        capture.take_in(None, format!("{low}\n{high}\ntext\n{low}").as_bytes());
        capture.platform(&Event::LogsDropped { bytes: 1 });
        let all = sink.0.lock().unwrap();
        assert_eq!(all.len(), 3, "{all:?}");
        assert_eq!(all[..2], [high, "text".to_owned()]);
        assert!(all[2].contains("platform.logsDropped"));
        let tail = String::from_utf8(capture.end_call().unwrap()).unwrap();
        assert_eq!(tail, all.join("\n") + "\n");
    }

    /// G2: a call's log has an end, and says so.
    #[test]
    fn a_flood_is_bounded_and_said() {
        let (sink, capture) = capture();
        capture.begin_call(false);
        let chunk = b"x".repeat(1023).into_iter().chain(*b"\n").collect::<Vec<_>>();
        let lines = limits::LOG_PER_CALL / (chunk.len() + LINE) + 10;
        for _ in 0..lines {
            capture.take_in(None, &chunk);
        }
        capture.platform(&Event::End { request_id: "1" });
        capture.take_in(None, &chunk);
        capture.begin_call(false);
        capture.platform(&Event::End { request_id: "2" });
        let all = sink.0.lock().unwrap();
        let marks: Vec<_> = all.iter().filter(|line| line.contains("were dropped")).collect();
        assert_eq!(marks.len(), 2, "{marks:?}");
        let stored: usize = all.iter().map(|line| line.len() + LINE).sum();
        assert!(stored <= limits::LOG_PER_CALL + 4096, "{stored}");
        assert_eq!(all.last().unwrap(), "END RequestId: 2");
    }

    #[tokio::test]
    async fn an_extension_has_lines_of_its_own() {
        let (sink, capture) = capture();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let pipe = Pipe::new(reader.into(), Source::Extension).unwrap();
        capture.take_in(None, b"the function's ");
        writer.write_all(b"one\ntwo").unwrap();
        drop(writer);
        pipe.pump(&capture).await;
        capture.take_in(None, b"line\n");
        assert_eq!(*sink.0.lock().unwrap(), ["one", "two", "the function's line"]);
    }

    #[tokio::test]
    async fn a_pipe_is_pumped_to_its_end() {
        let (sink, capture) = capture();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let pipe = Pipe::new(reader.into(), Source::Function).unwrap();
        let writing = std::thread::spawn(move || {
            for i in 0..100_000 {
                writeln!(writer, "line {i}").unwrap();
            }
        });
        pipe.pump(&capture).await;
        writing.join().unwrap();
        assert_eq!(sink.0.lock().unwrap().len(), 100_000);
    }
}
