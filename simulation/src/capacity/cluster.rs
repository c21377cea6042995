//! The run: threads and their turns, machines, and the way of a message.
//!
//! ```text
//!             work            a core is free          what its work costs has passed
//!   idle ───────────▶ ready ────────────────▶ in a turn ─────────────────────────────▶ idle, or ready if there is more work
//! ```
//!
//! A node has a thread for each shard; the first also has the sockets. It works on all that waits for it, up to [`WORK_MAX`] pieces. The core takes its
//! inputs at the beginning of a turn, and what it wants sent leaves at the end, one packet for each peer and client, as the runtime's
//! turns do (`node/src/runtime/turn.rs`). Another shard hands its packets to the first thread, which sends them.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use quorate_node::handoff::hint::bounds::HintBounds;
use quorate_node::limits::{EXCHANGE_INTERVAL, TRANSFER_PAGE};
use quorate_node::replica::Recovered;
use quorate_node::shard::split::{self, Slices};
use quorate_node::start::Standing;
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Change, Operation, Storage as _};
use quorate_node::{Input, Output, SessionId, Shard, ShardConfig, Time};
use quorate_ring::version::{Actor, ContextKey, Incarnation};
use quorate_ring::wire::{ClientMessage, Durability, NodeMessage, PeerMessage, Protocol, frame};
use quorate_ring::{NodeId, PartitionCount, WallTime};
use serde::Serialize;

use super::generator::{Due, Generator, LOADERS, Tally};
use super::station::{Gauge, Station};
use super::times::{Amounts, Cost};
use super::{Arrivals, Extent, Hardware, Impossible, Latency, Load, Machines, Prediction};
use crate::engine::{describe, index_of, node_id};
use crate::node::pace;
use crate::queue::Queue;

/// As many partitions as a cluster has that was not told otherwise.
const PARTITIONS: u32 = 1_024;
/// Most pieces of work of one turn.
const WORK_MAX: usize = 256;
/// The one client.
const SESSION: SessionId = SessionId(1);
/// How often a shard is told the wall clock, and its store synced.
const CLOCK_INTERVAL: Duration = Duration::from_millis(100);
/// What is measured lasts at least this,
const MEASURED_MIN: Duration = Duration::from_millis(100);
/// and with what comes before it at most this.
const LASTS_MAX: Duration = Duration::from_secs(60);
/// Of the requests that are measured, this part comes before them, until the cluster is as it stays.
const WARM_UP_PART: u32 = 4;
/// Where more requests than that are under way at once, and fewer have ended, the run has shown what it can.
const UNDERWAY_MAX: u64 = 20_000;
/// Of the requests that end in an open loop, this part and a few more may be added to those under way: by chance, not by a queue that grows.
const GROWTH_MAX: f64 = 0.03;
const GROWTH_SLACK: f64 = 20.0;
/// On its way while records are stored.
const LOADING_NETWORK: Duration = Duration::from_micros(1);

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

/// Messages that go together.
struct Packet<M> {
    messages: Vec<M>,
    bytes: usize,
}

/// A packet on its way out, by who receives it.
enum Sending {
    Peer(NodeId, Packet<PeerMessage>),
    Client(Packet<NodeMessage>),
    Node(NodeId, Packet<ClientMessage>),
}

/// What a turn leaves to be done at its end.
#[derive(Default)]
struct Outcome {
    sendings: Vec<Sending>,
    /// For other threads of the node.
    handed: Vec<(usize, Input)>,
}

/// What is collected in a turn: one packet for each receiver.
#[derive(Default)]
struct Outboxes {
    peers: BTreeMap<NodeId, Packet<PeerMessage>>,
    client: Packet<NodeMessage>,
    nodes: BTreeMap<NodeId, Packet<ClientMessage>>,
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

impl<M> Default for Packet<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), bytes: 0 }
    }
}

impl<M> Packet<M> {
    fn push(&mut self, message: M, bytes: usize) {
        self.messages.push(message);
        self.bytes += bytes;
    }
}

impl Sending {
    const fn bytes(&self) -> usize {
        match self {
            Self::Peer(_, packet) => packet.bytes,
            Self::Client(packet) => packet.bytes,
            Self::Node(_, packet) => packet.bytes,
        }
    }
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

