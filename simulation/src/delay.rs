//! How long things take: a distribution as a table of quantiles, in whole numbers, so that it is the same on every machine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::choices::Stream;
use crate::plan::span::Span;

/// A shape of delays, relative to their median.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// All the same.
    Constant,
    /// Evenly between half and one and a half medians.
    Uniform,
    /// Many short ones, few long ones.
    Exponential,
    /// Most near the median, one in eight about ten times as long.
    Bimodal,
    /// A long tail, as of a busy disk or network: up to thirty medians.
    LogNormal,
    /// As measured: quantiles in equal steps from the shortest to the longest, in microseconds. The median is not used.
    Trace(Vec<u64>),
}

/// In how many steps a delay is drawn.
const STEPS: u64 = 1 << 16;
/// Quantiles that are kept of a trace.
const TRACE_QUANTILES: usize = 257;

impl Shape {
    /// Those that are drawn: all but constants and traces.
    pub const DRAWN: [Self; 4] = [Self::Uniform, Self::Exponential, Self::Bimodal, Self::LogNormal];

    /// The shape of measured delays.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_trace(mut measured: Vec<Duration>) -> Result<Self, EmptyTrace> {
        measured.sort_unstable();
        let last = measured.len().checked_sub(1).ok_or(EmptyTrace)?;
        let quantile = |index: usize| Span::from(measured[index * last / (TRACE_QUANTILES - 1)]).as_micros();
        Ok(Self::Trace((0..TRACE_QUANTILES).map(quantile).collect()))
    }

    /// Quantiles in equal steps, in thousandths of the median.
    const fn quantiles(&self) -> &[u64] {
        match self {
            Self::Constant => &[1_000, 1_000],
            Self::Uniform => &[500, 625, 750, 875, 1_000, 1_125, 1_250, 1_375, 1_500],
            Self::Exponential => &[0, 193, 415, 678, 1_000, 1_415, 2_000, 3_000, 10_000],
            Self::Bimodal => &[700, 800, 900, 950, 1_000, 1_050, 1_100, 1_300, 12_000],
            Self::LogNormal => &[50, 317, 510, 727, 1_000, 1_375, 1_963, 3_158, 30_000],
            Self::Trace(quantiles) => quantiles.as_slice(),
        }
    }
}

/// That a trace of delays has no delay in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trace of delays has at least one delay")]
pub struct EmptyTrace;

/// A distribution of delays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// Its shape.
    pub shape: Shape,
    /// Its median.
    pub median: Span,
}

impl Delay {
    /// Always the same.
    pub const fn constant(median: Span) -> Self {
        Self { shape: Shape::Constant, median }
    }

    /// Draws one.
    pub fn draw(&self, label: &'static str, stream: &mut Stream) -> Duration {
        if self.shape == Shape::Constant {
            return self.median.duration();
        }
        let quantiles = self.shape.quantiles();
        let steps = quantiles.len() as u64 - 1;
        if steps == 0 {
            return Duration::from_micros(quantiles[0]);
        }
        let place = stream.choose(label, 0..=STEPS - 1) * steps;
        let index = usize::try_from(place / STEPS).expect("below the number of steps");
        let (low, high) = (quantiles[index], quantiles[index + 1]);
        let drawn = low + (high - low) * (place % STEPS) / STEPS;
        match self.shape {
            Shape::Trace(_) => Duration::from_micros(drawn),
            _ => Duration::from_micros(self.median.as_micros() * drawn / 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;

    fn drawn(shape: Shape) -> Vec<Duration> {
        let mut stream = Choices::new(1).stream("delays");
        let delay = Delay { shape, median: Span::from_millis(1) };
        (0..4_000).map(|_| delay.draw("delay", &mut stream)).collect()
    }

    #[test]
    fn half_of_all_delays_are_below_the_median() {
        for shape in Shape::DRAWN {
            let below = drawn(shape.clone()).iter().filter(|delay| **delay < Duration::from_millis(1)).count();
            assert!((1_850..=2_150).contains(&below), "{shape:?}: {below}");
        }
    }

    #[test]
    fn a_trace_is_drawn_as_it_was_measured() {
        let measured = (1..=1_000).map(Duration::from_micros).collect();
        let drawn = drawn(Shape::of_trace(measured).expect("not empty"));
        let below = drawn.iter().filter(|delay| **delay <= Duration::from_micros(100)).count();
        assert!((300..=500).contains(&below), "a tenth of 4,000: {below}");
        assert!(drawn.iter().max() <= Some(&Duration::from_micros(1_000)));
        assert_eq!(Shape::of_trace(Vec::new()), Err(EmptyTrace));
    }
}
