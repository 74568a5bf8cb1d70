//! One of several calls that an environment has at once.
//!
//! AWS: such an environment is never frozen, and a call that times out is told so while its worker
//! goes on; the worker counts as busy until it has answered. When a program of the environment ends,
//! all its calls end with it, and it takes no further one.
//!
//! Invariant: whatever the function does, a worker is not waited for without end.

use super::call::{Begun, CallEnd, failed_for_good};
use super::environment::Environment;
use super::process::InitEnd;
use super::programs::Programs;
use crate::logs::{Event, Report};
use crate::runtime_api::{Answer, Delivery};
use lamplight_model::limits;
use lamplight_rpc::{After, Invocation, Outcome, StartError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

/// For how long a worker may go on after the time of its call: what is at it for longer than any
/// call may take is taken for lost, and its environment with it.
const LATE: Duration = Duration::from_secs(limits::TIMEOUT_SECONDS as u64);

/// What a call finds.
enum Found {
    Room(Room),
    Broken(CallEnd),
}

/// Programs that will see the call.
struct Room {
    programs: Arc<Programs>,
    /// How long the initialisation took, for the call that waited for it first.
    init: Option<Duration>,
    answer: oneshot::Receiver<Answer>,
}

impl Environment {
    pub(super) async fn invoke_beside(
        self: &Arc<Self>,
        call: Invocation,
    ) -> Result<Outcome, StartError> {
        // Nothing is said of a call before it is certain that it is not sent on.
        let found = self.find_room(&call).await?;
        let id = call.request_id.clone();
        self.capture.begin_beside(&id, call.tail);
        self.capture.platform(&Event::Start {
            request_id: &id,
            version: &self.start.identity.version,
            trace: call.trace_id.as_deref(),
            tenant: call.tenant.as_deref(),
        });
        let started = self.env.clock.instant();
        let (end, programs, init) = match found {
            Found::Broken(end) => (end, None, None),
            Found::Room(Room { programs, init, answer }) => {
                let end = self.deliver_beside(&call, &programs, answer).await;
                programs.flush(&self.capture).await;
                (end, Some(programs), init)
            }
        };
        let after = match (&end, &programs) {
            (CallEnd::Answer(_), _) => After::Free,
            (CallEnd::TimedOut, Some(programs)) => self.give_up(&id, programs),
            _ => After::Spent,
        };
        let told = self.told(&id, end);
        let deadline = started + self.target.timeout;
        let Invocation { tenant, trace_id: trace, tail, .. } = call;
        let begun = Begun { request_id: id, tenant, trace, started, deadline, init, tail };
        let duration = self.taken(&begun);
        self.runtime_done(&begun, &told, duration);
        let request_id = &begun.request_id;
        let report = &Report {
            max_memory_used_bytes: self.memory_peak_bytes(),
            ..self.measured(&begun, &told, duration)
        };
        self.capture.all(&[Event::End { request_id }, Event::Report { request_id, report }]);
        let spent = programs.is_none_or(|programs| programs.has_ended());
        Ok(Outcome {
            payload: told.payload,
            function_error: told.function_error,
            log_tail: self.capture.end_beside(request_id),
            after: if spent { After::Spent } else { after },
        })
    }

    /// Calls that come together wait for the same initialisation; the first one sees how it ended.
    async fn find_room(self: &Arc<Self>, call: &Invocation) -> Result<Found, StartError> {
        let mut process = self.process.lock().await;
        let process = match process.as_mut() {
            Ok(process) => process,
            Err(why) => return Ok(Found::Broken(CallEnd::NotStarted(why.clone()))),
        };
        let patience = limits::PROVISIONED_INIT.max(self.target.timeout);
        let init = match self.first_init(process, patience).await? {
            Some(InitEnd::Ready(duration)) => {
                self.set_idle().await;
                Some(duration)
            }
            None if process.has_ended() => return Err(StartError::Gone),
            None => None,
            Some(end) => {
                return failed_for_good(end).map(Found::Broken).ok_or(StartError::Gone);
            }
        };
        let answer = self.api.admit_beside(call).ok_or(StartError::Gone)?;
        Ok(Found::Room(Room { programs: Arc::clone(&process.programs), init, answer }))
    }

    async fn deliver_beside(
        &self,
        call: &Invocation,
        programs: &Programs,
        mut answer: oneshot::Receiver<Answer>,
    ) -> CallEnd {
        let timeout = self.target.timeout;
        let deadline = self.env.clock.instant() + timeout;
        let deadline_ms = self.env.clock.now().plus(timeout).millis();
        self.api.deliver_beside(Delivery { call: call.clone(), deadline_ms });
        let waited = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                Ok(answer) = &mut answer => CallEnd::Answer(answer),
                ended = programs.ended() => CallEnd::Exited(ended),
            }
        });
        waited.await.unwrap_or(CallEnd::TimedOut)
    }

    /// The time of a call is over.
    fn give_up(&self, id: &str, programs: &Arc<Programs>) -> After {
        let Some(late) = self.api.give_up(id) else { return After::Free };
        let (done, after) = oneshot::channel();
        let programs = Arc::clone(programs);
        self.env.tasks.spawn(async move {
            // Nobody listens where the environment was spent before.
            let _ = done.send(comes_back(late, programs.ended(), LATE).await);
        });
        After::Busy(after)
    }
}

/// Waits for the answer of a worker whose call has timed out, which may never come. Whether it can
/// take another call.
async fn comes_back(late: oneshot::Receiver<bool>, ended: impl Future, patience: Duration) -> bool {
    let waited = timeout(patience, async {
        tokio::select! {
            biased;
            answered = late => answered.unwrap_or(false),
            _ = ended => false,
        }
    });
    waited.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn a_worker_comes_back_with_its_answer_and_not_otherwise() {
        let (answered, late) = oneshot::channel();
        answered.send(true).unwrap();
        assert!(comes_back(late, ready(()), LATE).await);
        let (_held, late) = oneshot::channel();
        assert!(!comes_back(late, ready(()), LATE).await, "its programs have ended");
        let (held, late) = oneshot::channel();
        drop(held);
        assert!(!comes_back(late, pending::<()>(), LATE).await, "nobody will tell");
        let (_held, late) = oneshot::channel();
        assert!(!comes_back(late, pending::<()>(), Duration::ZERO).await, "it never answers");
    }
}
