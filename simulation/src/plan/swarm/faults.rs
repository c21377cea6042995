//! The faults of a seed's plan: whole kinds on or off, and no more losses than the plan's budget has.

use std::collections::BTreeSet;

use super::super::Plan;
use super::super::fault::{Fault, Layer, MessageKind, Pair, TimedFault};
use super::super::span::Span;
use super::{delay, number};
use crate::catalogue::FaultId;
use crate::choices::Stream;
use crate::delay::Delay;

/// How often a kind of fault is on, of a thousand seeds.
const KIND_ON: u64 = 350;
/// Zones, which lose power together: nodes whose numbers leave the same rest.
const ZONES: u32 = 3;

/// Draws the faults of a plan whose cluster and clients are drawn.
pub(super) fn draw(plan: &Plan, kinds: &BTreeSet<FaultId>, stream: &mut Stream) -> Vec<TimedFault> {
    let count = stream.pick("faults", &[0, 3, 6, 10]);
    let (between, lasting) = (delay(stream, &[5_000, 30_000, 100_000]), delay(stream, &[10_000, 80_000, 300_000]));
    let enabled: Vec<FaultId> = timed(kinds).filter(|_| stream.chance("fault on", KIND_ON)).collect();
    let next = |stream: &mut Stream| (!enabled.is_empty()).then(|| stream.pick("kind", &enabled));
    draw_each(plan, stream, between, lasting, next, count)
}

/// Draws faults of all kinds, one after the other, so many times over.
pub(super) fn draw_all(
    plan: &Plan,
    stream: &mut Stream,
    between: Delay,
    lasting: Delay,
    times: u64,
) -> Vec<TimedFault> {
    let all: Vec<FaultId> = timed(&FaultId::ALL.into_iter().collect()).collect();
    let mut next = all.iter().copied().cycle();
    let count = times * all.len() as u64;
    draw_each(plan, stream, between, lasting, |_| next.next(), count)
}

fn timed(kinds: &BTreeSet<FaultId>) -> impl Iterator<Item = FaultId> {
    kinds.iter().copied().filter(|id| TIMED.contains(id))
}

fn draw_each(
    plan: &Plan,
    stream: &mut Stream,
    between: Delay,
    lasting: Delay,
    mut next: impl FnMut(&mut Stream) -> Option<FaultId>,
    count: u64,
) -> Vec<TimedFault> {
    let losing = losing_nodes(plan, stream);
    let mut drawing = Drawing { plan, stream, losing, lasting, at: 0 };
    let mut faults = Vec::new();
    for _ in 0..count {
        drawing.at += Span::from(between.draw("until the next fault", drawing.stream)).as_micros();
        if let Some(id) = next(drawing.stream) {
            drawing.faults_of(id, &mut faults);
        }
    }
    faults
}

/// The kinds that have a time; the others are in the network or the load.
const TIMED: [FaultId; 31] = [
    FaultId::N5,
    FaultId::N6,
    FaultId::N7,
    FaultId::N8,
    FaultId::N9,
    FaultId::N10,
    FaultId::N11,
    FaultId::N12,
    FaultId::N13,
    FaultId::N14,
    FaultId::N15,
    FaultId::N16,
    FaultId::P1,
    FaultId::P2,
    FaultId::P3,
    FaultId::P4,
    FaultId::P5,
    FaultId::P6,
    FaultId::P7,
    FaultId::P8,
    FaultId::D1,
    FaultId::D2,
    FaultId::D3,
    FaultId::D4,
    FaultId::D5,
    FaultId::D6,
    FaultId::D7,
    FaultId::M3,
    FaultId::L2,
    FaultId::B1,
    FaultId::G1,
];

/// The nodes that may ever lose power or their disks. What an acknowledgement promises holds for fewer than W; now and then a plan
/// goes beyond it, and what is lost then is excused.
fn losing_nodes(plan: &Plan, stream: &mut Stream) -> Vec<u32> {
    let within = u64::from(plan.cluster.w) - 1;
    let all = u64::from(plan.cluster.nodes);
    let count = stream.pick("nodes that lose something", &[within, within, within, within, within, all]);
    let mut nodes: Vec<u32> = (1..=plan.cluster.nodes).collect();
    (0..count).map(|_| nodes.remove(stream.index("which", nodes.len()))).collect()
}

struct Drawing<'a> {
    plan: &'a Plan,
    stream: &'a mut Stream,
    losing: Vec<u32>,
    lasting: Delay,
    at: u64,
}

