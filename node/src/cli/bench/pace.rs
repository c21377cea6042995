//! When requests of the open loop are to begin: evenly, at a rate that may change while they come.

use std::time::Duration;

/// The rates so far, in requests a second, each with the time from which on it holds; by rising time.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Vec<(Duration, f64)>);

impl Pace {
    /// From then on so many come each second.
    ///
    /// # Panics
    /// If there is a change after that time already, or nothing would ever come.
    pub(super) fn change(&mut self, at: Duration, rate: f64) {
        assert!(0.0 < rate && self.0.last().is_none_or(|(last, _)| *last <= at), "{rate} from {at:?} on");
        self.0.push((at, rate));
    }

    /// When the request is due that comes after one which was due then.
    ///
    /// # Panics
    /// If there was no rate then.
    pub(super) fn next(&self, due: Duration) -> Duration {
        let begun = self.0.partition_point(|(from, _)| *from <= due);
        let (known, later) = self.0.split_at(begun);
        let (mut at, mut rate) = (due, known.last().expect("there is a rate before a request is due").1);
        // Which part of the interval is still to come. A change amid it stretches or shrinks only this part.
        let mut part = 1.0_f64;
        for &(until, next) in later {
            if at + Duration::from_secs_f64(part / rate) <= until {
                break;
            }
            part = (part - (until - at).as_secs_f64() * rate).max(0.0);
            (at, rate) = (until, next);
        }
        at + Duration::from_secs_f64(part / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(pace: &Pace, count: usize) -> Vec<u128> {
        let next = |due: &Duration| Some(pace.next(*due));
        std::iter::successors(Some(Duration::ZERO), next).take(count).map(|due| due.as_millis()).collect()
    }

    #[test]
    fn requests_come_evenly() {
        let mut pace = Pace::default();
        pace.change(Duration::ZERO, 10.0);
        assert_eq!(due(&pace, 4), [0, 100, 200, 300]);
    }

    #[test]
    fn a_change_holds_for_what_is_due_after_it_and_not_for_what_waits() {
        let mut pace = Pace::default();
        pace.change(Duration::ZERO, 10.0);
        pace.change(Duration::from_millis(150), 100.0);
        pace.change(Duration::from_millis(175), 10.0);
        // Half an interval of 100 ms has passed at the first change; of the rest, 5 ms at the new rate.
        assert_eq!(due(&pace, 6), [0, 100, 155, 165, 175, 275]);
    }

    #[test]
    fn a_slow_rate_does_not_hold_up_the_one_that_follows() {
        let mut pace = Pace::default();
        pace.change(Duration::ZERO, 0.1);
        pace.change(Duration::from_millis(5_000), 1_000.0);
        assert!(due(&pace, 2)[1] < 5_010);
    }
}
