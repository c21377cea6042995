//! The run: threads and their turns, machines, and the way of a message.
//!
//! ```text
//!             work            a core is free          what its work costs has passed
//!   idle ───────────▶ ready ────────────────▶ in a turn ─────────────────────────────▶ idle, or ready if there is more work
//! ```
//!
//! A node has a thread for each shard; the first also has the sockets. It works on all that waits for it, up to [`WORK_MAX`] pieces. The core takes its
//! inputs at the beginning of a turn, and what it wants sent leaves at the end, one packet for each peer and client, as the runtime's
//! turns do (`node/src/runtime/turn.rs`): what it does in between is in `work`, what goes out together in `packet`. Another shard hands its packets to the first thread, which sends them.

mod packet;
mod phases;
mod work;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use quorate_node::handoff::hint::bounds::HintBounds;
use quorate_node::limits::{EXCHANGE_INTERVAL, TRANSFER_PAGE};
use quorate_node::replica::Recovered;
use quorate_node::shard::split::Slices;
use quorate_node::start::Standing;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::{Input, SessionId, Shard, ShardConfig, Time};
use quorate_ring::version::{Actor, ContextKey, Incarnation};
use quorate_ring::wire::{ClientMessage, Durability, NodeMessage, PeerMessage, Protocol};
use quorate_ring::{NodeId, PartitionCount, WallTime};

use self::packet::{Outboxes, Packet, Sending};
use super::generator::{Due, Generator, LOADERS};
use super::station::{Gauge, Station};
use super::times::{Amounts, Cost};
use super::{Extent, Hardware, Impossible, Load, Machines, Prediction};
use crate::engine::{describe, index_of, node_id};
use crate::node::pace;
use crate::queue::Queue;

/// As many partitions as a cluster has that was not told otherwise.
const PARTITIONS: u32 = 1_024;
/// Most pieces of work of one turn.
const WORK_MAX: usize = 256;
/// The one client.
const SESSION: SessionId = SessionId(1);
/// A run lasts at most this, from its first record on.
const LASTS_MAX: Duration = Duration::from_secs(60);

/// What happens.
enum Event {
    /// A thread has something to do.
    Work { thread: usize, work: Work },
    /// A thread's turn ends.
    Ends { thread: usize },
    /// A shard wants to be told the time, if this is the telling it waits for.
    Wake { thread: usize, at: Time },
    /// A request of the open loop is to begin.
    Arrival,
    /// A request wants to be looked at, if it is still under way.
    Look { request: u64 },
}

/// What a thread has to do.
enum Work {
    /// What a client has sent.
    FromClient(Packet<ClientMessage>),
    /// What a peer has sent.
    FromPeer(NodeId, Packet<PeerMessage>),
    /// Something for the core.
    Core(Box<Input>),
    /// What another shard wants sent.
    Send(Vec<Sending>),
    /// Time has passed.
    Time,
    /// What a node has sent to the client.
    FromNode(Packet<NodeMessage>),
    /// The client begins a request, or looks at one.
    Client(Due),
}

/// What a turn leaves to be done at its end.
#[derive(Default)]
struct Outcome {
    sendings: Vec<Sending>,
    /// For other threads of the node.
    handed: Vec<(usize, Input)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Ready,
    InTurn,
}

struct Thread {
    state: State,
    inbox: VecDeque<Work>,
    waiting: Gauge,
    /// On which machine.
    station: usize,
    busy: Gauge,
    /// What its turns have cost and not yet taken: less than a microsecond.
    owed: f64,
    outcome: Outcome,
}

/// A shard, and its store.
struct Held {
    shard: Shard,
    store: MemoryStore,
    has_written: bool,
    clock_at: Option<Time>,
    wakes_at: Option<Time>,
}

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Records are stored, and nothing costs anything.
    Loading,
    WarmUp,
    Measured,
}

/// A run under way.
pub(super) struct Cluster<'a> {
    hardware: &'a Hardware,
    load: &'a Load,
    extent: Extent,
    now: Time,
    queue: Queue<Event>,
    stations: Vec<Station<usize>>,
    /// Those of the nodes, one for each shard, and the client's as the last.
    threads: Vec<Thread>,
    held: Vec<Held>,
    slices: Slices,
    generator: Generator,
    phase: Phase,
    /// When it began.
    since: Time,
    /// How many requests were under way then.
    underway_before: u64,
    /// How much was done of everything since then.
    amounts: Amounts,
    /// What the turn has cost so far.
    charged: f64,
    outboxes: Outboxes,
    frame: Vec<u8>,
}

