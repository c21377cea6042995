//! The engine: one queue of events in virtual time, and everything that happens in it.
//!
//! A run is a loop: take the next event, let time be its time, have it happen. Everything else is what events do: to nodes (`turn`),
//! on the network (`network`, `link`), to clients (`clients`,
//! `workload`, `answers`), as faults (`faults`), and at the end (`finale`); what is told of it is in `tell`. Every
//! event goes into a running hash, the history: two runs with the same one were the same run (O18).

mod answers;
pub mod chain;
mod clients;
mod converge;
mod datagrams;
mod event;
mod faults;
mod finale;
mod hints;
mod link;
mod members;
mod network;
mod observe;
mod tell;
mod turn;
pub mod watch;
mod workload;

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_client::Router;
use quorate_node::{Input, Time};
use quorate_ring::wire::{ExchangeId, MemberDescription, RingDescription};
use quorate_ring::{
    BucketName, Capacity, Key, Member, NodeId, ObjectKey, PartitionCount, PartitionId, Position, Quorum, Ring,
};
use xxhash_rust::xxh3::Xxh3;

use self::event::Event;
use self::link::Link;
use self::members::Members;
pub use self::members::Spread;
use self::watch::{Watch, Watched};
use self::workload::application::Application;
use crate::catalogue::{FaultId, Fired};
use crate::choices::{Choices, Recording, Stream};
use crate::client::Client;
use crate::insight::{self, Insight};
use crate::node::{Node, cluster};
use crate::oracle::dots::Dots;
use crate::oracle::hints::Kept;
use crate::oracle::maximal::Replicas;
use crate::oracle::truth::Truth;
use crate::oracle::{Violation, convergence};
use crate::plan::Plan;
use crate::queue::Queue;
use crate::sometimes::{Sometimes, Tallies};
use crate::story::{Recorder, Story};
use crate::workload::Workload;

/// A run under way.
pub(crate) struct Simulation {
    plan: Plan,
    /// Who holds what: from the end of the load on, if members change.
    ring: Arc<Ring>,
    members: Members,
    bucket: BucketName,
    now: Time,
    queue: Queue<Event>,
    events: u64,
    history: Xxh3,
    choices: Choices,
    phase: Phase,
    /// The faults of the plan that have begun and not ended.
    active: Vec<usize>,
    /// How many messages of each kind there were since a fault began to lose some.
    counted: u32,
    /// The current default R and W, and the smallest there have been.
    quorum: Quorum,
    loosest: Quorum,
    fired: Fired,
    /// Messages between nodes.
    sent: u64,
    nodes: Vec<Node>,
    links: Vec<Link>,
    clients: Vec<Client>,
    truth: Truth,
    dots: Dots,
    replicas: Replicas,
    kept: Kept,
    /// Who was asked to stand in, by the coordinator and its question.
    stood_in: BTreeSet<(usize, ExchangeId, NodeId)>,
    tallies: Tallies,
    /// Streams of processes that have ended.
    streams: Vec<Stream>,
    /// Where messages are encoded.
    frame: Vec<u8>,
    /// Collects the run's story, if somebody wants it.
    story: Option<Recorder>,
    /// The application that brought its own load, if one did.
    application: Option<Box<Application>>,
    /// What that application finds wrong with what is held in the end.
    objection: Option<String>,
    /// Collects what the run teaches, if somebody wants it.
    insight: Option<Box<insight::Recorder>>,
    /// Each event with its hash, if somebody wants to compare them.
    chain: Option<Vec<chain::Link>>,
    /// Collects what clients are told, if somebody wants it.
    watch: Option<Watch>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients work, and faults happen.
    Load,
    /// A core of the nodes is healed; the others are down.
    Core,
    /// Everything is healed.
    Healed,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was wrong, if anything was.
    pub violation: Option<Violation>,
    /// The hash of everything that happened.
    pub history: u64,
    /// How many events there were.
    pub events: u64,
    /// How many messages and requests were sent is among the events; how long it took in virtual time.
    pub lasted: std::time::Duration,
    /// What happened how often.
    pub tallies: Tallies,
    /// How often each kind of fault fired.
    pub fired: Fired,
    /// Every decision.
    pub recording: Recording,
    /// What happened, if that was asked for.
    pub story: Option<Story>,
    /// What the application's own check found wrong, if there was such a check and nothing else was wrong.
    pub objection: Option<String>,
    /// What the run teaches, if that was asked for.
    pub insight: Option<Insight>,
    /// Each event with the hash up to it, if that was asked for.
    pub chain: Vec<chain::Link>,
    /// What clients were told, if that was asked for.
    pub watched: Watched,
    /// How word of the members went round.
    pub spread: Spread,
}

