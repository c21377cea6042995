//! Keys that cannot be read: asks the others what they hold of each, and has it written anew.

use std::collections::BTreeMap;

use quorate_ring::wire::{ExchangeId, HeldObject, ReplicaError, ScrubMessage};
use quorate_ring::{NodeId, ObjectKey};

use crate::Time;
use crate::limits::SCRUB_TIMEOUT;
use crate::replica::{Asker, Evidence, KeyOperation};
use crate::scrub::mend::{Mend, Next, Whom};
use crate::shard::coordination::Coordination;
use crate::shard::{Shard, Timer};

impl Shard {
    /// A key was found that cannot be read.
    pub(in crate::shard) fn mend_soon(&mut self, now: Time, key: ObjectKey) {
        let partition = self.partition_of(&key);
        tracing::error!(node = %self.own(), %partition, "a key cannot be read");
        self.drive_mends(now);
    }

    /// Goes on with every key whose time has come, as there is room.
    pub(super) fn drive_mends(&mut self, now: Time) {
        let readable: Vec<ObjectKey> =
            self.scrub.mends.keys().filter(|key| !self.replica.unreadable().contains_key(*key)).cloned().collect();
        readable.iter().for_each(|key| drop(self.scrub.mends.remove(key)));
        let waiting = self.replica.unreadable().keys().filter(|key| !self.scrub.mends.contains_key(*key));
        let mendable = waiting.filter(|key| self.placement.primaries(self.partition_of(key)).nth(1).is_some());
        let begin: Vec<(ObjectKey, Mend)> = mendable.map(|key| (key.clone(), Mend::new(now))).collect();
        self.scrub.mends.extend(begin);
        for key in self.scrub.due_mends(now) {
            self.ask_replicas(now, &key, Whom::Replicas);
        }
    }

    fn ask_replicas(&mut self, now: Time, key: &ObjectKey, whom: Whom) {
        let partition = self.partition_of(key);
        let others = self.placement.primaries(partition).filter(|node| *node != self.own()).collect();
        self.ask_for_key(now, key, whom, others);
    }

    /// Asks all other nodes what they keep of a key for others, or goes on if there are none.
    fn ask_others(&mut self, now: Time, key: &ObjectKey) {
        let partition = self.partition_of(key);
        let members = self.placement.members().into_iter();
        let others: Vec<NodeId> = members.filter(|node| !self.placement.is_primary(*node, partition)).collect();
        match others.is_empty() {
            true => self.ask_replicas(now, key, Whom::ReplicasAgain),
            false => self.ask_for_key(now, key, Whom::Others, others),
        }
    }

    fn ask_for_key(&mut self, now: Time, key: &ObjectKey, whom: Whom, nodes: Vec<NodeId>) {
        let (there, away): (Vec<NodeId>, Vec<NodeId>) =
            nodes.into_iter().partition(|node| self.connected.contains(node));
        let asked: BTreeMap<ExchangeId, NodeId> =
            there.into_iter().map(|node| (ExchangeId(self.next_number()), node)).collect();
        for (exchange, node) in &asked {
            let (exchange, key) = (*exchange, key.clone());
            self.send_scrub(*node, ScrubMessage::Ask { exchange, key });
        }
        let Some(mend) = self.scrub.mends.get_mut(key) else { return };
        let until = if asked.is_empty() {
            mend.rest(now)
        } else {
            mend.handle_asked(whom, asked, away.len(), now + SCRUB_TIMEOUT);
            now + SCRUB_TIMEOUT
        };
        self.timers.insert((until, Timer::Scrub));
    }

    /// Somebody tells what it holds of a key.
    pub(super) fn held(
        &mut self,
        now: Time,
        from: NodeId,
        exchange: ExchangeId,
        result: Result<HeldObject, ReplicaError>,
    ) {
        let mut mends = self.scrub.mends.iter_mut();
        let Some((key, mend)) = mends.find(|(_, mend)| mend.waits_for(from, exchange)) else { return };
        let key = key.clone();
        let Some(lost) = self.replica.unreadable().get(&key) else {
            return drop(self.scrub.mends.remove(&key));
        };
        let number = lost.number;
        match mend.handle_held(now, (from, exchange), result, &lost.clock) {
            Next::Wait => self.wake_for(&key),
            Next::Store => self.write_anew(&key, None),
            // What others would be given of such a write is in nobody's store yet.
            Next::StoreRest if self.is_writing(&key) => self.rest_mend(now, &key),
            Next::StoreRest => self.write_anew(&key, Some(number)),
            Next::Ask(Whom::Others) => self.ask_others(now, &key),
            Next::Ask(whom) => self.ask_replicas(now, &key, whom),
        }
    }

    fn wake_for(&mut self, key: &ObjectKey) {
        if let Some(at) = self.scrub.mends.get(key).and_then(Mend::deadline) {
            self.timers.insert((at, Timer::Scrub));
        }
    }

    fn write_anew(&mut self, key: &ObjectKey, gone: Option<u64>) {
        let exchange = ExchangeId(self.next_number());
        let Some(mend) = self.scrub.mends.get_mut(key) else { return };
        let (container, clock) = mend.handle_storing(exchange);
        let evidence = gone.map_or(Evidence::Received(clock), Evidence::Gone);
        if let Evidence::Gone(_) = evidence {
            self.scrub.counters.given_up += 1;
            tracing::error!(node = %self.own(), "a key is mended without events that were on this disk alone");
        }
        let asker = Asker::Scrub(exchange);
        self.replica.handle_key(key.clone(), KeyOperation::Mend { asker, container, evidence });
    }

    /// A key was written anew, or could not be.
    pub(in crate::shard) fn mended(&mut self, now: Time, exchange: ExchangeId, result: Result<(), ReplicaError>) {
        let mut mends = self.scrub.mends.iter_mut();
        let Some((key, _)) = mends.find(|(_, mend)| mend.is_storing(exchange)) else {
            return self.stored_by(now, self.own(), exchange, result);
        };
        let key = key.clone();
        match result {
            Ok(()) => drop(self.scrub.mends.remove(&key)),
            Err(_) => self.rest_mend(now, &key),
        }
    }

    /// Nothing came of a mend: it goes on later.
    fn rest_mend(&mut self, now: Time, key: &ObjectKey) {
        if let Some(mend) = self.scrub.mends.get_mut(key) {
            let at = mend.rest(now);
            self.timers.insert((at, Timer::Scrub));
        }
    }

    /// Whether a write of a key is being coordinated here.
    fn is_writing(&self, key: &ObjectKey) -> bool {
        self.coordinations
            .values()
            .any(|coordination| matches!(coordination, Coordination::Write(write) if write.key == *key))
    }
}
