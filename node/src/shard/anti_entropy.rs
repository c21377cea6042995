//! Anti-entropy, the asking side: compares this shard's clocks with those of each peer in turn, and fetches what it lacks.

mod answering;
mod transfer;

use quorate_ring::limits::{COMPARE_PARTITIONS_MAX, FETCH_PARTITIONS_MAX};
use quorate_ring::version::Incarnation;
use quorate_ring::wire::{Durability, ExchangeId, PeerMessage, Piece, ReplicaError, SyncMessage};
use quorate_ring::{NodeId, PartitionId};
use rand::RngExt;

use super::{Output, Shard, Timer};
use crate::Time;
use crate::anti_entropy::{AntiEntropy, Asked, Exchange, Peer, Received, Rest, State, hash_of, hash_of_all};
use crate::limits::{EXCHANGE_DELAY, EXCHANGE_INTERVAL, EXCHANGE_TIMEOUT, PRUNE_PARTITIONS_MAX, PRUNE_PAUSE};
use crate::replica::{Asker, KeyOperation};
use crate::start::Standing;

impl Shard {
    /// There is a connection to a peer: clocks are compared soon.
    pub(super) fn compare_soon(&mut self, now: Time, peer: NodeId, incarnation: Incarnation) {
        let due = now + EXCHANGE_DELAY.mul_f64(self.random.random());
        self.forget_exchanges(peer);
        if let Some(known) = self.anti_entropy.peers.get_mut(&peer) {
            known.handle_connected(incarnation, due);
            self.timers.insert((due, Timer::AntiEntropy));
        }
    }

    /// The connection to a peer is gone: what was asked on it will not be answered, nor need what it asked be.
    pub(super) fn forget_exchanges(&mut self, peer: NodeId) {
        self.anti_entropy.answers.remove(&peer);
        self.anti_entropy.comparisons.retain(|comparison| comparison.peer != peer);
        self.break_off(peer);
        if let Some(known) = self.anti_entropy.peers.get_mut(&peer) {
            known.handle_disconnected();
        }
    }

    /// Some peer's time to compare has come, or an exchange has taken too long.
    pub(super) fn handle_anti_entropy_timer(&mut self, now: Time) {
        let touched = self.replica.take_touched();
        self.anti_entropy.watermarks.note_logged(touched.into_iter());
        // What comes by transfers is all written anew once its partition's clock has it: that need not be done meanwhile.
        if !self.anti_entropy.is_transferring() {
            self.replica.tidy_unstripped();
        }
        if self.anti_entropy.peers.is_empty() {
            return self.prune_alone(now);
        }
        let due: Vec<NodeId> =
            self.anti_entropy.peers.iter().filter(|(_, peer)| is_due(peer, now)).map(|(node, _)| *node).collect();
        for node in due {
            self.end_exchange(now, node);
            self.compare(now, node, None);
        }
    }

    /// Ends an exchange with a peer, whatever came of it, and sets the time of the next.
    fn end_exchange(&mut self, now: Time, node: NodeId) {
        let jitter: f64 = self.random.random_range(0.75..1.25);
        self.break_off(node);
        let Some(peer) = self.anti_entropy.peers.get_mut(&node) else { return };
        peer.due = now + self.config.exchange_interval.mul_f64(jitter);
        self.timers.insert((peer.due, Timer::AntiEntropy));
    }

    /// Compares with a peer sooner than usual.
    fn compare_at(&mut self, due: Time, node: NodeId) {
        if let Some(peer) = self.anti_entropy.peers.get_mut(&node) {
            peer.due = due;
            self.timers.insert((due, Timer::AntiEntropy));
        }
    }

    /// Asks a peer to compare the clocks of the shared partitions behind one, or from the first.
    fn compare(&mut self, now: Time, node: NodeId, behind: Option<PartitionId>) {
        let id = ExchangeId(self.next_number());
        let Some(peer) = self.anti_entropy.peers.get_mut(&node) else { return };
        let clocks = self.replica.clocks();
        let ask = |partition: &PartitionId| {
            let clock = clocks.live(*partition);
            Asked { partition: *partition, hash: hash_of(clock), base: clock.base().clone() }
        };
        let asked: Vec<Asked> = peer.shared_behind(behind, COMPARE_PARTITIONS_MAX).iter().map(ask).collect();
        let (Some(first), Some(last)) = (asked.first(), asked.last()) else { return };
        let (from, through) = (first.partition, last.partition);
        let epoch = self.placement.acknowledged();
        let hash = hash_of_all(asked.iter().map(|asked| (asked.partition, asked.hash)));
        match &mut peer.exchange {
            Some(exchange) => exchange.go_on(id, now, State::Comparing(asked)),
            None => peer.exchange = Some(Exchange::comparing(id, now, asked)),
        }
        self.ask(now, node, SyncMessage::Compare { exchange: id, from, through, hash, epoch });
    }

