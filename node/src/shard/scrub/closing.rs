//! Gaps that nobody can fill: asks all members, shares what is known beyond them, and closes them when all replicas agree. Why that is safe
//! is told in [`crate::scrub::closing`].

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::version::{Actor, Container, Dot, NodeClock};
use quorate_ring::wire::{Durability, ExchangeId, ReplicaError, ScrubMessage, ScrubRange, StoredObject};
use quorate_ring::{NodeId, ObjectKey, PartitionId, StoredValue};

use crate::Time;
use crate::anti_entropy::hash_of;
use crate::limits::{CLOSING_DOTS_MAX, SCRUB_PAGE_BYTES, SCRUB_PAGE_KEYS, SCRUB_TIMEOUT};
use crate::replica::{Asker, KeyOperation, Page};
use crate::scrub::closing::{Members, State};
use crate::scrub::fingerprint;
use crate::shard::{Shard, Timer};

/// In how many parts of a horizon it is looked whether there are gaps.
const LOOKS_IN_HORIZON: u32 = 4;

impl Shard {
    pub(super) fn begin_closing(&mut self, now: Time) {
        let Some(horizon) = self.horizon() else { return };
        let due = now + horizon / LOOKS_IN_HORIZON;
        self.scrub.closing.begin(now, due);
        self.timers.insert((due, Timer::Scrub));
    }

    /// For how long gaps stand, and connections last, before they are closed; nothing if they never are.
    fn horizon(&self) -> Option<Duration> {
        self.scrub.pace.map(|pace| pace.horizon)
    }

    /// It may be time to look for gaps, to read the next page, or not to wait any longer.
    pub(super) fn drive_closing(&mut self, now: Time) {
        if self.scrub.closing.deadline().is_some_and(|deadline| deadline <= now) {
            match &self.scrub.closing.state {
                State::Pausing { partition, after, .. } => {
                    let (partition, after) = (*partition, after.clone());
                    self.read_to_share(now, partition, after);
                }
                _ => self.close_next(now),
            }
        }
        if matches!(&self.scrub.closing.state, State::Asking { again, .. } if *again <= now) {
            self.all_rest(now);
        }
        let Some(horizon) = self.horizon() else { return };
        if self.scrub.closing.due.is_some_and(|due| due <= now) {
            let due = now + horizon / LOOKS_IN_HORIZON;
            self.scrub.closing.due = Some(due);
            self.timers.insert((due, Timer::Scrub));
            self.look_for_gaps(now, horizon);
        }
    }

    /// Takes note of all gaps, and begins with those that have stood for long if nothing else is going on.
    fn look_for_gaps(&mut self, now: Time, horizon: Duration) {
        if self.view().is_none() || self.replica.poisoned().is_some() {
            return;
        }
        for partition in self.replica.held().clone() {
            let gaps = self.gaps_of(partition);
            self.scrub.closing.note_gaps(now, partition, &gaps);
        }
        if matches!(self.scrub.closing.state, State::Resting) && self.scrub.closing.changed_at() + horizon <= now {
            self.scrub.closing.queue = self.scrub.closing.standing_for(now, horizon);
            self.close_next(now);
        }
    }

    /// The gaps of actors that are over in the clock of a partition, and the events beyond them.
    fn gaps_of(&self, partition: PartitionId) -> NodeClock {
        let clock = self.replica.clocks().live(partition);
        match clock.has_gaps() {
            true if self.members_have_changed() => {
                let members = self.placement.members();
                self.scrub.closing.gaps_in(self.config.actor, clock, Members::Changed(&members))
            }
            true => self.scrub.closing.gaps_in(self.config.actor, clock, Members::Fixed),
            false => NodeClock::new(),
        }
    }

    /// All who may keep a hint, or have sent something: those, too, that were members and are still there.
    fn all_members(&self) -> impl Iterator<Item = NodeId> {
        let mut members = self.placement.members();
        members.insert(self.own());
        members.extend(self.scrub.closing.connected());
        members.into_iter()
    }

    /// Over all members and their lives; nothing while not all are connected, or while one epoch follows another.
    fn view(&self) -> Option<u64> {
        if self.placement.is_changing() {
            return None;
        }
        self.scrub.closing.view(self.config.actor, self.all_members())
    }

    /// Whether the gaps of a partition are still those that were noted, and nothing of it is missing here that this replica once had.
    fn may_close(&self, partition: PartitionId) -> bool {
        let hash = hash_of(&self.gaps_of(partition));
        let same = self.scrub.closing.known(partition).is_some_and(|(known, _)| known == hash);
        same && self.replica.is_complete_for(partition) && !self.replica.is_unreadable_in(partition)
    }

