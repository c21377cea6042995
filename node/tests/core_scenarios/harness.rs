//! A few shards in one hand: every message and storage operation happens when the test says so, and time stands until it is moved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::handoff::hint::bounds::HintBounds;
use quorate_node::limits::{EXCHANGE_INTERVAL, TRANSFER_PAGE};
use quorate_node::membership::Pace;
use quorate_node::replica::{Recovered, layout};
use quorate_node::start::Standing;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Column, Storage};
use quorate_node::{Input, Output, SessionId, Shard, ShardConfig, Time};
use quorate_ring::layout::{Layout, Placement};
use quorate_ring::version::{Actor, ContextKey, ContextToken, Incarnation};
use quorate_ring::wire::{Durability, PeerMessage, Protocol, PutItem, Request, RequestError, RequestId, Response};
use quorate_ring::{
    BucketName, Capacity, Key, Member, NodeId, ObjectKey, PartitionCount, PartitionId, Position, Quorum, Ring, Value,
    WallTime,
};

/// What a client was told.
pub(crate) type Answer = Result<Response, RequestError>;

/// A message on its way.
pub(crate) struct Sent {
    /// Who sent it.
    pub(crate) from: NodeId,
    /// To whom.
    pub(crate) to: NodeId,
    /// What it says.
    pub(crate) message: PeerMessage,
}

/// A machine: one shard and its store.
pub(crate) struct Machine {
    /// The shard.
    pub(crate) shard: Shard,
    /// Its store.
    pub(crate) store: MemoryStore,
}

/// A cluster of nodes 1, 2, ... with N = 3 and majorities.
pub(crate) struct Cluster {
    /// Who owns what.
    pub(crate) ring: Arc<Ring>,
    /// The nodes.
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    /// Messages that are not delivered yet.
    pub(crate) sent: VecDeque<Sent>,
    /// Nodes whose messages, both ways, wait in `sent`: they seem silent.
    pub(crate) silent: BTreeSet<NodeId>,
    /// Nodes whose stores do nothing.
    pub(crate) stuck: BTreeSet<NodeId>,
    /// What nodes told whoever runs them: of losses, proofs and failures.
    pub(crate) told: Vec<(NodeId, Output)>,
    now: Time,
    requests: u64,
    answers: BTreeMap<RequestId, Vec<Answer>>,
}

/// How a request is made unless the test says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

impl Cluster {
    /// So many nodes, all connected.
    pub(crate) fn new(nodes: u32) -> Self {
        Self::with(nodes, |_| {})
    }

    /// The same, where some may have lost writes and have not caught up.
    pub(crate) fn with_incomplete(nodes: u32, incomplete: &[u32]) -> Self {
        let is_incomplete = |actor: Actor| incomplete.contains(&actor.node.number());
        Self::with(nodes, |config| {
            if is_incomplete(config.actor) {
                config.standing = Standing::Lost;
            }
        })
    }

    /// The same, each configured otherwise.
    pub(crate) fn with(nodes: u32, configure: impl Fn(&mut ShardConfig)) -> Self {
        let mut cluster = Self::apart(nodes, configure);
        cluster.connect_all();
        cluster
    }

    /// So many nodes, none connected to another.
    pub(crate) fn apart(nodes: u32, configure: impl Fn(&mut ShardConfig)) -> Self {
        Self::of_partitions(8, nodes, configure)
    }

    /// The same, of so many partitions.
    pub(crate) fn of_partitions(partitions: u32, nodes: u32, configure: impl Fn(&mut ShardConfig)) -> Self {
        let owners = (0..partitions).map(|partition| u16::try_from(partition % nodes).expect("few")).collect();
        let partitions = PartitionCount::new(partitions).expect("a power of two");
        let member = |number| Member { node: node(number), zone: None, capacity: Capacity::default() };
        let ring = Arc::new(Ring::new(partitions, 3, (1..=nodes).map(member).collect(), owners).expect("a ring"));
        Self::recovered(nodes, ring.clone(), configure, |_| (ring.clone().into(), Recovered::default()))
    }

    /// So many nodes, none connected to another, that go by this copy of the layout.
    pub(crate) fn with_layout(nodes: u32, layout: &Layout) -> Self {
        let recovered = || Recovered { layout: Some(layout.clone()), ..Recovered::default() };
        Self::recovered(nodes, layout.last().ring.clone(), |_| {}, |node| (layout.placement(node), recovered()))
    }

