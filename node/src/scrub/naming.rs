//! A page of which not a single key can be read: what the other replicas hold there, and where exactly the fault is.
//!
//! Which key comes next is not known here, so all other replicas are asked for names. Each key that is named is met by itself, and mended if it
//! cannot be read. What none of them names may be a key that all others have removed, for a deleted key leaves nothing, or one whose other
//! copies are lost, too. Nobody would ever meet that one by its name; and it keeps all behind it from being compared and sent. So it is
//! *cleared* from the store by its position, when nothing of it is anywhere else, which is known in this order:
//!
//! 1. Reading fails at exactly that position, and did so a horizon ago, when the sweep last came by. As long as it does everything that is sent
//!    to this replica about the key is refused, and what was sent before is over. What can be read is never cleared, named or not: that is
//!    for the comparison of contents to judge, which keeps data.
//! 2. Every member is at rest, as for the closing of gaps: its connections have lasted for a horizon, and it keeps no hint of the partition.
//! 3. After that every other replica has named what it holds, and that is not there. Hints go to replicas and never back.
//!
//! So an event of it that others have not received was on this disk alone, and is lost with it, as where a key that has a name is given up
//! ([`crate::scrub::mend`]); and no copy is left that could come here and pass for new.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_ring::limits::SCRUB_KEYS_MAX;
use quorate_ring::wire::{ExchangeId, NamedKeys, ReplicaError};
use quorate_ring::{NodeId, ObjectKey, Position};

use crate::Time;
use crate::replica::layout;

/// The other replicas are asked which keys there are behind where the sweep is.
#[derive(Debug)]
pub struct Naming {
    /// Who has not answered.
    waiting: BTreeMap<ExchangeId, NodeId>,
    /// When answers are too late.
    pub until: Time,
    /// The keys named so far, each by where it is stored.
    keys: BTreeMap<Bytes, ObjectKey>,
    /// The last place that all answers speak for; the partition's end if there is none.
    through: Option<Bytes>,
    answered: bool,
    /// Whether all members were at rest, and all other replicas have answered so far.
    certain: bool,
}

impl Naming {
    /// These are asked. It is certain that nothing of what they do not name is anywhere else if they are all other replicas, and all members
    /// are at rest.
    pub const fn new(waiting: BTreeMap<ExchangeId, NodeId>, certain: bool, until: Time) -> Self {
        Self { waiting, until, keys: BTreeMap::new(), through: None, answered: false, certain }
    }

    /// Whether this question was asked of this node and is open.
    pub fn waits_for(&self, node: NodeId, exchange: ExchangeId) -> bool {
        self.waiting.get(&exchange) == Some(&node)
    }

    /// A question is answered. The keys are of the partition asked about.
    pub fn handle_answer(&mut self, exchange: ExchangeId, result: Result<NamedKeys, ReplicaError>) {
        self.waiting.remove(&exchange);
        match result {
            Ok(NamedKeys { keys, last }) if last || !keys.is_empty() => {
                self.answered = true;
                let keys: BTreeMap<Bytes, ObjectKey> =
                    keys.into_iter().map(|key| (layout::object(&key), key)).collect();
                if let (false, Some(end)) = (last, keys.keys().next_back()) {
                    self.end_at(end.clone());
                }
                self.keys.extend(keys);
            }
            _ => self.certain = false,
        }
    }

    /// Nothing is heard of a node any more.
    pub fn forget(&mut self, node: NodeId) {
        let before = self.waiting.len();
        self.waiting.retain(|_, asked| *asked != node);
        self.certain &= self.waiting.len() == before;
    }

    /// Whoever has not answered is too late.
    pub fn give_up(&mut self) {
        self.certain &= self.waiting.is_empty();
        self.waiting.clear();
    }

    /// Whether nobody is waited for.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The keys that were named, in ring order, and up to where; nothing if nobody could name any.
    pub fn named(&mut self) -> Option<(Vec<ObjectKey>, Option<ObjectKey>)> {
        if let Some(last) =
            self.keys.keys().nth(SCRUB_KEYS_MAX - 1).cloned().filter(|_| SCRUB_KEYS_MAX < self.keys.len())
        {
            self.end_at(last);
        }
        if let Some(through) = &self.through {
            self.keys.retain(|place, _| place <= through);
        }
        let through = self.through.as_ref().and_then(|place| self.keys.get(place)).cloned();
        self.answered.then(|| (self.keys.values().cloned().collect(), through))
    }

    /// Whether nobody else holds anything in a position.
    pub fn is_nobodys(&self, position: Position) -> bool {
        let (from, until) = layout::positions(position, position);
        let named = self.keys.range(from.clone()..).next().is_some_and(|(place, _)| *place < until);
        let inside = self.through.as_ref().is_none_or(|through| until <= *through);
        !named && inside && self.certain
    }

    /// Whether it is of use to search for where the fault is.
    pub const fn is_certain(&self) -> bool {
        self.certain
    }

    fn end_at(&mut self, place: Bytes) {
        self.through = Some(self.through.take().map_or(place.clone(), |through| through.min(place)));
    }
}

/// The search for a position at which reading fails, by halves. Reading from a position fails if the first key there or behind it cannot
/// be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Reading from here fails, once that was tried.
    low: u64,
    /// Reading from here does not fail, or it is behind the last. Wider, for the position behind the ring's last one.
    high: u128,
    tried: bool,
}

/// What a search needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To be told whether reading from there fails.
    Try(Position),
    /// Nothing: what is stored here cannot be read.
    Found(Position),
    /// Nothing: all can be read.
    Nothing,
}

