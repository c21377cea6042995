//! The scrub's sweep: reads this shard's partitions page by page, has them tidied, and compares them with the other replicas'. What it is
//! for is told in [`crate::scrub`].

mod answering;
mod closing;
mod mending;

use std::collections::BTreeMap;

use quorate_ring::limits::SCRUB_KEYS_MAX;
use quorate_ring::wire::{
    Durability, ExchangeId, Likeness, NamedKeys, PeerMessage, ReplicaError, ScrubMessage, ScrubObjects, ScrubStatus,
    StoredObject,
};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position};
use rand::RngExt;

use super::{Shard, Timer};
use crate::Time;
use crate::limits::{SCRUB_PAGE_BYTES, SCRUB_TIMEOUT};
use crate::replica::mending::is_compared;
use crate::replica::{Asker, KeyOperation, Page};
use crate::scrub::{Comparing, Scrub, State, fingerprint};

impl Shard {
    /// What the scrub knows and does, to look at.
    pub const fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    pub(super) fn scrub_status(&self, now: Time) -> ScrubStatus {
        ScrubStatus {
            keys_unreadable: self.replica.unreadable().len() as u64,
            faults_mended: self.replica.mended(),
            ..self.scrub.status(now)
        }
    }

    /// With its first input a shard knows the time, and begins to sweep.
    pub(super) fn begin_scrub(&mut self, now: Time) {
        if let (Some(pace), State::Resting(None)) = (self.scrub.pace, &self.scrub.state) {
            let jitter: f64 = self.random.random_range(0.0..1.0);
            self.rest_scrub_until(now + pace.pause.mul_f64(jitter));
            self.begin_closing(now);
        }
    }

    fn rest_scrub_until(&mut self, due: Time) {
        self.scrub.state = State::Resting(Some(due));
        self.timers.insert((due, Timer::Scrub));
    }

    /// The sweep's time to read a page has come, or an answer is too late, or a key is to be mended.
    pub(super) fn handle_scrub_timer(&mut self, now: Time) {
        self.drive_mends(now);
        self.drive_closing(now);
        match &mut self.scrub.state {
            State::Resting(Some(due)) if *due <= now => self.read_page(now),
            State::Comparing(Comparing { until, unlike, .. }) if *until <= now => {
                // With whoever is too late it has not been compared: as if its clock had been another.
                *unlike = true;
                self.page_compared(now);
            }
            State::Naming { until, .. } if *until <= now => self.skip_partition(now),
            _ => {}
        }
    }

    fn read_page(&mut self, now: Time) {
        if self.replica.poisoned().is_some() {
            return;
        }
        if let Some(at) = self.background_waits(now) {
            return self.rest_scrub_until(at);
        }
        let Some((range, keys)) = self.scrub.sweep.next(now) else { return };
        let exchange = ExchangeId(self.next_number());
        self.scrub.state = State::Reading(exchange);
        self.replica.handle_range(Asker::Scrub(exchange), &range, keys as usize, SCRUB_PAGE_BYTES);
    }

    /// A page of this shard's own was read: it is tidied, and compared.
    pub(super) fn scrub_read(&mut self, now: Time, exchange: ExchangeId, result: Result<Page, ReplicaError>) {
        if !matches!(self.scrub.state, State::Reading(reading) if reading == exchange) {
            return self.page_to_share(now, exchange, result);
        }
        match result {
            Ok(page) => {
                self.scrub.counters.pages += 1;
                self.note_page(&page);
                self.tidy_page(&page);
                self.compare_page(now, &page);
            }
            Err(ReplicaError::Overloaded) => self.rest_scrub(now),
            Err(_) if self.scrub.sweep.handle_unreadable() => self.rest_scrub(now),
            Err(_) => {
                self.scrub.counters.pages_unreadable += 1;
                self.ask_for_names(now);
            }
        }
    }

    fn tidy_page(&mut self, page: &Page) {
        for object in &page.objects {
            if self.replica.is_untidy(self.partition_of(&object.key), &object.container) {
                self.scrub.counters.tidied += 1;
                self.replica.handle_key(object.key.clone(), KeyOperation::Tidy { asker: Asker::Nobody });
            }
        }
    }

    /// The other replicas of a partition that can be asked now.
    fn replicas_to_ask(&self, partition: PartitionId) -> Vec<NodeId> {
        let others = self.placement.primaries(partition).filter(|node| *node != self.own());
        others.filter(|node| self.connected.contains(node)).collect()
    }