/// Whether a run is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trace {
    /// No: it is fast.
    #[default]
    Off,
    /// Yes.
    On,
    /// Not told, but each event is kept with its hash.
    Chain,
}

impl Outcome {
    /// Whether something was lost that the plan went beyond the promise for, so that the loss was excused.
    pub const fn is_excused(&self) -> bool {
        0 < self.tallies.count(Sometimes::Excused)
    }
}

impl Simulation {
    pub(crate) fn new(plan: Plan, mut choices: Choices, trace: Trace) -> Self {
        let founding = members::founding(&plan);
        let description = founding.as_ref().map_or_else(|| planned(&plan), |layout| described(&layout.last().ring));
        let router = Router::new(description).expect("a ring of distinct nodes");
        let ring = Arc::new(router.ring().clone());
        let nodes = plan.cluster.nodes as usize;
        let client = |index: usize| {
            let stream = choices.stream(format!("client {index}"));
            Client::new(router.clone(), stream, nodes)
        };
        let clients = (0..plan.clients.len()).map(client).collect();
        let nodes = plan.cluster.nodes as usize;
        let quorum = plan.quorum();
        let machine = |node| Node::new(node_id(node), plan.cluster.shards, plan.partitions(), plan.protocol(node));
        let truth = Truth::new(quorum.n(), keys(plan.cluster.keys));
        Self {
            ring,
            members: Members::of(founding),
            bucket: BucketName::new("scanned").expect("valid"),
            now: Time::default(),
            queue: Queue::default(),
            events: 0,
            history: Xxh3::new(),
            choices,
            phase: Phase::Load,
            active: Vec::new(),
            counted: 0,
            quorum,
            loosest: quorum,
            fired: Fired::default(),
            sent: 0,
            nodes: (0..nodes).map(machine).collect(),
            links: (0..nodes * nodes).map(|_| Link::default()).collect(),
            clients,
            dots: Dots::default(),
            replicas: Replicas::default(),
            kept: Kept::default(),
            stood_in: BTreeSet::new(),
            tallies: Tallies::default(),
            streams: Vec::new(),
            frame: Vec::new(),
            story: (trace == Trace::On)
                .then(|| Recorder::new(plan.clients.len(), nodes, truth.keys.iter().map(|key| &key.key))),
            application: None,
            objection: None,
            insight: None,
            chain: (trace == Trace::Chain).then(Vec::new),
            watch: None,
            truth,
            plan,
        }
    }

    /// Has an application decide what clients do, for so long.
    pub(crate) fn with_workload(mut self, workload: Box<dyn Workload>, lasting: Duration) -> Self {
        let clients = self.clients.len();
        self.application = Some(Box::new(Application::new(workload, clients, lasting, &mut self.choices)));
        self
    }

