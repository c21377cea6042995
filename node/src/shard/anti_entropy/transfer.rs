//! Anti-entropy, the last resort: receives a whole partition from a peer that has events which nobody can name any more.
//!
//! Such events were dropped from all logs, because this replica once said to have them; it was wiped or set back since, or begins. The pages
//! are merged one after the other, each with what this replica holds itself of its range, in one batch
//! ([`Replica::merge_page`](crate::replica::Replica::merge_page)). With the last one the clock is joined that the first came with: it vouches for
//! all of them together, as each page comes with a clock that has all of it. What came into being at the peer meanwhile is fetched as
//! always, later.
//!
//! A key that the peer does not have any more is known to be empty: what this replica holds of it is merged with nothing, and so is what
//! arrives for it while the transfer lasts ([`crate::replica::Replica::note_arriving`]).
//!
//! What breaks goes on behind the last key that is stored, with whichever peer is asked next. One whose clock lacks something that the first
//! page vouched for would not have sent it: with that one it begins again.

use quorate_ring::wire::{ExchangeId, ReplicaError, SyncMessage, TransferPage};
use quorate_ring::{NodeId, ObjectKey, PartitionId, Position};

use crate::Time;
use crate::anti_entropy::{Exchange, PageAtHand, State, Transfer};
use crate::replica::{Asker, Page};
use crate::shard::Shard;

impl Shard {
    /// Begins to receive a partition, or goes on where that broke.
    pub(super) fn begin_transfer(&mut self, now: Time, node: NodeId, partition: PartitionId) {
        let broken = self.anti_entropy.broken.remove(&partition);
        self.counters.transfers_resumed += u64::from(broken.is_some());
        let transfer = broken.unwrap_or_else(|| {
            self.replica.forget_arriving(partition);
            Transfer::new(partition)
        });
        self.ask_for_page(now, node, transfer);
    }

    /// An exchange ends, whatever came of it: of a partition that was being received what is stored is kept.
    pub(super) fn break_off(&mut self, node: NodeId) {
        let exchange = self.anti_entropy.peers.get_mut(&node).and_then(|peer| peer.exchange.take());
        let Some(Exchange { state: State::Transferring(transfer), .. }) = exchange else { return };
        let partition = transfer.partition;
        match transfer.after.clone().filter(|_| self.replica.holds(partition)) {
            Some(after) => {
                self.replica.keep_arriving(partition, &after);
                self.anti_entropy.broken.insert(partition, transfer.broken());
            }
            None => self.replica.forget_arriving(partition),
        }
    }

    /// All of a partition has come in another way.
    pub(super) fn forget_broken(&mut self, partition: PartitionId) {
        if self.anti_entropy.broken.remove(&partition).is_some() {
            self.replica.forget_arriving(partition);
        }
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

    /// A page has come: reads what this replica holds itself of its range.
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
        if transfer.page.is_some() {
            return;
        }
        let partition = transfer.partition;
        let inside = |key: &ObjectKey| count.partition_of(Position::of(key)) == partition;
        let page = page.ok().filter(|page| page.objects.iter().all(|object| inside(&object.key)));
        let Some(page) = page.filter(|page| page.last || !page.objects.is_empty()) else {
            return self.give_transfer_up(now, node, partition);
        };
        *since = now;
        let (clock, keys) = (page.clock.clone(), page.objects.iter().map(|object| object.key.clone()).collect());
        if !transfer.receive(page) {
            // It has lost something since, or is another one: all of it anew.
            self.replica.forget_arriving(partition);
            return self.ask_for_page(now, node, Transfer::new(partition));
        }
        let (after, end) = (transfer.after.clone(), transfer.page.as_ref().and_then(|page| page.end.clone()));
        self.replica.check_set_back(partition, &clock);
        self.replica.note_arriving(partition, end.as_ref(), clock.base().clone(), keys);
        self.read_own_page(node, id, partition, after.as_ref());
    }

    fn read_own_page(&mut self, peer: NodeId, exchange: ExchangeId, partition: PartitionId, after: Option<&ObjectKey>) {
        let limit = self.config.transfer_page;
        self.replica.handle_scan(Asker::CatchUp { peer, exchange }, None, partition, after, limit);
    }

    /// What this replica holds itself was read: it is merged with what the peer has, and where that has nothing, with nothing.
    pub(in crate::shard) fn own_page_read(
        &mut self,
        now: Time,
        node: NodeId,
        id: ExchangeId,
        result: Result<Page, ReplicaError>,
    ) {
        let Some(Exchange { state: State::Transferring(transfer), .. }) = self.exchange_of(node, id) else { return };
        let (partition, Some(page)) = (transfer.partition, &mut transfer.page) else { return };
        let Ok(own) = result else { return self.give_transfer_up(now, node, partition) };
        let last = own.objects.last().map(|object| object.key.clone());
        let pairs = page.pair(own.objects, own.last);
        let read = page.own_read;
        // These are the last, and all before them are stored.
        let ends = read && page.end.is_none() && transfer.waiting == 0 && !transfer.failed;
        transfer.waiting += pairs.len();
        let waiting = transfer.waiting;
        let clock = transfer.clock.clone().filter(|_| ends);
        let asker = Asker::CatchUp { peer: node, exchange: id };
        let joined = self.replica.merge_page(asker, partition, pairs, clock.as_ref());
        if joined
            && let Some(Exchange { state: State::Transferring(Transfer { page: Some(page), .. }), .. }) =
                self.exchange_of(node, id)
        {
            page.joined = true;
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
        let Some(PageAtHand { own_read: true, joined, .. }) = transfer.page else { return };
        if 0 < transfer.waiting {
            return;
        }
        let partition = transfer.partition;
        if transfer.failed {
            return self.give_transfer_up(now, node, partition);
        }
        let mut transfer = std::mem::replace(transfer, Transfer::new(partition));
        if transfer.turn_page().is_some() {
            return self.ask_for_page(now, node, transfer);
        }
        if let Some(clock) = transfer.clock {
            if !joined {
                self.replica.join(partition, &clock);
            }
            self.anti_entropy.counters.transfers += 1;
            // It may have gone on meanwhile: only what it said first is known to be here.
            exchange_again(&mut self.anti_entropy.peers, node, partition);
        }
        self.replica.forget_arriving(partition);
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
