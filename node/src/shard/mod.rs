//! One shard of a node: the deterministic state machine that everything else drives.
//!
//! Drive it so: [`Shard::handle`] one input, then [`Shard::poll_output`] until there is none; before the next input, have the storage
//! operations done or under way and the messages on their way. When [`Shard::next_deadline`] has passed, handle
//! [`Input::Time`]. Same inputs, same outputs, to the byte: nothing here reads a clock or draws a number of its own.
//!
//! It does not know connections, frames, threads or files; it does not hold partitions of other shards.

mod anti_entropy;
mod background;
mod coordination;
mod counters;
mod hints;
mod interface;
mod layout;
mod looks;
mod peers;
mod placement;
mod reads;
mod reports;
mod requests;
mod scrub;
mod sharing;
mod silence;
pub mod split;
mod standings;
mod wall_clock;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use quorate_ring::layout::Placement;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{PeerMessage, RequestError, Response, SyncMessage};
use quorate_ring::{NodeId, PartitionId};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use self::coordination::{Coordination, PageQuestion};
pub use self::counters::Counters;
pub use self::interface::{Input, Output, SessionId, ShardConfig};
pub use self::layout::Progress;
use self::sharing::{held, shared, sharing};
use self::wall_clock::WallClock;
use crate::Time;
use crate::admission::hedge::HedgeBudget;
use crate::admission::limit::{Kind, Limit};
use crate::admission::pacer::Pacer;
use crate::admission::ranking::Peers;
use crate::admission::share::Shares;
use crate::admission::waiting::Waiting;
use crate::anti_entropy::AntiEntropy;
use crate::coordinator::asking::Asking;
use crate::coordinator::read::Read;
use crate::coordinator::{CoordinationId, ReplyTo};
use crate::handoff::hint::Hints;
use crate::handoff::hint::store::HintStore;
use crate::limits::TIMEOUT_MAX;
use crate::membership;
use crate::membership::keeper::Keeper;
use crate::replica::{Recovered, Replica};
use crate::scrub::Scrub;
use crate::start::Standing;
use crate::storage::{Completion, OperationId, Owner, StorageError};

/// What a shard does when a time has come. One that fires for something that is over is stale and does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A request's deadline, or a read's time to ask one more replica.
    Request(CoordinationId),
    /// Something about hints is due: the end of a pause, or of the wait for an answer.
    Hints,
    /// Somebody may have been silent for too long.
    Silence,
    /// To compare clocks with a peer.
    AntiEntropy,
    /// To prune the log of dots of some more partitions.
    Prune,
    /// The budget may allow background work that waits.
    Background,
    /// To tell a peer which copy of the layout is here.
    Layout,
    /// To read the next page of the sweep, to mend a key, or an answer about either is too late.
    Scrub,
    /// The failure detector has to ask somebody, or has waited long enough.
    Detector,
}

