//! What clients ask of a shard: choosing the machine; and running writes. Reads are run in the module `reads`.

use quorate_ring::version::{ContextToken, VersionVector};
use quorate_ring::wire::{PeerMessage, PutItem, ReplicaAnswer, Request, RequestError, Response};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position, Ttl};

use super::{Coordination, PageQuestion, Shard};
use crate::Time;
use crate::admission::limit::Kind;
use crate::coordinator::batch::Batch;
use crate::coordinator::forward::Forward;
use crate::coordinator::write::{self, Write};
use crate::coordinator::{CoordinationId, ReplyTo};
use crate::handoff::hint::store::HintOperation;
use crate::limits::{COORDINATION_BYTES_MAX, COORDINATIONS_MAX, STAND_INS_MAX, STANDING_QUEUE};
use crate::replica::{Event, KeyOperation};

impl Shard {
    /// Begins a request, or refuses it.
    pub(super) fn handle_request(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        timeout_millis: u32,
        request: Request,
        indices: Option<Vec<u32>>,
    ) {
        let deadline = Self::deadline(now, timeout_millis);
        let begun = match request {
            Request::Get { key, r, strict } => self.begin_get(now, reply_to, deadline, key, r, Standbys::of(strict)),
            Request::GetRepaired { key } => self.begin_get_repaired(now, reply_to, deadline, key),
            Request::Put { .. } | Request::Delete { .. } => self.begin_write(now, reply_to, deadline, request),
            Request::GetMany { keys, r, strict } => {
                let items = keys.into_iter().map(|key| Request::Get { key, r, strict }).collect();
                return self.begin_batch(now, reply_to, timeout_millis, items, indices);
            }
            Request::PutMany { items, w, durability, strict } => {
                let items = items.into_iter().map(|item| Request::Put { item, w, durability, strict }).collect();
                return self.begin_batch(now, reply_to, timeout_millis, items, indices);
            }
            Request::Scan { bucket, partition, after, limit, r } => {
                self.begin_page(now, reply_to, deadline, PageQuestion { bucket, partition, after, limit }, r)
            }
            Request::Layout => self.show_layout(reply_to),
            Request::ChangeLayout(change) => self.change_layout(reply_to, change),
            Request::Ring | Request::Status => {
                Err(invalid("the ring and the status are asked of a node, not of a shard"))
            }
        };
        if let Err(error) = begun {
            self.reply(reply_to, Err(error));
        }
    }

    /// Begins each item as a request of its own. Overload refuses items, never the whole: another shard may be at work on the
    /// rest of the client's batch, so an error for all of it could not say what happened.
    fn begin_batch(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        timeout_millis: u32,
        items: Vec<Request>,
        indices: Option<Vec<u32>>,
    ) {
        if items.is_empty() {
            return self.reply(reply_to, Ok(Response::Many(Vec::new())));
        }
        let party = reply_to.party();
        let batch = self.begin(Coordination::Batch(Batch::new(reply_to, items.len())));
        for (position, item) in (0_u32..).zip(items) {
            let index = indices.as_ref().and_then(|indices| indices.get(position as usize)).copied();
            let reply_to = ReplyTo::Batch { batch, index: index.unwrap_or(position), party };
            self.handle_request(now, reply_to, timeout_millis, item, None);
        }
    }

    /// Refuses a request if there are too many, or too many of the same client while others want in, or if they hold too much.
    pub(super) fn refuse_overload(&mut self, now: Time, reply_to: ReplyTo) -> Result<(), RequestError> {
        let (requests, party) = (self.coordinations.len(), reply_to.party());
        let has_room = self.limit.has_room(now, &self.shares);
        let (limit, open) = (self.limit.most(), self.shares.whole());
        let (own, most) = (self.shares.of(party), self.shares.most(party, limit));
        let what = if COORDINATIONS_MAX <= requests {
            format!("{requests} requests are being worked on, {COORDINATIONS_MAX} is the most")
        } else if !has_room && !self.shares.has_little(party, limit) {
            format!("{open} requests wait for their answers, and more would queue for longer than {STANDING_QUEUE:?}")
        } else if most <= own {
            self.counters.shares_refused += 1;
            format!("{own} requests of this client are being worked on, {most} is its share while others want in")
        } else if COORDINATION_BYTES_MAX <= self.held_bytes {
            format!("requests hold {} bytes, {COORDINATION_BYTES_MAX} is the most", self.held_bytes)
        } else {
            return self.refuse_failed();
        };
        self.counters.overloads += 1;
        Err(RequestError::Overloaded { node: self.own(), what })
    }

