//! Who made an event: no dot is issued twice, whatever a node has lost (riak_kv#679 and its family).

use super::Named;
use super::script::{Neighbour, Scenario, crash, empty_disks, islands, power_loss};
use crate::engine::Outcome;
use crate::plan::fault::Fault;
use crate::scenario::Body;
use crate::sometimes::Sometimes;

pub(super) const ALL: &[Named] = &[
    Named::built(
        "coordinator-lost-its-disk",
        "a coordinator whose disks were emptied writes again under the same identity, and hides nothing it wrote before",
        "riak_kv#679 (kv679_dataloss)",
        "an empty store starts as a new actor: `judge` in node/src/start.rs giving a first start a constant incarnation. \
         O2: one dot is of two writes",
        coordinator_lost_its_disk,
    ),
    Named::built(
        "coordinator-could-not-read",
        "a coordinator that cannot read what it has refuses the write; it does not take the key for an empty one",
        "riak_kv#679 (kv679_dataloss), D5",
        "a failed read is no empty key: \"read-error-taken-for-not-found\". O7: the write before it is missed",
        coordinator_could_not_read,
    ),
    Named::built(
        "clock-lost-and-repaired-in-part",
        "a replica loses its clock, a repair restores part of it, and the dots of the rest are not issued again",
        "riak_kv#1094 (kv679_dataloss_fb)",
        "a store that may have lost its last writes starts as a new actor (\"power-loss-keeps-the-actor\"), and an actor \
         that meets an event of its own that it does not have stops (`is_set_back` in node/src/replica/mod.rs): without \
         both. O2: a dot is issued again",
        clock_lost_and_repaired_in_part,
    ),
    Named::built(
        "crash-between-sending-and-storing",
        "a coordinator dies when its peers have the write and its own disk has not",
        "riak_kv#679, P1",
        "a crashed process starts as a new actor: \"crash-keeps-the-actor\". O2: one dot is of two writes",
        crash_between_sending_and_storing,
    ),
    Named::built(
        "restored-from-last-weeks-backup",
        "a node whose store was set back to an old copy writes again, and hides nothing of the week between",
        "P4",
        "a store that was moved or copied starts as a new actor (\"power-loss-keeps-the-actor\"), and an actor that meets an \
         event of its own that it does not have stops (`is_set_back` in node/src/replica/mod.rs): without both. O2: one dot \
         is of two writes",
        restored_from_last_weeks_backup,
    ),
    Named::built(
        "disks-swapped",
        "two machines with each other's disks refuse to start",
        "P4",
        "a store knows whose it is: `check` in node/src/start.rs without its comparison of nodes. \
         A panic: a node refuses the disks of another",
        disks_swapped,
    ),
    Named::built(
        "partitions-count-apart",
        "two partitions of a node do not share an actor's counters, and a stop in order loses neither",
        "kv679_uid",
        "each partition has a clock of its own: \"one-clock-for-all-partitions\". A panic: a dot names one write",
        partitions_count_apart,
    ),
    Named::built(
        "emptied-disk-is-not-a-deleted-key",
        "a replica that lost its disk does not help to say that there is nothing",
        "P3",
        "a replica that lost something does not count towards R: \"catching-up-counted\". O7: an acknowledged write is missed",
        emptied_disk_is_not_a_deleted_key,
    ),
    Named::built(
        "every-page-twice",
        "a replica whose disk was emptied receives its partitions again, while every message comes twice",
        "N2, P3",
        "a page of a transfer counts once: `transferred` in node/src/shard/anti_entropy/transfer.rs, whatever page is at hand. A panic \
         where overflow is checked: more was stored than was waited for",
        every_page_twice,
    ),
    Named {
        name: "a-transfer-breaks",
        line: "a replica that receives its partitions again is cut off, over and over: what it has stored need not come again, and nothing is missing",
        source: "P3, N7",
        body: Body::Built {
            rule: "a transfer goes on behind the last key that is stored: `break_off` in node/src/shard/anti_entropy/transfer.rs keeping \
                   nothing. No transfer went on",
            runs: a_transfer_breaks,
            together: went_on,
        },
    },
    Named::built(
        "two-disks-emptied-in-a-split",
        "two replicas whose disks were emptied meet each other only: neither takes the other's word that nothing was there",
        "P3, N7",
        "every peer that shares a partition has a say: \"first-peer-proves\". The read at one of them shows nothing",
        two_disks_emptied_in_a_split,
    ),
    Named::built(
        "old-delete-returns",
        "a primary that was down comes back with the old delete; repair does not kill the value written since",
        "riak_kv kv679_tombstone2",
        "an empty store starts as a new actor: `judge` in node/src/start.rs giving a first start a constant incarnation. \
         O2: one dot is of two writes",
        old_delete_returns,
    ),
    Named {
        name: "a-loss-is-found-once",
        line: "a node whose disks were emptied has received everything again: that is not found anew when it starts again",
        source: "P3 and P1, by hand: each later start took reads off the node until it had caught up once more",
        body: Body::Built {
            rule: "what peers knew and a store did not is remembered with the loss: \"lost-incarnation-forgotten\". A loss was \
                   found more than once",
            runs: found_once,
            together: was_found_once,
        },
    },
];

