//! What users ask of the simulator: their own load, merge and checks, and what R and W cost them.

use std::time::Duration;

use bytes::Bytes;
use quorate_simulation::builder::{Disturbance, Wrong};
use quorate_simulation::choices::Stream;
use quorate_simulation::delay::{Delay, Shape};
use quorate_simulation::plan::fault::Fault;
use quorate_simulation::plan::span::Span;
use quorate_simulation::workload::{Answer, Held, Key, Mix, Step};
use quorate_simulation::{Cluster, Report, Workload, run, run_plan};

const EVERY: Duration = Duration::from_secs(1);
const LASTING: Duration = Duration::from_millis(400);

fn busy(r: u8, w: u8) -> Cluster {
    let latency = Delay { shape: Shape::LogNormal, median: Span::from_millis(2) };
    let mix = Mix::default().keys(5).reads_per_mille(700).think(Duration::from_millis(2)).within(LASTING / 4);
    Cluster::of(5).n(3).r(r).w(w).latency(latency).lasting(Duration::from_secs(3)).workload(mix)
}

fn ran<W: Workload>(cluster: Cluster<W>, seed: u64) -> Report<W> {
    cluster.run(seed).expect("a possible cluster")
}

#[test]
fn strict_quorums_never_show_a_stale_read_whatever_the_network_does() {
    for (r, w) in [(2, 2), (1, 3), (3, 1)] {
        for seed in 0..4 {
            let report = ran(busy(r, w).disturb(Disturbance::Partitions, EVERY, LASTING), seed);
            assert_eq!(report.verdict(), Ok(()), "r {r}, w {w}, seed {seed}");
            let staleness = &report.insight.staleness;
            assert!(300 < staleness.reads, "{} reads", staleness.reads);
            assert_eq!(
                (staleness.stale, staleness.missed, staleness.age.count()),
                (0, 0, 0),
                "r {r}, w {w}, seed {seed}"
            );
        }
    }
}

#[test]
fn one_replica_shows_stale_reads_soon_after_a_write_and_few_later() {
    let report = ran(busy(1, 1), 1);
    assert_eq!(report.verdict(), Ok(()));
    let staleness = &report.insight.staleness;
    assert!(0 < staleness.stale && staleness.stale <= staleness.missed, "{staleness:?}");
    assert_eq!(staleness.stale, staleness.age.count());
    let soon = staleness.share_missed(Duration::ZERO, Duration::from_millis(4)).expect("reads soon after writes");
    let later = staleness.share_missed(Duration::from_millis(30), EVERY).expect("reads long after writes");
    assert!(later < soon / 2.0, "{soon} at once, {later} later");
}

#[test]
fn one_replica_answers_where_a_quorum_cannot() {
    let success = |r, w| {
        let report = ran(busy(r, w).disturb(Disturbance::Partitions, EVERY, LASTING), 3);
        let gets = &report.insight.requests[0];
        assert!(gets.during_faults.count() < gets.all.count() && 0 < gets.during_faults.count());
        gets.during_faults.share().expect("reads among faults")
    };
    let (one, all) = (success(1, 1), success(3, 1));
    assert!(all < one, "{all} from three, {one} from one");
}

#[test]
fn concurrent_writes_are_seen_as_siblings() {
    let split = |cluster: Cluster| cluster.disturb(Disturbance::Partitions, EVERY, LASTING);
    let divergence = ran(split(busy(1, 1)), 1).insight.divergence;
    assert!(1 < divergence.siblings_max && 0 < divergence.diverged, "{divergence:?}");
    let alone = ran(busy(1, 1).clients(1), 1).insight.divergence;
    assert!(alone.share() < divergence.share(), "{alone:?} of one client, {divergence:?} of ten");
}

#[test]
fn same_seed_same_answers() {
    let report = |seed| ran(busy(1, 1).disturb(Disturbance::Crashes, EVERY, LASTING), seed);
    let (one, other) = (report(5), report(5));
    assert_eq!((one.outcome.history, &one.insight, &one.plan), (other.outcome.history, &other.insight, &other.plan));
    assert_ne!(one.outcome.history, report(6).outcome.history);
}

#[test]
fn latency_in_virtual_time_is_at_least_two_messages() {
    let constant = busy(1, 1).latency(Delay::constant(Span::from_millis(3)));
    let gets = ran(constant, 1).insight.requests[0].clone();
    assert!(Duration::from_micros(5_900) <= gets.latency.percentile(1), "{:?}", gets.latency.percentile(1));
    assert!(gets.latency.percentile(500) < Duration::from_millis(8), "{:?}", gets.latency.percentile(500));
}

#[test]
fn being_told_changes_nothing_and_knows_the_applications_keys() {
    let untold = ran(busy(1, 1).lasting(EVERY), 1);
    let told = ran(busy(1, 1).lasting(EVERY).told(), 1);
    assert_eq!(told.outcome.history, untold.outcome.history);
    let story = told.outcome.story.expect("it was asked for");
    assert!(story.keys.iter().any(|name| name.contains("application")), "{:?}", story.keys);
}

#[test]
fn nobody_pays_for_an_insight_that_nobody_asked_for() {
    assert_eq!(run(7).insight, None);
}