    fn recovered(
        nodes: u32,
        ring: Arc<Ring>,
        configure: impl Fn(&mut ShardConfig),
        recovered: impl Fn(NodeId) -> (Placement, Recovered),
    ) -> Self {
        let machine = |number| {
            let mut config = ShardConfig {
                actor: Actor::new(node(number), incarnation(node(number))),
                quorum: Quorum::majority(3).expect("valid"),
                durability: Durability::Buffered,
                context_key: ContextKey::new([1; 32]),
                shard: 0,
                shards: 1,
                standing: Standing::Proven,
                ancestors: BTreeSet::new(),
                seed: u64::from(number),
                wall: WallTime::default(),
                hints: HintBounds::default(),
                exchange_interval: EXCHANGE_INTERVAL,
                transfer_page: TRANSFER_PAGE,
                scrub: None,
                pace: Pace::default(),
            };
            configure(&mut config);
            let (placement, recovered) = recovered(node(number));
            let shard = Shard::new(config, placement.into(), recovered);
            (node(number), Machine { shard, store: MemoryStore::new(SyncPolicy::OnFlush) })
        };
        let machines = (1..=nodes).map(machine).collect();
        Self {
            ring,
            machines,
            sent: VecDeque::new(),
            silent: BTreeSet::new(),
            stuck: BTreeSet::new(),
            told: Vec::new(),
            now: Time::default(),
            requests: 0,
            answers: BTreeMap::new(),
        }
    }

    /// The nodes that hold a key, and one that does not, if there is one.
    pub(crate) fn primaries(&self, key: &ObjectKey) -> Vec<NodeId> {
        self.ring.primaries(self.partition(key)).collect()
    }

    /// A key's partition.
    pub(crate) fn partition(&self, key: &ObjectKey) -> PartitionId {
        self.ring.partition_of(Position::of(key))
    }

    /// Connects two nodes.
    pub(crate) fn connect(&mut self, one: NodeId, other: NodeId) {
        for (at, peer) in [(one, other), (other, one)] {
            self.input(at, Input::PeerConnected { peer, incarnation: incarnation(peer), protocol: Protocol::NEWEST });
        }
    }

    /// Connects all nodes with each other.
    pub(crate) fn connect_all(&mut self) {
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for (index, one) in nodes.iter().enumerate() {
            nodes[index + 1..].iter().for_each(|other| self.connect(*one, *other));
        }
        self.settle();
    }

    /// Breaks the connection between two nodes.
    pub(crate) fn disconnect(&mut self, one: NodeId, other: NodeId) {
        self.input(one, Input::PeerDisconnected(other));
        self.input(other, Input::PeerDisconnected(one));
    }

    /// Gives a node an input and takes its outputs. Its store's turn is done at once, unless it is stuck.
    pub(crate) fn input(&mut self, to: NodeId, input: Input) {
        let machine = self.machines.get_mut(&to).expect("a node");
        machine.shard.handle(self.now, input);
        while let Some(output) = machine.shard.poll_output() {
            match output {
                Output::SendPeer { to: peer, message } => {
                    assert_ne!(peer, to, "no node sends to itself");
                    self.sent.push_back(Sent { from: to, to: peer, message });
                }
                Output::Reply { id, result, .. } => self.answers.entry(id).or_default().push(result),
                Output::Store { id, operation } => machine.store.submit(id, operation),
                // A detector has nobody here who answers.
                Output::Datagram { .. } => {}
                _ => self.told.push((to, output)),
            }
        }
    }

    /// Lets all stores do what they were asked, and nothing be sent.
    pub(crate) fn settle_stores(&mut self) {
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for node in nodes {
            let store = &mut self.machines.get_mut(&node).expect("a node").store;
            store.flush();
            let done: Vec<_> = std::iter::from_fn(|| store.poll_completion()).collect();
            done.into_iter().for_each(|(id, result)| self.input(node, Input::Completed { id, result }));
        }
    }