    /// Asks a peer something, and sees to it that silence does not last.
    fn ask(&mut self, now: Time, node: NodeId, question: SyncMessage) {
        self.timers.insert((now + EXCHANGE_TIMEOUT, Timer::AntiEntropy));
        self.send(node, PeerMessage::Sync(question));
    }

    /// Takes what a peer says.
    pub(super) fn handle_sync(&mut self, now: Time, from: NodeId, message: SyncMessage) {
        match message {
            question @ SyncMessage::Compare { epoch, .. } if self.placement.acknowledged() < epoch => {
                self.park_comparison(from, question);
            }
            SyncMessage::Compare { exchange, from: first, through, hash, .. } => {
                self.handle_compare(from, exchange, first, through, hash);
            }
            SyncMessage::Fetch { exchange, partitions } => self.handle_fetch(from, exchange, &partitions),
            SyncMessage::Transfer { exchange, partition, after } => {
                self.handle_transfer(from, exchange, partition, after.as_ref());
            }
            SyncMessage::Compared { exchange, through, hashes } => {
                self.compared(now, from, exchange, through, hashes.as_deref());
            }
            SyncMessage::Fetched { exchange, pieces } => self.fetched(now, from, exchange, pieces),
            SyncMessage::Transferred { exchange, page } => self.transferred(now, from, exchange, page),
        }
    }

    /// The exchange with a peer that a message is the answer of.
    fn exchange_of(&mut self, node: NodeId, id: ExchangeId) -> Option<&mut Exchange> {
        self.anti_entropy.peers.get_mut(&node)?.exchange.as_mut().filter(|exchange| exchange.id == id)
    }

    /// A peer has compared: notes where it is the same, and what differs is fetched.
    fn compared(&mut self, now: Time, node: NodeId, id: ExchangeId, through: PartitionId, hashes: Option<&[u64]>) {
        let Some(Exchange { state: State::Comparing(asked), .. }) = self.exchange_of(node, id) else { return };
        let mut asked = std::mem::take(asked);
        let last = asked.last().map(|asked| asked.partition);
        asked.retain(|asked| asked.partition <= through);
        if hashes.is_some_and(|hashes| hashes.len() != asked.len()) {
            tracing::warn!(peer = %node, "a comparison of clocks speaks of other partitions than were asked about");
            return self.end_exchange(now, node);
        }
        let Some(peer) = self.anti_entropy.peers.get_mut(&node) else { return };
        let mut differing = Vec::new();
        for (index, asked) in asked.iter().enumerate() {
            let same = hashes.is_none_or(|hashes| hashes[index] == asked.hash);
            peer.note_difference(now, asked.partition, same);
            if same {
                peer.note_told(asked.partition, &asked.base);
                peer.note_caught_up(asked.partition);
            } else {
                differing.push(asked.partition);
            }
        }
        if let Some(exchange) = &mut peer.exchange {
            exchange.differed |= !differing.is_empty();
            exchange.queue.extend(differing);
        }
        // Where the peer's shards are cut otherwise, it speaks for a part of the range only, and the rest is another shard's.
        let rest = asked.last().map(|asked| asked.partition).filter(|spoken| last.is_some_and(|last| *spoken < last));
        let rest = rest.or(last.filter(|last| self.has_more_behind(node, *last)));
        match rest {
            Some(behind) => self.compare(now, node, Some(behind)),
            None => {
                self.check_complete();
                self.fetch(now, node);
            }
        }
    }

    fn has_more_behind(&self, node: NodeId, partition: PartitionId) -> bool {
        self.anti_entropy.peers.get(&node).is_some_and(|peer| !peer.shared_behind(Some(partition), 1).is_empty())
    }

    /// Fetches what differs, as much of it as one message asks for; or ends the exchange.
    fn fetch(&mut self, now: Time, node: NodeId) {
        let id = ExchangeId(self.next_number());
        let brought = self.anti_entropy.brought_beside(node);
        let Some(exchange) = self.anti_entropy.peers.get_mut(&node).and_then(|peer| peer.exchange.as_mut()) else {
            return;
        };
        let asked = exchange.take_queued(FETCH_PARTITIONS_MAX, &brought);
        if asked.is_empty() && !exchange.queue.is_empty() {
            exchange.go_on(id, now, State::Waiting);
            self.timers.insert((now + EXCHANGE_TIMEOUT, Timer::AntiEntropy));
            return;
        }
        if asked.is_empty() {
            return match exchange.take_transfer(&brought) {
                Some(partition) => self.begin_transfer(now, node, partition),
                None => self.finish_exchange(now, node),
            };
        }
        let clocks = self.replica.clocks();
        let partitions = asked.iter().map(|partition| (*partition, clocks.live(*partition).clone())).collect();
        exchange.go_on(id, now, State::Fetching(asked));
        self.ask(now, node, SyncMessage::Fetch { exchange: id, partitions });
    }