/// One shard of a node. See the module's head for how to drive it.
pub struct Shard {
    config: ShardConfig,
    placement: Arc<Placement>,
    changing: placement::Changing,
    keeping: layout::Keeping,
    replica: Replica,
    coordinations: BTreeMap<CoordinationId, Coordination>,
    coordination_next: u64,
    timers: BTreeSet<(Time, Timer)>,
    wall: WallClock,
    connected: BTreeSet<NodeId>,
    /// The last epoch that each peer's writes go by, as it has told on the connection that is up.
    writes_by: BTreeMap<NodeId, u64>,
    /// Writes and questions by an epoch that this shard has not heard of, with whom they came from.
    parked: Vec<(NodeId, PeerMessage)>,
    /// Of the peers that were asked something, and have said nothing since.
    silences: BTreeMap<NodeId, silence::Silence>,
    /// When the timer is set that finds them.
    silence_timer: Option<Time>,
    detection: standings::Detection,
    /// What is thought of the other nodes.
    standings: Arc<BTreeMap<NodeId, membership::Standing>>,
    /// Of these, who is suspected or down, and has not been heard by this shard since that was found.
    doubts: BTreeMap<NodeId, membership::Standing>,
    hints: Hints,
    /// When the timer for hints is set.
    hints_timer: Option<Time>,
    /// The peers that share a partition with this node and have not yet said which incarnations of it they have met, while the
    /// store is [`Standing::Unproven`].
    unheard: BTreeSet<NodeId>,
    /// Which incarnations of each peer this node has met.
    known: BTreeMap<NodeId, Vec<Incarnation>>,
    anti_entropy: AntiEntropy,
    /// How quickly each node answers reads.
    ranking: Peers,
    hedges: HedgeBudget,
    /// How many requests are worked on at once.
    limit: Limit,
    /// Who has how many of them. A batch is its items.
    shares: Shares,
    /// Reads that have been answered and wait for those who have not, to repair them.
    lingering: BTreeSet<CoordinationId>,
    /// Bytes of the values that the requests hold.
    held_bytes: usize,
    pacer: Pacer,
    /// What waits for the pacer's budget.
    background: Waiting<SyncMessage>,
    /// When the timer is set for it.
    background_timer: Option<Time>,
    scrub: Scrub,
    random: ChaCha8Rng,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Shard {
    /// A shard as its store left it.
    pub fn new(config: ShardConfig, placement: Arc<Placement>, recovered: Recovered) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        // Numbers of questions start at a random point: an answer to a question of this node's last process, should one get through,
        // is then a stranger's.
        let start = u64::from(config.shard) << Self::EXCHANGE_SHARD_SHIFT | u64::from(random.random::<u32>()) << 16;
        let slices = split::Slices::new(placement.partitions(), config.shards);
        let tenures = ChaCha8Rng::seed_from_u64(random.random());
        let hints = HintStore::new(config.actor.node, placement.clone(), (slices, config.shard), config.hints, tenures);
        let mut hints = Hints::new(hints);
        let logged: Vec<PartitionId> = recovered.clocks.keys().copied().collect();
        let held = held(&placement, &config);
        let anti_entropy = AntiEntropy::new(shared(&placement, config.actor.node, &held));
        let scrub = Scrub::new(config.scrub, &held, random.random());
        // What was released, and not yet removed when the last process ended, is removed now.
        let left: Vec<PartitionId> = logged.iter().filter(|partition| !held.contains(partition)).copied().collect();
        let own = recovered.tenures.into_iter().filter(|(_, (of, _))| *of == config.actor.incarnation);
        let regained = own.map(|(partition, (_, incarnation))| (partition, incarnation)).collect();
        let mut replica = Replica::new(config.actor, placement.partitions(), held, recovered.clocks, regained);
        left.into_iter().for_each(|partition| replica.release(partition, Incarnation::new(random.random())));
        replica.set_wall(config.wall);
        hints.store.set_wall(config.wall);
        // Of a generator of its own, so that whether there is a detector shifts nothing else.
        let mut own = ChaCha8Rng::seed_from_u64(config.seed);
        own.set_stream(DETECTOR_STREAM);
        let detection = standings::Detection::new(own.random());
        let unheard = sharing(&placement, config.actor.node);
        let keeper = recovered.layout.map(|layout| Keeper::new(config.actor.node, layout, config.shards));
        let mut shard = Self {
            wall: WallClock::new(config.wall),
            config,
            placement,
            changing: placement::Changing::default(),
            keeping: layout::Keeping::of(keeper),
            replica,
            coordinations: BTreeMap::new(),
            coordination_next: start,
            timers: BTreeSet::new(),
            connected: BTreeSet::new(),
            writes_by: BTreeMap::new(),
            parked: Vec::new(),
            silences: BTreeMap::new(),
            silence_timer: None,
            detection,
            standings: Arc::default(),
            doubts: BTreeMap::new(),
            hints,
            hints_timer: None,
            known: recovered.known,
            unheard,
            anti_entropy,
            ranking: Peers::default(),
            hedges: HedgeBudget::default(),
            limit: Limit::default(),
            shares: Shares::default(),
            lingering: BTreeSet::new(),
            held_bytes: 0,
            pacer: Pacer::default(),
            background: Waiting::default(),
            background_timer: None,
            scrub,
            random,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        };
        if shard.config.standing == Standing::Proven {
            shard.trust_store();
        }
        shard.prove();
        shard.check_complete();
        shard.anti_entropy.watermarks.note_logged(logged.into_iter());
        shard
    }

    const EXCHANGE_SHARD_SHIFT: u32 = 56;

    /// Which shard of the asking node a question was asked by, from its number in an answer.
    pub const fn shard_of_exchange(exchange: quorate_ring::wire::ExchangeId) -> u8 {
        (exchange.0 >> Self::EXCHANGE_SHARD_SHIFT) as u8
    }