    /// Goes on with the next partition.
    fn close_next(&mut self, now: Time) {
        while let Some(partition) = self.scrub.closing.take_next() {
            if self.may_close(partition) {
                return match self.scrub.closing.known(partition) {
                    Some((_, true)) => self.ask_to_agree(now, partition),
                    _ => self.ask_for_rest(now, partition),
                };
            }
        }
    }

    fn ask_for_rest(&mut self, now: Time, partition: PartitionId) {
        let Some(view) = self.view() else { return self.close_next(now) };
        let actors: Vec<Actor> = self.gaps_of(partition).actors_with_gaps().collect();
        let others: Vec<NodeId> = self.all_members().filter(|node| *node != self.own()).collect();
        let waiting = self.numbered(others);
        for (exchange, node) in &waiting {
            let (exchange, actors) = (*exchange, actors.clone());
            self.send_scrub(*node, ScrubMessage::Rest { exchange, partition, view, actors });
        }
        let until = self.too_late(now);
        self.scrub.closing.state = State::Asking { partition, waiting, again: until, until };
        self.all_rest(now);
    }

    fn numbered(&mut self, nodes: Vec<NodeId>) -> BTreeMap<ExchangeId, NodeId> {
        nodes.into_iter().map(|node| (ExchangeId(self.next_number()), node)).collect()
    }

    fn too_late(&mut self, now: Time) -> Time {
        self.timers.insert((now + SCRUB_TIMEOUT, Timer::Scrub));
        now + SCRUB_TIMEOUT
    }

    /// Whether nothing of an earlier life of any node can be under way here, or kept for others, and this node is none of these actors.
    pub(super) fn is_at_rest(&self, now: Time, partition: PartitionId, view: u64, actors: &[Actor]) -> bool {
        let Some(horizon) = self.horizon() else { return false };
        let own = self.replica.actor_of(partition);
        let lives = |actor: &Actor| *actor == own || self.hints.store.may_make_more(partition, *actor);
        self.view() == Some(view)
            && self.scrub.closing.changed_at() + horizon <= now
            && self.hints.store.is_empty_of(partition)
            && self.replica.is_idle_for(partition)
            && !actors.iter().any(lives)
    }

    /// A member tells whether it is at rest.
    pub(super) fn rests(&mut self, now: Time, from: NodeId, exchange: ExchangeId, rests: bool) {
        match self.scrub.closing.handle_answer(from, exchange) {
            Some(_) if !rests => self.close_next(now),
            Some(true) => self.all_rest(now),
            _ => {}
        }
    }

    /// Begins to share if all others are at rest, and as soon as this node is: what they sent before they answered may be waiting for the disk.
    fn all_rest(&mut self, now: Time) {
        let State::Asking { partition, waiting, .. } = &self.scrub.closing.state else { return };
        let (partition, all) = (*partition, waiting.is_empty());
        if !all {
            return;
        }
        let actors: Vec<Actor> = self.gaps_of(partition).actors_with_gaps().collect();
        if self.view().is_some_and(|view| self.is_at_rest(now, partition, view, &actors)) {
            return self.read_to_share(now, partition, None);
        }
        if let (State::Asking { again, .. }, Some(pace)) = (&mut self.scrub.closing.state, self.scrub.pace) {
            *again = now + pace.pause;
            self.timers.insert((*again, Timer::Scrub));
        }
    }

    fn read_to_share(&mut self, now: Time, partition: PartitionId, after: Option<ObjectKey>) {
        if let Some(until) = self.background_waits(now) {
            return self.pause_sharing(partition, after, until);
        }
        let exchange = ExchangeId(self.next_number());
        let range = ScrubRange { partition, after: after.clone(), through: None };
        self.scrub.closing.state = State::Reading { partition, after, exchange };
        self.replica.handle_range(Asker::Scrub(exchange), &range, SCRUB_PAGE_KEYS as usize, SCRUB_PAGE_BYTES);
    }

    fn pause_sharing(&mut self, partition: PartitionId, after: Option<ObjectKey>, until: Time) {
        self.scrub.closing.state = State::Pausing { partition, after, until };
        self.timers.insert((until, Timer::Scrub));
    }

    /// A page was read: every container that knows of events beyond the gaps is to be on the disks of all replicas.
    pub(super) fn page_to_share(&mut self, now: Time, exchange: ExchangeId, result: Result<Page, ReplicaError>) {
        let State::Reading { partition, exchange: reading, .. } = &self.scrub.closing.state else { return };
        let partition = *partition;
        if *reading != exchange {
            return;
        }
        // What cannot be read is found by the sweep, and mended.
        let Ok(page) = result else { return self.close_next(now) };
        self.note_page(&page);
        let others: Vec<NodeId> = self.placement.primaries(partition).filter(|node| *node != self.own()).collect();
        let through = fingerprint::end_of(&page.objects, page.last);
        let mut waiting = BTreeMap::new();
        for StoredObject { key, mut container } in page.objects {
            let beyond = |actor: Actor| page.clock.base().counter(actor) < container.vector().counter(actor);
            if !page.clock.actors_with_gaps().any(beyond) {
                continue;
            }
            container.fill(page.clock.base());
            for (exchange, node) in self.numbered(others.clone()) {
                let (key, container) = (key.clone(), container.clone());
                self.send_scrub(node, ScrubMessage::Share { exchange, key, container });
                waiting.insert(exchange, node);
            }
            let exchange = ExchangeId(self.next_number());
            waiting.insert(exchange, self.own());
            self.store_shared(Asker::Scrub(exchange), key, container);
        }
        let (until, done) = (self.too_late(now), waiting.is_empty());
        self.scrub.closing.state = State::Sharing { partition, through, waiting, until };
        if done {
            self.page_shared(now);
        }
    }

