//! What links do: splits of all shapes, lost and doubled answers, slow and flapping ones.

use super::Named;
use super::script::{Scenario, clog, islands};
use crate::plan::fault::{Fault, MessageKind};

pub(super) const ALL: &[Named] = &[
    Named::built(
        "split-minority",
        "a minority does not acknowledge with W = majority, and healing discards nothing that was acknowledged",
        "Redis Sentinel, Jepsen (56 % of acknowledged writes lost)",
        "W replicas have stored what is acknowledged: \"write-quorum-off-by-one\". O10: acknowledged by 2 of w = 3",
        split_minority,
    ),
    Named::built(
        "bridge",
        "two nodes that cannot reach each other, and a third that reaches both: nothing concurrent is replaced",
        "N9 (a cut that is not transitive)",
        "a write replaces what its client has seen, not what its coordinator has: \"put-replaces-what-the-node-knows\". \
         O7: an acknowledged write is missed",
        bridge,
    ),
    Named::built(
        "one-way-cut",
        "a coordinator whose messages no longer arrive does not acknowledge, and its write is not forgotten",
        "N8",
        "silence is no acknowledgement: \"lost-reply-counted\". O10: acknowledged by 1 of w = 2",
        one_way_cut,
    ),
    Named::built(
        "fan-out-reaches-one",
        "a write that reached one of its peers has an unknown outcome, and is found by whoever reads",
        "N16",
        "silence is no acknowledgement: \"lost-reply-counted\". O10: acknowledged by 2 of w = 3",
        fan_out_reaches_one,
    ),
    Named::built(
        "flapping-link",
        "a link that comes and goes: what waits for it is refused at once, tried again, and done",
        "N11",
        "what was asked on a connection that is gone is not waited for: \"disconnect-ignored\". The write ends as unknown",
        flapping_link,
    ),
    Named::built(
        "doubled-acknowledgement",
        "the same replica's acknowledgement, twice, counts once",
        "Accord, etcd (a duplicated acknowledgement counted twice towards W)",
        "a node's first answer is final: \"duplicate-reply-counted\". O10: acknowledged by 2 of w = 3",
        doubled_acknowledgement,
    ),
    Named::built(
        "late-write-after-its-delete",
        "a replica hears of a delete before it hears of the write: the write does not come back",
        "riak_kv#847 (kv679_tombstone), with a slow link in place of a hint",
        "what is known to be obsolete is kept until the clock's base says it: \"delete-forgotten-too-early\". \
         The replica shows the deleted value",
        late_write_after_its_delete,
    ),
    Named::built(
        "paused-in-the-middle",
        "a node that stood still with a write in its hands does it late: the client was told that it may",
        "etcd#20418, Aerospike 3.99",
        "a write handed over and not answered is of unknown outcome: \"lost-forward-taken-for-failure\". \
         O2: a write was made an event twice, as its client tries it again",
        paused_in_the_middle,
    ),
    Named::built(
        "gray-node",
        "a node that is slow and not dead does not make the reads of all slow",
        "TigerBeetle's Jepsen report",
        "a slow read asks one more: `take` in node/src/admission/hedge.rs 0. A read takes 202 ms",
        gray_node,
    ),
];

fn split_minority() -> Vec<Scenario> {
    let mut run = Scenario::of(5).quorum(5, 3, 3);
    run.between(60, 400, islands(&[&[1, 2], &[3, 4, 5]]));
    let alone = run.at(100).client(0).asking(1).within(100).puts(0);
    let together = run.at(100).client(1).asking(3).puts(0);
    let blind = run.at(100).client(2).asking(2).within(100).gets(0);
    let read = run.at(500).client(2).asking(1).gets(0);
    run.expect(alone).is_refused("is unreachable");
    run.expect(together).is_stored_leaving(1);
    run.expect(blind).is_refused("is unreachable");
    run.expect(read).shows(&[together]);
    vec![run]
}

