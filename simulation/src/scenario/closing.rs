//! Events that nobody has any more leave gaps in the clocks. They are closed, and nothing is lost by that.
//!
//! In each a primary makes an event that no other replica gets, and then one that they do; and loses the first with its power.

use super::Named;
use super::script::{Neighbour, Scenario, islands, power_loss};
use crate::engine::Outcome;
use crate::scenario::Body;
use crate::sometimes::Sometimes;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "a-gap-nobody-can-fill",
        line: "an event was on one disk alone, which lost it, and a later one of the same node was not: the gap is closed",
        source: "P2, retired actors",
        body: Body::Built {
            rule: "gaps are closed when all agree: \"gap-never-closed\". O13: the clock of a node has gaps",
            runs: nobody_can_fill,
            together: was_closed,
        },
    },
    Named {
        name: "a-hint-has-the-missing-event",
        line: "an event that no replica has is in hints of nodes that are away: its gap is not closed, and it is there in the end",
        source: "P2 beside N7",
        body: Body::Built {
            rule: "all members are asked: \"gap-closed-without-asking-for-hints\". The last read misses the write",
            runs: hint_has_it,
            together: |_| Ok(()),
        },
    },
    Named {
        name: "a-repair-brought-the-delete",
        line: "a delete that is lost with its node had been brought to one replica by a repair: all have it when its gap is closed",
        source: "P2 beside read repair",
        body: Body::Built {
            rule: "what is known of the gap is shared (\"gap-closed-without-sharing\"), and what a replica knows beyond the clock is \
                   fetched from it (\"scrub-keeps-what-is-ahead\"): without both. O6: replicas differ under the same clock",
            runs: repair_brought_it,
            together: was_closed,
        },
    },
    Named::built(
        "a-repair-brought-the-last-delete",
        "a node's last event, a delete, is lost with it, and a repair had brought it to one replica: no clock knows of it, and all have it",
        "P2 beside read repair",
        "what a replica knows beyond the clock is fetched from it: \"scrub-keeps-what-is-ahead\". The read at another replica shows the value",
        repair_brought_the_last,
    ),
];

fn was_closed(outcomes: &[Outcome]) -> Result<(), String> {
    let closed = |outcome: &Outcome| 0 < outcome.tallies.count(Sometimes::GapClosed);
    if outcomes.iter().all(closed) { Ok(()) } else { Err("no gap was closed".to_owned()) }
}

fn nobody_can_fill() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let near = run.neighbour(0, Neighbour::InPartition);
    run.between(60, 200, islands(&[&[1], &[2, 3]]));
    run.at(100).client(0).asking(1).with_quorum(1).puts(0);
    let later = run.at(212).client(0).asking(1).with_quorum(3).puts(near);
    run.between(218, 300, power_loss(&[1]));
    let read = run.at(60_000).client(1).with_quorum(3).gets(near);
    run.expect(later).is_stored();
    run.expect(read).shows(&[later]);
    vec![run]
}

fn hint_has_it() -> Vec<Scenario> {
    let mut run = Scenario::of(5);
    let near = run.neighbour(0, Neighbour::InPartition);
    let primaries = run.primaries(0);
    let others: Vec<u32> = (1..=5).filter(|node| !primaries.contains(node)).collect();
    let (first, rest) = (primaries[0], [primaries[1], primaries[2]]);
    let side: Vec<u32> = others.iter().copied().chain([first]).collect();
    run.between(60, 200, islands(&[&side, &rest]));
    let written = run.at(100).client(0).asking(first).sloppily().puts(0);
    run.between(190, 60_000, islands(&[&primaries, &others]));
    let later = run.at(203).client(0).asking(first).with_quorum(3).puts(near);
    run.between(209, 300, power_loss(&[first]));
    let read = run.at(90_000).client(1).with_quorum(3).gets(0);
    run.expect(written).is_stored();
    run.expect(later).is_stored();
    run.expect(read).shows(&[written]);
    vec![run]
}

fn repair_brought_it() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let near = run.neighbour(0, Neighbour::InPartition);
    run.at(50).client(0).asking(1).with_quorum(3).puts(0);
    run.between(60, 200, islands(&[&[1], &[2, 3]]));
    run.at(100).client(0).asking(1).with_quorum(1).deletes(0);
    run.between(190, 400, islands(&[&[1, 2], &[3]]));
    let read = run.at(209).client(1).asking(2).gets(0);
    let later = run.at(212).client(2).asking(1).puts(near);
    run.between(218, 300, power_loss(&[1]));
    run.expect(read).shows(&[]);
    run.expect(later).is_stored();
    let read = run.at(60_000).client(3).asking(3).with_quorum(1).gets(0);
    run.expect(read).shows(&[]);
    vec![run]
}

fn repair_brought_the_last() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.at(50).client(0).asking(1).with_quorum(3).puts(0);
    run.between(60, 200, islands(&[&[1], &[2, 3]]));
    run.at(100).client(0).asking(1).with_quorum(1).deletes(0);
    run.between(190, 400, islands(&[&[1, 2], &[3]]));
    let read = run.at(209).client(1).asking(2).gets(0);
    run.between(218, 300, power_loss(&[1]));
    run.expect(read).shows(&[]);
    for (client, node) in [(2, 1), (3, 3)] {
        let read = run.at(60_000).client(client).asking(node).with_quorum(1).gets(0);
        run.expect(read).shows(&[]);
    }
    vec![run]
}
