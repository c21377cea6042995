//! The plan of a seed: each another mix of cluster, load and faults (swarm testing), since faults that are always all on hide
//! each other.

use std::collections::BTreeSet;

use quorate_ring::Quorum;

use super::hints::HintPlan;
use super::load::{
    Action, Asked, ClientPlan, Context, Delete, Forge, Forgery, Get, GetMany, Put, PutMany, Scan, Step, Whom,
};
use super::span::Span;
use super::{Carrier, ClusterPlan, DiskPlan, NetworkPlan, Plan};
use crate::catalogue::FaultId;
use crate::choices::{Choices, Stream};
use crate::delay::{Delay, Shape};

mod faults;
mod gaps;
mod members;
mod pages;
mod sloppy;
mod standard;
mod versions;

impl Plan {
    /// The plan of a seed.
    pub fn swarm(choices: &mut Choices) -> Self {
        Self::swarm_of(choices, &FaultId::ALL.into_iter().collect())
    }

    /// The plan of a seed, with faults of these kinds only.
    pub fn swarm_of(choices: &mut Choices, kinds: &BTreeSet<FaultId>) -> Self {
        let mut stream = choices.stream("plan");
        let draw = &mut stream;
        let n = draw.pick("n", &[3, 3, 3, 3, 5, 1, 2]);
        let quorum = Quorum::majority(n).expect("n is from 1 to 16");
        let nodes = u32::from(n) + draw.pick("further nodes", &[0, 1, 2, 2]);
        let (core_without, core_gray) = core(draw, nodes, quorum);
        let transfer_page = pages::size(choices);
        let cluster = ClusterPlan {
            nodes,
            shards: draw.pick("shards", &[1, 1, 2]),
            n,
            r: quorum.r(),
            w: quorum.w(),
            partitions: draw.pick("partitions", &[8, 8, 16]),
            durability: draw.pick("durability", &[Asked::Buffered, Asked::Buffered, Asked::Synced]),
            keys: draw.pick("keys", &[1, 2, 4, 12, 60]).max(if transfer_page.is_some() { 40 } else { 1 }),
            core_without,
            core_gray,
            hints: HintPlan::default(),
            sweeps: true,
            transfer_page,
            members: None,
            zones: None,
            protocols: Vec::new(),
        };
        let mut plan = Self {
            seed: choices.seed(),
            cluster,
            network: network(draw, kinds),
            disk: disk(draw),
            faults: Vec::new(),
            clients: Vec::new(),
        };
        plan.clients = Habits::of(draw, &plan.cluster, kinds).clients(choices);
        plan.faults = faults::draw(&plan, kinds, &mut choices.stream("fault plan"));
        sloppy::add(&mut plan, kinds, choices);
        gaps::add(&mut plan, kinds, choices);
        pages::add(&mut plan, kinds, choices);
        members::add(&mut plan, kinds, choices);
        versions::add(&mut plan, kinds, choices);
        plan
    }
}

/// Some nodes without which every partition still has a quorum: those that are down, and one that stands still.
fn core(draw: &mut Stream, nodes: u32, quorum: Quorum) -> (Vec<u32>, Option<u32>) {
    let spare = quorum.n() - quorum.r().max(quorum.w());
    let count = draw.choose("nodes outside the core", 0..=u64::from(spare));
    let mut any = || number(draw.choose("outside the core", 1..=u64::from(nodes)));
    let mut without: Vec<u32> = (0..count).map(|_| any()).collect();
    let gray = (count < u64::from(spare)).then(any);
    without.sort_unstable();
    without.dedup();
    (without, gray)
}

fn network(draw: &mut Stream, kinds: &BTreeSet<FaultId>) -> NetworkPlan {
    let per_mille =
        |draw: &mut Stream, id, label, of: &[u64]| if kinds.contains(&id) { draw.pick(label, of) } else { 0 };
    let lost = per_mille(draw, FaultId::N1, "lost", &[0, 20, 100]);
    let duplicated = per_mille(draw, FaultId::N2, "duplicated", &[0, 50, 200]);
    // Whatever of this is wanted, messages that travel on their own overtake each other too.
    let of_datagrams = [FaultId::N1, FaultId::N2, FaultId::N3];
    let datagrams = if of_datagrams.iter().any(|id| kinds.contains(id)) {
        Carrier::Datagrams { lost, duplicated }
    } else {
        Carrier::Streams
    };
    NetworkPlan {
        carrier: draw.pick("carrier", &[Carrier::Streams, Carrier::Streams, datagrams]),
        delay: delay(draw, &[100, 500, 3_000]),
        detection: delay(draw, &[200, 5_000, 60_000]),
    }
}

