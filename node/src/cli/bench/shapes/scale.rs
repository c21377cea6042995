//! More and more clients, each of which waits for its answer: what concurrency brings, and what it costs.

use serde_json::json;

use crate::cli::bench::Bench;
use crate::cli::bench::phase::Requests;
use crate::cli::bench::rows::Rows;
use crate::cli::bench::run::Loop;
use crate::cli::exit::Failure;
use crate::cli::human;

/// 1, 2, 4 and so on, and at last so many.
pub(in crate::cli::bench) fn steps(most: u32) -> impl Iterator<Item = u32> {
    let doubled = std::iter::successors(Some(1_u32), |clients| clients.checked_mul(2));
    doubled.take_while(move |clients| *clients < most).chain([most])
}

/// Measures with each number of clients.
///
/// # Errors
/// If no request succeeds with one of them.
pub(in crate::cli::bench) async fn run(bench: &Bench, most: u32) -> Result<(), Failure> {
    let mut rows = Rows::begin(bench.format, "clients", Vec::new())?;
    let mut best = (0.0, 0);
    for clients in steps(most) {
        let requests = Requests::warmed_up(bench, Loop::Closed(clients)).await;
        let phase = requests.measure(bench.time).await;
        let late_failure = requests.end().await?;
        let report = phase.report().await;
        report.some_succeeded(late_failure)?;
        let rate = report.rate(&report.all());
        if best.0 < rate {
            best = (rate, clients);
        }
        rows.add(&human::count(clients.into()), &report, [], json!({}))?;
    }
    let (rate, clients) = best;
    let rate_shown = human::count(rate.round() as u64);
    let text = format!("\nmost: {rate_shown} a second, with {} clients\n", human::count(clients.into()));
    rows.end(&text, "scale", json!({ "peak_rate": rate, "peak_clients": clients }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_double_up_to_as_many_as_were_asked_for() {
        assert_eq!(steps(1).collect::<Vec<_>>(), [1]);
        assert_eq!(steps(8).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(steps(10).collect::<Vec<_>>(), [1, 2, 4, 8, 10]);
        assert_eq!(steps(10_000).last(), Some(10_000));
    }
}
