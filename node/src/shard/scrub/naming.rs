//! A page that cannot be read: looks where the fault is, asks the other replicas which keys there are, has each of them met, and clears what
//! nobody else has. Why that is safe is told in [`crate::scrub::naming`].

use quorate_ring::wire::{ExchangeId, NamedKeys, ReplicaError, ScrubMessage};
use quorate_ring::{NodeId, ObjectKey, Position};

use crate::Time;
use crate::replica::{Asker, KeyOperation};
use crate::scrub::State;
use crate::scrub::naming::{Naming, Next, Search};
use crate::shard::Shard;

impl Shard {
    /// Not a single key behind where the sweep is can be read, and so which one comes next is not known here.
    pub(super) fn look_for_fault(&mut self, now: Time) {
        let Some((range, _)) = self.scrub.sweep.next(now) else { return };
        let last = self.ring.partitions().last_position(range.partition);
        let first = match &range.after {
            Some(after) => Position::new(Position::of(after).point().saturating_add(1)),
            None => self.ring.partitions().first_position(range.partition),
        };
        self.search(now, Search::new(first, last));
    }

    fn search(&mut self, now: Time, search: Search) {
        match search.next() {
            Next::Try(position) => {
                let exchange = ExchangeId(self.next_number());
                self.scrub.state = State::Locating { exchange, search };
                self.replica.handle_first_from(Asker::Scrub(exchange), position);
            }
            Next::Found(position) => self.found_fault(now, position),
            Next::Nothing => self.ask_for_names(now, None),
        }
    }

    /// Reading from where the search is was tried. `None` if it does not say anything.
    pub(super) fn tried(&mut self, now: Time, mut search: Search, fails: Option<bool>) {
        match fails {
            Some(fails) => {
                search.handle_tried(fails);
                self.search(now, search);
            }
            None => self.ask_for_names(now, None),
        }
    }

    /// If the fault has stood for long, all members are asked whether they are at rest, before the other replicas are for names.
    fn found_fault(&mut self, now: Time, position: Position) {
        let partition = self.ring.partition_of(position);
        let since = self.scrub.note_fault(now, partition, position);
        let stands = self.horizon().is_some_and(|horizon| since + horizon <= now);
        let Some(view) = self.view().filter(|view| stands && self.is_at_rest(now, partition, *view, &[])) else {
            return self.ask_for_names(now, None);
        };
        let others = self.all_members().filter(|node| *node != self.own()).collect();
        let waiting = self.numbered(others);
        for (exchange, node) in &waiting {
            let (exchange, actors) = (*exchange, Vec::new());
            self.send_scrub(*node, ScrubMessage::Rest { exchange, partition, view, actors });
        }
        let until = self.too_late(now);
        self.scrub.state = State::Calling { position, view, waiting, until };
    }

    /// A member tells whether it is at rest. `false` if it was not asked for this.
    pub(super) fn rests_for_naming(&mut self, now: Time, from: NodeId, exchange: ExchangeId, rests: bool) -> bool {
        let State::Calling { position, view, waiting, .. } = &mut self.scrub.state else { return false };
        if waiting.get(&exchange) != Some(&from) {
            return false;
        }
        waiting.remove(&exchange);
        if !rests {
            self.ask_for_names(now, None);
        } else if waiting.is_empty() {
            let called = Some((*position, *view));
            self.ask_for_names(now, called);
        }
        true
    }

    /// Asks the other replicas which keys there are. With a position all members are at rest, in this view, and a fault is there.
    pub(super) fn ask_for_names(&mut self, now: Time, called: Option<(Position, u64)>) {
        let Some((range, _)) = self.scrub.sweep.next(now) else { return };
        let peers = self.replicas_to_ask(range.partition);
        if peers.is_empty() {
            return self.skip_partition(now);
        }
        let all = peers.len() + 1 == self.ring.primaries(range.partition).len();
        let waiting = self.numbered(peers);
        for (exchange, peer) in &waiting {
            let (partition, after) = (range.partition, range.after.clone());
            self.send_scrub(*peer, ScrubMessage::Name { exchange: *exchange, partition, after });
        }
        let until = self.too_late(now);
        self.scrub.state = State::Naming { naming: Naming::new(waiting, all && called.is_some(), until), called };
    }

    /// A peer has told which keys there are, or that it cannot.
    pub(super) fn named(&mut self, now: Time, from: NodeId, id: ExchangeId, result: Result<NamedKeys, ReplicaError>) {
        let Some((range, _)) = self.scrub.sweep.next(now) else { return };
        let partitions = self.ring.partitions();
        let State::Naming { naming, .. } = &mut self.scrub.state else { return };
        if !naming.waits_for(from, id) {
            return;
        }
        let is_inside = |key: &ObjectKey| partitions.partition_of(Position::of(key)) == range.partition;
        let inside = result.as_ref().is_ok_and(|named| named.keys.iter().all(is_inside));
        naming.handle_answer(id, if inside { result } else { Err(ReplicaError::NotResponsible) });
        self.go_on_naming(now);
    }

    /// When all have named what they hold, or are too late, or gone: clears what is nobody's, and has all that was named met.
    pub(super) fn go_on_naming(&mut self, now: Time) {
        let (mut naming, called) = match std::mem::replace(&mut self.scrub.state, State::Resting(None)) {
            State::Naming { naming, called } if naming.is_done() => (naming, called),
            other => return self.scrub.state = other,
        };
        if let Some((position, view)) = called {
            self.clear(now, &naming, position, view);
        }
        let Some((keys, through)) = naming.named() else { return self.skip_partition(now) };
        for key in keys {
            self.replica.handle_key(key, KeyOperation::Tidy { asker: Asker::Nobody });
        }
        self.scrub.counters.pages_uncompared += 1;
        self.page_done(now, through);
    }

    fn clear(&mut self, now: Time, naming: &Naming, position: Position, view: u64) {
        let partition = self.ring.partition_of(position);
        if naming.is_nobodys(position) && self.is_at_rest(now, partition, view, &[]) {
            tracing::error!(node = %self.own(), %partition, "what cannot be read, and nobody else has, was removed");
            self.scrub.forget_fault(partition);
            self.replica.clear(position);
        }
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
}