    /// Goes from phase to phase, and says whether the last is over.
    fn is_over(&mut self) -> bool {
        let (answered, lasted) = (self.generator.tally.ended(), self.now.since(self.since));
        match self.phase {
            Phase::Loading if self.generator.is_loaded() => {
                self.enter(Phase::WarmUp);
                self.begin_load();
            }
            Phase::WarmUp if u64::from(self.extent.requests / WARM_UP_PART) <= answered => self.enter(Phase::Measured),
            Phase::Measured => {
                return u64::from(self.extent.requests) <= answered && MEASURED_MIN <= lasted || self.is_flooded();
            }
            Phase::Loading | Phase::WarmUp => {}
        }
        self.is_flooded()
    }

    /// Whether requests come so much faster than they end that the run can be left.
    fn is_flooded(&self) -> bool {
        let underway = self.generator.underway();
        self.load.arrivals.rate().is_some() && UNDERWAY_MAX.max(self.generator.ended()) < underway
    }

    /// Whether what waits grows without end.
    fn is_saturated(&self) -> bool {
        let grown = self.generator.underway().saturating_sub(self.underway_before) as f64;
        let allowed = GROWTH_MAX * self.generator.tally.ended() as f64 + GROWTH_SLACK;
        self.load.arrivals.rate().is_some() && allowed < grown
    }

    /// What is counted, counts from now on.
    fn enter(&mut self, phase: Phase) {
        let now = self.now;
        (self.phase, self.since, self.amounts) = (phase, now, Amounts::default());
        self.underway_before = self.generator.underway();
        self.generator.tally = Tally::default();
        self.stations.iter_mut().for_each(|station| station.busy.restart(now));
        for thread in &mut self.threads {
            thread.busy.restart(now);
            thread.waiting.restart(now);
        }
    }

    fn begin_load(&mut self) {
        match self.load.arrivals {
            Arrivals::Closed(clients) => {
                (0..clients.get()).for_each(|_| self.give(self.client(), Work::Client(Due::Begin(self.now))));
            }
            Arrivals::Poisson(_) | Arrivals::Steady(_) => self.queue.push(self.now, Event::Arrival),
        }
    }

