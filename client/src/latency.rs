//! How fast each node has answered lately, from which a client knows whom to ask last and when to ask another as well.
//!
//! A node that is slow and not dead (a *gray* node) would raise the latency of every request that it coordinates. Dean and Barroso: "The
//! Tail at Scale" (CACM 2013) hedge after a high percentile within a budget; Suresh et al.: "C3" (NSDI 2015) rank replicas by what
//! clients see of them. Only single requests are measured: a batch takes as long as it is large.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::NodeId;

use crate::Time;

/// A node is slow when its requests take this many times as long as the fastest one's,
const SLOW_TIMES: u32 = 4;
/// and this much longer.
const SLOW_MORE: Duration = Duration::from_millis(5);
/// What nobody has measured yet is taken to take.
const UNKNOWN: Duration = Duration::from_millis(5);
/// How long a measurement counts. After it a node is taken for as good as any other, and is measured again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// Weight of the past against one measurement.
const PAST: u32 = 7;
/// One measurement counts at most as this many times the mean: a single pause does not make a node slow.
const OUTLIER_TIMES: u32 = 8;
/// After this another node is asked as well where nothing is known of the first.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(50);
/// A read is never asked of another node sooner.
const HEDGE_MIN: Duration = Duration::from_millis(5);
/// Reads that pay for one hedge: at most one read in so many is asked twice, so that a slow cluster is not asked twice for everything.
const READS_PER_HEDGE: u32 = 10;
/// Hedges that may be made at once after a quiet time.
const HEDGES_MAX: u32 = 16;

/// What is known of one node.
#[derive(Clone, Copy, Debug)]
struct Latency {
    /// Of the requests it answered, or did not answer in time.
    mean: Duration,
    /// About the 95th percentile of the same, estimated by steps ("frugal streaming", Ma, Muthukrishnan and Sandler, 2013).
    high: Duration,
    /// When that was last measured.
    measured: Option<Time>,
    /// When the first request was sent to it that was followed by no answer yet.
    asked_since: Option<Time>,
}

impl Latency {
    const UNMEASURED: Self = Self { mean: UNKNOWN, high: UNKNOWN, measured: None, asked_since: None };

    fn is_fresh(&self, now: Time) -> bool {
        self.measured.is_some_and(|measured| now <= measured + FORGOTTEN_AFTER)
    }

    fn measure(&mut self, now: Time, took: Duration) {
        if !self.is_fresh(now) {
            (self.mean, self.high) = (took, took * 2);
        } else {
            self.mean = (self.mean * PAST + took.min(self.mean * OUTLIER_TIMES)) / (PAST + 1);
            // Up by nineteen parts and down by one: at rest where one measurement in twenty is larger.
            let step = self.mean / 40;
            self.high = if self.high < took { self.high + step * 19 } else { self.high.saturating_sub(step) };
        }
        self.measured = Some(now);
    }

    /// Whether it takes clearly longer than a node that takes `best`, or has been silent for as long.
    fn is_slow(&self, best: Duration, now: Time) -> bool {
        let bound = best * SLOW_TIMES + SLOW_MORE;
        let silent = |since: Time| since + bound < now && now <= since + FORGOTTEN_AFTER;
        (self.is_fresh(now) && bound < self.mean) || self.asked_since.is_some_and(silent)
    }
}

/// What is known of all nodes, and how many reads may be asked twice.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    nodes: BTreeMap<NodeId, Latency>,
    /// In parts of a hedge: each read adds one, each hedge costs [`READS_PER_HEDGE`].
    budget: u32,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), budget: HEDGES_MAX * READS_PER_HEDGE }
    }
}

