//! Three nodes with a shard each, between which every message arrives at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_node::replica::layout;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Batch, Column, Operation as StoreOperation, OperationId, Storage};
use quorate_node::{Input, Output, SessionId, Time};
use quorate_ring::version::{Actor, ContextToken, Dot, Incarnation};
use quorate_ring::wire::{Durability, PutItem, Request, RequestId, Response};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Value};

use crate::cluster::{Cluster, Machine, Sent, TIMEOUT, key, node};
use crate::harness::Operation;

const KEYS: usize = 1_000;
const VALUE_BYTES: [usize; 2] = [100, 1024];
/// Time from one request to the next: that of a shard with 10,000 a second, so that timers and comparisons of clocks come as often
/// as they do there.
const PAUSE: Duration = Duration::from_micros(100);
/// A store in memory keeps what it has not synced apart, and must not be let keep all.
const REQUESTS_PER_SYNC: u64 = 1_000;
const QUORUM: u8 = 2;

pub(super) fn operations() -> Vec<Operation> {
    VALUE_BYTES.into_iter().flat_map(|bytes| puts_and_gets(bytes).into_iter().chain(stores_alone(bytes))).collect()
}

fn puts_and_gets(bytes: usize) -> [Operation; 2] {
    let (mut written, mut read) = (Nodes::new(bytes), Nodes::new(bytes));
    [
        Operation::new(format!("put that replaces, N = 3, W = 2, {bytes} B"), move || written.put()),
        Operation::new(format!("get, N = 3, R = 2, {bytes} B"), move || read.get()),
    ]
}

/// What the stores in memory do of that, to be subtracted.
fn stores_alone(bytes: usize) -> [Operation; 2] {
    let (mut written, mut read) = (Stores::new(bytes), Stores::new(bytes));
    [
        Operation::new(format!("of that put, the three stores, {bytes} B"), move || written.put()),
        Operation::new(format!("of that get, the two stores, {bytes} B"), move || read.get()),
    ]
}

/// The nodes, and what was written to them.
struct Nodes {
    machines: BTreeMap<NodeId, Machine>,
    sent: VecDeque<Sent>,
    answer: Option<Response>,
    now: Time,
    requests: u64,
    keys: Vec<(ObjectKey, Option<ContextToken>)>,
    value: Value,
}

impl Nodes {
    /// With all keys written once.
    fn new(bytes: usize) -> Self {
        let mut nodes = Self {
            machines: Cluster::new(3).machines,
            sent: VecDeque::new(),
            answer: None,
            now: Time::default(),
            requests: 0,
            keys: (0..KEYS).map(|number| (key(&format!("user:{number:018}")), None)).collect(),
            value: Value::new(Bytes::from(vec![0xa5; bytes])).expect("small"),
        };
        (0..KEYS).for_each(|_| nodes.put());
        nodes
    }

    fn put(&mut self) {
        let index = self.next_key();
        let (key, context) = self.keys[index].clone();
        let item = PutItem { key, value: self.value.clone(), context, ttl_millis: None };
        match self.ask(Request::Put { item, w: Some(QUORUM), durability: None, strict: false }) {
            Response::Stored { siblings: 1, context } => self.keys[index].1 = context,
            other => panic!("a put was answered {other:?}"),
        }
    }

    fn get(&mut self) {
        let key = self.keys[self.next_key()].0.clone();
        match self.ask(Request::Get { key, r: Some(QUORUM), strict: false }) {
            Response::Found { values, .. } => assert_eq!(values.len(), 1, "each put replaced the one before"),
            other => panic!("a get was answered {other:?}"),
        }
    }

    fn next_key(&self) -> usize {
        (self.requests % KEYS as u64) as usize
    }