    /// Collects what the run teaches.
    pub(crate) fn with_insight(mut self) -> Self {
        self.insight = Some(Box::new(insight::Recorder::new(self.clients.len())));
        self
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Outcome {
        self.run_workload().0
    }

    /// Runs to the end, and hands the application back, if one brought its own load.
    pub(crate) fn run_workload(mut self) -> (Outcome, Option<Box<dyn Any>>) {
        let loaded = self.load();
        self.watch_state();
        let violation = loaded.and_then(|()| self.finish()).err();
        let story = self.told(violation.as_ref());
        for node in &mut self.nodes {
            node.disks.iter().for_each(|disk| self.history.update(&disk.store.fingerprint().to_le_bytes()));
            self.streams.extend(node.process.take().map(|process| process.stream));
        }
        self.chained(Some("the stores at the end".to_owned()));
        let mut streams = self.streams;
        streams.extend(self.clients.into_iter().map(|client| client.stream));
        streams.extend(self.links.into_iter().flat_map(Link::into_streams));
        let (workload, decisions) = self.application.map(|application| application.into_parts()).unzip();
        streams.extend(decisions.into_iter().flatten());
        let outcome = Outcome {
            violation,
            history: self.history.digest(),
            events: self.events,
            lasted: self.now.since(Time::default()),
            tallies: self.tallies,
            fired: self.fired,
            recording: streams.into_iter().map(Stream::into_recorded).collect(),
            story,
            watched: self.watch.map(Watch::finish).unwrap_or_default(),
            spread: self.members.spread,
            objection: self.objection,
            insight: self.insight.map(|recorder| recorder.into_insight()),
            chain: self.chain.unwrap_or_default(),
        };
        (outcome, workload)
    }

    fn load(&mut self) -> Result<(), Violation> {
        self.tell(|story, at| story.phase(at, "load and faults"));
        // A fault from the very beginning is there before the first node: a link that is cut then was never up.
        for (index, fault) in self.plan.faults.iter().enumerate() {
            self.queue.push(self.now + fault.at.duration(), Event::FaultBegins { index });
        }
        (0..self.nodes.len()).for_each(|node| self.queue.push(self.now, Event::Start { node }));
        for (client, plan) in self.plan.clients.iter().enumerate() {
            let first = plan.steps.first().map_or(plan.starts, |step| plan.starts.max(step.at));
            self.queue.push(self.now + first.duration(), Event::ClientWake { client, doing: 0 });
        }
        while self.is_busy() {
            self.step()?;
        }
        Ok(())
    }

    /// Whether a client is doing something, or has still something to do.
    fn is_busy(&self) -> bool {
        self.clients.iter().zip(&self.plan.clients).any(|(client, plan)| client.is_busy(plan))
            || self.application.as_ref().is_some_and(|application| application.is_busy())
    }

    fn run_until(&mut self, until: Time) -> Result<(), Violation> {
        while let Some((at, event)) = self.queue.pop(until) {
            self.happen(at, event)?;
        }
        self.now = until;
        Ok(())
    }

    fn step(&mut self) -> Result<(), Violation> {
        let (at, event) = self.queue.pop(Time::from_micros(u64::MAX)).expect("whoever waits has a deadline");
        self.happen(at, event)
    }

    fn happen(&mut self, at: Time, event: Event) -> Result<(), Violation> {
        assert!(self.now <= at, "time goes forward");
        self.now = at;
        self.events += 1;
        self.history.update(&at.as_micros().to_le_bytes());
        let what = self.chain.is_some().then(|| format!("{event:?}"));
        let ended = self.have(event);
        self.chained(what);
        // What an application asks for may be more, and takes as long as it takes.
        if self.application.is_none() {
            convergence::check_ends(self.events)?;
        }
        ended
    }

    /// Adds to the chain what has happened, if there is one.
    fn chained(&mut self, what: Option<String>) {
        if let (Some(chain), Some(what)) = (&mut self.chain, what) {
            chain.push(chain::Link { at: self.now, hash: self.history.digest(), what });
        }
    }

    fn have(&mut self, event: Event) -> Result<(), Violation> {
        if let Some(until) = self.waits_for(&event) {
            self.queue.push(until, event);
            return Ok(());
        }
        match event {
            Event::Message(envelope) => self.deliver(*envelope)?,
            Event::Request { node, life, session, message, ticket }
                if self.is_alive(node, life) && self.is_open(node, session) =>
            {
                self.tell_arrived(ticket);
                self.request_arrived(node, session, *message)?;
            }
            Event::PeerTold { node, life, peer, up } if self.is_alive(node, life) => self.peer_told(node, peer, up)?,
            Event::Completed { node, life, shard, completions } if self.is_alive(node, life) => {
                self.completed(node, shard, completions)?;
            }
            Event::Wake { node, life, shard } if self.is_alive(node, life) => self.wake(node, shard)?,
            Event::DiskTurn { node, life, shard } if self.is_alive(node, life) => self.disk_turn(node, shard),
            Event::Sync { node, life } if self.is_alive(node, life) => {
                self.nodes[node].syncing = false;
                self.sync(node);
            }
            Event::BackgroundSync { node, life } if self.is_alive(node, life) => self.background_sync(node, life),
            Event::Reply { node, session, message, ticket } if self.is_open(node, session) => {
                self.tell_arrived(ticket);
                self.reply_arrived(node, session, *message)?;
            }
            Event::RequestLost { client, request, sent } => self.request_lost(client, request, sent)?,
            Event::Connect { pair } => self.connect(pair),
            Event::ClientWake { client, doing } => self.client_wake(client, doing)?,
            Event::FaultBegins { index } => self.fault_begins(index),
            Event::FaultEnds { index } => self.fault_ends(index),
            Event::Flap { pair, down } => self.flap(pair, down),
            Event::WallJump { node, millis } if self.phase == Phase::Load => self.nodes[node].clock.jump(millis),
            Event::Stand { node, life, until } if self.is_alive(node, life) => self.pause(node, until),
            Event::GiveUp { from, to, epoch } => self.give_up(from, to, epoch),
            Event::Start { node } => self.start(node),
            Event::Operate { index } => self.operate(index)?,
            Event::Placed { node, life, shard, placement } if self.is_alive(node, life) => {
                self.turn(node, shard, Input::Placement(placement))?;
            }
            Event::Datagram(datagram) => self.datagram_arrived(*datagram)?,
            Event::Opined { node, life, shard, standings } if self.is_alive(node, life) => {
                self.turn(node, shard, Input::Standings(standings))?;
            }
            Event::Progressed { node, life, shard, progress } if self.is_alive(node, life) => {
                let from = u8::try_from(shard).expect("at most 256 shards");
                self.turn(node, 0, Input::Progress { shard: from, progress })?;
            }
            Event::Request { ticket, .. } | Event::Reply { ticket, .. } => {
                self.tell_lost(ticket, "its connection is gone")
            }
            // For an earlier life, or on an earlier connection.
            _ => {}
        }
        Ok(())
    }

    /// Until when this waits, in order, because its process is paused.
    fn waits_for(&self, event: &Event) -> Option<Time> {
        let node = match *event {
            Event::Message(ref envelope) => envelope.to,
            Event::Datagram(ref datagram) => datagram.to,
            Event::Request { node, life, session, .. } if self.is_alive(node, life) && self.is_open(node, session) => {
                node
            }
            Event::PeerTold { node, life, .. }
            | Event::Completed { node, life, .. }
            | Event::Wake { node, life, .. }
            | Event::Placed { node, life, .. }
            | Event::Opined { node, life, .. }
            | Event::Progressed { node, life, .. }
                if self.is_alive(node, life) =>
            {
                node
            }
            _ => return None,
        };
        self.paused_until(node)
    }

    fn client_wake(&mut self, client: usize, number: u64) -> Result<(), Violation> {
        match &self.clients[client].doing {
            Some(doing) if doing.number == number => self.drive(client),
            None if number == 0 => self.begin_next(client),
            _ => Ok(()),
        }
    }

    fn is_alive(&self, node: usize, life: u32) -> bool {
        self.nodes[node].life == life && self.nodes[node].process.is_some()
    }

    fn fired(&mut self, id: FaultId) {
        self.fired.note(id);
    }
}

/// The index of a node of the plan.
fn index_in_plan(node: u32) -> usize {
    node as usize - 1
}

/// The node of an index.
pub(crate) fn node_id(index: usize) -> NodeId {
    u32::try_from(index + 1).ok().and_then(NodeId::new).expect("few nodes, from 1")
}

/// The index of a node.
pub(crate) fn index_of(node: NodeId) -> usize {
    node.number() as usize - 1
}

fn keys(count: usize) -> impl Iterator<Item = ObjectKey> {
    (0..count).map(|index| {
        // Another bucket lies between, so that scans have something to pass over.
        let bucket = BucketName::new(if index % 3 == 2 { "other" } else { "scanned" }).expect("valid");
        ObjectKey::new(&bucket, &Key::new(format!("key {index}")).expect("valid"))
    })
}

/// A ring whose partitions go round the nodes.
pub(crate) fn describe(nodes: u32, replicas: u8, partitions: PartitionCount) -> RingDescription {
    let node = |index: u32| Member { node: node_id(index as usize), zone: None, capacity: Capacity::default() };
    let members = (0..nodes).map(node).map(|member| MemberDescription {
        address: format!("{}:7401", member.node),
        node: member.node,
        zone: member.zone,
        capacity: member.capacity,
    });
    let owner = |partition: u32| u16::try_from(partition % nodes).expect("few nodes");
    RingDescription {
        cluster: cluster(),
        replicas,
        partitions,
        members: members.collect(),
        owners: (0..partitions.get()).map(owner).collect(),
    }
}

fn planned(plan: &Plan) -> RingDescription {
    describe(plan.cluster.nodes, plan.cluster.n, plan.partitions())
}

/// A ring as clients are told of it.
fn described(ring: &Ring) -> RingDescription {
    let described = |member: &Member| MemberDescription {
        node: member.node,
        address: format!("{}:7401", member.node),
        zone: member.zone.clone(),
        capacity: member.capacity,
    };
    RingDescription {
        cluster: cluster(),
        replicas: ring.replicas(),
        partitions: ring.partitions(),
        members: ring.members().iter().map(described).collect(),
        owners: ring.owners().to_vec(),
    }
}

/// Where a key lies in a plan's ring, and its primaries in order of preference.
pub(crate) fn owners(plan: &Plan, key: usize) -> (PartitionId, Vec<u32>) {
    let router = Router::new(planned(plan)).expect("a ring of distinct nodes");
    let name = keys(key + 1).last().expect("one more than none");
    let partition = router.ring().partition_of(Position::of(&name));
    (partition, router.ring().primaries(partition).map(NodeId::number).collect())
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.now;
        f.debug_struct("Simulation").field("now", &at).field("events", &self.events).finish_non_exhaustive()
    }
}