impl Thread {
    fn new(station: usize) -> Self {
        Self {
            state: State::Idle,
            inbox: VecDeque::new(),
            waiting: Gauge::default(),
            station,
            busy: Gauge::default(),
            owed: 0.0,
            outcome: Outcome::default(),
        }
    }
}

impl<'a> Cluster<'a> {
    pub(super) fn new(hardware: &'a Hardware, load: &'a Load, extent: Extent) -> Self {
        let (nodes, shards) = (hardware.nodes as usize, usize::from(hardware.shards));
        // A client elsewhere has a machine of its own, and its turns take no time.
        let (stations, client): (Vec<_>, _) = match hardware.machines {
            Machines::Own(cores) => {
                ((0..nodes).map(|_| cores).chain([NonZeroUsize::MIN]).map(Station::new).collect(), nodes)
            }
            Machines::Shared(cores) => (vec![Station::new(cores)], 0),
        };
        let station = |index: usize| if client == 0 { 0 } else { index / shards };
        let threads = (0..nodes * shards).map(station).chain([client]).map(Thread::new).collect();
        let partitions = PartitionCount::new(PARTITIONS).expect("a power of two");
        let description = describe(hardware.nodes, hardware.quorum.n(), partitions);
        let generator = Generator::new(description, load, extent.seed);
        let mut cluster = Self {
            hardware,
            load,
            extent,
            now: Time::default(),
            queue: Queue::default(),
            stations,
            threads,
            held: Vec::new(),
            slices: Slices::new(partitions, hardware.shards),
            generator,
            phase: Phase::Loading,
            since: Time::default(),
            underway_before: 0,
            amounts: Amounts::default(),
            charged: 0.0,
            outboxes: Outboxes::default(),
            frame: Vec::new(),
        };
        cluster.held = (0..nodes * shards).map(|thread| cluster.start(thread)).collect();
        cluster
    }

    fn start(&self, thread: usize) -> Held {
        let shards = usize::from(self.hardware.shards);
        let (node, index) = (thread / shards, thread % shards);
        let config = ShardConfig {
            actor: Actor::new(node_id(node), incarnation(node)),
            quorum: self.hardware.quorum,
            durability: Durability::Buffered,
            context_key: ContextKey::new([7; 32]),
            shard: u8::try_from(index).expect("as many as were asked for"),
            shards: self.hardware.shards,
            standing: Standing::Proven,
            ancestors: [].into(),
            seed: self.extent.seed.wrapping_add(thread as u64),
            wall: wall(self.now),
            hints: HintBounds::default(),
            exchange_interval: EXCHANGE_INTERVAL,
            transfer_page: TRANSFER_PAGE,
            scrub: None,
            pace: pace(),
        };
        let ring = Arc::new(self.generator.ring().clone());
        let shard = Shard::new(config, Arc::new(ring.into()), Recovered::default());
        let store = MemoryStore::new(SyncPolicy::OnFlush);
        Held { shard, store, has_written: false, clock_at: None, wakes_at: None }
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Result<Prediction, Impossible> {
        self.connect();
        (0..LOADERS).for_each(|_| self.give(self.client(), Work::Client(Due::Begin(self.now))));
        let limit = Time::default() + LASTS_MAX;
        while let Some((at, event)) = self.queue.pop(limit) {
            self.now = at;
            self.happen(event);
            if self.is_over() {
                break;
            }
        }
        self.predict()
    }

    /// All nodes know each other.
    fn connect(&mut self) {
        for thread in 0..self.held.len() {
            let node = self.node_of(thread);
            for peer in (0..self.hardware.nodes as usize).filter(|peer| *peer != node) {
                let (incarnation, protocol) = (incarnation(peer), Protocol::NEWEST);
                let input = Input::PeerConnected { peer: node_id(peer), incarnation, protocol };
                self.give(thread, Work::Core(Box::new(input)));
            }
        }
    }

    fn node_of(&self, thread: usize) -> usize {
        thread / usize::from(self.hardware.shards)
    }

    /// The thread of a node with the sockets.
    fn first_of(&self, node: NodeId) -> usize {
        index_of(node) * usize::from(self.hardware.shards)
    }

    const fn client(&self) -> usize {
        self.held.len()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Work { thread, work } => self.give(thread, work),
            Event::Ends { thread } => self.end_turn(thread),
            Event::Wake { thread, at } => {
                if self.held[thread].wakes_at == Some(at) {
                    self.held[thread].wakes_at = None;
                    self.give(thread, Work::Time);
                }
            }
            Event::Arrival => {
                let next = self.generator.next_arrival(self.now);
                self.queue.push(next, Event::Arrival);
                self.give(self.client(), Work::Client(Due::Begin(self.now)));
            }
            Event::Look { request } => {
                if self.generator.is_underway(request) {
                    self.give(self.client(), Work::Client(Due::Look(request)));
                }
            }
        }
    }