impl Search {
    /// From one position to another, both included.
    pub fn new(first: Position, last: Position) -> Self {
        Self { low: first.point(), high: u128::from(last.point()) + 1, tried: false }
    }

    /// What it needs first.
    pub fn next(&self) -> Next {
        if u128::from(self.low) >= self.high {
            return Next::Nothing;
        }
        match (self.tried, self.middle()) {
            (false, _) => Next::Try(Position::new(self.low)),
            (true, middle) if middle == self.low => Next::Found(Position::new(self.low)),
            (true, middle) => Next::Try(Position::new(middle)),
        }
    }

    /// Reading from where it was to be tried fails, or does not.
    pub fn handle_tried(&mut self, fails: bool) {
        match (self.tried, fails) {
            (false, true) => self.tried = true,
            (false, false) => self.high = u128::from(self.low),
            (true, true) => self.low = self.middle(),
            (true, false) => self.high = u128::from(self.middle()),
        }
    }

    fn middle(&self) -> u64 {
        let half = (self.high - u128::from(self.low)) / 2;
        self.low + u64::try_from(half).expect("half of 2^64 at most")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_ring::{BucketName, Key};

    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    /// Keys in ring order.
    fn keys(count: usize) -> Vec<ObjectKey> {
        let bucket = BucketName::new("b").expect("valid");
        let key = |number: usize| ObjectKey::new(&bucket, &Key::new(format!("{number}")).expect("valid"));
        let mut keys: Vec<_> = (0..count).map(key).collect();
        keys.sort_by_key(layout::object);
        keys
    }

    fn asked(of: u32) -> Naming {
        let waiting = (2..2 + of).map(|number| (ExchangeId(number.into()), node(number))).collect();
        Naming::new(waiting, true, Time::default())
    }

    fn page(keys: &[ObjectKey], last: bool) -> Result<NamedKeys, ReplicaError> {
        Ok(NamedKeys { keys: keys.to_vec(), last })
    }

    #[test]
    fn what_is_named_by_anybody_counts_up_to_where_all_answers_speak_for() {
        let keys = keys(6);
        let mut naming = asked(2);
        assert!(naming.waits_for(node(2), ExchangeId(2)) && !naming.waits_for(node(2), ExchangeId(3)));
        naming.handle_answer(ExchangeId(2), page(&[keys[0].clone(), keys[3].clone()], false));
        assert!(!naming.is_done());
        naming.handle_answer(ExchangeId(3), page(&[keys[1].clone(), keys[5].clone()], true));
        assert!(naming.is_done() && naming.is_certain());
        let named = [0, 1, 3].map(|number| keys[number].clone()).to_vec();
        assert_eq!(naming.named(), Some((named, Some(keys[3].clone()))));

        let nobodys = [0, 1, 2, 3, 4, 5].map(|number| naming.is_nobodys(Position::of(&keys[number])));
        assert_eq!(nobodys, [false, false, true, false, false, false]);
    }

    #[test]
    fn nothing_is_nobodys_unless_all_have_answered() {
        let position = Position::of(&keys(1)[0]);
        let certain = |change: &dyn Fn(&mut Naming)| {
            let mut naming = asked(2);
            naming.handle_answer(ExchangeId(2), page(&[], true));
            change(&mut naming);
            assert!(naming.is_done());
            (naming.named().is_some(), naming.is_nobodys(position))
        };
        assert_eq!(certain(&|naming| naming.handle_answer(ExchangeId(3), page(&[], true))), (true, true));
        assert_eq!(certain(&|naming| naming.handle_answer(ExchangeId(3), page(&[], false))), (true, false));
        let error = || Err(ReplicaError::StorageFailed);
        assert_eq!(certain(&|naming| naming.handle_answer(ExchangeId(3), error())), (true, false));
        assert_eq!(certain(&|naming| naming.forget(node(3))), (true, false));
        assert_eq!(certain(&Naming::give_up), (true, false));
        let mut unanswered = asked(1);
        unanswered.forget(node(2));
        assert_eq!((unanswered.is_done(), unanswered.named()), (true, None));
    }

    #[test]
    fn more_keys_than_may_be_met_at_once_end_the_range_sooner() {
        let keys = keys(SCRUB_KEYS_MAX + 1);
        let mut naming = asked(1);
        naming.handle_answer(ExchangeId(2), page(&keys, true));
        let (named, through) = naming.named().expect("answered");
        assert_eq!((named.len(), through.as_ref()), (SCRUB_KEYS_MAX, Some(&keys[SCRUB_KEYS_MAX - 1])));
    }

    proptest! {
        /// Against a store of which each position can be read or not.
        #[test]
        fn a_search_finds_a_position_that_cannot_be_read_in_few_steps(
            stored in proptest::collection::btree_map(any::<u64>(), any::<bool>(), 0..6),
            (one, other) in any::<(u64, u64)>(),
        ) {
            let (first, last) = (one.min(other), one.max(other));
            let rotten_from = |from: u64| {
                stored.range(from..=last).next().is_some_and(|(_, rotten)| *rotten)
            };
            let mut search = Search::new(Position::new(first), Position::new(last));
            let mut steps = 0;
            let found = loop {
                match search.next() {
                    Next::Try(position) => search.handle_tried(rotten_from(position.point())),
                    Next::Found(position) => break Some(position.point()),
                    Next::Nothing => break None,
                }
                steps += 1;
                prop_assert!(steps <= 66);
            };
            prop_assert_eq!(found.is_some(), rotten_from(first));
            if let Some(found) = found {
                prop_assert!((first..=last).contains(&found));
                prop_assert_eq!(stored.get(&found), Some(&true));
            }
        }
    }
}
