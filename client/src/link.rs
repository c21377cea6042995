//! One stream to one node, shared by all requests to it.
//!
//! Callers append their encoded request to a common buffer; one task writes whatever has gathered there as one piece, another one
//! hands out the answers as they come, in any order. So under load many requests share a packet, and a lone one waits for nobody.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use quorate_ring::wire::{ClientMessage, NodeMessage, Request, RequestError, RequestId, Response, frame};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::ConnectProblem;
use crate::batch::MessageId;
use crate::operation::Fate;
use crate::transport::{FrameReceiver, FrameSender, ReceiveError, SendError};

/// Most bytes that may wait to be written to one node; a request beyond is not sent ([`ConnectProblem::Backlog`]).
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A request with more bytes is encoded apart, so that others do not wait for the lock meanwhile.
const ENCODED_APART_BYTES_MIN: usize = 16 * 1024;

/// What came of a request that was given to a link: the node's answer, or how it was lost.
pub(crate) type Answer = Result<Result<Response, RequestError>, Fate>;

/// Who waits for an answer.
enum Waiter {
    One(oneshot::Sender<Answer>),
    /// A batch: so many items are still to be answered, in one or several parts.
    Parts {
        parts: mpsc::UnboundedSender<(MessageId, Answer)>,
        message: MessageId,
        left: usize,
    },
}

impl Waiter {
    /// A receiver that is gone has given up; then there is nobody to tell.
    fn answer(self, answer: Answer) {
        match self {
            Self::One(waiter) => drop(waiter.send(answer)),
            Self::Parts { parts, message, .. } => drop(parts.send((message, answer))),
        }
    }
}

#[derive(Default)]
struct State {
    /// Encoded requests, in the order of their ids.
    queued: Vec<Bytes>,
    gathering: Vec<u8>,
    queued_bytes: usize,
    waiting: BTreeMap<u64, Waiter>,
    next: u64,
    /// Requests with ids below were handed to the connection; the others surely were not sent.
    handed_over: u64,
    closed: Option<ConnectProblem>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    queued: Notify,
}

/// The two tasks of a link; dropping it ends them, and all requests under way with them.
pub(crate) struct LinkTasks {
    tasks: JoinSet<ConnectProblem>,
    shared: Arc<Shared>,
}

impl LinkTasks {
    /// Waits until the link is closed, and says why it was.
    pub(crate) async fn closed(&mut self) -> ConnectProblem {
        match self.tasks.join_next().await {
            Some(Ok(problem)) => problem,
            _ => ended_here(),
        }
    }
}

impl Drop for LinkTasks {
    fn drop(&mut self) {
        self.shared.close(ended_here());
    }
}

fn ended_here() -> ConnectProblem {
    ConnectProblem::Lost { reason: "this side ended the connection".to_owned() }
}

/// One open stream to a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

impl Link {
    /// Takes over a stream whose hello is through. `explain` tells what an end of the stream means.
    pub(crate) fn start(
        sender: FrameSender,
        receiver: FrameReceiver,
        explain: impl Fn(LinkEnd) -> ConnectProblem + Send + Sync + 'static,
    ) -> (Self, LinkTasks) {
        let link = Self(Arc::default());
        let explain = Arc::new(explain);
        let mut tasks = JoinSet::new();
        let (shared, told) = (link.0.clone(), explain.clone());
        tasks.spawn(async move { shared.close(told(shared.write(sender).await)) });
        let shared = link.0.clone();
        tasks.spawn(async move { shared.close(explain(shared.read(receiver).await)) });
        let shared = link.0.clone();
        (link, LinkTasks { tasks, shared })
    }

    /// Queues a request; the answer comes out of what is returned. Dropping that gives the request up.
    pub(crate) fn ask(&self, request: &Request, timeout_millis: u32) -> Result<Pending, ConnectProblem> {
        let (sender, answer) = oneshot::channel();
        let id = self.enqueue(request, timeout_millis, Waiter::One(sender))?;
        Ok(Pending { answer, shared: self.0.clone(), id, answered: false })
    }

    /// Queues a batch of so many items, whose parts of the answer go to `parts`.
    pub(crate) fn ask_many(
        &self,
        request: &Request,
        timeout_millis: u32,
        items: usize,
        message: MessageId,
        parts: mpsc::UnboundedSender<(MessageId, Answer)>,
    ) -> Result<Abandon, ConnectProblem> {
        let id = self.enqueue(request, timeout_millis, Waiter::Parts { parts, message, left: items })?;
        Ok(Abandon { shared: self.0.clone(), id })
    }

    fn enqueue(&self, request: &Request, timeout_millis: u32, waiter: Waiter) -> Result<u64, ConnectProblem> {
        if ENCODED_APART_BYTES_MIN < bytes_about(request) {
            return self.enqueue_large(request, timeout_millis, waiter);
        }
        let mut state = self.0.lock();
        let id = state.admit()?;
        let before = state.gathering.len();
        let message = ClientMessage { id: RequestId(id), timeout_millis, request: request.clone() };
        encode(&message, &mut state.gathering)?;
        state.queued_bytes += state.gathering.len() - before;
        state.waiting.insert(id, waiter);
        drop(state);
        self.0.queued.notify_one();
        Ok(id)
    }

