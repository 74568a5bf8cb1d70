//! A runtime with several workers, each with one call at a time: which call is where.
//!
//! Synchronous and bounded: there are at most as many calls and open requests as the function takes
//! at once. Whether the runtime has initialised is not known here.

use super::{Answer, Delivery, Refusal};
use bytes::Bytes;
use lamplight_rpc::Invocation;
use std::collections::{HashMap, VecDeque};
use tokio::sync::{mpsc, oneshot};

#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    /// Open requests of workers for an event.
    waiters: VecDeque<oneshot::Sender<Delivery>>,
    /// Events that no worker has come for yet.
    queue: VecDeque<Delivery>,
    /// Not answered yet.
    calls: HashMap<String, Call>,
    /// Their callers were told that they timed out; a worker is still at them. AWS: it is not
    /// stopped.
    late: HashMap<String, oneshot::Sender<bool>>,
}

#[derive(Debug)]
struct Call {
    caller: oneshot::Sender<Answer>,
    /// The caller's end of a streamed response.
    stream: Option<mpsc::Sender<Bytes>>,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Queue,
    Worker,
    Stream,
}

impl Crowd {
    pub fn new(most: u32) -> Self {
        Self {
            most: most as usize,
            waiters: VecDeque::new(),
            queue: VecDeque::new(),
            calls: HashMap::new(),
            late: HashMap::new(),
        }
    }

    /// A worker asks for an event.
    pub fn next(&mut self, worker: oneshot::Sender<Delivery>) -> Result<(), Refusal> {
        // A connection that went away takes no place.
        self.waiters.retain(|waiter| !waiter.is_closed());
        if self.waiters.len() >= self.most {
            // AWS: Runtime.TooManyIdleRuntimes in its own records, and this to the runtime.
            return Err(Refusal {
                status: 500,
                error_type: "InternalServerError",
                message: "Internal Server Error".to_owned(),
            });
        }
        self.waiters.push_back(worker);
        self.hand_over();
        Ok(())
    }

    /// Makes room for a call. `None` for one that is there already.
    pub fn admit(&mut self, call: &Invocation) -> Option<oneshot::Receiver<Answer>> {
        let id = &call.request_id;
        if self.calls.contains_key(id) || self.late.contains_key(id) {
            return None;
        }
        let (caller, answer) = oneshot::channel();
        let entry = Call { caller, stream: call.stream.clone(), at: At::Queue };
        self.calls.insert(id.clone(), entry);
        Some(answer)
    }

    /// Hands the event of a call for which there is room to a worker, now or as soon as one asks.
    pub fn deliver(&mut self, delivery: Delivery) {
        if self.calls.contains_key(&delivery.call.request_id) {
            self.queue.push_back(delivery);
            self.hand_over();
        }
    }

