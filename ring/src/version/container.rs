//! [`Container`]: the siblings of a key and what is known to be obsolete (the dotted causal container of "DottedDB:
//! Anti-Entropy without Merkle Trees, Deletes without Tombstones", SRDS 2017).

use serde::{Deserialize, Deserializer, Serialize};

use super::{Dot, VersionVector};
use crate::limits::SIBLINGS_MAX;

/// The siblings of one key, each under the dot of its write, and a vector of the key's events that are known: those among them
/// that have no value here are obsolete.
///
/// A container is *stripped* while it is stored (its vector says only what the replica's clock does not) and *filled* while it
/// is worked with or sent. [`Self::sync`], [`Self::discard`] and the events are for filled ones.
///
/// **Invariant.** The vector of a filled container covers the dots of all its values. The events see to it: [`Self::add`] joins
/// the value's dot to the vector, which thereby claims to know all earlier events of that actor on the key too. That is true,
/// because the coordinator issues the dots of its own actor and has no gaps in them. [`Self::sync`] joins vectors and takes
/// values only from the two sides. [`Self::strip`] drops an entry only when the base covers it, and [`Self::fill`] with that
/// base, or any later one, puts back no less.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container<V> {
    values: Vec<(Dot, V)>,
    vector: VersionVector,
}

impl<V> Container<V> {
    /// The container of a key that was never written.
    pub const fn empty() -> Self {
        Self { values: Vec::new(), vector: VersionVector::new() }
    }

    /// Whether there is nothing to store: no value, and nothing known beyond the clock's base.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.vector.is_empty()
    }

    /// The values, ascending by dot.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (&Dot, &V)> + DoubleEndedIterator {
        self.values.iter().map(|(dot, value)| (dot, value))
    }

    /// The values taken out, ascending by dot.
    pub fn into_values(self) -> impl ExactSizeIterator<Item = (Dot, V)> + DoubleEndedIterator {
        self.values.into_iter()
    }

    /// The values' dots, ascending.
    pub fn dots(&self) -> impl ExactSizeIterator<Item = Dot> + DoubleEndedIterator + '_ {
        self.values.iter().map(|(dot, _)| *dot)
    }

    /// How many values there are.
    pub fn siblings(&self) -> usize {
        self.values.len()
    }

    /// The events of the key that are known here: beyond the clock's base if stripped, all if filled. Of a filled container, it
    /// is the context that a read gives to its client.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// Adds what the base of the replica's clock says: every event up to it was received, so those of this key are known.
    pub fn fill(&mut self, base: &VersionVector) {
        self.vector.join(base);
    }

    /// Drops what the base of the replica's clock says anyway.
    pub fn strip(&mut self, base: &VersionVector) {
        self.vector.subtract(base);
    }

    /// Merges two filled containers: keeps a value that both have, or that one has and the other's vector does not cover.
    /// Commutative, associative and idempotent.
    pub fn sync(&mut self, other: Self) {
        let Self { values: theirs, vector } = other;
        let had: Vec<Dot> = self.dots().collect();
        self.values.retain(|(dot, _)| !vector.covers(dot) || theirs.binary_search_by_key(dot, |value| value.0).is_ok());
        let new = theirs.into_iter().filter(|(dot, _)| !self.vector.covers(dot) && had.binary_search(dot).is_err());
        self.values.extend(new);
        // Two ascending runs at most, which the standard stable sort merges in linear time.
        self.values.sort_by_key(|value| value.0);
        self.vector.join(&vector);
    }

    /// Drops what the context of a write covers, and remembers that it is obsolete.
    pub fn discard(&mut self, context: &VersionVector) {
        self.values.retain(|(dot, _)| !context.covers(dot));
        self.vector.join(context);
    }

    /// Keeps only those values. The dots of the others stay covered, by the vector if it is filled and else by that and the base it
    /// was stripped by: they are obsolete from now on, and no other container brings them back.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.values.retain(|(_, value)| keep(value));
    }

    /// Puts back a value that is missing though its event is known, and not because it is obsolete: it was lost. `false` if there is one
    /// of its dot. What this is to be filled with must cover the dot.
    pub fn restore(&mut self, dot: Dot, value: V) -> bool {
        let place = self.values.binary_search_by_key(&dot, |value| value.0);
        if let Err(index) = place {
            self.values.insert(index, (dot, value));
        }
        place.is_err()
    }

    /// A put: adds the value under the dot that was issued for it.
    ///
    /// # Panics
    /// If the container has a value of this dot, for then a dot was issued twice and one of two writes would be lost.
    pub fn add(&mut self, dot: Dot, value: V) {
        match self.values.binary_search_by_key(&dot, |value| value.0) {
            Ok(_) => panic!("dot {dot:?} names one write"),
            Err(index) => self.values.insert(index, (dot, value)),
        }
        self.record(dot);
    }

    /// A delete: the event is known and has no value.
    pub fn record(&mut self, dot: Dot) {
        self.vector.join_dot(dot);
    }

    /// The same container with other values under the same dots.
    pub fn map_values<W>(self, mut map: impl FnMut(&Dot, V) -> W) -> Container<W> {
        let values = self.values.into_iter().map(|(dot, value)| (dot, map(&dot, value))).collect();
        Container { values, vector: self.vector }
    }
}