    /// Which shard of the node it is.
    pub const fn number(&self) -> u8 {
        self.config.shard
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input) {
        if let Input::WallClock(reading) = input {
            self.wall.handle_reading(now, reading);
        }
        let wall = self.wall.advance(now);
        self.replica.set_wall(wall);
        self.hints.store.set_wall(wall);
        self.begin_scrub(now);
        self.fire(now);
        match input {
            Input::ClientRequest { session, id, timeout_millis, request, indices } => {
                let reply_to = ReplyTo::Client { session, request: id };
                self.handle_request(now, reply_to, timeout_millis, request, indices);
            }
            Input::PeerMessage { from, message } => {
                self.note_heard(now, from);
                self.handle_peer_message(now, from, message);
            }
            Input::PeerConnected { peer, incarnation, protocol } => {
                self.keeping.protocols.insert(peer, protocol);
                self.handle_connected(now, peer, incarnation);
            }
            Input::PeerDisconnected(peer) => self.handle_disconnected(now, peer),
            Input::Completed { id, result } => self.handle_completion(now, id, result),
            Input::Datagram { from, datagram } => self.handle_datagram(now, from, &datagram),
            Input::Standings(standings) => self.handle_standings(now, standings),
            Input::Placement(placement) => self.handle_placement(now, placement),
            Input::Progress { shard, progress } => self.handle_progress(shard, progress),
            Input::WallClock(_) | Input::Time => {}
        }
        self.drain(now);
        self.drive_deliveries(now);
        self.drain(now);
        self.drive_changing(now);
        self.drive_layout(now);
        self.drive_detector(now);
        self.note_asked(now);
    }

