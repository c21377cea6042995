//! Axes of a figure: from numbers to places, and which numbers are written beside them.

/// An axis from one number to another, over so many pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    /// The places of both.
    from: f64,
    to: f64,
    scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

/// Numbers that people count in, times powers of ten.
const ROUND: [f64; 3] = [1.0, 2.0, 5.0];

impl Axis {
    /// From 0 on, to a little more than this.
    pub(super) fn linear(most: f64, (from, to): (f64, f64)) -> Self {
        Self { low: 0.0, high: most * 1.03, from, to, scale: Scale::Linear }
    }

    /// From the round number below the least to the one above the most.
    pub(super) fn logarithmic(least: f64, most: f64, (from, to): (f64, f64)) -> Self {
        let low = round_numbers(least).rfind(|round| *round <= least).unwrap_or(least);
        let high = round_numbers(most).find(|round| most <= *round && low < *round).unwrap_or(most * 10.0);
        Self { low, high, from, to, scale: Scale::Logarithmic }
    }

    /// Where a number is.
    pub(super) fn place(&self, number: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (number - self.low) / (self.high - self.low),
            Scale::Logarithmic => (number / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Whether a number is on it.
    pub(super) fn has(&self, number: f64) -> bool {
        self.low <= number && number <= self.high
    }

    /// The numbers that are written beside it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_numbers(self.high / 8.0).find(|step| self.high / 8.0 <= *step).unwrap_or(self.high);
                (0_u32..).map(|number| f64::from(number) * step).take_while(|tick| *tick <= self.high).collect()
            }
            Scale::Logarithmic => {
                let mut ticks = Vec::new();
                let mut tick = self.low;
                while tick <= self.high * (1.0 + 1e-9) {
                    ticks.push(tick);
                    let above = tick * (1.0 + 1e-9);
                    tick = round_numbers(tick).find(|round| above < *round).unwrap_or(f64::INFINITY);
                }
                ticks
            }
        }
    }
}

/// Round numbers around this one, by rising size.
fn round_numbers(number: f64) -> impl DoubleEndedIterator<Item = f64> {
    let power = number.log10().floor() as i32;
    (power - 1..=power + 1).flat_map(|power| ROUND.map(|round| round * 10_f64.powi(power)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_a_handful_of_round_ticks() {
        let axis = Axis::linear(12_345.0, (100.0, 500.0));
        assert_eq!(axis.ticks(), [0.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0, 12_000.0]);
        assert_eq!((axis.place(0.0), axis.place(1e9)), (100.0, 500.0));
        for most in [1.0, 3.7, 99.0, 100.0, 5_500_000.0] {
            assert!((4..=9).contains(&Axis::linear(most, (0.0, 1.0)).ticks().len()), "{most}");
        }
    }

    #[test]
    fn a_logarithmic_axis_reaches_from_round_to_round() {
        let axis = Axis::logarithmic(310.0, 7_000.0, (400.0, 0.0));
        assert_eq!(axis.ticks(), [200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0]);
        assert_eq!((axis.place(200.0), axis.place(10_000.0)), (400.0, 0.0));
        let middle = (200.0 * 10_000.0_f64).sqrt();
        assert!((axis.place(middle) - 200.0).abs() < 1e-9 && axis.has(middle) && !axis.has(199.0));
    }

    #[test]
    fn numbers_that_are_all_the_same_have_an_axis() {
        let axis = Axis::logarithmic(500.0, 500.0, (1.0, 0.0));
        assert_eq!(axis.ticks(), [500.0, 1_000.0]);
    }
}
