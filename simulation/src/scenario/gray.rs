//! Nodes that are slow and not dead: what they cost those who ask others.

use std::time::Duration;

use super::script::Scenario;
use super::{Body, Named};
use crate::delay::{Delay, Shape};
use crate::engine::Outcome;
use crate::engine::watch::{Answer, StepId, Told};
use crate::plan::fault::Fault;
use crate::plan::span::Span;

pub(super) const ALL: &[Named] = &[
    Named {
        name: "gray-node-in-the-tail",
        line: "one node 50 times slower than the others, or standing still, makes p99.9 of reads at most three times that of a healthy cluster",
        source: "TigerBeetle's Jepsen report; Suresh et al., C3 (NSDI 2015); Dean and Barroso, The Tail at Scale",
        body: Body::Built {
            rule: "a read asks those first that answer soonest, and one more when one is late: with all ranked the same and hedges \
                   refused (`score` in node/src/admission/ranking.rs 1, `take` in hedge.rs 0) p99.9 is 421 ms with \
                   a slow node, and 13.5 ms in the healthy cluster",
            runs: gray_node_in_the_tail,
            together: tail_is_short,
        },
    },
    Named::built(
        "gray-node-comes-back",
        "a node that was slow is asked again when it no longer is",
        "Suresh et al., C3 (NSDI 2015): an estimate that nobody renews never heals",
        "one that is left out is asked besides now and then: `is_due_for_probe` in node/src/admission/ranking.rs false. A read \
         takes 6.67 ms",
        gray_node_comes_back,
    ),
];

/// When estimates have been made.
const WARM: u64 = 3_000;
/// Reads of each client.
const READS: usize = 1_500;
/// How slow the gray node is.
const FACTOR: u32 = 50;
const KEYS: usize = 24;

/// How the third node is.
#[derive(Clone, Copy)]
enum Third {
    Healthy,
    Slow,
    Still,
}

/// A healthy run, and the same with one node slow, and with one standing still.
fn gray_node_in_the_tail() -> Vec<Scenario> {
    [Third::Healthy, Third::Slow, Third::Still].map(with_third).into()
}

/// Four clients read at nodes 1 and 2, at full speed, and one writes now and then. Every message takes a time of its own.
fn with_third(third: Third) -> Scenario {
    let mut run = Scenario::of(3);
    run.plan.network.delay = Delay { shape: Shape::Exponential, median: Span::from_micros(500) };
    for key in 0..KEYS {
        let written = run.at(50).client(0).asking(1).puts(key);
        run.expect(written).is_stored();
    }
    let end = 120_000;
    match third {
        Third::Healthy => {}
        Third::Slow => {
            let links = vec![[1, 3], [2, 3]];
            run.between(1_000, end, Fault::SlowLinks { links, factor: FACTOR }).between(
                1_000,
                end,
                Fault::SlowDisk { node: 3 },
            );
        }
        Third::Still => drop(run.between(1_000, end, Fault::Pause { node: 3 })),
    }
    for index in 0..READS {
        for client in 1..=4 {
            let node = u32::try_from(client % 2).expect("one of two") + 1;
            run.at(1_500).client(client).asking(node).gets((index * 5 + client) % KEYS);
        }
    }
    for round in 0..40 {
        // W = 2, and N - W = W - 1 = 1 node is not there.
        let written = run.at(WARM + round * 50).client(5).asking(1).puts(0);
        run.expect(written).is_stored();
        run.expect(written).is_answered_within(30);
    }
    run
}

/// p99.9 of the reads once the estimates were made.
fn tail(outcome: &Outcome) -> Duration {
    let warm = quorate_node::Time::from_micros(WARM * 1_000);
    let reads =
        outcome.watched.told.iter().filter(|told| matches!(told.answer, Answer::Shown(_)) && warm <= told.asked);
    let mut took: Vec<Duration> = reads.map(Told::took).collect();
    took.sort_unstable();
    assert!(1_000 < took.len(), "only {} reads", took.len());
    took[took.len() - 1 - took.len() / 1_000]
}

fn tail_is_short(outcomes: &[Outcome]) -> Result<(), String> {
    let tails: Vec<Duration> = outcomes.iter().map(tail).collect();
    let most = tails[0] * 3;
    match tails.iter().max().filter(|longest| most < **longest) {
        Some(_) => Err(format!("p99.9 of reads is {tails:?}: healthy, with a slow node, with one that stands still")),
        None => Ok(()),
    }
}

/// Node 3 is slow for a while; then node 2 is, and node 1 has to find out that node 3 no longer is.
fn gray_node_comes_back() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let written = run.at(50).client(0).asking(1).puts(0);
    run.between(100, 2_000, Fault::SlowLinks { links: vec![[1, 3]], factor: FACTOR });
    let mut reads: Vec<StepId> = (0..150).map(|index| run.at(200 + index * 20).client(0).asking(1).gets(0)).collect();
    run.between(4_000, 8_000, Fault::SlowLinks { links: vec![[1, 2]], factor: FACTOR });
    // Its probes have told that node 3 is quick, so it is asked at once where node 2 is late, and then first.
    let late: Vec<StepId> = (0..100).map(|index| run.at(4_200 + index * 20).client(0).asking(1).gets(0)).collect();
    for read in &late[5..] {
        run.expect(*read).is_answered_within(6);
    }
    reads.extend(late);
    for read in reads {
        run.expect(read).shows(&[written]);
    }
    vec![run]
}
