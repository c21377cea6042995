//! Whom a read waits for, since when, and when another is asked in the place of each.

use std::time::Duration;

use quorate_ring::NodeId;

use crate::Time;
use crate::limits::HEDGE_DELAY;

/// The open questions of a read.
///
/// ```text
///                     its time is over, and the budget allows           answered, or given up
/// (none) ──asked──▶ Open ───────────────────────────────▶ Replaced ──────────────────────────▶ (none)
///                    │ ▲                                                                            ▲
///                    │ └─the budget does not: later                                                 │
///                    └──────────────────────────────────answered, or given up───────────────────────┘
/// ```
///
/// One that was replaced is waited for still: whoever answers first counts.
#[derive(Clone, Debug)]
pub struct Asking {
    begun: Time,
    urgent_at: Time,
    open: Vec<Open>,
    /// When the shard has a timer set for it.
    pub timer: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    node: NodeId,
    asked_at: Time,
    /// When another is asked in its place; `None` when one was.
    replace_at: Option<Time>,
}

impl Asking {
    /// Of a read that begins now and has asked nobody.
    pub fn new(begun: Time, deadline: Time) -> Self {
        let urgent_at = begun + deadline.since(begun) / 4 * 3;
        Self { begun, urgent_at, open: Vec::new(), timer: None }
    }

    /// When the read began.
    pub const fn begun(&self) -> Time {
        self.begun
    }

    /// A node is asked; another is, if it does not answer for so long.
    pub fn handle_asked(&mut self, now: Time, node: NodeId, delay: Duration) {
        self.open.push(Open { node, asked_at: now, replace_at: Some(now + delay) });
    }

    /// A node is asked besides: nobody is asked in its place.
    pub fn handle_probed(&mut self, now: Time, node: NodeId) {
        self.open.push(Open { node, asked_at: now, replace_at: None });
    }

    /// Who is waited for.
    pub fn open(&self) -> impl Iterator<Item = NodeId> {
        self.open.iter().map(|open| open.node)
    }

    /// How many are waited for and are not late, or late and not replaced yet.
    pub fn hopeful(&self) -> usize {
        self.open.iter().filter(|open| open.replace_at.is_some()).count()
    }

    /// A node has answered, or will not: gives when it was asked. `None` if nothing of it is open.
    pub fn settle(&mut self, node: NodeId) -> Option<Time> {
        let place = self.open.iter().position(|open| open.node == node)?;
        Some(self.open.remove(place).asked_at)
    }

    /// Nothing is waited for any more: gives who was, and since when.
    pub fn settle_all(&mut self) -> Vec<(NodeId, Time)> {
        self.open.drain(..).map(|open| (open.node, open.asked_at)).collect()
    }

    /// Those in whose place another is to be asked by now.
    pub fn late(&self, now: Time) -> impl Iterator<Item = NodeId> {
        self.open.iter().filter(move |open| open.is_late(now)).map(|open| open.node)
    }

    /// So many of those that are late are replaced now. The others are tried again, later and later: at the latest when the read is
    /// urgent.
    pub fn handle_replaced(&mut self, now: Time, replaced: usize) {
        let left = self.urgent_at.since(now);
        let later = now + if left.is_zero() { HEDGE_DELAY } else { HEDGE_DELAY.max(left / 4).min(left) };
        for (place, open) in self.open.iter_mut().filter(|open| open.is_late(now)).enumerate() {
            open.replace_at = (replaced <= place).then_some(later);
        }
    }

    /// A node is silent on everything: another is to be asked in its place now, if none was.
    pub fn hurry(&mut self, now: Time, node: NodeId) {
        for open in self.open.iter_mut().filter(|open| open.node == node) {
            open.replace_at = open.replace_at.map(|at| at.min(now));
        }
    }

    /// Whether so little is left of its time that no budget counts: the last quarter.
    pub fn is_urgent(&self, now: Time) -> bool {
        self.urgent_at <= now
    }

    /// When the next one is late.
    pub fn next(&self) -> Option<Time> {
        self.open.iter().filter_map(|open| open.replace_at).min()
    }
}

impl Open {
    fn is_late(&self, now: Time) -> bool {
        self.replace_at.is_some_and(|at| at <= now)
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

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A read of a second that has asked nodes 1 and 2, which usually take 3 and 5 ms.
    fn asking() -> Asking {
        let mut asking = Asking::new(at(0), at(1_000));
        asking.handle_asked(at(0), node(1), millis(3));
        asking.handle_asked(at(0), node(2), millis(5));
        asking
    }

    #[test]
    fn each_is_replaced_once_when_its_time_is_over() {
        let mut asking = asking();
        assert_eq!((asking.next(), asking.late(at(2)).count()), (Some(at(3)), 0));
        assert!(asking.late(at(3)).eq([node(1)]));
        asking.handle_replaced(at(3), 1);
        assert_eq!((asking.next(), asking.late(at(4)).count()), (Some(at(5)), 0));
        assert_eq!((asking.settle(node(2)), asking.settle(node(2))), (Some(at(0)), None));
        assert_eq!((asking.next(), asking.settle_all()), (None, vec![(node(1), at(0))]));
    }

    #[test]
    fn one_that_the_budget_leaves_is_tried_again_until_it_is_urgent() {
        let mut asking = asking();
        asking.settle(node(2));
        let (mut now, mut tries) = (at(3), 0);
        while !asking.is_urgent(now) {
            asking.handle_replaced(now, 0);
            (now, tries) = (asking.next().expect("it is tried again"), tries + 1);
            assert!(asking.late(now).eq([node(1)]));
        }
        assert_eq!(now, at(750));
        assert!((5..20).contains(&tries), "{tries}");
    }

    #[test]
    fn in_the_place_of_who_is_silent_another_is_asked_at_once_and_once() {
        let mut asking = asking();
        asking.hurry(at(1), node(2));
        assert!(asking.late(at(1)).eq([node(2)]));
        asking.handle_replaced(at(1), 1);
        asking.hurry(at(1), node(2));
        assert_eq!(asking.late(at(1)).count(), 0);
    }
}
