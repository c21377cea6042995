//! Mends what handing out partitions one by one got wrong: swaps owners, so that nobody's number changes, as long as that
//! leaves N successive owners better spread, or as well spread with less data moved.
//!
//! Swapping neighbours changes few partitions' replicas and so moves little data; they are tried first. A local search: it
//! ends by a bound on its work, and what it cannot mend is left to the walk, which passes over repeated nodes and zones.

use super::anneal::anneal;
use super::arrangement::{Arrangement, Faults};
use super::generator::Generator;
use super::target::Targets;

/// Most looks at pairs of owners in a plan: about a second's work.
const LOOKS_MAX: usize = 250_000_000;
/// Most partitions from all over the ring that one is compared with, beside its neighbours.
const FAR_MAX: usize = 1024;
/// And most in a small ring for each partition that there is: it would be compared with the same ones again and again.
const FAR_PER_PARTITION: usize = 16;
/// Passes in a row that may bring nothing.
const IDLE_PASSES_MAX: usize = 6;

/// Swaps owners until nothing gets better.
pub(super) fn repair(arrangement: &mut Arrangement, targets: &Targets) {
    // N nodes hold everything, however they are arranged.
    if arrangement.members() == arrangement.n() {
        return;
    }
    let moved_min = arrangement.moved_replicas_min(targets.counts());
    let is_good = |faults: Faults| !faults.is_crowded() && faults.moved_replicas() <= moved_min;
    // A comparison of two swaps looks at up to 4 * N runs of N owners, each with those before it.
    let comparisons_left = LOOKS_MAX / (2 * arrangement.n().pow(3));
    let mut search = Search { arrangement, generator: Generator::new(1), comparisons_left };
    search.spread();
    if is_good(search.arrangement.faults_total()) {
        return;
    }
    let (settled, faults) = (search.arrangement.owners().to_vec(), search.arrangement.faults_total());
    anneal(search.arrangement, &mut search.generator, comparisons_left / 4);
    search.spread();
    search.keep_in_place();
    if faults <= search.arrangement.faults_total() {
        search.arrangement.restore(settled);
        search.keep_in_place();
    }
}

struct Search<'a> {
    arrangement: &'a mut Arrangement,
    generator: Generator,
    comparisons_left: usize,
}

/// What a pass looks for, and how far it goes.
struct Aim {
    /// Most partitions from all over the ring to try, beside the neighbours.
    far: usize,
    /// The worst change of the faults that is still made.
    change_max: i64,
    /// Whether the faults around a partition are worth a swap.
    is_wrong: fn(Faults) -> bool,
}

impl Search<'_> {
    /// Mends repeated nodes and crowded zones.
    fn spread(&mut self) {
        // Sideways steps lead out of dead ends.
        self.passes(Aim { far: FAR_MAX, change_max: 0, is_wrong: Faults::is_crowded });
    }

    /// Undoes moves of data that were not needed, among neighbours.
    fn keep_in_place(&mut self) {
        self.passes(Aim { far: 0, change_max: 0, is_wrong: |faults| Faults::default() < faults });
    }

    /// Goes over all partitions with something wrong, again and again while the number of them falls.
    fn passes(&mut self, aim: Aim) {
        let (mut fewest, mut idle) = (usize::MAX, 0);
        while idle < IDLE_PASSES_MAX && 0 < self.comparisons_left {
            let mut wrong = 0;
            for partition in 0..self.arrangement.partitions() {
                if (aim.is_wrong)(self.arrangement.faults_around(partition)) && 0 < self.comparisons_left {
                    wrong += 1;
                    self.improve(partition, &aim);
                }
            }
            idle = if wrong < fewest { 0 } else { idle + 1 };
            fewest = fewest.min(wrong);
            if wrong == 0 {
                return;
            }
        }
    }

    /// Does the best swap of one partition with a neighbour or, if none of those is good, with one of some far ones.
    fn improve(&mut self, partition: usize, aim: &Aim) {
        let near = 4 * self.arrangement.n() as isize;
        let neighbours = (-near..=near).filter(|steps| *steps != 0);
        let mut best: Option<(i64, u64, usize)> = None;
        for steps in neighbours {
            let other = self.arrangement.step(partition, steps);
            let change = self.change(partition, other);
            best = best.into_iter().chain(change).min();
        }
        if best.is_none_or(|(change, ..)| 0 <= change) {
            for _ in 0..aim.far.min(FAR_PER_PARTITION * self.arrangement.partitions()) {
                let other = self.generator.number() as usize % self.arrangement.partitions();
                let change = self.change(partition, other);
                best = best.into_iter().chain(change).min();
            }
        }
        if let Some((_, _, other)) = best.filter(|(change, ..)| *change <= aim.change_max) {
            self.arrangement.swap(partition, other);
        }
    }

    /// By how much a swap would change the faults, a lot to draw between equal ones, and with whom; `None` if it is no swap.
    fn change(&mut self, partition: usize, other: usize) -> Option<(i64, u64, usize)> {
        if self.arrangement.owners()[partition] == self.arrangement.owners()[other] {
            return None;
        }
        self.comparisons_left = self.comparisons_left.saturating_sub(1);
        let before = self.arrangement.faults_around_both(partition, other);
        self.arrangement.swap(partition, other);
        let after = self.arrangement.faults_around_both(partition, other);
        self.arrangement.swap(partition, other);
        Some((after.change_from(before), self.generator.number(), other))
    }
}
