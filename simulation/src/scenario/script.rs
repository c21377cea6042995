//! The language that scenarios are written in: what happens when, in exact order, and what each client has to be told.
//!
//! Messages take a millisecond each way, a disk a tenth of that; nothing is drawn. So a line of a scenario means the same each time:
//!
//! ```
//! use quorate_simulation::scenario::script::{Scenario, islands};
//!
//! let mut run = Scenario::of(3);
//! run.between(100, 3_000, islands(&[&[1], &[2, 3]]));
//! let alone = run.at(120).client(0).asking(1).puts(0);
//! let together = run.at(120).client(1).asking(2).puts(0);
//! let read = run.at(4_000).client(1).gets(0);
//! run.expect(alone).is_refused("is unreachable");
//! run.expect(together).is_stored();
//! run.expect(read).shows(&[together]);
//! run.check()?;
//! # Ok::<(), quorate_simulation::scenario::script::Unexpected>(())
//! ```
//!
//! Times are milliseconds from the start of the run; the nodes have found each other by 50. Nodes are numbered from 1, clients and keys
//! from 0. A client does its steps one after the other: one that is told to begin while the last is not over begins when it is.

use std::time::Duration;

use crate::delay::Delay;
use crate::engine::watch::{Answer, StepId, Watched};
use crate::engine::{Outcome, owners};
use crate::oracle::Violation;
use crate::plan::fault::{Fault, TimedFault};
use crate::plan::hints::HintPlan;
use crate::plan::load::{
    Action, Asked, ClientPlan, Context, Delete, Forge, Forgery, Get, GetMany, Put, PutMany, Scan, Step, Whom,
};
use crate::plan::span::Span;
use crate::plan::{Carrier, ClusterPlan, DiskPlan, NetworkPlan, Plan};

/// A scenario: a plan, and what its clients have to be told.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What happens.
    pub plan: Plan,
    expected: Vec<(StepId, Expected)>,
    now: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Shows(Vec<StepId>),
    Lists(usize),
    Stored(Option<u32>),
    Refused(&'static str),
    Unknown(&'static str),
    Within(Duration),
}

/// How a scenario went otherwise than it has to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// An oracle found something.
    #[error("{0}")]
    Violated(#[from] Violation),
    /// A client was told something else.
    #[error("client {}, step {}: expected {expected}, was {told}", step.client, step.step)]
    Told {
        /// Which step.
        step: StepId,
        /// What it had to be told.
        expected: String,
        /// What it was told.
        told: String,
    },
    /// A fault of the plan never fired: the scenario has shown nothing.
    #[error("{0} never fired, so this has shown nothing")]
    NeverFired(crate::catalogue::FaultId),
    /// What the runs of the scenario have to show together is not so.
    #[error("{0}")]
    Together(String),
}

const LINK: Span = Span::from_millis(1);

impl Scenario {
    /// So many nodes in a ring of eight partitions, with N = 3 and R = W = 2.
    pub fn of(nodes: u32) -> Self {
        let cluster = ClusterPlan {
            nodes,
            shards: 1,
            n: 3,
            r: 2,
            w: 2,
            partitions: 8,
            durability: Asked::Buffered,
            keys: 1,
            core_without: Vec::new(),
            core_gray: None,
            hints: HintPlan::default(),
            sweeps: true,
            transfer_page: None,
            members: None,
            zones: None,
            protocols: Vec::new(),
        };
        let network = NetworkPlan {
            carrier: Carrier::Streams,
            delay: Delay::constant(LINK),
            detection: Delay::constant(Span::from_millis(5)),
        };
        let disk = DiskPlan {
            write: Delay::constant(Span::from_micros(100)),
            completion: Delay::constant(Span::from_micros(10)),
            sync: Delay::constant(LINK),
            background_sync: Span::from_millis(60_000),
        };
        let plan = Plan { seed: 1, cluster, network, disk, faults: Vec::new(), clients: Vec::new() };
        Self { plan, expected: Vec::new(), now: 0 }
    }

    /// N, R and W.
    #[must_use]
    pub fn quorum(mut self, n: u8, r: u8, w: u8) -> Self {
        (self.plan.cluster.n, self.plan.cluster.r, self.plan.cluster.w) = (n, r, w);
        self
    }

    /// These versions of the protocol are spoken at the start, from the first node.
    #[must_use]
    pub fn speaking(mut self, protocols: &[u16]) -> Self {
        self.plan.cluster.protocols = protocols.to_vec();
        self
    }

    /// The first so many nodes are members, the others wait to join.
    #[must_use]
    pub fn founded_by(mut self, members: u32) -> Self {
        self.plan.cluster.members = Some(members);
        self
    }

    /// How long a disk takes to write, in milliseconds.
    #[must_use]
    pub fn disks_take(mut self, millis: u64) -> Self {
        self.plan.disk.write = Delay::constant(Span::from_millis(millis));
        self
    }

    /// A partition that is received as a whole comes in pages of so many objects.
    #[must_use]
    pub fn pages_of(mut self, objects: u32) -> Self {
        self.plan.cluster.transfer_page = Some(objects);
        self
    }

    /// Nodes do not sweep through what they store: what a sweep would mend or remove stays.
    #[must_use]
    pub fn unswept(mut self) -> Self {
        self.plan.cluster.sweeps = false;
        self
    }

    /// Each message is on its own: one that is lost breaks no stream.
    #[must_use]
    pub fn over_datagrams(mut self) -> Self {
        self.plan.network.carrier = Carrier::Datagrams { lost: 0, duplicated: 0 };
        self
    }

    /// Every message arrives twice, the second time up to forty times as late.
    #[must_use]
    pub fn all_messages_twice(mut self) -> Self {
        self.plan.network.carrier = Carrier::Datagrams { lost: 0, duplicated: 1_000 };
        self
    }

    /// The primaries of a key, in order of preference.
    pub fn primaries(&self, key: usize) -> Vec<u32> {
        owners(&self.plan, key).1
    }

    /// The first key, from 0, that lies in the same partition as this one, or in another.
    pub fn neighbour(&self, key: usize, wanted: Neighbour) -> usize {
        let here = owners(&self.plan, key).0;
        let is_wanted = |other: &usize| (owners(&self.plan, *other).0 == here) == (wanted == Neighbour::InPartition);
        (0..).filter(|other| *other != key).find(is_wanted).expect("partitions have many keys")
    }

    /// From here on things happen at this time.
    pub fn at(&mut self, millis: u64) -> &mut Self {
        self.now = millis;
        self
    }

    /// What a client does at that time.
    pub fn client(&mut self, client: usize) -> Doing<'_> {
        let put = Put::default();
        Doing { run: self, client, ask: Whom::Best, sloppy: false, within: 1_000, put }
    }

    /// Something goes wrong from one time to another; a node that went down starts then.
    pub fn between(&mut self, from: u64, to: u64, fault: Fault) -> &mut Self {
        let (at, lasting) = (Span::from_millis(from), Span::from_millis(to - from));
        self.plan.faults.push(TimedFault { at, lasting, fault });
        self
    }

    /// The run goes on until then, though no client has anything to do.
    pub fn until(&mut self, millis: u64) {
        let client = self.plan.clients.len();
        self.at(millis).client(client).push(Action::GetMany(GetMany::default()));
    }

    /// What a step has to be told.
    pub fn expect(&mut self, step: StepId) -> Expecting<'_> {
        Expecting { run: self, step }
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        crate::run_watched(self.plan.clone())
    }

    /// Runs it and checks all.
    ///
    /// # Errors
    /// The first thing that is not as it has to be.
    pub fn check(&self) -> Result<Outcome, Unexpected> {
        let outcome = self.run();
        if let Some(violation) = &outcome.violation {
            return Err(violation.clone().into());
        }
        for (step, expected) in &self.expected {
            check(&outcome.watched, *step, expected)?;
        }
        match self.plan.faults.iter().map(|fault| fault.fault.id()).find(|id| outcome.fired.count(*id) == 0) {
            Some(id) => Err(Unexpected::NeverFired(id)),
            None => Ok(outcome),
        }
    }
}

