//! Coordinating reads: whom they ask, what they answer and what they repair. How one goes on is [`crate::coordinator::read`], whom it asks
//! first and when it asks one more is [`crate::admission`].

use quorate_ring::limits::SCAN_ITEMS_MAX;
use quorate_ring::version::Container;
use quorate_ring::wire::{Durability, PeerMessage, ReplicaError, RequestError, Response, ScanItem};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position, StoredValue};

use super::requests::{Standbys, invalid};
use super::{Coordination, PageQuestion, Shard, Timer};
use crate::Time;
use crate::admission::limit::Kind;
use crate::admission::ranking::{Class, Rank};
use crate::coordinator::read::{Read, Step};
use crate::coordinator::repair::{is_stale, merge, merge_pages};
use crate::coordinator::{CoordinationId, ReplyTo};
use crate::handoff::hint::store::HintOperation;
use crate::limits::{HEDGE_DELAY, LATE_REPLY_TIME, OWN_QUEUE_SHORT, STAND_INS_MAX};
use crate::replica::{Asker, KeyOperation};

impl Shard {
    pub(super) fn begin_get(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        key: ObjectKey,
        r: Option<u8>,
        standbys: Standbys,
    ) -> Result<(), RequestError> {
        self.counters.gets += 1;
        self.refuse_overload(now, reply_to)?;
        let needed = self.config.quorum.with(r, None).map_err(invalid)?.r();
        let placement = self.placement.clone();
        let list = placement.read_list(self.partition_of(&key));
        let mut read = Read::new(key, reply_to, (now, deadline), needed, list.primaries());
        if standbys == Standbys::Fallbacks {
            read = read.with_fallbacks(placement.read_fallbacks(list).take(STAND_INS_MAX));
        }
        let id = self.begin(Coordination::Get(read));
        self.hedges.earn();
        self.set_timer(deadline, id);
        self.get_step(now, id, Step::Wait);
        self.probe_slow(now, id);
        Ok(())
    }

    /// Begins a get of all primaries that is answered when those that are behind have stored what they lack.
    pub(super) fn begin_get_repaired(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        key: ObjectKey,
    ) -> Result<(), RequestError> {
        self.counters.gets += 1;
        self.refuse_overload(now, reply_to)?;
        let placement = self.placement.clone();
        let primaries = placement.read_list(self.partition_of(&key)).primaries();
        let read = Read::new(key, reply_to, (now, deadline), self.config.quorum.n(), primaries).mending_first();
        let id = self.begin(Coordination::Get(read));
        self.set_timer(deadline, id);
        self.get_step(now, id, Step::Wait);
        Ok(())
    }

