//! One call of an environment, to its end: initialise if that is still owed, deliver, wait, report.
//!
//! AWS: the caller has its answer when the runtime has given it. Extensions that are told of calls
//! may work on; until they are done the environment takes no other call, and the time counts.

use super::environment::Environment;
use super::failure::{self, Failure};
use super::process::{InitEnd, NotStarted, Process};
use super::programs::{Ended, Who};
use crate::logs::{Event, Report, Span, Status};
use crate::runtime_api::{Answer, Delivery, Kind, Reason};
use bytes::Bytes;
use lamplight_env::Timestamp;
use lamplight_model::limits;
use lamplight_rpc::{After, Invocation, Outcome, StartError};
use lamplight_sandbox::Sandbox;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::timeout_at;

/// How soon after an event a runtime has to end for the call to be tried elsewhere.
const MOMENT: Duration = Duration::from_millis(250);

/// How the runtime's part of a call ended, before it is told.
pub(super) enum CallEnd {
    Answer(Answer),
    Exited(Ended),
    TimedOut,
    NotStarted(NotStarted),
    InitFailed(Failure),
}

/// A call that began.
pub(super) struct Begun {
    pub request_id: String,
    pub tenant: Option<String>,
    pub trace: Option<String>,
    pub started: Instant,
    pub deadline: Instant,
    /// Of the initialisation that it waited for.
    pub init: Option<Duration>,
    pub tail: bool,
}

/// What the caller is told.
pub(super) struct Told {
    pub payload: Bytes,
    /// The `X-Amz-Function-Error` header. AWS: `Unhandled` for all of them.
    pub function_error: Option<&'static str>,
    /// How the call ended, which may be worse than what the caller was told before.
    status: Status,
    /// Bytes of the response.
    produced: u64,
    /// Of the runtime's part.
    spans: Vec<Span>,
    /// Of the extensions' part.
    overhead: Option<Span>,
    /// The runtime itself gave this answer, and may go on.
    answered: bool,
}

type Held = OwnedMutexGuard<Result<Process, NotStarted>>;

impl Environment {
    pub async fn invoke(self: &Arc<Self>, call: Invocation) -> Result<Outcome, StartError> {
        // Whoever chose it has erred; what one tenant left here is not for another.
        if *self.tenant.get_or_init(|| call.tenant.clone()) != call.tenant {
            return Err(StartError::Gone);
        }
        if self.target.max_concurrency.is_some() {
            return self.invoke_beside(call).await;
        }
        let mut process = Arc::clone(&self.process).lock_owned().await;
        self.watch.set_idle(false);
        self.wake().await;
        if matches!(*process, Err(NotStarted::Ended)) {
            // The last call's end may still be on its way to the processes it left.
            if !self.kill().await {
                return Err(StartError::Gone);
            }
            *process = self.start_programs("init").await?;
        }
        let mut init = None;
        let mut failed_init = None;
        if let Ok(process) = process.as_mut() {
            match self.first_init(process, limits::INIT).await? {
                Some(InitEnd::Ready(duration)) => init = Some(duration),
                None if process.has_ended() => return Err(StartError::Gone),
                None => {}
                Some(end) => failed_init = Some(end),
            }
        }
        self.capture.begin_call(call.tail);
        self.capture.platform(&Event::Start {
            request_id: &call.request_id,
            version: &self.start.identity.version,
            trace: call.trace_id.as_deref(),
            tenant: call.tenant.as_deref(),
        });
        let started = self.env.clock.instant();
        let deadline = started + self.target.timeout;
        // AWS: an initialisation that failed is done again inside the first call, in its time.
        let again = match failed_init {
            None => None,
            Some(end) if self.is_looping() => failed_for_good(end),
            Some(_) => self.suppressed_init(&mut process, deadline).await?,
        };
        let end = match (again, process.as_mut()) {
            (Some(end), _) => end,
            (None, Err(why)) => CallEnd::NotStarted(why.clone()),
            (None, Ok(process)) => self.deliver(&call, process, deadline).await?,
        };
        let told = self.told(&call.request_id, end);
        let Invocation { request_id, tenant, trace_id: trace, tail, .. } = call;
        let begun = Begun { request_id, tenant, trace, started, deadline, init, tail };
        let duration = self.taken(&begun);
        let told = self.with_spans(told, &begun);
        if !told.answered || !self.api.is_attended() {
            return Ok(self.conclude(process, begun, (told, duration)).await);
        }
        // AWS: whoever asks for the log gets the whole of it, and waits for that.
        if begun.tail {
            return Ok(self.attend(process, begun, told).await);
        }
        Ok(self.answer_early(process, begun, told))
    }

