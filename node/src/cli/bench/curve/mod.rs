//! The curve of latency against load: steps at parts of the highest rate that keeps a p99, drawn as a figure.

mod axis;
mod figure;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use self::figure::{Figure, Point};
use super::Bench;
use super::highest::{self, Bound};
use crate::cli::exit::Failure;
use crate::cli::human;

/// Parts of the highest rate, in percent.
const PARTS: [u8; 11] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110];

/// Where the figure goes. It appears there when it is whole.
pub(super) struct Destination {
    path: PathBuf,
    file: NamedTempFile,
}

impl Destination {
    /// Finds out before anything is measured whether a file can be written there.
    ///
    /// # Errors
    /// If not, or if it is not named as what it is to be.
    pub(super) fn prepare(path: &Path) -> Result<Self, Failure> {
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
            let named = format!("--curve draws SVG, and {} is not named so", path.display());
            return Err(Failure::invalid(named).help("name it something.svg"));
        }
        let cannot = |error: std::io::Error| Failure::file("write", path, &error);
        if path.is_dir() {
            return Err(cannot(std::io::ErrorKind::IsADirectory.into()));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory);
        Ok(Self { path: path.to_owned(), file: file.map_err(cannot)? })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        let cannot = |error| Failure::file("write", &self.path, &error);
        self.file.write_all(text.as_bytes()).map_err(cannot)?;
        self.file.persist(&self.path).map(|_| ()).map_err(|error| cannot(error.error))
    }
}

/// Searches for the highest rate, measures below it and a little above, and draws what came of it.
///
/// # Errors
/// As [`highest::search`], and if the figure cannot be written.
pub(super) async fn run(bench: &Bench, bound: Bound, destination: Destination) -> Result<(), Failure> {
    let mut rows = highest::rows(bench)?;
    let highest = highest::search(bench, &mut rows, bound).await?;
    let mut points = Vec::new();
    for part in PARTS {
        let rate = highest * f64::from(part) / 100.0;
        let (report, is_kept) = highest::step(bench, &mut rows, bound, rate).await?;
        let all = report.all();
        // Where nothing was answered there is nothing to draw.
        if !all.latencies.is_empty() {
            let micros = [0.5, 0.99, 0.999].map(|part| all.latencies.value_at_quantile(part));
            points.push(Point { rate, micros, is_kept });
        }
    }
    let path = destination.path.display().to_string();
    destination.write(&figure(bench, bound, highest, points).svg())?;
    let text = format!("{}the curve is in {path}\n", highest::describe(highest, bound));
    let mut json = highest::json(highest, bound);
    json["curve"] = path.into();
    rows.end(&text, "curve", json)
}

fn figure(bench: &Bench, bound: Bound, highest: f64, points: Vec<Point>) -> Figure {
    let nodes = bench.client.known_ring().members.len();
    let workload = &bench.workload;
    Figure {
        title: "Latency against load".to_owned(),
        subtitle: format!(
            "workload {}: {}; {nodes} nodes, values of {} bytes, {} records",
            workload.name,
            workload.describe_kinds(),
            human::count(workload.value_bytes as u64),
            human::count(workload.records)
        ),
        bound_micros: bound.p99.as_micros() as f64,
        bound_shown: format!("p99 below {}", human::duration(bound.p99)),
        highest,
        points,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_figure_can_be_is_told_before_anything_is_measured() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let refused = |name: &str| match Destination::prepare(&directory.path().join(name)) {
            Err(failure) => failure.message,
            Ok(_) => panic!("{name} is no place for a figure"),
        };
        assert!(refused("curve.png").contains("--curve draws SVG"));
        assert!(refused("missing/curve.svg").contains("cannot write"));
        std::fs::create_dir(directory.path().join("x.svg")).expect("it can be made");
        assert!(refused("x.svg").contains("cannot write"));
    }

    #[test]
    fn a_figure_appears_only_when_it_is_whole() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("curve.svg");
        let destination = Destination::prepare(&path).expect("there is room");
        assert!(!path.exists());
        destination.write("<svg/>").expect("it can be written");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "<svg/>");
        drop(Destination::prepare(&path).expect("it may be replaced"));
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 1);
    }
}
