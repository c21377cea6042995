//! What clients do and are told: retries, lost replies, forged contexts, clocks that nobody should have to trust.

use std::collections::BTreeMap;

use super::script::Scenario;
use super::{Body, Named};
use crate::engine::Outcome;
use crate::engine::watch::{Answer, StepId};
use crate::plan::fault::Fault;
use crate::plan::load::Forgery;

pub(super) const ALL: &[Named] = &[
    Named::built(
        "retried-write",
        "a client whose answer was lost does not write twice: it says that it does not know",
        "jetcd 0.8.2",
        "a write of unknown outcome is not tried again: \"lost-write-tried-again\". O2: a write was made an event twice",
        retried_write,
    ),
    Named::built(
        "forged-contexts",
        "contexts that are cut, bent, of another key or made up are refused, and replace nothing",
        "B1",
        "a context is authenticated, for its key: \"context-not-verified\" and \"context-of-another-key\". \
         O11: a context that no node made was accepted",
        forged_contexts,
    ),
    Named {
        name: "wall-clocks-do-not-matter",
        line: "wall clocks jump by an hour either way: the run is the same to the byte, where last-write-wins loses a write",
        source: "Jepsen on Riak; scylladb#7082",
        body: Body::Built {
            rule: "the core is told a time that does not jump: `LocalClock::jump` moving the monotonic clock too. \
                   A write ends as unknown",
            runs: wall_clocks_do_not_matter,
            together: wall_clocks_do_not_matter_together,
        },
    },
];

fn retried_write() -> Vec<Scenario> {
    let mut lost = Scenario::of(3);
    lost.between(55, 300, Fault::LoseReplies { client: 0, node: 1 });
    let written = lost.at(60).client(0).asking(1).within(100).puts(0);
    let read = lost.at(400).client(1).gets(0);
    lost.expect(written).is_unknown("did not answer in time");
    lost.expect(read).shows(&[written]);

    // The request arrives at 61; its answer would leave at 64.
    let mut broken = Scenario::of(3);
    broken.between(62, 63, Fault::ResetClient { client: 0, node: 1 });
    let written = broken.at(60).client(0).asking(1).puts(0);
    let read = broken.at(400).client(1).gets(0);
    broken.expect(written).is_unknown("lost before it answered");
    broken.expect(read).shows(&[written]);
    vec![lost, broken]
}

fn forged_contexts() -> Vec<Scenario> {
    let mut run = Scenario::of(3);
    let written = run.at(50).client(0).puts(0);
    run.at(60).client(0).puts(1);
    for how in [Forgery::MadeUp, Forgery::Bent, Forgery::OfAnotherKey, Forgery::Cut] {
        let forged = run.at(100).client(0).forges(0, how);
        run.expect(forged).is_refused("context");
    }
    let read = run.at(200).client(1).gets(0);
    run.expect(read).shows(&[written]);
    vec![run]
}

/// By how much each node's wall clock is ahead when it coordinates, in the run where they jump.
const AHEAD_MILLIS: [i64; 3] = [3_600_000, 0, -3_600_000];

fn wall_clocks_do_not_matter() -> Vec<Scenario> {
    [[0; 3], AHEAD_MILLIS].map(with_clocks).into()
}

fn with_clocks(ahead: [i64; 3]) -> Scenario {
    let mut run = Scenario::of(3);
    for (node, jump_millis) in (1..).zip(ahead) {
        run.between(60, 2_000, Fault::Clock { node, jump_millis, drift_ppm: 0 });
    }
    // While the second write is under way.
    run.between(202, 2_000, Fault::Clock { node: 2, jump_millis: ahead[0], drift_ppm: 0 });
    let one = run.at(100).client(0).asking(1).puts(0);
    let two = run.at(200).client(0).asking(2).puts(0);
    let three = run.at(300).client(1).asking(3).puts(0);
    let read = run.at(400).client(1).gets(0);
    run.expect(one).is_stored_leaving(1);
    run.expect(two).is_stored_leaving(1);
    run.expect(three).is_stored_leaving(2);
    run.expect(read).shows(&[two, three]);
    run
}

fn wall_clocks_do_not_matter_together(outcomes: &[Outcome]) -> Result<(), String> {
    let [calm, jumping] = outcomes else { return Err("two runs".to_owned()) };
    if calm.history != jumping.history {
        return Err(format!("the histories differ: {:016x} and {:016x}", calm.history, jumping.history));
    }
    let steps = [(0, 0), (0, 1), (1, 0)].map(|(client, step)| StepId { client, step });
    match last_write_wins(jumping, &steps) {
        Some(kept) if kept == steps[0] => Ok(()),
        kept => Err(format!("last-write-wins was to keep the oldest write and lose two, and kept {kept:?}")),
    }
}

/// Which of these acknowledged writes, each at the node of its place in the list, a store would be left with that keeps the value
/// with the latest wall clock time of its coordinator.
fn last_write_wins(outcome: &Outcome, writes: &[StepId; 3]) -> Option<StepId> {
    let mut kept = BTreeMap::new();
    for (step, ahead) in writes.iter().zip(AHEAD_MILLIS) {
        let told = outcome.watched.told(*step).filter(|told| matches!(told.answer, Answer::Stored(_)))?;
        kept.insert(i64::try_from(told.asked.as_micros()).ok()? + ahead * 1_000, *step);
    }
    kept.into_values().next_back()
}