fn bridge() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(55, 300, Fault::Cut { links: vec![[1, 3]] });
    let left = run.at(100).client(0).asking(1).puts(0);
    let right = run.at(120).client(1).asking(3).puts(0);
    let newer = run.at(140).client(0).asking(2).puts(0);
    let during = run.at(160).client(1).asking(2).gets(0);
    let healed = run.at(400).client(1).asking(1).with_quorum(3).gets(0);
    run.expect(left).is_stored_leaving(1);
    run.expect(right).is_stored_leaving(1);
    run.expect(newer).is_stored_leaving(2);
    run.expect(during).shows(&[right, newer]);
    run.expect(healed).shows(&[right, newer]);
    vec![run]
}

fn one_way_cut() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(59, 300, Fault::OneWay { blocked: vec![[1, 2], [1, 3]] });
    let written = run.at(60).client(0).asking(1).within(200).puts(0);
    let read = run.at(400).client(1).asking(1).gets(0);
    run.expect(written).is_unknown("1 of the 2 replicas");
    run.expect(read).shows(&[written]);
    vec![run]
}

fn fan_out_reaches_one() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(55, 56, Fault::FanOut { node: 1, reaches: 1 });
    let written = run.at(60).client(0).asking(1).with_quorum(3).within(200).puts(0);
    let read = run.at(300).client(1).asking(3).gets(0);
    run.expect(written).is_unknown("2 of the 3 replicas");
    run.expect(read).shows(&[written]);
    vec![run]
}

fn flapping_link() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    run.between(100, 400, Fault::Flap { link: [1, 2], each: crate::plan::span::Span::from_millis(30) });
    let written = run.at(115).client(0).asking(1).with_quorum(3).puts(0);
    run.expect(written).is_stored_leaving(1);
    run.until(450);
    vec![run]
}

fn doubled_acknowledgement() -> Vec<Scenario> {
    let mut run = Scenario::of(3).all_messages_twice();
    run.between(55, 400, clog(1, 3));
    let written = run.at(60).client(0).asking(1).with_quorum(3).within(200).puts(0);
    let read = run.at(500).client(1).asking(3).gets(0);
    run.expect(written).is_unknown("2 of the 3 replicas");
    run.expect(read).shows(&[written]);
    vec![run]
}

fn late_write_after_its_delete() -> Vec<Scenario> {
    let mut run = Scenario::of(3).over_datagrams();
    run.between(55, 200, clog(1, 3));
    // A comparison with the replica that has the delete would tell that the write is obsolete.
    run.between(55, 400, Fault::LoseEach { message: MessageKind::Sync, nth: 1 });
    let written = run.at(60).client(0).asking(1).puts(0);
    let deleted = run.at(80).client(0).asking(2).deletes(0);
    let before = run.at(150).client(1).asking(3).with_quorum(1).gets(0);
    let after = run.at(300).client(1).asking(3).with_quorum(1).gets(0);
    run.expect(written).is_stored_leaving(1);
    run.expect(deleted).is_stored_leaving(0);
    run.expect(before).shows(&[]);
    run.expect(after).shows(&[]);
    vec![run]
}

fn paused_in_the_middle() -> Vec<Scenario> {
    let mut run = Scenario::of(4);
    let primaries = run.primaries(0);
    let stranger = (1..=4).find(|node| !primaries.contains(node)).expect("one of four is no primary");
    // The request arrives at 61, and is handed over by 62.
    run.between(61, 1_000, Fault::Pause { node: primaries[0] });
    let paused = run.at(60).client(0).asking(stranger).within(100).puts(0);
    let other = run.at(200).client(1).asking(primaries[1]).puts(0);
    let before = run.at(300).client(1).asking(primaries[1]).gets(0);
    let after = run.at(1_200).client(1).asking(primaries[1]).gets(0);
    run.expect(paused).is_unknown("forwarded the write");
    run.expect(other).is_stored_leaving(1);
    run.expect(before).shows(&[other]);
    run.expect(after).shows(&[paused, other]);
    vec![run]
}

fn gray_node() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let primaries = run.primaries(0);
    let (gray, asked) = (primaries[0], primaries[1]);
    let written = run.at(50).client(0).asking(asked).puts(0);
    run.between(60, 4_000, Fault::SlowLinks { links: vec![[asked, gray]], factor: 100 });
    for _ in 0..20 {
        let read = run.at(100).client(0).asking(asked).gets(0);
        run.expect(read).shows(&[written]);
        run.expect(read).is_answered_within(30);
    }
    vec![run]
}
