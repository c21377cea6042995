//! The scrub: finds and mends what a disk lost, rotted or misplaced. Clocks cannot see that, so anti-entropy cannot either.
//!
//! A sweep goes through all that a shard stores, page by page and slowly. Each page is tidied: expired values are removed, containers are
//! stored with less where the clock's base says the rest by now, empty ones are removed. Then it is compared with each other replica whose
//! clock is the same: different contents under the same clock are a fault, and are mended on the side of keeping data. What cannot be read
//! is mended from what the others hold, whoever meets it first.
//!
//! | part | does |
//! |---|---|
//! | [`sweep::Sweep`] | where the sweep is |
//! | [`fingerprint`] | what of a page is compared, and its hashes |
//! | [`mend::Mend`] | one key that cannot be read, as its replica asks the others for it |
//! | [`closing::Closing`] | gaps in the clocks that nobody can fill any more, and their closing |
//!
//! The glue that reads, sends and stores is in `shard::scrub`; what may be written in the place of what, and why, is in
//! [`crate::replica::mending`]. Each side asks for itself and mends its own disk; the answering side keeps nothing.
//!
//! Where a sweep was is not remembered over a restart: it begins with a partition drawn by the shard's generator. So a node that restarts
//! more often than a round takes gets to all partitions all the same, which one that began with the first would never.

pub mod closing;
pub mod fingerprint;
pub mod mend;
pub mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_ring::wire::{ExchangeId, ScrubMessage, ScrubRange, ScrubStatus};
use quorate_ring::{NodeId, ObjectKey, PartitionId};

use self::closing::Closing;
use self::mend::Mend;
use self::sweep::Sweep;
use crate::Time;
use crate::limits::{CLOSING_HORIZON, SCRUB_PAUSE, SCRUB_ROUND};

/// How fast the sweep goes: a node's own matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPace {
    /// How long it rests between two pages.
    pub pause: Duration,
    /// How long after the beginning of a round the next one begins, at the soonest.
    pub round: Duration,
    /// For how long gaps in a clock stand before they are closed. Must be longer than anything that was begun before can last.
    pub horizon: Duration,
}

impl Default for ScrubPace {
    fn default() -> Self {
        Self { pause: SCRUB_PAUSE, round: SCRUB_ROUND, horizon: CLOSING_HORIZON }
    }
}

/// What the scrub has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pages that were read.
    pub pages: u64,
    /// Pages that could not be.
    pub pages_unreadable: u64,
    /// Keys that the sweep had stored with less, or removed.
    pub tidied: u64,
    /// Ranges that differed from a peer's under the same clock.
    pub ranges_differing: u64,
    /// Keys that were mended without an event that had been on this disk alone.
    pub given_up: u64,
}

/// The scrub of one shard.
pub struct Scrub {
    /// How fast it goes; nothing if it does not sweep at all.
    pub pace: Option<ScrubPace>,
    /// Where the sweep is.
    pub sweep: Sweep,
    /// What it is doing there.
    pub state: State,
    /// The keys that are being mended.
    pub mends: BTreeMap<ObjectKey, Mend>,
    /// The closing of gaps.
    pub closing: Closing,
    /// Peers' questions whose page is being read.
    pub questions: BTreeMap<(NodeId, ExchangeId), ScrubMessage>,
    /// What was done since the start.
    pub counters: Counters,
}

/// What the sweep is doing.
///
/// ```text
/// Resting ──time──▶ Reading ──read──▶ Comparing ──all peers have answered, or one is too late──▶ Resting
///    ▲ ▲               │ cannot be read: one key at a time; not even one: a peer is asked for names
///    │ └───────────────┤
///    │                 ▼
///    └── keys tidied── Naming
/// ```
#[derive(Debug)]
pub enum State {
    /// Nothing, until then. Not even that before the shard's first input.
    Resting(Option<Time>),
    /// A page is being read.
    Reading(ExchangeId),
    /// A page is compared with other replicas.
    Comparing(Comparing),
    /// A peer is asked which keys there are behind where the sweep is.
    Naming {
        /// Which.
        peer: NodeId,
        /// The question.
        exchange: ExchangeId,
        /// When its answer is too late.
        until: Time,
    },
}

/// A page that is compared with other replicas.
#[derive(Debug)]
pub struct Comparing {
    /// What it speaks for.
    pub range: ScrubRange,
    /// The hash of the clock beside it.
    pub clock: u64,
    /// The hashes of its keys.
    pub known: Vec<u64>,
    /// Its keys of which more is known than the clock says: what a peer holds of them may differ with nothing being wrong.
    pub left_out: BTreeSet<ObjectKey>,
    /// Questions that wait for an answer, each with whom it was asked.
    pub waiting: BTreeMap<ExchangeId, NodeId>,
    /// Whether some peer's clock was another, or a peer was too late: it is compared again.
    pub unlike: bool,
    /// When answers are too late.
    pub until: Time,
}

impl Scrub {
    /// The scrub of these partitions, beginning somewhere.
    pub fn new(pace: Option<ScrubPace>, held: &BTreeSet<PartitionId>, start: u64) -> Self {
        Self {
            pace,
            sweep: Sweep::new(held.iter().copied().collect(), start),
            state: State::Resting(None),
            mends: BTreeMap::new(),
            closing: Closing::default(),
            questions: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// How far it is; what the replica side has to say of it is left out.
    pub fn status(&self, now: Time) -> ScrubStatus {
        let age = |ended: Time| u64::try_from(now.since(ended).as_millis()).unwrap_or(u64::MAX);
        ScrubStatus {
            partitions_scrubbed: self.sweep.scrubbed(),
            partitions: self.sweep.partitions(),
            rounds: self.sweep.rounds(),
            round_age_millis: self.sweep.ended().map(age),
            ranges_differing: self.counters.ranges_differing,
            ..ScrubStatus::default()
        }
    }

    /// How many pages are being read, for itself or for peers.
    pub fn reading(&self) -> usize {
        let reads = usize::from(matches!(self.state, State::Reading(_))) + usize::from(self.closing.is_reading());
        reads + self.questions.len()
    }

    /// The comparison that waits for this answer.
    pub fn comparing(&mut self, peer: NodeId, exchange: ExchangeId) -> Option<&mut Comparing> {
        match &mut self.state {
            State::Comparing(comparing) if comparing.waiting.get(&exchange) == Some(&peer) => Some(comparing),
            _ => None,
        }
    }

    /// The keys that a mend asks nobody for now, and is to.
    pub fn due_mends(&self, now: Time) -> Vec<ObjectKey> {
        self.mends.iter().filter(|(_, mend)| mend.is_due(now)).map(|(key, _)| key.clone()).collect()
    }
}