fn check(watched: &Watched, step: StepId, expected: &Expected) -> Result<(), Unexpected> {
    let told = watched.told(step);
    let holds = told.is_some_and(|told| match (expected, &told.answer) {
        (Expected::Shows(wanted), Answer::Shown(shown)) => wanted == shown,
        (Expected::Lists(wanted), Answer::Items(items)) => wanted == items,
        (Expected::Stored(wanted), Answer::Stored(siblings)) => wanted.is_none_or(|wanted| wanted == *siblings),
        (Expected::Refused(why), Answer::Refused(error)) => error.contains(why),
        (Expected::Unknown(why), Answer::Unknown(error)) => error.contains(why),
        (Expected::Within(most), _) => told.took() <= *most,
        _ => false,
    });
    if holds {
        return Ok(());
    }
    let told = told.map_or("nothing".to_owned(), |told| format!("{:?} after {:?}", told.answer, told.took()));
    Err(Unexpected::Told { step, expected: format!("{expected:?}"), told })
}

/// Where another key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// In the same partition.
    InPartition,
    /// In another.
    Elsewhere,
}

/// What a client does.
#[derive(Debug)]
pub struct Doing<'run> {
    run: &'run mut Scenario,
    client: usize,
    ask: Whom,
    within: u64,
    sloppy: bool,
    put: Put,
}

