//! Messages that go together, and where a turn collects them.

use std::collections::BTreeMap;

use quorate_ring::NodeId;
use quorate_ring::wire::{ClientMessage, NodeMessage, PeerMessage};

/// Messages that go together.
pub(super) struct Packet<M> {
    pub(super) messages: Vec<M>,
    pub(super) bytes: usize,
}

/// A packet on its way out, by who receives it.
pub(super) enum Sending {
    Peer(NodeId, Packet<PeerMessage>),
    Client(Packet<NodeMessage>),
    Node(NodeId, Packet<ClientMessage>),
}

/// What is collected in a turn: one packet for each receiver.
#[derive(Default)]
pub(super) struct Outboxes {
    pub(super) peers: BTreeMap<NodeId, Packet<PeerMessage>>,
    pub(super) client: Packet<NodeMessage>,
    pub(super) nodes: BTreeMap<NodeId, Packet<ClientMessage>>,
}

impl<M> Default for Packet<M> {
    fn default() -> Self {
        Self { messages: Vec::new(), bytes: 0 }
    }
}

impl<M> Packet<M> {
    pub(super) fn push(&mut self, message: M, bytes: usize) {
        self.messages.push(message);
        self.bytes += bytes;
    }
}

impl Sending {
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Peer(_, packet) => packet.bytes,
            Self::Client(packet) => packet.bytes,
            Self::Node(_, packet) => packet.bytes,
        }
    }
}
