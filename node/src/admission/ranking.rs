//! Which replicas a read asks: those that are expected to answer first.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_ring::NodeId;

use super::latency::Latency;
use crate::Time;
use crate::limits::{HEDGE_DELAY, HEDGE_DELAY_MAX, HEDGE_DELAY_MIN, OVERLOAD_PAUSE, PROBE_INTERVAL, PROBE_SLOWER};

/// What a shard knows of how quickly each node answers its reads, its own replica among them. At most one entry for each member.
///
/// The rank follows C3: what a read has to wait for at a peer is its usual latency, and grows with the *cube* of the questions that
/// are open there. The cube lets a peer that is twice as quick have more open, but not many more, so that a quick peer is not flooded by all at
/// once. C3 has each answer carry the length of the peer's queue; here only one's own open questions count, which costs nothing on the
/// wire and sees a peer that answers nothing at all.
///
/// Of a peer that nobody has asked yet the best is expected: so it is asked soon. A peer that was slow and is not asked any more would
/// never be known to be quick again: so from time to time a read asks it *besides* ([`Self::is_due_for_probe`]), which nobody waits for.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    known: BTreeMap<NodeId, Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    latency: Latency,
    open: u32,
    asked_at: Time,
    /// Until when it is passed over, because it said to be overloaded.
    overloaded_until: Time,
}

/// A place in the order in which nodes are asked: the lower the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// What goes before all latencies.
    pub class: Class,
    /// What is to be expected, in microseconds that grow with what is open.
    pub score: u64,
    /// After how long another is asked in its place.
    pub patience: Duration,
}

/// What goes before all latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The node itself, while its own queue is short.
    Own,
    /// One that can be expected to answer.
    Usual,
    /// One that stands in: only when all of the others are asked.
    StandIn,
    /// One that said a moment ago that it has too much to do.
    Overloaded,
    /// One that others could not reach, and that has not been heard here since.
    Suspected,
    /// One that is silent on everything, or down by the verdict of others.
    Away,
}

impl Peers {
    /// A node is asked.
    pub fn handle_asked(&mut self, now: Time, node: NodeId) {
        let known = self.known.entry(node).or_default();
        known.open += 1;
        known.asked_at = now;
    }

    /// A node answered a question that it was asked then.
    pub fn handle_answered(&mut self, now: Time, node: NodeId, asked_at: Time) {
        self.settle(node).latency.record(now.since(asked_at));
    }

    /// A node answered something whose time says nothing about others: a page, or an error.
    pub fn handle_settled(&mut self, node: NodeId) {
        self.settle(node);
    }

    /// A node said that it has too much to do. That it said so quickly is not to its credit.
    pub fn handle_overloaded(&mut self, now: Time, node: NodeId) {
        self.known.entry(node).or_default().overloaded_until = now + OVERLOAD_PAUSE;
    }

    /// An answer to what a node was asked then is not waited for any more.
    pub fn handle_given_up(&mut self, now: Time, node: NodeId, asked_at: Time) {
        self.settle(node).latency.record_at_least(now.since(asked_at));
    }

    fn settle(&mut self, node: NodeId) -> &mut Known {
        let known = self.known.entry(node).or_default();
        known.open = known.open.saturating_sub(1);
        known
    }

    /// There is another connection to a node, or another process: what was known of the last does not hold.
    pub fn forget(&mut self, node: NodeId) {
        self.known.remove(&node);
    }

    /// Questions that wait for a node's answer.
    pub fn open(&self, node: NodeId) -> u32 {
        self.known.get(&node).map_or(0, |known| known.open)
    }

    /// Whether a node said a moment ago that it has too much to do.
    pub fn is_overloaded(&self, now: Time, node: NodeId) -> bool {
        self.known.get(&node).is_some_and(|known| now < known.overloaded_until)
    }

    /// What is to be expected of a node.
    pub fn score(&self, node: NodeId) -> u64 {
        let Some(known) = self.known.get(&node) else { return 1 };
        let open = u64::from(known.open) + 1;
        known.latency.mean_micros().max(1).saturating_mul(open.saturating_mul(open).saturating_mul(open))
    }