    /// Sends what they lack to those that are behind. Gives what the read needs next.
    fn mend(&mut self, id: CoordinationId) -> Step {
        let wall = self.wall.shown();
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return Step::Wait };
        let merged = merge(read.answers().iter().map(|(_, container)| container), wall);
        let stale = read.answers().iter().filter(|(_, container)| is_stale(container, &merged, wall));
        let stale: Vec<NodeId> = stale.map(|(node, _)| *node).collect();
        let key = read.question.clone();
        let step = read.mend(stale.clone());
        self.counters.repairs_awaited += u64::from(!stale.is_empty());
        for node in stale {
            self.repair(node, key.clone(), merged.clone(), Some(id));
        }
        step
    }

    /// Does what a get needs next: whoever must be asked is asked, and what can be told is told.
    pub(super) fn get_step(&mut self, now: Time, id: CoordinationId, step: Step) {
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        match step {
            Step::Wait if read.asks_enough() => self.call_read_stand_ins(now, id),
            Step::Wait => {
                let partition = self.placement.partition_of(Position::of(&read.question));
                let left: Vec<NodeId> = read.left_out().collect();
                let ranks = self.ranks(now, partition, left);
                let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
                let asked = read.ask(now, rank_in(&ranks));
                self.ask_get(now, id, asked);
                self.call_read_stand_ins(now, id);
                let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
                let after = read.step();
                if after != Step::Wait {
                    self.get_step(now, id, after);
                }
            }
            Step::Answer if read.is_to_mend() => {
                let step = self.mend(id);
                self.get_step(now, id, step);
            }
            Step::Answer => {
                let merged = merge(read.answers().iter().map(|(_, container)| container), self.wall.shown());
                let context = self.config.context_key.seal(&read.question, merged.vector());
                let values = merged.values().map(|(_, stored)| stored.value.clone()).collect();
                let (reply_to, begun) = (read.reply_to, read.asking.begun());
                let next = read.step();
                self.note_answered(now, Kind::Read, begun, true);
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
        self.set_hedge_timer(id);
        if let Some(coordination) = self.coordinations.get(&id)
            && self.lingering.insert(id)
        {
            self.shares.end(coordination.reply_to().party());
        }
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

    /// Others are asked in the place of primaries that are away by now, if a get needs them.
    pub(super) fn call_read_stand_ins(&mut self, now: Time, id: CoordinationId) {
        let away = Self::away(self.own(), &self.connected, &self.silences, &self.doubts);
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        let ranking = &self.ranking;
        let asked = read.call_stand_ins(now, away, |node| ranking.hedge_delay(node));
        if !asked.is_empty() {
            self.ask_get(now, id, asked);
        }
    }

    /// The order in which a read of this partition asks these; no rank for those that cannot be reached.
    fn ranks(&self, now: Time, partition: PartitionId, nodes: Vec<NodeId>) -> Vec<(NodeId, Option<Rank>)> {
        let away = Self::away(self.own(), &self.connected, &self.silences, &self.doubts);
        let rank = |node: NodeId| {
            let class = if node == self.own() && self.replica.waiting() <= OWN_QUEUE_SHORT {
                Class::Own
            } else if node != self.own() && !self.connected.contains(&node) {
                return None;
            } else if away(node) {
                Class::Away
            } else if self.is_doubted(node) {
                Class::Suspected
            } else if !self.placement.is_primary(node, partition) {
                Class::StandIn
            } else if self.ranking.is_overloaded(now, node) {
                Class::Overloaded
            } else {
                Class::Usual
            };
            Some(Rank { class, score: self.ranking.score(node), patience: self.ranking.hedge_delay(node) })
        };
        nodes.into_iter().map(|node| (node, rank(node))).collect()
    }

    /// The same for a page. It takes as long as there is in it: how long gets take says who is quick, and nothing about how quick.
    fn page_ranks(&self, now: Time, partition: PartitionId, nodes: Vec<NodeId>) -> Vec<(NodeId, Option<Rank>)> {
        let mut ranks = self.ranks(now, partition, nodes);
        ranks.iter_mut().filter_map(|(_, rank)| rank.as_mut()).for_each(|rank| rank.patience = HEDGE_DELAY);
        ranks
    }

    fn ask_get(&mut self, now: Time, id: CoordinationId, asked: Vec<NodeId>) {
        self.send_get(now, id, asked);
        self.set_hedge_timer(id);
    }

    fn send_get(&mut self, now: Time, id: CoordinationId, asked: Vec<NodeId>) {
        let Some(Coordination::Get(read)) = self.coordinations.get(&id) else { return };
        let (key, deadline) = (read.question.clone(), read.deadline);
        let partition = self.partition_of(&key);
        for node in asked {
            self.ranking.handle_asked(now, node);
            let stand_in = !self.placement.is_primary(node, partition);
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

    /// Asks one that a get left out because it was slow, if that was a while ago: nobody waits for it, but for its answer's time.
    fn probe_slow(&mut self, now: Time, id: CoordinationId) {
        let Some(Coordination::Get(read)) = self.coordinations.get(&id) else { return };
        let asked: Vec<NodeId> = read.asking.open().collect();
        let slow: Vec<NodeId> = {
            let away = Self::away(self.own(), &self.connected, &self.silences, &self.doubts);
            let left_out = read.left_out().filter(|node| !away(*node));
            self.ranking.much_slower(&asked, left_out).collect()
        };
        self.counters.ranked_away += u64::from(!slow.is_empty());
        let Some(due) = slow.into_iter().find(|node| self.ranking.is_due_for_probe(now, *node)) else { return };
        self.counters.probes += 1;
        if let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) {
            read.probe(now, due);
        }
        self.send_get(now, id, vec![due]);
    }

    /// Some that a read asked are late: others are asked in their place, as far as the budget of hedges goes. It does not count where little
    /// time is left, or somebody is silent on everything: to be available goes first.
    pub(super) fn hedge(&mut self, now: Time, id: CoordinationId) {
        let Some(coordination) = self.coordinations.get_mut(&id) else { return };
        let left = coordination.left_to_ask();
        let Some(asking) = coordination.asking_mut() else { return };
        asking.timer = asking.timer.filter(|at| now < *at);
        let late: Vec<NodeId> = asking.late(now).collect();
        let wanted = late.len().min(left);
        let unbound = asking.is_urgent(now) || {
            let away = Self::away(self.config.actor.node, &self.connected, &self.silences, &self.doubts);
            late.iter().any(|node| away(*node))
        };
        let granted = if unbound { wanted } else { self.hedges.take(wanted) };
        asking.handle_replaced(now, granted);
        self.counters.hedges += granted as u64;
        self.counters.hedges_denied += (wanted - granted) as u64;
        match coordination {
            Coordination::Get(_) => self.hedge_get(now, id, granted),
            _ => self.hedge_page(now, id, granted),
        }
        self.set_hedge_timer(id);
    }

    fn hedge_get(&mut self, now: Time, id: CoordinationId, more: usize) {
        let Some(Coordination::Get(read)) = self.coordinations.get(&id) else { return };
        let left: Vec<NodeId> = read.left_out().collect();
        let ranks = self.ranks(now, self.partition_of(&read.question), left);
        let Some(Coordination::Get(read)) = self.coordinations.get_mut(&id) else { return };
        let asked = read.hedge(now, more, rank_in(&ranks));
        let step = read.step();
        self.ask_get(now, id, asked);
        self.get_step(now, id, step);
    }

    /// Sets the time at which a read asks one more, if it is to.
    fn set_hedge_timer(&mut self, id: CoordinationId) {
        let Some(coordination) = self.coordinations.get_mut(&id) else { return };
        let (left, deadline) = (coordination.left_to_ask(), coordination.deadline());
        let Some(asking) = coordination.asking_mut() else { return };
        let next = asking.next().filter(|at| 0 < left && deadline.is_some_and(|deadline| *at < deadline));
        if next != asking.timer {
            asking.timer.map(|at| self.timers.remove(&(at, Timer::Request(id))));
            next.map(|at| self.timers.insert((at, Timer::Request(id))));
            asking.timer = next;
        }
    }

    /// A replica has answered a read's question, or refused it: how long that took is known now.
    pub(super) fn note_answer<A>(
        &mut self,
        now: Time,
        from: NodeId,
        asked_at: Option<Time>,
        result: &Result<A, ReplicaError>,
    ) {
        match (asked_at, result) {
            (Some(asked_at), Ok(_)) => self.ranking.handle_answered(now, from, asked_at),
            (Some(_), Err(_)) => self.ranking.handle_settled(from),
            (None, _) => {}
        }
        self.note_overload(now, from, result.as_ref().err());
    }

    /// A replica said to be overloaded, if it did: others are asked for a moment.
    pub(super) fn note_overload(&mut self, now: Time, from: NodeId, error: Option<&ReplicaError>) {
        if error == Some(&ReplicaError::Overloaded) {
            self.ranking.handle_overloaded(now, from);
        }
    }

    /// All have answered: repairs the replicas that were behind.
    fn end_get(&mut self, id: CoordinationId) {
        let Some(Coordination::Get(read)) = self.end(id) else { return };
        let wall = self.wall.shown();
        let merged = merge(read.answers().iter().map(|(_, container)| container), wall);
        let partition = self.partition_of(&read.question);
        for (node, container) in read.answers() {
            // One that stood in is not to have what it did not keep.
            if self.placement.is_primary(*node, partition) && is_stale(container, &merged, wall) && !read.is_mended() {
                self.repair(*node, read.question.clone(), merged.clone(), None);
            }
        }
    }

    /// Sends a replica what it lacks. A read that waits for it is told when it is stored.
    fn repair(
        &mut self,
        node: NodeId,
        key: ObjectKey,
        container: Container<StoredValue>,
        waiting: Option<CoordinationId>,
    ) {
        self.counters.repairs += 1;
        if node == self.own() {
            let asker = waiting.map_or(Asker::Nobody, Asker::Coordinator);
            let durability = Durability::Buffered;
            self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots: Vec::new(), durability });
        } else {
            let exchange = waiting.map(CoordinationId::exchange);
            self.send(node, PeerMessage::Repair { key, container, exchange });
        }
    }

    pub(super) fn begin_page(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        deadline: Time,
        question: PageQuestion,
        r: Option<u8>,
    ) -> Result<(), RequestError> {
        self.refuse_overload(now, reply_to)?;
        let needed = self.config.quorum.with(r, None).map_err(invalid)?.r();
        self.check_page(&question)?;
        let placement = self.placement.clone();
        let primaries = placement.read_list(question.partition).primaries();
        let id = self.begin(Coordination::Page(Read::new(question, reply_to, (now, deadline), needed, primaries)));
        self.hedges.earn();
        self.set_timer(deadline, id);
        self.page_step(now, id, Step::Wait);
        Ok(())
    }

    fn check_page(&self, question: &PageQuestion) -> Result<(), RequestError> {
        let partitions = self.placement.partitions();
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
            Step::Wait if read.asks_enough() => {}
            Step::Wait => {
                let partition = read.question.partition;
                let left: Vec<NodeId> = read.left_out().collect();
                let ranks = self.page_ranks(now, partition, left);
                let Some(Coordination::Page(read)) = self.coordinations.get_mut(&id) else { return };
                let asked = read.ask(now, rank_in(&ranks));
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
                    self.repair(node, key, container, None);
                }
            }
        }
    }

    fn ask_page(&mut self, now: Time, id: CoordinationId, asked: Vec<NodeId>) {
        let Some(Coordination::Page(read)) = self.coordinations.get(&id) else { return };
        let PageQuestion { bucket, partition, after, limit } = read.question.clone();
        let timeout_millis = read.deadline.millis_from(now);
        for node in asked {
            self.ranking.handle_asked(now, node);
            if node == self.own() {
                let asker = Asker::Coordinator(id);
                self.replica.handle_scan(asker, Some(&bucket), partition, after.as_ref(), limit);
            } else {
                let (exchange, bucket, after) = (id.exchange(), bucket.clone(), after.clone());
                self.send(node, PeerMessage::Scan { exchange, timeout_millis, bucket, partition, after, limit });
            }
        }
        self.set_hedge_timer(id);
    }

    fn hedge_page(&mut self, now: Time, id: CoordinationId, more: usize) {
        let Some(Coordination::Page(read)) = self.coordinations.get(&id) else { return };
        let left: Vec<NodeId> = read.left_out().collect();
        let ranks = self.page_ranks(now, read.question.partition, left);
        let Some(Coordination::Page(read)) = self.coordinations.get_mut(&id) else { return };
        let asked = read.hedge(now, more, rank_in(&ranks));
        let step = read.step();
        self.ask_page(now, id, asked);
        self.page_step(now, id, step);
    }
}

/// The rank of each of these.
fn rank_in(ranks: &[(NodeId, Option<Rank>)]) -> impl Fn(NodeId) -> Option<Rank> + '_ {
    move |node| ranks.iter().find(|(ranked, _)| *ranked == node).and_then(|(_, rank)| *rank)
}