    fn refuse_failed(&self) -> Result<(), RequestError> {
        if let Some(reason) = self.replica.poisoned() {
            return Err(RequestError::StorageFailed { node: self.own(), reason: reason.to_owned() });
        }
        Ok(())
    }

    /// Begins a put or delete: here if this node is a primary of the key, else at one that is.
    fn begin_write(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        request: Request,
    ) -> Result<(), RequestError> {
        match &request {
            Request::Delete { .. } => self.counters.deletes += 1,
            _ => self.counters.puts += 1,
        }
        self.refuse_overload(now, reply_to)?;
        let partition = match &request {
            Request::Put { item, .. } => {
                ttl_of(item)?;
                self.partition_of(&item.key)
            }
            Request::Delete { key, .. } => self.partition_of(key),
            _ => return Err(invalid("only a put or a delete can be coordinated")),
        };
        let strict = matches!(&request, Request::Put { strict: true, .. } | Request::Delete { strict: true, .. });
        if self.replica.holds(partition) {
            return self.coordinate(reply_to, (now, deadline), partition, request, Standbys::of(strict));
        }
        let primary = {
            let away = Self::away(self.own(), &self.connected, &self.silences, &self.doubts);
            let present = self.placement.primaries(partition).filter(|node| *node != self.own() && !away(*node));
            // The first in order of preference, but for one that is suspected, or said a moment ago that it has too much to do.
            present.min_by_key(|node| (self.is_doubted(*node), self.ranking.is_overloaded(now, *node)))
        };
        match (primary, reply_to) {
            (_, ReplyTo::Peer { .. }) => Err(self.no_primary(partition, &ReplicaAnswer::NotResponsible)),
            (Some(primary), _) => {
                self.forward(now, reply_to, deadline, primary, request);
                Ok(())
            }
            (None, _) if strict => self.forward_to_the_silent(now, reply_to, deadline, partition, request),
            (None, _) => self.coordinate(reply_to, (now, deadline), partition, request, Standbys::Fallbacks),
        }
    }

    /// Begins a write here: as a primary, or, where none can be reached, in their place.
    fn coordinate(
        &mut self,
        reply_to: ReplyTo,
        (now, deadline): (Time, Time),
        partition: PartitionId,
        request: Request,
        standbys: Standbys,
    ) -> Result<(), RequestError> {
        let (key, event, context, w, durability) = match request {
            Request::Put { item, w, durability, .. } => {
                let ttl = ttl_of(&item)?;
                (item.key, Event::Put(item.value, ttl), item.context, w, durability)
            }
            Request::Delete { key, context, w, durability, .. } => (key, Event::Delete, Some(context), w, durability),
            _ => return Err(invalid("only a put or a delete can be coordinated")),
        };
        let needed = self.config.quorum.with(None, w).map_err(invalid)?.w();
        let context = self.open_context(&key, context.as_ref())?;
        let durability = durability.unwrap_or(self.config.durability);
        let placement = self.placement.clone();
        let fallbacks = (standbys == Standbys::Fallbacks).then(|| placement.fallbacks(partition).take(STAND_INS_MAX));
        let mut fallbacks: Vec<NodeId> = fallbacks.into_iter().flatten().collect();
        let is_primary = self.replica.holds(partition);
        if !is_primary && !fallbacks.contains(&self.own()) {
            fallbacks.push(self.own());
        }
        let places = (placement.primaries(partition), placement.quorums(partition));
        let mut write = Write::new(key.clone(), reply_to, (now, deadline), durability, needed, places, fallbacks);
        let connected = &self.connected;
        write.check_reachable(self.config.actor.node, |node| connected.contains(&node))?;
        let coordination = self.begin(Coordination::Write(write));
        self.set_timer(deadline, coordination);
        if is_primary {
            let operation = KeyOperation::Write { coordination, event, context, durability, deadline };
            self.replica.handle_key(key, operation);
        } else {
            let operation = HintOperation::Make { coordination, event, context, durability, deadline };
            self.hints.store.handle_key(key, operation);
        }
        Ok(())
    }

