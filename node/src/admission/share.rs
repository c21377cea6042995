//! One client, one share: who has how much of a shard's table of requests.

use std::collections::BTreeMap;

use quorate_ring::NodeId;

use crate::SessionId;
use crate::limits::COORDINATIONS_MAX;

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A client's connection.
    Session(SessionId),
    /// A peer that hands over what its clients write.
    Peer(NodeId),
}

/// How many requests of each party are being worked on.
///
/// While there is room, anybody may have as many as it likes. When the table is more than half full, one that has its equal share already gets
/// no more: the other half is for those who have less. One that is alone may fill it.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    held: BTreeMap<Party, usize>,
    whole: usize,
}

impl Shares {
    /// The most that this party may have now.
    pub fn most(&self, party: Party) -> usize {
        if self.whole < COORDINATIONS_MAX / 2 {
            return COORDINATIONS_MAX;
        }
        let parties = self.held.len() + usize::from(!self.held.contains_key(&party));
        (COORDINATIONS_MAX / parties).max(1)
    }

    /// How many it has.
    pub fn of(&self, party: Party) -> usize {
        self.held.get(&party).copied().unwrap_or_default()
    }

    /// How many there are.
    pub const fn whole(&self) -> usize {
        self.whole
    }

    /// A request of this party begins.
    pub fn begin(&mut self, party: Party) {
        *self.held.entry(party).or_default() += 1;
        self.whole += 1;
    }

    /// A request of this party is over.
    pub fn end(&mut self, party: Party) {
        let Some(held) = self.held.get_mut(&party) else { return };
        *held -= 1;
        self.whole -= 1;
        if *held == 0 {
            self.held.remove(&party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn session(number: u64) -> Party {
        Party::Session(SessionId(number))
    }

    fn begin(shares: &mut Shares, party: Party, count: usize) {
        (0..count).for_each(|_| shares.begin(party));
    }

    #[test]
    fn who_is_alone_may_fill_the_table() {
        let mut shares = Shares::default();
        begin(&mut shares, session(1), COORDINATIONS_MAX - 1);
        assert_eq!(shares.most(session(1)), COORDINATIONS_MAX);
    }

    #[test]
    fn when_others_want_in_nobody_gets_more_than_an_equal_share() {
        let mut shares = Shares::default();
        begin(&mut shares, session(1), COORDINATIONS_MAX / 2 - 2);
        begin(&mut shares, session(2), 1);
        assert_eq!(shares.most(session(1)), COORDINATIONS_MAX, "there is room");
        begin(&mut shares, session(3), 1);
        let third = COORDINATIONS_MAX / 3;
        assert!(shares.most(session(1)) == third && third < shares.of(session(1)));
        assert_eq!((shares.most(session(2)), shares.most(session(4))), (third, COORDINATIONS_MAX / 4));
    }

    #[test]
    fn what_is_over_counts_no_more() {
        let mut shares = Shares::default();
        begin(&mut shares, session(1), 2);
        shares.end(session(1));
        assert_eq!((shares.of(session(1)), shares.whole()), (1, 1));
        shares.end(session(1));
        shares.end(session(1));
        assert_eq!((shares.of(session(1)), shares.whole()), (0, 0));
    }
}
