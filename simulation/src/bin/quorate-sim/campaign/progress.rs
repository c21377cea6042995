//! How far a campaign is, on standard error: a line that changes on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_simulation::catalogue::FaultId;
use quorate_simulation::sometimes::Sometimes;

use super::totals::Totals;
use crate::screen;

/// Time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Pictures of the bar a second.
const REDRAWS_PER_SECOND: u8 = 8;

/// The progress of a campaign.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    seeds: Option<u64>,
    seconds: Option<Duration>,
    began: Instant,
    line_due: Instant,
}

impl Progress {
    /// Begins.
    pub(super) fn start(seeds: Option<u64>, seconds: Option<Duration>, began: Instant) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
            let style = ProgressStyle::with_template("{bar:20.cyan/dim} {percent:>3} %  {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, seeds, seconds, began, line_due: began + LINE_INTERVAL }
    }

    /// Shows how far it is, if it is time to.
    pub(super) fn show(&mut self, totals: &Totals) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.per_mille(totals));
                bar.set_message(figures(totals, self.began));
            }
            None if self.line_due <= Instant::now() => {
                self.line_due = Instant::now() + LINE_INTERVAL;
                screen::aside(format_args!("{} %: {}", self.per_mille(totals) / 10, figures(totals, self.began)));
            }
            None => {}
        }
    }

    /// Says something while the line is out of the way.
    pub(super) fn aside(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// Ends it.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    /// How much is done, by whichever bound is nearer.
    fn per_mille(&self, totals: &Totals) -> u64 {
        let of_seeds = self.seeds.map_or(0.0, |seeds| totals.seeds as f64 / seeds as f64);
        let of_time = self.seconds.map_or(0.0, |seconds| self.began.elapsed().as_secs_f64() / seconds.as_secs_f64());
        (of_seeds.max(of_time).min(1.0) * 1e3) as u64
    }
}

fn figures(totals: &Totals, began: Instant) -> String {
    let seconds = began.elapsed().as_secs_f64();
    let fired = FaultId::ALL.into_iter().filter(|id| 0 < totals.fired.count(*id)).count();
    let met = Sometimes::ALL.len() - totals.tallies.never().len();
    format!(
        "{} seeds, {} failed; {} seeds/s, {} events/s; {fired}/{} faults, {met}/{} sometimes",
        screen::number(totals.seeds),
        screen::number(totals.failed),
        screen::rate(totals.seeds, seconds),
        screen::rate(totals.events, seconds),
        FaultId::COUNT,
        Sometimes::ALL.len(),
    )
}
