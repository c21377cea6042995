//! Members change while clients go on.

use super::Named;
use super::script::{Neighbour, Scenario, islands};
use crate::engine::Outcome;
use crate::engine::watch::StepId;
use crate::plan::fault::Fault;
use crate::scenario::Body;
use crate::sometimes::Sometimes;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "layout-change-under-reads",
        line: "while a node joins and one leaves, alone and with a cut, each read shows what was written before it",
        source: "Garage's Jepsen set test (10 of 10 runs before its fix)",
        body: Body::Built {
            rule: "a read goes by an epoch that all have synced. O3: the read would miss acknowledged writes",
            runs: under_reads,
            together: changed,
        },
    },
    Named {
        name: "writes-while-a-partition-moves",
        line: "writes and deletes while every partition moves: what is acknowledged is there in the end, and what was deleted is not",
        source: "Garage; riak_kv#1754",
        body: Body::Built {
            rule: "a write has its quorum in each live epoch. O3: the read after the change would miss the write",
            runs: while_it_moves,
            together: changed,
        },
    },
    Named {
        name: "two-changes-on-two-sides",
        line: "two commits on both sides of a split: one outcome, which all come to know, and no write is lost",
        source: "Garage layout manual",
        body: Body::Built {
            rule: "of two histories all choose the same: the laws of `ring::layout`. O6: the copies of the layout differ",
            runs: on_two_sides,
            together: rivals,
        },
    },
    Named {
        name: "rolling-upgrade-while-members-change",
        line: "a node joins and one leaves while the others go from one version of the protocol to the next, and one of them back",
        source: "the catalogue's V1",
        body: Body::Built {
            rule: "a node is told of the layout in words that it knows: by whole copies where one of two speaks the first version. Without it the \
                   run ends at a message that a node of that version cannot read",
            runs: upgraded,
            together: by_both,
        },
    },
    Named {
        name: "scan-while-a-partition-moves",
        line: "scans while every partition moves miss nothing that was written before them",
        source: "riak#305",
        body: Body::Built {
            rule: "a page is read by an epoch that all have synced. O3: the page would miss keys",
            runs: scanned,
            together: changed,
        },
    },
];

fn changed(outcomes: &[Outcome]) -> Result<(), String> {
    let changed = |outcome: &Outcome| 0 < outcome.tallies.count(Sometimes::MembersChanged);
    if outcomes.iter().all(changed) { Ok(()) } else { Err("no member changed".to_owned()) }
}

fn rivals(outcomes: &[Outcome]) -> Result<(), String> {
    let rivals = |outcome: &Outcome| 0 < outcome.tallies.count(Sometimes::RivalCommits);
    if outcomes.iter().all(rivals) { changed(outcomes) } else { Err("there were no two commits".to_owned()) }
}

fn by_both(outcomes: &[Outcome]) -> Result<(), String> {
    let both = [Sometimes::LayoutByCopy, Sometimes::LayoutByDelta];
    match both.into_iter().find(|how| outcomes.iter().all(|outcome| outcome.tallies.count(*how) == 0)) {
        Some(how) => Err(format!("it never happened that {}", how.text())),
        None => changed(outcomes),
    }
}

fn members(by: u32, join: &[u32], leave: &[u32]) -> Fault {
    Fault::Members { by, join: join.to_vec(), leave: leave.to_vec(), remove: Vec::new(), weigh: Vec::new() }
}

/// Three members of five nodes, a key that two clients write in turn, and read where the other does not write.
fn in_turn(run: &mut Scenario, from: u64, turns: u64) {
    let mut last: Option<StepId> = None;
    for turn in 0..turns {
        let (client, at) = ((turn % 2) as usize, from + 200 * turn);
        let read = run.at(at).client(client).gets(0);
        if let Some(written) = last {
            run.expect(read).shows(&[written]);
        }
        let written = run.at(at + 100).client(client).puts(0);
        run.expect(written).is_stored_leaving(1);
        last = Some(written);
    }
}

fn under_reads() -> Vec<Scenario> {
    let mut alone = Scenario::of(5).founded_by(3);
    alone.between(150, 151, members(1, &[4, 5], &[2]));
    in_turn(&mut alone, 60, 40);

    let mut cut = Scenario::of(5).founded_by(3);
    cut.between(150, 151, members(1, &[4, 5], &[2]));
    cut.between(155, 2_000, islands(&[&[3], &[1, 2, 4, 5]]));
    in_turn(&mut cut, 60, 40);
    vec![alone, cut]
}

fn while_it_moves() -> Vec<Scenario> {
    let mut run = Scenario::of(6).founded_by(3);
    let other = run.neighbour(0, Neighbour::Elsewhere);
    let gone = run.at(60).client(2).puts(other);
    run.expect(gone).is_stored_leaving(1);
    run.between(150, 151, members(1, &[4, 5, 6], &[1, 2, 3]));
    in_turn(&mut run, 60, 40);
    let deleted = run.at(170).client(2).deletes(other);
    run.expect(deleted).is_stored_leaving(0);
    let read = run.at(8_200).client(2).gets(other);
    run.expect(read).shows(&[]);
    vec![run]
}

fn on_two_sides() -> Vec<Scenario> {
    let mut run = Scenario::of(6).founded_by(4);
    let first = run.at(60).client(0).puts(0);
    run.expect(first).is_stored_leaving(1);
    run.between(100, 2_000, islands(&[&[1, 2, 5], &[3, 4, 6]]));
    run.between(200, 201, members(1, &[5], &[]));
    run.between(210, 211, members(3, &[6], &[]));
    let read = run.at(4_000).client(1).gets(0);
    run.expect(read).shows(&[first]);
    vec![run]
}

fn upgraded() -> Vec<Scenario> {
    let mut run = Scenario::of(4).founded_by(3).speaking(&[1, 1, 2, 2]);
    run.between(150, 151, members(1, &[4], &[3]));
    for (at, node, protocol) in [(400, 1, 2), (2_000, 2, 2), (3_500, 2, 1)] {
        run.between(at, at + 30, Fault::Upgrade { node, protocol });
    }
    run.between(4_000, 4_001, members(2, &[3], &[4]));
    in_turn(&mut run, 60, 40);
    vec![run]
}

fn scanned() -> Vec<Scenario> {
    let mut run = Scenario::of(6).founded_by(3);
    let written = run.at(60).client(0).puts(0);
    run.between(150, 151, members(1, &[4, 5, 6], &[1, 2, 3]));
    for turn in 0..40 {
        let page = run.at(160 + 100 * turn).client(1).scans(0);
        run.expect(page).lists(1);
    }
    run.expect(written).is_stored_leaving(1);
    vec![run]
}