fn found_once() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.at(50).client(0).with_quorum(3).puts(0);
    // Two lives before, that the peers have met.
    run.between(100, 110, crash(3));
    run.between(200, 210, empty_disks(3));
    run.between(12_000, 12_010, crash(3));
    run.until(14_000);
    vec![run]
}

fn was_found_once(outcomes: &[Outcome]) -> Result<(), String> {
    match outcomes.iter().map(|outcome| outcome.tallies.count(Sometimes::LossFound)).max() {
        Some(1) => Ok(()),
        times => Err(format!("a loss was found {} times", times.unwrap_or_default())),
    }
}

fn coordinator_lost_its_disk() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let old = run.at(50).client(0).asking(1).puts(0);
    run.between(100, 150, empty_disks(1));
    let new = run.at(200).client(1).asking(1).puts(0);
    let read = run.at(300).client(1).gets(0);
    run.expect(old).is_stored();
    run.expect(new).is_stored();
    run.expect(read).shows(&[old, new]);
    vec![run]
}

fn coordinator_could_not_read() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let old = run.at(50).client(0).asking(2).puts(0);
    // Just before, for the read that fails must be the write's, and not one of the scrub's.
    run.between(109, 110, Fault::ReadFailure { node: 1 });
    let refused = run.at(110).client(1).asking(1).within(3).puts(0);
    let new = run.at(150).client(1).asking(1).puts(0);
    let read = run.at(200).client(1).asking(3).gets(0);
    run.expect(refused).is_refused("the storage of n1 failed");
    run.expect(new).is_stored_leaving(2);
    run.expect(read).shows(&[old, new]);
    vec![run]
}

fn clock_lost_and_repaired_in_part() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let near = run.neighbour(0, Neighbour::InPartition);
    let one = run.at(50).client(0).asking(1).puts(0);
    let two = run.at(60).client(0).asking(1).puts(near);
    run.between(100, 150, power_loss(&[1]));
    let repairs = run.at(200).client(1).asking(2).with_quorum(3).gets(0);
    let three = run.at(300).client(2).asking(1).puts(near);
    let read = run.at(400).client(1).asking(2).gets(near);
    run.expect(repairs).shows(&[one]);
    run.expect(three).is_stored();
    run.expect(read).shows(&[two, three]);
    vec![run]
}

fn crash_between_sending_and_storing() -> Vec<Scenario> {
    // The request arrives at 61, is read by 66, and sent; the peers have it at 67, and the coordinator's disk at 71.
    let mut run = Scenario::of(3).disks_take(5);
    let old = run.at(60).client(0).asking(1).puts(0);
    run.between(69, 100, crash(1));
    let new = run.at(200).client(1).asking(1).puts(0);
    let read = run.at(300).client(1).asking(2).gets(0);
    run.expect(old).is_unknown("lost before it answered");
    run.expect(new).is_stored();
    run.expect(read).shows(&[old, new]);
    vec![run]
}

fn restored_from_last_weeks_backup() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let before = run.at(50).client(0).asking(1).puts(0);
    run.between(100, 300, Fault::OldCopy { node: 1 });
    let since = run.at(150).client(0).asking(1).puts(0);
    let after = run.at(400).client(1).asking(1).puts(0);
    let read = run.at(500).client(1).asking(2).gets(0);
    run.expect(before).is_stored();
    run.expect(since).is_stored_leaving(1);
    run.expect(after).is_stored();
    run.expect(read).shows(&[since, after]);
    vec![run]
}

fn disks_swapped() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let before = run.at(50).client(0).asking(1).puts(0);
    run.between(100, 300, Fault::SwapDisks { nodes: [1, 2] });
    let alone = run.at(150).client(1).asking(3).within(100).puts(0);
    let after = run.at(400).client(1).asking(1).puts(0);
    let read = run.at(500).client(1).asking(2).gets(0);
    run.expect(before).is_stored();
    run.expect(alone).is_refused("is unreachable");
    run.expect(after).is_stored_leaving(2);
    run.expect(read).shows(&[before, after]);
    vec![run]
}

