//! The search for the highest rate that is kept: it doubles until a rate is missed, or halves until one is kept, and then tries the middle of the two
//! until they are near each other.

/// The first rate that is tried, in requests a second.
const FIRST: f64 = 500.0;
/// None below is tried, and none above.
const LEAST: f64 = 1.0;
const MOST: f64 = 10_000_000.0;
/// So much more than what is kept may still be kept, too.
const RESOLUTION: f64 = 0.05;

/// What is known so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    /// The highest rate that was kept.
    kept: Option<f64>,
    /// The lowest that was not.
    missed: Option<f64>,
}

impl Search {
    /// The rate to try next; `None` when it is over.
    pub(super) fn next(&self) -> Option<f64> {
        match (self.kept, self.missed) {
            (None, None) => Some(FIRST),
            (Some(kept), None) => (kept < MOST).then_some((kept * 2.0).min(MOST)),
            (None, Some(missed)) => (LEAST < missed).then_some((missed / 2.0).max(LEAST)),
            (Some(kept), Some(missed)) => (kept * (1.0 + RESOLUTION) < missed).then_some(f64::midpoint(kept, missed)),
        }
    }

    /// What came of one.
    pub(super) fn note(&mut self, rate: f64, is_kept: bool) {
        match is_kept {
            true => self.kept = Some(rate),
            false => self.missed = Some(rate),
        }
    }

    /// The highest rate that was kept.
    pub(super) fn highest(&self) -> Option<f64> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where rates up to this are kept; every rate that was tried, and the highest.
    fn search(limit: f64) -> (Vec<f64>, Option<f64>) {
        let (mut search, mut tried) = (Search::default(), Vec::new());
        while let Some(rate) = search.next() {
            search.note(rate, rate <= limit);
            tried.push(rate);
            assert!(tried.len() < 100, "it ends");
        }
        (tried, search.highest())
    }

    #[test]
    fn it_doubles_and_then_halves_the_gap() {
        let (tried, highest) = search(3_300.0);
        assert_eq!(tried, [500.0, 1_000.0, 2_000.0, 4_000.0, 3_000.0, 3_500.0, 3_250.0, 3_375.0]);
        assert_eq!(highest, Some(3_250.0));
    }

    #[test]
    fn what_it_finds_is_kept_and_little_more_would_not_be() {
        for limit in [1.0, 7.0, 499.0, 500.0, 501.0, 12_345.0, 999_999.0] {
            let highest = search(limit).1.expect("some rate is kept");
            assert!(highest <= limit && limit <= highest * (1.0 + RESOLUTION), "{highest} for {limit}");
        }
    }

    #[test]
    fn it_ends_where_nothing_is_kept_and_where_everything_is() {
        assert_eq!(search(0.0).1, None);
        assert_eq!(search(f64::INFINITY).1, Some(MOST));
    }
}
