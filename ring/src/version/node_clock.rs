//! [`NodeClock`]: which events of a partition a replica has received (the bitmapped version vector of "Concise Server-Wide
//! Causality Management for Eventually Consistent Data Stores", DAIS 2015).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Actor, Dot, VersionVector};

const WORD_BITS: u64 = u64::BITS as u64;

/// Which events of a partition a replica has received: for every actor a contiguous base, and the few beyond it.
///
/// In normal form: no event at or right after the base is kept beyond it, so equal sets of events are equal clocks and equal
/// bytes.
///
/// What lies beyond is kept as 64-bit words of a bitmap, and only those with a bit set. A bitmap that started at the base would
/// be as long as the farthest counter says: one message naming event 10^12 would allocate gigabytes. Here memory is bounded by
/// the number of events received (a word each at worst), and a neighbourly run of them costs a bit each.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct NodeClock {
    base: VersionVector,
    beyond: BTreeMap<Actor, Words>,
}

/// Word w holds the counters from 64 w to 64 w + 63. No word is 0.
type Words = BTreeMap<u64, u64>;

impl NodeClock {
    /// The clock of a replica that has received nothing.
    pub const fn new() -> Self {
        Self { base: VersionVector::new(), beyond: BTreeMap::new() }
    }

    /// For every actor, up to which counter *all* its events were received. The only part of the clock that containers are
    /// filled with and stripped of.
    pub fn base(&self) -> &VersionVector {
        &self.base
    }

    /// Whether no event was received.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty() && self.beyond.is_empty()
    }

    /// Whether the event was received.
    pub fn contains(&self, dot: &Dot) -> bool {
        self.base.covers(dot) || self.word(dot.actor, dot.counter / WORD_BITS) & bit(dot.counter) != 0
    }

    /// Whether anything beyond the base was received, with gaps before it.
    pub fn has_gaps(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Takes note that the event was received. Returns whether that is new.
    pub fn add(&mut self, dot: Dot) -> bool {
        if self.contains(&dot) {
            return false;
        }
        *self.beyond.entry(dot.actor).or_default().entry(dot.counter / WORD_BITS).or_default() |= bit(dot.counter);
        self.normalise(dot.actor);
        true
    }

    /// The actor's next event. Only for the actor that this replica itself is.
    ///
    /// # Panics
    /// If the clock has gaps of the actor, for then it is not the one that issues its dots; and after 2^64 - 1 events.
    pub fn issue(&mut self, own: Actor) -> Dot {
        assert!(!self.beyond.contains_key(&own), "a replica has received all events that it issued itself");
        let counter = self.base.counter(own).checked_add(1).expect("no actor lives to make 2^64 events");
        self.base.raise(own, counter);
        Dot::new(own, counter)
    }

    /// Takes note of everything the other has received. Only once all containers that the other vouches for were applied here.
    pub fn join(&mut self, other: &Self) {
        self.base.join(&other.base);
        for (&actor, words) in &other.beyond {
            let own = self.beyond.entry(actor).or_default();
            words.iter().for_each(|(&index, bits)| *own.entry(index).or_default() |= bits);
        }
        let beyond: Vec<Actor> = self.beyond.keys().copied().collect();
        beyond.into_iter().for_each(|actor| self.normalise(actor));
    }

    /// Whether everything the other has received was received here too.
    pub fn dominates(&self, other: &Self) -> bool {
        // The event right after a base is never received, so a higher base of the other is enough to say no.
        self.base.dominates(&other.base)
            && other.beyond.iter().all(|(&actor, words)| {
                let base = self.base.counter(actor);
                words.iter().all(|(&index, bits)| bits & !mask_to(index, base) & !self.word(actor, index) == 0)
            })
    }

    /// The events received here and not by the other, ascending. Lazy: there may be very many, so take as many as you can send.
    pub fn missing_from<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        let contiguous = self.base.iter().flat_map(move |(actor, counter)| {
            let known = other.base.counter(actor);
            (known..=counter).skip(1).map(move |counter| Dot::new(actor, counter))
        });
        contiguous.chain(self.beyond()).filter(|dot| !other.contains(dot))
    }

    /// The events received beyond the base, ascending.
    pub fn beyond(&self) -> impl Iterator<Item = Dot> + '_ {
        self.beyond.iter().flat_map(|(&actor, words)| {
            words.iter().flat_map(move |(&index, &bits)| {
                let set = (0..WORD_BITS).filter(move |offset| bits & (1 << offset) != 0);
                set.map(move |offset| Dot::new(actor, index * WORD_BITS + offset))
            })
        })
    }

    /// What it says of those actors, of all that have gaps, that are kept.
    #[must_use]
    pub fn with_gaps(&self, mut keep: impl FnMut(Actor) -> bool) -> Self {
        let beyond: BTreeMap<Actor, Words> = self
            .beyond
            .iter()
            .filter(|(actor, _)| keep(**actor))
            .map(|(actor, words)| (*actor, words.clone()))
            .collect();
        let mut base = VersionVector::new();
        beyond.keys().for_each(|actor| base.raise(*actor, self.base.counter(*actor)));
        Self { base, beyond }
    }

    /// The actors that have gaps, ascending.
    pub fn actors_with_gaps(&self) -> impl Iterator<Item = Actor> + '_ {
        self.beyond.keys().copied()
    }

    /// The events in the gaps: those that were not received, of actors of whom a later one was. Ascending, and lazy: there may be very many.
    pub fn gaps(&self) -> impl Iterator<Item = Dot> + '_ {
        self.beyond.iter().flat_map(|(&actor, words)| {
            let (last, bits) = words.last_key_value().expect("an actor beyond its base has words");
            let highest = last * WORD_BITS + u64::from(bits.ilog2());
            let between = (self.base.counter(actor)..highest).skip(1).map(move |counter| Dot::new(actor, counter));
            between.filter(|dot| !self.contains(dot))
        })
    }

    fn word(&self, actor: Actor, index: u64) -> u64 {
        self.beyond.get(&actor).and_then(|words| words.get(&index)).copied().unwrap_or(0)
    }

    /// Moves what has become contiguous into the base.
    fn normalise(&mut self, actor: Actor) {
        let Some(words) = self.beyond.get_mut(&actor) else { return };
        let base = advance(self.base.counter(actor), words);
        self.base.raise(actor, base);
        if words.is_empty() {
            self.beyond.remove(&actor);
        }
    }
}