    fn compare_page(&mut self, now: Time, page: &Page) {
        let Some((mut range, _)) = self.scrub.sweep.next(now) else { return };
        range.through = fingerprint::end_of(&page.objects, page.last);
        let clock = fingerprint::of_clock(&page.clock);
        let known = fingerprint::of_page(&page.objects, page.clock.base(), self.wall());
        let ahead = fingerprint::ahead(&page.objects, page.clock.base());
        let hash = fingerprint::of_hashes(&known);
        let peers = if page.complete { self.replicas_to_ask(range.partition) } else { Vec::new() };
        let partial = peers.len() + 1 < self.placement.primaries(range.partition).count();
        let mut waiting = BTreeMap::new();
        for peer in peers {
            let exchange = ExchangeId(self.next_number());
            let range = range.clone();
            self.send_scrub(peer, ScrubMessage::Compare { exchange, range, clock, hash });
            waiting.insert(exchange, peer);
        }
        let until = now + SCRUB_TIMEOUT;
        let comparing = Comparing { range, clock, known, ahead, waiting, unlike: false, partial, until };
        self.scrub.state = State::Comparing(comparing);
        self.timers.insert((until, Timer::Scrub));
        self.go_on_comparing(now);
    }

    /// Takes what a peer says.
    pub(super) fn handle_scrub(&mut self, now: Time, from: NodeId, message: ScrubMessage) {
        match message {
            ScrubMessage::Compared { exchange, outcome } => self.page_is(now, from, exchange, outcome),
            ScrubMessage::Fetched { exchange, objects } => self.scrub_fetched(now, from, exchange, objects),
            ScrubMessage::Named { exchange, result } => self.named(now, from, exchange, result),
            ScrubMessage::Held { exchange, result } => self.held(now, from, exchange, result),
            ScrubMessage::Rests { exchange, rests } => self.rests(now, from, exchange, rests),
            ScrubMessage::Shared { exchange, result } => self.stored_by(now, from, exchange, result),
            ScrubMessage::Agreed { exchange, agrees } => self.agreed(now, from, exchange, agrees),
            ScrubMessage::Rest { exchange, partition, view, actors } => {
                let rests = self.is_at_rest(now, partition, view, &actors);
                self.send_scrub(from, ScrubMessage::Rests { exchange, rests });
            }
            ScrubMessage::Share { exchange, key, container } => self.take_shared(from, exchange, key, container),
            ScrubMessage::Agree { exchange, partition, view, gaps } => {
                let agrees = self.agrees(partition, view, gaps);
                self.send_scrub(from, ScrubMessage::Agreed { exchange, agrees });
            }
            question => self.handle_scrub_question(now, from, question),
        }
    }

    fn page_is(&mut self, now: Time, from: NodeId, exchange: ExchangeId, outcome: Likeness) {
        let question = ExchangeId(self.next_number());
        let Some(comparing) = self.scrub.comparing(from, exchange) else { return };
        comparing.waiting.remove(&exchange);
        match outcome {
            Likeness::Same => {}
            Likeness::Unlike => comparing.unlike = true,
            Likeness::Different => {
                comparing.waiting.insert(question, from);
                let (range, clock, known) = (comparing.range.clone(), comparing.clock, comparing.known.clone());
                self.send_scrub(from, ScrubMessage::Fetch { exchange: question, range, clock, known });
            }
        }
        self.go_on_comparing(now);
    }

