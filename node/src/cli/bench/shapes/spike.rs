//! A steady rate, several times of it for a while, and the steady rate again: how long what the spike has left behind lasts.

use serde_json::json;

use super::recovery::{describe, millis, recovered_after, window_of};
use crate::cli::bench::Bench;
use crate::cli::bench::phase::Requests;
use crate::cli::bench::rows::Rows;
use crate::cli::bench::run::Loop;
use crate::cli::exit::Failure;

/// Measures before, during and after.
///
/// # Errors
/// If no request succeeds before.
pub(in crate::cli::bench) async fn run(bench: &Bench, rate: f64, times: f64) -> Result<(), Failure> {
    let mut rows = Rows::begin(bench.format, "phase", Vec::new())?;
    let mut requests = Requests::warmed_up(bench, Loop::Open(rate)).await;
    let before = requests.measure(bench.time).await.report().await;
    before.some_succeeded(None)?;
    before.warn_of_shortfall();
    rows.add("before", &before, [], json!({ "phase": "before" }))?;
    requests.set_rate(rate * times);
    let spike = requests.measure(bench.time).await;
    requests.set_rate(rate);
    let after = requests.measure_by(bench.time, window_of(bench.time)).await;
    rows.add("spike", &spike.report().await, [], json!({ "phase": "spike" }))?;
    let recovered = recovered_after(&before.all(), &after.windows);
    rows.add("after", &after.report().await, [], json!({ "phase": "after" }))?;
    requests.end().await?;
    let text = format!("\n{}\n", describe(recovered, bench.time));
    rows.end(&text, "spike", json!({ "recovered_after_millis": millis(recovered) }))
}
