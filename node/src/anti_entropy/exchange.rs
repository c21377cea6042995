//! One comparison with a peer, as the asking side goes through it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_ring::version::{Container, NodeClock, VersionVector};
use quorate_ring::wire::{ExchangeId, StoredObject, TransferPage};
use quorate_ring::{ObjectKey, PartitionId, Position, StoredValue};

use crate::Time;
use crate::replica::Merging;

/// A comparison with one peer.
///
/// ```text
/// Comparing ──all partitions compared, some differ──▶ Fetching ◀──more──┐
///     │                                                 │ pieces      │
///     │ none differs                                    ▼             │
///     │                                              Merging ──all stored
///     │                                                 │ the peer could not name what is missing, twice
///     ▼                                                 ▼
///   (over) ◀──────────────────────────────────────── Transferring
/// ```
///
/// No two peers are asked for the same partition at once, else what was missed would come as often as there are peers: one that has
/// nothing else left to be asked for is Waiting until the other has brought it. What another has brought wholly is not asked for at all,
/// but compared again soon: most often a hash then says that nothing is missing.
///
/// It ends without having done anything, to be tried again later, when the connection breaks, when the peer is silent for too long, or
/// when this replica is too busy to merge.
pub struct Exchange {
    /// The number of the question that waits for an answer.
    pub id: ExchangeId,
    /// When it began.
    pub began: Time,
    /// When something last happened.
    pub since: Time,
    /// The partitions that differ and have not been asked for.
    pub queue: VecDeque<PartitionId>,
    /// The partitions that must be received as a whole.
    pub transfers: VecDeque<PartitionId>,
    /// Whether any partition differed.
    pub differed: bool,
    /// Whether something that differed has come from another peer, or is coming.
    pub compares_again: bool,
    /// Where it stands.
    pub state: State,
}

/// Where an exchange stands.
pub enum State {
    /// The clocks of these partitions are being compared.
    Comparing(Vec<Asked>),
    /// What is missing of these partitions is asked for.
    Fetching(Vec<PartitionId>),
    /// All that is left is being brought by others.
    Waiting,
    /// What was received is being stored.
    Merging(Received),
    /// A whole partition is being received.
    Transferring(Transfer),
}

/// The clock of a partition when it was compared.
pub struct Asked {
    /// Which partition.
    pub partition: PartitionId,
    /// The clock's hash.
    pub hash: u64,
    /// The clock's base.
    pub base: VersionVector,
}

/// Pieces whose objects are being stored.
#[derive(Default)]
pub struct Received {
    /// How many objects are not stored yet.
    pub waiting: usize,
    /// Whether one of them could not be.
    pub failed: bool,
    /// Of each piece: its partition, the peer's clock, and what else it said.
    pub pieces: Vec<(PartitionId, NodeClock, Rest)>,
}

/// What a piece does not bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It brings all.
    Nothing,
    /// There is more to be asked for.
    More,
    /// The peer cannot name what is missing.
    Unlogged,
}

/// A whole partition that is being received, page by page, in ring order.
pub struct Transfer {
    /// Which.
    pub partition: PartitionId,
    /// The peer's clock at the first page: what the whole vouches for, as long as each further page comes with a clock that has all of it.
    pub clock: Option<NodeClock>,
    /// Up to which key pages were received and stored; `None` before the first. Where it breaks it goes on from there, with any peer.
    pub after: Option<ObjectKey>,
    /// The page at hand; `None` while it is asked for, so that one that comes twice counts once.
    pub page: Option<PageAtHand>,
    /// How many objects are not stored yet.
    pub waiting: usize,
    /// Whether one of them could not be.
    pub failed: bool,
}

/// A page that was received, while what this replica holds itself of its range is being read and merged.
pub struct PageAtHand {
    /// Where it ends; `None` if it reaches the partition's end.
    pub end: Option<ObjectKey>,
    /// The base that objects are filled with.
    base: VersionVector,
    /// What the peer sent, filled, and is not merged yet.
    objects: VecDeque<(ObjectKey, Container<StoredValue>)>,
    /// Whether all that this replica holds in its range was read.
    pub own_read: bool,
    /// Whether the clock that vouches for the whole is stored with its objects.
    pub joined: bool,
}

impl Transfer {
    /// One that begins.
    pub const fn new(partition: PartitionId) -> Self {
        Self { partition, clock: None, after: None, page: None, waiting: 0, failed: false }
    }

