//! One comparison with a peer, as the asking side goes through it.

use std::collections::{BTreeSet, VecDeque};

use quorate_ring::version::{NodeClock, VersionVector};
use quorate_ring::wire::{ExchangeId, TransferPage};
use quorate_ring::{ObjectKey, PartitionId, Position};

use crate::Time;

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

/// A whole partition that is being received, page by page.
pub struct Transfer {
    /// Which.
    pub partition: PartitionId,
    /// The peer's clock at the first page: what the whole vouches for.
    pub clock: Option<NodeClock>,
    /// The base to fill the last page with.
    pub base: VersionVector,
    /// Up to which key pages were received and stored; `None` before the first.
    pub after: Option<ObjectKey>,
    /// Whether a page was asked for, and has not come. One that comes twice counts once.
    pub awaits: bool,
    /// Where the page at hand ends; `None` if it reaches the partition's end.
    pub end: Option<ObjectKey>,
    /// The keys of the page at hand.
    keys: BTreeSet<ObjectKey>,
    /// Whether all that this replica holds in the page's range was read.
    pub own_read: bool,
    /// How many objects are not stored yet.
    pub waiting: usize,
    /// Whether one of them could not be.
    pub failed: bool,
}

impl Transfer {
    /// One that begins.
    pub const fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            clock: None,
            base: VersionVector::new(),
            after: None,
            awaits: true,
            end: None,
            keys: BTreeSet::new(),
            own_read: false,
            waiting: 0,
            failed: false,
        }
    }

    /// A page has come.
    pub fn receive(&mut self, page: &TransferPage, keys: BTreeSet<ObjectKey>) {
        self.awaits = false;
        self.clock.get_or_insert_with(|| page.clock.clone());
        self.base.clone_from(page.base());
        self.end = if page.last { None } else { page.objects.last().map(|object| object.key.clone()) };
        self.keys = keys;
        self.own_read = false;
        self.waiting = page.objects.len();
    }

    /// The page up to this key is stored; the next one follows.
    pub fn next(&mut self, end: ObjectKey) {
        self.awaits = true;
        self.after = Some(end);
        self.keys.clear();
    }

    /// Whether a key is at the page's end or behind it.
    pub fn is_behind_end(&self, key: &ObjectKey) -> bool {
        self.end.as_ref().is_some_and(|end| place(end) <= place(key))
    }

    /// Whether the peer's page would have a key if the peer had it.
    pub fn is_missing(&self, key: &ObjectKey) -> bool {
        !self.keys.contains(key) && self.end.as_ref().is_none_or(|end| place(key) < place(end))
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
