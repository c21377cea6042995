//! Datagrams between nodes: what their failure detectors say.
//!
//! They travel over the connection of two nodes and need nothing else of it, whatever carries its messages: each is delayed on its own, and so
//! overtakes others, and while there is load some are lost or doubled as the network likes. One that meets a cut, blocked, clogged or
//! corrupted way is lost. What is drawn for them comes from streams of their own.
//!
//! They are never at rest: nothing that waits until nodes have nothing more to do counts them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_node::membership::Standing;
use quorate_node::{Input, Time};
use quorate_ring::NodeId;

use super::event::{DatagramOnItsWay, Event};
use super::{Phase, Simulation, node_id};
use crate::oracle::Violation;
use crate::plan::Carrier;
use crate::sometimes::Sometimes;

/// How many of a thousand are lost, and doubled, beside messages that are not.
const LOST: u64 = 20;
const DUPLICATED: u64 = 20;
/// A double comes up to so many times as late.
const LATE_MAX: u64 = 40;

impl Simulation {
    /// Sends a datagram, on the connection that is up.
    pub(super) fn send_datagram(&mut self, from: usize, to: usize, bytes: Bytes) {
        self.history.update(&bytes);
        let second = self.now.since(Time::default()).as_secs();
        *self.members.spread.detector_bytes.entry(second).or_default() += bytes.len() as u64;
        let lives = [self.nodes[from].life, self.nodes[to].life];
        let (lost, duplicated) = match (self.phase, self.plan.network.carrier) {
            (Phase::Load, Carrier::Streams) => (LOST, DUPLICATED),
            (Phase::Load, Carrier::Datagrams { lost, duplicated }) => (LOST.max(lost), duplicated),
            _ => (0, 0),
        };
        let Self { links, nodes, choices, plan, .. } = self;
        let link = &mut links[from.min(to) * nodes.len() + from.max(to)];
        let (up, epoch, slow, corrupted) = (link.up, link.epoch, link.slow.unwrap_or(1), link.corrupt);
        let way = link.way(from, to);
        let holds = way.holds();
        let stream = way.datagrams(choices, from, to);
        let delay = plan.network.delay.draw("delay", stream) * slow;
        let lost = stream.chance("lost", lost) || stream.chance("corrupted", corrupted.map_or(0, |(chance, _)| chance));
        let again = stream.chance("duplicated", duplicated).then(|| stream.choose("how late", 1..=LATE_MAX));
        if !up || holds || lost {
            return self.tallies.note(Sometimes::DatagramLost);
        }
        let datagram = Box::new(DatagramOnItsWay { from, to, lives, epoch, bytes });
        if let Some(again) = again {
            let late = delay * u32::try_from(again).expect("small");
            self.queue.push(self.now + late, Event::Datagram(datagram.clone()));
        }
        self.queue.push(self.now + delay, Event::Datagram(datagram));
    }

    /// A datagram arrives, if its connection is still there.
    pub(super) fn datagram_arrived(&mut self, datagram: DatagramOnItsWay) -> Result<(), Violation> {
        let DatagramOnItsWay { from, to, lives, epoch, bytes } = datagram;
        let alive = lives == [self.nodes[from].life, self.nodes[to].life] && self.nodes[to].process.is_some();
        let link = self.link(from, to);
        if !alive || !link.up || link.epoch != epoch {
            self.tallies.note(Sometimes::DatagramLost);
            return Ok(());
        }
        self.turn(to, 0, Input::Datagram { from: node_id(from), datagram: bytes })
    }

    /// The first shard of a node tells the others what is thought of the other nodes.
    pub(super) fn opined(&mut self, node: usize, standings: Arc<BTreeMap<NodeId, Standing>>) {
        let life = self.nodes[node].life;
        for shard in 1..self.nodes[node].disks.len() {
            let standings = standings.clone();
            self.queue.push(self.now, Event::Opined { node, life, shard, standings });
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        let before = std::mem::replace(&mut process.opinions, standings);
        for (other, standing) in process.opinions.iter() {
            match (before.get(other), standing) {
                (Some(known), standing) if known == standing => {}
                (Some(Standing::Suspected), Standing::Alive) => self.tallies.note(Sometimes::SuspicionRefuted),
                (Some(Standing::Down), Standing::Alive) => self.tallies.note(Sometimes::NodeBack),
                (_, Standing::Alive) => {}
                (_, Standing::Suspected) => self.tallies.note(Sometimes::NodeSuspected),
                (_, Standing::Down) => self.tallies.note(Sometimes::NodeDown),
            }
        }
    }
}
