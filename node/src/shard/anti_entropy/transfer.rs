//! Anti-entropy, the last resort: receives a whole partition from a peer that has events which nobody can name any more.
//!
//! Such events were dropped from all logs, because this replica once said to have them; it was wiped or set back since. The pages are
//! merged one by one. Only when the last is stored is the clock joined that the first page came with: it vouches for all of them
//! together. What came into being at the peer meanwhile is fetched as always, later.
//!
//! A key that the peer does not have any more is known to be empty: what this replica holds of it is merged with nothing, and so is what
//! arrives for it while the transfer lasts ([`crate::replica::Replica::note_arriving`]).

use std::collections::BTreeSet;

use quorate_ring::limits::SCAN_ITEMS_MAX;
use quorate_ring::version::Container;
use quorate_ring::wire::{Durability, ExchangeId, ReplicaError, SyncMessage, TransferPage};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position, StoredValue};

use crate::Time;
use crate::anti_entropy::{Exchange, State, Transfer};
use crate::replica::{Asker, KeyOperation, Page};
use crate::shard::Shard;

impl Shard {
    /// Begins to receive a partition.
    pub(super) fn begin_transfer(&mut self, now: Time, node: NodeId, partition: PartitionId) {
        self.ask_for_page(now, node, Transfer::new(partition));
    }

    /// Gives up what cannot be received now, and goes on with the rest: it is tried again at the next comparison.
    fn give_transfer_up(&mut self, now: Time, node: NodeId, partition: PartitionId) {
        self.replica.forget_arriving(partition);
        self.fetch(now, node);
        self.wake_the_waiting(now);
    }

    fn ask_for_page(&mut self, now: Time, node: NodeId, transfer: Transfer) {
        let id = ExchangeId(self.next_number());
        let peer = self.anti_entropy.peers.get_mut(&node);
        let Some(exchange) = peer.and_then(|peer| peer.exchange.as_mut()) else { return };
        let (partition, after) = (transfer.partition, transfer.after.clone());
        exchange.go_on(id, now, State::Transferring(transfer));
        self.ask(now, node, SyncMessage::Transfer { exchange: id, partition, after });
    }

    /// A page has come: merges it, and reads what this replica holds itself of its range.
    pub(super) fn transferred(
        &mut self,
        now: Time,
        node: NodeId,
        id: ExchangeId,
        page: Result<TransferPage, ReplicaError>,
    ) {
        let count = self.placement.partitions();
        let Some(Exchange { state: State::Transferring(transfer), since, .. }) = self.exchange_of(node, id) else {
            return;
        };
        if !transfer.awaits {
            return;
        }
        let partition = transfer.partition;
        let inside = |key: &ObjectKey| count.partition_of(Position::of(key)) == partition;
        let page = page.ok().filter(|page| page.objects.iter().all(|object| inside(&object.key)));
        let Some(page) = page.filter(|page| page.last || !page.objects.is_empty()) else {
            return self.give_transfer_up(now, node, partition);
        };
        *since = now;
        let keys: BTreeSet<ObjectKey> = page.objects.iter().map(|object| object.key.clone()).collect();
        transfer.receive(&page, keys.clone());
        let (after, end, base) = (transfer.after.clone(), transfer.end.clone(), page.base().clone());
        self.replica.check_set_back(partition, &page.clock);
        self.replica.note_arriving(partition, end.as_ref(), base, keys);
        for mut object in page.objects {
            object.container.fill(page.clock.base());
            self.merge_transferred(node, id, object.key, object.container);
        }
        self.read_own_page(node, id, partition, after.as_ref());
    }

    fn merge_transferred(
        &mut self,
        peer: NodeId,
        exchange: ExchangeId,
        key: ObjectKey,
        container: Container<StoredValue>,
    ) {
        let (asker, durability) = (Asker::CatchUp { peer, exchange }, Durability::Buffered);
        self.replica.handle_key(key, KeyOperation::Merge { asker, container, dots: Vec::new(), durability });
    }

    fn read_own_page(&mut self, peer: NodeId, exchange: ExchangeId, partition: PartitionId, after: Option<&ObjectKey>) {
        let limit = u32::try_from(SCAN_ITEMS_MAX).expect("a page has few entries");
        self.replica.handle_scan(Asker::CatchUp { peer, exchange }, None, partition, after, limit);
    }

    /// What this replica holds itself was read: what of it the peer does not have is merged with nothing.
    pub(in crate::shard) fn own_page_read(
        &mut self,
        now: Time,
        node: NodeId,
        id: ExchangeId,
        result: Result<Page, ReplicaError>,
    ) {
        let Some(Exchange { state: State::Transferring(transfer), .. }) = self.exchange_of(node, id) else { return };
        let Ok(page) = result else {
            let partition = transfer.partition;
            return self.give_transfer_up(now, node, partition);
        };
        let last = page.objects.last().map(|object| object.key.clone());
        let own = page.objects.into_iter().map(|object| object.key).filter(|key| transfer.is_missing(key)).collect();
        let (partition, base) = (transfer.partition, transfer.base.clone());
        transfer.own_read = page.last || last.as_ref().is_none_or(|last| transfer.is_behind_end(last));
        let own: Vec<ObjectKey> = own;
        transfer.waiting += own.len();
        let (read, waiting) = (transfer.own_read, transfer.waiting);
        for key in own {
            let mut nothing = Container::empty();
            nothing.fill(&base);
            self.merge_transferred(node, id, key, nothing);
        }
        match (read, waiting) {
            (false, _) => self.read_own_page(node, id, partition, last.as_ref()),
            (true, 0) => self.page_merged(now, node),
            (true, _) => {}
        }
    }

    /// A page is stored: asks for the next, or joins the clock that vouches for all.
    pub(super) fn page_merged(&mut self, now: Time, node: NodeId) {
        let peer = self.anti_entropy.peers.get_mut(&node);
        let Some(exchange) = peer.and_then(|peer| peer.exchange.as_mut()) else { return };
        let State::Transferring(transfer) = &mut exchange.state else { return };
        if !transfer.own_read || 0 < transfer.waiting {
            return;
        }
        if transfer.failed {
            let partition = transfer.partition;
            return self.give_transfer_up(now, node, partition);
        }
        let mut transfer = std::mem::replace(transfer, Transfer::new(transfer.partition));
        if let Some(end) = transfer.end.take() {
            transfer.next(end);
            return self.ask_for_page(now, node, transfer);
        }
        if let Some(clock) = transfer.clock {
            self.replica.join(transfer.partition, &clock);
            self.anti_entropy.counters.transfers += 1;
            // It may have gone on meanwhile: only what it said first is known to be here.
            exchange_again(&mut self.anti_entropy.peers, node, transfer.partition);
        }
        self.replica.forget_arriving(transfer.partition);
        self.fetch(now, node);
        self.wake_the_waiting(now);
    }
}

/// Asks for what is still missing of a partition, which now is little.
fn exchange_again(
    peers: &mut std::collections::BTreeMap<NodeId, crate::anti_entropy::Peer>,
    node: NodeId,
    partition: PartitionId,
) {
    if let Some(exchange) = peers.get_mut(&node).and_then(|peer| peer.exchange.as_mut()) {
        exchange.queue.push_front(partition);
    }
}