fn disk(draw: &mut Stream) -> DiskPlan {
    DiskPlan {
        write: delay(draw, &[20, 100, 1_000]),
        completion: delay(draw, &[0, 20, 500]),
        sync: delay(draw, &[500, 4_000]),
        background_sync: Span::from_micros(draw.pick("background sync", &[20_000, 200_000, 5_000_000])),
    }
}

fn delay(draw: &mut Stream, medians: &[u64]) -> Delay {
    let shape = Shape::DRAWN[draw.index("shape", Shape::DRAWN.len())].clone();
    Delay { shape, median: Span::from_micros(draw.pick("median", medians)) }
}

fn number(value: u64) -> u32 {
    u32::try_from(value).expect("a small number")
}

/// How long values live that expire: less than a request takes, as long as a run, longer than it but for a clock that jumps an hour, and
/// longer than that.
const TTLS_MILLIS: [u64; 6] = [1, 20, 200, 1_000, 1_800_000, 7_200_000];

/// What kind of clients a seed has.
struct Habits {
    clients: u64,
    steps: u64,
    keys: usize,
    n: u8,
    /// Weights of the kinds of operations, as they stand in [`Habits::action`].
    mix: [u64; 9],
    think: Delay,
    /// Shortest and longest time that a request is given.
    within: (Span, Span),
    /// Whether requests ask for R, W and durability of their own.
    own_quorums: bool,
    /// How many requests of a thousand let others stand in for primaries that are away.
    sloppy: u64,
    /// Whether some keys are asked for much more than others.
    skewed: bool,
    /// Bytes of values.
    bytes: &'static [usize],
    /// How many of a thousand values expire.
    expiring: u64,
    /// How many further clients come all at once, each to write the same key.
    crowd: u64,
}

impl Habits {
    fn of(draw: &mut Stream, cluster: &ClusterPlan, kinds: &BTreeSet<FaultId>) -> Self {
        let longest = draw.pick("longest timeout", &[60, 300, 300, 1_000]);
        let mut weight = |label| draw.pick(label, &[0, 1, 2, 4]);
        let forged = u64::from(kinds.contains(&FaultId::B1));
        let overload = kinds.contains(&FaultId::L1);
        let mix = [
            1 + weight("gets"),
            1 + weight("blind puts"),
            weight("puts"),
            weight("updates"),
            weight("deletes"),
            weight("get many") / 2,
            weight("put many") / 2,
            draw.pick("scans", &[0, 0, 2, 8]),
            forged * draw.pick("forged", &[0, 0, 0, 1]),
        ];
        Self {
            clients: draw.pick("clients", &[2, 3, 4, 6]),
            steps: draw.pick("steps", &[20, 30]),
            keys: cluster.keys,
            n: cluster.n,
            mix,
            think: delay(draw, &[100, 2_000, 10_000]),
            within: (Span::from_millis(longest / 3), Span::from_millis(longest)),
            own_quorums: draw.chance("own quorums", 500),
            sloppy: draw.pick("sloppy requests", &[0, 500, 500, 1_000]),
            skewed: draw.chance("skewed", 300),
            bytes: if overload && draw.chance("huge values", 10) { &[0, 100, 200_000] } else { &[0, 0, 10, 100] },
            expiring: draw.pick("expiring", &[0, 0, 0, 300, 900]),
            crowd: if overload && draw.chance("a crowd", 5) { draw.pick("crowd", &[30, 300, 2_500]) } else { 0 },
        }
    }