    /// Encodes without holding the lock. By the time it is queued, later ids may have been handed over; then its loss counts as
    /// unknown although it was not sent, which is the safe side.
    fn enqueue_large(&self, request: &Request, timeout_millis: u32, waiter: Waiter) -> Result<u64, ConnectProblem> {
        let id = self.0.lock().admit()?;
        let message = ClientMessage { id: RequestId(id), timeout_millis, request: request.clone() };
        let mut encoded = Vec::with_capacity(bytes_about(request) + 256);
        encode(&message, &mut encoded)?;
        let mut state = self.0.lock();
        if let Some(problem) = &state.closed {
            return Err(problem.clone());
        }
        state.close_gathering();
        state.queued_bytes += encoded.len();
        state.queued.push(encoded.into());
        state.waiting.insert(id, waiter);
        drop(state);
        self.0.queued.notify_one();
        Ok(id)
    }
}

impl State {
    fn admit(&mut self) -> Result<u64, ConnectProblem> {
        if let Some(problem) = &self.closed {
            return Err(problem.clone());
        }
        if QUEUED_BYTES_MAX < self.queued_bytes {
            return Err(ConnectProblem::Backlog { bytes: self.queued_bytes });
        }
        let id = self.next;
        self.next += 1;
        Ok(id)
    }

    fn close_gathering(&mut self) {
        if !self.gathering.is_empty() {
            self.queued.push(std::mem::take(&mut self.gathering).into());
        }
    }

    /// Everything queued; from now on it counts as sent.
    fn hand_over(&mut self) -> Vec<Bytes> {
        self.close_gathering();
        self.handed_over = self.next;
        self.queued_bytes = 0;
        std::mem::take(&mut self.queued)
    }

    /// The waiter that this message completes. A batch's waiter gets part after part until all its items are answered.
    fn take_waiter(&mut self, message: NodeMessage) -> Option<(Waiter, Answer)> {
        let NodeMessage { id: RequestId(id), result } = message;
        if let (Some(Waiter::Parts { parts, message, left }), Ok(Response::Many(answers))) =
            (self.waiting.get_mut(&id), &result)
        {
            *left = left.saturating_sub(answers.len());
            if 0 < *left {
                return Some((Waiter::Parts { parts: parts.clone(), message: *message, left: *left }, Ok(result)));
            }
        }
        Some((self.waiting.remove(&id)?, Ok(result)))
    }
}

/// How a link ended.
pub(crate) enum LinkEnd {
    /// The node finished the stream.
    Finished,
    /// Sending failed.
    Send(SendError),
    /// Receiving failed.
    Receive(ReceiveError),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held would be a bug in encoding; the state is sound between any two of its changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, mut sender: FrameSender) -> LinkEnd {
        loop {
            let chunks = self.lock().hand_over();
            if chunks.is_empty() {
                self.queued.notified().await;
            }
            for chunk in chunks {
                if let Err(error) = sender.send_encoded(chunk).await {
                    return LinkEnd::Send(error);
                }
            }
        }
    }

    async fn read(&self, mut receiver: FrameReceiver) -> LinkEnd {
        let mut arrived = Vec::new();
        loop {
            match receiver.receive::<NodeMessage>().await {
                Ok(Some(message)) => arrived.push(message),
                Ok(None) => return LinkEnd::Finished,
                Err(error) => return LinkEnd::Receive(error),
            }
            let rest = drain(&mut receiver, &mut arrived);
            self.complete(&mut arrived);
            if let Err(error) = rest {
                return LinkEnd::Receive(error);
            }
        }
    }

    /// Wakes those who wait for these, outside the lock.
    fn complete(&self, arrived: &mut Vec<NodeMessage>) {
        let mut state = self.lock();
        let answered: Vec<_> = arrived.drain(..).filter_map(|message| state.take_waiter(message)).collect();
        drop(state);
        for (waiter, answer) in answered {
            waiter.answer(answer);
        }
    }

    fn close(&self, problem: ConnectProblem) -> ConnectProblem {
        let mut state = self.lock();
        let handed_over = state.handed_over;
        let waiting = std::mem::take(&mut state.waiting);
        (state.queued, state.gathering) = (Vec::new(), Vec::new());
        state.closed.get_or_insert_with(|| problem.clone());
        drop(state);
        for (id, waiter) in waiting {
            let fate = if id < handed_over { Fate::Unknown } else { Fate::NotSent };
            waiter.answer(Err(fate(problem.clone())));
        }
        problem
    }
}

fn drain(receiver: &mut FrameReceiver, arrived: &mut Vec<NodeMessage>) -> Result<(), ReceiveError> {
    while let Some(message) = receiver.arrived::<NodeMessage>()? {
        arrived.push(message);
    }
    Ok(())
}

fn encode(message: &ClientMessage, buffer: &mut Vec<u8>) -> Result<(), ConnectProblem> {
    // Keys, values, contexts and batches are bounded so that each message fits; a failure would be a bug, and is told as one.
    match frame::encode(message, buffer) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConnectProblem::Lost { reason: error.to_string() }),
    }
}

fn bytes_about(request: &Request) -> usize {
    match request {
        Request::Put { item, .. } => item.value.as_bytes().len(),
        Request::PutMany { items, .. } => {
            items.iter().map(|item| item.value.as_bytes().len() + item.key.encoded().len()).sum()
        }
        Request::GetMany { keys, .. } => keys.iter().map(|key| key.encoded().len()).sum(),
        _ => 0,
    }
}

/// Gives a request up when dropped: its late answer will find nobody.
pub(crate) struct Abandon {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.id);
    }
}

/// An answer to come.
pub(crate) struct Pending {
    answer: oneshot::Receiver<Answer>,
    shared: Arc<Shared>,
    id: u64,
    answered: bool,
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        self.answered = true;
        Poll::Ready(answer.unwrap_or_else(|_| Err(Fate::Unknown(ended_here()))))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.lock().waiting.remove(&self.id);
        }
    }
}