    /// The connection went away after an event was sent into it and before it was written.
    pub fn undeliver(&mut self, delivery: Delivery) {
        if let Some(call) = self.calls.get_mut(&delivery.call.request_id) {
            call.at = At::Queue;
            self.queue.push_front(delivery);
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        while let Some(delivery) = self.queue.pop_front() {
            let Some(worker) = self.waiters.pop_front() else {
                return self.queue.push_front(delivery);
            };
            let id = delivery.call.request_id.clone();
            match worker.send(delivery) {
                Ok(()) => {
                    if let Some(call) = self.calls.get_mut(&id) {
                        call.at = At::Worker;
                    }
                }
                Err(delivery) => self.queue.push_front(delivery),
            }
        }
    }

    /// Nobody waits for a call any more. Where a worker is at it, what comes out resolves when that
    /// has answered.
    pub fn give_up(&mut self, id: &str) -> Option<oneshot::Receiver<bool>> {
        let call = self.calls.remove(id)?;
        if call.at == At::Queue {
            self.queue.retain(|delivery| delivery.call.request_id != id);
            return None;
        }
        let (done, late) = oneshot::channel();
        self.late.insert(id.to_owned(), done);
        Some(late)
    }

    /// Before the body of an answer is read.
    pub fn may_answer(&mut self, id: &str) -> Result<(), Refusal> {
        match self.calls.get(id).map(|call| call.at) {
            Some(At::Worker) => Ok(()),
            // AWS: InvokeResponseInProgress; the runtime is told the same as of an unknown id.
            Some(At::Stream | At::Queue) => Err(Refusal::unknown_id()),
            None => Err(self.came_late(id)),
        }
    }

    pub fn answer(&mut self, id: &str, answer: Answer) -> Result<(), Refusal> {
        self.may_answer(id)?;
        self.settle(id, answer);
        Ok(())
    }

    pub fn begin_stream(&mut self, id: &str) -> Result<Option<mpsc::Sender<Bytes>>, Refusal> {
        self.may_answer(id)?;
        let Some(call) = self.calls.get_mut(id) else { return Err(Refusal::unknown_id()) };
        call.at = At::Stream;
        Ok(call.stream.take())
    }

    pub fn end_stream(&mut self, id: &str, answer: Answer) -> Result<(), Refusal> {
        match self.calls.get(id).map(|call| call.at) {
            Some(At::Stream) => self.settle(id, answer),
            Some(_) => return Err(Refusal::unknown_id()),
            None => return Err(self.came_late(id)),
        }
        Ok(())
    }

    /// A streamed response will not come to its end. Says nothing when it already has.
    pub fn break_off(&mut self, id: &str) {
        let _ = self.end_stream(id, Answer::Truncated);
    }

    fn settle(&mut self, id: &str, answer: Answer) {
        if let Some(call) = self.calls.remove(id) {
            // The call may have timed out in this moment; its answer is then nobody's.
            let _ = call.caller.send(answer);
        }
    }

    /// An answer to what is no call: its worker is free if it was one.
    fn came_late(&mut self, id: &str) -> Refusal {
        match self.late.remove(id) {
            Some(done) => {
                let _ = done.send(true);
                Refusal {
                    status: 410,
                    error_type: "InvokeTimeout",
                    message: "Invoke timeout".to_owned(),
                }
            }
            None => Refusal::unknown_id(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(id: &str) -> Delivery {
        let call = Invocation {
            request_id: id.to_owned(),
            payload: Bytes::new(),
            invoked_arn: String::new(),
            client_context: None,
            trace_id: None,
            tenant: None,
            tail: false,
            stream: None,
        };
        Delivery { call, deadline_ms: 0 }
    }

    fn deliver(crowd: &mut Crowd, id: &str) -> oneshot::Receiver<Answer> {
        let answer = crowd.admit(&delivery(id).call).unwrap();
        crowd.deliver(delivery(id));
        answer
    }

    fn ask(crowd: &mut Crowd) -> Result<oneshot::Receiver<Delivery>, Refusal> {
        let (sender, receiver) = oneshot::channel();
        crowd.next(sender).map(|()| receiver)
    }

    fn got(receiver: &mut oneshot::Receiver<Delivery>) -> String {
        receiver.try_recv().unwrap().call.request_id
    }

    fn response(text: &'static str) -> Answer {
        Answer::Response(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn several_calls_are_answered_in_any_order() {
        let mut crowd = Crowd::new(2);
        let mut one = ask(&mut crowd).unwrap();
        let mut a = deliver(&mut crowd, "a");
        let mut b = deliver(&mut crowd, "b");
        let mut two = ask(&mut crowd).unwrap();
        assert_eq!((got(&mut one), got(&mut two)), ("a".to_owned(), "b".to_owned()));
        crowd.answer("b", response("B")).unwrap();
        crowd.answer("a", response("A")).unwrap();
        assert_eq!((a.try_recv().unwrap(), b.try_recv().unwrap()), (response("A"), response("B")));
        for id in ["a", "c"] {
            assert_eq!(crowd.answer(id, response("")).unwrap_err().error_type, "InvalidRequestID");
        }
        let _d = deliver(&mut crowd, "d");
        assert!(crowd.admit(&delivery("d").call).is_none(), "it is there already");
        assert_eq!(crowd.answer("d", response("")).unwrap_err().status, 400, "no worker has it");
    }

    #[test]
    fn no_more_workers_wait_than_there_are_calls_at_once() {
        let mut crowd = Crowd::new(2);
        let _one = ask(&mut crowd).unwrap();
        let two = ask(&mut crowd).unwrap();
        let refusal = ask(&mut crowd).unwrap_err();
        assert_eq!((refusal.status, refusal.error_type), (500, "InternalServerError"));
        // One that hung up makes room.
        drop(two);
        assert!(ask(&mut crowd).is_ok());
    }

    #[test]
    fn an_event_is_handed_over_when_there_is_room_for_its_call() {
        let mut crowd = Crowd::new(1);
        let mut worker = ask(&mut crowd).unwrap();
        crowd.deliver(delivery("a"));
        assert!(worker.try_recv().is_err());
        let _caller = crowd.admit(&delivery("a").call).unwrap();
        assert!(worker.try_recv().is_err(), "nothing is said of it yet");
        assert_eq!(crowd.may_answer("a").unwrap_err().status, 400);
        crowd.deliver(delivery("a"));
        assert_eq!(got(&mut worker), "a");
    }

    #[test]
    fn a_late_answer_frees_its_worker_and_reaches_nobody() {
        let mut crowd = Crowd::new(1);
        let mut worker = ask(&mut crowd).unwrap();
        let _caller = deliver(&mut crowd, "a");
        got(&mut worker);
        let mut late = crowd.give_up("a").unwrap();
        assert!(late.try_recv().is_err());
        let refusal = crowd.answer("a", response("")).unwrap_err();
        assert_eq!((refusal.status, refusal.error_type), (410, "InvokeTimeout"));
        assert_eq!(late.try_recv(), Ok(true));
        assert_eq!(crowd.answer("a", response("")).unwrap_err().status, 400);
        // What no worker has come for is simply gone.
        let _caller = deliver(&mut crowd, "b");
        assert!(crowd.give_up("b").is_none());
        assert!(ask(&mut crowd).unwrap().try_recv().is_err());
    }

    #[test]
    fn an_event_that_was_not_taken_goes_to_the_next_worker() {
        let mut crowd = Crowd::new(2);
        let mut caller = deliver(&mut crowd, "a");
        drop(ask(&mut crowd).unwrap());
        // That one hung up with the event; the shell brings it back.
        crowd.undeliver(delivery("a"));
        let mut worker = ask(&mut crowd).unwrap();
        assert_eq!(got(&mut worker), "a");
        crowd.begin_stream("a").unwrap();
        assert_eq!(crowd.may_answer("a").unwrap_err().status, 400);
        crowd.break_off("a");
        assert_eq!(caller.try_recv(), Ok(Answer::Truncated));
    }
}