/// Follows the run of events that starts right after `base` to its end, and drops from `words` all up to there.
fn advance(mut base: u64, words: &mut Words) -> u64 {
    while let Some(mut word) = words.first_entry() {
        let index = *word.key();
        // Behind the highest counter there is nothing to follow: a base that another clock brought may already be there.
        if let Some(next) = base.checked_add(1)
            && index == next / WORD_BITS
        {
            // Up to the run's end and not one further, for that may be the highest counter.
            base += u64::from((*word.get() >> (next % WORD_BITS)).trailing_ones());
        }
        *word.get_mut() &= !mask_to(index, base);
        if *word.get() != 0 {
            break;
        }
        word.remove();
    }
    base
}

/// The bits of word `index` that stand for counters up to `counter`.
fn mask_to(index: u64, counter: u64) -> u64 {
    match index.cmp(&(counter / WORD_BITS)) {
        std::cmp::Ordering::Less => u64::MAX,
        std::cmp::Ordering::Equal => u64::MAX >> (WORD_BITS - 1 - counter % WORD_BITS),
        std::cmp::Ordering::Greater => 0,
    }
}

fn bit(counter: u64) -> u64 {
    1 << (counter % WORD_BITS)
}

impl fmt::Debug for NodeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let beyond: Vec<Dot> = self.beyond().take(SHOWN).collect();
        f.debug_struct("NodeClock").field("base", &self.base).field("beyond", &beyond).finish_non_exhaustive()
    }
}

/// The base, then the actors with gaps in ascending order, each with its words in ascending order.
impl Serialize for NodeClock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let beyond: Vec<(Actor, Vec<(u64, u64)>)> = self
            .beyond
            .iter()
            .map(|(&actor, words)| (actor, words.iter().map(|(&at, &bits)| (at, bits)).collect()))
            .collect();
        (&self.base, beyond).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NodeClock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Beyond = Vec<(Actor, Vec<(u64, u64)>)>;
        let (base, beyond) = <(VersionVector, Beyond)>::deserialize(deserializer)?;
        if !beyond.is_sorted_by(|before, after| before.0 < after.0) {
            return Err(serde::de::Error::custom("the actors with gaps of a node clock are not strictly ascending"));
        }
        for (actor, words) in &beyond {
            check_words(words, base.counter(*actor)).map_err(serde::de::Error::custom)?;
        }
        let beyond = beyond.into_iter().map(|(actor, words)| (actor, words.into_iter().collect())).collect();
        Ok(Self { base, beyond })
    }
}

