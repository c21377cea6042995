//! What a bench of several steps tells: a row for each as soon as it is over, and for programs all of them at the end.

use serde::Serialize;
use serde_json::Value;

use super::report::{Report, latency};
use crate::cli::exit::{Failure, Format};
use crate::cli::{human, output};

/// Widths of the columns: rows are printed before the next are known.
const NAME_WIDTH: usize = 14;
const CELL_WIDTH: usize = 10;
const MORE_WIDTH: usize = 12;

/// The steps so far.
pub(super) struct Rows {
    format: Format,
    steps: Vec<Value>,
}

impl Rows {
    /// Prints the header: what the steps are named by, and `more` columns than all have.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub(super) fn begin(format: Format, name: &str, more: Vec<String>) -> Result<Self, Failure> {
        let rows = Self { format, steps: Vec::new() };
        let header = ["per second", "p50", "p99", "p99.9", "failed", "CPU each"].map(str::to_owned);
        rows.print(name, header, more, anstyle::Style::new().dimmed())?;
        Ok(rows)
    }

    /// Adds a step, and prints it. `more` are its cells of the further columns, and `json` its further fields.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub(super) fn add(
        &mut self,
        name: &str,
        report: &Report,
        more: impl IntoIterator<Item = String>,
        json: Value,
    ) -> Result<(), Failure> {
        let all = report.all();
        let at = |part| latency(all.latencies.value_at_quantile(part));
        let cells = [
            human::count(report.rate(&all).round() as u64),
            at(0.5),
            at(0.99),
            at(0.999),
            human::count(all.failed),
            report.cost_each().cpu_cell(),
        ];
        self.print(name, cells, more, anstyle::Style::new())?;
        let mut step = value_of(&report.json())?;
        if let (Value::Object(step), Value::Object(json)) = (&mut step, json) {
            step.extend(json);
        }
        self.steps.push(step);
        Ok(())
    }

    /// Prints what comes of all steps: text for people, or all steps and these fields for programs.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub(super) fn end(self, text: &str, shape: &str, json: Value) -> Result<(), Failure> {
        match self.format {
            Format::Human => output::print(text),
            Format::Json => {
                let mut whole = serde_json::json!({ "shape": shape, "steps": self.steps });
                if let (Value::Object(whole), Value::Object(json)) = (&mut whole, json) {
                    whole.extend(json);
                }
                output::print_json(&whole)
            }
        }
    }

    fn print(
        &self,
        name: &str,
        cells: impl IntoIterator<Item = String>,
        more: impl IntoIterator<Item = String>,
        style: anstyle::Style,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => Ok(()),
            Format::Human => output::print(&line(name, cells, more, style)),
        }
    }
}

fn line(
    name: &str,
    cells: impl IntoIterator<Item = String>,
    more: impl IntoIterator<Item = String>,
    style: anstyle::Style,
) -> String {
    let cells = cells.into_iter().map(|cell| format!("  {cell:>CELL_WIDTH$}"));
    let more = more.into_iter().map(|cell| format!("  {cell:>MORE_WIDTH$}"));
    format!("{style}{name:<NAME_WIDTH$}{}{style:#}\n", cells.chain(more).collect::<String>())
}

fn value_of(json: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(json).map_err(|error| Failure::local(format!("cannot write JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let cells = |cells: [&str; 2]| cells.map(str::to_owned);
        let lines = [(["p50", "p99"], ["kept", "memory n1"]), (["1.2 ms", "340 µs"], ["reached 74 %", "1.0 GiB"])];
        let lines = lines.map(|(base, more)| line("step", cells(base), cells(more), anstyle::Style::new()));
        let lines = lines.map(|line| anstream::adapter::strip_str(&line).to_string().trim_end().chars().count());
        assert_eq!(lines[0], lines[1]);
    }
}