    /// Answers now, and goes on behind the answer.
    fn answer_early(self: &Arc<Self>, process: Held, begun: Begun, told: Told) -> Outcome {
        let (done, after) = oneshot::channel();
        let outcome = Outcome {
            payload: told.payload.clone(),
            function_error: told.function_error,
            log_tail: None,
            after: After::Busy(after),
        };
        let environment = Arc::clone(self);
        self.env.tasks.spawn(async move {
            let rest = environment.attend(process, begun, told).await;
            // Nobody listens when the server goes down.
            let _ = done.send(rest.after.reusable().await);
        });
        outcome
    }

    /// Waits for the runtime and then the extensions to be done with a call, until its deadline.
    async fn attend(self: &Arc<Self>, process: Held, begun: Begun, mut told: Told) -> Outcome {
        let Some(programs) = process.as_ref().ok().map(|process| Arc::clone(&process.programs))
        else {
            let duration = self.taken(&begun);
            return self.conclude(process, begun, (told, duration)).await;
        };
        // What is told of the runtime itself is told here, while extensions wait to hear it.
        let answered = self.env.clock.instant();
        let mut runtime_done = None;
        let all_done = async {
            self.api.runtime_ready().await;
            let (now, duration) = (self.env.clock.instant(), self.taken(&begun));
            told.spans.push(self.span("runtimeOverhead", answered, now));
            programs.flush(&self.capture).await;
            self.runtime_done(&begun, &told, duration);
            runtime_done = Some(now);
            self.api.extensions_ready().await;
        };
        let waited = timeout_at(begun.deadline.into(), async {
            tokio::select! {
                biased;
                () = all_done => None,
                ended = programs.ended() => Some(ended),
            }
        });
        let waited = waited.await;
        let duration = self.taken(&begun);
        match waited {
            Ok(None) => {}
            Ok(Some(ended)) => told.status = Status::Error(self.blame(&ended.who).to_owned()),
            Err(_) => told.status = Status::Timeout,
        }
        let Some(runtime_done) = runtime_done else {
            return self.conclude(process, begun, (told, duration)).await;
        };
        let now = self.env.clock.instant();
        told.overhead = Some(self.span("extensionOverhead", runtime_done, now));
        programs.flush(&self.capture).await;
        self.close(process, begun, (told, duration)).await
    }

    async fn conclude(
        self: &Arc<Self>,
        process: Held,
        begun: Begun,
        (told, duration): (Told, Duration),
    ) -> Outcome {
        if let Ok(process) = process.as_ref() {
            process.programs.flush(&self.capture).await;
        }
        self.runtime_done(&begun, &told, duration);
        self.close(process, begun, (told, duration)).await
    }