/// Whether these are the words of a clock in normal form.
fn check_words(words: &[(u64, u64)], base: u64) -> Result<(), &'static str> {
    let Some(&(first, bits)) = words.first() else {
        return Err("an actor with gaps of a node clock has nothing beyond them");
    };
    if !words.is_sorted_by(|before, after| before.0 < after.0) || u64::MAX / WORD_BITS < words[words.len() - 1].0 {
        return Err("the words of a node clock are not strictly ascending or beyond the highest counter");
    }
    if words.iter().any(|word| word.1 == 0) {
        return Err("a word of a node clock is empty");
    }
    let normal = base.saturating_add(1);
    if first < normal / WORD_BITS || bits & mask_to(first, normal) != 0 {
        return Err("a node clock keeps beyond its base what belongs into it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{actor, dot, vector};
    use super::*;

    #[test]
    fn gaps_close_into_the_base() {
        let mut clock = NodeClock::new();
        assert!(clock.add(dot(1, 200)) && clock.add(dot(1, 2)) && !clock.add(dot(1, 2)));
        assert!(clock.base().is_empty() && clock.has_gaps());
        (1..200).for_each(|counter| _ = clock.add(dot(1, counter)));
        assert_eq!((clock.base(), clock.has_gaps()), (&vector(&[(1, 200)]), false));
        assert_eq!(clock.issue(actor(1)), dot(1, 201));
    }

    #[test]
    fn gaps_are_what_is_missing_before_what_was_received() {
        let mut clock = NodeClock::new();
        [dot(1, 1), dot(1, 3), dot(1, 66), dot(2, 2), dot(3, 1)].into_iter().for_each(|dot| _ = clock.add(dot));
        let of_the_first: Vec<Dot> = (2..66).filter(|counter| *counter != 3).map(|counter| dot(1, counter)).collect();
        assert_eq!(clock.actors_with_gaps().collect::<Vec<_>>(), [actor(1), actor(2)]);
        assert!(clock.gaps().eq(of_the_first.iter().copied().chain([dot(2, 1)])));
        let mut first = clock.with_gaps(|of| of == actor(1));
        assert!(first.gaps().eq(of_the_first.iter().copied()) && first.base() == &vector(&[(1, 1)]));
        of_the_first.into_iter().for_each(|dot| _ = first.add(dot));
        assert_eq!((first.base(), first.gaps().count()), (&vector(&[(1, 66)]), 0));
        assert!(first.with_gaps(|_| true).is_empty());
    }

    #[test]
    fn far_counters_cost_one_word() {
        let mut clock = NodeClock::new();
        for counter in [u64::MAX, u64::MAX - 1, 1_000_000_000_000, 64, 63] {
            assert!(clock.add(dot(1, counter)) && clock.contains(&dot(1, counter)));
        }
        assert_eq!(clock.beyond[&actor(1)].len(), 4);
        let bytes = rmp_serde::to_vec(&clock).expect("encodes");
        assert_eq!(rmp_serde::from_slice::<NodeClock>(&bytes).expect("decodes"), clock);
    }

    #[test]
    fn the_highest_counter_joins_the_base() {
        let mut clock = NodeClock { base: vector(&[(1, u64::MAX - 2)]), ..NodeClock::default() };
        assert!(clock.add(dot(1, u64::MAX)) && clock.add(dot(1, u64::MAX - 1)));
        assert_eq!((clock.base(), clock.has_gaps()), (&vector(&[(1, u64::MAX)]), false));
        assert!(!clock.add(dot(1, u64::MAX)));
    }

    #[test]
    fn highest_counter_beyond_a_gap_joins_a_base_that_is_there_already() {
        let whole = NodeClock { base: vector(&[(1, u64::MAX)]), ..NodeClock::default() };
        let mut gapped = NodeClock::new();
        assert!(gapped.add(dot(1, u64::MAX)) && gapped.add(dot(1, 64)));
        let mut joined = whole.clone();
        joined.join(&gapped);
        gapped.join(&whole);
        assert_eq!((&joined, &gapped), (&whole, &whole));
    }

    #[test]
    fn a_clock_is_empty_until_it_has_received_something() {
        let mut clock = NodeClock::new();
        assert!(clock.is_empty());
        clock.add(dot(1, 2));
        assert!(!clock.is_empty() && clock.base().is_empty());
        clock.add(dot(1, 1));
        assert!(!clock.is_empty() && !clock.has_gaps());
    }

    #[test]
    fn clocks_not_in_normal_form_are_refused() {
        type Beyond = [((u32, u64), Vec<(u64, u64)>)];
        let refused = |base: &VersionVector, beyond: &Beyond| {
            let bytes = rmp_serde::to_vec(&(base, beyond)).expect("encodes");
            rmp_serde::from_slice::<NodeClock>(&bytes).is_err()
        };
        let base = vector(&[(1, 70)]);
        assert!(!refused(&base, &[((1, 1), vec![(1, 1 << 8)])]), "event 72 beyond base 70");
        assert!(refused(&base, &[((1, 1), vec![(1, 1 << 7)])]), "event 71 belongs into base 70");
        assert!(refused(&base, &[((1, 1), vec![(0, 1 << 7), (1, 1 << 8)])]), "event 7 is in base 70");
        assert!(refused(&base, &[((1, 1), vec![])]));
        assert!(refused(&base, &[((1, 1), vec![(3, 0)])]));
        assert!(refused(&base, &[((1, 1), vec![(3, 1), (3, 2)])]));
        assert!(refused(&base, &[((1, 1), vec![(u64::MAX / 64 + 1, 1)])]));
        assert!(refused(&base, &[((2, 1), vec![(3, 1)]), ((1, 1), vec![(3, 1)])]));
        assert!(refused(&base, &[((2, 1), vec![(3, 1)]), ((2, 1), vec![(4, 1)])]));
        assert!(refused(&vector(&[]), &[((1, 1), vec![(0, 1)])]), "there is no event 0");
        assert!(refused(&vector(&[(1, u64::MAX)]), &[((1, 1), vec![(u64::MAX / 64, 1 << 63)])]));
    }
}