    /// After how long without an answer of a node another is asked in its place: its own high percentile, within bounds.
    pub fn hedge_delay(&self, node: NodeId) -> Duration {
        let high = self.known.get(&node).and_then(|known| known.latency.high());
        high.map_or(HEDGE_DELAY, |high| high.clamp(HEDGE_DELAY_MIN, HEDGE_DELAY_MAX))
    }

    /// Those that a read left out and that were much slower than the slowest of those asked.
    pub fn much_slower(
        &self,
        asked: &[NodeId],
        left_out: impl Iterator<Item = NodeId>,
    ) -> impl Iterator<Item = NodeId> {
        let mean = |node: &NodeId| self.known.get(node).map_or(0, |known| known.latency.mean_micros());
        let slowest = asked.iter().map(mean).max().unwrap_or_default().max(1);
        left_out.filter(move |node| slowest.saturating_mul(PROBE_SLOWER) <= mean(node))
    }

    /// Whether a node that is left out is to be asked besides, because it may be quick again: it was not asked for a while.
    pub fn is_due_for_probe(&self, now: Time, node: NodeId) -> bool {
        self.known.get(&node).is_some_and(|known| known.open == 0 && known.asked_at + PROBE_INTERVAL <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    /// A node that took so many milliseconds, many times.
    fn took(peers: &mut Peers, number: u32, millis: u64) {
        for _ in 0..64 {
            peers.handle_asked(at(0), node(number));
            peers.handle_answered(at(millis), node(number), at(0));
        }
    }

    #[test]
    fn the_quicker_comes_first_until_it_has_too_much_open() {
        let mut peers = Peers::default();
        took(&mut peers, 1, 1);
        took(&mut peers, 2, 2);
        assert!(peers.score(node(3)) < peers.score(node(1)), "the best is expected of one that is not known");
        assert!(peers.score(node(1)) < peers.score(node(2)));
        peers.handle_asked(at(5), node(1));
        assert!(peers.score(node(2)) < peers.score(node(1)), "eight times as long with one open");
        peers.handle_settled(node(1));
        assert!(peers.score(node(1)) < peers.score(node(2)));
    }

    #[test]
    fn a_node_that_answers_nothing_is_slower_the_longer_it_is_waited_for() {
        let mut peers = Peers::default();
        took(&mut peers, 1, 1);
        let before = peers.score(node(1));
        peers.handle_asked(at(0), node(1));
        peers.handle_given_up(at(250), node(1), at(0));
        assert!(before * 20 < peers.score(node(1)));
        peers.forget(node(1));
        assert_eq!(peers.score(node(1)), 1);
    }

    #[test]
    fn a_hedge_waits_as_long_as_the_node_usually_takes_within_bounds() {
        let mut peers = Peers::default();
        assert_eq!(peers.hedge_delay(node(1)), HEDGE_DELAY);
        for (number, millis, delay) in [(1, 0, HEDGE_DELAY_MIN), (3, 100_000, HEDGE_DELAY_MAX)] {
            took(&mut peers, number, millis);
            assert_eq!(peers.hedge_delay(node(number)), delay);
        }
        took(&mut peers, 2, 4);
        assert!((4_000..=5_000).contains(&peers.hedge_delay(node(2)).as_micros()));
    }

    #[test]
    fn a_slow_node_that_was_left_out_for_a_while_is_asked_once_besides() {
        let mut peers = Peers::default();
        took(&mut peers, 1, 1);
        took(&mut peers, 2, 50);
        took(&mut peers, 3, 1);
        let due = |peers: &Peers, now| {
            let asked = [node(1)];
            let mut slow = peers.much_slower(&asked, [node(3), node(2)].into_iter());
            slow.find(|slow| peers.is_due_for_probe(now, *slow))
        };
        let later = at(0) + PROBE_INTERVAL;
        assert_eq!((due(&peers, at(50)), due(&peers, later)), (None, Some(node(2))));
        peers.handle_asked(later, node(2));
        assert_eq!(due(&peers, later + PROBE_INTERVAL), None, "it is being asked");
    }

    #[test]
    fn who_is_overloaded_is_passed_over_for_a_moment() {
        let mut peers = Peers::default();
        peers.handle_overloaded(at(0), node(1));
        assert!(peers.is_overloaded(at(0), node(1)) && !peers.is_overloaded(at(0) + OVERLOAD_PAUSE, node(1)));
        assert!(!peers.is_overloaded(at(0), node(2)));
    }
}