    /// Each node coordinates a third of the requests.
    fn ask(&mut self, request: Request) -> Response {
        self.requests += 1;
        self.now = self.now + PAUSE;
        let at = node(1 + (self.requests % 3) as u32);
        let timeout_millis = u32::try_from(TIMEOUT.as_millis()).expect("short");
        let (session, id) = (SessionId(1), RequestId(self.requests));
        self.input(at, Input::ClientRequest { session, id, timeout_millis, request, indices: None });
        self.settle();
        if self.requests.is_multiple_of(REQUESTS_PER_SYNC) {
            self.machines.values_mut().for_each(|machine| machine.store.sync());
        }
        self.answer.take().expect("all that answers has been heard")
    }

    fn settle(&mut self) {
        let mut is_still = false;
        while !is_still {
            is_still = true;
            for node in (1..=3).map(node) {
                let store = &mut self.machines.get_mut(&node).expect("one of three").store;
                store.flush();
                while let Some((id, result)) =
                    self.machines.get_mut(&node).expect("one of three").store.poll_completion()
                {
                    self.input(node, Input::Completed { id, result });
                    is_still = false;
                }
            }
            while let Some(Sent { from, to, message }) = self.sent.pop_front() {
                self.input(to, Input::PeerMessage { from, message });
                is_still = false;
            }
        }
    }

    fn input(&mut self, to: NodeId, input: Input) {
        let machine = self.machines.get_mut(&to).expect("one of three");
        machine.shard.handle(self.now, input);
        while let Some(output) = machine.shard.poll_output() {
            match output {
                Output::SendPeer { to: peer, message } => self.sent.push_back(Sent { from: to, to: peer, message }),
                Output::Reply { result, .. } => self.answer = Some(result.expect("nothing fails here")),
                Output::Store { id, operation } => machine.store.submit(id, operation),
                _ => {}
            }
        }
    }
}

/// Stores that are asked what the shards ask of them.
struct Stores {
    stores: [MemoryStore; 3],
    requests: u64,
    keys: Vec<Bytes>,
    value: Bytes,
}

impl Stores {
    fn new(bytes: usize) -> Self {
        let place = |number| layout::object(&key(&format!("user:{number:018}")));
        let mut stores = Self {
            stores: std::array::from_fn(|_| MemoryStore::new(SyncPolicy::OnFlush)),
            requests: 0,
            keys: (0..KEYS).map(place).collect(),
            value: Bytes::from(vec![0xa5; bytes]),
        };
        (0..KEYS).for_each(|_| stores.put());
        stores
    }

    fn put(&mut self) {
        let (number, key) = self.next();
        let partition = PartitionId::new((number % 8) as u16);
        let dot = Dot::new(Actor::new(node(1), Incarnation::new(1)), number);
        for store in &mut self.stores {
            read(store, key.clone());
            let mut batch = Batch { changes: Vec::with_capacity(3) };
            batch.put(Column::Objects, key.clone(), self.value.clone());
            batch.put(Column::Metadata, layout::clock(partition), self.value.clone());
            batch.put(Column::DotLog, layout::dot_log(partition, dot), key.clone());
            run(store, StoreOperation::Write { batch, durability: Durability::Buffered });
        }
        if self.requests.is_multiple_of(REQUESTS_PER_SYNC) {
            self.stores.iter_mut().for_each(MemoryStore::sync);
        }
    }

    fn get(&mut self) {
        let (_, key) = self.next();
        self.stores[..usize::from(QUORUM)].iter_mut().for_each(|store| read(store, key.clone()));
    }

    fn next(&mut self) -> (u64, Bytes) {
        self.requests += 1;
        (self.requests, self.keys[(self.requests % KEYS as u64) as usize].clone())
    }
}

fn read(store: &mut MemoryStore, key: Bytes) {
    run(store, StoreOperation::Read { column: Column::Objects, key });
}

fn run(store: &mut MemoryStore, operation: StoreOperation) {
    store.submit(OperationId(0), operation);
    store.flush();
    store.poll_completion().expect("a store in memory is at once done").1.expect("it does not fail");
}
