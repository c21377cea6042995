//! Mends what handing out partitions one by one got wrong: swaps owners, so that nobody's number changes, as long as that
//! leaves N successive owners better spread, or as well spread with less data moved.
//!
//! Swapping neighbours changes few partitions' replicas and so moves little data; they are tried first. A local search: it
//! ends by a bound on its work, and what it cannot mend is left to the walk, which passes over repeated nodes and zones.

use super::arrangement::Arrangement;
use super::generator::Generator;

/// Most comparisons of a plan: about a second's work.
const COMPARISONS_MAX: usize = 10_000_000;
/// Most partitions from all over the ring that one is compared with, beside its neighbours.
const FAR_MAX: usize = 1024;
/// Passes over all faults, as long as there are any.
const PASSES_MAX: usize = 40;

/// Swaps owners until nothing gets better.
pub(super) fn repair(arrangement: &mut Arrangement) {
    // N nodes hold everything, however they are arranged.
    if arrangement.members() == arrangement.n() {
        return;
    }
    let mut search = Search { arrangement, generator: Generator::new(1), comparisons: 0 };
    search.spread();
    search.keep_in_place();
}

struct Search<'a> {
    arrangement: &'a mut Arrangement,
    generator: Generator,
    comparisons: usize,
}

impl Search<'_> {
    /// Mends repeated nodes and crowded zones.
    fn spread(&mut self) {
        for _ in 0..PASSES_MAX {
            let mut crowded = 0;
            for partition in 0..self.arrangement.partitions() {
                if Arrangement::is_crowded(self.arrangement.faults_around(partition)) {
                    crowded += 1;
                    // Sideways steps lead out of dead ends.
                    self.improve(partition, FAR_MAX, 0);
                }
            }
            if crowded == 0 || COMPARISONS_MAX <= self.comparisons {
                return;
            }
        }
    }

    /// Undoes moves that were not needed, among neighbours.
    fn keep_in_place(&mut self) {
        let moved: Vec<usize> =
            (0..self.arrangement.partitions()).filter(|partition| self.arrangement.has_moved(*partition)).collect();
        for partition in moved {
            if self.comparisons < COMPARISONS_MAX {
                self.improve(partition, 0, -1);
            }
        }
    }

    /// Does the best swap of one partition with a neighbour or one of some far ones, if it changes the faults by at most
    /// `change_max`.
    fn improve(&mut self, partition: usize, far: usize, change_max: i64) {
        let near = 4 * self.arrangement.n() as isize;
        let mut best: Option<(i64, usize)> = None;
        for steps in (-near..=near).filter(|steps| *steps != 0) {
            let other = self.arrangement.step(partition, steps);
            best = best.into_iter().chain(self.change(partition, other).map(|change| (change, other))).min();
        }
        if best.is_none_or(|(change, _)| 0 <= change) {
            for _ in 0..far {
                let other = self.generator.number() as usize % self.arrangement.partitions();
                best = best.into_iter().chain(self.change(partition, other).map(|change| (change, other))).min();
            }
        }
        if let Some((_, other)) = best.filter(|(change, _)| *change <= change_max) {
            self.arrangement.swap(partition, other);
        }
    }

    /// By how much a swap would change the faults; `None` if it is none.
    fn change(&mut self, partition: usize, other: usize) -> Option<i64> {
        if self.arrangement.owners()[partition] == self.arrangement.owners()[other] {
            return None;
        }
        self.comparisons += 1;
        let before = self.faults_around_both(partition, other);
        self.arrangement.swap(partition, other);
        let after = self.faults_around_both(partition, other);
        self.arrangement.swap(partition, other);
        Some(after - before)
    }

    /// The faults around both, each once.
    fn faults_around_both(&self, partition: usize, other: usize) -> i64 {
        let n = self.arrangement.n();
        let around = |partition: usize| (0..n).map(move |back| (partition, back));
        let in_first =
            |start: usize| (partition + self.arrangement.partitions() - start) % self.arrangement.partitions() < n;
        let first: i64 = self.arrangement.faults_around(partition);
        let second = around(other).map(|(other, back)| self.arrangement.step(other, -(back as isize)));
        first + second.filter(|start| !in_first(*start)).map(|start| self.arrangement.fault(start)).sum::<i64>()
    }
}
