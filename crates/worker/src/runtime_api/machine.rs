//! What a runtime may do when: the state machine behind the Runtime API of one environment.
//!
//! Pure: requests of the runtime and happenings of the environment go in, what to answer comes out.
//! It knows nothing of sockets. A runtime has at most one call at a time.

use std::fmt;

/// Where the runtime stands. The names are AWS's; they appear in its error texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Started, has not asked for an event yet.
    Started,
    /// Has told that a snapshot could be taken, and was let on: as if it woke from one.
    Restoring,
    /// Reported that initialisation, or what it does after a snapshot, failed.
    InitError,
    /// Waits for an event, or is about to be given one.
    Ready,
    /// Has an event and owes an answer.
    Running { request_id: String },
    /// Sends a streamed answer.
    Streaming { request_id: String },
    /// The streamed answer broke off. What that means is told by what comes next: the runtime's
    /// end, or its request for another event.
    BrokenOff,
    /// Has answered and has not come back for the next event.
    ResponseSent,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "Started",
            Self::Restoring => "Restoring",
            Self::InitError => "InitError",
            Self::Ready => "Ready",
            Self::Running { .. } => "Running",
            Self::Streaming { .. } | Self::BrokenOff | Self::ResponseSent => "InvocationResponse",
        })
    }
}

/// A request that the runtime may not make now, as the Runtime API answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub error_type: &'static str,
    pub message: String,
}

impl Refusal {
    fn transition(from: &Phase, to: &str) -> Self {
        Self {
            status: 403,
            error_type: "InvalidStateTransition",
            message: format!(
                "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
            ),
        }
    }

    pub(super) fn unknown_id() -> Self {
        Self {
            status: 400,
            error_type: "InvalidRequestID",
            message: "Invalid request ID".to_owned(),
        }
    }
}

/// What asking for the next event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The first time: initialisation is over.
    Initialised,
    /// The environment is free for another call.
    Free,
    /// It has to wait for the end of its stream, which it may know of sooner than we do.
    Later,
    /// The environment is free, and the answer that broke off is not going to be finished.
    GaveUp,
    /// It was waiting already; the new request takes the place of the old one.
    Again,
}

#[derive(Debug)]
pub struct Machine {
    phase: Phase,
}

impl Default for Machine {
    fn default() -> Self {
        Self { phase: Phase::Started }
    }
}

