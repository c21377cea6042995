//! Where the sweep of a shard's partitions is.

use quorate_ring::wire::ScrubRange;
use quorate_ring::{ObjectKey, PartitionId};

use crate::Time;
use crate::limits::{SCRUB_PAGE_KEYS, SCRUB_REPEATS_MAX};

/// A place in the round through all partitions.
///
/// A page that cannot be read is tried again with a single key, and pages grow again, by twice, behind what could not be read: so all that
/// can be is gone through.
#[derive(Debug)]
pub struct Sweep {
    partitions: Vec<PartitionId>,
    /// Which of them the sweep is in.
    at: usize,
    /// Up to where it has been in that.
    after: Option<ObjectKey>,
    /// Most keys of the next page.
    keys: u32,
    /// How often the next page was read before.
    repeats: u32,
    scrubbed: u32,
    rounds: u64,
    began: Time,
    ended: Option<Time>,
}

impl Sweep {
    /// One through these partitions, beginning with one that a number drawn by chance tells.
    pub fn new(partitions: Vec<PartitionId>, start: u64) -> Self {
        let count = u64::try_from(partitions.len().max(1)).expect("a length is less than 2^64");
        let at = usize::try_from(start % count).expect("it is below a length");
        Self {
            partitions,
            at,
            after: None,
            keys: SCRUB_PAGE_KEYS,
            repeats: 0,
            scrubbed: 0,
            rounds: 0,
            began: Time::default(),
            ended: None,
        }
    }

    /// Goes on through these, from where it is if that is one of them.
    pub fn set_partitions(&mut self, partitions: Vec<PartitionId>) {
        let here = self.partitions.get(self.at).copied();
        let at = partitions.partition_point(|partition| here.is_some_and(|here| *partition < here));
        if partitions.get(at) != here.as_ref() {
            self.after = None;
            self.repeats = 0;
        }
        self.at = if at < partitions.len() { at } else { 0 };
        self.scrubbed = self.scrubbed.min(u32::try_from(partitions.len().saturating_sub(1)).unwrap_or(u32::MAX));
        self.partitions = partitions;
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// How many of them this round has been through.
    pub const fn scrubbed(&self) -> u32 {
        self.scrubbed
    }

    /// How many rounds have ended.
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// When the last round ended.
    pub const fn ended(&self) -> Option<Time> {
        self.ended
    }

    /// When this round began.
    pub const fn began(&self) -> Time {
        self.began
    }

    /// The range that the next page begins, and how many keys it may have; nothing if there are no partitions.
    pub fn next(&mut self, now: Time) -> Option<(ScrubRange, u32)> {
        let partition = *self.partitions.get(self.at)?;
        if self.scrubbed == 0 && self.after.is_none() && self.repeats == 0 {
            self.began = now;
        }
        Some((ScrubRange { partition, after: self.after.clone(), through: None }, self.keys))
    }

    /// The page cannot be read. `false` if it was of a single key, so that trying less is no use.
    pub fn handle_unreadable(&mut self) -> bool {
        let less = 1 < self.keys;
        self.keys = 1;
        less
    }

    /// Another replica's clock was another than this one's. `true` if the page is to be read again for that.
    pub const fn handle_unlike(&mut self) -> bool {
        self.repeats += 1;
        self.repeats <= SCRUB_REPEATS_MAX
    }

    /// The page is done, through this key or the partition's end. `true` if that was the round's last.
    pub fn handle_done(&mut self, now: Time, through: Option<ObjectKey>) -> bool {
        self.repeats = 0;
        self.keys = self.keys.saturating_mul(2).min(SCRUB_PAGE_KEYS);
        self.after = through;
        if self.after.is_some() {
            return false;
        }
        self.keys = SCRUB_PAGE_KEYS;
        self.at = (self.at + 1) % self.partitions.len().max(1);
        self.scrubbed += 1;
        if self.scrubbed < self.partitions() {
            return false;
        }
        self.scrubbed = 0;
        self.rounds += 1;
        self.ended = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ring::{BucketName, Key};

    fn sweep(start: u64) -> Sweep {
        Sweep::new([2, 5, 7].map(PartitionId::new).to_vec(), start)
    }

    fn key() -> ObjectKey {
        ObjectKey::new(&BucketName::new("b").expect("valid"), &Key::new("k").expect("valid"))
    }

    fn at(sweep: &mut Sweep) -> (u16, bool, u32) {
        let (range, keys) = sweep.next(Time::from_micros(9)).expect("it has partitions");
        (range.partition.number(), range.after.is_some(), keys)
    }

    #[test]
    fn a_round_goes_through_every_partition_wherever_it_begins() {
        for start in 0..5 {
            let mut sweep = sweep(start);
            let mut seen = Vec::new();
            loop {
                seen.push(at(&mut sweep).0);
                if sweep.handle_done(Time::default(), None) {
                    break;
                }
            }
            seen.sort_unstable();
            assert_eq!((seen, sweep.rounds(), sweep.scrubbed()), (vec![2, 5, 7], 1, 0));
        }
    }

    #[test]
    fn it_goes_on_behind_each_page() {
        let mut sweep = sweep(1);
        assert_eq!(at(&mut sweep), (5, false, SCRUB_PAGE_KEYS));
        assert!(!sweep.handle_done(Time::default(), Some(key())));
        assert_eq!(at(&mut sweep), (5, true, SCRUB_PAGE_KEYS));
        assert!(!sweep.handle_done(Time::default(), None));
        assert_eq!((at(&mut sweep), sweep.scrubbed()), ((7, false, SCRUB_PAGE_KEYS), 1));
    }

    #[test]
    fn what_cannot_be_read_is_come_up_to_key_by_key() {
        let mut sweep = sweep(0);
        assert!(sweep.handle_unreadable() && !sweep.handle_unreadable());
        assert_eq!(at(&mut sweep).2, 1);
        sweep.handle_done(Time::default(), Some(key()));
        assert_eq!(at(&mut sweep).2, 2);
    }

    #[test]
    fn a_page_is_read_again_so_often_and_no_more() {
        let mut sweep = sweep(0);
        assert_eq!((0..10).take_while(|_| sweep.handle_unlike()).count(), SCRUB_REPEATS_MAX as usize);
        sweep.handle_done(Time::default(), Some(key()));
        assert!(sweep.handle_unlike());
    }
}
