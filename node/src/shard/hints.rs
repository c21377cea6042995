//! Hints: what this shard keeps for others, hands over, and is handed. The parts are in [`crate::handoff::hint`].

use std::time::Duration;

use quorate_ring::version::Dot;
use quorate_ring::wire::{Durability, ExchangeId, Handed, HintMessage, HintStatus, PeerMessage, ReplicaError};
use quorate_ring::{NodeId, ObjectKey, PartitionId};

use super::{Shard, Timer};
use crate::Time;
use crate::handoff::hint::layout::StoredHint;
use crate::handoff::hint::store::{HintOperation, HintReport};
use crate::handoff::hint::taking;
use crate::replica::{Asker, KeyOperation};

/// What a shard keeps for one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintFigures {
    /// For whom.
    pub target: NodeId,
    /// How many hints.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Since when the oldest may have been kept. Of those found at a start it is the start, for a core has no clock that outlives it.
    pub oldest: Time,
    /// All hints for it with a smaller number than this are delivered; see [`Shard::hint_sequence`].
    pub outstanding_from: u64,
}

impl Shard {
    /// What is kept for whom, by rising node; nothing of a node for which nothing is kept.
    pub fn hints(&self) -> impl Iterator<Item = HintFigures> + '_ {
        self.hints.store.counts().targets().map(|(target, known)| HintFigures {
            target,
            count: known.count.number,
            bytes: known.count.bytes,
            oldest: known.oldest,
            outstanding_from: known.outstanding_from,
        })
    }

    /// What is kept for whom, as it is told to whoever asks how the node is.
    pub fn hint_statuses(&self, now: Time) -> Vec<HintStatus> {
        let status = |figures: HintFigures| HintStatus {
            target: figures.target,
            count: figures.count,
            bytes: figures.bytes,
            age_millis: u64::try_from(now.since(figures.oldest).as_millis()).unwrap_or(u64::MAX),
            outstanding_from: figures.outstanding_from,
        };
        self.hints().map(status).collect()
    }

    /// The least number that a hint may get from now on. All hints made before now are delivered when each
    /// `HintFigures::outstanding_from` is at least this, or its node has none any more. The numbers of all shards of a node can be compared,
    /// and those of its earlier processes: what is found at a start counts as made before all that are numbered.
    pub const fn hint_sequence(&self) -> u64 {
        self.hints.store.counts().sequence()
    }

    /// Whether the hints found at the start are counted, so that [`Self::hints`] tells all.
    pub const fn hints_counted(&self) -> bool {
        self.hints.store.is_counted()
    }

    /// Operations on hints, and batches of hints from others, that are being worked on.
    pub fn hints_waiting(&self) -> usize {
        self.hints.store.waiting() + self.hints.takings.len()
    }

    /// Keeps a write for a primary that is away, if this node may stand in for it.
    pub(super) fn keep_hint(
        &mut self,
        asker: Asker,
        target: NodeId,
        key: ObjectKey,
        (dot, container): (Dot, quorate_ring::version::Container<quorate_ring::StoredValue>),
        durability: Durability,
    ) {
        let partition = self.partition_of(&key);
        let is_ours = !self.placement.is_primary(self.own(), partition) && self.placement.is_primary(target, partition);
        if is_ours && container.vector().covers(&dot) {
            let operation = HintOperation::Keep { asker, target, container, dot, durability };
            return self.hints.store.handle_key(key, operation);
        }
        if let Asker::Peer { node, exchange } = asker {
            self.send(node, PeerMessage::ReplicateReply { exchange, result: Err(ReplicaError::NotResponsible) });
        }
    }

    /// Passes on what the hints have to tell, and hands their operations to the store. `false` if there was nothing to tell.
    pub(super) fn drain_hints(&mut self, now: Time) -> bool {
        let mut told = false;
        while let Some(report) = self.hints.store.poll_report() {
            told = true;
            match report {
                HintReport::Of(report) => self.handle_report(now, report),
                HintReport::Settled(target) => {
                    if let Some(delivery) = self.hints.deliveries.get_mut(&target) {
                        delivery.handle_settled();
                    }
                }
                HintReport::Page { target, read } => self.hand(now, target, read),
            }
        }
        while let Some((id, operation)) = self.hints.store.poll_operation() {
            self.outputs.push_back(super::Output::Store { id, operation });
        }
        told
    }

    /// Lets every delivery do what it can do now, and sets the timer for what waits.
    pub(super) fn drive_deliveries(&mut self, now: Time) {
        self.hints.store.handle_time(now);
        self.hints.store.end_tenures();
        let targets: Vec<NodeId> = self.hints.store.counts().targets().map(|(target, _)| target).collect();
        self.hints.deliveries.retain(|target, delivery| targets.contains(target) || !delivery.is_ready(now));
        let mut deadline = self.hints.store.deadline();
        for target in targets {
            // For one that is to be no member there are those who hold what it held. What is kept for this node itself was made in the place of
            // all primaries just when it came to be one.
            let is_reached = self.connected.contains(&target) || target == self.own();
            if is_reached || self.placement.last().member(target).is_none() {
                let is_ready = self.hints.deliveries.get(&target).is_none_or(|delivery| delivery.is_ready(now));
                if let Some(at) = self.background_waits(now).filter(|_| is_ready) {
                    deadline = deadline.into_iter().chain([at]).min();
                    continue;
                }
                self.drive_delivery(now, target);
                let until = self.hints.deliveries.get(&target).and_then(|delivery| delivery.deadline());
                deadline = deadline.into_iter().chain(until).min();
            }
        }
        if deadline != self.hints_timer {
            // It waits for seconds at times: left in its place, it would keep an idle shard awake.
            self.hints_timer.map(|at| self.timers.remove(&(at, Timer::Hints)));
            deadline.map(|at| self.timers.insert((at, Timer::Hints)));
            self.hints_timer = deadline;
        }
    }

    fn drive_delivery(&mut self, now: Time, target: NodeId) {
        let delivery = self.hints.deliveries.entry(target).or_default();
        delivery.handle_time(now);
        while delivery.is_ready(now) {
            let counts = self.hints.store.counts();
            let next = delivery.cursor().and_then(|cursor| counts.partition_from(target, cursor.partition));
            let Some(partition) = next else {
                if let Some((sequence, at)) = delivery.handle_end(now) {
                    self.hints.store.counts_mut().delivered_before(target, sequence, at);
                }
                return;
            };
            let own = self.config.actor.node;
            let connected = |node: &NodeId| *node == own || self.connected.contains(node);
            let staying: Vec<NodeId> = self.placement.staying(partition).collect();
            let taker = if staying.contains(&target) { Some(target) } else { staying.into_iter().find(connected) };
            match taker {
                Some(to) => {
                    let sequence = self.hints.store.is_counted().then(|| self.hints.store.visible_before());
                    delivery.handle_begin(now, partition, to, sequence);
                    let after = delivery.cursor().and_then(|cursor| cursor.after.clone());
                    let bytes_max = delivery.grant_bytes() as usize;
                    return self.hints.store.read_page(target, partition, after.as_ref(), bytes_max);
                }
                None => delivery.pass_over(partition),
            }
        }
    }

    /// A page of what is kept for a node is read: hands it over.
    fn hand(&mut self, now: Time, target: NodeId, read: Option<(Vec<(ObjectKey, StoredHint)>, bool)>) {
        let exchange = ExchangeId(self.next_number());
        let Some(delivery) = self.hints.deliveries.get_mut(&target) else { return };
        let Some(partition) = delivery.cursor().map(|cursor| cursor.partition) else { return };
        if !delivery.taker().is_some_and(|to| self.placement.staying(partition).any(|node| node == to)) {
            return delivery.handle_refused(now);
        }
        let Some((to, sent)) = delivery.handle_page(now, exchange, read) else { return };
        let handed = |(key, hint): &(ObjectKey, StoredHint)| Handed {
            key: key.clone(),
            container: hint.container.clone(),
            dots: hint.dots.clone(),
        };
        let hints = sent.iter().map(handed).collect();
        self.say_of_hints(now, to, HintMessage::Hand { exchange, partition, hints });
    }

    /// Says something about hints, to this shard itself if it came to hold what it kept for another.
    fn say_of_hints(&mut self, now: Time, to: NodeId, message: HintMessage) {
        if to == self.own() {
            return self.handle_hint_message(now, to, message);
        }
        self.send(to, PeerMessage::Hint(message));
    }

    /// Takes what a peer says about hints.
    pub(super) fn handle_hint_message(&mut self, now: Time, from: NodeId, message: HintMessage) {
        match message {
            HintMessage::Hand { exchange, partition, hints } => self.take(now, (from, exchange), partition, hints),
            HintMessage::Taken { exchange, result } => {
                let delivery =
                    self.hints.deliveries.iter_mut().find(|(_, delivery)| delivery.waits_for(from, exchange));
                let Some((target, delivery)) = delivery else { return };
                let target = *target;
                match result {
                    Ok(taken) => {
                        let pause = Duration::from_millis(u64::from(taken.pause_millis));
                        let answer = (taken.stored, taken.grant_bytes, pause);
                        for (key, hint) in delivery.handle_taken(now, answer) {
                            self.hints.store.handle_key(key, HintOperation::Delivered { target, hint });
                        }
                    }
                    Err(_) => delivery.handle_refused(now),
                }
            }
        }
    }

    /// A peer hands over what it kept for this node: it is merged, synced, and then told to be here.
    fn take(&mut self, now: Time, (from, exchange): (NodeId, ExchangeId), partition: PartitionId, hints: Vec<Handed>) {
        if self.hints.takings.is_open(from, exchange) {
            return;
        }
        let exists = u32::from(partition.number()) < self.placement.partitions().get();
        let is_ours = exists && self.placement.is_primary(self.own(), partition);
        let refusal = if !is_ours || hints.iter().any(|hint| self.partition_of(&hint.key) != partition) {
            Some(ReplicaError::NotResponsible)
        } else if hints.is_empty() {
            let result = Ok(taking::grant_of_nothing(self.replica.waiting()));
            return self.say_of_hints(now, from, HintMessage::Taken { exchange, result });
        } else if self.config.hints.busy_from <= self.replica.waiting()
            || !self.hints.takings.begin(now, (from, exchange), hints.len(), hints.iter().map(bytes_of).sum())
        {
            Some(ReplicaError::Overloaded)
        } else {
            None
        };
        if let Some(error) = refusal {
            return self.say_of_hints(now, from, HintMessage::Taken { exchange, result: Err(error) });
        }
        for (index, Handed { key, container, dots }) in (0..).zip(hints) {
            let asker = Asker::Hinter { node: from, exchange, index };
            // A dot goes into the clock only with a container that covers it.
            let dots = dots.into_iter().filter(|dot| container.vector().covers(dot)).collect();
            let durability = Durability::Synced;
            self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots, durability });
        }
    }

    /// One of the hints that a peer handed over is stored, or is not.
    pub(super) fn hint_taken(
        &mut self,
        now: Time,
        (from, exchange, index): (NodeId, ExchangeId, u32),
        result: Result<(), ReplicaError>,
    ) {
        if let Some(done) = self.hints.takings.handle_stored(now, (from, exchange, index), result.is_ok()) {
            let result = Ok(taking::grant(done, self.replica.waiting()));
            self.say_of_hints(now, from, HintMessage::Taken { exchange, result });
        }
    }
}

/// About how many bytes a hint has.
fn bytes_of(hint: &Handed) -> usize {
    let values = hint.container.values().map(|(_, value)| value.value.as_bytes().len());
    hint.key.encoded().len() + values.sum::<usize>()
}
