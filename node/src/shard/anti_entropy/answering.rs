//! Anti-entropy, the answering side: compares for a peer that asks, and puts together what it lacks.

use quorate_ring::version::NodeClock;
use quorate_ring::wire::{ExchangeId, PeerMessage, ReplicaError, ReplicaRead, SyncMessage, TransferPage};
use quorate_ring::{NodeId, ObjectKey, PartitionId};

use crate::Time;
use crate::anti_entropy::answer::Answer;
use crate::anti_entropy::{Comparison, hash_of, hash_of_all};
use crate::limits::{COMPARISONS_MAX, EXCHANGE_TIMEOUT};
use crate::replica::clocks::Barrier;
use crate::replica::{Asker, KeyOperation, Page, layout};
use crate::shard::{Output, Shard};
use crate::storage::{Column, Completion, Operation, OperationId, StorageError};

impl Shard {
    /// A peer asks for a comparison: it is made when everything is durable that is here now.
    ///
    /// So the peer may count on what it is told after any crash, and what was acknowledged here before it asked is in it.
    pub(super) fn handle_compare(
        &mut self,
        peer: NodeId,
        exchange: ExchangeId,
        from: PartitionId,
        through: PartitionId,
        hash: u64,
    ) {
        if COMPARISONS_MAX <= self.anti_entropy.comparisons.len() || self.replica.poisoned().is_some() {
            // It will ask again.
            return;
        }
        match self.replica.barrier() {
            None => self.answer_comparison(peer, exchange, from, through, hash),
            Some(barrier) => {
                let comparison = Comparison { peer, exchange, from, through, hash, barrier };
                self.anti_entropy.comparisons.push(comparison);
            }
        }
    }

    /// What was there at a barrier is durable: answers everybody who waited for it.
    pub(in crate::shard) fn compare_all(&mut self, reached: Barrier) {
        let due: Vec<Comparison> =
            self.anti_entropy.comparisons.extract_if(.., |comparison| comparison.barrier <= reached).collect();
        for Comparison { peer, exchange, from, through, hash, .. } in due {
            self.answer_comparison(peer, exchange, from, through, hash);
        }
    }

    fn answer_comparison(
        &mut self,
        node: NodeId,
        exchange: ExchangeId,
        from: PartitionId,
        asked: PartitionId,
        hash: u64,
    ) {
        let (Some(peer), Some(last)) = (self.anti_entropy.peers.get(&node), self.replica.last_held()) else { return };
        let through = asked.min(last);
        let clocks = self.replica.clocks();
        let shared = peer.shared(from, through);
        let hashes: Vec<u64> = shared.iter().map(|partition| hash_of(clocks.durable(*partition))).collect();
        let own = hash_of_all(shared.iter().copied().zip(hashes.iter().copied()));
        let same = through == asked && own == hash;
        let hashes = (!same).then_some(hashes);
        self.send(node, PeerMessage::Sync(SyncMessage::Compared { exchange, through, hashes }));
    }

    /// A peer asks for what it lacks. A question that it asked before is forgotten: it waits for one answer at a time.
    pub(super) fn handle_fetch(&mut self, node: NodeId, exchange: ExchangeId, partitions: &[(PartitionId, NodeClock)]) {
        let Some(peer) = self.anti_entropy.peers.get(&node) else { return };
        let clocks = self.replica.clocks();
        let shared = partitions.iter().filter(|(partition, _)| peer.shares(*partition));
        let of =
            shared.map(|(partition, theirs)| (*partition, theirs, clocks.live(*partition), clocks.durable(*partition)));
        let answer = Answer::new(exchange, of);
        let keys: Vec<_> = answer.dots().map(|(partition, dot)| layout::dot_log(partition, dot)).collect();
        for (partition, theirs) in partitions {
            self.replica.check_set_back(*partition, theirs);
        }
        self.anti_entropy.answers.insert(node, answer);
        // A question that came twice has the number of the first, and may be about other events by now: what was found for those is of no use.
        self.anti_entropy.lookups.retain(|_, (asker, _)| *asker != node);
        if keys.is_empty() {
            return self.send_if_done(node);
        }
        let id = self.anti_entropy.next_operation();
        self.anti_entropy.lookups.insert(id, (node, exchange));
        self.outputs.push_back(Output::Store { id, operation: Operation::Lookup { column: Column::DotLog, keys } });
    }

    /// The log was asked which keys some events touched.
    pub(in crate::shard) fn looked_up(&mut self, now: Time, id: OperationId, result: Result<Completion, StorageError>) {
        let Some((node, exchange)) = self.anti_entropy.lookups.remove(&id) else { return };
        let Some(answer) = self.answer_of(node, exchange) else { return };
        match result {
            Ok(Completion::Found(found)) => answer.handle_found(found),
            // Which entry of them it is, the store does not tell, and asked again it would say the same.
            Ok(_) | Err(_) => answer.handle_unreadable(),
        }
        self.read_for(now, node);
    }

    fn answer_of(&mut self, node: NodeId, exchange: ExchangeId) -> Option<&mut Answer> {
        self.anti_entropy.answers.get_mut(&node).filter(|answer| answer.exchange == exchange)
    }

    /// Reads the next keys of an answer, or sends it.
    fn read_for(&mut self, now: Time, node: NodeId) {
        let Some(answer) = self.anti_entropy.answers.get_mut(&node) else { return };
        let exchange = answer.exchange;
        for key in answer.next_reads() {
            let asker = Asker::Answer { peer: node, exchange };
            self.replica.handle_key(key, KeyOperation::Read { asker, deadline: now + EXCHANGE_TIMEOUT });
        }
        self.send_if_done(node);
    }

    fn send_if_done(&mut self, node: NodeId) {
        if self.anti_entropy.answers.get(&node).is_some_and(Answer::is_done)
            && let Some(answer) = self.anti_entropy.answers.remove(&node)
        {
            let exchange = answer.exchange;
            let pieces = answer.into_pieces();
            self.send(node, PeerMessage::Sync(SyncMessage::Fetched { exchange, pieces }));
        }
    }

    /// A key of an answer was read.
    pub(in crate::shard) fn answer_read(
        &mut self,
        now: Time,
        node: NodeId,
        exchange: ExchangeId,
        key: &ObjectKey,
        result: Result<ReplicaRead, ReplicaError>,
    ) {
        let Some(answer) = self.answer_of(node, exchange) else { return };
        answer.handle_read(key, result.ok().map(|read| read.container));
        self.read_for(now, node);
    }

    /// A peer asks for a page of a whole partition.
    pub(super) fn handle_transfer(
        &mut self,
        peer: NodeId,
        exchange: ExchangeId,
        partition: PartitionId,
        after: Option<&ObjectKey>,
    ) {
        let shares = self.anti_entropy.peers.get(&peer).is_some_and(|peer| peer.shares(partition));
        let outside = after.is_some_and(|after| self.partition_of(after) != partition);
        if !shares || outside {
            let page = Err(ReplicaError::NotResponsible);
            return self.send(peer, PeerMessage::Sync(SyncMessage::Transferred { exchange, page }));
        }
        self.replica.handle_scan(Asker::Answer { peer, exchange }, None, partition, after, self.config.transfer_page);
    }

    /// A page of a whole partition was read for a peer.
    pub(in crate::shard) fn transfer_read(
        &mut self,
        node: NodeId,
        exchange: ExchangeId,
        result: Result<Page, ReplicaError>,
    ) {
        let page = result.map(|Page { objects, clock, last, .. }| TransferPage { objects, clock, last });
        self.send(node, PeerMessage::Sync(SyncMessage::Transferred { exchange, page }));
    }
}
