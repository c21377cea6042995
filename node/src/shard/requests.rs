//! What clients ask of a shard: choosing the machine, asking whom it says, answering what it says.

use quorate_ring::limits::SCAN_ITEMS_MAX;
use quorate_ring::version::{Container, ContextToken, VersionVector};
use quorate_ring::wire::{Durability, PeerMessage, PutItem, ReplicaAnswer, Request, RequestError, Response, ScanItem};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position, StoredValue, Ttl};

use super::{Coordination, PageQuestion, Shard, Timer};
use crate::Time;
use crate::coordinator::batch::Batch;
use crate::coordinator::forward::Forward;
use crate::coordinator::read::{Read, Step};
use crate::coordinator::repair::{is_stale, merge, merge_pages};
use crate::coordinator::write::{self, Write};
use crate::coordinator::{CoordinationId, ReplyTo};
use crate::handoff::hint::store::HintOperation;
use crate::limits::{COORDINATIONS_MAX, HEDGE_DELAY, LATE_REPLY_TIME, STAND_INS_MAX};
use crate::replica::{Asker, Event, KeyOperation};

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
        let batch = self.begin(Coordination::Batch(Batch::new(reply_to, items.len())));
        for (position, item) in (0_u32..).zip(items) {
            let index = indices.as_ref().and_then(|indices| indices.get(position as usize)).copied();
            let reply_to = ReplyTo::Batch { batch, index: index.unwrap_or(position) };
            self.handle_request(now, reply_to, timeout_millis, item, None);
        }
    }

    fn refuse_overload(&self) -> Result<(), RequestError> {
        if COORDINATIONS_MAX <= self.coordinations.len() {
            let what =
                format!("{} requests are being worked on, {COORDINATIONS_MAX} is the most", self.coordinations.len());
            return Err(RequestError::Overloaded { node: self.own(), what });
        }
        if let Some(reason) = self.replica.poisoned() {
            return Err(RequestError::StorageFailed { node: self.own(), reason: reason.to_owned() });
        }
        Ok(())
    }

    fn begin_get(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        key: ObjectKey,
        r: Option<u8>,
        standbys: Standbys,
    ) -> Result<(), RequestError> {
        self.counters.gets += 1;
        self.refuse_overload()?;
        let needed = self.config.quorum.with(r, None).map_err(invalid)?.r();
        let asked = self.readable_from(&key, needed, standbys);
        let id = self.begin(Coordination::Get(Read::new(key, reply_to, deadline, needed, asked.into_iter())));
        self.set_timer(deadline, id);
        self.set_timer(deadline.min(now + HEDGE_DELAY), id);
        self.get_step(now, id, Step::Wait);
        Ok(())
    }

    /// Does what a get needs next: whoever must be asked is asked, and what can be told is told.
    pub(super) fn get_step(&mut self, now: Time, id: CoordinationId, step: Step) {
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        match step {
            Step::Wait => {
                let connected = &self.connected;
                let asked = read.ask(self.config.actor.node, |node| connected.contains(&node));
                let after = read.step();
                self.ask_get(now, id, asked);
                if after != Step::Wait {
                    self.get_step(now, id, after);
                }
            }
            Step::Answer => {
                let merged = merge(read.answers().iter().map(|(_, container)| container), self.wall.shown());
                let context = self.config.context_key.seal(&read.question, merged.vector());
                let values = merged.values().map(|(_, stored)| stored.value.clone()).collect();
                let reply_to = read.reply_to;
                let next = read.step();
                self.reply(reply_to, Ok(Response::Found { values, context }));
                match next {
                    Step::End => self.get_step(now, id, next),
                    _ => self.wait_for_late_replies(now, id),
                }
            }
            Step::Fail => {
                let error = read.error();
                self.finish(id, Err(error));
            }
            Step::End => self.end_get(id),
        }
    }

    /// A read is answered, and some that were asked are silent: they get a little longer.
    fn wait_for_late_replies(&mut self, now: Time, id: CoordinationId) {
        let deadline = match self.coordinations.get_mut(&id) {
            Some(Coordination::Get(read)) => &mut read.deadline,
            Some(Coordination::Page(read)) => &mut read.deadline,
            _ => return,
        };
        let sooner = (*deadline).min(now + LATE_REPLY_TIME);
        self.timers.remove(&(*deadline, Timer::Request(id)));
        *deadline = sooner;
        self.set_timer(sooner, id);
    }

    /// Who may answer a read: the primaries. Where fewer than R of them can be reached, others answer in the place of as many as
    /// are missing, from their hints: so few that every primary that can be reached is asked.
    fn readable_from(&self, key: &ObjectKey, needed: u8, standbys: Standbys) -> Vec<NodeId> {
        let list = self.ring.preference_list(self.partition_of(key));
        let mut nodes: Vec<NodeId> = list.primaries().collect();
        let away = Self::away(self.own(), &self.connected, &self.silences);
        let present = nodes.iter().filter(|node| !away(**node)).count();
        let missing = usize::from(needed).saturating_sub(present);
        if standbys == Standbys::None || missing == 0 {
            return nodes;
        }
        let mut stand_ins = list.fallbacks().filter(|node| !away(*node)).take(missing);
        for node in nodes.iter_mut().filter(|node| away(**node)) {
            *node = stand_ins.next().unwrap_or(*node);
        }
        nodes
    }

    fn ask_get(&mut self, now: Time, id: CoordinationId, asked: Vec<quorate_ring::NodeId>) {
        let Some(Coordination::Get(read)) = self.coordinations.get(&id) else { return };
        let (key, deadline) = (read.question.clone(), read.deadline);
        let partition = self.partition_of(&key);
        for node in asked {
            let stand_in = !self.ring.is_primary(node, partition);
            if node == self.own() {
                let asker = Asker::Coordinator(id);
                match stand_in {
                    true => self.hints.store.handle_key(key.clone(), HintOperation::Read { asker, deadline }),
                    false => self.replica.handle_key(key.clone(), KeyOperation::Read { asker, deadline }),
                }
            } else {
                let timeout_millis = deadline.millis_from(now);
                self.send(
                    node,
                    PeerMessage::Read { exchange: id.exchange(), timeout_millis, key: key.clone(), stand_in },
                );
            }
        }
    }

    /// Asks one more replica for a get that is slow, and again as long as that does not help: several may be slow at once.
    pub(super) fn hedge_get(&mut self, now: Time, id: CoordinationId) {
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        let connected = &self.connected;
        let asked = read.hedge(self.config.actor.node, |node| connected.contains(&node));
        let step = read.step();
        if read.may_hedge() {
            let at = read.deadline.min(now + HEDGE_DELAY);
            self.set_timer(at, id);
        }
        self.ask_get(now, id, asked);
        self.get_step(now, id, step);
    }

    /// All have answered: repairs the replicas that were behind.
    fn end_get(&mut self, id: CoordinationId) {
        let Some(Coordination::Get(read)) = self.end(id) else { return };
        let wall = self.wall.shown();
        let merged = merge(read.answers().iter().map(|(_, container)| container), wall);
        let partition = self.partition_of(&read.question);
        for (node, container) in read.answers() {
            // One that stood in is not to have what it did not keep.
            if self.ring.is_primary(*node, partition) && is_stale(container, &merged, wall) {
                self.repair(*node, read.question.clone(), merged.clone());
            }
        }
    }

    fn repair(&mut self, node: quorate_ring::NodeId, key: ObjectKey, container: Container<StoredValue>) {
        self.counters.repairs += 1;
        if node == self.own() {
            let (asker, durability) = (Asker::Nobody, Durability::Buffered);
            self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots: Vec::new(), durability });
        } else {
            self.send(node, PeerMessage::Repair { key, container });
        }
    }

    fn begin_page(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        question: PageQuestion,
        r: Option<u8>,
    ) -> Result<(), RequestError> {
        self.refuse_overload()?;
        let needed = self.config.quorum.with(r, None).map_err(invalid)?.r();
        self.check_page(&question)?;
        let ring = self.ring.clone();
        let primaries = ring.primaries(question.partition);
        let id = self.begin(Coordination::Page(Read::new(question, reply_to, deadline, needed, primaries)));
        self.set_timer(deadline, id);
        self.set_timer(deadline.min(now + HEDGE_DELAY), id);
        self.page_step(now, id, Step::Wait);
        Ok(())
    }

    fn check_page(&self, question: &PageQuestion) -> Result<(), RequestError> {
        let partitions = self.ring.partitions();
        if partitions.get() <= u32::from(question.partition.number()) {
            return Err(invalid(format!("there is no partition {}; the ring has {partitions}", question.partition)));
        }
        if question.limit == 0 || SCAN_ITEMS_MAX < question.limit as usize {
            return Err(invalid(format!("a page has 1 to {SCAN_ITEMS_MAX} items, not {}", question.limit)));
        }
        let outside = |key: &ObjectKey| partitions.partition_of(Position::of(key)) != question.partition;
        if question.after.as_ref().is_some_and(outside) {
            return Err(invalid("the key to start behind is not in the partition"));
        }
        Ok(())
    }

    /// Does what a page needs next.
    pub(super) fn page_step(&mut self, now: Time, id: CoordinationId, step: Step) {
        let Some(Coordination::Page(read)) = self.coordinations.get_mut(&id) else { return };
        match step {
            Step::Wait => {
                let connected = &self.connected;
                let asked = read.ask(self.config.actor.node, |node| connected.contains(&node));
                let after = read.step();
                self.ask_page(now, id, asked);
                if after != Step::Wait {
                    self.page_step(now, id, after);
                }
            }
            Step::Answer => {
                let merged = merge_pages(read.answers(), self.wall.shown());
                let reply_to = read.reply_to;
                let next = read.step();
                let items = merged.objects.into_iter().map(|(key, container)| ScanItem {
                    context: self.config.context_key.seal(&key, container.vector()),
                    values: container.values().map(|(_, stored)| stored.value.clone()).collect(),
                    key,
                });
                let page = Response::Page { items: items.collect(), next: merged.next };
                self.reply(reply_to, Ok(page));
                match next {
                    Step::End => self.page_step(now, id, next),
                    _ => self.wait_for_late_replies(now, id),
                }
            }
            Step::Fail => {
                let error = read.error();
                self.finish(id, Err(error));
            }
            Step::End => {
                let Some(Coordination::Page(read)) = self.end(id) else { return };
                for (node, key, container) in merge_pages(read.answers(), self.wall.shown()).stale {
                    self.repair(node, key, container);
                }
            }
        }
    }

    fn ask_page(&mut self, now: Time, id: CoordinationId, asked: Vec<quorate_ring::NodeId>) {
        let Some(Coordination::Page(read)) = self.coordinations.get(&id) else { return };
        let PageQuestion { bucket, partition, after, limit } = read.question.clone();
        let timeout_millis = read.deadline.millis_from(now);
        for node in asked {
            if node == self.own() {
                let asker = Asker::Coordinator(id);
                self.replica.handle_scan(asker, Some(&bucket), partition, after.as_ref(), limit);
            } else {
                let (exchange, bucket, after) = (id.exchange(), bucket.clone(), after.clone());
                self.send(node, PeerMessage::Scan { exchange, timeout_millis, bucket, partition, after, limit });
            }
        }
    }

    /// Asks one more replica for a page that is slow, as for a get.
    pub(super) fn hedge_page(&mut self, now: Time, id: CoordinationId) {
        let Some(Coordination::Page(read)) = self.coordinations.get_mut(&id) else { return };
        let connected = &self.connected;
        let asked = read.hedge(self.config.actor.node, |node| connected.contains(&node));
        let step = read.step();
        if read.may_hedge() {
            let at = read.deadline.min(now + HEDGE_DELAY);
            self.set_timer(at, id);
        }
        self.ask_page(now, id, asked);
        self.page_step(now, id, step);
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
        self.refuse_overload()?;
        let partition = match &request {
            Request::Put { item, .. } => {
                ttl_of(item)?;
                self.partition_of(&item.key)
            }
            Request::Delete { key, .. } => self.partition_of(key),
            _ => return Err(invalid("only a put or a delete can be coordinated")),
        };
        let strict = matches!(&request, Request::Put { strict: true, .. } | Request::Delete { strict: true, .. });
        if self.ring.is_primary(self.own(), partition) {
            return self.coordinate(reply_to, deadline, partition, request, Standbys::of(strict));
        }
        let primary = {
            let away = Self::away(self.own(), &self.connected, &self.silences);
            self.ring.primaries(partition).find(|node| !away(*node))
        };
        match (primary, reply_to) {
            (_, ReplyTo::Peer { .. }) => Err(self.no_primary(partition, &ReplicaAnswer::NotResponsible)),
            (Some(primary), _) => {
                self.forward(now, reply_to, deadline, primary, request);
                Ok(())
            }
            (None, _) if strict => self.forward_to_the_silent(now, reply_to, deadline, partition, request),
            (None, _) => self.coordinate(reply_to, deadline, partition, request, Standbys::Fallbacks),
        }
    }

    /// Begins a write here: as a primary, or, where none can be reached, in their place.
    fn coordinate(
        &mut self,
        reply_to: ReplyTo,
        deadline: Time,
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
        let ring = self.ring.clone();
        let list = ring.preference_list(partition);
        let fallbacks = (standbys == Standbys::Fallbacks).then(|| list.fallbacks().take(STAND_INS_MAX));
        let mut fallbacks: Vec<NodeId> = fallbacks.into_iter().flatten().collect();
        let is_primary = ring.is_primary(self.own(), partition);
        if !is_primary && !fallbacks.contains(&self.own()) {
            fallbacks.push(self.own());
        }
        let mut write = Write::new(key.clone(), reply_to, deadline, durability, needed, list.primaries(), fallbacks);
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
            let away = Self::away(self.own(), &self.connected, &self.silences);
            let Some(Coordination::Write(write)) = self.coordinations.get_mut(&id) else { return };
            (write.call_stand_ins(&away), write.step(|node| !away(node)))
        };
        self.send_event(now, id, asked);
        self.end_write(id, step);
    }

    /// Ends a write, if it is over.
    pub(super) fn end_write(&mut self, id: CoordinationId, step: write::Step) {
        if let write::Step::End(result) = step {
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
        let connected = self.ring.primaries(partition).find(|node| self.connected.contains(node));
        let Some(primary) = connected else { return Err(self.no_primary(partition, &ReplicaAnswer::Unreachable)) };
        self.forward(now, reply_to, deadline, primary, request);
        Ok(())
    }

    fn forward(&mut self, now: Time, reply_to: ReplyTo, deadline: Time, primary: NodeId, request: Request) {
        let id = self.begin(Coordination::Forward(Forward { reply_to, deadline, primary }));
        self.set_timer(deadline, id);
        let timeout_millis = deadline.millis_from(now);
        self.send(primary, PeerMessage::Forward { exchange: id.exchange(), timeout_millis, request });
    }

    fn no_primary(&self, partition: PartitionId, answer: &ReplicaAnswer) -> RequestError {
        let answers = self.ring.primaries(partition).map(|node| (node, answer.clone())).collect();
        RequestError::NoPrimary { node: self.own(), answers }
    }

    pub(super) fn partition_of(&self, key: &ObjectKey) -> PartitionId {
        self.ring.partition_of(Position::of(key))
    }
}

/// How long the value of a put is to live.
fn ttl_of(item: &PutItem) -> Result<Option<Ttl>, RequestError> {
    item.ttl_millis.map(Ttl::from_millis).transpose().map_err(invalid)
}

/// Who may stand in for primaries that are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standbys {
    /// Nobody: a strict request.
    None,
    /// The fallbacks of the preference list.
    Fallbacks,
}

impl Standbys {
    const fn of(strict: bool) -> Self {
        if strict { Self::None } else { Self::Fallbacks }
    }
}

fn invalid(reason: impl ToString) -> RequestError {
    RequestError::Invalid { reason: reason.to_string() }
}