    /// It is synced even if nothing of it is new: what is there already may not be on the disk.
    fn store_shared(&mut self, asker: Asker, key: ObjectKey, container: Container<StoredValue>) {
        let durability = Durability::Synced;
        self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots: Vec::new(), durability });
    }

    /// A peer shares what it knows of a key.
    pub(super) fn take_shared(
        &mut self,
        from: NodeId,
        exchange: ExchangeId,
        key: ObjectKey,
        container: Container<StoredValue>,
    ) {
        if self.placement.is_primary(self.own(), self.partition_of(&key)) {
            return self.store_shared(Asker::Scrubber { node: from, exchange }, key, container);
        }
        self.send_shared(from, exchange, Err(ReplicaError::NotResponsible));
    }

    pub(in crate::shard) fn send_shared(&mut self, to: NodeId, exchange: ExchangeId, result: Result<(), ReplicaError>) {
        self.send_scrub(to, ScrubMessage::Shared { exchange, result });
    }

    /// A replica has stored what was shared, or could not.
    pub(super) fn stored_by(
        &mut self,
        now: Time,
        from: NodeId,
        exchange: ExchangeId,
        result: Result<(), ReplicaError>,
    ) {
        match self.scrub.closing.handle_answer(from, exchange) {
            Some(_) if result.is_err() => self.close_next(now),
            Some(true) => self.page_shared(now),
            _ => {}
        }
    }

    fn page_shared(&mut self, now: Time) {
        let State::Sharing { partition, through, .. } = &mut self.scrub.closing.state else { return };
        let (partition, through) = (*partition, through.take());
        if !self.may_close(partition) {
            return self.close_next(now);
        }
        match (through, self.scrub.pace) {
            (Some(after), Some(pace)) => self.pause_sharing(partition, Some(after), now + pace.pause),
            _ => {
                self.scrub.closing.note_shared(partition);
                self.ask_to_agree(now, partition);
            }
        }
    }

    fn ask_to_agree(&mut self, now: Time, partition: PartitionId) {
        let known = self.scrub.closing.known(partition);
        let (Some(view), Some((gaps, true))) = (self.view(), known) else { return self.close_next(now) };
        let others: Vec<NodeId> = self.placement.primaries(partition).filter(|node| *node != self.own()).collect();
        let waiting = self.numbered(others);
        for (exchange, node) in &waiting {
            self.send_scrub(*node, ScrubMessage::Agree { exchange: *exchange, partition, view, gaps });
        }
        let (until, alone) = (self.too_late(now), waiting.is_empty());
        self.scrub.closing.state = State::Agreeing { partition, waiting, until };
        if alone {
            self.close_gaps(now);
        }
    }

    /// Whether this replica has shared all that it knows of these same gaps.
    pub(super) fn agrees(&self, partition: PartitionId, view: u64, gaps: u64) -> bool {
        self.view() == Some(view)
            && self.scrub.closing.known(partition) == Some((gaps, true))
            && self.may_close(partition)
    }

    /// Another replica tells whether it agrees.
    pub(super) fn agreed(&mut self, now: Time, from: NodeId, exchange: ExchangeId, agrees: bool) {
        match self.scrub.closing.handle_answer(from, exchange) {
            Some(_) if !agrees => self.close_next(now),
            Some(true) => self.close_gaps(now),
            _ => {}
        }
    }

    /// All replicas agree that nobody has these events.
    fn close_gaps(&mut self, now: Time) {
        let State::Agreeing { partition, .. } = self.scrub.closing.state else { return };
        if self.may_close(partition) {
            let gone: Vec<Dot> = self.gaps_of(partition).gaps().take(CLOSING_DOTS_MAX).collect();
            self.scrub.closing.closed += gone.len() as u64;
            tracing::info!(node = %self.own(), %partition, events = gone.len(), "events that nobody has were closed");
            self.replica.close(partition, gone.into_iter());
            let left = self.gaps_of(partition);
            self.scrub.closing.note_gaps(now, partition, &left);
        }
        self.close_next(now);
    }
}
