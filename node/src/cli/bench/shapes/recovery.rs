//! How long a cluster takes, once a load is over that was too much for it, to answer as before.

use std::time::Duration;

use crate::cli::bench::highest::is_failing;
use crate::cli::bench::phase::Window;
use crate::cli::bench::run::Tally;
use crate::cli::human;

/// Back is who answers with a p99 of no more than so many times that of before.
const TIMES_MOST: f64 = 1.5;

/// So long a phase is looked at by windows of this length.
pub(super) fn window_of(time: Duration) -> Duration {
    (time / 20).clamp(Duration::from_millis(100), Duration::from_secs(1))
}

/// Since the start of the phase until the first window in which it is as before; `None` if it never is.
pub(super) fn recovered_after(before: &Tally, windows: &[Window]) -> Option<Duration> {
    let most = before.latencies.value_at_quantile(0.99) as f64 * TIMES_MOST;
    let is_back = |tally: &Tally| {
        !tally.latencies.is_empty() && !is_failing(tally) && tally.latencies.value_at_quantile(0.99) as f64 <= most
    };
    windows.iter().find(|window| is_back(&window.tally)).map(|window| window.begun)
}

/// The same in words.
pub(super) fn describe(recovered: Option<Duration>, time: Duration) -> String {
    match recovered {
        None => {
            format!("p99 was not back to within {TIMES_MOST} times of before in the {} after it", human::duration(time))
        }
        Some(Duration::ZERO) => format!("p99 was back to within {TIMES_MOST} times of before at once"),
        Some(after) => format!("p99 was back to within {TIMES_MOST} times of before after {}", human::duration(after)),
    }
}

/// For programs.
pub(super) fn millis(recovered: Option<Duration>) -> Option<u64> {
    recovered.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(micros: u64, failed: u64) -> Tally {
        let mut tally = Tally { failed, ..Tally::default() };
        (0..100).for_each(|_| tally.latencies.saturating_record(micros));
        tally
    }

    fn after(tallies: Vec<Tally>) -> Option<Duration> {
        let second = |number: usize| Duration::from_secs(number as u64);
        let window = |(number, tally)| Window { begun: second(number), tally };
        recovered_after(&tally(1_000, 0), &tallies.into_iter().enumerate().map(window).collect::<Vec<_>>())
    }

    #[test]
    fn it_takes_until_answers_are_as_fast_as_before_and_none_fails() {
        let slow = || tally(9_000, 0);
        assert_eq!(after(vec![tally(1_400, 0), slow()]), Some(Duration::ZERO));
        assert_eq!(after(vec![slow(), tally(1_000, 50), tally(1_000, 0)]), Some(Duration::from_secs(2)));
        assert_eq!(after(vec![slow(), Tally::default()]), None, "where nothing is answered nothing is back");
    }
}
