//! What disks lost, rotted or misplaced is mended from the other replicas, and nothing else is lost by that.

use quorate_node::limits::SCRUB_EXPIRY_MARGIN;

use super::Named;
use super::script::{Scenario, islands};
use crate::engine::Outcome;
use crate::plan::fault::Fault;
use crate::scenario::Body;
use crate::sometimes::Sometimes;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "one-bit-flipped-and-nobody-reads",
        line: "what rotted on one replica is found by the sweep and mended, though nobody reads it",
        source: "NATS 2.12.1 (one bit flipped on one replica)",
        body: Body::Built {
            rule: "a page that cannot be read is gone through key by key: \"scrub-names-not-met\". The read comes late",
            runs: one_bit_flipped,
            together: was_mended,
        },
    },
    Named {
        name: "misdirected-write",
        line: "a write that landed on another's place cost one replica two keys: both are mended, and counted",
        source: "D4",
        body: Body::Built {
            rule: "a key that cannot be read is asked for: \"scrub-unreadable-left\". The read of all has a failed storage",
            runs: misdirected_write,
            together: was_mended,
        },
    },
    Named {
        name: "equal-clocks-and-a-lost-object",
        line: "a disk forgot an object, and all clocks are the same: the contents are compared, and it is put back",
        source: "D4 (a phantom write), riak_kv's need for anti-entropy by content",
        body: Body::Built {
            rule: "different contents under one clock are a fault: \"scrub-difference-ignored\". O6: it never comes back",
            runs: lost_object,
            together: differed_and_was_mended,
        },
    },
    Named {
        name: "clocks-differ-about-what-soon-expires",
        line: "by one node's clock a value is to be compared, by another's it expires too soon for that: no fault is counted",
        source: "P6",
        body: Body::Built {
            rule: "what is not compared by this node's clock is not taken for missing: \"scrub-compares-by-the-peers-clock\". \
                   A range was found to differ",
            runs: margin,
            together: differed_nowhere,
        },
    },
    Named::built(
        "a-hint-has-what-the-disk-lost",
        "an event was on one replica and in a hint when the replica's copy rotted: it waits for the hint, however long",
        "D3 beside P1",
        "a key is mended when others account for all that was here: \"scrub-mended-from-anybody\"; and an event is given up only when \
         nobody keeps it: \"scrub-gives-up-without-asking\". The last read misses the write",
        hint_has_it,
    ),
    Named::built(
        "an-event-on-one-disk-alone",
        "an event was on one disk alone, which lost it: all others say so, and then replicas converge without it",
        "D3",
        "an event that nobody has is given up: \"scrub-never-gives-up\". O6: the clocks stay different",
        on_one_disk_alone,
    ),
];

fn one_bit_flipped() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let written = run.at(50).client(0).asking(1).with_quorum(3).puts(0);
    // When the first round may have been through the key's partition.
    run.between(2_000, 2_001, Fault::Rot { node: 2, key: 0 });
    let read = run.at(55_000).client(1).asking(2).with_quorum(3).gets(0);
    run.expect(written).is_stored();
    run.expect(read).shows(&[written]);
    // Had it been met now only, it would have been asked for first.
    run.expect(read).is_answered_within(6);
    vec![run]
}

fn misdirected_write() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let written = run.at(50).client(0).with_quorum(3).puts_all(&[0, 1]);
    run.between(100, 101, Fault::Misdirect { node: 3, keys: [0, 1] });
    // A read that meets it does not have to wait for the sweep.
    run.at(200).client(1).asking(3).with_quorum(2).gets(0);
    run.at(200).client(2).asking(3).with_quorum(2).gets(1);
    let one = run.at(400).client(1).asking(3).with_quorum(3).within(100).gets(0);
    let other = run.at(400).client(2).asking(3).with_quorum(3).within(100).gets(1);
    [one, other].into_iter().for_each(|read| run.expect(read).shows(&[written]));
    vec![run]
}

fn was_mended(outcomes: &[Outcome]) -> Result<(), String> {
    let mended = |outcome: &Outcome| 0 < outcome.tallies.count(Sometimes::ObjectMended);
    if outcomes.iter().all(mended) { Ok(()) } else { Err("nothing was counted as mended".to_owned()) }
}

fn lost_object() -> Vec<Scenario> {
    let forgets = |node| {
        let mut run = Scenario::of(3);
        run.at(50).client(0).with_quorum(3).puts(0);
        run.between(60, 61, Fault::Forget { node, key: 0 });
        run
    };
    (1..=3).map(forgets).collect()
}

fn differed_and_was_mended(outcomes: &[Outcome]) -> Result<(), String> {
    let differed = |outcome: &Outcome| 0 < outcome.tallies.count(Sometimes::RangeDiffered);
    if !outcomes.iter().all(differed) {
        return Err("no range was found to differ".to_owned());
    }
    was_mended(outcomes)
}

fn margin() -> Vec<Scenario> {
    let ahead = |node| {
        let mut run = Scenario::of(3);
        run.between(10, 50_000, Fault::Clock { node, jump_millis: 60_000, drift_ppm: 0 });
        // Between the margin by the clocks of the others, and by that one: for a minute.
        let margin = u64::try_from(SCRUB_EXPIRY_MARGIN.as_millis()).expect("it is short");
        run.at(100).client(0).with_quorum(3).living(margin + 60_000).puts(0);
        run.until(50_000);
        run
    };
    (1..=3).map(ahead).collect()
}

fn differed_nowhere(outcomes: &[Outcome]) -> Result<(), String> {
    let differed = |outcome: &Outcome| 0 < outcome.tallies.count(Sometimes::RangeDiffered);
    if outcomes.iter().any(differed) { Err("a range was found to differ".to_owned()) } else { Ok(()) }
}

fn hint_has_it() -> Vec<Scenario> {
    let mut run = Scenario::of(5);
    let primaries = run.primaries(0);
    let others: Vec<u32> = (1..=5).filter(|node| !primaries.contains(node)).collect();
    let (first, rest) = (primaries[0], [primaries[1], primaries[2]]);
    let side: Vec<u32> = others.iter().copied().chain([first]).collect();
    run.between(60, 400, islands(&[&side, &rest]));
    let written = run.at(150).client(0).asking(first).sloppily().puts(0);
    run.expect(written).is_stored();
    run.between(300, 301, Fault::Rot { node: first, key: 0 });
    run.between(350, 60_000, islands(&[&primaries, &others]));
    let read = run.at(50_000).client(1).asking(first).with_quorum(3).within(100).gets(0);
    run.expect(read).is_refused("has a failed storage");
    let read = run.at(90_000).client(1).asking(first).with_quorum(3).gets(0);
    run.expect(read).shows(&[written]);
    vec![run]
}

fn on_one_disk_alone() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(60, 400, islands(&[&[1], &[2, 3]]));
    run.at(100).client(0).asking(1).with_quorum(1).puts(0);
    run.between(200, 201, Fault::Rot { node: 1, key: 0 });
    run.until(1_000);
    vec![run]
}