    /// A page has come. `false` if the peer has lost what it had when the first page was sent: the page speaks for nothing then.
    #[must_use]
    pub fn receive(&mut self, page: TransferPage) -> bool {
        let clock = self.clock.get_or_insert_with(|| page.clock.clone());
        if !page.clock.dominates(clock) {
            return false;
        }
        let base = page.base().clone();
        let filled = |StoredObject { key, mut container }| {
            container.fill(&base);
            (key, container)
        };
        let objects: VecDeque<_> = page.objects.into_iter().map(filled).collect();
        let end = objects.back().filter(|_| !page.last).map(|(key, _)| key.clone());
        self.page = Some(PageAtHand { end, base, objects, own_read: false, joined: false });
        true
    }

    /// What is left of a transfer that broke: the pages that are stored need not come again.
    pub fn broken(self) -> Self {
        Self { page: None, waiting: 0, failed: false, ..self }
    }

    /// The page is stored: gives its end, if there is more behind it.
    pub fn turn_page(&mut self) -> Option<ObjectKey> {
        let end = self.page.take().and_then(|page| page.end);
        if end.is_some() {
            self.after.clone_from(&end);
        }
        end
    }
}

impl PageAtHand {
    /// What this replica holds was read, in order, up to its last key, or all of it: pairs it with what the peer has up to there. Of what
    /// the peer would have sent and did not it has nothing.
    pub fn pair(&mut self, own: Vec<StoredObject>, all: bool) -> Vec<Merging> {
        let through = own.last().filter(|_| !all).map(|object| object.key.clone());
        let is_read = |key: &ObjectKey| through.as_ref().is_none_or(|through| place(key) <= place(through));
        self.own_read = all || self.end.as_ref().is_some_and(is_read);
        let inside = |key: &ObjectKey| self.end.as_ref().is_none_or(|end| place(key) <= place(end));
        let mut own: BTreeMap<ObjectKey, Container<StoredValue>> =
            own.into_iter().filter(|object| inside(&object.key)).map(|object| (object.key, object.container)).collect();
        let mut pairs = Vec::with_capacity(self.objects.len().max(own.len()));
        while let Some((key, theirs)) = self.objects.pop_front_if(|(key, _)| is_read(key)) {
            let stored = own.remove(&key);
            pairs.push(Merging { key, theirs, stored });
        }
        for (key, stored) in own {
            let mut theirs = Container::empty();
            theirs.fill(&self.base);
            pairs.push(Merging { key, theirs, stored: Some(stored) });
        }
        pairs
    }
}

fn place(key: &ObjectKey) -> (Position, &ObjectKey) {
    (Position::of(key), key)
}

impl Exchange {
    /// One that begins by comparing.
    pub fn comparing(id: ExchangeId, now: Time, asked: Vec<Asked>) -> Self {
        Self {
            id,
            began: now,
            since: now,
            queue: VecDeque::new(),
            transfers: VecDeque::new(),
            differed: false,
            compares_again: false,
            state: State::Comparing(asked),
        }
    }

    /// Takes some of the partitions that are to be asked for, without those that others bring.
    pub fn take_queued(&mut self, limit: usize, brought: &BTreeSet<PartitionId>) -> Vec<PartitionId> {
        let mut taken = Vec::new();
        self.queue.retain(|partition| {
            let takes = taken.len() < limit && !brought.contains(partition);
            taken.extend(takes.then_some(*partition));
            !takes
        });
        taken
    }

    /// Another peer has brought all that it had of a partition.
    pub fn note_brought(&mut self, partition: PartitionId) {
        let left = self.queue.len() + self.transfers.len();
        self.queue.retain(|queued| *queued != partition);
        self.transfers.retain(|queued| *queued != partition);
        self.compares_again |= self.queue.len() + self.transfers.len() < left;
    }

    /// Takes the next partition that must be received as a whole. One that others bring is left to the comparison that follows.
    pub fn take_transfer(&mut self, brought: &BTreeSet<PartitionId>) -> Option<PartitionId> {
        while let Some(partition) = self.transfers.pop_front() {
            if !brought.contains(&partition) {
                return Some(partition);
            }
            self.compares_again = true;
        }
        None
    }

    /// The partitions that it is bringing now.
    pub fn brings(&self) -> Vec<PartitionId> {
        match &self.state {
            State::Fetching(partitions) => partitions.clone(),
            State::Merging(received) => received.pieces.iter().map(|(partition, ..)| *partition).collect(),
            State::Transferring(transfer) => vec![transfer.partition],
            State::Comparing(_) | State::Waiting => Vec::new(),
        }
    }

    /// Asks anew, in another state.
    pub fn go_on(&mut self, id: ExchangeId, now: Time, state: State) {
        self.id = id;
        self.since = now;
        self.state = state;
    }
}