    /// Passes on all that the replica side and the hints have to tell: one may ask the other.
    fn drain(&mut self, now: Time) {
        self.drain_replica(now);
        while self.drain_hints(now) {
            self.drain_replica(now);
        }
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the shard next wants to be told the time, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// A storage operation is done: whoever of the shard asked for it takes the outcome.
    fn handle_completion(&mut self, now: Time, id: OperationId, result: Result<Completion, StorageError>) {
        if let Err(StorageError::Poisoned { reason }) = &result {
            self.replica.poison(reason.clone());
        }
        match id.owner() {
            Owner::Replica => self.replica.handle_completion(now, id, result),
            Owner::Hints => self.hints.store.handle_completion(now, id, result),
            Owner::AntiEntropy => self.looked_up(now, id, result),
            // It asks by way of the replica side.
            Owner::Scrub => {}
            Owner::Layout => self.layout_stored(now, result),
        }
    }

    fn own(&self) -> NodeId {
        self.config.actor.node
    }

    fn deadline(now: Time, timeout_millis: u32) -> Time {
        now + Duration::from_millis(u64::from(timeout_millis)).min(TIMEOUT_MAX)
    }

    /// A number that no other question of this shard has.
    fn next_number(&mut self) -> u64 {
        self.coordination_next += 1;
        self.coordination_next - 1
    }

    fn begin(&mut self, coordination: Coordination) -> CoordinationId {
        let id = CoordinationId(self.next_number());
        if !matches!(coordination, Coordination::Batch(_)) {
            self.shares.begin(coordination.reply_to().party());
        }
        self.coordinations.insert(id, coordination);
        id
    }

    /// Lets every timer fire whose time has come.
    fn fire(&mut self, now: Time) {
        while let Some((time, timer)) = self.timers.first().copied() {
            if now < time {
                break;
            }
            self.timers.remove(&(time, timer));
            match timer {
                Timer::Request(id) => self.handle_request_timer(now, id),
                // What is due is found after the input that comes with the time.
                Timer::Hints => self.hints_timer = self.hints_timer.filter(|set| *set != time),
                Timer::Silence => self.handle_silence_timer(now),
                Timer::AntiEntropy => self.handle_anti_entropy_timer(now),
                Timer::Prune => self.prune_some(now),
                Timer::Background => self.handle_background_timer(now),
                Timer::Scrub => self.handle_scrub_timer(now),
                Timer::Detector => self.handle_detector_timer(now, time),
                // What is due is found after the input that comes with the time.
                Timer::Layout => {}
            }
        }
    }

    fn set_timer(&mut self, at: Time, request: CoordinationId) {
        self.timers.insert((at, Timer::Request(request)));
    }

    fn handle_request_timer(&mut self, now: Time, id: CoordinationId) {
        match self.coordinations.get_mut(&id) {
            Some(Coordination::Get(Read { deadline, .. }) | Coordination::Page(Read { deadline, .. }))
                if now < *deadline =>
            {
                self.hedge(now, id);
            }
            Some(Coordination::Get(read)) => {
                let step = read.handle_deadline();
                self.give_up(now, id);
                self.get_step(now, id, step);
            }
            Some(Coordination::Page(read)) => {
                let step = read.handle_deadline();
                self.give_up(now, id);
                self.page_step(now, id, step);
            }
            Some(Coordination::Write(write)) => {
                let step = write.handle_deadline();
                self.end_write(now, id, step);
            }
            Some(Coordination::Forward(forward)) => {
                let (node, primary) = (self.config.actor.node, forward.primary);
                self.finish(id, Err(RequestError::ForwardLost { node, primary }));
            }
            Some(Coordination::Batch(_)) | None => {}
        }
    }

    /// A read does not wait any longer: how long those who have not answered took is known to be so much at least.
    fn give_up(&mut self, now: Time, id: CoordinationId) {
        let asking = self.coordinations.get_mut(&id).and_then(Coordination::asking_mut);
        for (node, asked_at) in asking.map(Asking::settle_all).unwrap_or_default() {
            self.ranking.handle_given_up(now, node, asked_at);
        }
    }

    /// A request that was coordinated here has its answer.
    fn note_answered(&mut self, now: Time, kind: Kind, begun: Time, is_ok: bool) {
        let took = now.since(begun);
        self.pacer.handle_answered(now, took);
        if is_ok {
            self.limit.handle_answered(now, &self.shares, kind, took);
        }
    }

    /// Ends a request with its answer.
    fn finish(&mut self, id: CoordinationId, result: Result<Response, RequestError>) {
        let Some(coordination) = self.end(id) else { return };
        self.reply(coordination.reply_to(), result);
    }

    /// Ends a request whose client has its answer.
    fn end(&mut self, id: CoordinationId) -> Option<Coordination> {
        let mut coordination = self.coordinations.remove(&id)?;
        if !self.lingering.remove(&id) && !matches!(coordination, Coordination::Batch(_)) {
            self.shares.end(coordination.reply_to().party());
        }
        self.held_bytes -= coordination.bytes_mut().map_or(0, |bytes| *bytes);
        if let Some(deadline) = coordination.deadline() {
            self.timers.remove(&(deadline, Timer::Request(id)));
        }
        if let Some(asking) = coordination.asking_mut() {
            asking.timer.map(|at| self.timers.remove(&(at, Timer::Request(id))));
            asking.settle_all().into_iter().for_each(|(node, _)| self.ranking.handle_settled(node));
        }
        Some(coordination)
    }

    fn reply(&mut self, reply_to: ReplyTo, result: Result<Response, RequestError>) {
        match reply_to {
            ReplyTo::Client { session, request: id } => {
                self.counters.errors += u64::from(result.is_err());
                self.outputs.push_back(Output::Reply { session, id, result });
            }
            ReplyTo::Peer { node, exchange } => {
                self.send(node, PeerMessage::ForwardReply { exchange, result });
            }
            ReplyTo::Batch { batch, index, .. } => self.reply_to_batch(batch, index, result),
        }
    }

    fn reply_to_batch(&mut self, id: CoordinationId, index: u32, result: Result<Response, RequestError>) {
        let Some(Coordination::Batch(batch)) = self.coordinations.get_mut(&id) else { return };
        self.counters.errors += u64::from(result.is_err());
        let (reply_to, part, done) = (batch.reply_to, batch.handle_result(index, result), batch.is_done());
        if done {
            self.end(id);
        }
        if let Some(part) = part {
            self.reply(reply_to, Ok(part));
        }
    }

    /// A request comes to hold the values of a container.
    fn hold(&mut self, id: CoordinationId, bytes: usize) {
        if let Some(held) = self.coordinations.get_mut(&id).and_then(Coordination::bytes_mut) {
            *held += bytes;
            self.held_bytes += bytes;
        }
    }

    fn send(&mut self, to: NodeId, message: PeerMessage) {
        self.note_background(&message);
        self.outputs.push_back(Output::SendPeer { to, message });
    }
}

/// The failure detector's part of a shard's random numbers.
const DETECTOR_STREAM: u64 = 1;
