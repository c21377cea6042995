//! How the demo speaks: numbered steps, what a person would type, what happened, and whether it was as promised. Plain text
//! where there is no terminal.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::cli::exit::Failure;
use crate::cli::table::{Align, Table};
use crate::cli::{human, output};

const STEP: Style = AnsiColor::Cyan.on_default().bold();
const COMMAND: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
/// Text stands this far in, beside the steps' numbers.
pub(super) const INDENT: &str = "   ";

/// Tells, and remembers what was promised and whether it held.
#[derive(Default)]
pub(super) struct Teller {
    steps: u32,
    promises: Vec<Promise>,
}

/// Something that the demo shows to be so.
#[derive(Clone, Debug)]
struct Promise {
    what: String,
    seen: String,
    /// Whether what was seen is what was promised.
    held: bool,
}

impl Teller {
    /// Says what this is.
    pub(super) fn open(&self, place: &str) -> Result<(), Failure> {
        let title = "Quorate: a real cluster on this machine, and what it survives";
        output::print(&format!("{STEP}{title}{STEP:#}\n{place}\n"))
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) -> Result<(), Failure> {
        self.steps += 1;
        output::print(&format!("\n{STEP}{}{STEP:#}  {STEP}{title}{STEP:#}\n", self.steps))
    }

    /// A line or more of text.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        let lines: Vec<_> = text.lines().map(|line| format!("{}\n", format!("{INDENT}{line}").trim_end())).collect();
        output::print(&lines.concat())
    }

    /// Text that is laid out already.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        output::print(text)
    }

    /// What a person would type to do the same.
    pub(super) fn command(&self, command: &str) -> Result<(), Failure> {
        output::print(&format!("{INDENT}{COMMAND}$ {command}{COMMAND:#}\n"))
    }

    /// Notes whether something was as promised, and says so.
    pub(super) fn promise(&mut self, what: &str, held: bool, seen: impl Into<String>) -> Result<(), Failure> {
        let promise = Promise { what: what.to_owned(), seen: seen.into(), held };
        let text = format!("{INDENT}{} {}: {}\n", mark(held), promise.what, promise.seen);
        self.promises.push(promise);
        output::print(&text)
    }

    /// Sums up what was promised and what was seen.
    pub(super) fn sum_up(&mut self, took: Duration) -> Result<(), Failure> {
        self.step("What was promised, and what was seen")?;
        let mut table = Table::new([("", Align::Left), ("promise", Align::Left), ("seen", Align::Left)]);
        for promise in &self.promises {
            table.row([word(promise.held).to_owned(), promise.what.clone(), promise.seen.clone()]);
        }
        output::print(&table.render(INDENT))?;
        let held = self.promises.iter().filter(|promise| promise.held).count();
        let all = self.promises.len();
        self.say(&format!("\n{held} of {all} held, in {}.", human::duration(took)))
    }

    /// Whether everything was as promised.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.promises.iter().filter(|promise| !promise.held).count() {
            0 => Ok(()),
            broken => Err(Failure::local(format!("{broken} of the demo's promises did not hold; see above"))
                .help("`quorate demo --dir DIRECTORY` keeps the nodes' logs")),
        }
    }
}

/// Whether a promise held, in a word.
fn word(held: bool) -> &'static str {
    if held { "ok" } else { "NOT SO" }
}

/// The same, coloured.
fn mark(held: bool) -> String {
    let style = if held { GOOD } else { BAD };
    format!("{style}{}{style:#}", word(held))
}
