//! The plan files of `simulation/plans`: each says in its first lines what it shows, each holds, and every fault in it fires.

#![expect(clippy::disallowed_methods, reason = "reads the plan files")]

use std::path::{Path, PathBuf};

use quorate_simulation::choices::Choices;
use quorate_simulation::plan::file;
use quorate_simulation::{Plan, Trace, run_plan};

fn plans() -> Vec<(PathBuf, String, Plan)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let entries = std::fs::read_dir(&directory).expect("there is a directory of plans");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let plan = file::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, text, plan)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_plan_file_holds_and_its_faults_fire() {
    let plans = plans();
    assert!(20 <= plans.len(), "{} plan files", plans.len());
    for (path, _, plan) in plans {
        let outcome = run_plan(plan.clone(), Choices::new(plan.seed), Trace::Off);
        assert_eq!(outcome.violation, None, "{}; `quorate-sim replay` tells its story", path.display());
        for id in plan.faults.iter().map(|fault| fault.fault.id()) {
            assert!(0 < outcome.fired.count(id), "{}: {id} ({}) never fires", path.display(), id.text());
        }
    }
}

#[test]
fn every_plan_file_says_what_it_shows() {
    for (path, text, _) in plans() {
        let about = text.lines().next().and_then(|line| line.strip_prefix("# "));
        assert!(about.is_some_and(|about| 20 < about.len()), "{} begins with what it shows", path.display());
    }
}

#[test]
fn a_plan_file_is_read_as_it_is_written() {
    for (path, _, plan) in plans() {
        let written = file::write(&plan, "once more");
        assert_eq!(file::read(&written), Ok(plan), "{}", path.display());
    }
}
