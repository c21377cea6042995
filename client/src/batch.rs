//! Many gets or puts at once: one message for each node that is best asked for some of them, not one for each key.
//!
//! Each item is an [`Operation`] of its own, with its own retries and its own result; this only gathers what they want to send.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_ring::NodeId;
use quorate_ring::limits::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX};
use quorate_ring::wire::{Request, RequestError, Response};

use crate::operation::{AttemptId, Fate, Operation, Step};
use crate::routing::{Router, Target};
use crate::{Error, Time};

/// Most items of a batch that are under way at once; the others wait for their turn, within the same deadline. Enough to fill
/// messages to every node of a mid-sized cluster.
const ACTIVE_ITEMS_MAX: usize = 8 * BATCH_ITEMS_MAX;
/// Most bytes of items under way at once.
const ACTIVE_BYTES_MAX: usize = 8 * BATCH_BYTES_MAX;

/// Names one message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

/// What the driver of a batch should do next.
#[derive(Debug)]
pub enum BatchStep {
    /// Send this, then ask for the next step at once.
    Send(Message),
    /// Nothing until an answer, or part of one, comes or this time has come.
    WaitUntil(Time),
    /// The batch is over: a result for each item, in their order.
    Done(Vec<Result<Response, Error>>),
}

/// One message of a batch.
#[derive(Debug)]
pub struct Message {
    /// Names it, for what comes of it.
    pub id: MessageId,
    /// Whom to send it to.
    pub to: NodeId,
    /// What to send.
    pub request: Request,
    /// How many items it has: so many answers are to come, in one or several replies.
    pub items: usize,
    /// What to send as the message's timeout.
    pub timeout_millis: u32,
    /// If there is no connection to the node after this time, report the message as not sent.
    pub connect_within: Duration,
}

#[derive(Debug)]
struct Item {
    operation: Operation,
    bytes: usize,
    /// When its operation wants to be asked again.
    wake: Time,
}

/// An item's attempt that wants to be sent.
struct Wanted {
    item: usize,
    attempt: AttemptId,
    timeout_millis: u32,
    connect_within: Duration,
}

/// The state machine of one batch, driven like an [`Operation`].
#[derive(Debug)]
pub struct Batch {
    items: Vec<Option<Item>>,
    results: Vec<Option<Result<Response, Error>>>,
    /// Items from here on have not begun.
    next: usize,
    active: usize,
    active_bytes: usize,
    ready: VecDeque<Message>,
    /// For each message under way its items, by their index in the message; `None` once answered.
    sent: BTreeMap<MessageId, Vec<Option<(usize, AttemptId)>>>,
    messages: u64,
}

impl Batch {
    /// A batch of [`Request::Get`]s with the same R, or of [`Request::Put`]s with the same W and durability.
    pub fn new(requests: Vec<Request>, deadline: Time, now: Time, seed: u64) -> Self {
        let item = |request: Request| {
            let (bytes, target) = (bytes_of(&request), Target::of(&request));
            // One seed for all: items that have to be sent again pause together and so share messages again.
            Some(Item { operation: Operation::new(request, target, deadline, now, seed).in_batch(), bytes, wake: now })
        };
        let items: Vec<_> = requests.into_iter().map(item).collect();
        let results = items.iter().map(|_| None).collect();
        Self {
            items,
            results,
            next: 0,
            active: 0,
            active_bytes: 0,
            ready: VecDeque::new(),
            sent: BTreeMap::new(),
            messages: 0,
        }
    }

    /// What to do now. Call it after each `handle_*`, after each [`BatchStep::Send`], and when the time of
    /// [`BatchStep::WaitUntil`] has come.
    pub fn next_step(&mut self, router: &Router, now: Time) -> BatchStep {
        if self.ready.is_empty() {
            self.drive(router, now);
        }
        if let Some(message) = self.ready.pop_front() {
            return BatchStep::Send(message);
        }
        match self.items[..self.next].iter().flatten().map(|item| item.wake).min() {
            Some(wake) => BatchStep::WaitUntil(wake),
            None => BatchStep::Done(self.results.drain(..).map(|result| result.expect("no item is left")).collect()),
        }
    }