    /// An exchange with a peer has come to its end: all that was to be asked for was.
    fn finish_exchange(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.anti_entropy.peers.get_mut(&node) else { return };
        let Some(Exchange { began, differed, compares_again, .. }) = peer.exchange else { return };
        if !differed {
            peer.same_at = Some(began);
        }
        self.anti_entropy.counters.exchanges += 1;
        self.anti_entropy.counters.in_sync += u64::from(!differed);
        self.prune(now, node);
        self.end_exchange(now, node);
        if compares_again {
            self.compare_at(now + EXCHANGE_DELAY, node);
        }
    }

    /// A peer has sent what was missing: merges it.
    fn fetched(&mut self, now: Time, node: NodeId, id: ExchangeId, mut pieces: Vec<Piece>) {
        pieces.iter_mut().for_each(|piece| self.refuse_closed(piece));
        let Some(exchange) = self.exchange_of(node, id) else { return };
        let State::Fetching(asked) = &mut exchange.state else { return };
        let asked = std::mem::take(asked);
        if !pieces.iter().zip(&asked).all(|(piece, asked)| piece.partition == *asked)
            || asked.len() < pieces.len()
            || pieces.is_empty()
        {
            tracing::warn!(peer = %node, "an answer speaks of other partitions than were asked about");
            return self.end_exchange(now, node);
        }
        // What did not fit is asked for again, first.
        asked[pieces.len()..].iter().rev().for_each(|partition| exchange.queue.push_front(*partition));
        let waiting = pieces.iter().map(|piece| piece.objects.len()).sum();
        let rests = pieces.iter().map(|piece| (piece.partition, piece.clock.clone(), rest_of(piece))).collect();
        exchange.go_on(id, now, State::Merging(Received { waiting, failed: false, pieces: rests }));
        for piece in pieces {
            self.replica.check_set_back(piece.partition, &piece.clock);
            self.replica.close(piece.partition, piece.closed.into_iter());
            for mut object in piece.objects {
                object.container.fill(piece.clock.base());
                self.anti_entropy.counters.keys_received += 1;
                let bytes: usize = object.container.values().map(|(_, value)| value.value.as_bytes().len()).sum();
                self.anti_entropy.counters.bytes_received += bytes as u64;
                let asker = Asker::CatchUp { peer: node, exchange: id };
                let dots = object.dots.into_iter().filter(|dot| object.container.vector().covers(dot)).collect();
                let durability = Durability::Buffered;
                let operation = KeyOperation::Merge { asker, container: object.container, dots, durability };
                self.replica.handle_key(object.key, operation);
            }
        }
        if waiting == 0 {
            self.merged(now, node);
        }
    }

    /// That nobody has an event was agreed upon by replicas of which each had all that any of them knew of it on its disk. One that may have
    /// lost something since cannot take their word alone: it receives the partition as a whole.
    fn refuse_closed(&self, piece: &mut Piece) {
        if !piece.closed.is_empty() && !self.replica.is_complete_for(piece.partition) {
            piece.closed.clear();
            piece.unlogged = true;
        }
    }

    /// An object that a peer sent is stored, or could not be.
    pub(super) fn caught_up_with(&mut self, now: Time, node: NodeId, id: ExchangeId, result: Result<(), ReplicaError>) {
        let Some(exchange) = self.exchange_of(node, id) else { return };
        match &mut exchange.state {
            State::Merging(received) => {
                received.waiting -= 1;
                received.failed |= result.is_err();
                if received.waiting == 0 {
                    self.merged(now, node);
                }
            }
            State::Transferring(transfer) => {
                transfer.waiting -= 1;
                transfer.failed |= result.is_err();
                if transfer.waiting == 0 {
                    self.page_merged(now, node);
                }
            }
            State::Comparing(_) | State::Fetching(_) | State::Waiting => {}
        }
    }

