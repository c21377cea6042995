//! What peers say to a shard, and what becomes of requests when a connection to one goes.

use quorate_ring::limits::KNOWN_INCARNATIONS_MAX;
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{
    Durability, ExchangeId, PeerMessage, ReplicaError, ReplicaPage, ReplicaRead, Request, RequestError, Response,
};
use quorate_ring::{NodeId, ObjectKey};

use super::{Coordination, Output, Shard};
use crate::Time;
use crate::admission::limit::Kind;
use crate::coordinator::write::Asked;
use crate::coordinator::{CoordinationId, ReplyTo};
use crate::handoff::hint::store::HintOperation;
use crate::replica::bytes_of;
use crate::replica::{Asker, KeyOperation};
use crate::start::Standing;

impl Shard {
    /// Takes what a peer says.
    pub(super) fn handle_peer_message(&mut self, now: Time, from: NodeId, message: PeerMessage) {
        match message {
            PeerMessage::Read { exchange, timeout_millis, key, stand_in } => {
                self.pacer.handle_asked(now);
                let deadline = Self::deadline(now, timeout_millis);
                let asker = Asker::Peer { node: from, exchange };
                if self.goes_by_an_older_epoch(from) {
                    let result = Err(ReplicaError::NotResponsible);
                    return self.send(from, PeerMessage::ReadReply { exchange, result });
                }
                if self.holds(&key) {
                    return self.replica.handle_key(key, KeyOperation::Read { asker, deadline });
                }
                if stand_in {
                    return self.hints.store.handle_key(key, HintOperation::Read { asker, deadline });
                }
                self.send(from, PeerMessage::ReadReply { exchange, result: Err(ReplicaError::NotResponsible) });
            }
            PeerMessage::Replicate { hint_for: None, ref key, ref container, .. }
                if !self.holds(key) && self.has_room_to_park(from, container) =>
            {
                self.parked.push((from, message));
            }
            PeerMessage::Replicate { exchange, timeout_millis, key, dot, container, durability, hint_for } => {
                self.pacer.handle_asked(now);
                let asker = Asker::Peer { node: from, exchange };
                if self.goes_by_an_older_epoch(from) {
                    let result = Err(ReplicaError::NotResponsible);
                    return self.send(from, PeerMessage::ReplicateReply { exchange, result });
                }
                if let Some(target) = hint_for {
                    return self.keep_hint(asker, target, key, (dot, container), durability);
                }
                if self.holds(&key) {
                    let deadline = Self::deadline(now, timeout_millis);
                    let operation = KeyOperation::Replicate { asker, container, dot, durability, deadline };
                    return self.replica.handle_key(key, operation);
                }
                self.send(from, PeerMessage::ReplicateReply { exchange, result: Err(ReplicaError::NotResponsible) });
            }
            PeerMessage::Repair { key, container, exchange } if self.holds(&key) => {
                let asker = exchange.map_or(Asker::Nobody, |exchange| Asker::Peer { node: from, exchange });
                let durability = Durability::Buffered;
                self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots: Vec::new(), durability });
            }
            PeerMessage::Repair { exchange: None, .. } => {}
            PeerMessage::Repair { exchange: Some(exchange), .. } => {
                self.send(from, PeerMessage::ReplicateReply { exchange, result: Err(ReplicaError::NotResponsible) });
            }
            PeerMessage::Sync(message) => self.admit_sync(now, from, message),
            PeerMessage::Scrub(message) => self.handle_scrub(now, from, message),
            PeerMessage::Layout(message) => self.handle_layout_message(from, message),
            PeerMessage::Known { incarnations } => self.handle_known(from, &incarnations),
            PeerMessage::Scan { exchange, bucket, partition, after, limit, .. } => {
                let exists = u32::from(partition.number()) < self.placement.partitions().get();
                if exists && self.replica.holds(partition) && !self.goes_by_an_older_epoch(from) {
                    let asker = Asker::Peer { node: from, exchange };
                    return self.replica.handle_scan(asker, Some(&bucket), partition, after.as_ref(), limit);
                }
                self.send(from, PeerMessage::ScanReply { exchange, result: Err(ReplicaError::NotResponsible) });
            }
            PeerMessage::Forward { exchange, timeout_millis, request } => {
                self.handle_forward(now, ReplyTo::Peer { node: from, exchange }, timeout_millis, request);
            }
            PeerMessage::ReadReply { exchange, result } => self.read_answered(now, exchange, from, result),
            PeerMessage::ReplicateReply { exchange, result } => {
                self.stored(now, CoordinationId(exchange.0), from, result);
            }
            PeerMessage::Hint(message) => self.handle_hint_message(now, from, message),
            PeerMessage::ScanReply { exchange, result } => self.page_answered(now, exchange, from, result),
            PeerMessage::ForwardReply { exchange, result } => self.forward_answered(now, exchange, from, result),
        }
    }

    fn holds(&self, key: &ObjectKey) -> bool {
        self.replica.holds(self.partition_of(key))
    }

    /// There is a connection to a peer: tells it which incarnations of it this node has met, and remembers this one.
    ///
    /// All of them are told, not the last only: a node that lost its store may crash again before it has heard.
    pub(super) fn handle_connected(&mut self, now: Time, peer: NodeId, incarnation: Incarnation) {
        self.connected.insert(peer);
        self.scrub.closing.handle_connected(now, peer, incarnation);
        self.ranking.forget(peer);
        self.forget_silence(peer);
        self.meet(now, peer);
        self.compare_soon(now, peer, incarnation);
        if self.config.shard != 0 {
            return;
        }
        let known = self.known.entry(peer).or_default();
        let incarnations = known.clone();
        if !known.contains(&incarnation) {
            known.push(incarnation);
            let forgotten = known.len().saturating_sub(KNOWN_INCARNATIONS_MAX);
            known.drain(..forgotten);
            self.replica.remember_peer(peer, known);
        }
        self.send(peer, PeerMessage::Known { incarnations });
        self.tell_layout_to(peer);
    }

    /// A peer tells which incarnations of this node it has met. One that this store has no memory of means that the store is not
    /// the one that made them: emptied, or set back. From then on it is remembered like those before this one, or it would be found
    /// anew at every start, long after all that it had was received again.
    fn handle_known(&mut self, from: NodeId, incarnations: &[Incarnation]) {
        let own = self.config.actor.incarnation;
        let is_foreign =
            |incarnation: &&Incarnation| **incarnation != own && !self.config.ancestors.contains(*incarnation);
        let lost: Vec<Incarnation> = incarnations.iter().filter(is_foreign).copied().collect();
        if lost.is_empty() {
            self.unheard.remove(&from);
            return self.prove();
        }
        self.config.ancestors.extend(&lost);
        if self.config.standing != Standing::Lost {
            self.config.standing = Standing::Lost;
            self.replica.fall_behind();
        }
        self.outputs.push_back(Output::LossFound { by: from, lost });
        self.check_complete();
    }

    /// Takes an unproven store for a new node's once no peer is left that could say otherwise.
    pub(super) fn prove(&mut self) {
        if self.config.standing == Standing::Unproven && self.unheard.is_empty() {
            self.config.standing = Standing::Proven;
            self.trust_store();
            self.outputs.push_back(Output::Proven);
        }
    }

    /// A peer hands over a client's write. Only puts and deletes are forwarded.
    fn handle_forward(&mut self, now: Time, reply_to: ReplyTo, timeout_millis: u32, request: Request) {
        if matches!(request, Request::Put { .. } | Request::Delete { .. }) {
            return self.handle_request(now, reply_to, timeout_millis, request, None);
        }
        let reason = "only a put or a delete can be forwarded".to_owned();
        self.reply(reply_to, Err(RequestError::Invalid { reason }));
    }

    pub(super) fn read_answered(
        &mut self,
        now: Time,
        exchange: ExchangeId,
        from: NodeId,
        result: Result<ReplicaRead, ReplicaError>,
    ) {
        let id = CoordinationId(exchange.0);
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        let asked_at = read.asking.settle(from);
        self.note_answer(now, from, asked_at, &result);
        self.note_refused(from, &result);
        self.hold(id, result.as_ref().map_or(0, |read| bytes_of(&read.container)));
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        let step = match result {
            Ok(ReplicaRead { container, complete }) => read.handle_answer(from, container, complete),
            Err(error) => read.handle_error(from, error),
        };
        self.get_step(now, id, step);
    }

    pub(super) fn page_answered(
        &mut self,
        now: Time,
        exchange: ExchangeId,
        from: NodeId,
        result: Result<ReplicaPage, ReplicaError>,
    ) {
        let id = CoordinationId(exchange.0);
        let Some(Coordination::Page(read)) = self.coordinations.get_mut(&id) else { return };
        if read.asking.settle(from).is_some() {
            self.ranking.handle_settled(from);
        }
        self.note_overload(now, from, result.as_ref().err());
        let bytes = |page: &ReplicaPage| page.objects.iter().map(|object| bytes_of(&object.container)).sum();
        self.hold(id, result.as_ref().map_or(0, bytes));
        let Some(Coordination::Page(read)) = self.coordinations.get_mut(&id) else { return };
        let step = match result {
            Ok(page) => {
                let complete = page.complete;
                read.handle_answer(from, page, complete)
            }
            Err(error) => read.handle_error(from, error),
        };
        self.page_step(now, id, step);
    }

    /// A primary, or one that stands in, has stored a write, or has not.
    pub(super) fn stored(&mut self, now: Time, id: CoordinationId, from: NodeId, result: Result<(), ReplicaError>) {
        self.note_overload(now, from, result.as_ref().err());
        self.note_refused(from, &result);
        let told = self.members_have_changed() && from != self.own();
        match self.coordinations.get_mut(&id) {
            Some(Coordination::Write(write)) => {
                // By which epoch this shard's requests go it has just been told.
                if told && result == Err(ReplicaError::NotResponsible) && write.asks_again(from) {
                    return self.send_event(now, id, vec![Asked { node: from, hint_for: None }]);
                }
                write.handle_stored(from, result);
                self.write_step(now, id);
            }
            Some(Coordination::Get(read)) => {
                let step = read.handle_mended(from, result);
                self.get_step(now, id, step);
            }
            _ => {}
        }
    }

    fn forward_answered(
        &mut self,
        now: Time,
        exchange: ExchangeId,
        from: NodeId,
        result: Result<Response, RequestError>,
    ) {
        let id = CoordinationId(exchange.0);
        match self.coordinations.get(&id) {
            Some(Coordination::Forward(forward)) if forward.primary == from => {
                if result.is_ok() {
                    self.limit.handle_answered(now, &self.shares, Kind::Write, now.since(forward.begun));
                }
                self.finish(id, result);
            }
            _ => {}
        }
    }

    /// The connection to a peer is gone: nothing that was asked of it on that connection will be answered.
    pub(super) fn handle_disconnected(&mut self, now: Time, peer: NodeId) {
        if !self.connected.remove(&peer) {
            return;
        }
        self.forget_silence(peer);
        self.writes_by.remove(&peer);
        self.keeping.protocols.remove(&peer);
        self.parked.retain(|(from, _)| *from != peer);
        self.hints.deliveries.values_mut().for_each(|delivery| delivery.handle_disconnected(peer));
        self.forget_exchanges(peer);
        self.forget_background(now, peer);
        self.forget_scrub(now, peer);
        self.scrub.closing.handle_disconnected(now, peer);
        let ids: Vec<CoordinationId> = self.coordinations.keys().copied().collect();
        for id in ids {
            match self.coordinations.get_mut(&id) {
                Some(Coordination::Get(read)) => {
                    read.asking.settle(peer).inspect(|_| self.ranking.handle_settled(peer));
                    let step = read.handle_unreachable(peer);
                    self.get_step(now, id, step);
                }
                Some(Coordination::Page(read)) => {
                    read.asking.settle(peer).inspect(|_| self.ranking.handle_settled(peer));
                    let step = read.handle_unreachable(peer);
                    self.page_step(now, id, step);
                }
                Some(Coordination::Write(write)) => {
                    write.handle_unreachable(peer);
                    self.write_step(now, id);
                }
                Some(Coordination::Forward(forward)) if forward.primary == peer => {
                    let node = self.config.actor.node;
                    self.finish(id, Err(RequestError::ForwardLost { node, primary: peer }));
                }
                _ => {}
            }
        }
    }
}