impl<V> Default for Container<V> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Container<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (values, vector) = <(Vec<(Dot, V)>, VersionVector)>::deserialize(deserializer)?;
        if SIBLINGS_MAX < values.len() {
            let siblings = values.len();
            return Err(serde::de::Error::custom(format_args!(
                "a container has {siblings} siblings; at most {SIBLINGS_MAX}"
            )));
        }
        if !values.is_sorted_by(|before, after| before.0 < after.0) {
            return Err(serde::de::Error::custom("the dots of a container are not strictly ascending"));
        }
        Ok(Self { values, vector })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dot, vector};
    use super::*;

    fn container(values: &[(u32, u64)], known: &[(u32, u64)]) -> Container<u8> {
        let mut container = Container::empty();
        values.iter().for_each(|&(node, counter)| container.add(dot(node, counter), 0));
        container.fill(&vector(known));
        container
    }

    #[test]
    fn sync_keeps_the_concurrent_and_drops_the_obsolete() {
        let mut left = container(&[(1, 1), (1, 2), (3, 1)], &[]);
        left.sync(container(&[(1, 1), (2, 1)], &[(1, 2)]));
        assert_eq!(left, container(&[(1, 1), (2, 1), (3, 1)], &[(1, 2)]), "n1:2 is covered and missing on the right");
    }

    #[test]
    fn a_delete_covered_by_the_base_leaves_nothing() {
        let mut left = container(&[(1, 1)], &[]);
        left.discard(&vector(&[(1, 1)]));
        left.record(dot(1, 2));
        assert_eq!(left, container(&[], &[(1, 2)]));
        left.strip(&vector(&[(1, 1)]));
        assert!(!left.is_empty());
        left.strip(&vector(&[(1, 2)]));
        assert!(left.is_empty());
    }

    #[test]
    fn a_value_that_was_lost_is_put_back_though_its_event_is_known() {
        let whole = container(&[(1, 1), (2, 1)], &[(3, 7)]);
        let mut left = container(&[(1, 1)], &[(2, 1), (3, 7)]);
        assert!(left.restore(dot(2, 1), 0) && !left.restore(dot(1, 1), 9));
        assert_eq!(left, whole);
    }

    #[test]
    fn mapped_values_keep_their_dots_and_the_vector() {
        let mapped = container(&[(1, 1), (2, 1)], &[(3, 7)]).map_values(|dot, value| (*dot, value));
        assert!(
            mapped.values().map(|(dot, mapped)| (*dot, *mapped)).eq([dot(1, 1), dot(2, 1)].map(|dot| (dot, (dot, 0))))
        );
        assert_eq!(mapped.vector(), &vector(&[(1, 1), (2, 1), (3, 7)]));
    }

    #[test]
    fn disorder_and_excess_are_refused() {
        let decode = |values: Vec<(Dot, u8)>| {
            let bytes = rmp_serde::to_vec(&(values, VersionVector::new())).expect("encodes");
            rmp_serde::from_slice::<Container<u8>>(&bytes)
        };
        assert!(decode(vec![(dot(1, 2), 0), (dot(1, 1), 0)]).is_err());
        assert!(decode(vec![(dot(1, 1), 0), (dot(1, 1), 0)]).is_err());
        let many = |siblings: usize| (1..=siblings as u64).map(|counter| (dot(1, counter), 0)).collect();
        assert!(decode(many(SIBLINGS_MAX)).is_ok());
        assert!(decode(many(SIBLINGS_MAX + 1)).is_err());
    }
}