    /// An answer, or part of one, came for a message: whole batches and single items alike.
    pub fn handle_reply(&mut self, now: Time, message: MessageId, result: Result<Response, RequestError>) {
        match result {
            Ok(Response::Many(answers)) => {
                for (index, result) in answers {
                    self.handle_item(now, message, index as usize, result);
                }
            }
            Ok(single) => self.handle_item(now, message, 0, Ok(single)),
            Err(error) => {
                let items = self.sent.get(&message).map_or(0, Vec::len);
                (0..items).for_each(|index| self.handle_item(now, message, index, Err(error.clone())));
            }
        }
        if self.sent.get(&message).is_some_and(|items| items.iter().all(Option::is_none)) {
            self.sent.remove(&message);
        }
    }

    /// A message was lost, or the rest of its answer.
    pub fn handle_lost(&mut self, now: Time, message: MessageId, fate: &Fate) {
        for (item, attempt) in self.sent.remove(&message).into_iter().flatten().flatten() {
            if let Some(item) = &mut self.items[item] {
                item.operation.handle_lost(attempt, fate.clone());
                item.wake = now;
            }
        }
    }

    /// The nodes that were silent for their slice. A node may be named several times.
    pub fn silent(&self, now: Time) -> impl Iterator<Item = NodeId> + '_ {
        self.items[..self.next].iter().flatten().flat_map(move |item| item.operation.silent(now))
    }

    fn handle_item(&mut self, now: Time, message: MessageId, index: usize, result: Result<Response, RequestError>) {
        let asked = self.sent.get_mut(&message).and_then(|items| items.get_mut(index)).and_then(Option::take);
        let Some((item, attempt)) = asked else {
            return; // An index that was never sent, or answered twice: the node's fault, and harmless.
        };
        if let Some(item) = &mut self.items[item] {
            item.operation.handle_reply(now, attempt, result);
            item.wake = now;
        }
    }

    /// Asks every item whose time has come for its next step, and gathers what they want to send.
    fn drive(&mut self, router: &Router, now: Time) {
        let mut wanted: BTreeMap<NodeId, Vec<Wanted>> = BTreeMap::new();
        for item in 0..self.next {
            self.drive_item(item, router, now, &mut wanted);
        }
        while self.may_begin() {
            let item = self.next;
            self.active += 1;
            self.active_bytes += self.items[item].as_ref().map_or(0, |item| item.bytes);
            self.next += 1;
            self.drive_item(item, router, now, &mut wanted);
        }
        for (to, wanted) in wanted {
            self.gather(to, wanted);
        }
    }

    fn may_begin(&self) -> bool {
        let room = self.active < ACTIVE_ITEMS_MAX && self.active_bytes < ACTIVE_BYTES_MAX;
        self.next < self.items.len() && (room || self.active == 0)
    }

    fn drive_item(&mut self, index: usize, router: &Router, now: Time, wanted: &mut BTreeMap<NodeId, Vec<Wanted>>) {
        let Some(item) = self.items[index].as_mut().filter(|item| item.wake <= now) else {
            return;
        };
        loop {
            match item.operation.next_step(router, now) {
                Step::Send { attempt, to, timeout_millis, connect_within } => {
                    wanted.entry(to).or_default().push(Wanted { item: index, attempt, timeout_millis, connect_within });
                }
                Step::WaitUntil(wake) => {
                    item.wake = wake;
                    return;
                }
                Step::Done(result) => {
                    self.active -= 1;
                    self.active_bytes -= item.bytes;
                    self.results[index] = Some(result);
                    self.items[index] = None;
                    return;
                }
            }
        }
    }

    /// Makes messages of what is to go to one node, each within the bounds of a batch.
    fn gather(&mut self, to: NodeId, wanted: Vec<Wanted>) {
        let (mut group, mut group_bytes) = (Vec::new(), 0);
        for one in wanted {
            let bytes = self.items[one.item].as_ref().map_or(0, |item| item.bytes);
            if group.len() == BATCH_ITEMS_MAX || (!group.is_empty() && BATCH_BYTES_MAX < group_bytes + bytes) {
                self.make_message(to, std::mem::take(&mut group));
                group_bytes = 0;
            }
            group_bytes += bytes;
            group.push(one);
        }
        self.make_message(to, group);
    }

    fn make_message(&mut self, to: NodeId, group: Vec<Wanted>) {
        let id = MessageId(self.messages);
        self.messages += 1;
        let requests = group.iter().filter_map(|one| Some(self.items[one.item].as_ref()?.operation.request()));
        let Some(request) = join(requests) else {
            return;
        };
        let timeout_millis = group.iter().map(|one| one.timeout_millis).max().unwrap_or(1);
        let connect_within = group.iter().map(|one| one.connect_within).max().unwrap_or_default();
        let items = group.len();
        self.sent.insert(id, group.iter().map(|one| Some((one.item, one.attempt))).collect());
        self.ready.push_back(Message { id, to, request, items, timeout_millis, connect_within });
    }
}

