//! How long things take: a distribution as a table of quantiles, in whole numbers, so that it is the same on every machine.

use std::time::Duration;

use crate::choices::Stream;

/// A shape of delays, relative to their median.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Evenly between half and one and a half medians.
    Uniform,
    /// Many short ones, few long ones.
    Exponential,
    /// Most near the median, one in eight about ten times as long.
    Bimodal,
    /// A long tail, as of a busy disk or network: up to thirty medians.
    LogNormal,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Uniform, Self::Exponential, Self::Bimodal, Self::LogNormal];

    /// Quantiles at each eighth, in thousandths of the median.
    const fn quantiles(self) -> [u64; 9] {
        match self {
            Self::Uniform => [500, 625, 750, 875, 1_000, 1_125, 1_250, 1_375, 1_500],
            Self::Exponential => [0, 193, 415, 678, 1_000, 1_415, 2_000, 3_000, 10_000],
            Self::Bimodal => [700, 800, 900, 950, 1_000, 1_050, 1_100, 1_300, 12_000],
            Self::LogNormal => [50, 317, 510, 727, 1_000, 1_375, 1_963, 3_158, 30_000],
        }
    }
}

/// A distribution of delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Its shape.
    pub shape: Shape,
    /// Its median in microseconds.
    pub median_micros: u64,
}

impl Delay {
    /// Draws one.
    pub fn draw(self, label: &'static str, stream: &mut Stream) -> Duration {
        const STEP: u64 = 1 << 13;
        let place = stream.choose(label, 0..=8 * STEP - 1);
        let quantiles = self.shape.quantiles();
        let index = usize::try_from(place / STEP).expect("below 8");
        let (low, high) = (quantiles[index], quantiles[index + 1]);
        let per_mille = low + (high - low) * (place % STEP) / STEP;
        Duration::from_micros(self.median_micros * per_mille / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;

    #[test]
    fn half_of_all_delays_are_below_the_median() {
        for shape in Shape::ALL {
            let mut stream = Choices::new(1).stream("delays");
            let delay = Delay { shape, median_micros: 1_000 };
            let below = (0..4_000).filter(|_| delay.draw("delay", &mut stream) < Duration::from_millis(1)).count();
            assert!((1_850..=2_150).contains(&below), "{shape:?}: {below}");
        }
    }
}
