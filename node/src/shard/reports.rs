//! What the replica side tells the shard: passed on to the coordinator or the peer that asked.

use quorate_ring::StoredValue;
use quorate_ring::version::{Container, Dot};
use quorate_ring::wire::{PeerMessage, ReplicaError, RequestError, Response};

use super::{Coordination, Output, Shard};
use crate::Time;
use crate::coordinator::CoordinationId;
use crate::replica::{Asker, Report, WriteRefusal};
use crate::start::Standing;

impl Shard {
    /// Passes on everything the replica side has to tell, and hands its operations to the store.
    pub(super) fn drain_replica(&mut self, now: Time) {
        while let Some(report) = self.replica.poll_report() {
            self.handle_report(now, report);
        }
        while let Some((id, operation)) = self.replica.poll_operation() {
            self.outputs.push_back(Output::Store { id, operation });
        }
    }

    fn handle_report(&mut self, now: Time, report: Report) {
        match report {
            Report::Read { asker, result } => match asker {
                Asker::Coordinator(id) => self.read_answered(now, id.exchange(), self.own(), result),
                Asker::Peer { node, exchange } => self.send(node, PeerMessage::ReadReply { exchange, result }),
                Asker::Nobody => {}
            },
            Report::Page { asker, result } => match asker {
                Asker::Coordinator(id) => self.page_answered(now, id.exchange(), self.own(), result),
                Asker::Peer { node, exchange } => self.send(node, PeerMessage::ScanReply { exchange, result }),
                Asker::Nobody => {}
            },
            Report::Stored { asker, result } => match asker {
                Asker::Coordinator(id) => self.stored(id, self.own(), result),
                Asker::Peer { node, exchange } => self.send(node, PeerMessage::ReplicateReply { exchange, result }),
                Asker::Nobody => {}
            },
            Report::Made { coordination, dot, container } => self.made(now, coordination, dot, &container),
            Report::Refused { coordination, reason } => self.refused(coordination, reason),
            Report::SetBack => {
                self.config.standing = Standing::Lost;
                self.outputs.push_back(Output::LossFound { by: self.own(), lost: self.config.actor.incarnation });
            }
            Report::Poisoned { reason } => self.outputs.push_back(Output::StorageFailed { reason }),
            Report::Damaged { reason } => tracing::error!(node = %self.own(), reason, "a stored entry cannot be read"),
        }
    }

    /// A write event is made: sends it to the other primaries while this node's store works on it.
    ///
    /// Sending before the event is on this disk is safe, as an event lost by this store is never made again: a start after such a
    /// loss is a new actor.
    fn made(&mut self, now: Time, id: CoordinationId, dot: Dot, container: &Container<StoredValue>) {
        let Some(Coordination::Write(write)) = self.coordinations.get_mut(&id) else { return };
        let alone = container.siblings() == 0 || container.dots().eq([dot]);
        let context = alone.then(|| self.config.context_key.seal(&write.key, container.vector()));
        let siblings = u32::try_from(container.siblings()).unwrap_or(u32::MAX);
        let asked = write.handle_made(Response::Stored { siblings, context });
        let (key, durability, timeout_millis) = (write.key.clone(), write.durability, write.deadline.millis_from(now));
        for node in asked.into_iter().filter(|node| *node != self.config.actor.node) {
            let (exchange, key, container) = (id.exchange(), key.clone(), container.clone());
            let message =
                PeerMessage::Replicate { exchange, timeout_millis, key, dot, container, durability, hint_for: None };
            self.outputs.push_back(Output::SendPeer { to: node, message });
        }
    }

    fn refused(&mut self, id: CoordinationId, reason: WriteRefusal) {
        let error = match reason {
            WriteRefusal::TooManySiblings { siblings, bytes } => RequestError::TooManySiblings {
                siblings: u32::try_from(siblings).unwrap_or(u32::MAX),
                bytes: bytes as u64,
            },
            WriteRefusal::Replica(ReplicaError::StorageFailed) => {
                let reason = self.replica.poisoned().unwrap_or("the key's stored state cannot be read").to_owned();
                RequestError::StorageFailed { node: self.own(), reason }
            }
            WriteRefusal::Replica(_) => {
                RequestError::Overloaded { node: self.own(), what: "too many operations wait for the store".to_owned() }
            }
        };
        self.finish(id, Err(error));
    }
}
