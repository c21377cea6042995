//! What was found, as a table.

use std::fmt;
use std::time::Duration;

pub use super::hunt::Catch;

/// A bug that was planted, and whether it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What is wrong, in a line.
    pub title: String,
    /// How long its build took.
    pub built: Duration,
    /// How long its seeds ran.
    pub took: Duration,
    /// What was found.
    pub catch: Option<Catch>,
    /// The scenarios that are to prevent it, and whether each fails.
    pub scenarios: Vec<(String, bool)>,
    /// What the compiler said, if the edit no longer makes a program: it has to be written anew.
    pub refused: Option<String>,
    /// After how many seeds it was given up.
    pub seeds: u64,
}

impl Row {
    /// What found it: an oracle's number, `panic`, or `hang`; and whether its scenarios did.
    pub fn by(&self) -> String {
        let seeds = match &self.catch {
            None => "-",
            Some(catch) if catch.what.starts_with('O') => catch.what.split(',').next().unwrap_or_default(),
            Some(catch) if catch.what.starts_with("a hang") => "hang",
            Some(_) => "panic",
        };
        match (seeds, self.scenarios.len(), self.passing().next()) {
            (seeds, 0, _) => seeds.to_owned(),
            ("-", _, None) => "scenario".to_owned(),
            (seeds, _, None) => format!("{seeds}, scenario"),
            (seeds, _, Some(passes)) => format!("{seeds}, not {passes}"),
        }
    }

    /// The scenarios that pass all the same.
    fn passing(&self) -> impl Iterator<Item = &str> {
        self.scenarios.iter().filter(|(_, fails)| !fails).map(|(name, _)| name.as_str())
    }

    /// Whether seeds or scenarios found it, and every scenario did that is to.
    pub fn is_found(&self) -> bool {
        self.passing().next().is_none() && (self.catch.is_some() || !self.scenarios.is_empty())
    }

    /// How many seeds it took.
    pub fn needed(&self) -> Option<u64> {
        self.catch.as_ref().map(|catch| catch.last + 1)
    }
}

/// A line of the table, in Markdown.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = match (&self.refused, self.needed()) {
            (Some(_), _) => "does not build".to_owned(),
            (None, Some(seeds)) => seeds.to_string(),
            (None, None) => format!("not in {}", self.seeds),
        };
        let (name, title, by, seconds) = (&self.name, &self.title, self.by(), self.took.as_secs_f64());
        write!(f, "| {name} | {title} | {by} | {seeds} | {seconds:.2} |")
    }
}

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each bug.
    pub rows: Vec<Row>,
    /// Seeds that fail without any bug planted, as they were met.
    pub unplanted: Vec<Catch>,
}

impl Report {
    /// The head of the table.
    pub const HEAD: &'static str = "| bug | what is wrong | found by | seeds | seconds |\n|---|---|---|---|---|";

    /// Those that were not found.
    pub fn not_found(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_found())
    }

    /// Whether every bug was found, and the core itself never failed.
    pub fn is_good(&self) -> bool {
        self.unplanted.is_empty() && self.not_found().next().is_none()
    }

    /// Half of the bugs took no more seconds than this.
    pub fn median(&self) -> Duration {
        let mut took: Vec<Duration> = self.rows.iter().map(|row| row.took).collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }
}

/// What comes under the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost: Vec<&str> = self.not_found().map(|row| row.name.as_str()).collect();
        let found = self.rows.len() - lost.len();
        write!(f, "{found} of {} found; median {:.2} s", self.rows.len(), self.median().as_secs_f64())?;
        if !lost.is_empty() {
            write!(f, "; not found: {}", lost.join(", "))?;
        }
        for Catch { first, what, .. } in &self.unplanted {
            write!(f, "\nseed {first} fails with nothing planted: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_what_found_it() {
        let row = |what: Option<&str>| Row {
            name: "n".to_owned(),
            title: "t".to_owned(),
            built: Duration::ZERO,
            took: Duration::from_millis(1_250),
            catch: what.map(|what| Catch { first: 6, last: 6, what: what.to_owned() }),
            scenarios: Vec::new(),
            refused: None,
            seeds: 100,
        };
        assert_eq!(row(Some("O7, a read missed: it")).to_string(), "| n | t | O7 | 7 | 1.25 |");
        assert_eq!(row(Some("a hang: 500 seeds")).by(), "hang");
        let beside = |fails, what| Row { scenarios: vec![("s".to_owned(), fails)], ..row(what) };
        assert_eq!(beside(true, None).by(), "scenario");
        assert_eq!(beside(true, Some("O7, a read missed")).by(), "O7, scenario");
        assert_eq!(beside(false, Some("O7, a read missed")).by(), "O7, not s");
        assert!(beside(true, None).is_found() && !beside(false, Some("O7, a read missed")).is_found());
        assert_eq!(row(None).to_string(), "| n | t | - | not in 100 | 1.25 |");
        let mut report = Report { rows: vec![row(Some("a panic")), row(None)], unplanted: Vec::new() };
        assert_eq!(report.to_string(), "1 of 2 found; median 1.25 s; not found: n");
        report.rows.pop();
        assert!(report.is_good());
        report.unplanted.push(Catch { first: 3, last: 3, what: "a panic".to_owned() });
        let shown = report.to_string();
        assert!(!report.is_good() && shown.ends_with("seed 3 fails with nothing planted: a panic"), "{shown}");
    }
}