/// One message for all of these; a single one is sent as it is. `None` for none.
fn join<'a>(requests: impl Iterator<Item = &'a Request>) -> Option<Request> {
    let mut joined: Option<Request> = None;
    for request in requests {
        joined = Some(match (joined, request.clone()) {
            (None, first) => first,
            (Some(Request::Get { key: first, r, strict }), Request::Get { key, .. }) => {
                Request::GetMany { keys: vec![first, key], r, strict }
            }
            (Some(Request::GetMany { mut keys, r, strict }), Request::Get { key, .. }) => {
                keys.push(key);
                Request::GetMany { keys, r, strict }
            }
            (Some(Request::Put { item: first, w, durability, strict }), Request::Put { item, .. }) => {
                Request::PutMany { items: vec![first, item], w, durability, strict }
            }
            (Some(Request::PutMany { mut items, w, durability, strict }), Request::Put { item, .. }) => {
                items.push(item);
                Request::PutMany { items, w, durability, strict }
            }
            (Some(_), other) => unreachable!("a batch is of gets or of puts, not of {other:?}"),
        });
    }
    joined
}

fn bytes_of(request: &Request) -> usize {
    match request {
        Request::Get { key, .. } => key.encoded().len(),
        Request::Put { item, .. } => {
            let context = item.context.as_ref().map_or(0, |context| context.as_bytes().len());
            item.key.encoded().len() + item.value.as_bytes().len() + context
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use quorate_ring::version::ContextToken;
    use quorate_ring::wire::PutItem;
    use quorate_ring::{BucketName, Key, ObjectKey, Value};

    use super::*;
    use crate::ConnectProblem;
    use crate::fixture::description;

    fn key(number: usize) -> ObjectKey {
        let bucket = BucketName::new("carts").expect("valid");
        ObjectKey::new(&bucket, &Key::new(format!("key {number}")).expect("valid"))
    }

    fn get(number: usize) -> Request {
        Request::Get { key: key(number), r: Some(2), strict: false }
    }

    fn put(number: usize, bytes: usize) -> Request {
        let item = PutItem {
            key: key(number),
            value: Value::new(vec![0; bytes]).expect("small"),
            context: None,
            ttl_millis: None,
        };
        Request::Put { item, w: None, durability: None, strict: false }
    }

    /// Answers with the key itself as the value, so that a mix-up would show.
    fn answer(key: &ObjectKey) -> Response {
        let context = ContextToken::from_bytes(Bytes::new()).expect("short");
        Response::Found { values: vec![Value::new(key.encoded().clone()).expect("small")], context }
    }

    fn keys_of(request: &Request) -> Vec<ObjectKey> {
        match request {
            Request::Get { key, .. } => vec![key.clone()],
            Request::GetMany { keys, .. } => keys.clone(),
            Request::Put { item, .. } => vec![item.key.clone()],
            Request::PutMany { items, .. } => items.iter().map(|item| item.key.clone()).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn sends(batch: &mut Batch, router: &Router, now: Time) -> Vec<Message> {
        let mut messages = Vec::new();
        while let BatchStep::Send(message) = batch.next_step(router, now) {
            messages.push(message);
        }
        messages
    }

    #[test]
    fn one_message_goes_to_each_node() {
        let router = Router::new(description(5, 3)).expect("possible");
        let deadline = Time::default() + Duration::from_secs(1);
        let mut batch = Batch::new((0..1000).map(get).collect(), deadline, Time::default(), 0);
        let messages = sends(&mut batch, &router, Time::default());
        assert_eq!(messages.len(), 5);
        assert_eq!(messages.iter().map(|message| message.items).sum::<usize>(), 1000);
        for message in messages {
            for key in keys_of(&message.request) {
                let partition = router.ring().partition_of(quorate_ring::Position::of(&key));
                assert!(router.ring().is_primary(message.to, partition));
            }
        }
    }

    #[test]
    fn messages_keep_the_bounds_and_items_wait_for_their_turn() {
        let router = Router::new(description(3, 3)).expect("possible");
        let deadline = Time::default() + Duration::from_secs(1);
        let mut batch = Batch::new((0..100).map(|number| put(number, 1 << 20)).collect(), deadline, Time::default(), 0);
        let messages = sends(&mut batch, &router, Time::default());
        assert!(
            messages.iter().all(|message| message.items <= 3),
            "a batch of 4 MiB holds three of a little over 1 MiB"
        );
        let under_way: usize = messages.iter().map(|message| message.items).sum();
        assert!(under_way < 40, "{under_way}");
        for message in messages {
            batch.handle_reply(Time::default(), message.id, Err(RequestError::Invalid { reason: String::new() }));
        }
        assert!(!sends(&mut batch, &router, Time::default()).is_empty(), "the next ones have their turn");

        let mut batch = Batch::new(vec![put(1, 8 << 20), put(2, 8 << 20)], deadline, Time::default(), 0);
        assert_eq!(sends(&mut batch, &router, Time::default()).len(), 2);
    }

    #[test]
    fn empty_batch_is_over_at_once() {
        let router = Router::new(description(3, 3)).expect("possible");
        let mut batch = Batch::new(Vec::new(), Time::from_micros(9), Time::default(), 0);
        assert!(matches!(batch.next_step(&router, Time::default()), BatchStep::Done(results) if results.is_empty()));
    }

    proptest! {
        #[test]
        fn each_item_gets_its_own_answer(
            count in 0usize..200, part in 1usize..50, script in proptest::collection::vec(0u8..5, 1..20), reversed: bool,
        ) {
            let router = Router::new(description(5, 3)).expect("possible");
            let deadline = Time::default() + Duration::from_secs(60);
            let mut batch = Batch::new((0..count).map(get).collect(), deadline, Time::default(), 9);
            let (mut now, mut number) = (Time::default(), 0);
            let results = loop {
                match batch.next_step(&router, now) {
                    BatchStep::Done(results) => break results,
                    BatchStep::WaitUntil(time) => now = time,
                    BatchStep::Send(message) => {
                        let mut parts: Vec<_> = keys_of(&message.request).iter().map(answer).map(Ok).zip(0u32..)
                            .map(|(result, index)| (index, result)).collect();
                        if reversed { parts.reverse() }
                        number += 1;
                        match script[number % script.len()] {
                            0 => batch.handle_reply(now, message.id, Err(RequestError::Stopping { node: message.to })),
                            1 => batch.handle_lost(now, message.id, &Fate::Unknown(ConnectProblem::Silent)),
                            2 => {
                                let some = parts.into_iter().take(part).collect();
                                batch.handle_reply(now, message.id, Ok(Response::Many(some)));
                                batch.handle_lost(now, message.id, &Fate::Unknown(ConnectProblem::Silent));
                            }
                            _ => for parts in parts.chunks(part) {
                                batch.handle_reply(now, message.id, Ok(Response::Many(parts.to_vec())));
                            },
                        }
                    }
                }
            };
            prop_assert_eq!(results.len(), count);
            for (number, result) in results.into_iter().enumerate() {
                if let Ok(response) = result {
                    prop_assert_eq!(response, answer(&key(number)));
                } else {
                    prop_assert!(script.iter().all(|act| *act < 3), "nothing was answered although something could be");
                }
            }
        }
    }
}