    /// A peer has sent what it holds and this replica does not: what is missing here is put back, and what the peer knows beyond the clock is
    /// merged.
    fn scrub_fetched(
        &mut self,
        now: Time,
        from: NodeId,
        exchange: ExchangeId,
        objects: Result<ScrubObjects, ReplicaError>,
    ) {
        let wall = self.wall();
        let Some(comparing) = self.scrub.comparing(from, exchange) else { return };
        comparing.waiting.remove(&exchange);
        let (partition, clock) = (comparing.range.partition, comparing.clock);
        let mut objects = objects.map(|objects| objects.0).unwrap_or_default();
        objects.retain(|object| self.placement.partitions().partition_of(Position::of(&object.key)) == partition);
        let (ahead, mut held): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| !object.container.vector().is_empty());
        // By the peer's clock it may not expire so soon.
        let compared = |object: &StoredObject| object.container.values().any(|(_, value)| is_compared(value, wall));
        held.retain(|object| !comparing.ahead.contains(&object.key) && compared(object));
        if !held.is_empty() {
            self.scrub.counters.ranges_differing += 1;
            tracing::error!(node = %self.own(), peer = %from, %partition, "the same clock, and different contents");
        }
        let asker = Asker::Nobody;
        for StoredObject { key, container } in held {
            self.replica.handle_key(key, KeyOperation::Restore { asker, container, clock });
        }
        for StoredObject { key, container } in ahead {
            let (dots, durability) = (Vec::new(), Durability::Buffered);
            self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots, durability });
        }
        self.go_on_comparing(now);
    }

    fn go_on_comparing(&mut self, now: Time) {
        if matches!(&self.scrub.state, State::Comparing(comparing) if comparing.waiting.is_empty()) {
            self.page_compared(now);
        }
    }

    /// All peers have answered, or are too late.
    fn page_compared(&mut self, now: Time) {
        let State::Comparing(comparing) = &mut self.scrub.state else { return };
        let (unlike, partial, through) = (comparing.unlike, comparing.partial, comparing.range.through.take());
        if unlike && self.scrub.sweep.handle_unlike() {
            return self.rest_scrub(now);
        }
        self.scrub.counters.pages_uncompared += u64::from(unlike || partial);
        self.page_done(now, through);
    }

    fn page_done(&mut self, now: Time, through: Option<ObjectKey>) {
        if !self.scrub.sweep.handle_done(now, through) {
            return self.rest_scrub(now);
        }
        let Some(pace) = self.scrub.pace else { return };
        let jitter: f64 = self.random.random_range(0.75..1.25);
        let next = self.scrub.sweep.began() + pace.round.mul_f64(jitter);
        self.rest_scrub_until(next.max(now + pace.pause));
    }

    fn rest_scrub(&mut self, now: Time) {
        let Some(pace) = self.scrub.pace else { return };
        self.rest_scrub_until(now + pace.pause);
    }

    /// Not a single key behind where the sweep is can be read, and so which one comes next is not known here: asks somebody who knows.
    fn ask_for_names(&mut self, now: Time) {
        let Some((range, _)) = self.scrub.sweep.next(now) else { return };
        let peers = self.replicas_to_ask(range.partition);
        if peers.is_empty() {
            return self.skip_partition(now);
        }
        // Another one in each round: not all of them have a key whose last value has expired.
        let turn = usize::try_from(self.scrub.sweep.rounds()).unwrap_or_default();
        let peer = peers[turn % peers.len()];
        let (exchange, until) = (ExchangeId(self.next_number()), now + SCRUB_TIMEOUT);
        self.scrub.state = State::Naming { peer, exchange, until };
        self.timers.insert((until, Timer::Scrub));
        self.send_scrub(peer, ScrubMessage::Name { exchange, partition: range.partition, after: range.after });
    }

    /// A peer has told which keys there are: each is met where it is, and mended if it cannot be read.
    fn named(&mut self, now: Time, from: NodeId, id: ExchangeId, result: Result<NamedKeys, ReplicaError>) {
        if !matches!(self.scrub.state, State::Naming { peer, exchange, .. } if (peer, exchange) == (from, id)) {
            return;
        }
        let Some((range, _)) = self.scrub.sweep.next(now) else { return };
        let Ok(NamedKeys { keys, last }) = result else { return self.skip_partition(now) };
        let inside = keys.iter().all(|key| self.partition_of(key) == range.partition);
        let through = if last { None } else { keys.last().cloned() };
        if !inside || !last && through.is_none() {
            return self.skip_partition(now);
        }
        for key in keys.into_iter().take(SCRUB_KEYS_MAX) {
            self.replica.handle_key(key, KeyOperation::Tidy { asker: Asker::Nobody });
        }
        self.scrub.counters.pages_uncompared += 1;
        self.page_done(now, through);
    }

    /// What is behind where the sweep is cannot be read, nor does anybody say what it is: it is left for the next round.
    fn skip_partition(&mut self, now: Time) {
        if let Some((range, _)) = self.scrub.sweep.next(now)
            && self.replica.poisoned().is_none()
        {
            tracing::error!(node = %self.own(), partition = %range.partition, "a part of a partition cannot be read");
        }
        self.page_done(now, None);
    }

    /// The connection to a peer is gone: it will not answer.
    pub(super) fn forget_scrub(&mut self, now: Time, peer: NodeId) {
        self.scrub.questions.retain(|(asker, _), _| *asker != peer);
        match &mut self.scrub.state {
            State::Comparing(comparing) => {
                comparing.waiting.retain(|_, asked| *asked != peer);
                self.go_on_comparing(now);
            }
            State::Naming { peer: asked, .. } if *asked == peer => self.rest_scrub(now),
            _ => {}
        }
    }

    fn send_scrub(&mut self, to: NodeId, message: ScrubMessage) {
        self.send(to, PeerMessage::Scrub(message));
    }
}
