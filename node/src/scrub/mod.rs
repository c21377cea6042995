//! The scrub: finds and mends what a disk lost, rotted or misplaced. Clocks cannot see that, so anti-entropy cannot either.
//!
//! A sweep goes through all that a shard stores, page by page and slowly. Each page is tidied: expired values are removed, containers are
//! stored with less where the clock's base says the rest by now, empty ones are removed. Then it is compared with each other replica whose
//! clock is the same: different contents under the same clock are a fault, and are mended on the side of keeping data; what the other
//! knows beyond that clock is merged. What cannot be read is mended from what the others hold, whoever meets it first.
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
use crate::limits::{CLOSING_HORIZON, MENDS_MAX, SCRUB_PAUSE, SCRUB_ROUND};

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
    /// Pages that were passed without having been compared with every other replica.
    pub pages_uncompared: u64,
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
    pub ahead: BTreeSet<ObjectKey>,
    /// Questions that wait for an answer, each with whom it was asked.
    pub waiting: BTreeMap<ExchangeId, NodeId>,
    /// Whether some peer's clock was another, or a peer was too late: it is compared again.
    pub unlike: bool,
    /// Whether some other replica cannot be asked.
    pub partial: bool,
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

    /// Which partitions are held from now on: what is going on with others is given up, and so is the closing of gaps, as who must agree to that
    /// has changed.
    pub fn set_held(
        &mut self,
        now: Time,
        held: &BTreeSet<PartitionId>,
        partition_of: impl Fn(&ObjectKey) -> PartitionId,
    ) {
        self.sweep.set_partitions(held.iter().copied().collect());
        self.state = State::Resting(None);
        self.mends.retain(|key, _| held.contains(&partition_of(key)));
        self.closing.forget(now);
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
            pages_uncompared: self.counters.pages_uncompared,
            pages_unreadable: self.counters.pages_unreadable,
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

    /// How many more keys can be asked for now. Those that rest hold no place: some may have to rest for days, for one who is away.
    pub fn room_to_mend(&self) -> usize {
        MENDS_MAX.saturating_sub(self.mends.values().filter(|mend| !mend.is_resting()).count())
    }

    /// The keys whose mends are to go on: those of whom somebody is too late, and as there is room those that have rested, the longest first.
    pub fn due_mends(&self, now: Time) -> Vec<ObjectKey> {
        let due = self.mends.iter().filter(|(_, mend)| mend.is_due(now));
        let (mut rested, mut late): (Vec<_>, Vec<_>) = due.partition(|(_, mend)| mend.is_resting());
        rested.sort_by_key(|(_, mend)| mend.deadline());
        late.extend(rested.into_iter().take(self.room_to_mend()));
        late.into_iter().map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::mend::Whom;
    use quorate_ring::{BucketName, Key};

    fn key(number: usize) -> ObjectKey {
        let key = Key::new(format!("{number:02}")).expect("valid");
        ObjectKey::new(&BucketName::new("b").expect("valid"), &key)
    }

    #[test]
    fn keys_that_rest_leave_their_places_to_those_that_have_waited_longer() {
        const MORE: usize = 4;
        let (start, late) = (Time::default(), Time::default() + Duration::from_secs(1));
        let mut scrub = Scrub::new(None, &BTreeSet::from([PartitionId::new(0)]), 0);
        scrub.mends = (0..MENDS_MAX + MORE).map(|number| (key(number), Mend::new(start))).collect();
        let first: Vec<ObjectKey> = (0..MENDS_MAX).map(key).collect();
        assert_eq!(scrub.due_mends(start), first);

        let asked = |number| BTreeMap::from([(ExchangeId(number), NodeId::new(2).expect("not 0"))]);
        for (key, number) in first.iter().zip(0..) {
            scrub.mends.get_mut(key).expect("it is there").handle_asked(Whom::Replicas, asked(number), 0, late);
        }
        assert_eq!((scrub.room_to_mend(), scrub.due_mends(start)), (0, Vec::new()));

        first.iter().for_each(|key| _ = scrub.mends.get_mut(key).expect("it is there").rest(start));
        assert_eq!(scrub.due_mends(late)[..MORE], (MENDS_MAX..MENDS_MAX + MORE).map(key).collect::<Vec<_>>());
        assert_eq!(scrub.due_mends(late).len(), MENDS_MAX);
    }
}
