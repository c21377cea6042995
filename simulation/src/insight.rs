//! What a run teaches those who choose N, R and W: how stale reads were, how far replicas diverged, how available the cluster was,
//! and how long requests took, all in virtual time and of the part of the run in which clients work and faults happen.
//!
//! Staleness follows the question of Bailis et al., *Probabilistically Bounded Staleness for Practical Partial Quorums* (VLDB
//! 2012): how likely is a read, so long after a write was acknowledged, not to show it? That a write is shown also counts where a
//! value is read that replaced it, or where it was deleted. Pages of scans are counted as requests, and not looked into.

mod recorder;
mod table;

use std::time::Duration;

use hdrhistogram::Histogram;
pub(crate) use recorder::{Recorder, kind_of};

use crate::plan::span::Span;

/// What a run taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Insight {
    /// How stale reads were.
    pub staleness: Staleness,
    /// How far replicas diverged.
    pub divergence: Divergence,
    /// How each kind of request fared, in the order of [`RequestKind::ALL`].
    pub requests: [Requests; RequestKind::ALL.len()],
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum RequestKind {
    /// A read of a key; also the first half of an update.
    Get,
    /// A write of a key; also the second half of an update.
    Put,
    /// A delete.
    Delete,
    /// A read of several keys.
    GetMany,
    /// A write of several keys.
    PutMany,
    /// A page of a scan.
    Scan,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Get, Self::Put, Self::Delete, Self::GetMany, Self::PutMany, Self::Scan];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::GetMany => "get many",
            Self::PutMany => "put many",
            Self::Scan => "scan",
        }
    }
}

/// How stale reads were. A read is stale if it does not show a write that was acknowledged before it began.
#[derive(Clone, Debug, PartialEq)]
pub struct Staleness {
    /// Reads that were answered.
    pub reads: u64,
    /// Those that missed a write.
    pub stale: u64,
    /// How many writes a stale read missed, added up over all.
    pub missed: u64,
    /// The most writes that a read missed.
    pub missed_max: u64,
    /// Of each stale read, how long before it the oldest write that it missed had been acknowledged.
    pub age: Times,
    /// Of each read of a key with an acknowledged write, how long before it the last one had been acknowledged.
    pub since_write: Times,
    /// The same of those reads that missed that last write.
    pub since_missed_write: Times,
}

impl Staleness {
    /// The share of stale reads, from 0 to 1; none if nothing was read.
    pub fn share(&self) -> Option<f64> {
        share(self.stale, self.reads)
    }

    /// How likely a read was to miss a key's last acknowledged write, if it began from `from` to before `to` after the
    /// acknowledgement: from 0 to 1; none if none began then.
    pub fn share_missed(&self, from: Duration, to: Duration) -> Option<f64> {
        share(self.since_missed_write.between(from, to), self.since_write.between(from, to))
    }
}

/// How far replicas diverged, as clients saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divergence {
    /// Reads that found something.
    pub reads: u64,
    /// Siblings, added up over all these reads.
    pub siblings: u64,
    /// The most siblings of a read.
    pub siblings_max: u64,
    /// Reads that found more than one.
    pub diverged: u64,
}

impl Divergence {
    /// Siblings of a read as a mean, at least 1; none if no read found anything.
    pub fn mean(&self) -> Option<f64> {
        share(self.siblings, self.reads)
    }

    /// The share of reads with more than one sibling; none if no read found anything.
    pub fn share(&self) -> Option<f64> {
        share(self.diverged, self.reads)
    }
}

/// How the requests of one kind fared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests {
    /// All of them.
    pub all: Ends,
    /// Those that began or ended while a fault lasted.
    pub during_faults: Ends,
    /// How long those took that succeeded.
    pub latency: Times,
}

/// How requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// With what was asked for.
    pub succeeded: u64,
    /// With an error that says that nothing was done, mostly for want of replicas.
    pub failed: u64,
    /// Without an answer in time; a write may then have happened or not.
    pub timed_out: u64,
}

impl Ends {
    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out
    }

    /// The share that succeeded, from 0 to 1; none if there were none.
    pub fn share(&self) -> Option<f64> {
        share(self.succeeded, self.count())
    }
}

/// Lengths of virtual time, to about a hundredth of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(2).expect("two digits are possible"))
    }
}

impl Times {
    /// Counts one.
    pub(crate) fn note(&mut self, time: Duration) {
        self.0.record(Span::from(time).as_micros()).expect("it grows with what is recorded");
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The shortest time that is at least as long as so many thousandths of all, such as 990.
    pub fn percentile(&self, per_mille: u32) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(f64::from(per_mille) / 1_000.0))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// How many were from `from` to before `to`, as exactly as they are known.
    pub fn between(&self, from: Duration, to: Duration) -> u64 {
        let (from, to) = (Span::from(from).as_micros(), Span::from(to).as_micros());
        let inside = |value: u64| from <= value && value < to;
        let steps = self.0.iter_recorded().filter(|step| inside(self.0.lowest_equivalent(step.value_iterated_to())));
        steps.map(|step| step.count_at_value()).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below what a float holds exactly")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (0 < whole).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_by_range_and_percentile() {
        let mut times = Times::default();
        (0..1_000).for_each(|millis| times.note(Duration::from_millis(millis)));
        let counted = times.between(Duration::from_millis(100), Duration::from_millis(200));
        assert!((98..=102).contains(&counted), "{counted}");
        assert_eq!(times.between(Duration::ZERO, Duration::from_secs(5)), 1_000);
        let median = times.percentile(500).as_millis();
        assert!((490..=510).contains(&median), "{median}");
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!((share(0, 0), share(1, 4)), (None, Some(0.25)));
    }
}
