//! What goes wrong, when, and how it ends.

mod links;
mod machines;

use std::time::Duration;

use quorate_ring::Quorum;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{Hello, PROTOCOL_VERSION, Request, Role};

use super::event::Event;
use super::{Phase, Simulation, index_in_plan, node_id};
use crate::client::Task;
use crate::oracle::bits::Bits;
use crate::plan::fault::{Fault, TimedFault};
use crate::sometimes::Sometimes;

impl Simulation {
    /// A fault of the plan begins.
    pub(super) fn fault_begins(&mut self, index: usize) {
        if self.phase != Phase::Load {
            return;
        }
        let TimedFault { lasting, fault, .. } = self.plan.faults[index].clone();
        self.tell_fault_begins(index);
        self.active.push(index);
        self.queue.push(self.now + lasting.duration(), Event::FaultEnds { index });
        match &fault {
            Fault::SlowLinks { .. }
            | Fault::Corrupt { .. }
            | Fault::Islands { .. }
            | Fault::OneWay { .. }
            | Fault::Cut { .. }
            | Fault::Flap { .. }
            | Fault::Clog { .. }
            | Fault::Narrow { .. }
            | Fault::Reset { .. } => self.link_fault_begins(&fault, lasting.duration()),
            Fault::CutClient { client, nodes } => {
                self.tallies.note(Sometimes::ClientCutOff);
                for node in nodes.iter().map(|node| index_in_plan(*node)) {
                    self.disconnect_client(*client as usize, node);
                    self.clients[*client as usize].links[node].cuts += 1;
                }
                self.fired(fault.id());
            }
            Fault::ResetClient { client, node } => {
                self.disconnect_client(*client as usize, index_in_plan(*node));
                self.fired(fault.id());
            }
            Fault::LoseReplies { client, node } => {
                self.clients[*client as usize].links[index_in_plan(*node)].mute += 1;
            }
            Fault::Horizon { node } => self.horizon_passes(index_in_plan(*node), &fault),
            Fault::LoseEach { .. } => self.counted = 0,
            Fault::Quorum { r, w } => {
                self.change_quorum(*r, *w);
                self.fired(fault.id());
            }
            Fault::Stranger { node } => self.stranger(index_in_plan(*node), &fault),
            Fault::Members { .. } => self.members_change(index),
            _ => self.machine_fault_begins(&fault, lasting.duration()),
        }
    }

    /// A fault of the plan ends, if it has not yet.
    pub(super) fn fault_ends(&mut self, index: usize) {
        let Some(place) = self.active.iter().position(|active| *active == index) else { return };
        self.active.remove(place);
        let fault = self.plan.faults[index].fault.clone();
        self.tell(|story, at| story.fault_ends(at, index));
        match &fault {
            Fault::CutClient { client, nodes } => {
                for node in nodes {
                    let link = &mut self.clients[*client as usize].links[index_in_plan(*node)];
                    link.cuts = link.cuts.saturating_sub(1);
                }
            }
            Fault::LoseReplies { client, node } => {
                let link = &mut self.clients[*client as usize].links[index_in_plan(*node)];
                link.mute = link.mute.saturating_sub(1);
            }
            Fault::OldCopy { .. } | Fault::SwapDisks { .. } => self.machine_fault_ends(&fault),
            _ => self.link_fault_ends(&fault),
        }
    }

    /// The default R and W change. What is under way and asked for none may meet the old or the new.
    fn change_quorum(&mut self, r: u8, w: u8) {
        let n = self.plan.cluster.n;
        self.quorum = Quorum::new(n, r, w).expect("the plan was checked");
        self.loosest = Quorum::new(n, self.loosest.r().min(r), self.loosest.w().min(w)).expect("both were checked");
        self.truth.loosen(w);
        for doing in self.clients.iter_mut().filter_map(|client| client.doing.as_mut()) {
            match (&mut doing.task, doing.operation.request()) {
                (Task::Get { required, .. }, Request::Get { r: None, .. }) => *required = Bits::default(),
                (Task::GetMany(keys), Request::GetMany { r: None, .. })
                | (Task::Scan { keys, .. }, Request::Scan { r: None, .. }) => {
                    keys.iter_mut().for_each(|(_, required)| *required = Bits::default());
                }
                _ => {}
            }
        }
    }

    /// Someone of another cluster says hello in a frame that a node reads: it must not be taken for one of this cluster. That a real
    /// node refuses it is for the tests of real processes; here it must be read without harm.
    fn stranger(&mut self, node: usize, fault: &Fault) {
        let name = quorate_ring::ClusterName::new("another").expect("a valid name");
        let role = Role::Peer { node: node_id(node), incarnation: Incarnation::new(1), ring: 0, secret: 0 };
        let hello = Hello { protocol: PROTOCOL_VERSION, cluster: name, role };
        let mut frame = Vec::new();
        quorate_ring::wire::frame::encode(&hello, &mut frame).expect("a small message");
        let mut decoder = quorate_ring::wire::frame::Decoder::new();
        decoder.push(&frame);
        let payload = decoder.next().ok().flatten().expect("a whole frame");
        let as_peer = quorate_ring::wire::frame::decode::<quorate_ring::wire::PeerMessage>(&payload);
        assert!(as_peer.is_err(), "a hello is no message between peers");
        self.fired(fault.id());
    }

    /// All faults end, and all nodes but these start.
    pub(super) fn heal_core(&mut self, without: &[usize]) {
        self.active.clone().into_iter().for_each(|index| self.fault_ends(index));
        self.phase = Phase::Core;
        self.links.iter_mut().for_each(super::link::Link::heal);
        self.clients.iter_mut().flat_map(|client| &mut client.links).for_each(|link| (link.cuts, link.mute) = (0, 0));
        for node in 0..self.nodes.len() {
            self.heal_machine(node);
            if without.contains(&node) {
                self.crash_for(node, None, 0);
            } else if self.nodes[node].process.is_none() {
                self.queue.push(self.now, Event::Start { node });
            }
        }
        self.reconnect();
    }

    /// All nodes start.
    pub(super) fn heal_all(&mut self) {
        self.phase = Phase::Healed;
        for node in 0..self.nodes.len() {
            if self.nodes[node].process.is_none() {
                self.queue.push(self.now, Event::Start { node });
            }
        }
    }

    fn reconnect(&mut self) {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                self.release(from, to);
            }
            self.connect_all(from);
        }
    }

    /// A process dies, and starts again after a while.
    pub(super) fn crash(&mut self, node: usize) {
        self.crash_for(node, Some(DOWN), 500);
    }
}

/// How long a process is down that nobody said how long.
const DOWN: Duration = Duration::from_millis(20);
