//! Rates that grow beyond what can be carried, and then half of what could be: whether a cluster that is asked for too much still does what it can,
//! and how soon it is well again.

use serde_json::json;

use super::recovery::{describe, millis, recovered_after, window_of};
use crate::cli::bench::Bench;
use crate::cli::bench::phase::Requests;
use crate::cli::bench::report::Report;
use crate::cli::bench::rows::Rows;
use crate::cli::bench::run::{Loop, Tally};
use crate::cli::exit::Failure;
use crate::cli::human;

/// Each rate is so many times the one before.
const GROWTH: f64 = 1.5;
/// What comes after is measured for so many times the time of a step: requests that were begun too late are waited for until they time out.
const AFTER_TIMES: u32 = 8;
/// The last is so many times what was answered at best.
const BEYOND: f64 = 2.0;

/// What was asked for and answered, rate by rate.
#[derive(Default)]
struct Climb {
    steps: Vec<Answered>,
}

/// At one rate.
struct Answered {
    asked: f64,
    rate: f64,
    tally: Tally,
}

impl Climb {
    fn note(&mut self, asked: f64, report: &Report) {
        let tally = report.all();
        self.steps.push(Answered { asked, rate: report.rate(&tally), tally });
    }

    /// The most that was answered each second.
    fn peak(&self) -> f64 {
        self.steps.iter().map(|step| step.rate).fold(0.0, f64::max)
    }

    /// What is asked for next; `None` once that was far more than can be carried.
    fn next(&self) -> Option<f64> {
        let last = self.steps.last()?.asked;
        (last < BEYOND * self.peak()).then_some(last * GROWTH)
    }

    /// What was answered at the last rate, as a part of the peak.
    fn kept(&self) -> Option<f64> {
        Some(self.steps.last()?.rate / self.peak()).filter(|kept| kept.is_finite())
    }

    /// What it was like at half of the peak: at the last rate that was no higher, or at the first.
    fn at_half(&self) -> Option<&Tally> {
        let half = self.peak() / 2.0;
        let below = self.steps.iter().rfind(|step| step.asked <= half);
        below.or(self.steps.first()).map(|step| &step.tally)
    }
}

/// Climbs, and comes back.
///
/// # Errors
/// If no request succeeds at the first rate.
pub(in crate::cli::bench) async fn run(bench: &Bench, first: f64) -> Result<(), Failure> {
    let mut rows = Rows::begin(bench.format, "asked a second", Vec::new())?;
    let shown = |rate: f64| human::count(rate.round() as u64);
    let mut requests = Requests::warmed_up(bench, Loop::Open(first)).await;
    let (mut climb, mut rate) = (Climb::default(), first);
    loop {
        let report = requests.measure(bench.time).await.report().await;
        if climb.steps.is_empty() {
            report.some_succeeded(None)?;
        }
        climb.note(rate, &report);
        rows.add(&shown(rate), &report, [], json!({}))?;
        let Some(next) = climb.next() else { break };
        rate = next;
        requests.set_rate(rate);
    }
    let (peak, kept) = (climb.peak(), climb.kept());
    let half = peak / 2.0;
    requests.set_rate(half);
    let time_after = bench.time * AFTER_TIMES;
    let after = requests.measure_by(time_after, window_of(bench.time)).await;
    let recovered = climb.at_half().and_then(|before| recovered_after(before, &after.windows));
    rows.add(&format!("{} after", shown(half)), &after.report().await, [], json!({}))?;
    requests.end().await?;
    let kept_shown = kept.map_or_else(|| "unknown".to_owned(), |kept| format!("{:.0} %", kept * 100.0));
    let text = format!(
        "\nmost answered: {} a second; when {} were asked for: {kept_shown} of that\nat half of the most, {}\n",
        shown(peak),
        shown(rate),
        describe(recovered, time_after)
    );
    let json = json!({ "peak_rate": peak, "overload_of_peak": kept, "recovered_after_millis": millis(recovered) });
    rows.end(&text, "stress", json)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Climbs on a cluster that answers up to so many a second, and under overload a tenth less.
    fn climb(first: f64, capacity: f64) -> Climb {
        let mut climb = Climb::default();
        let answered = |asked| if asked <= capacity { asked } else { capacity * 0.9 };
        let step = |asked| Answered { asked, rate: answered(asked), tally: Tally::default() };
        climb.steps.push(step(first));
        while let Some(next) = climb.next() {
            climb.steps.push(step(next));
            assert!(climb.steps.len() < 100, "it ends");
        }
        climb
    }

    #[test]
    fn rates_grow_until_they_are_twice_what_was_answered_at_best() {
        let climb = climb(1_000.0, 2_000.0);
        let asked: Vec<f64> = climb.steps.iter().map(|step| step.asked).collect();
        assert_eq!(asked, [1_000.0, 1_500.0, 2_250.0, 3_375.0, 5_062.5]);
        assert_eq!((climb.peak(), climb.kept()), (1_800.0, Some(1.0)));
    }

    #[test]
    fn a_cluster_that_answers_nothing_ends_it() {
        let climb = climb(1_000.0, 0.0);
        assert_eq!((climb.steps.len(), climb.kept()), (1, None));
    }
}