    /// Writes the end of the call to its log, and makes the environment ready for the next one. What
    /// programs have written is in the log before.
    async fn close(
        self: &Arc<Self>,
        mut process: Held,
        begun: Begun,
        (told, duration): (Told, Duration),
    ) -> Outcome {
        let request_id = &begun.request_id;
        if told.status == Status::Timeout {
            let timeout = self.target.timeout;
            self.capture.platform(&Event::TimedOut { request_id, timeout });
        }
        let report = &Report {
            max_memory_used_bytes: self.memory_peak_bytes(),
            spans: told.overhead.iter().cloned().collect(),
            ..self.measured(&begun, &told, duration)
        };
        self.capture.all(&[Event::End { request_id }, Event::Report { request_id, report }]);
        let mut outcome = Outcome {
            function_error: told.function_error,
            payload: told.payload,
            log_tail: self.capture.end_call(),
            after: After::Free,
        };
        if told.status != Status::Success && self.must_reset(&process) {
            *process = Err(NotStarted::Ended);
            let timed_out = told.status == Status::Timeout;
            outcome.after =
                self.reset(process, if timed_out { Reason::Timeout } else { Reason::Failure });
            return outcome;
        }
        self.set_idle().await;
        if process.as_ref().is_ok_and(Process::has_ended) {
            outcome.after = After::Spent;
        }
        outcome
    }

    /// Whether the call left processes that cannot take another one.
    fn must_reset(&self, process: &Result<Process, NotStarted>) -> bool {
        match process {
            Ok(process) => {
                process.has_ended() || self.api.is_busy() || !self.api.are_extensions_ready()
            }
            // Others may have been started before it.
            Err(why) => matches!(
                why,
                NotStarted::TooManyExtensions
                    | NotStarted::Extension { .. }
                    | NotStarted::Pausing(_)
            ),
        }
    }

    /// Ends all processes behind the caller's back, who has the answer by then. The next call
    /// waits for that; with extensions, which have time to end, it goes elsewhere meanwhile.
    fn reset(self: &Arc<Self>, process: Held, reason: Reason) -> After {
        let out_of_memory = self
            .sandbox
            .try_read()
            .is_ok_and(|sandbox| sandbox.as_ref().is_none_or(|s| s.ran_out_of_memory()));
        if out_of_memory {
            return After::Spent;
        }
        let (done, after) = oneshot::channel();
        let environment = Arc::clone(self);
        let asked = self.api.kind() != Kind::None;
        self.env.tasks.spawn(async move {
            environment.shut_down(reason).await;
            let clean = environment.kill().await;
            drop(process);
            // Nobody waits where there was nothing to wait for.
            let _ = done.send(clean);
        });
        if asked { After::Busy(after) } else { After::Free }
    }

    /// `None` when the process is ready this time.
    async fn suppressed_init(
        &self,
        process: &mut Result<Process, NotStarted>,
        deadline: Instant,
    ) -> Result<Option<CallEnd>, StartError> {
        // Nobody is asked: what did not begin has nothing to bring to its end.
        if !self.kill().await {
            return Err(StartError::Gone);
        }
        *process = self.start_programs("invoke").await?;
        let Ok(process) = process else { return Ok(None) };
        Ok(self.finish_init(process, "invoke", deadline).await?.and_then(failed_for_good))
    }

