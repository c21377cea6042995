//! Drives operations and batches over real connections, in real time.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quorate_ring::NodeId;
use quorate_ring::wire::{ReplicaAnswer, Request, RequestError, Response};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use crate::batch::{Batch, BatchStep, Message, MessageId};
use crate::client::Inner;
use crate::link::{Abandon, Answer, Link, Pending};
use crate::operation::{AttemptId, Fate, Operation, Step};
use crate::peer::Reach;
use crate::routing::Target;
use crate::{ConnectProblem, Error, Outcome, Time};

/// One attempt under way.
enum Attempt {
    /// Sent. The usual case, without an allocation of its own.
    Sent(Pending),
    /// Waits for a connection first.
    Connecting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// Known to be lost already.
    NotSent(ConnectProblem),
}

impl Attempt {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        match self {
            Self::Sent(pending) => Pin::new(pending).poll(context),
            Self::Connecting(attempt) => attempt.as_mut().poll(context),
            Self::NotSent(problem) => Poll::Ready(Err(Fate::NotSent(problem.clone()))),
        }
    }
}

type Attempts = Vec<(AttemptId, Attempt)>;

impl Inner {
    /// Runs one request to its end.
    pub(crate) async fn run(
        self: &Arc<Self>,
        request: Request,
        target: Target,
        timeout: Duration,
    ) -> Result<Response, Error> {
        self.check_open()?;
        self.note_used(&request);
        let now = self.now();
        let mut operation = Operation::new(request, target, now + timeout, now, self.next_seed());
        let mut attempts = Attempts::new();
        loop {
            let now = self.now_or_end();
            let step = operation.next_step(&self.router(), now);
            self.note_observed(operation.take_observed());
            match step {
                Step::Done(result) => return result.map_err(|error| self.explain(error)),
                Step::Send { attempt, to, timeout_millis, connect_within } => {
                    self.note_asked(to, now, &operation);
                    let asked = self.attempt(to, operation.request(), timeout_millis, connect_within);
                    attempts.push((attempt, asked));
                }
                Step::WaitUntil(time) => match timeout_at(self.instant_of(time), next_answer(&mut attempts)).await {
                    Ok((attempt, answer)) => self.handle_answer(&mut operation, attempt, answer),
                    Err(_) => self.note_silent(operation.silent(self.now())),
                },
            }
        }
    }

    /// Once the client is closed, every deadline has passed: what is under way ends now.
    fn now_or_end(&self) -> Time {
        if self.check_open().is_ok() { self.now() } else { Time::from_micros(u64::MAX) }
    }

    /// After a close, that is what is told, except of a write that may have happened.
    fn explain(&self, error: Error) -> Error {
        match self.check_open() {
            Err(closed) if error.outcome() == Outcome::NothingChanged => closed,
            _ => error,
        }
    }

    fn attempt(
        self: &Arc<Self>,
        to: NodeId,
        request: &Request,
        timeout_millis: u32,
        connect_within: Duration,
    ) -> Attempt {
        let Some(peer) = self.peer(to) else {
            return Attempt::NotSent(no_member());
        };
        match peer.reach() {
            Reach::Open(link) => match link.ask(request, timeout_millis) {
                Ok(pending) => Attempt::Sent(pending),
                Err(problem) => Attempt::NotSent(problem),
            },
            Reach::Down(problem) => Attempt::NotSent(problem),
            Reach::Connecting => {
                let (request, known) = (request.clone(), peer.known());
                Attempt::Connecting(Box::pin(async move {
                    match link_of(timeout(connect_within, known).await)
                        .and_then(|link| link.ask(&request, timeout_millis))
                    {
                        Ok(pending) => pending.await,
                        Err(problem) => Err(Fate::NotSent(problem)),
                    }
                }))
            }
        }
    }

    fn handle_answer(&self, operation: &mut Operation, attempt: AttemptId, answer: Answer) {
        match answer {
            Ok(result) => {
                self.note_hints(&result);
                operation.handle_reply(self.now(), attempt, result);
            }
            Err(fate) => operation.handle_lost(attempt, fate),
        }
    }

    /// Answers that a change of the ring would explain.
    fn note_hints(&self, result: &Result<Response, RequestError>) {
        let hints = match result {
            Err(RequestError::NoPrimary { .. } | RequestError::Stopping { .. }) => true,
            Err(RequestError::ReadQuorum { answers, .. } | RequestError::WriteQuorum { answers, .. }) => {
                answers.iter().any(|(_, answer)| *answer == ReplicaAnswer::NotResponsible)
            }
            _ => false,
        };
        if hints {
            self.hint_refresh();
        }
    }