    /// A thread gets something to do.
    fn give(&mut self, thread: usize, work: Work) {
        let now = self.now;
        let given = &mut self.threads[thread];
        given.inbox.push_back(work);
        given.waiting.set(now, given.inbox.len() as u64);
        if given.state == State::Idle {
            self.want_core(thread);
        }
    }

    fn want_core(&mut self, thread: usize) {
        self.threads[thread].state = State::Ready;
        let station = self.threads[thread].station;
        if let Some(next) = self.stations[station].arrive(self.now, thread) {
            self.begin_turn(next);
        }
    }

    /// A thread has a core: it takes what waits for it.
    fn begin_turn(&mut self, index: usize) {
        let now = self.now;
        let thread = &mut self.threads[index];
        thread.state = State::InTurn;
        thread.busy.set(now, 1);
        let works: Vec<Work> = thread.inbox.drain(..thread.inbox.len().min(WORK_MAX)).collect();
        thread.waiting.set(now, thread.inbox.len() as u64);
        self.charged = 0.0;
        let is_client = index == self.client();
        self.charge(if is_client { Cost::ClientWake } else { Cost::NodeWake }, 1.0);
        if !is_client {
            self.tell_clock(index);
        }
        works.into_iter().for_each(|work| self.work(index, work));
        if !is_client {
            self.core(index, Input::Time);
            self.do_stored(index);
        }
        self.seal(index);
        let is_free = self.phase == Phase::Loading || is_client && matches!(self.hardware.machines, Machines::Own(_));
        let thread = &mut self.threads[index];
        thread.owed += if is_free { 0.0 } else { self.charged };
        let takes = thread.owed.floor();
        thread.owed -= takes;
        self.queue.push(now + Duration::from_micros(takes as u64), Event::Ends { thread: index });
    }

    /// A thread's turn has taken its time: what it sends leaves, and another may have the core.
    fn end_turn(&mut self, index: usize) {
        let now = self.now;
        let thread = &mut self.threads[index];
        thread.busy.set(now, 0);
        thread.state = State::Idle;
        let (station, outcome) = (thread.station, std::mem::take(&mut thread.outcome));
        let next = self.stations[station].leave(now);
        if !outcome.sendings.is_empty() {
            match self.holder_of_sockets(index) {
                holder if holder == index => outcome.sendings.into_iter().for_each(|sending| self.send(index, sending)),
                holder => self.give(holder, Work::Send(outcome.sendings)),
            }
        }
        for (thread, input) in outcome.handed {
            self.give(thread, Work::Core(Box::new(input)));
        }
        if index != self.client() {
            self.schedule_wake(index);
        }
        if self.threads[index].state == State::Idle && !self.threads[index].inbox.is_empty() {
            self.want_core(index);
        }
        if let Some(next) = next {
            self.begin_turn(next);
        }
    }

    /// The thread through which another one sends.
    fn holder_of_sockets(&self, thread: usize) -> usize {
        if thread == self.client() { thread } else { self.first_of(node_id(self.node_of(thread))) }
    }

    fn schedule_wake(&mut self, thread: usize) {
        let held = &mut self.held[thread];
        let Some(deadline) = held.shard.next_deadline() else { return };
        let at = deadline.max(self.now);
        if held.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            held.wakes_at = Some(at);
            self.queue.push(at, Event::Wake { thread, at });
        }
    }
}

fn incarnation(node: usize) -> Incarnation {
    Incarnation::new(node as u64 + 1)
}

fn wall(now: Time) -> WallTime {
    WallTime::from_millis(1_700_000_000_000 + now.as_micros() / 1_000)
}
