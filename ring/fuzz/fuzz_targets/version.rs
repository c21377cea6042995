//! Clocks, containers and contexts that come from outside: what is accepted keeps the laws that replicas rely on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_ring::StoredValue;
use quorate_ring::version::{Container, ContextKey, ContextToken, Dot, NodeClock, VersionVector};
use quorate_ring_fuzz::{CONTEXT_KEY, VersionInput, decode_and_send_on, object_key};

fuzz_target!(|payload: &[u8]| {
    let Some(input) = decode_and_send_on::<VersionInput>(payload) else { return };
    let (left, right, ours, theirs, dot, token) = input;
    check_clocks(&left, &right, dot);
    check_containers(filled(ours), filled(theirs), left.base(), dot);
    check_token(&token);
});

/// Most dots that are listed: bases may differ by 2^64.
const DOTS_MAX: usize = 64;

fn check_clocks(left: &NodeClock, right: &NodeClock, dot: Dot) {
    let mut joined = left.clone();
    joined.join(right);
    let mut other_way = right.clone();
    other_way.join(left);
    assert_eq!(joined, other_way);
    assert!(joined.dominates(left) && joined.dominates(right));
    assert_eq!(joined == *left, left.dominates(right));
    assert_eq!(left.missing_from(right).next().is_none(), right.dominates(left));
    for missing in right.missing_from(left).take(DOTS_MAX) {
        assert!(right.contains(&missing) && !left.contains(&missing) && joined.contains(&missing));
    }
    let new = !joined.contains(&dot);
    assert_eq!(joined.add(dot), new);
    assert!(joined.contains(&dot) && !joined.add(dot) && joined.dominates(&other_way));
    let mut by_dots = left.clone();
    let missing: Vec<Dot> = right.missing_from(left).take(DOTS_MAX + 1).collect();
    if missing.len() <= DOTS_MAX {
        missing.into_iter().for_each(|dot| assert!(by_dots.add(dot)));
        assert_eq!(by_dots, other_way);
    }
}

/// A container that keeps the invariant of filled ones. Its values are a function of their dots, as they are where each dot names
/// one write.
fn filled(container: Container<StoredValue>) -> Container<u64> {
    let mut container = container.map_values(|dot, _| dot.counter);
    let dots: VersionVector = container.dots().collect();
    container.fill(&dots);
    container
}

fn check_containers(ours: Container<u64>, theirs: Container<u64>, base: &VersionVector, dot: Dot) {
    let synced = |mut left: Container<u64>, right: &Container<u64>| {
        left.sync(right.clone());
        left
    };
    let merged = synced(ours.clone(), &theirs);
    assert_eq!(merged, synced(theirs.clone(), &ours));
    assert_eq!(synced(merged.clone(), &theirs), merged);
    assert!(merged.vector().dominates(ours.vector()) && merged.vector().dominates(theirs.vector()));
    assert!(merged.dots().all(|dot| merged.vector().covers(&dot)));

    let mut kept = ours.clone();
    kept.fill(base);
    let mut stored = kept.clone();
    stored.strip(base);
    stored.fill(base);
    assert_eq!(stored, kept);

    let mut written = merged;
    if !written.vector().covers(&dot) {
        written.discard(theirs.vector());
        assert!(written.dots().all(|dot| !theirs.vector().covers(&dot)));
        if !written.vector().covers(&dot) {
            written.add(dot, dot.counter);
            assert!(written.dots().any(|found| found == dot) && written.vector().covers(&dot));
        }
    }
}

fn check_token(token: &ContextToken) {
    assert_eq!(ContextToken::from_text(&token.to_text()).as_ref(), Ok(token));
    let (context_key, key) = (ContextKey::new(CONTEXT_KEY), object_key());
    if let Ok(vector) = context_key.open(&key, token) {
        // It must be one of ours: the seeds have some.
        assert_eq!(&context_key.seal(&key, &vector), token);
    }
}
