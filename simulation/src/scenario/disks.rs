//! What disks do to what was promised: losses, rot, full and slow ones.

use super::Named;
use super::script::{Neighbour, Scenario, islands, power_loss};
use crate::engine::watch::StepId;
use crate::plan::fault::{Fault, MessageKind};

pub(super) const ALL: &[Named] = &[
    Named::built(
        "power-loss-everywhere",
        "all machines lose power: what was acknowledged as synced is there, what was buffered need not be",
        "NATS 2.12.1 (acknowledgement before sync)",
        "the durability that a write asks for: \"synced-means-buffered\". O10: acknowledged before enough stores held it",
        power_loss_everywhere,
    ),
    Named::built(
        "one-bit-flipped",
        "what rotted on one replica is never served: others serve, and until it is mended a read of all says so",
        "NATS 2.12.1 (one bit flipped on one replica)",
        "a replica that fails has not answered: \"failed-read-counted\". O7: the read shows nothing",
        one_bit_flipped,
    ),
    Named::built(
        "disk-full",
        "a replica whose disk is full does not count; the others go on",
        "D6",
        "only a completed write of a store counts: \"failed-store-counted\". O10: acknowledged before enough stores held it",
        disk_full,
    ),
    Named::built(
        "a-read-repairs",
        "a coordinator that missed a write finds that in a read of others, and has it afterwards",
        "the Dynamo paper, section 5 (read repair)",
        "every replica that was behind is repaired: \"own-replica-not-repaired\". The read of its own replica shows the old value",
        a_read_repairs,
    ),
    Named::built(
        "repaired-before-the-answer",
        "a read that is to repair first is not answered while one that is behind cannot store what it lacks",
        "D6; read repair in the foreground, as of Cassandra's blocking read repair",
        "those that are behind have stored what they lack when it is answered: \"repair-not-awaited\". It is answered all the same",
        repaired_before_the_answer,
    ),
    Named::built(
        "given-up-while-the-disk-stood-still",
        "a write that was refused while it waited for a disk does not happen when the disk goes on",
        "etcd#20418 (a long pause in the middle of a request), D7",
        "what its client is told stays true: \"given-up-write-made\". O11: a value of a write that definitely failed",
        given_up_while_the_disk_stood_still,
    ),
];

fn power_loss_everywhere() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let other = run.neighbour(0, Neighbour::Elsewhere);
    // After the clocks were compared for the first time, which syncs the disks, and before the second.
    let synced = run.at(300).client(0).asking(1).synced().puts(0);
    let buffered = run.at(310).client(0).asking(1).puts(other);
    run.between(350, 400, power_loss(&[1, 2, 3]));
    let there = run.at(550).client(1).gets(0);
    let gone = run.at(560).client(1).gets(other);
    run.expect(synced).is_stored();
    run.expect(buffered).is_stored();
    run.expect(there).shows(&[synced]);
    run.expect(gone).shows(&[]);
    vec![run]
}

fn one_bit_flipped() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let written = run.at(50).client(0).asking(1).with_quorum(3).puts(0);
    run.between(100, 101, Fault::Rot { node: 2, key: 0 });
    // All of it meets the copy before it is mended, which takes milliseconds.
    let one = run.at(150).client(1).asking(2).with_quorum(1).gets(0);
    let two = run.at(150).client(2).asking(2).gets(0);
    let all = run.at(150).client(3).asking(2).with_quorum(3).within(3).gets(0);
    let refused = run.at(150).client(4).asking(2).within(3).puts(0);
    let mended = run.at(400).client(1).asking(2).with_quorum(3).within(100).gets(0);
    run.expect(written).is_stored();
    run.expect(one).shows(&[written]);
    run.expect(two).shows(&[written]);
    run.expect(all).is_refused("has a failed storage");
    run.expect(refused).is_refused("the storage of n2 failed");
    run.expect(mended).shows(&[written]);
    vec![run]
}

/// A write that all have, and the one in its place that node 3 misses, and that only a read may bring it.
fn missed_by_one(run: &mut Scenario) -> [StepId; 2] {
    let old = run.at(10).client(0).asking(1).with_quorum(3).puts(0);
    run.between(20, 900, Fault::LoseEach { message: MessageKind::Sync, nth: 1 });
    run.between(50, 100, Fault::Cut { links: vec![[1, 3], [2, 3]] });
    let written = run.at(60).client(0).asking(1).puts(0);
    run.expect(written).is_stored_leaving(1);
    [old, written]
}

fn a_read_repairs() -> Vec<Scenario> {
    let mut run = Scenario::of(3).over_datagrams();
    let [old, written] = missed_by_one(&mut run);
    let before = run.at(200).client(1).asking(3).with_quorum(1).gets(0);
    let read = run.at(250).client(1).asking(3).with_quorum(3).gets(0);
    let after = run.at(300).client(1).asking(3).with_quorum(1).gets(0);
    run.expect(before).shows(&[old]);
    [read, after].into_iter().for_each(|read| run.expect(read).shows(&[written]));
    vec![run]
}

fn repaired_before_the_answer() -> Vec<Scenario> {
    let mut run = Scenario::of(3).over_datagrams();
    let [_, written] = missed_by_one(&mut run);
    run.between(201, 300, Fault::DiskFull { node: 3 });
    let cannot = run.at(200).client(1).asking(1).within(100).gets_repaired(0);
    let can = run.at(600).client(1).asking(1).gets_repaired(0);
    let alone = run.at(650).client(2).asking(3).with_quorum(1).gets(0);
    run.expect(cannot).is_refused("n3");
    [can, alone].into_iter().for_each(|read| run.expect(read).shows(&[written]));
    vec![run]
}

fn disk_full() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(60, 300, Fault::DiskFull { node: 1 });
    let by_all = run.at(100).client(0).asking(2).with_quorum(3).within(100).puts(0);
    let by_two = run.at(110).client(1).asking(3).puts(0);
    let read = run.at(400).client(1).asking(1).gets(0);
    run.expect(by_all).is_unknown("");
    run.expect(by_two).is_stored_leaving(2);
    run.expect(read).shows(&[by_all, by_two]);
    vec![run]
}

fn given_up_while_the_disk_stood_still() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(55, 155, Fault::StallDisk { node: 1 });
    run.between(70, 400, islands(&[&[1], &[2, 3]]));
    let refused = run.at(60).client(0).asking(1).within(200).puts(0);
    let read = run.at(500).client(1).asking(1).gets(0);
    run.expect(refused).is_refused("is unreachable");
    run.expect(read).shows(&[]);
    vec![run]
}