    fn predict(&self) -> Result<Prediction, Impossible> {
        let (now, tally) = (self.now, &self.generator.tally);
        let (lasted, ended) = (now.since(self.since), tally.ended().max(1) as f64);
        if tally.latencies.is_empty() && !self.is_saturated() {
            return Err(Impossible::Silent(LASTS_MAX));
        }
        let rate = tally.latencies.len() as f64 / lasted.as_secs_f64().max(1e-6);
        let machines = match self.hardware.machines {
            Machines::Own(_) => &self.stations[..self.hardware.nodes as usize],
            Machines::Shared(_) => &self.stations[..],
        };
        let utilisations = machines.iter().map(|station| station.busy.mean(now) / station.cores() as f64);
        let threads = &self.threads[..self.client()];
        let amounts = self.amounts.map(|amount| amount / ended);
        let (cpu_micros_nodes, cpu_micros_client) = self.hardware.times.of(&amounts);
        Ok(Prediction {
            rate,
            failed: tally.failed as f64 / ended,
            saturated: self.is_saturated(),
            utilisation: utilisations.clone().sum::<f64>() / machines.len() as f64,
            utilisation_max: utilisations.fold(0.0, f64::max),
            thread_utilisation_max: threads.iter().map(|thread| thread.busy.mean(now)).fold(0.0, f64::max),
            queue: threads.iter().map(|thread| thread.waiting.mean(now)).sum::<f64>() / f64::from(self.hardware.nodes),
            latency_micros: Latency::of(&tally.latencies),
            cpu_micros_nodes,
            cpu_micros_client,
            amounts,
        })
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

    fn charge(&mut self, cost: Cost, amount: f64) {
        self.amounts[cost as usize] += amount;
        self.charged += self.hardware.times.micros[cost as usize] * amount;
    }

    fn charge_packet(&mut self, thread: usize, bytes: usize) {
        let is_client = thread == self.client();
        let (packet, kib) =
            if is_client { (Cost::ClientPacket, Cost::ClientKib) } else { (Cost::NodePacket, Cost::NodeKib) };
        self.charge(packet, 1.0);
        self.charge(kib, kibs(bytes));
    }

    fn work(&mut self, thread: usize, work: Work) {
        match work {
            Work::FromClient(packet) => {
                self.charge_packet(thread, packet.bytes);
                packet.messages.into_iter().for_each(|message| self.requested(thread, message));
            }
            Work::FromPeer(from, packet) => {
                self.charge_packet(thread, packet.bytes);
                packet.messages.into_iter().for_each(|message| self.told(thread, from, message));
            }
            Work::Core(input) => self.core(thread, *input),
            Work::Send(sendings) => {
                sendings.iter().for_each(|sending| self.charge_packet(thread, sending.bytes()));
                self.threads[thread].outcome.sendings.extend(sendings);
            }
            Work::Time => {}
            Work::FromNode(packet) => {
                self.charge_packet(thread, packet.bytes);
                packet.messages.into_iter().for_each(|message| self.generator.handle_answer(self.now, message));
                self.asked();
            }
            Work::Client(due) => {
                self.generator.handle_due(self.now, due);
                self.asked();
            }
        }
    }

    /// A client's request is dealt to the shards of its node.
    fn requested(&mut self, thread: usize, message: ClientMessage) {
        self.charge(Cost::Request, 1.0);
        let ClientMessage { id, timeout_millis, request } = message;
        for (shard, request, indices) in self.slices.split(request) {
            let input = Input::ClientRequest { session: SESSION, id, timeout_millis, request, indices };
            self.deal(thread, shard, input);
        }
    }

    /// A peer's message is given to the shard that it is for.
    fn told(&mut self, thread: usize, from: NodeId, message: PeerMessage) {
        self.charge(cost_of(&message), 1.0);
        if split::is_for_every_shard(&message) {
            for shard in 0..self.hardware.shards {
                self.deal(thread, shard, Input::PeerMessage { from, message: message.clone() });
            }
            return;
        }
        let shard = self.slices.shard_of_message(&message);
        self.deal(thread, shard, Input::PeerMessage { from, message });
    }

    fn deal(&mut self, first: usize, shard: u8, input: Input) {
        match shard {
            0 => self.core(first, input),
            shard => self.threads[first].outcome.handed.push((first + usize::from(shard), input)),
        }
    }

    fn tell_clock(&mut self, thread: usize) {
        let now = self.now;
        let held = &mut self.held[thread];
        if held.clock_at.is_none_or(|at| CLOCK_INTERVAL <= now.since(at)) {
            held.clock_at = Some(now);
            held.store.sync();
            self.core(thread, Input::WallClock(wall(now)));
        }
    }

    /// The core takes an input, and what it wants done is done or collected.
    fn core(&mut self, thread: usize, input: Input) {
        self.held[thread].shard.handle(self.now, input);
        while let Some(output) = self.held[thread].shard.poll_output() {
            match output {
                Output::SendPeer { to, message } => {
                    let bytes = self.bytes_of(&message);
                    self.charge(cost_of(&message), 1.0);
                    self.outboxes.peers.entry(to).or_default().push(message, bytes);
                }
                Output::Reply { id, result, .. } => {
                    let message = NodeMessage { id, result };
                    let bytes = self.bytes_of(&message);
                    self.charge(Cost::Answer, 1.0);
                    self.outboxes.client.push(message, bytes);
                }
                Output::Store { id, operation } => {
                    self.charge_operation(thread, &operation);
                    self.held[thread].store.submit(id, operation);
                }
                // Of changes of the members, faults and failed disks, which there are none of here.
                Output::Datagram { .. }
                | Output::CaughtUp
                | Output::LossFound { .. }
                | Output::Proven
                | Output::Placement(_)
                | Output::Progress(_)
                | Output::Standings(_)
                | Output::StorageFailed { .. } => {}
            }
        }
    }

    fn charge_operation(&mut self, thread: usize, operation: &Operation) {
        match operation {
            Operation::Read { .. } | Operation::Scan(_) => self.charge(Cost::StoreRead, 1.0),
            Operation::Lookup { keys, .. } => self.charge(Cost::StoreRead, keys.len() as f64),
            Operation::Write { batch, .. } => {
                if !std::mem::replace(&mut self.held[thread].has_written, true) {
                    self.charge(Cost::StoreBatch, 1.0);
                }
                self.charge(Cost::StoreWrite, 1.0);
                self.charge(Cost::StoreKib, kibs(batch.changes.iter().map(bytes_of_change).sum()));
            }
        }
    }

    /// The store does what was submitted, and the core hears of it, until nothing more is done at once.
    fn do_stored(&mut self, thread: usize) {
        loop {
            let held = &mut self.held[thread];
            held.store.flush();
            held.has_written = false;
            let completions: Vec<_> = std::iter::from_fn(|| held.store.poll_completion()).collect();
            if completions.is_empty() {
                return;
            }
            completions.into_iter().for_each(|(id, result)| self.core(thread, Input::Completed { id, result }));
        }
    }

    /// What the client wants sent is collected, and what it wants to be reminded of is noted.
    fn asked(&mut self) {
        for _ in 0..std::mem::take(&mut self.generator.begun) {
            self.charge(Cost::ClientOperation, 1.0);
        }
        for (to, message) in std::mem::take(&mut self.generator.sends) {
            let bytes = self.bytes_of(&message);
            self.outboxes.nodes.entry(to).or_default().push(message, bytes);
        }
        for (at, request) in std::mem::take(&mut self.generator.looks) {
            self.queue.push(at.max(self.now), Event::Look { request });
        }
    }

    /// Makes packets of what was collected in a turn. Who has the sockets is charged for them.
    fn seal(&mut self, thread: usize) {
        let Outboxes { peers, client, nodes } = std::mem::take(&mut self.outboxes);
        let peers = peers.into_iter().map(|(to, packet)| Sending::Peer(to, packet));
        let nodes = nodes.into_iter().map(|(to, packet)| Sending::Node(to, packet));
        let client = (!client.messages.is_empty()).then_some(Sending::Client(client));
        let sealed: Vec<Sending> = peers.chain(nodes).chain(client).collect();
        if self.holder_of_sockets(thread) == thread {
            sealed.iter().for_each(|sending| self.charge_packet(thread, sending.bytes()));
        }
        self.threads[thread].outcome.sendings.extend(sealed);
    }

    /// A packet goes on its way.
    fn send(&mut self, from: usize, sending: Sending) {
        let (thread, work) = match sending {
            Sending::Peer(to, packet) => (self.first_of(to), Work::FromPeer(node_id(self.node_of(from)), packet)),
            Sending::Node(to, packet) => (self.first_of(to), Work::FromClient(packet)),
            Sending::Client(packet) => (self.client(), Work::FromNode(packet)),
        };
        let takes = if self.phase == Phase::Loading { LOADING_NETWORK } else { self.hardware.network.duration() };
        self.queue.push(self.now + takes, Event::Work { thread, work });
    }

    fn bytes_of(&mut self, message: &impl Serialize) -> usize {
        self.frame.clear();
        frame::encode(message, &mut self.frame).expect("values are checked to be of a size that fits")
    }
}

fn cost_of(message: &PeerMessage) -> Cost {
    match message {
        PeerMessage::Replicate { .. } => Cost::Replicate,
        PeerMessage::ReplicateReply { .. } => Cost::Replicated,
        PeerMessage::Read { .. } => Cost::Read,
        PeerMessage::ReadReply { .. } => Cost::ReadAnswer,
        _ => Cost::Other,
    }
}

fn bytes_of_change(change: &Change) -> usize {
    match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { key, .. } => key.len(),
        Change::DeleteRange { from, until, .. } => from.len() + until.len(),
    }
}

fn kibs(bytes: usize) -> f64 {
    bytes as f64 / 1_024.0
}

fn incarnation(node: usize) -> Incarnation {
    Incarnation::new(node as u64 + 1)
}

fn wall(now: Time) -> WallTime {
    WallTime::from_millis(1_700_000_000_000 + now.as_micros() / 1_000)
}
