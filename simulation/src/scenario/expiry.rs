//! What lives for a time only: gone when its time has come, whatever its clocks do, and not brought back.

use super::Named;
use super::script::{Neighbour, Scenario, crash};
use crate::plan::fault::{Fault, MessageKind};

pub(super) const ALL: &[Named] = &[
    Named::built(
        "expiry-against-repair",
        "what expired where clocks are right is not brought back by the replica whose clock is behind, and repair ends",
        "riak#981 (expiry against anti-entropy)",
        "what is dropped stays covered: \"expired-forgotten-entirely\". The read that merges shows it again",
        expiry_against_repair,
    ),
    Named::built(
        "horizon-passed-while-away",
        "what expired everywhere while a node was cut off does not come back with that node, whose clock is far behind",
        "G1; riak#981",
        "those who met the expiry have removed the value: \"expired-left-in-the-store\". The node that is back shows it again",
        horizon_passed_while_away,
    ),
    Named::built(
        "clock-set-back",
        "a replica that once said that a value has expired does not show it again, with its clock set back and restarted",
        "P6",
        "a read answers when the removal is stored: \"expired-left-in-the-store\". The last read shows the value",
        clock_set_back,
    ),
    Named::built(
        "clock-goes-back-under-a-process",
        "a wall clock that goes back brings nothing back within a process, though nobody had removed it",
        "P6",
        "a shard's wall clock never goes back: \"wall-clock-goes-back\". O9: an expired value was shown",
        clock_goes_back_under_a_process,
    ),
    Named::built(
        "late-message-of-an-expired-value",
        "a write that waits on a link until its value has expired everywhere arrives, and is not kept",
        "riak#981, N12",
        "what arrives expired is known and not kept: \"expired-kept-in-a-merge\". O9: a value is stored that has expired",
        late_message_of_an_expired_value,
    ),
];

const HOUR: i64 = 3_600_000;

fn clock(node: u32, jump_millis: i64) -> Fault {
    Fault::Clock { node, jump_millis, drift_ppm: 0 }
}

/// Each node asked for what it has alone, one after the other.
fn each_alone(run: &mut Scenario, from: u64) -> Vec<crate::engine::watch::StepId> {
    let ask = |(at, node)| run.at(at).client(1).asking(node).with_quorum(1).gets(0);
    (from..).step_by(20).zip(1..=3).map(ask).collect()
}

fn expiry_against_repair() -> Vec<Scenario> {
    let mut run = Scenario::of(3).unswept();
    let other = run.neighbour(0, Neighbour::InPartition);
    run.between(60, 5_000, clock(3, -HOUR));
    // Node 2 misses an event before that of the value, and is not told of it, so that its clock cannot speak for the value when it is gone.
    run.between(65, 2_000, Fault::LoseEach { message: MessageKind::Sync, nth: 1 });
    run.between(70, 90, Fault::Cut { links: vec![[1, 2]] });
    let missed = run.at(80).client(0).asking(1).within(200).puts(other);
    let written = run.at(300).client(0).asking(1).with_quorum(3).living(500).puts(0);
    let before = each_alone(&mut run, 400);
    let alone = run.at(1_000).client(1).asking(3).with_quorum(1).gets(0);
    let gone = run.at(1_050).client(1).asking(2).with_quorum(1).gets(0);
    // Node 3 coordinates, by whose clock the value lives, and asks node 2, which knows better.
    run.between(1_100, 1_300, Fault::Cut { links: vec![[1, 3]] });
    let merged = run.at(1_200).client(1).asking(3).gets(0);
    let after = each_alone(&mut run, 1_600);
    let all = run.at(1_700).client(1).asking(3).with_quorum(3).gets(0);
    run.expect(missed).is_stored_leaving(1);
    run.expect(written).is_stored_leaving(1);
    before.into_iter().for_each(|read| run.expect(read).shows(&[written]));
    run.expect(alone).shows(&[written]);
    [gone, merged, all].into_iter().chain(after).for_each(|read| run.expect(read).shows(&[]));
    vec![run]
}

fn horizon_passed_while_away() -> Vec<Scenario> {
    let mut run = Scenario::of(3).unswept();
    let written = run.at(100).client(0).asking(1).with_quorum(3).living(7_200_000).puts(0);
    run.between(200, 1_000, Fault::Horizon { node: 3 });
    let gone = run.at(500).client(1).asking(1).gets(0);
    let away = run.at(600).client(1).asking(3).with_quorum(1).gets(0);
    let back = run.at(1_400).client(1).asking(3).with_quorum(3).gets(0);
    let after = each_alone(&mut run, 1_500);
    run.expect(written).is_stored_leaving(1);
    run.expect(away).shows(&[written]);
    [gone, back].into_iter().chain(after).for_each(|read| run.expect(read).shows(&[]));
    vec![run]
}

fn clock_set_back() -> Vec<Scenario> {
    let mut run = Scenario::of(3).unswept();
    let written = run.at(100).client(0).asking(1).with_quorum(3).living(60_000).puts(0);
    run.between(200, 5_000, clock(1, HOUR));
    let early = run.at(400).client(1).asking(1).with_quorum(1).gets(0);
    run.between(450, 500, crash(1));
    run.between(460, 5_000, clock(1, -HOUR));
    let again = run.at(700).client(1).asking(1).with_quorum(1).gets(0);
    run.expect(written).is_stored_leaving(1);
    run.expect(early).shows(&[]);
    run.expect(again).shows(&[]);
    vec![run]
}

fn clock_goes_back_under_a_process() -> Vec<Scenario> {
    let mut run = Scenario::of(3).unswept();
    let written = run.at(100).client(0).asking(1).with_quorum(3).living(60_000).puts(0);
    run.between(200, 5_000, clock(1, HOUR));
    // Of another key: the shard is told the time, and nobody meets the value.
    run.at(400).client(1).asking(1).with_quorum(1).gets(1);
    run.between(450, 5_000, clock(1, -HOUR));
    let read = run.at(700).client(1).asking(1).with_quorum(1).gets(0);
    run.expect(written).is_stored_leaving(1);
    run.expect(read).shows(&[]);
    vec![run]
}

fn late_message_of_an_expired_value() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(60, 1_500, Fault::Clog { links: vec![[1, 3], [2, 3]] });
    let written = run.at(100).client(0).asking(1).living(500).puts(0);
    let gone = run.at(1_000).client(1).asking(1).with_quorum(2).gets(0);
    let late = run.at(1_800).client(1).asking(3).with_quorum(1).gets(0);
    let all = run.at(1_900).client(1).asking(3).with_quorum(3).gets(0);
    run.expect(written).is_stored_leaving(1);
    [gone, late, all].into_iter().for_each(|read| run.expect(read).shows(&[]));
    vec![run]
}