    fn open_context(&self, key: &ObjectKey, token: Option<&ContextToken>) -> Result<VersionVector, RequestError> {
        match token {
            Some(token) => self.config.context_key.open(key, token).map_err(RequestError::Context),
            None => Ok(VersionVector::default()),
        }
    }

    /// Does what a write needs next: others stand in for those that are away, and what can be told is told.
    pub(super) fn write_step(&mut self, now: Time, id: CoordinationId) {
        let (asked, step) = {
            let away = Self::away(self.own(), &self.connected, &self.silences, &self.doubts);
            let Some(Coordination::Write(write)) = self.coordinations.get_mut(&id) else { return };
            (write.call_stand_ins(&away), write.step(|node| !away(node)))
        };
        self.send_event(now, id, asked);
        self.end_write(now, id, step);
    }

    /// Ends a write, if it is over.
    pub(super) fn end_write(&mut self, now: Time, id: CoordinationId, step: write::Step) {
        if let write::Step::End(result) = step {
            if let Some(Coordination::Write(write)) = self.coordinations.get(&id) {
                self.note_answered(now, Kind::Write, write.begun, result.is_ok());
            }
            if let Some(Coordination::Write(write)) = self.coordinations.get(&id)
                && !write.is_made()
            {
                self.replica.take_back(&write.key, id);
                self.hints.store.take_back(&write.key, id);
            }
            self.finish(id, result);
        }
    }

    /// Hands a strict write to a primary that is silent: it may be heard again, and nobody else may do it.
    fn forward_to_the_silent(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        partition: PartitionId,
        request: Request,
    ) -> Result<(), RequestError> {
        let connected = self.placement.primaries(partition).find(|node| self.connected.contains(node));
        let Some(primary) = connected else { return Err(self.no_primary(partition, &ReplicaAnswer::Unreachable)) };
        self.forward(now, reply_to, deadline, primary, request);
        Ok(())
    }

    fn forward(&mut self, now: Time, reply_to: ReplyTo, deadline: Time, primary: NodeId, request: Request) {
        let id = self.begin(Coordination::Forward(Forward { reply_to, begun: now, deadline, primary }));
        self.set_timer(deadline, id);
        let timeout_millis = deadline.millis_from(now);
        self.send(primary, PeerMessage::Forward { exchange: id.exchange(), timeout_millis, request });
    }

    fn no_primary(&self, partition: PartitionId, answer: &ReplicaAnswer) -> RequestError {
        let answers = self.placement.primaries(partition).map(|node| (node, answer.clone())).collect();
        RequestError::NoPrimary { node: self.own(), answers }
    }

    pub(super) fn partition_of(&self, key: &ObjectKey) -> PartitionId {
        self.placement.partition_of(Position::of(key))
    }
}

/// How long the value of a put is to live.
fn ttl_of(item: &PutItem) -> Result<Option<Ttl>, RequestError> {
    item.ttl_millis.map(Ttl::from_millis).transpose().map_err(invalid)
}

/// Who may stand in for primaries that are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standbys {
    /// Nobody: a strict request.
    None,
    /// The fallbacks of the preference list.
    Fallbacks,
}

impl Standbys {
    pub(super) const fn of(strict: bool) -> Self {
        if strict { Self::None } else { Self::Fallbacks }
    }
}

pub(super) fn invalid(reason: impl ToString) -> RequestError {
    RequestError::Invalid { reason: reason.to_string() }
}