    /// Lets everything happen that can: stores that are not stuck, messages of nodes that are not silent.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut still = true;
            let free: Vec<NodeId> = self.machines.keys().filter(|node| !self.stuck.contains(node)).copied().collect();
            for node in free {
                let store = &mut self.machines.get_mut(&node).expect("a node").store;
                store.flush();
                let done: Vec<_> = std::iter::from_fn(|| store.poll_completion()).collect();
                still &= done.is_empty();
                done.into_iter().for_each(|(id, result)| self.input(node, Input::Completed { id, result }));
            }
            let silent = &self.silent;
            let deliverable = |sent: &Sent| !silent.contains(&sent.from) && !silent.contains(&sent.to);
            if let Some(index) = self.sent.iter().position(deliverable) {
                let Sent { from, to, message } = self.sent.remove(index).expect("found");
                self.input(to, Input::PeerMessage { from, message });
                still = false;
            }
            if still {
                return self.check_idle();
            }
        }
    }

    /// A replica whose store has done all it was asked has nothing left that waits.
    fn check_idle(&self) {
        let free = self.machines.iter().filter(|(node, _)| !self.stuck.contains(node));
        free.for_each(|(node, machine)| assert_eq!(machine.shard.replica().waiting(), 0, "at {node}"));
    }

    /// Moves the time and tells everybody.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.input(node, Input::Time));
        self.settle();
    }

    /// Asks a node for something, and lets nothing else happen.
    pub(crate) fn begin(&mut self, at: NodeId, request: Request) -> RequestId {
        self.begin_part(at, request, None)
    }

    /// Asks a node for its part of a batch, and lets nothing else happen.
    pub(crate) fn begin_part(&mut self, at: NodeId, request: Request, indices: Option<Vec<u32>>) -> RequestId {
        let id = RequestId(self.requests);
        self.requests += 1;
        let timeout_millis = u32::try_from(TIMEOUT.as_millis()).expect("short");
        self.input(at, Input::ClientRequest { session: SessionId(1), id, timeout_millis, request, indices });
        id
    }

    /// What was answered, if anything was.
    pub(crate) fn answer(&mut self, id: RequestId) -> Option<Answer> {
        let mut answers = self.parts(id);
        assert!(answers.len() <= 1, "a request is answered once: {answers:?}");
        answers.pop()
    }

    /// All that was answered: a batch may be answered in parts.
    pub(crate) fn parts(&mut self, id: RequestId) -> Vec<Answer> {
        self.answers.remove(&id).unwrap_or_default()
    }

    /// A message from one node to another, outside all that they have sent so far.
    pub(crate) fn tell(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        self.input(to, Input::PeerMessage { from, message });
    }

    /// How many requests a node is working on.
    pub(crate) fn in_flight(&self, at: NodeId) -> usize {
        self.machines[&at].shard.in_flight()
    }

    /// Asks, lets everything happen, and takes the answer.
    pub(crate) fn ask(&mut self, at: NodeId, request: Request) -> Answer {
        let id = self.begin(at, request);
        self.settle();
        self.answer(id).expect("an answer without the passing of time")
    }

    /// Reads a key: its values as text, and the context.
    pub(crate) fn get(&mut self, at: NodeId, key: &ObjectKey, r: Option<u8>) -> (Vec<String>, ContextToken) {
        match self.ask(at, Request::Get { key: key.clone(), r, strict: true }) {
            Ok(Response::Found { values, context }) => (values.iter().map(text).collect(), context),
            other => panic!("a read was answered {other:?}"),
        }
    }

    /// Writes a key.
    pub(crate) fn put(&mut self, at: NodeId, key: &ObjectKey, value: &str, context: Option<ContextToken>) -> Answer {
        self.ask(at, put(key, value, context))
    }

    /// How many values a node stores of a key.
    pub(crate) fn stored(&self, at: NodeId, key: &ObjectKey) -> usize {
        let stored = self.machines[&at].store.value(Column::Objects, &layout::object(key));
        stored.map_or(0, |stored| layout::decode_container(stored).expect("decodes").siblings())
    }
}

/// A put of the cluster's default W.
pub(crate) fn put(key: &ObjectKey, value: &str, context: Option<ContextToken>) -> Request {
    let value = Value::new(Bytes::copy_from_slice(value.as_bytes())).expect("small");
    Request::Put {
        item: PutItem { key: key.clone(), value, context, ttl_millis: None },
        w: None,
        durability: None,
        strict: true,
    }
}

/// The incarnation that a node is, unless the test says otherwise.
pub(crate) fn incarnation(node: NodeId) -> Incarnation {
    Incarnation::new(u64::from(node.number()))
}

/// The node with this number.
pub(crate) fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("not 0")
}

/// The bucket of all keys.
pub(crate) fn bucket() -> BucketName {
    BucketName::new("b").expect("valid")
}

/// The key of this name.
pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(&bucket(), &Key::new(name.to_owned()).expect("valid"))
}

/// A value as text.
pub(crate) fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
