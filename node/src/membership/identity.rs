//! Who takes part in SWIM: a node, in one of its lives, under one of the names that it took in that life.

use std::fmt;

use quorate_ring::NodeId;

/// One run of a node's process, by a number that is higher at each start of that node, as far as it remembers.
///
/// It orders what is said of a node before and after a restart, which the incarnation of its store cannot: that is drawn at random. The number
/// of incarnations that the store remembers will do. A node that goes on with an older one, after a clean stop or on a store that was lost or set
/// back, is told by the first that hears it how far it had come, and goes on from there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(u64);

impl Life {
    /// Of a node that is only known by its number. Every other life is newer.
    pub const UNKNOWN: Self = Self(0);

    /// The life with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "life {}", self.0)
    }
}

/// What others call a node. Of two names of one node the newer one counts.
///
/// In SWIM a name that was declared down stays down: nobody could tell a late refutation from an early one. So a node that hears of its own
/// death takes another name, with one more renewal, and is alive under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub life: Life,
    /// How often it has taken another name in that life.
    pub renewals: u32,
}

impl Identity {
    /// The first name of a life.
    pub const fn new(node: NodeId, life: Life) -> Self {
        Self { node, life, renewals: 0 }
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn addr(&self) -> NodeId {
        self.node
    }

    fn renew(&self) -> Option<Self> {
        Some(Self { renewals: self.renewals.checked_add(1)?, ..*self })
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        debug_assert_eq!(self.node, adversary.node, "only names of one node conflict");
        adversary < self
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.node, self.life.number(), self.renewals)
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::*;

    #[test]
    fn a_newer_life_wins_and_within_a_life_the_newer_name() {
        let node = NodeId::new(7).expect("not 0");
        let first = Identity::new(node, Life::new(1));
        let renewed = first.renew().expect("can be renewed");
        let next = Identity::new(node, Life::new(2));
        assert!(renewed.win_addr_conflict(&first) && !first.win_addr_conflict(&renewed));
        assert!(next.win_addr_conflict(&renewed) && !renewed.win_addr_conflict(&next));
        assert!(first.win_addr_conflict(&Identity::new(node, Life::UNKNOWN)));
    }

    #[test]
    fn a_name_that_cannot_be_newer_is_not_renewed() {
        let node = NodeId::new(7).expect("not 0");
        assert_eq!(Identity { node, life: Life::new(1), renewals: u32::MAX }.renew(), None);
    }
}
