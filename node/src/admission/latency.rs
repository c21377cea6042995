//! How long somebody usually takes: a mean that follows, and a high percentile.

use std::time::Duration;

/// Buckets of an octave: a bucket is a fifth to a quarter wider than it begins.
const STEPS: usize = 4;
/// The first octave begins here, in powers of two of a microsecond. All that is shorter counts as this.
const FIRST_OCTAVE: u32 = 4;
/// Octaves that are told apart: from 16 µs to more than four minutes.
const OCTAVES: usize = 24;
/// When so many samples are counted, all counts are halved: the last few hundred are what counts.
const SAMPLES_MAX: u32 = 512;
/// With fewer than this nothing is said about percentiles.
const SAMPLES_MIN: u32 = 8;
/// How often the high percentile is looked up anew: each so many samples.
const LOOK_UP_EACH: u32 = 8;
/// The high percentile, of a hundred.
const PERCENTILE: u32 = 95;
/// A new sample moves the mean by one part in so many.
const MEAN_SHARE: u64 = 8;

/// How often latencies of each length were seen, in buckets that grow by octaves.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u32; OCTAVES * STEPS],
    samples: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; OCTAVES * STEPS], samples: 0 }
    }
}

impl Histogram {
    /// Takes a sample. There may be four billion.
    pub fn record(&mut self, took: Duration) {
        self.counts[bucket(micros(took))] += 1;
        self.samples += 1;
    }

    /// How many samples there are.
    pub const fn samples(&self) -> u32 {
        self.samples
    }

    /// What no more than the rest of a hundred took longer than, or up to a quarter more.
    pub fn percentile(&self, percent: u32) -> Duration {
        let above = u64::from(self.samples) * u64::from(100_u32.saturating_sub(percent)) / 100;
        let mut seen = 0;
        let place = self.counts.iter().rposition(|count| {
            seen += u64::from(*count);
            above < seen
        });
        Duration::from_micros(end(place.unwrap_or_default()))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets every other one of each length.
    fn halve(&mut self) {
        self.counts.iter_mut().for_each(|count| *count /= 2);
        self.samples = self.counts.iter().sum();
    }
}

/// An estimate of latencies in four hundred bytes: a mean in which each new sample has a weight of an eighth, and a histogram whose old
/// counts fade.
///
/// The 95th percentile is what a hedge waits for: about one question in twenty takes longer, so that hedges stay within their
/// budget while all is well, and cut the tail off where it begins ("The Tail at Scale").
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram,
    until_looked_up: u32,
    /// In microseconds, times [`MEAN_SHARE`].
    mean_scaled: u64,
    high: Option<Duration>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { histogram: Histogram::default(), until_looked_up: SAMPLES_MIN, mean_scaled: 0, high: None }
    }
}

impl Latency {
    /// Takes a sample.
    pub fn record(&mut self, took: Duration) {
        let micros = micros(took);
        self.mean_scaled = match self.mean_scaled {
            0 => micros * MEAN_SHARE,
            scaled => scaled - scaled / MEAN_SHARE + micros,
        };
        self.histogram.record(took);
        self.until_looked_up = self.until_looked_up.saturating_sub(1);
        if self.until_looked_up == 0 {
            self.until_looked_up = LOOK_UP_EACH;
            self.high = Some(self.histogram.percentile(PERCENTILE));
        }
        if SAMPLES_MAX <= self.histogram.samples() {
            self.histogram.halve();
        }
    }

    /// Takes note that something took at least so long, and is not known to the end: a sample, if it says anything new.
    pub fn record_at_least(&mut self, took: Duration) {
        if self.mean_micros() < u64::try_from(took.as_micros()).unwrap_or(u64::MAX) {
            self.record(took);
        }
    }

    /// The mean in microseconds; 0 before the first sample.
    pub const fn mean_micros(&self) -> u64 {
        self.mean_scaled / MEAN_SHARE
    }

    /// What one in twenty takes longer than; `None` before there are a few samples.
    pub const fn high(&self) -> Option<Duration> {
        self.high
    }
}

/// In microseconds, at least one, and at most more than an hour.
fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX))
}

/// The bucket of a latency.
fn bucket(micros: u64) -> usize {
    let micros = micros.max(1 << FIRST_OCTAVE);
    let octave = micros.ilog2();
    let step = (micros >> (octave - 2)) as usize % STEPS;
    ((octave - FIRST_OCTAVE) as usize * STEPS + step).min(OCTAVES * STEPS - 1)
}

/// What all of a bucket are shorter than, in microseconds.
const fn end(bucket: usize) -> u64 {
    let (octave, step) = (bucket / STEPS, bucket % STEPS);
    ((STEPS + step + 1) as u64) << (octave as u32 + FIRST_OCTAVE - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn of(samples: impl Iterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        samples.for_each(|sample| latency.record(micros(sample)));
        latency
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_is_shorter_than_its_end_and_no_shorter_than_that_of_the_one_before(sample in 16_u64..1 << 28) {
            let bucket = bucket(sample);
            prop_assert!(sample < end(bucket) && (bucket == 0 || end(bucket - 1) <= sample));
            prop_assert!(end(bucket) <= sample + sample / 4 + 1);
        }

        #[test]
        fn the_high_percentile_is_that_of_the_sorted_samples_but_for_the_width_of_a_bucket(
            samples in proptest::collection::vec(16_u64..1 << 27, 8..400)
        ) {
            let whole = samples.len() / 8 * 8;
            let latency = of(samples[..whole].iter().copied());
            let mut sorted = samples[..whole].to_vec();
            sorted.sort_unstable();
            let exact = sorted[whole - 1 - whole * 5 / 100];
            let high = latency.high().expect("eight samples").as_micros() as u64;
            prop_assert!(exact < high && high <= exact + exact / 4 + 1, "{high} for {exact}");
        }
    }

    #[test]
    fn nothing_is_said_of_percentiles_before_there_are_samples() {
        assert_eq!(of(std::iter::repeat_n(1_000, 7)).high(), None);
        assert_eq!(of(std::iter::repeat_n(1_000, 8)).high(), Some(micros(1_024)));
    }

    #[test]
    fn the_mean_follows_and_old_samples_fade() {
        let mut latency = of(std::iter::repeat_n(50_000, 2_000));
        assert!((49_000..=50_000).contains(&latency.mean_micros()));
        (0..40).for_each(|_| latency.record(micros(1_000)));
        assert!(latency.mean_micros() < 1_500, "{}", latency.mean_micros());
        (0..2_000).for_each(|_| latency.record(micros(1_000)));
        assert_eq!(latency.high(), Some(micros(1_024)));
    }

    #[test]
    fn a_wait_without_end_counts_only_if_it_was_long() {
        let mut latency = of(std::iter::repeat_n(1_000, 8));
        latency.record_at_least(micros(900));
        assert_eq!(latency.mean_micros(), 1_000);
        latency.record_at_least(micros(9_000));
        assert_eq!(latency.mean_micros(), 2_000);
    }

    #[test]
    fn no_latency_is_too_short_or_too_long() {
        let latency = of([0, u64::MAX].into_iter().cycle().take(16));
        assert!(latency.high() > Some(Duration::from_secs(200)));
    }
}
