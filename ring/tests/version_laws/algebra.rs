//! The algebra: joins and syncs are commutative, associative and idempotent; stripping loses nothing; clocks are sets of dots;
//! whatever decodes is valid.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_ring::NodeId;
use quorate_ring::version::{Actor, Container, Dot, Incarnation, NodeClock, VersionVector};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn actors() -> impl Strategy<Value = Actor> + Clone {
    (1..=2_u32, 1..=2_u64)
        .prop_map(|(node, life)| Actor::new(NodeId::new(node).expect("not 0"), Incarnation::new(life)))
}

/// Mostly neighbours, so that gaps open and close; some around the edges of words; a few absurd ones.
fn dots() -> impl Strategy<Value = Dot> {
    let counter = prop_oneof![12 => 1..10_u64, 3 => 60..70_u64, 1 => u64::MAX - 3..=u64::MAX, 1 => 1..=u64::MAX];
    (actors(), counter).prop_map(|(actor, counter)| Dot::new(actor, counter))
}

fn sets() -> impl Strategy<Value = BTreeSet<Dot>> {
    proptest::collection::btree_set(dots(), 0..24)
}

fn vectors() -> impl Strategy<Value = VersionVector> {
    proptest::collection::vec(dots(), 0..5).prop_map(|dots| dots.into_iter().collect())
}

/// Valid filled ones: few actors and low counters, so that one often covers what another holds.
fn containers() -> impl Strategy<Value = Container<Dot>> {
    let near = (actors(), 1..6_u64).prop_map(|(actor, counter)| Dot::new(actor, counter));
    let values = proptest::collection::btree_set(near.clone(), 0..5);
    (values, proptest::collection::vec(near, 0..4)).prop_map(|(values, known)| {
        let mut container = Container::empty();
        values.into_iter().for_each(|dot| container.add(dot, dot));
        known.into_iter().for_each(|dot| container.record(dot));
        container
    })
}

fn clock(dots: &BTreeSet<Dot>) -> NodeClock {
    let mut clock = NodeClock::new();
    dots.iter().for_each(|&dot| _ = clock.add(dot));
    clock
}

fn joined(left: &VersionVector, right: &VersionVector) -> VersionVector {
    let mut left = left.clone();
    left.join(right);
    left
}

fn synced(left: &Container<Dot>, right: &Container<Dot>) -> Container<Dot> {
    let mut left = left.clone();
    left.sync(right.clone());
    left
}

fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec(value).expect("encodes")).expect("decodes what was encoded")
}