    async fn deliver(
        &self,
        call: &Invocation,
        process: &Process,
        deadline: Instant,
    ) -> Result<CallEnd, StartError> {
        let left = deadline.saturating_duration_since(self.env.clock.instant());
        let deadline_ms = self.env.clock.now().plus(left).millis();
        let delivery = Delivery { call: call.clone(), deadline_ms };
        let mut answer = self.api.deliver(delivery).ok_or(StartError::Gone)?;
        let delivered = self.env.clock.instant();
        let within =
            |moment| self.env.clock.instant().saturating_duration_since(delivered) < moment;
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                Ok(answer) = &mut answer => CallEnd::Answer(answer),
                ended = process.programs.ended() => CallEnd::Exited(ended),
            }
        });
        match waited.await {
            // It was ending with its last answer, and never asked for this event. One that takes its
            // time to end has used up the time of the call.
            Ok(CallEnd::Exited(Ended { who: Who::Runtime, .. }))
                if self.api.take_back() && within(MOMENT) =>
            {
                Err(StartError::Gone)
            }
            Ok(end) => Ok(end),
            Err(_) => Ok(CallEnd::TimedOut),
        }
    }

    /// What the caller gets.
    pub(super) fn told(&self, id: &str, end: CallEnd) -> Told {
        let answered = matches!(end, CallEnd::Answer(_));
        let mut streamed = 0;
        let (payload, status) = match end {
            CallEnd::Answer(Answer::Response(payload)) => (payload, Status::Success),
            CallEnd::Answer(Answer::Error { body, error_type }) => {
                (body, Status::Error(error_type))
            }
            CallEnd::Answer(Answer::Streamed { bytes }) => {
                streamed = bytes;
                (Bytes::new(), Status::Success)
            }
            CallEnd::Answer(Answer::TooLarge { limit }) => failed(failure::too_large(limit)),
            CallEnd::Answer(Answer::Truncated) => failed(failure::truncated(id)),
            CallEnd::InitFailed(failure) => failed(failure),
            CallEnd::Exited(ended) => failed(failure::exited(id, &ended, self.blame(&ended.who))),
            CallEnd::NotStarted(why) => failed(failure::not_started(id, &why)),
            CallEnd::TimedOut => {
                (failure::timed_out(id, self.target.timeout).payload, Status::Timeout)
            }
        };
        let produced = (streamed + payload.len()) as u64;
        let function_error = (status != Status::Success).then_some("Unhandled");
        let (spans, overhead) = (Vec::new(), None);
        Told { payload, function_error, status, produced, spans, overhead, answered }
    }

    /// AWS: how long the answer took to begin, and then to end.
    fn with_spans(&self, told: Told, begun: &Begun) -> Told {
        let began = self.api.answering().filter(|_| told.answered);
        let spans = began.map(|began| {
            let now = self.env.clock.instant();
            [("responseLatency", begun.started, began), ("responseDuration", began, now)]
                .map(|(name, from, to)| self.span(name, from, to))
        });
        Told { spans: spans.into_iter().flatten().collect(), ..told }
    }

    fn span(&self, name: &'static str, from: Instant, to: Instant) -> Span {
        let ago = self.env.clock.instant().saturating_duration_since(from);
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let start = Timestamp::from_millis(self.env.clock.now().millis().saturating_sub(ago));
        Span { name, start, duration: to.saturating_duration_since(from) }
    }

    pub(super) fn taken(&self, begun: &Begun) -> Duration {
        self.env.clock.instant().saturating_duration_since(begun.started)
    }

    /// The runtime is done with a call.
    pub(super) fn runtime_done(&self, begun: &Begun, told: &Told, duration: Duration) {
        let request_id = &begun.request_id;
        let report = &Report { spans: told.spans.clone(), ..self.measured(begun, told, duration) };
        self.capture.platform(&Event::RuntimeDone { request_id, produced: told.produced, report });
    }

    pub(super) fn memory_peak_bytes(&self) -> Option<u64> {
        self.sandbox.try_read().ok()?.as_ref().and_then(Sandbox::memory_peak_bytes)
    }

    /// What is known without asking the kernel.
    pub(super) fn measured(&self, begun: &Begun, told: &Told, duration: Duration) -> Report {
        Report {
            duration: if told.status == Status::Timeout { self.target.timeout } else { duration },
            init: begun.init,
            memory_mb: self.target.memory_mb,
            max_memory_used_bytes: None,
            status: told.status.clone(),
            spans: Vec::new(),
            trace: begun.trace.clone(),
            tenant: begun.tenant.clone(),
            beside: self.target.max_concurrency.is_some(),
        }
    }
}

/// What an initialisation that is not done again makes of its call. `None` when it went well.
pub(super) fn failed_for_good(end: InitEnd) -> Option<CallEnd> {
    Some(match end {
        InitEnd::Ready(_) => return None,
        InitEnd::Failed(failure) => CallEnd::InitFailed(failure),
        InitEnd::Exited(ended) => CallEnd::Exited(ended),
        InitEnd::NotStarted(why) => CallEnd::NotStarted(why),
        InitEnd::TimedOut => CallEnd::TimedOut,
    })
}

fn failed(failure: Failure) -> (Bytes, Status) {
    (failure.payload, Status::Error(failure.error_type))
}