    fn clients(&self, choices: &mut Choices) -> Vec<ClientPlan> {
        let mut clients: Vec<ClientPlan> = (0..self.clients)
            .map(|client| {
                let mut stream = choices.stream(format!("load of client {client}"));
                ClientPlan { starts: Span::default(), steps: (0..self.steps).map(|_| self.step(&mut stream)).collect() }
            })
            .collect();
        if 0 < self.crowd {
            let mut stream = choices.stream("crowd");
            let starts = Span::from_millis(stream.choose("crowd's time", 1..=100));
            clients.extend((0..self.crowd).map(|_| ClientPlan { starts, steps: vec![self.crowd_step(&mut stream)] }));
        }
        clients
    }

    fn crowd_step(&self, draw: &mut Stream) -> Step {
        let put = Put { context: Context::Blind, ..Put::default() };
        let read = draw.chance("reads", 500);
        let action = if read { Action::Get(Get::default()) } else { Action::Update(put) };
        Step {
            after: Span::default(),
            at: Span::default(),
            within: self.within.1,
            ask: Whom::Best,
            sloppy: false,
            action,
        }
    }

    fn step(&self, draw: &mut Stream) -> Step {
        let after = self.think.draw("think", draw).into();
        let (shortest, longest) = (self.within.0.as_micros(), self.within.1.as_micros());
        let within = Span::from_micros(draw.choose("timeout", shortest..=longest) / 1_000 * 1_000);
        let ask = if draw.chance("ask anybody", 100) { Whom::Anybody } else { Whom::Best };
        let sloppy = draw.chance("sloppy", self.sloppy);
        Step { after, at: Span::default(), within, ask, sloppy, action: self.action(draw) }
    }

    fn key(&self, draw: &mut Stream) -> usize {
        let key = draw.index("key", self.keys);
        if self.skewed { key * draw.index("skew", self.keys) / self.keys } else { key }
    }

    fn action(&self, draw: &mut Stream) -> Action {
        let mut drawn = draw.choose("operation", 0..=self.mix.iter().sum::<u64>() - 1);
        let kind = self.mix.iter().position(|weight| {
            let here = drawn < *weight;
            drawn = drawn.wrapping_sub(*weight);
            here
        });
        let key = self.key(draw);
        let (r, w, durability) = self.asked(draw);
        let bytes = draw.pick("bytes", self.bytes);
        let ttl = (0 < self.expiring && draw.chance("expires", self.expiring))
            .then(|| Span::from_millis(draw.pick("ttl", &TTLS_MILLIS)));
        let put = |context| Put { key, context, bytes, ttl, r, w, durability };
        match kind {
            Some(1) => Action::Put(put(Context::Blind)),
            Some(2) => Action::Put(put(Context::Last)),
            Some(3) => Action::Update(put(Context::Last)),
            Some(4) => Action::Delete(Delete { key, w, durability }),
            Some(5) => Action::GetMany(GetMany { keys: self.some_keys(draw), r }),
            Some(6) => Action::PutMany(PutMany { keys: self.some_keys(draw), bytes, ttl, w, durability }),
            Some(7) => Action::Scan(Scan {
                key,
                behind: draw.chance("from a key", 300),
                limit: number(draw.choose("limit", 1..=4)),
                r,
            }),
            Some(8) => Action::Forge(Forge {
                key,
                how: draw.pick("forgery", &[Forgery::Cut, Forgery::Bent, Forgery::OfAnotherKey, Forgery::MadeUp]),
            }),
            _ => {
                let repaired = r == Some(self.n) && draw.chance("repaired", 300);
                Action::Get(Get { key, r: r.filter(|_| !repaired), repaired })
            }
        }
    }

    fn asked(&self, draw: &mut Stream) -> (Option<u8>, Option<u8>, Option<Asked>) {
        let mut own = |label, most: u8| {
            let asks = self.own_quorums && draw.chance("asks", 500);
            asks.then(|| u8::try_from(draw.choose(label, 1..=u64::from(most))).expect("at most N"))
        };
        let (r, w) = (own("r", self.n), own("w", self.n));
        let durability = own("durability", 2).map(|which| if which == 1 { Asked::Synced } else { Asked::Buffered });
        (r, w, durability)
    }

    fn some_keys(&self, draw: &mut Stream) -> Vec<usize> {
        let first = draw.index("first key", self.keys);
        let count = draw.index("further keys", self.keys.min(6)) + 1;
        (first..first + count).map(|key| key % self.keys).collect()
    }
}
