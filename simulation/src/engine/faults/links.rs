//! Faults of links between nodes.

use std::time::Duration;

use super::super::event::Event;
use super::super::{Simulation, index_in_plan};
use crate::catalogue::FaultId;
use crate::oracle::truth::Write;
use crate::plan::fault::{Fault, Pair};
use crate::sometimes::Sometimes;

/// Longer than any value of a seed's plan lives.
const HORIZON_MILLIS: i64 = 3 * 3_600_000;

fn pair_of(pair: Pair) -> [usize; 2] {
    let [one, other] = pair.map(index_in_plan);
    [one.min(other), one.max(other)]
}

fn way_of(way: Pair) -> [usize; 2] {
    way.map(index_in_plan)
}

/// Both ways of links.
fn ways_of(links: &[Pair]) -> impl Iterator<Item = [usize; 2]> {
    links.iter().flat_map(|link| [way_of(*link), way_of([link[1], link[0]])])
}

impl Simulation {
    pub(super) fn link_fault_begins(&mut self, fault: &Fault, lasting: Duration) {
        match fault {
            Fault::SlowLinks { links, factor } => {
                links.iter().for_each(|link| self.link_of(*link).slow = Some(*factor));
                self.fired(FaultId::N5);
            }
            Fault::Corrupt { link, per_mille, layer } => self.link_of(*link).corrupt = Some((*per_mille, *layer)),
            Fault::Islands { .. } | Fault::Cut { .. } => {
                let pairs = self.cut_by(fault);
                if !pairs.is_empty() {
                    self.tallies.note(Sometimes::Partitioned);
                    self.fired(fault.id());
                }
                pairs.into_iter().for_each(|pair| self.cut(pair));
            }
            Fault::OneWay { blocked } => {
                self.fired(FaultId::N8);
                blocked.iter().for_each(|way| self.block(way_of(*way)));
            }
            Fault::Flap { link, each } => {
                let each = each.duration().max(Duration::from_micros(100));
                let (pair, mut after, mut down) = (pair_of(*link), Duration::ZERO, true);
                while after < lasting {
                    self.queue.push(self.now + after, Event::Flap { pair, down });
                    (after, down) = (after + each, !down);
                }
                if !down {
                    self.queue.push(self.now + lasting, Event::Flap { pair, down });
                }
            }
            Fault::Clog { links } => {
                self.fired(FaultId::N12);
                ways_of(links).for_each(|[from, to]| self.link(from, to).way(from, to).clogged += 1);
            }
            Fault::Narrow { link, bytes_per_second, queue_bytes } => {
                self.link_of(*link).narrow = Some((*bytes_per_second, *queue_bytes));
            }
            Fault::Reset { link } => {
                let [one, other] = pair_of(*link);
                self.tallies.note(Sometimes::Reset);
                self.fired(FaultId::N15);
                self.break_link(one, other);
            }
            _ => {}
        }
    }

    pub(super) fn link_fault_ends(&mut self, fault: &Fault) {
        match fault {
            Fault::SlowLinks { links, .. } => links.iter().for_each(|link| self.link_of(*link).slow = None),
            Fault::Corrupt { link, .. } => self.link_of(*link).corrupt = None,
            Fault::Narrow { link, .. } => self.link_of(*link).narrow = None,
            Fault::Islands { .. } | Fault::Cut { .. } | Fault::Horizon { .. } => {
                self.cut_by(fault).into_iter().for_each(|pair| self.mend(pair));
            }
            Fault::OneWay { blocked } => {
                for [from, to] in blocked.iter().map(|way| way_of(*way)) {
                    let way = self.link(from, to).way(from, to);
                    way.blocked = way.blocked.saturating_sub(1);
                    self.release(from, to);
                    self.connect([from.min(to), from.max(to)]);
                }
            }
            Fault::Clog { links } => {
                for [from, to] in ways_of(links) {
                    let way = self.link(from, to).way(from, to);
                    way.clogged = way.clogged.saturating_sub(1);
                    self.release(from, to);
                }
            }
            _ => {}
        }
    }

    /// A node is cut off, and the wall clocks of the others pass whatever expires.
    pub(super) fn horizon_passes(&mut self, node: usize, fault: &Fault) {
        self.cut_by(fault).into_iter().for_each(|pair| self.cut(pair));
        let others = self.nodes.iter_mut().enumerate().filter(|(other, _)| *other != node);
        others.for_each(|(_, machine)| machine.clock.jump(HORIZON_MILLIS));
        let lives = |write: &Write| write.expires_at.is_some_and(|moment| self.truth.wall < moment);
        if self.truth.writes.iter().any(lives) {
            self.fired(fault.id());
        }
    }

    /// A flapping link goes down, or up.
    pub(in super::super) fn flap(&mut self, pair: [usize; 2], down: bool) {
        if !down {
            self.mend(pair);
        } else if self.phase == super::Phase::Load {
            self.fired(FaultId::N11);
            self.cut(pair);
        }
    }

    fn link_of(&mut self, link: Pair) -> &mut super::super::link::Link {
        let [one, other] = pair_of(link);
        self.link(one, other)
    }

    /// The links that a fault cuts.
    fn cut_by(&self, fault: &Fault) -> Vec<[usize; 2]> {
        match fault {
            Fault::Cut { links } => links.iter().map(|link| pair_of(*link)).collect(),
            Fault::Horizon { node } => {
                let node = index_in_plan(*node);
                let others = (0..self.nodes.len()).filter(|other| *other != node);
                others.map(|other| [node.min(other), node.max(other)]).collect()
            }
            Fault::Islands { islands } => {
                let island = |node: usize| islands.iter().position(|island| island.contains(&(node as u32 + 1)));
                let nodes = self.nodes.len();
                let all = (0..nodes).flat_map(|one| (one + 1..nodes).map(move |other| [one, other]));
                all.filter(|[one, other]| island(*one) != island(*other)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn cut(&mut self, [one, other]: [usize; 2]) {
        self.break_link(one, other);
        self.link(one, other).cuts += 1;
    }

    fn mend(&mut self, pair: [usize; 2]) {
        let link = self.link(pair[0], pair[1]);
        link.cuts = link.cuts.saturating_sub(1);
        self.connect(pair);
    }

    /// Nothing passes a way any more; in time, both sides give the connection up.
    fn block(&mut self, [from, to]: [usize; 2]) {
        let Self { links, nodes, choices, plan, .. } = self;
        let link = &mut links[from.min(to) * nodes.len() + from.max(to)];
        let epoch = link.epoch;
        let way = link.way(from, to);
        way.blocked += 1;
        let after = plan.network.detection.draw("giving up", way.stream(choices, from, to));
        if plan.network.carrier == crate::plan::Carrier::Streams {
            self.queue.push(self.now + after, Event::GiveUp { from, to, epoch });
        }
    }
}
