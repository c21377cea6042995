//! What others keep for a node that is away comes late, and does neither bring back what is gone nor lose what is there.
//!
//! Five nodes: a key has three primaries and two that may stand in for them.

use super::Named;
use super::script::{Scenario, crash, empty_disks, islands};
use crate::plan::fault::Fault;

pub(super) const ALL: &[Named] = &[
    Named::built(
        "late-handoff-of-a-fallback",
        "a fallback hands over late what a primary made that has lost its disk and made new events since: both are kept",
        "riak_kv#1643 (kv679_dataloss_fb2)",
        "a start that may have lost anything is a new actor: `judge` in node/src/start.rs giving one incarnation to all lives. \
         O2: a dot is issued twice",
        late_handoff_of_a_fallback,
    ),
    Named::built(
        "doomstone",
        "delete, reap, re-create, and then a late hint of the delete from a fallback: the new value stays",
        "riak_kv#847 (kv679_tombstone)",
        "a container says what its writer had seen and nothing else: `merge` in node/src/replica/mod.rs filling what arrives with the base \
         of the one it arrives at. O3: the new value is gone, and no write had seen it",
        doomstone,
    ),
    Named::built(
        "hint-older-than-its-delete",
        "a hint that is older than the collection of its delete brings nothing back",
        "scylladb#23712",
        "what a hint brings goes into the clock, or a delete has left nothing: \"hint-taken-without-its-events\". \
         O1: a hint was given up",
        hint_older_than_its_delete,
    ),
    Named::built(
        "hint-storm",
        "hints for many keys at a node that returns with a slow disk: strict requests that need it are answered meanwhile",
        "scylladb#4191, scylladb#4712",
        "the one that takes hints sets the pace, one batch at a time",
        hint_storm,
    ),
    Named::built(
        "all-primaries-away",
        "with all primaries away two others take writes and reads, restart in between, and the primaries get it all",
        "the Dynamo paper, section 4.6",
        "an actor makes no two events on a key without knowing the first, and none after its tenure: \
         \"tenure-actor-used-again\". O2: a dot is issued twice",
        all_primaries_away,
    ),
];

/// The primaries of key 0, and the two others.
fn roles(run: &Scenario) -> ([u32; 3], [u32; 2]) {
    let primaries = run.primaries(0);
    let others: Vec<u32> = (1..=5).filter(|node| !primaries.contains(node)).collect();
    (primaries.try_into().expect("N is 3"), others.try_into().expect("two of five"))
}

/// One node, and the rest.
fn alone(node: u32) -> Fault {
    let rest: Vec<u32> = (1..=5).filter(|other| *other != node).collect();
    islands(&[&[node], &rest])
}

fn late_handoff_of_a_fallback() -> Vec<Scenario> {
    let mut run = Scenario::of(5);
    let ([first, _, away], _) = roles(&run);
    run.between(60, 1_000, alone(away));
    let old = run.at(80).client(0).asking(first).sloppily().with_quorum(3).puts(0);
    run.expect(old).is_stored();
    run.between(200, 240, empty_disks(first));
    let new = run.at(400).client(1).asking(first).sloppily().blindly().with_quorum(3).puts(0);
    run.expect(new).is_stored();
    let read = run.at(2_500).client(2).with_quorum(3).gets(0);
    run.expect(read).shows(&[old, new]);
    vec![run]
}

/// A hint is made at one of the others, which is away itself while the next thing happens and is the last to come back.
fn with_a_late_hint(
    first_write: impl Fn(&mut Scenario, u32),
    then: impl Fn(&mut Scenario, u32) -> Vec<crate::engine::watch::StepId>,
) -> Vec<Scenario> {
    [0, 1]
        .into_iter()
        .map(|late| {
            let mut run = Scenario::of(5);
            let ([first, _, away], others) = roles(&run);
            run.between(60, 1_000, alone(away));
            first_write(&mut run, first);
            // Only one of the two has the hint; whichever it is, in one of the runs it is late.
            run.between(150, 3_000, alone(others[late]));
            let shown = then(&mut run, first);
            let read = run.at(2_500).client(3).asking(first).with_quorum(3).gets(0);
            run.expect(read).shows(&shown);
            let read = run.at(5_500).client(3).asking(first).with_quorum(3).gets(0);
            run.expect(read).shows(&shown);
            run
        })
        .collect()
}

fn doomstone() -> Vec<Scenario> {
    let write = |run: &mut Scenario, first| {
        run.at(20).client(0).asking(first).with_quorum(3).puts(0);
        let delete = run.at(100).client(0).asking(first).sloppily().with_quorum(3).deletes(0);
        run.expect(delete).is_stored_leaving(0);
    };
    let create = |run: &mut Scenario, first| {
        let created = run.at(300).client(1).asking(first).sloppily().blindly().with_quorum(3).puts(0);
        run.expect(created).is_stored();
        vec![created]
    };
    with_a_late_hint(write, create)
}

fn hint_older_than_its_delete() -> Vec<Scenario> {
    let write = |run: &mut Scenario, first| {
        let written = run.at(100).client(0).asking(first).sloppily().with_quorum(3).puts(0);
        run.expect(written).is_stored();
    };
    let delete = |run: &mut Scenario, first| {
        let deleted = run.at(300).client(0).asking(first).sloppily().with_quorum(3).deletes(0);
        run.expect(deleted).is_stored_leaving(0);
        Vec::new()
    };
    with_a_late_hint(write, delete)
}

fn hint_storm() -> Vec<Scenario> {
    let mut run = Scenario::of(5);
    let ([first, _, away], _) = roles(&run);
    run.between(50, 2_000, crash(away));
    for number in 0..200 {
        let keys: Vec<usize> = (1 + number % 50..3 + number % 50).collect();
        run.at(100 + 5 * number as u64).client(number % 4).sloppily().of_bytes(5_000).puts_all(&keys);
    }
    run.between(2_000, 6_000, Fault::SlowDisk { node: away });
    for at in [2_100, 2_300, 2_600, 3_000] {
        let put = run.at(at).client(5).asking(first).with_quorum(3).puts(0);
        run.expect(put).is_stored();
        run.expect(put).is_answered_within(500);
    }
    vec![run]
}

fn all_primaries_away() -> Vec<Scenario> {
    let mut run = Scenario::of(5);
    let (primaries, others) = roles(&run);
    run.between(60, 1_500, islands(&[&primaries, &others]));
    let first = run.at(100).client(0).asking(others[0]).sloppily().synced().puts(0);
    run.expect(first).is_stored();
    let beside = run.at(200).client(1).asking(others[1]).sloppily().blindly().synced().puts(0);
    run.expect(beside).is_stored();
    let read = run.at(300).client(2).asking(others[0]).sloppily().gets(0);
    run.expect(read).shows(&[first, beside]);
    run.between(400, 500, crash(others[0]));
    let second = run.at(700).client(0).asking(others[0]).sloppily().synced().puts(0);
    run.expect(second).is_stored();
    let read = run.at(750).client(0).asking(others[1]).sloppily().gets(0);
    run.expect(read).shows(&[second, beside]);
    let third = run.at(800).client(0).asking(others[0]).sloppily().synced().puts(0);
    run.expect(third).is_stored();
    let read = run.at(4_000).client(2).with_quorum(3).gets(0);
    run.expect(read).shows(&[third]);
    vec![run]
}