fn partitions_count_apart() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let far = run.neighbour(0, Neighbour::Elsewhere);
    let keys = [0, far];
    let old = keys.map(|key| run.at(50).client(0).asking(1).puts(key));
    run.between(100, 150, Fault::Stop { node: 1 });
    let new = keys.map(|key| run.at(200).client(1).asking(1).puts(key));
    for (index, key) in keys.into_iter().enumerate() {
        let read = run.at(300).client(1).asking(2).gets(key);
        run.expect(new[index]).is_stored_leaving(2);
        run.expect(read).shows(&[old[index], new[index]]);
    }
    vec![run]
}

fn emptied_disk_is_not_a_deleted_key() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(60, 200, islands(&[&[1, 2], &[3]]));
    let written = run.at(100).client(0).asking(1).puts(0);
    run.between(210, 240, empty_disks(2));
    run.between(230, 400, islands(&[&[1], &[2, 3]]));
    let refused = run.at(300).client(1).asking(2).within(80).gets(0);
    let read = run.at(500).client(1).asking(2).gets(0);
    run.expect(written).is_stored();
    run.expect(refused).is_refused("is still catching up after a loss");
    run.expect(read).shows(&[written]);
    vec![run]
}

fn every_page_twice() -> Vec<Scenario> {
    // Whether the second of a page comes while the first is being stored is chance: keys, and the moment of the loss, differ.
    let with_keys = |first: usize| {
        let mut run = Scenario::of(3).disks_take(20).all_messages_twice();
        let keys: [usize; 8] = std::array::from_fn(|index| first + index);
        let written = run.at(50).client(0).asking(1).with_quorum(3).within(5_000).puts_all(&keys);
        // By then nobody can name any more what was written.
        run.between(20_000 + first as u64, 20_100, empty_disks(3));
        let reads = [0, 3, 7].map(|index| run.at(30_000).client(1 + index).asking(3).with_quorum(3).gets(keys[index]));
        reads.into_iter().for_each(|read| run.expect(read).shows(&[written]));
        run
    };
    (0..8).map(|number| with_keys(number * 8)).collect()
}

fn a_transfer_breaks() -> Vec<Scenario> {
    let with_breaks_every = |millis: u64| {
        let mut run = Scenario::of(3).disks_take(5).pages_of(1);
        let keys: [usize; 40] = std::array::from_fn(|key| key);
        let written = run.at(50).client(0).asking(1).with_quorum(3).within(5_000).puts_all(&keys);
        // By then nobody can name any more what was written.
        run.between(20_000, 20_100, empty_disks(3));
        for time in (20_150..23_000).step_by(usize::try_from(millis).expect("short")) {
            run.between(time, time + 20, islands(&[&[1, 2], &[3]]));
        }
        let reads = [0, 20, 39].map(|key| run.at(40_000).client(1 + key).asking(3).with_quorum(3).gets(keys[key]));
        reads.into_iter().for_each(|read| run.expect(read).shows(&[written]));
        run
    };
    [130, 170, 230].map(with_breaks_every).into()
}

fn went_on(outcomes: &[Outcome]) -> Result<(), String> {
    let resumed: u64 = outcomes.iter().map(|outcome| outcome.tallies.count(Sometimes::TransferResumed)).sum();
    if 0 < resumed { Ok(()) } else { Err("no transfer went on".to_owned()) }
}

fn two_disks_emptied_in_a_split() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let written = run.at(50).client(0).asking(1).with_quorum(3).puts(0);
    run.between(190, 400, islands(&[&[1, 2], &[3]]));
    [1, 2].into_iter().for_each(|node| _ = run.between(200, 250, empty_disks(node)));
    let refused = run.at(300).client(1).asking(1).with_quorum(1).within(80).gets(0);
    let read = run.at(700).client(1).asking(1).with_quorum(3).gets(0);
    run.expect(written).is_stored();
    run.expect(refused).is_refused("is still catching up after a loss");
    run.expect(read).shows(&[written]);
    vec![run]
}

fn old_delete_returns() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.at(50).client(0).asking(2).puts(0);
    let deleted = run.at(70).client(0).asking(2).deletes(0);
    run.between(100, 400, crash(1));
    run.between(110, 150, empty_disks(2));
    let new = run.at(200).client(1).asking(2).puts(0);
    let before = run.at(450).client(1).asking(1).gets(0);
    let repaired = run.at(500).client(1).asking(1).with_quorum(3).gets(0);
    run.expect(deleted).is_stored_leaving(0);
    run.expect(new).is_stored_leaving(1);
    run.expect(before).shows(&[new]);
    run.expect(repaired).shows(&[new]);
    vec![run]
}