#[test]
fn impossible_clusters_are_refused() {
    let problem = |cluster: Cluster| cluster.run(1).expect_err("impossible").to_string();
    assert!(problem(Cluster::of(2)).contains("nodes"), "fewer than N");
    assert!(problem(Cluster::of(5).r(4)).contains("r = 4"), "{}", problem(Cluster::of(5).r(4)));
    assert!(problem(Cluster::of(5).clients(0)).contains("clients"));
    let fault = Cluster::of(5).fault(EVERY, LASTING, Fault::Pause { node: 6 });
    assert!(problem(fault).contains("node 6"));
}

/// Each client adds letters of its own to one shared set.
#[derive(Default)]
struct Letters {
    steps: [usize; 3],
    added: Vec<u8>,
    pending: [Option<u8>; 3],
    merges_of_several: usize,
    keeps_first: bool,
}

impl Letters {
    fn union<'a>(siblings: impl Iterator<Item = &'a Bytes>) -> Vec<u8> {
        let mut letters: Vec<u8> = siblings.flatten().copied().collect();
        letters.sort_unstable();
        letters.dedup();
        letters
    }
}

impl Workload for Letters {
    fn next(&mut self, client: usize, now: Duration, draw: &mut Stream) -> Option<Step> {
        assert!(now < EVERY, "not asked after its time");
        self.steps[client] += 1;
        let pause = Duration::from_micros(draw.choose("pause", 0..=4_000));
        (self.steps[client] <= 20).then(|| Step::update(&Key::new("letters").expect("short")).after(pause))
    }

    fn merge(&mut self, client: usize, _key: &Key, siblings: &[Bytes], _draw: &mut Stream) -> Option<Bytes> {
        self.merges_of_several += usize::from(1 < siblings.len());
        let taken = if self.keeps_first { 1 } else { siblings.len() };
        let mut letters = Self::union(siblings.iter().take(taken));
        let letter = u8::try_from(client * 20 + self.steps[client]).expect("few");
        self.pending[client] = Some(letter);
        letters.push(letter);
        Some(Bytes::from(letters))
    }

    fn answered(&mut self, client: usize, _key: &Key, answer: &Answer<'_>) {
        if let Answer::Stored { .. } = answer {
            self.added.extend(self.pending[client].take());
        }
    }

    fn check(&mut self, held: &Held) -> Result<(), String> {
        let letters = Self::union(held.values().flatten());
        let lost: Vec<&u8> = self.added.iter().filter(|letter| !letters.contains(letter)).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("{} letters are lost", lost.len())) }
    }
}

fn letters(keeps_first: bool) -> Cluster<Letters> {
    let workload = Letters { keeps_first, ..Letters::default() };
    Cluster::of(5).r(1).w(1).clients(3).lasting(EVERY).workload(workload)
}

#[test]
fn a_users_merge_is_applied_and_loses_nothing() {
    for seed in 0..5 {
        let report = ran(letters(false), seed);
        assert_eq!(report.verdict(), Ok(()));
        assert!(0 < report.workload.merges_of_several, "siblings were there to merge");
        assert_eq!(report.workload.added.len(), 60, "nothing was in the way");
    }
}

#[test]
fn a_bad_merge_is_caught_by_the_users_own_check() {
    let wrong = ran(letters(true), 1).verdict();
    assert!(matches!(&wrong, Err(Wrong::Objection(what)) if what.contains("lost")), "{wrong:?}");
}

/// Writes and deletes by turns, and reads.
#[derive(Default)]
struct WritesAndDeletes {
    step: u32,
    shown: Vec<Vec<Bytes>>,
}

impl Workload for WritesAndDeletes {
    fn next(&mut self, _client: usize, _now: Duration, _draw: &mut Stream) -> Option<Step> {
        let key = Key::new("a").expect("short");
        self.step += 1;
        match self.step {
            1 => Some(Step::put(&key, "one").w(3)),
            2 => Some(Step::put(&key, "two")),
            3 => Some(Step::put_blind(&key, "three")),
            4 | 6 => Some(Step::get(&key).r(3)),
            5 => Some(Step::delete(&key).within(Duration::from_secs(2))),
            _ => None,
        }
    }

    fn answered(&mut self, _client: usize, _key: &Key, answer: &Answer<'_>) {
        match answer {
            Answer::Found { siblings } => self.shown.push(siblings.to_vec()),
            Answer::Stored { .. } => {}
            Answer::Failed(error) => panic!("{error}"),
        }
    }

    fn check(&mut self, held: &Held) -> Result<(), String> {
        if held.values().all(Vec::is_empty) { Ok(()) } else { Err(format!("{held:?}")) }
    }
}

#[test]
fn puts_with_context_replace_blind_ones_stand_beside_and_deletes_take_both() {
    let report = ran(Cluster::of(3).clients(1).workload(WritesAndDeletes::default()), 1);
    assert_eq!(report.verdict(), Ok(()));
    assert_eq!(report.workload.shown.len(), 2);
    let mut found = report.workload.shown[0].clone();
    found.sort_unstable();
    assert_eq!(found, ["three", "two"]);
    assert!(report.workload.shown[1].is_empty());
}

#[test]
fn a_recording_of_the_plan_alone_cannot_stand_for_a_workload() {
    let report = ran(busy(2, 2).lasting(LASTING), 1);
    let choices = quorate_simulation::choices::Choices::new(1);
    let idle = run_plan(report.plan, choices, quorate_simulation::Trace::Off);
    assert_eq!(idle.violation, None);
    assert!(idle.events < report.outcome.events, "the plan says what cluster it was, and not what its clients did");
}