impl Machine {
    /// Whether an event was handed over and not answered, or initialisation failed.
    pub fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Ready | Phase::ResponseSent)
    }

    /// Whether it has ever asked for an event.
    pub fn has_initialised(&self) -> bool {
        !matches!(self.phase, Phase::Started | Phase::Restoring | Phase::InitError)
    }

    /// Whether it asks for an event.
    pub fn is_waiting(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// `GET /runtime/invocation/next`.
    pub fn next(&mut self) -> Result<Asked, Refusal> {
        let asked = match &self.phase {
            Phase::Started | Phase::Restoring => Asked::Initialised,
            Phase::ResponseSent => Asked::Free,
            Phase::BrokenOff => Asked::GaveUp,
            Phase::Ready => Asked::Again,
            Phase::Streaming { .. } => return Ok(Asked::Later),
            busy @ (Phase::Running { .. } | Phase::InitError) => {
                return Err(Refusal::transition(busy, "Ready"));
            }
        };
        self.phase = Phase::Ready;
        Ok(asked)
    }

    /// An event is handed over. Only a free runtime is given one.
    pub fn deliver(&mut self, request_id: &str) -> bool {
        let ready = matches!(self.phase, Phase::Ready | Phase::ResponseSent);
        if ready {
            self.phase = Phase::Running { request_id: request_id.to_owned() };
        }
        ready
    }

    /// `POST /runtime/invocation/{id}/response` or `…/error`, before its body is read. An answer
    /// to another call than the one that runs, or a second answer, is refused.
    pub fn may_answer(&self, request_id: &str) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Running { request_id: running } if running == request_id => Ok(()),
            // AWS: an error has to come before the first byte, or in the trailers.
            Phase::Started | Phase::Restoring | Phase::InitError | Phase::Streaming { .. } => {
                Err(Refusal::transition(&self.phase, "InvocationResponse"))
            }
            _ => Err(Refusal::unknown_id()),
        }
    }

    /// The same when the body is there: from here on the call is answered.
    pub fn answer(&mut self, request_id: &str) -> Result<(), Refusal> {
        self.may_answer(request_id)?;
        self.phase = Phase::ResponseSent;
        Ok(())
    }

    /// A streamed answer begins; no other one is taken from here on.
    pub fn begin_stream(&mut self, request_id: &str) -> Result<(), Refusal> {
        self.may_answer(request_id)?;
        self.phase = Phase::Streaming { request_id: request_id.to_owned() };
        Ok(())
    }

    /// The streamed answer is there. An end of another call's stream is refused.
    pub fn end_stream(&mut self, request_id: &str) -> Result<(), Refusal> {
        self.leave_stream(request_id, Phase::ResponseSent)
    }

    /// The connection of the streamed answer went away before its end.
    pub fn break_off(&mut self, request_id: &str) -> Result<(), Refusal> {
        self.leave_stream(request_id, Phase::BrokenOff)
    }

    fn leave_stream(&mut self, request_id: &str, to: Phase) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Streaming { request_id: streaming } if streaming == request_id => {
                self.phase = to;
                Ok(())
            }
            _ => Err(Refusal::unknown_id()),
        }
    }

    /// `POST /runtime/init/error`, before its body is read.
    pub fn may_fail_init(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Started => Ok(()),
            _ => Err(Refusal::transition(&self.phase, "InitError")),
        }
    }

    /// The same when the body is there.
    pub fn init_error(&mut self) -> Result<(), Refusal> {
        self.may_fail_init()?;
        self.phase = Phase::InitError;
        Ok(())
    }

    /// `GET /runtime/restore/next`.
    pub fn restore(&mut self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Started => {
                self.phase = Phase::Restoring;
                Ok(())
            }
            _ => Err(Refusal::transition(&self.phase, "RestoreReady")),
        }
    }

    /// `POST /runtime/restore/error`, before its body is read.
    pub fn may_fail_restore(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Restoring => Ok(()),
            _ => Err(Refusal::transition(&self.phase, "RestoreError")),
        }
    }

    /// The same when the body is there.
    pub fn restore_error(&mut self) -> Result<(), Refusal> {
        self.may_fail_restore()?;
        self.phase = Phase::InitError;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Machine {
        let mut machine = Machine::default();
        assert_eq!(machine.next(), Ok(Asked::Initialised));
        assert!(machine.deliver("a"));
        machine
    }

    #[test]
    fn a_call_goes_round() {
        let mut machine = running();
        machine.answer("a").unwrap();
        assert_eq!(machine.next(), Ok(Asked::Free));
        assert!(machine.deliver("b"));
        machine.answer("b").unwrap();
    }

    #[test]
    fn an_answer_counts_once_and_only_for_its_call() {
        let mut machine = running();
        assert_eq!(machine.answer("stale").unwrap_err().error_type, "InvalidRequestID");
        machine.answer("a").unwrap();
        assert_eq!(machine.answer("a").unwrap_err().status, 400);
        assert!(machine.deliver("b"));
        assert_eq!(machine.answer("a").unwrap_err().status, 400);
        machine.answer("b").unwrap();
    }

    #[test]
    fn no_second_event_before_the_answer() {
        let mut machine = running();
        assert!(!machine.deliver("b"));
        let refusal = machine.next().unwrap_err();
        assert_eq!((refusal.status, refusal.error_type), (403, "InvalidStateTransition"));
        machine.answer("a").unwrap();
    }

    #[test]
    fn a_stream_is_one_answer_from_its_first_byte() {
        let mut machine = running();
        assert_eq!(machine.begin_stream("stale").unwrap_err().status, 400);
        machine.begin_stream("a").unwrap();
        assert!(machine.is_busy());
        for refused in [machine.answer("a"), machine.begin_stream("a")] {
            assert_eq!(refused.unwrap_err().status, 403);
        }
        assert_eq!(machine.next(), Ok(Asked::Later));
        assert_eq!(machine.end_stream("stale").unwrap_err().status, 400);
        machine.end_stream("a").unwrap();
        assert_eq!(machine.break_off("a").unwrap_err().status, 400);
        assert_eq!(machine.next(), Ok(Asked::Free));
    }

    #[test]
    fn a_stream_that_broke_off_is_given_up_with_the_next_request() {
        let mut machine = running();
        machine.begin_stream("a").unwrap();
        machine.break_off("a").unwrap();
        assert!(machine.is_busy());
        assert_eq!(machine.answer("a").unwrap_err().status, 400);
        assert!(!machine.deliver("b"));
        assert_eq!(machine.next(), Ok(Asked::GaveUp));
        assert!(machine.deliver("b"));
    }

    #[test]
    fn init_error_is_for_init_only() {
        let mut machine = Machine::default();
        machine.init_error().unwrap();
        assert_eq!(machine.init_error().unwrap_err().status, 403);
        assert_eq!(machine.next().unwrap_err().status, 403);
        let mut machine = Machine::default();
        machine.next().unwrap();
        assert_eq!(machine.init_error().unwrap_err().status, 403);
    }
    #[test]
    fn a_restore_is_once_and_before_the_first_event() {
        let mut machine = Machine::default();
        assert_eq!(machine.restore_error().unwrap_err().status, 403);
        machine.restore().unwrap();
        assert_eq!(machine.restore().unwrap_err().status, 403);
        assert_eq!(machine.init_error().unwrap_err().status, 403);
        assert!(!machine.has_initialised());
        assert_eq!(machine.next(), Ok(Asked::Initialised));
        assert_eq!(machine.restore().unwrap_err().status, 403);
        let mut machine = Machine::default();
        machine.restore().unwrap();
        machine.restore_error().unwrap();
        assert_eq!(machine.next().unwrap_err().status, 403);
    }
}
