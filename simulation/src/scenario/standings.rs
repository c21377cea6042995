//! What nodes think of each other while links are broken in ways that are no failure of anybody.

use super::script::Scenario;
use super::{Body, Named};
use crate::engine::Outcome;
use crate::plan::fault::Fault;
use crate::sometimes::Sometimes;

pub(super) const ALL: &[Named] = &[Named {
    name: "asymmetric-membership",
    line: "one-way and non-transitive cuts make no node flap, clients are served, and a node that is deaf is found to be down once",
    source: "SWIM under asymmetric partitions",
    body: Body::Built {
        rule: "others probe in one's stead, and a deaf node keeps its opinions to itself: `send_to` in node/src/membership/mod.rs \
               sending whatever it is asked to. Nodes that live are taken to be down by those that hear them",
        runs: asymmetric,
        together: steady,
    },
}];

/// From when to when links are broken: some twenty periods of the detector.
const FROM: u64 = 1_000;
const UNTIL: u64 = 7_000;

/// Writes and reads in turn by two clients at two nodes that are served.
fn served(run: &mut Scenario, at: [u32; 2]) {
    let first = run.at(60).client(0).asking(at[0]).puts(0);
    run.expect(first).is_stored_leaving(1);
    for turn in 0..12 {
        let (client, from) = ((turn % 2) as usize, FROM + 300 + 450 * turn);
        let read = run.at(from).client(client).asking(at[client]).sloppily().gets(0);
        let written = run.at(from + 200).client(client).asking(at[client]).sloppily().puts(0);
        for step in [read, written] {
            run.expect(step).is_answered_within(300);
        }
        run.expect(written).is_stored_leaving(1);
    }
    run.until(UNTIL + 2_000);
}

fn asymmetric() -> Vec<Scenario> {
    let mut one_way = Scenario::of(5).founded_by(5).over_datagrams();
    one_way.between(FROM, UNTIL, Fault::OneWay { blocked: vec![[1, 2], [3, 1], [4, 5]] });
    served(&mut one_way, [2, 3]);

    // Each node reaches its two neighbours on a ring, and no other: all are majorities, and no two the same.
    let mut ring = Scenario::of(5).founded_by(5);
    ring.between(FROM, UNTIL, Fault::Cut { links: vec![[1, 3], [1, 4], [2, 4], [2, 5], [3, 5]] });
    served(&mut ring, [2, 3]);

    let mut deaf = Scenario::of(5).founded_by(5).over_datagrams();
    deaf.between(FROM, UNTIL, Fault::OneWay { blocked: (2..=5).map(|node| [node, 1]).collect() });
    served(&mut deaf, [2, 3]);
    vec![one_way, ring, deaf]
}

fn steady(outcomes: &[Outcome]) -> Result<(), String> {
    let counts = |outcome: &Outcome, what: Sometimes| outcome.tallies.count(what);
    let verdicts = |outcome: &Outcome| (counts(outcome, Sometimes::NodeDown), counts(outcome, Sometimes::NodeBack));
    let [one_way, ring, deaf] = outcomes else { return Err("there are three runs".to_owned()) };
    for (name, outcome) in [("one-way cuts", one_way), ("a ring of majorities", ring)] {
        let (down, back) = verdicts(outcome);
        if (down, back) != (0, 0) {
            return Err(format!("under {name} nodes were taken to be down {down} times, and came back {back} times"));
        }
    }
    // Each of the other four finds the deaf node, and that one may think the same of each of them; all come back once.
    match verdicts(deaf) {
        (down, back) if (4..=8).contains(&down) && back == down => Ok(()),
        (down, back) => Err(format!("beside a deaf node, {down} verdicts and {back} returns")),
    }
}