impl Drawing<'_> {
    fn faults_of(&mut self, id: FaultId, faults: &mut Vec<TimedFault>) {
        let lasting = Span::from(self.lasting.draw("lasting", self.stream));
        let at = Span::from_micros(self.at);
        let node = self.node();
        let fault = match id {
            FaultId::D1 if self.stream.chance("lies", 500) => {
                let Some(node) = self.losing_node() else { return };
                let inside = Span::from_micros(self.at + self.stream.choose("power goes", 0..=lasting.as_micros()));
                let power = Fault::PowerLoss { nodes: vec![node], keeps: self.per_mille(), torn: false };
                faults.push(TimedFault { at: inside, lasting, fault: power });
                Some(Fault::LyingSync { node })
            }
            FaultId::P3 => match self.stream.choose("what comes with it", 0..=3) {
                0 => self.losing_fault(id),
                1 => return self.estranged(lasting, faults),
                _ => return self.replaced_disks_and_aftermath(lasting, faults),
            },
            FaultId::P2 | FaultId::P4 | FaultId::P7 | FaultId::D2 | FaultId::D3 | FaultId::D4 => self.losing_fault(id),
            FaultId::N5 | FaultId::N8 | FaultId::N9 | FaultId::N11 | FaultId::N12 | FaultId::N13 | FaultId::N15 => {
                self.link_fault(id)
            }
            FaultId::N6 => self.link().map(|link| Fault::Corrupt {
                link,
                per_mille: self.stream.pick("corrupted", &[50, 500]),
                layer: self.stream.pick("layer", &[Layer::Frame, Layer::Payload]),
            }),
            FaultId::N7 => Some(self.islands()),
            FaultId::N10 => Some(self.cut_client()),
            FaultId::N14 => Some(Fault::LoseEach {
                message: self.stream.pick("message", &MessageKind::ALL),
                nth: number(self.stream.choose("nth", 1..=3)),
            }),
            FaultId::N16 => {
                let reaches = self.stream.index("reaches", usize::from(self.plan.cluster.n));
                Some(Fault::FanOut { node, reaches })
            }
            FaultId::M3 => Some(self.quorum()),
            FaultId::B1 => Some(Fault::Stranger { node }),
            FaultId::G1 => Some(Fault::Horizon { node }),
            FaultId::L2 => {
                let client = self.client();
                let lost = self.stream.chance("replies are lost", 300);
                Some(if lost { Fault::LoseReplies { client, node } } else { Fault::ResetClient { client, node } })
            }
            _ => Some(self.node_fault(id, node)),
        };
        faults.extend(fault.map(|fault| TimedFault { at, lasting, fault }));
    }

    /// A node whose disks are replaced when one peer only has ever met it, and that one is away, has been started anew, or is
    /// met again only for a moment: nobody is left to tell the node that its store is not what it was, but what the peers stored.
    fn estranged(&mut self, lasting: Span, faults: &mut Vec<TimedFault>) {
        let (Some(node), Some([_, other])) = (self.losing_node(), self.link()) else { return };
        if node == other {
            return;
        }
        let (replaced, started) = (self.at, self.at + lasting.as_micros());
        let after = Span::from_micros(self.stream.choose("until they meet", 0..=20_000));
        let mut add =
            |at: u64, lasting: Span, fault| faults.push(TimedFault { at: Span::from_micros(at), lasting, fault });
        let strangers: Vec<Pair> = self.links_of(node).into_iter().filter(|link| !link.contains(&other)).collect();
        add(0, Span::from_micros(started + after.as_micros()), Fault::Cut { links: strangers });
        add(replaced, lasting, Fault::ReplaceDisks { node });
        match self.stream.choose("the one that met it", 0..=2) {
            0 => add(
                replaced,
                Span::from_micros(lasting.as_micros() + 300_000),
                Fault::Cut { links: vec![[node, other]] },
            ),
            1 => add(replaced, lasting, Fault::Crash { node: other, begun: 1_000 }),
            _ => {
                let inputs = number(self.stream.choose("inputs", 0..=3));
                add(started + 1, Span::from_millis(1), Fault::CrashAt { node, inputs, outputs: 1_000 });
            }
        }
    }

    /// Empty disks, at the worst time: while the node is away its peers, who know what it had, may restart; and once it is back it may
    /// crash again before it has heard of them.
    fn replaced_disks_and_aftermath(&mut self, lasting: Span, faults: &mut Vec<TimedFault>) {
        let Some(node) = self.losing_node() else { return };
        let micros = lasting.as_micros();
        let begun = self.per_mille();
        faults.push(TimedFault { at: Span::from_micros(self.at), lasting, fault: Fault::ReplaceDisks { node } });
        for peer in (1..=self.plan.cluster.nodes).filter(|peer| *peer != node) {
            if self.stream.chance("peer restarts", 600) {
                let at = Span::from_micros(self.at + self.stream.choose("within", 0..=micros / 2));
                let lasting = Span::from_micros(self.stream.choose("down", 0..=micros / 2));
                faults.push(TimedFault { at, lasting, fault: Fault::Crash { node: peer, begun } });
            }
        }
        let mut back = self.at + micros;
        for _ in 0..self.stream.choose("crashes again", 0..=3) {
            back += self.stream.choose("after", 1..=2_000);
            let lasting = Span::from_micros(self.stream.choose("down again", 1..=5_000));
            faults.push(TimedFault { at: Span::from_micros(back), lasting, fault: Fault::Crash { node, begun } });
            back += lasting.as_micros();
        }
    }

    fn node_fault(&mut self, id: FaultId, node: u32) -> Fault {
        let span = |stream: &mut Stream, label| Span::from_micros(stream.choose(label, 100..=20_000));
        match id {
            FaultId::P5 if self.stream.chance("stutters", 400) => {
                Fault::Stutter { node, runs: span(self.stream, "runs"), stands: span(self.stream, "stands") }
            }
            FaultId::P5 => Fault::Pause { node },
            FaultId::P6 if self.stream.chance("strobes", 200) => Fault::Strobe {
                node,
                by_millis: self.stream.pick("jump", &[-3_600_000, -200, 200, 3_600_000]),
                each: span(self.stream, "each"),
            },
            FaultId::P6 => Fault::Clock {
                node,
                jump_millis: self.stream.pick("jump", &[-3_600_000, -1_000, 0, 1_000, 3_600_000]),
                drift_ppm: self.stream.pick("drift", &[-200_000, -500, 0, 500, 200_000]),
            },
            FaultId::P8 => {
                Fault::CrashAt { node, inputs: number(self.stream.choose("inputs", 0..=20)), outputs: self.per_mille() }
            }
            FaultId::D1 => Fault::SyncFailure { node },
            FaultId::D5 => Fault::ReadFailure { node },
            FaultId::D6 if self.stream.chance("full", 500) => Fault::DiskFull { node },
            FaultId::D6 => Fault::WriteFailure { node },
            FaultId::D7 if self.stream.chance("stalls", 300) => Fault::StallDisk { node },
            FaultId::D7 => Fault::SlowDisk { node },
            _ if self.stream.chance("in order", 300) => Fault::Stop { node },
            _ => Fault::Crash { node, begun: self.per_mille() },
        }
    }

    fn losing_fault(&mut self, id: FaultId) -> Option<Fault> {
        let node = self.losing_node()?;
        let keeps = self.per_mille();
        Some(match id {
            FaultId::P2 => Fault::PowerLoss { nodes: vec![node], keeps, torn: false },
            FaultId::D2 => Fault::PowerLoss { nodes: vec![node], keeps, torn: true },
            FaultId::P3 => Fault::ReplaceDisks { node },
            FaultId::P4 if self.stream.chance("swap", 200) => Fault::SwapDisks { nodes: self.link()? },
            FaultId::P4 => Fault::OldCopy { node },
            FaultId::P7 => {
                let zone = self.stream.chance("one zone", 400);
                let of_zone = |other: &u32| !zone || other % ZONES == node % ZONES;
                Fault::PowerLoss { nodes: self.losing.iter().copied().filter(of_zone).collect(), keeps, torn: false }
            }
            FaultId::D3 => Fault::Rot { node, key: self.key() },
            _ if self.stream.chance("nowhere", 500) => Fault::Forget { node, key: self.key() },
            _ => Fault::Misdirect { node, keys: [self.key(), self.key()] },
        })
    }

    fn link_fault(&mut self, id: FaultId) -> Option<Fault> {
        let link = self.link()?;
        Some(match id {
            FaultId::N5 => {
                let links = if self.stream.chance("all its links", 500) { self.links_of(link[0]) } else { vec![link] };
                Fault::SlowLinks { links, factor: self.stream.pick("factor", &[5, 50]) }
            }
            FaultId::N8 => Fault::OneWay { blocked: self.some_ways(link) },
            FaultId::N9 => Fault::Cut { links: self.graph(link) },
            FaultId::N11 => Fault::Flap { link, each: Span::from_micros(self.stream.choose("each", 500..=30_000)) },
            FaultId::N12 => Fault::Clog { links: self.links_of(link[0]) },
            FaultId::N13 => Fault::Narrow {
                link,
                bytes_per_second: self.stream.pick("bandwidth", &[5_000, 100_000]),
                queue_bytes: self.stream.pick("queue", &[500, 20_000]),
            },
            _ => Fault::Reset { link },
        })
    }

    fn links_of(&self, node: u32) -> Vec<Pair> {
        (1..=self.plan.cluster.nodes).filter(|other| *other != node).map(|other| [node, other]).collect()
    }

    fn all_links(&self) -> Vec<Pair> {
        let nodes = self.plan.cluster.nodes;
        (1..=nodes).flat_map(|one| (one + 1..=nodes).map(move |other| [one, other])).collect()
    }

    /// Ways that are blocked: all to a node, all from it, or any.
    fn some_ways(&mut self, [node, other]: Pair) -> Vec<Pair> {
        match self.stream.choose("ways", 0..=2) {
            0 => vec![[node, other]],
            1 => self.links_of(node),
            _ => self.links_of(node).into_iter().map(|[node, other]| [other, node]).collect(),
        }
    }

    /// A cut that is not transitive.
    fn graph(&mut self, link: Pair) -> Vec<Pair> {
        let (nodes, bridge) = (self.plan.cluster.nodes, link[0]);
        let all = self.all_links();
        match self.stream.choose("graph", 0..=3) {
            // A bridge: two halves that meet in one node only.
            0 => {
                let half = |node: u32| (node + nodes - bridge) % nodes <= nodes / 2;
                let apart = |pair: &Pair| !pair.contains(&bridge) && half(pair[0]) != half(pair[1]);
                all.into_iter().filter(apart).collect()
            }
            // A ring of majorities: each node sees its next neighbours, and no two the same ones.
            1 => {
                let sees = nodes / 4 + 1;
                let far = |pair: &Pair| {
                    let apart = pair[1] - pair[0];
                    sees < apart.min(nodes - apart)
                };
                all.into_iter().filter(far).collect()
            }
            // One link.
            2 => vec![link],
            // Any graph.
            _ => all.into_iter().filter(|_| self.stream.chance("cut", 300)).collect(),
        }
    }

    fn islands(&mut self) -> Fault {
        let count = self.stream.pick("islands", &[2, 2, 3]);
        let mut islands = vec![Vec::new(); count];
        for node in 1..=self.plan.cluster.nodes {
            islands[self.stream.index("island", count)].push(node);
        }
        islands.retain(|island| !island.is_empty());
        Fault::Islands { islands }
    }

    fn cut_client(&mut self) -> Fault {
        let client = self.client();
        let nodes = (1..=self.plan.cluster.nodes).filter(|_| self.stream.chance("cut off", 500)).collect();
        Fault::CutClient { client, nodes }
    }

    fn quorum(&mut self) -> Fault {
        let n = self.plan.cluster.n;
        let r = u8::try_from(self.stream.choose("new r", 1..=u64::from(n))).expect("at most n");
        // Reads go on seeing what was written before: the new W meets every R, old and new.
        let overlapping = n + 1 - r.min(self.plan.cluster.r);
        let w = u8::try_from(self.stream.choose("new w", u64::from(overlapping)..=u64::from(n))).expect("at most n");
        Fault::Quorum { r, w }
    }

    fn node(&mut self) -> u32 {
        number(self.stream.choose("node", 1..=u64::from(self.plan.cluster.nodes)))
    }

    fn client(&mut self) -> u32 {
        number(self.stream.index("client", self.plan.clients.len()) as u64)
    }

    fn key(&mut self) -> usize {
        self.stream.index("key", self.plan.cluster.keys)
    }

    fn link(&mut self) -> Option<Pair> {
        let nodes = self.plan.cluster.nodes;
        let one = self.node();
        let further = (1 < nodes).then(|| number(self.stream.choose("other", 1..=u64::from(nodes) - 1)))?;
        Some([one, (one - 1 + further) % nodes + 1])
    }

    fn losing_node(&mut self) -> Option<u32> {
        (!self.losing.is_empty()).then(|| self.losing[self.stream.index("losing", self.losing.len())])
    }

    fn per_mille(&mut self) -> u16 {
        u16::try_from(self.stream.choose("of a thousand", 0..=1_000)).expect("at most a thousand")
    }
}
