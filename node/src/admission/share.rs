//! One client, one share: who has how many of the requests that a shard works on.

use std::collections::BTreeMap;

use quorate_ring::NodeId;

use crate::SessionId;

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
/// While there is room, anybody may have as many as it likes. With half as many as may be worked on at once, one that has its equal share
/// already gets no more: the other half is for those who have less. One that is alone may have all.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    held: BTreeMap<Party, usize>,
    whole: usize,
    ended: usize,
}

impl Shares {
    /// The most that this party may have now, of so many that all may have.
    pub fn most(&self, party: Party, all: usize) -> usize {
        if self.whole < all / 2 {
            return all;
        }
        self.equal(party, all).max(1)
    }

    /// Whether this party has less than half of an equal share of so many. Then it is let in even where there are as many already: one that
    /// asks for little would else be refused as often as one that floods.
    pub fn has_little(&self, party: Party, all: usize) -> bool {
        self.of(party) < self.equal(party, all) / 2
    }

    fn equal(&self, party: Party, all: usize) -> usize {
        let parties = self.held.len() + usize::from(!self.held.contains_key(&party));
        all / parties
    }

    /// How many are over, since the start.
    pub const fn ended(&self) -> usize {
        self.ended
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
        self.ended += 1;
        if *held == 0 {
            self.held.remove(&party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = 900;

    const fn session(number: u64) -> Party {
        Party::Session(SessionId(number))
    }

    fn begin(shares: &mut Shares, party: Party, count: usize) {
        (0..count).for_each(|_| shares.begin(party));
    }

    #[test]
    fn who_is_alone_may_fill_the_table() {
        let mut shares = Shares::default();
        begin(&mut shares, session(1), ALL - 1);
        assert_eq!(shares.most(session(1), ALL), ALL);
    }

    #[test]
    fn when_others_want_in_nobody_gets_more_than_an_equal_share() {
        let mut shares = Shares::default();
        begin(&mut shares, session(1), ALL / 2 - 2);
        begin(&mut shares, session(2), 1);
        assert_eq!(shares.most(session(1), ALL), ALL, "there is room");
        begin(&mut shares, session(3), 1);
        let third = ALL / 3;
        assert!(shares.most(session(1), ALL) == third && third < shares.of(session(1)));
        assert_eq!((shares.most(session(2), ALL), shares.most(session(4), ALL)), (third, ALL / 4));
    }

    #[test]
    fn who_has_little_is_let_in_beside_a_flood_and_only_one_of_few() {
        let mut shares = Shares::default();
        begin(&mut shares, session(1), ALL);
        assert!(shares.has_little(session(2), ALL) && !shares.has_little(session(1), ALL));
        begin(&mut shares, session(2), ALL / 4);
        assert!(!shares.has_little(session(2), ALL));
        (3..ALL as u64).for_each(|number| begin(&mut shares, session(number), 1));
        assert!(!shares.has_little(session(5_000), ALL), "among so many nobody's share is more than one");
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