    /// Runs gets with one R, or puts with one W and durability; a result for each, in their order.
    pub(crate) async fn run_batch(
        self: &Arc<Self>,
        requests: Vec<Request>,
        timeout: Duration,
    ) -> Vec<Result<Response, Error>> {
        requests.iter().take(1).for_each(|request| self.note_used(request));
        let now = self.now();
        let (sender, mut parts) = mpsc::unbounded_channel();
        let mut under_way = BTreeMap::new();
        let mut batch = Batch::new(requests, now + timeout, now, self.next_seed());
        loop {
            let now = self.now_or_end();
            let step = batch.next_step(&self.router(), now);
            match step {
                BatchStep::Done(results) => {
                    return results.into_iter().map(|result| result.map_err(|error| self.explain(error))).collect();
                }
                BatchStep::Send(message) => {
                    let (id, to) = (message.id, message.to);
                    under_way.insert(id, (to, self.send_message(message, &sender)));
                }
                BatchStep::WaitUntil(time) => match timeout_at(self.instant_of(time), parts.recv()).await {
                    Ok(part) => {
                        let (message, answer) = part.expect("this holds a sender itself");
                        let node = under_way.get(&message).map(|(node, _)| *node);
                        self.handle_part(&mut batch, message, node, answer);
                    }
                    Err(_) => self.note_silent(batch.silent(self.now())),
                },
            }
        }
    }

    /// Sends a message of a batch. What is returned gives it up when dropped.
    fn send_message(self: &Arc<Self>, message: Message, parts: &mpsc::UnboundedSender<(MessageId, Answer)>) -> Sent {
        let Some(peer) = self.peer(message.to) else {
            let _ = parts.send((message.id, Err(Fate::NotSent(no_member()))));
            return Sent::Lost;
        };
        match peer.reach() {
            Reach::Open(link) => ask_many(&link, &message, parts),
            Reach::Down(problem) => {
                let _ = parts.send((message.id, Err(Fate::NotSent(problem))));
                Sent::Lost
            }
            Reach::Connecting => {
                let (known, parts) = (peer.known(), parts.clone());
                let task = tokio::spawn(async move {
                    let sent = match link_of(timeout(message.connect_within, known).await) {
                        Ok(link) => ask_many(&link, &message, &parts),
                        Err(problem) => {
                            let _ = parts.send((message.id, Err(Fate::NotSent(problem))));
                            Sent::Lost
                        }
                    };
                    parts.closed().await; // Holds what gives the message up until the batch is over.
                    drop(sent);
                });
                Sent::Connecting { _task: AbortOnDrop(task) }
            }
        }
    }

    fn handle_part(&self, batch: &mut Batch, message: MessageId, node: Option<NodeId>, answer: Answer) {
        match answer {
            Ok(result) => {
                node.into_iter().for_each(|node| self.note_answered(node));
                self.note_hints(&result);
                batch.handle_reply(self.now(), message, result);
            }
            Err(fate) => batch.handle_lost(self.now(), message, &fate),
        }
    }
}

/// A message of a batch that was sent, or is about to be. Only held: dropping it gives the message up.
enum Sent {
    Now { _abandon: Abandon },
    Connecting { _task: AbortOnDrop },
    Lost,
}

/// Ends a task when dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn ask_many(link: &Link, message: &Message, parts: &mpsc::UnboundedSender<(MessageId, Answer)>) -> Sent {
    match link.ask_many(&message.request, message.timeout_millis, message.items, message.id, parts.clone()) {
        Ok(abandon) => Sent::Now { _abandon: abandon },
        Err(problem) => {
            let _ = parts.send((message.id, Err(Fate::NotSent(problem)))); // The batch cannot be gone: it waits for this.
            Sent::Lost
        }
    }
}

/// The first of the attempts to end, taken out. Never, if there is none.
async fn next_answer(attempts: &mut Attempts) -> (AttemptId, Answer) {
    let (index, answer) = poll_fn(|context| {
        for (index, (_, attempt)) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(answer) = attempt.poll(context) {
                return Poll::Ready((index, answer));
            }
        }
        Poll::Pending
    })
    .await;
    let (attempt, _) = attempts.swap_remove(index);
    (attempt, answer)
}

fn link_of(known: Result<Reach, tokio::time::error::Elapsed>) -> Result<Link, ConnectProblem> {
    match known {
        Ok(Reach::Open(link)) => Ok(link),
        Ok(Reach::Down(problem)) => Err(problem),
        Ok(Reach::Connecting) | Err(_) => Err(ConnectProblem::Silent),
    }
}

fn no_member() -> ConnectProblem {
    ConnectProblem::Lost { reason: "it is no member of the ring that the client knows".to_owned() }
}

/// What kind of answer this is, for messages.
pub(crate) fn name_of(response: &Response) -> &'static str {
    match response {
        Response::Found { .. } => "values",
        Response::Stored { .. } => "that a write is stored",
        Response::Many(_) => "a batch",
        Response::Page { .. } => "a page of a scan",
        Response::Ring(_) => "a ring",
        Response::Status(_) => "a status",
        Response::Layout(_) => "a layout",
    }
}
