//! Hints: what this shard keeps for others, hands over, and is handed.

use quorate_ring::NodeId;
use quorate_ring::wire::{HintMessage, PeerMessage, ReplicaError};

use super::Shard;

impl Shard {
    /// Takes what a peer says about hints.
    pub(super) fn handle_hint_message(&mut self, from: NodeId, message: HintMessage) {
        if let HintMessage::Hand { exchange, .. } = message {
            let result = Err(ReplicaError::NotResponsible);
            self.send(from, PeerMessage::Hint(HintMessage::Taken { exchange, result }));
        }
    }
}