    /// All that a peer sent is stored: goes on with what is left.
    fn merged(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.anti_entropy.peers.get_mut(&node) else { return };
        let Some(exchange) = &mut peer.exchange else { return };
        let State::Merging(received) = &mut exchange.state else { return };
        let Received { failed, pieces, .. } = std::mem::take(received);
        // What could not be stored is asked for again at the next comparison: at once would not help.
        for (partition, _, rest) in pieces.iter().rev().filter(|_| !failed) {
            if *rest == Rest::More {
                exchange.queue.push_front(*partition);
            }
        }
        let (mut transfers, mut brought) = (Vec::new(), Vec::new());
        for (partition, theirs, rest) in &pieces {
            let own = self.replica.clocks().live(*partition);
            peer.note_told(*partition, theirs.base());
            if Peer::is_covered(own, theirs) {
                peer.note_caught_up(*partition);
                brought.push(*partition);
            } else if *rest == Rest::Unlogged && (peer.note_unlogged(*partition) || Peer::begins(own)) {
                transfers.push(*partition);
            }
        }
        if let Some(exchange) = &mut peer.exchange {
            exchange.transfers.extend(transfers);
        }
        self.anti_entropy.note_brought(node, &brought);
        brought.into_iter().for_each(|partition| self.forget_broken(partition));
        self.check_complete();
        self.fetch(now, node);
        self.wake_the_waiting(now);
    }

    /// Some partitions are being brought no more: goes on with the exchanges that wait for that.
    pub(super) fn wake_the_waiting(&mut self, now: Time) {
        self.anti_entropy.waiting().into_iter().for_each(|node| self.fetch(now, node));
    }

    /// Lets reads count on the partitions that have caught up with all their other replicas; on those that have none, at once.
    pub(super) fn check_complete(&mut self) {
        if self.replica.is_complete() {
            return;
        }
        let anti_entropy = &self.anti_entropy;
        let placement = &self.placement;
        let has =
            |(node, peer): (&NodeId, &Peer), partition| peer.has_caught_up(partition) || placement.is_removed(*node);
        let caught_up = |partition: &PartitionId| anti_entropy.sharers(*partition).all(|peer| has(peer, *partition));
        let complete: Vec<PartitionId> = self.replica.behind().filter(caught_up).collect();
        for partition in complete {
            if self.replica.catch_up(partition) {
                self.config.standing = Standing::Proven;
                self.outputs.push_back(Output::CaughtUp);
            }
        }
    }

    /// Where no other node holds a replica nobody is compared with, so the log is looked after apart: of events that were made here, were
    /// handed over by one that stood in, or were there at the start.
    pub(super) fn prune_alone_soon(&mut self, now: Time) {
        let AntiEntropy { peers, watermarks, prunes_alone, .. } = &mut self.anti_entropy;
        let alone = peers.is_empty() && !*prunes_alone;
        if alone && (watermarks.are_behind() || self.replica.clocks().are_touched()) {
            *prunes_alone = true;
            self.timers.insert((now + self.config.exchange_interval, Timer::AntiEntropy));
        }
    }

    fn prune_alone(&mut self, now: Time) {
        self.anti_entropy.watermarks.begin(std::iter::empty());
        self.prune_some(now);
        self.anti_entropy.prunes_alone = self.anti_entropy.watermarks.are_behind();
        if self.anti_entropy.prunes_alone {
            self.replica.barrier();
            self.timers.insert((now + self.config.exchange_interval, Timer::AntiEntropy));
        }
    }

    /// Forgets which keys were touched by events that all replicas durably have, bit by bit.
    fn prune(&mut self, now: Time, node: NodeId) {
        let news = self.anti_entropy.peers.get_mut(&node).map(Peer::take_news).unwrap_or_default();
        self.anti_entropy.watermarks.begin(news.into_iter());
        self.prune_some(now);
    }

    /// Does so with the next partitions.
    pub(super) fn prune_some(&mut self, now: Time) {
        let AntiEntropy { peers, watermarks, .. } = &mut self.anti_entropy;
        self.replica.prune(&watermarks.advance(PRUNE_PARTITIONS_MAX, peers, self.replica.clocks()));
        if watermarks.is_due() {
            self.timers.insert((now + PRUNE_PAUSE, Timer::Prune));
        }
    }
}

fn is_due(peer: &Peer, now: Time) -> bool {
    let late = |exchange: &Exchange| exchange.since + EXCHANGE_TIMEOUT <= now;
    peer.connected.is_some() && peer.exchange.as_ref().map_or(peer.due <= now, late)
}

/// What a piece does not bring. Events that the peer cannot name come first in every answer, so when it names no other there is no use
/// in asking for more.
fn rest_of(piece: &Piece) -> Rest {
    let named = !piece.objects.is_empty() || !piece.closed.is_empty();
    match (piece.more, piece.unlogged) {
        (true, false) => Rest::More,
        (true, true) if named => Rest::More,
        (_, true) => Rest::Unlogged,
        (false, false) => Rest::Nothing,
    }
}

/// Longer than the usual pause between two comparisons.
const _: () = assert!(EXCHANGE_INTERVAL.as_millis() < EXCHANGE_TIMEOUT.as_millis());
