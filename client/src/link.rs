//! One stream to one node, shared by all requests to it.
//!
//! Callers append their encoded request to a common buffer; one task writes what has gathered there piece by piece, another one
//! hands out the answers as they come, in any order. So under load many requests share a packet, and a lone one waits for nobody. A piece
//! for whose answers nobody waits any more is not written: a node that stood still does not go through what came meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
/// A piece with so many bytes gets no further requests.
const PIECE_BYTES: usize = 16 * 1024;
/// So many pieces that nobody waits for are passed over at once, so that others do not wait for the lock meanwhile.
const PASSED_OVER_MAX: usize = 64;
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

/// Encoded requests that are written together.
#[derive(Default)]
struct Piece<B> {
    ids: Vec<u64>,
    bytes: B,
}

#[derive(Default)]
struct State {
    /// In the order in which they are written. What is in none of them may have been sent.
    queued: VecDeque<Piece<Bytes>>,
    gathering: Piece<Vec<u8>>,
    queued_bytes: usize,
    waiting: BTreeMap<u64, Waiter>,
    next: u64,
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
        let before = state.gathering.bytes.len();
        let message = ClientMessage { id: RequestId(id), timeout_millis, request: request.clone() };
        encode(&message, &mut state.gathering.bytes)?;
        state.gathering.ids.push(id);
        state.queued_bytes += state.gathering.bytes.len() - before;
        state.waiting.insert(id, waiter);
        if PIECE_BYTES <= state.gathering.bytes.len() {
            state.close_gathering();
        }
        drop(state);
        self.0.queued.notify_one();
        Ok(id)
    }

    /// Encodes without holding the lock.
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
        state.queued.push_back(Piece { ids: vec![id], bytes: encoded.into() });
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
        if !self.gathering.ids.is_empty() {
            let Piece { ids, bytes } = std::mem::take(&mut self.gathering);
            self.queued.push_back(Piece { ids, bytes: bytes.into() });
        }
    }

    /// The next piece with a request that somebody waits for; from now on it counts as sent. `None` if there is none among the first.
    fn hand_over(&mut self) -> Option<Bytes> {
        self.close_gathering();
        for _ in 0..PASSED_OVER_MAX {
            let Piece { ids, bytes } = self.queued.pop_front()?;
            self.queued_bytes -= bytes.len();
            if ids.iter().any(|id| self.waiting.contains_key(id)) {
                return Some(bytes);
            }
        }
        None
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
            let Some(piece) = self.next_piece() else {
                self.queued.notified().await;
                continue;
            };
            if let Err(error) = sender.send_encoded(piece).await {
                return LinkEnd::Send(error);
            }
        }
    }

    fn next_piece(&self) -> Option<Bytes> {
        loop {
            let mut state = self.lock();
            let piece = state.hand_over();
            if piece.is_some() || state.queued.is_empty() {
                return piece;
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
        state.close_gathering();
        let waiting = std::mem::take(&mut state.waiting);
        let queued = std::mem::take(&mut state.queued);
        state.closed.get_or_insert_with(|| problem.clone());
        drop(state);
        let queued: BTreeSet<u64> = queued.into_iter().flat_map(|piece| piece.ids).collect();
        for (id, waiter) in waiting {
            let fate = if queued.contains(&id) { Fate::NotSent } else { Fate::Unknown };
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

#[cfg(test)]
mod tests {
    use quorate_ring::wire::PutItem;
    use quorate_ring::{BucketName, Key, ObjectKey, Value};

    use super::*;

    fn put(bytes: usize) -> Request {
        let bucket = BucketName::new("b").expect("valid");
        let key = ObjectKey::new(&bucket, &Key::new("k").expect("valid"));
        let value = Value::new(vec![0; bytes]).expect("small");
        let item = PutItem { key, value, context: None, ttl_millis: None };
        Request::Put { item, w: None, durability: None, strict: false }
    }

    fn ask(link: &Link, bytes: usize) -> Pending {
        link.ask(&put(bytes), 1_000).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn pieces(link: &Link) -> usize {
        std::iter::from_fn(|| link.0.next_piece()).count()
    }

    #[test]
    fn requests_share_a_piece_and_large_ones_have_their_own() {
        let link = Link(Arc::default());
        let _small: Vec<_> = (0..10).map(|_| ask(&link, 10)).collect();
        assert_eq!(pieces(&link), 1);
        let _mixed: Vec<_> = [10, 10 + ENCODED_APART_BYTES_MIN, 10].map(|bytes| ask(&link, bytes)).into();
        assert_eq!(pieces(&link), 3);
        let _many: Vec<_> = (0..20).map(|_| ask(&link, PIECE_BYTES / 8)).collect();
        assert_eq!(pieces(&link), 3);
        assert_eq!(link.0.lock().queued_bytes, 0);
    }

    #[test]
    fn what_nobody_waits_for_is_not_written() {
        let link = Link(Arc::default());
        let given_up: Vec<_> = (0..100).map(|_| ask(&link, PIECE_BYTES / 2)).collect();
        let waited_for = ask(&link, 10);
        drop(given_up);
        assert_eq!((pieces(&link), link.0.lock().queued_bytes), (1, 0));
        drop(waited_for);
        drop(ask(&link, 10));
        assert_eq!(pieces(&link), 0);
    }

    #[tokio::test]
    async fn what_was_not_written_when_the_stream_ends_was_not_sent_and_the_rest_may_have_been() {
        let link = Link(Arc::default());
        let written = ask(&link, 10);
        assert_eq!(pieces(&link), 1);
        let queued = [10, 10 + ENCODED_APART_BYTES_MIN, 10].map(|bytes| ask(&link, bytes));
        link.0.close(ConnectProblem::Silent);
        assert_eq!(written.await, Err(Fate::Unknown(ConnectProblem::Silent)));
        for queued in queued {
            assert_eq!(queued.await, Err(Fate::NotSent(ConnectProblem::Silent)));
        }
        assert!(link.ask(&put(10), 1_000).is_err());
    }
}