impl Latencies {
    pub(crate) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.nodes.retain(|node, _| keep(*node));
    }

    /// A request is sent to a node.
    pub(crate) fn note_asked(&mut self, node: NodeId, now: Time) {
        let latency = self.nodes.entry(node).or_insert(Latency::UNMEASURED);
        if latency.asked_since.is_none_or(|since| since + FORGOTTEN_AFTER < now) {
            latency.asked_since = Some(now);
        }
    }

    /// A node has answered after so long.
    pub(crate) fn note_answered(&mut self, node: NodeId, now: Time, took: Duration) {
        let latency = self.nodes.entry(node).or_insert(Latency::UNMEASURED);
        latency.asked_since = None;
        latency.measure(now, took);
    }

    /// A node has answered, but did nothing for it.
    pub(crate) fn note_refused(&mut self, node: NodeId) {
        if let Some(latency) = self.nodes.get_mut(&node) {
            latency.asked_since = None;
        }
    }

    /// A node has not answered for so long, and nobody waits for it any more.
    ///
    /// It takes at least that; where it usually takes longer, that says nothing.
    pub(crate) fn note_unanswered(&mut self, node: NodeId, now: Time, waited: Duration) {
        let latency = self.nodes.entry(node).or_insert(Latency::UNMEASURED);
        if !latency.is_fresh(now) || latency.mean < waited {
            latency.measure(now, waited);
        }
    }

    /// Which of these take clearly longer than the fastest of them.
    pub(crate) fn slow(&self, nodes: &[NodeId], now: Time) -> Vec<NodeId> {
        let known = || nodes.iter().filter_map(|node| Some((*node, self.nodes.get(node)?)));
        let means = known().filter(|(_, latency)| latency.is_fresh(now)).map(|(_, latency)| latency.mean);
        let best = means.min().unwrap_or(UNKNOWN);
        known().filter(|(_, latency)| latency.is_slow(best, now)).map(|(node, _)| node).collect()
    }

    /// How long a read waits for this node before another is asked as well: about as long as it takes at most, or, where it is slow and
    /// asked to see whether it still is, as the fastest of those that might have been asked does.
    pub(crate) fn hedge_after(&self, node: NodeId, others: impl FnOnce() -> Vec<NodeId>, now: Time) -> Duration {
        let Some(own) = self.nodes.get(&node).filter(|latency| latency.is_fresh(now)) else { return HEDGE_UNKNOWN };
        let high = if SLOW_MORE < own.mean {
            let others = others();
            let fresh = others.iter().filter_map(|node| self.nodes.get(node)).filter(|latency| latency.is_fresh(now));
            let best = fresh.min_by_key(|latency| latency.mean).unwrap_or(own);
            if own.is_slow(best.mean, now) { best.high } else { own.high }
        } else {
            own.high
        };
        (high * 2).max(HEDGE_MIN)
    }

    /// Whether the budget has a hedge left.
    pub(crate) fn may_hedge(&self) -> bool {
        READS_PER_HEDGE <= self.budget
    }

    pub(crate) fn note_hedged(&mut self) {
        self.budget = self.budget.saturating_sub(READS_PER_HEDGE);
    }

    pub(crate) fn note_read(&mut self) {
        self.budget = (self.budget + 1).min(HEDGES_MAX * READS_PER_HEDGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::node;

    const MILLI: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    /// Two nodes that answer in a millisecond, and one that takes this long.
    fn with_one_of(took: Duration) -> Latencies {
        let mut latencies = Latencies::default();
        for millis in 0..40 {
            latencies.note_answered(node(1), at(millis), MILLI);
            latencies.note_answered(node(2), at(millis), MILLI);
            latencies.note_answered(node(3), at(millis), took);
        }
        latencies
    }

    fn slow(latencies: &Latencies, now: Time) -> Vec<NodeId> {
        latencies.slow(&[node(1), node(2), node(3)], now)
    }

    #[test]
    fn only_what_takes_clearly_longer_is_slow_and_is_forgotten_in_time() {
        assert_eq!(slow(&with_one_of(MILLI * 3), at(40)), []);
        let latencies = with_one_of(MILLI * 50);
        assert_eq!(slow(&latencies, at(40)), [node(3)]);
        assert_eq!(slow(&latencies, at(11_000)), []);
    }

    #[test]
    fn one_long_pause_makes_no_node_slow() {
        let mut latencies = with_one_of(MILLI);
        latencies.note_answered(node(3), at(41), MILLI * 1000);
        assert_eq!(slow(&latencies, at(41)), []);
    }

    #[test]
    fn a_node_is_slow_while_it_is_silent_for_longer_than_others_take() {
        let mut latencies = with_one_of(MILLI);
        latencies.note_asked(node(3), at(50));
        assert_eq!(slow(&latencies, at(52)), []);
        assert_eq!(slow(&latencies, at(70)), [node(3)]);
        latencies.note_answered(node(3), at(71), MILLI * 21);
        assert_eq!(slow(&latencies, at(72)), []);
    }

    #[test]
    fn another_is_asked_after_the_nodes_own_high_percentile() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.hedge_after(node(1), Vec::new, at(0)), HEDGE_UNKNOWN);
        for millis in 0..4000 {
            latencies.note_answered(node(1), at(millis), if millis % 10 == 0 { MILLI * 20 } else { MILLI * 4 });
        }
        // One in ten takes 20 ms, so the 95th percentile is that.
        let after = latencies.hedge_after(node(1), Vec::new, at(4000));
        assert!(MILLI * 30 < after && after < MILLI * 50, "{after:?}");
    }

    #[test]
    fn nobody_waits_long_for_a_node_that_is_known_to_be_slow() {
        let mut latencies = with_one_of(MILLI * 90);
        let after = |latencies: &Latencies, number, others: [u32; 2]| {
            latencies.hedge_after(node(number), || others.map(node).into(), at(40))
        };
        let [fast, hedged] = [1, 3].map(|number| after(&latencies, number, [1, 2]));
        assert!(fast == hedged && hedged < MILLI * 10, "{hedged:?}");
        assert!(MILLI * 90 < after(&latencies, 3, [3, 3]), "where all are as slow it is no slow one");
        for _ in 0..100 {
            latencies.note_unanswered(node(3), at(40), hedged);
        }
        assert_eq!(slow(&latencies, at(40)), [node(3)], "that another was faster makes it no faster");
    }

    #[test]
    fn at_most_one_read_in_ten_is_asked_twice_after_a_burst() {
        let mut latencies = Latencies::default();
        let mut hedged = 0;
        for _ in 0..1000 {
            latencies.note_read();
            if latencies.may_hedge() {
                latencies.note_hedged();
                hedged += 1;
            }
        }
        // The first read finds the budget full.
        assert_eq!(hedged, HEDGES_MAX + (1000 - 1) / READS_PER_HEDGE);
    }
}
