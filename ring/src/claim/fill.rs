//! From a previous ring to the next: partitions that lost their owner, or whose owner has too many, go to members that have
//! too few. Everything else stays where it is.

use super::arrangement::Arrangement;
use super::target::Targets;

/// How many partitions that would do are compared before the best is taken: enough to find one that mends something or comes
/// from the fullest owner.
const COMPARED_MAX: usize = 16;

/// Gives every partition an owner, each member as many as its target, moving no more owners than that needs.
pub(super) fn fill(arrangement: &mut Arrangement, targets: &Targets) {
    let mut owned = arrangement.owned_before();
    fill_free(arrangement, targets, &mut owned);
    let mut takeable = Takeable::new(arrangement, targets, owned);
    let poor: Vec<usize> =
        (0..targets.counts().len()).filter(|member| takeable.owned[*member] < targets.counts()[*member]).collect();
    for member in poor {
        takeable.fill_member(arrangement, targets, member);
    }
}

/// Partitions without an owner: each to a member that fits and lacks the most, or to the least crowding one.
fn fill_free(arrangement: &mut Arrangement, targets: &Targets, owned: &mut [usize]) {
    let counts = targets.counts();
    let mut poor: Vec<usize> = (0..counts.len()).filter(|member| owned[*member] < counts[*member]).collect();
    for partition in 0..arrangement.partitions() {
        if arrangement.owners()[partition] != arrangement.nobody() {
            continue;
        }
        // Members that were served lately are at the back, so that all gain everywhere.
        let fitting = poor.iter().position(|member| arrangement.fits(*member as u16, partition));
        let least = || (0..poor.len()).min_by_key(|index| arrangement.crowding(poor[*index] as u16, partition));
        let index = fitting.or_else(least).expect("members lack at least as many partitions as are free");
        let member = poor.remove(index);
        arrangement.assign(partition, member as u16);
        owned[member] += 1;
        if owned[member] < counts[member] {
            poor.push(member);
        }
    }
}

/// The partitions of owners that have too many. A partition that is not takeable never becomes so again, so each points
/// onwards to one that may be.
struct Takeable {
    owned: Vec<usize>,
    /// For each partition the next from it on that may be takeable; behind the last, Q.
    next: Vec<u32>,
}

impl Takeable {
    fn new(arrangement: &Arrangement, targets: &Targets, owned: Vec<usize>) -> Self {
        let partitions = arrangement.partitions() as u32;
        let mut takeable = Self { owned, next: (0..=partitions).collect() };
        for partition in 0..arrangement.partitions() {
            takeable.check(arrangement, targets, partition);
        }
        takeable
    }

    /// Strikes a partition out if its owner has none to spare.
    fn check(&mut self, arrangement: &Arrangement, targets: &Targets, partition: usize) -> bool {
        let owner = usize::from(arrangement.owners()[partition]);
        let spare = targets.counts()[owner] < self.owned[owner];
        if !spare {
            self.next[partition] = partition as u32 + 1;
        }
        spare
    }

    /// The first takeable partition from this one on.
    fn from(&mut self, arrangement: &Arrangement, targets: &Targets, partition: usize) -> Option<usize> {
        let mut found = partition;
        loop {
            while self.next[found] != found as u32 {
                found = self.next[found] as usize;
            }
            if found == arrangement.partitions() || self.check(arrangement, targets, found) {
                break;
            }
        }
        let mut passed = partition;
        while passed != found {
            passed = std::mem::replace(&mut self.next[passed], found as u32) as usize;
        }
        (found < arrangement.partitions()).then_some(found)
    }

    /// Hands a member what it lacks, in even steps around the ring.
    fn fill_member(&mut self, arrangement: &mut Arrangement, targets: &Targets, member: usize) {
        let partitions = arrangement.partitions();
        let lacking = targets.counts()[member] - self.owned[member];
        // Members that join together start at different points.
        let mut point = member * partitions / targets.counts().len();
        for _ in 0..lacking {
            let partition = self.best_from(arrangement, targets, member as u16, point % partitions);
            self.owned[usize::from(arrangement.owners()[partition])] -= 1;
            self.owned[member] += 1;
            arrangement.assign(partition, member as u16);
            point = partition + (partitions / lacking).max(arrangement.n());
        }
    }

    /// The best of the first few takeable partitions where a member fits, going once around; if there is none, the one where it
    /// crowds the least.
    fn best_from(&mut self, arrangement: &Arrangement, targets: &Targets, member: u16, start: usize) -> usize {
        let mut best_fitting: Option<(i64, usize, usize)> = None;
        let mut least_crowding: Option<(i64, usize)> = None;
        let mut compared = 0;
        for (from, to) in [(start, arrangement.partitions()), (0, start)] {
            let mut from = from;
            while let Some(partition) = self.from(arrangement, targets, from).filter(|partition| *partition < to) {
                from = partition + 1;
                let owner = arrangement.owners()[partition];
                let crowding = arrangement.crowding(member, partition);
                if crowding != 0 {
                    least_crowding = least_crowding.into_iter().chain([(crowding, partition)]).min();
                    continue;
                }
                let spare = self.owned[usize::from(owner)] - targets.counts()[usize::from(owner)];
                let mended = arrangement.crowding(owner, partition);
                if best_fitting.is_none_or(|(best_mended, best_spare, _)| (best_mended, best_spare) < (mended, spare)) {
                    best_fitting = Some((mended, spare, partition));
                }
                compared += 1;
                if compared == COMPARED_MAX {
                    return best_fitting.expect("one was just compared").2;
                }
            }
        }
        let found = best_fitting.map(|(_, _, partition)| partition).or(least_crowding.map(|(_, partition)| partition));
        found.expect("what members lack, others have to spare")
    }
}
