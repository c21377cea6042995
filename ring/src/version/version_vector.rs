//! [`VersionVector`]: for every actor, a counter up to which all of its events are meant.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Actor, Dot};

/// For every actor, a counter up to which all of its events are meant; none for an actor that is not in it.
///
/// Kept sorted by actor and without zeros, so that equal vectors are equal bytes.
#[derive(Clone, PartialEq, Eq, Default, Hash, Serialize)]
#[serde(transparent)]
pub struct VersionVector {
    entries: Vec<(Actor, u64)>,
}

impl VersionVector {
    /// The vector of no events.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Up to which counter the actor's events are meant; 0 if none is.
    pub fn counter(&self, actor: Actor) -> u64 {
        self.find(actor).map_or(0, |index| self.entries[index].1)
    }

    /// Whether the event is among those meant.
    pub fn covers(&self, dot: &Dot) -> bool {
        dot.counter <= self.counter(dot.actor)
    }

    /// Whether all events that `other` means are meant by this one too. Equal vectors dominate each other.
    pub fn dominates(&self, other: &Self) -> bool {
        other.entries.iter().all(|&(actor, counter)| counter <= self.counter(actor))
    }

    /// Takes in all events that `other` means: commutative, associative, idempotent.
    pub fn join(&mut self, other: &Self) {
        let known = self.entries.len();
        for &(actor, counter) in &other.entries {
            match self.entries[..known].binary_search_by_key(&actor, |entry| entry.0) {
                Ok(index) => self.entries[index].1 = self.entries[index].1.max(counter),
                Err(_) => self.entries.push((actor, counter)),
            }
        }
        // Two ascending runs at most, which the standard stable sort merges in linear time.
        self.entries.sort_by_key(|entry| entry.0);
    }

    /// Takes in an event and all that came before it from the same actor.
    pub fn join_dot(&mut self, dot: Dot) {
        self.raise(dot.actor, dot.counter);
    }

    /// Drops every actor of whom `other` means as much or more.
    pub fn subtract(&mut self, other: &Self) {
        self.entries.retain(|&(actor, counter)| other.counter(actor) < counter);
    }

    /// Whether no event is meant.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many actors have events in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The actors in ascending order, each with its counter.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Actor, u64)> + DoubleEndedIterator + Clone + '_ {
        self.entries.iter().copied()
    }

    pub(super) fn raise(&mut self, actor: Actor, counter: u64) {
        match self.find(actor) {
            Ok(index) => self.entries[index].1 = self.entries[index].1.max(counter),
            Err(_) if counter == 0 => {}
            Err(index) => self.entries.insert(index, (actor, counter)),
        }
    }

    fn find(&self, actor: Actor) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&actor, |entry| entry.0)
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(actor, counter)| Dot::new(actor, counter))).finish()
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::new();
        dots.into_iter().for_each(|dot| vector.join_dot(dot));
        vector
    }
}

impl<'de> Deserialize<'de> for VersionVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<(Actor, u64)>::deserialize(deserializer)?;
        if !entries.is_sorted_by(|before, after| before.0 < after.0) {
            return Err(serde::de::Error::custom("the actors of a version vector are not strictly ascending"));
        }
        if entries.iter().any(|entry| entry.1 == 0) {
            return Err(serde::de::Error::custom("a counter of a version vector is 0"));
        }
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{actor, dot, vector};
    use super::*;

    #[test]
    fn a_vector_covers_what_came_before() {
        let vector = vector(&[(2, 3), (1, 1)]);
        assert!(vector.covers(&dot(2, 1)) && vector.covers(&dot(2, 3)) && vector.covers(&dot(1, 1)));
        assert!(!vector.covers(&dot(2, 4)) && !vector.covers(&dot(3, 1)));
        assert_eq!(vector.iter().collect::<Vec<_>>(), [(actor(1), 1), (actor(2), 3)]);
    }

    #[test]
    fn subtract_keeps_only_what_the_other_does_not_say() {
        let mut left = vector(&[(1, 1), (2, 3), (3, 5)]);
        left.subtract(&vector(&[(1, 1), (2, 2), (4, 9)]));
        assert_eq!(left, vector(&[(2, 3), (3, 5)]));
    }

    #[test]
    fn unsorted_repeated_and_zero_entries_are_refused() {
        for entries in [&[((2, 1), 1), ((1, 1), 1)][..], &[((1, 1), 1), ((1, 1), 2)], &[((1, 1), 0)]] {
            let bytes = rmp_serde::to_vec(entries).expect("encodes");
            assert!(rmp_serde::from_slice::<VersionVector>(&bytes).is_err(), "{entries:?}");
        }
    }
}
