//! What a thread does in its turn, and what that is charged.

use std::time::Duration;

use quorate_node::shard::split;
use quorate_node::storage::{Change, Operation, Storage as _};
use quorate_node::{Input, Output};
use quorate_ring::NodeId;
use quorate_ring::wire::{ClientMessage, NodeMessage, PeerMessage, frame};
use serde::Serialize;

use super::super::times::Cost;
use super::packet::{Outboxes, Sending};
use super::{Cluster, Event, Phase, SESSION, Work, wall};
use crate::engine::node_id;

/// How often a shard is told the wall clock, and its store synced.
const CLOCK_INTERVAL: Duration = Duration::from_millis(100);
/// On its way while records are stored.
const LOADING_NETWORK: Duration = Duration::from_micros(1);

impl Cluster<'_> {
    pub(super) fn charge(&mut self, cost: Cost, amount: f64) {
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

    pub(super) fn work(&mut self, thread: usize, work: Work) {
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

    pub(super) fn tell_clock(&mut self, thread: usize) {
        let now = self.now;
        let held = &mut self.held[thread];
        if held.clock_at.is_none_or(|at| CLOCK_INTERVAL <= now.since(at)) {
            held.clock_at = Some(now);
            held.store.sync();
            self.core(thread, Input::WallClock(wall(now)));
        }
    }

    /// The core takes an input, and what it wants done is done or collected.
    pub(super) fn core(&mut self, thread: usize, input: Input) {
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
    pub(super) fn do_stored(&mut self, thread: usize) {
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
    pub(super) fn seal(&mut self, thread: usize) {
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
    pub(super) fn send(&mut self, from: usize, sending: Sending) {
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