/// Decodes bytes from anybody. What decodes must be valid, so that encoding and decoding it again gives the same.
fn decode_anything<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8]) -> bool {
    rmp_serde::from_slice::<T>(bytes).is_ok_and(|value| {
        assert!(round_trip(&value) == value, "what was decoded encodes to the same");
        true
    })
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn vectors_join_like_maps_of_maxima(a in vectors(), b in vectors(), c in vectors()) {
        let mut maxima: BTreeMap<Actor, u64> = a.iter().collect();
        for (actor, counter) in b.iter() {
            let max = maxima.entry(actor).or_insert(0);
            *max = counter.max(*max);
        }
        prop_assert!(joined(&a, &b).iter().eq(maxima));
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(&joined(&a, &a), &a);
        prop_assert_eq!(a.dominates(&b), joined(&a, &b) == a);
        prop_assert_eq!(round_trip(&a), a);
    }

    #[test]
    fn containers_sync_in_any_order_and_any_number_of_times(a in containers(), b in containers(), c in containers()) {
        prop_assert_eq!(synced(&a, &b), synced(&b, &a));
        prop_assert_eq!(synced(&synced(&a, &b), &c), synced(&a, &synced(&b, &c)));
        prop_assert_eq!(&synced(&a, &a), &a);
        prop_assert_eq!(synced(&synced(&a, &b), &b), synced(&a, &b));
        prop_assert!(synced(&a, &b).dots().all(|dot| synced(&a, &b).vector().covers(&dot)));
        prop_assert_eq!(round_trip(&a), a);
    }

    #[test]
    fn containers_sync_like_the_definition_says(a in containers(), b in containers()) {
        let (left, right): (BTreeSet<Dot>, BTreeSet<Dot>) = (a.dots().collect(), b.dots().collect());
        let kept = |dot: &Dot| match (left.contains(dot), right.contains(dot)) {
            (true, false) => !b.vector().covers(dot),
            (false, true) => !a.vector().covers(dot),
            _ => true,
        };
        let expected: Vec<Dot> = left.union(&right).copied().filter(kept).collect();
        let synced = synced(&a, &b);
        prop_assert!(synced.dots().eq(expected));
        prop_assert_eq!(synced.vector(), &joined(a.vector(), b.vector()));
    }

    #[test]
    fn strip_loses_nothing_that_fill_does_not_bring_back(container in containers(), base in vectors(), later in vectors()) {
        let later = joined(&base, &later);
        let mut filled = container;
        filled.fill(&base);
        let mut stripped = filled.clone();
        stripped.strip(&base);
        let (mut again, mut again_later) = (stripped.clone(), stripped);
        again.fill(&base);
        prop_assert_eq!(&again, &filled);
        again_later.fill(&later);
        filled.fill(&later);
        prop_assert_eq!(again_later, filled);
    }

    #[test]
    fn a_stable_delete_leaves_nothing(container in containers(), context in vectors(), actor in actors()) {
        let mut deleted = container.clone();
        deleted.discard(&joined(container.vector(), &context));
        let own = deleted.vector().counter(actor);
        prop_assume!(own < u64::MAX);
        deleted.record(Dot::new(actor, own + 1));
        let stable = deleted.vector().clone();
        // A replica that missed the delete comes back with the values.
        let mut merged = synced(&deleted, &container);
        merged.strip(&stable);
        prop_assert!(merged.is_empty());
    }

    #[test]
    fn clocks_are_sets_of_dots(a in sets(), b in sets(), probe in dots()) {
        let (left, right) = (clock(&a), clock(&b));
        prop_assert_eq!(left.contains(&probe), a.contains(&probe));
        prop_assert!(a.iter().all(|dot| left.contains(dot)));
        prop_assert!(left.missing_from(&right).collect::<BTreeSet<_>>().iter().eq(a.difference(&b)));
        prop_assert_eq!(left.missing_from(&right).count(), a.difference(&b).count());
        prop_assert_eq!(left.dominates(&right), b.is_subset(&a));
        let mut joined = left.clone();
        joined.join(&right);
        prop_assert_eq!(&joined, &clock(&a.union(&b).copied().collect()));
        prop_assert!(joined.dominates(&left) && joined.dominates(&right));
        prop_assert_eq!(&round_trip(&joined), &joined);
        prop_assert_eq!(joined.clone().add(probe), !a.contains(&probe) && !b.contains(&probe));
        for actor in a.iter().map(|dot| dot.actor) {
            let contiguous = (1..).take_while(|&counter| a.contains(&Dot::new(actor, counter))).count() as u64;
            prop_assert_eq!(left.base().counter(actor), contiguous);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        container in containers(),
        dots in sets(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let altered = |mut bytes: Vec<u8>| {
            flips.iter().for_each(|(index, byte)| *index.get_mut(&mut bytes) = *byte);
            bytes
        };
        let encoded = [rmp_serde::to_vec(&container), rmp_serde::to_vec(&clock(&dots)), rmp_serde::to_vec(container.vector())];
        for bytes in encoded.into_iter().map(|bytes| altered(bytes.expect("encodes"))).chain([bytes]) {
            decode_anything::<Container<Dot>>(&bytes);
            decode_anything::<NodeClock>(&bytes);
            decode_anything::<VersionVector>(&bytes);
        }
    }
}