impl Doing<'_> {
    /// It asks this node and no other.
    pub fn asking(mut self, node: u32) -> Self {
        self.ask = Whom::Node(node);
        self
    }

    /// It waits so many milliseconds; a second if nothing is said.
    pub fn within(mut self, millis: u64) -> Self {
        self.within = millis;
        self
    }

    /// It asks for this R or W, whichever the step has.
    pub fn with_quorum(mut self, quorum: u8) -> Self {
        (self.put.r, self.put.w) = (Some(quorum), Some(quorum));
        self
    }

    /// It lets others stand in for primaries that are away.
    pub fn sloppily(mut self) -> Self {
        self.sloppy = true;
        self
    }

    /// It asks for its write to be on disks.
    pub fn synced(mut self) -> Self {
        self.put.durability = Some(Asked::Synced);
        self
    }

    /// It does not say what it has seen.
    pub fn blindly(mut self) -> Self {
        self.put.context = Context::Blind;
        self
    }

    /// It writes a value of so many bytes.
    pub fn of_bytes(mut self, bytes: usize) -> Self {
        self.put.bytes = bytes;
        self
    }

    /// Its value lives so many milliseconds.
    pub fn living(mut self, millis: u64) -> Self {
        self.put.ttl = Some(Span::from_millis(millis));
        self
    }

    /// It writes a key, with the last context it has of it.
    pub fn puts(self, key: usize) -> StepId {
        let put = Put { key, r: None, ..self.put };
        self.push(Action::Put(put))
    }

    /// It writes several keys in one request.
    pub fn puts_all(self, keys: &[usize]) -> StepId {
        let Put { bytes, ttl, w, durability, .. } = self.put;
        self.push(Action::PutMany(PutMany { keys: keys.to_vec(), bytes, ttl, w, durability }))
    }

    /// It reads a key.
    pub fn gets(self, key: usize) -> StepId {
        let r = self.put.r;
        self.push(Action::Get(Get { key, r, repaired: false }))
    }

    /// It reads the first page of a key's partition.
    pub fn scans(self, key: usize) -> StepId {
        let r = self.put.r;
        self.push(Action::Scan(Scan { key, behind: false, limit: 100, r }))
    }

    /// It reads a key from all primaries, and has those that are behind repaired before it is answered.
    pub fn gets_repaired(self, key: usize) -> StepId {
        self.push(Action::Get(Get { key, r: None, repaired: true }))
    }

    /// It deletes what it has last seen of a key.
    pub fn deletes(self, key: usize) -> StepId {
        let Put { w, durability, .. } = self.put;
        self.push(Action::Delete(Delete { key, w, durability }))
    }

    /// It writes with a context that no node made for the key.
    pub fn forges(self, key: usize, how: Forgery) -> StepId {
        self.push(Action::Forge(Forge { key, how }))
    }

    /// It does something.
    pub fn push(self, action: Action) -> StepId {
        let plan = &mut self.run.plan;
        if let Some(most) = action.keys().into_iter().max() {
            plan.cluster.keys = plan.cluster.keys.max(most + 1);
        }
        plan.clients.resize_with(plan.clients.len().max(self.client + 1), ClientPlan::default);
        let steps = &mut plan.clients[self.client].steps;
        let (at, within) = (Span::from_millis(self.run.now), Span::from_millis(self.within));
        steps.push(Step { after: Span::default(), at, within, ask: self.ask, sloppy: self.sloppy, action });
        StepId { client: self.client, step: steps.len() - 1 }
    }
}

/// What a step has to be told.
#[derive(Debug)]
pub struct Expecting<'run> {
    run: &'run mut Scenario,
    step: StepId,
}

impl Expecting<'_> {
    fn push(self, expected: Expected) {
        self.run.expected.push((self.step, expected));
    }

    /// So many keys.
    pub fn lists(self, keys: usize) {
        self.push(Expected::Lists(keys));
    }

    /// The values of these steps, and no others.
    pub fn shows(self, steps: &[StepId]) {
        let mut steps = steps.to_vec();
        steps.sort_unstable();
        self.push(Expected::Shows(steps));
    }

    /// That its write is stored.
    pub fn is_stored(self) {
        self.push(Expected::Stored(None));
    }

    /// That its write is stored, and leaves so many siblings.
    pub fn is_stored_leaving(self, siblings: u32) {
        self.push(Expected::Stored(Some(siblings)));
    }

    /// That it failed and nothing was changed, with these words in the reason.
    pub fn is_refused(self, why: &'static str) {
        self.push(Expected::Refused(why));
    }

    /// That it may have happened or not, with these words in the reason.
    pub fn is_unknown(self, why: &'static str) {
        self.push(Expected::Unknown(why));
    }

    /// Its answer within so many milliseconds.
    pub fn is_answered_within(self, millis: u64) {
        self.push(Expected::Within(Duration::from_millis(millis)));
    }
}

/// The nodes are split into islands.
pub fn islands(islands: &[&[u32]]) -> Fault {
    Fault::Islands { islands: islands.iter().map(|island| island.to_vec()).collect() }
}

/// A process dies, and nothing of what its disks had not begun is done.
pub fn crash(node: u32) -> Fault {
    Fault::Crash { node, begun: 0 }
}

/// Machines lose power, and all that was not synced.
pub fn power_loss(nodes: &[u32]) -> Fault {
    Fault::PowerLoss { nodes: nodes.to_vec(), keeps: 0, torn: false }
}

/// A machine gets empty disks.
pub fn empty_disks(node: u32) -> Fault {
    Fault::ReplaceDisks { node }
}

/// What is sent between two nodes waits until the end, and then comes at once.
pub fn clog(one: u32, other: u32) -> Fault {
    Fault::Clog { links: vec![[one, other]] }
}
