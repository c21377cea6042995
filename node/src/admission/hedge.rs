//! The budget of hedged reads.

use crate::limits::{HEDGE_BURST, HEDGE_SHARE_PERCENT};

/// A token in the smallest part that a read earns.
const TOKEN: u32 = 100;

/// How many reads may ask one more replica because those asked are slow: a share of all reads, and a small burst.
///
/// Without it a cluster that is slow as a whole would be asked twice for everything, and be slower. The burst is for what takes a moment to
/// be noticed: a peer that stops answers some reads of that moment late, before they are ranked away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeBudget {
    parts: u32,
}

impl Default for HedgeBudget {
    fn default() -> Self {
        Self { parts: HEDGE_BURST * TOKEN }
    }
}

impl HedgeBudget {
    /// A read begins, and earns its share.
    pub fn earn(&mut self) {
        self.parts = (self.parts + HEDGE_SHARE_PERCENT).min(HEDGE_BURST * TOKEN);
    }

    /// Takes as many of these as there are; gives how many that is.
    pub fn take(&mut self, wanted: usize) -> usize {
        let granted = wanted.min((self.parts / TOKEN) as usize);
        self.parts -= u32::try_from(granted).expect("no more than a burst") * TOKEN;
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_there_and_then_a_share_of_all_reads() {
        let mut budget = HedgeBudget::default();
        let burst = HEDGE_BURST as usize;
        assert_eq!((budget.take(burst + 5), budget.take(1)), (burst, 0));
        let granted: usize = (0..1_000)
            .map(|_| {
                budget.earn();
                budget.take(1)
            })
            .sum();
        assert_eq!(granted, 1_000 * HEDGE_SHARE_PERCENT as usize / 100);
    }

    #[test]
    fn what_is_not_used_is_not_saved_beyond_the_burst() {
        let mut budget = HedgeBudget::default();
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!(budget, HedgeBudget::default());
    }
}
