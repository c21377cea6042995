//! How figures of a long run drift.

use std::time::Duration;

/// How something has drifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drift {
    /// By the hour, on the straight line that is nearest to all by least squares.
    pub(super) per_hour: f64,
    /// The mean of the first quarter, and of the last.
    pub(super) first_quarter: f64,
    pub(super) last_quarter: f64,
}

impl Drift {
    /// Of values at rising times; `None` for fewer than two of them.
    pub(super) fn of(values: &[(Duration, f64)]) -> Option<Self> {
        let per_hour = slope(values)? * 3_600.0;
        let quarter = values.len().div_ceil(4);
        let mean = |values: &[(Duration, f64)]| values.iter().map(|(_, value)| value).sum::<f64>() / quarter as f64;
        let (first_quarter, last_quarter) = (mean(&values[..quarter]), mean(&values[values.len() - quarter..]));
        Some(Self { per_hour, first_quarter, last_quarter })
    }
}

/// By the second.
fn slope(values: &[(Duration, f64)]) -> Option<f64> {
    let count = values.len() as f64;
    let points = || values.iter().map(|(at, value)| (at.as_secs_f64(), *value));
    let (at_mean, value_mean) =
        points().fold((0.0, 0.0), |(ats, sum), (at, value)| (ats + at / count, sum + value / count));
    let spread: f64 = points().map(|(at, _)| (at - at_mean).powi(2)).sum();
    let together: f64 = points().map(|(at, value)| (at - at_mean) * (value - value_mean)).sum();
    (0.0 < spread).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(values: &[(u64, f64)]) -> Vec<(Duration, f64)> {
        values.iter().map(|(seconds, value)| (Duration::from_secs(*seconds), *value)).collect()
    }

    #[test]
    fn what_rises_steadily_drifts_by_as_much() {
        let values: Vec<_> = (0..100).map(|step| (Duration::from_secs(36 * step), 5.0 + 0.02 * step as f64)).collect();
        let drift = Drift::of(&values).expect("there are many");
        assert!((drift.per_hour - 2.0).abs() < 1e-9, "{drift:?}");
        assert!((drift.last_quarter - drift.first_quarter - 1.5).abs() < 1e-9, "{drift:?}");
    }

    #[test]
    fn ups_and_downs_that_are_even_do_not_drift() {
        let drift = Drift::of(&at(&[(0, 1.0), (10, 3.0), (20, 3.0), (30, 1.0)])).expect("there are four");
        assert_eq!(drift, Drift { per_hour: 0.0, first_quarter: 1.0, last_quarter: 1.0 });
    }

    #[test]
    fn of_one_value_there_is_no_drift() {
        assert_eq!(Drift::of(&at(&[(5, 1.0)])), None);
        assert_eq!(Drift::of(&[]), None);
    }
}
