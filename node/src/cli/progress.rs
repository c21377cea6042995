//! Progress of long commands, on standard error: a bar on a terminal, a line every few seconds elsewhere, so that logs of
//! scripts stay readable.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::human;

/// Time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Pictures of the bar a second: smooth, and no load on slow terminals.
const REDRAWS_PER_SECOND: u8 = 10;

/// The progress of one command.
pub(crate) struct Progress {
    what: &'static str,
    /// What is counted.
    unit: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    line_due: Instant,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Records done, or whatever is counted.
    pub(crate) records: u64,
    /// How much of the whole is done, in the unit of the whole: bytes of a file, records, partitions.
    pub(crate) done: u64,
    /// The whole, if it is known.
    pub(crate) whole: Option<u64>,
}

impl Progress {
    /// Begins; `what` is what happens to the records, such as "loading".
    pub(crate) fn start(what: &'static str) -> Self {
        Self::counting(what, "records")
    }

    /// The same where something else is counted, such as "requests".
    pub(crate) fn counting(what: &'static str, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
            bar.set_message(what);
            bar
        });
        let now = Instant::now();
        Self { what, unit, bar, started: now, line_due: now + LINE_INTERVAL }
    }

    /// Shows how far it is, if it is time to.
    pub(crate) fn show(&mut self, step: Step) {
        match &self.bar {
            Some(bar) => self.draw(bar, step),
            None if self.line_due <= Instant::now() => {
                self.line_due = Instant::now() + LINE_INTERVAL;
                let whole = step.whole.filter(|whole| 0 < *whole);
                let percent = whole.map(|whole| format!("{} %, ", step.done * 100 / whole)).unwrap_or_default();
                anstream::eprintln!("{}: {percent}{}", self.what, self.figures(step));
            }
            None => {}
        }
    }

    /// Removes the bar, so that what is printed next stands where it was.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Since when.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn draw(&self, bar: &ProgressBar, step: Step) {
        let template = match step.whole {
            Some(_) => "{msg} [{bar:30}] {percent:>3} %  {prefix}  {eta} left",
            None => "{msg} {spinner} {prefix}",
        };
        if bar.length() != step.whole || bar.position() == 0 {
            let style = ProgressStyle::with_template(template).expect("the templates are valid");
            bar.set_style(style.progress_chars("=> "));
            step.whole.into_iter().for_each(|whole| bar.set_length(whole));
        }
        bar.set_prefix(self.figures(step));
        bar.set_position(step.done);
    }

    fn figures(&self, step: Step) -> String {
        let rate = human::rate(step.records, self.elapsed());
        let (count, rate, unit) = (human::count(step.records), human::count(rate), self.unit);
        format!("{count} {unit}, {rate} {unit}/s")
    }
}
