//! What the replica side tells the shard: passed on to the coordinator or the peer that asked.

use quorate_ring::StoredValue;
use quorate_ring::version::{Container, Dot};
use quorate_ring::wire::{PeerMessage, ReplicaError, ReplicaPage, RequestError, Response};

use super::{Coordination, Output, Shard};
use crate::Time;
use crate::coordinator::CoordinationId;
use crate::coordinator::write::Asked;
use crate::replica::bytes_of;
use crate::replica::{Asker, Report, WriteRefusal};
use crate::start::Standing;

impl Shard {
    /// Passes on everything the replica side has to tell, and hands its operations to the store.
    pub(super) fn drain_replica(&mut self, now: Time) {
        while let Some(report) = self.replica.poll_report() {
            self.handle_report(now, report);
        }
        self.prune_alone_soon(now);
        while let Some((id, operation)) = self.replica.poll_operation() {
            self.outputs.push_back(Output::Store { id, operation });
        }
    }

    pub(super) fn handle_report(&mut self, now: Time, report: Report) {
        match report {
            Report::Read { asker, key, result } => match asker {
                Asker::Coordinator(id) => self.read_answered(now, id.exchange(), self.own(), result),
                Asker::Peer { node, exchange } => self.send(node, PeerMessage::ReadReply { exchange, result }),
                Asker::Answer { peer, exchange } => self.answer_read(now, peer, exchange, &key, result),
                Asker::Scrubber { node, exchange } => self.scrub_hints_read(node, exchange, result),
                Asker::Hinter { .. } | Asker::CatchUp { .. } | Asker::Scrub(_) | Asker::Nobody => {}
            },
            Report::Page { asker, result } => match asker {
                Asker::Coordinator(id) => {
                    let result = result.map(ReplicaPage::from);
                    self.page_answered(now, id.exchange(), self.own(), result);
                }
                Asker::Peer { node, exchange } => {
                    self.send(node, PeerMessage::ScanReply { exchange, result: result.map(ReplicaPage::from) });
                }
                Asker::Answer { peer, exchange } => self.transfer_read(peer, exchange, result),
                Asker::CatchUp { peer, exchange } => self.own_page_read(now, peer, exchange, result),
                Asker::Scrub(exchange) => self.scrub_read(now, exchange, result),
                Asker::Scrubber { node, exchange } => self.scrub_page_read(node, exchange, result),
                Asker::Hinter { .. } | Asker::Nobody => {}
            },
            Report::Stored { asker, result } => match asker {
                Asker::Coordinator(id) => self.stored(now, id, self.own(), result),
                Asker::Hinter { node, exchange, index } => self.hint_taken(now, (node, exchange, index), result),
                Asker::Peer { node, exchange } => self.send(node, PeerMessage::ReplicateReply { exchange, result }),
                Asker::CatchUp { peer, exchange } => self.caught_up_with(now, peer, exchange, result),
                Asker::Scrub(exchange) => self.mended(now, exchange, result),
                Asker::Scrubber { node, exchange } => self.send_shared(node, exchange, result),
                Asker::Answer { .. } | Asker::Nobody => {}
            },
            Report::Reached(barrier) => {
                self.compare_all(barrier);
                self.note_durable(barrier);
            }
            Report::Made { coordination, dot, container } => self.made(now, coordination, dot, container),
            Report::Refused { coordination, reason } => self.refused(coordination, reason),
            Report::SetBack => {
                self.config.standing = Standing::Lost;
                self.outputs.push_back(Output::LossFound { by: self.own(), lost: Vec::new() });
            }
            Report::Poisoned { reason } => self.outputs.push_back(Output::StorageFailed { reason }),
            Report::Held { node, exchange, held } => self.send_held(node, exchange, Ok(held)),
            Report::Unreadable(key) => self.mend_soon(now, key),
            // A store that has stopped has told why, and fails whatever was asked of it.
            Report::Damaged { reason } => {
                if self.replica.poisoned().is_none() {
                    tracing::error!(node = %self.own(), reason, "a stored entry cannot be read");
                }
            }
        }
    }

    /// A write event is made: sends it to the other primaries, and to those that stand in, while this node's store works on it.
    ///
    /// Sending before the event is on this disk is safe, as an event lost by this store is never made again: a start after such a
    /// loss is a new actor.
    fn made(&mut self, now: Time, id: CoordinationId, dot: Dot, container: Container<StoredValue>) {
        let away = Self::away(self.own(), &self.connected, &self.silences, &self.doubts);
        let Some(Coordination::Write(write)) = self.coordinations.get_mut(&id) else { return };
        let alone = container.siblings() == 0 || container.dots().eq([dot]);
        let context = alone.then(|| self.config.context_key.seal(&write.key, container.vector()));
        let siblings = u32::try_from(container.siblings()).unwrap_or(u32::MAX);
        let response = Response::Stored { siblings, context };
        let own = self.config.actor.node;
        let bytes = bytes_of(&container);
        let asked = write.handle_made(own, dot, container, response, away);
        self.hold(id, bytes);
        self.send_event(now, id, asked);
    }

    /// Sends a write event to those that are asked to store it.
    pub(super) fn send_event(&mut self, now: Time, id: CoordinationId, asked: Vec<Asked>) {
        let Some(Coordination::Write(write)) = self.coordinations.get(&id) else { return };
        let Some((dot, container)) = write.event() else { return };
        let (durability, timeout_millis) = (write.durability, write.deadline.millis_from(now));
        for Asked { node, hint_for } in asked.into_iter().filter(|asked| asked.node != self.config.actor.node) {
            let (exchange, key, container) = (id.exchange(), write.key.clone(), container.clone());
            let message =
                PeerMessage::Replicate { exchange, timeout_millis, key, dot, container, durability, hint_for };
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
            WriteRefusal::HintsFull => {
                let what = "it keeps as much for nodes that are away as it may".to_owned();
                RequestError::Overloaded { node: self.own(), what }
            }
            WriteRefusal::Replica(_) => {
                RequestError::Overloaded { node: self.own(), what: "too many operations wait for the store".to_owned() }
            }
        };
        self.finish(id, Err(error));
    }
}
