//! What is concurrent stays, what was seen goes, and neither grows without bound.

use super::Named;
use super::script::{Scenario, crash, islands};

pub(super) const ALL: &[Named] = &[
    Named::built(
        "interleaved-clients",
        "two clients that read and write in turns leave two siblings, however long they go on",
        "riak_test sibling_explosion",
        "a write discards what its context covers: `make` in node/src/replica/mod.rs without `discard`. \
         O4: a sibling of its successor",
        interleaved_clients,
    ),
    Named::built(
        "many-incarnations",
        "a key written by many incarnations of a node does not forget the first of them, and an old value does not come back",
        "riak_core#613 (pruning that makes siblings in a loop)",
        "no actor is pruned: `read` in node/src/replica/mod.rs filling with one entry of the base. \
         O4: a sibling of its successor",
        many_incarnations,
    ),
    Named::built(
        "blind-writes-of-one-client",
        "writes of one client that do not say what they have seen are all kept",
        "riak-users, 2011 (blind writes of one client dropped as stale)",
        "a write without context has seen nothing: \"blind-write-overwrites\". O7: an acknowledged write is missed",
        blind_writes_of_one_client,
    ),
    Named::built(
        "too-many-siblings-converge",
        "both sides of a split take siblings up to the limit: replicas still converge above it, and only new ones are refused",
        "riak_kv#1156",
        "replication is never refused for size: `merge` in node/src/replica/mod.rs refusing more than the limit. \
         A replica shows its own side only",
        too_many_siblings_converge,
    ),
    Named::built(
        "too-large-siblings-converge",
        "both sides of a split take siblings up to the limit of bytes: replicas still converge above it",
        "riak_kv#1156",
        "replication is never refused for size: `merge` in node/src/replica/mod.rs refusing more than the limit. \
         A replica shows its own side only",
        too_large_siblings_converge,
    ),
];

fn interleaved_clients() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let mut last = Vec::new();
    for round in 0..20 {
        let reads = [0, 1].map(|client| run.at(60 + 40 * round).client(client).gets(0));
        reads.into_iter().for_each(|read| run.expect(read).shows(&last));
        last = [0, 1].map(|client| run.at(80 + 40 * round).client(client).asking(1 + client as u32).puts(0)).to_vec();
    }
    let read = run.at(1_000).client(2).with_quorum(3).gets(0);
    run.expect(read).shows(&last);
    vec![run]
}

fn many_incarnations() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let first = run.at(50).client(0).asking(1).puts(0);
    run.expect(first).is_stored_leaving(1);
    run.between(60, 1_000, islands(&[&[1, 2], &[3]]));
    let mut last = first;
    for life in 0..8 {
        run.between(70 + 100 * life, 90 + 100 * life, crash(1));
        last = run.at(130 + 100 * life).client(0).asking(1).puts(0);
        run.expect(last).is_stored_leaving(1);
    }
    let read = run.at(1_100).client(1).asking(1).with_quorum(3).gets(0);
    run.expect(read).shows(&[last]);
    vec![run]
}

fn blind_writes_of_one_client() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let writes = [1, 1, 2].map(|node| run.at(50).client(0).asking(node).blindly().puts(0));
    (1..).zip(writes).for_each(|(siblings, write)| run.expect(write).is_stored_leaving(siblings));
    let read = run.at(200).client(0).gets(0);
    run.expect(read).shows(&writes);
    vec![run]
}

/// On each side of a split, so many blind writes of so many bytes; more than may be written to one key together.
fn two_sides(writes: usize, bytes: usize) -> Scenario {
    let mut run = Scenario::of(3).quorum(3, 1, 1);
    run.between(55, 3_000, islands(&[&[1], &[2, 3]]));
    let mut all = Vec::new();
    for (client, node) in [(0, 1), (1, 2)] {
        all.extend((0..writes).map(|_| run.at(60).client(client).asking(node).blindly().of_bytes(bytes).puts(0)));
    }
    let read = run.at(3_100).client(0).asking(1).with_quorum(3).gets(0);
    for node in 1..=3 {
        let repaired = run.at(3_200).client(2).asking(node).with_quorum(1).gets(0);
        run.expect(repaired).shows(&all);
    }
    let refused = run.at(3_300).client(1).asking(2).blindly().of_bytes(bytes).puts(0);
    let merged = run.at(3_400).client(0).asking(3).puts(0);
    let after = run.at(3_500).client(1).asking(2).with_quorum(3).gets(0);
    run.expect(read).shows(&all);
    run.expect(refused).is_refused("read it, merge");
    run.expect(merged).is_stored_leaving(1);
    run.expect(after).shows(&[merged]);
    run
}

fn too_many_siblings_converge() -> Vec<Scenario> {
    vec![two_sides(200, 0)]
}

fn too_large_siblings_converge() -> Vec<Scenario> {
    vec![two_sides(3, 5 * 1024 * 1024)]
}
