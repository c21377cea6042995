//! The command line of `quorate-sim`: what it prints, what it writes, its exit status, and what it says to those who got it wrong.

#![expect(clippy::disallowed_methods, reason = "runs the program, and reads and writes its files")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

struct Ended {
    status: Option<i32>,
    out: String,
    error: String,
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn quorate_sim_in(directory: &Path, arguments: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-sim"));
    command.args(arguments.split_whitespace()).current_dir(directory);
    let Output { status, stdout, stderr } = command.output().expect("it can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended { status: status.code(), out: text(stdout), error: text(stderr) }
}

fn quorate_sim(arguments: &str) -> Ended {
    quorate_sim_in(directory().path(), arguments)
}

fn refuses(arguments: &str, with: &[&str]) {
    let ended = quorate_sim(arguments);
    assert_eq!(ended.status, Some(2), "{arguments}: {}", ended.error);
    for part in with {
        assert!(ended.error.contains(part), "`{arguments}` does not say {part:?}:\n{}", ended.error);
    }
}

/// The file of the plan of seed 3, with one text replaced by another.
fn plan_with(directory: &Path, replaced: &str, by: &str) -> String {
    assert_eq!(quorate_sim_in(directory, "run --seed 3 --plan-out 3.toml").status, Some(0));
    let text = std::fs::read_to_string(directory.join("3.toml")).expect("it was written");
    assert!(text.contains(replaced), "{text}");
    let changed = text.replacen(replaced, by, 1);
    std::fs::write(directory.join("3.toml"), &changed).expect("it can be written");
    changed
}

#[test]
fn a_run_is_told_in_a_screenful_with_its_hash() {
    let ended = quorate_sim("run --seed 3");
    assert_eq!((ended.status, ended.error.as_str()), (Some(0), ""));
    for part in ["passed  seed 3", "Repeat with  quorate-sim run --seed 3", "History", "Fired", "Sometimes"] {
        assert!(ended.out.contains(part), "{part}:\n{}", ended.out);
    }
    assert!(ended.out.lines().count() <= 45, "{}", ended.out);
}

#[test]
fn everything_that_happened_is_told_when_asked_for() {
    let ended = quorate_sim("run --seed 3 --verbose");
    assert_eq!(ended.status, Some(0));
    assert!(500 < ended.out.lines().count() && ended.out.contains("replicate"), "{}", ended.out);
}

#[test]
fn the_same_seed_is_told_the_same_way() {
    let told = || {
        let out = quorate_sim("run --seed 12 --verbose").out;
        out.lines().filter(|line| !line.starts_with("History")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(), told());
}

#[test]
fn a_plan_file_replays_the_run_it_came_from() {
    let directory = directory();
    let history = |out: &str| {
        let line = out.lines().find(|line| line.starts_with("History")).expect("its hash is told");
        line.split(',').next().map(str::to_owned)
    };
    let run = quorate_sim_in(directory.path(), "run --seed 21 --plan-out 21.toml --html 21.html");
    let replayed = quorate_sim_in(directory.path(), "replay 21.toml");
    assert_eq!((run.status, replayed.status), (Some(0), Some(0)));
    assert_eq!(history(&run.out), history(&replayed.out));
    assert!(replayed.out.contains("quorate-sim replay 21.toml"), "{}", replayed.out);
    let page = std::fs::read_to_string(directory.path().join("21.html")).expect("it was drawn");
    assert!(page.starts_with("<!"), "{}", &page[..200]);
}

#[test]
fn a_campaign_counts_what_fired_and_happened() {
    let ended = quorate_sim("campaign --seeds 40");
    assert_eq!(ended.status, Some(0), "{}", ended.out);
    for part in ["seeds from 0", "40 seeds from 0: 0 failed", "faults fired", "sometimes", "passed", "events"] {
        assert!(ended.out.contains(part), "{part}:\n{}", ended.out);
    }
}

#[test]
fn a_campaign_of_one_thread_counts_as_one_of_several_does() {
    let counts = |threads| {
        let out = quorate_sim(&format!("campaign --first 100 --seeds 50 --threads {threads}")).out;
        let counted = out.lines().filter(|line| line.starts_with("  "));
        counted.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(counts(1), counts(3));
}

#[test]
fn a_campaign_bounded_by_time_says_where_it_began() {
    let ended = quorate_sim("campaign --seconds 0.5");
    assert_eq!(ended.status, Some(0), "{}", ended.out);
    let first = ended.out.strip_prefix("seeds from ").and_then(|rest| rest.split(',').next());
    assert!(first.is_some_and(|first| first.parse::<u64>().is_ok()), "{}", ended.out);
}

#[test]
fn only_the_faults_that_are_asked_for_happen() {
    let ended = quorate_sim("campaign --seeds 40 --faults n7,P2");
    let counted = |id: &str| {
        let line = ended.out.lines().find(|line| line.trim_start().starts_with(&format!("{id} ")));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().replace(',', "")
    };
    assert!(counted("N7").parse::<u64>().is_ok_and(|count| 0 < count), "{}", ended.out);
    for id in ["N8", "P1", "P3", "D5", "B1"] {
        assert_eq!(counted(id), "off", "{id}\n{}", ended.out);
    }
}

#[test]
fn an_audit_finds_each_seed_the_same_in_another_process() {
    let ended = quorate_sim("audit --seeds 10");
    assert_eq!(ended.status, Some(0), "{}{}", ended.out, ended.error);
    assert!(ended.out.contains("passed"), "{}", ended.out);
    let hashes = quorate_sim("audit --hashes --first 5 --seeds 3").out;
    assert_eq!(hashes.lines().map(|line| line.split(' ').next()).collect::<Vec<_>>(), ["5", "6", "7"].map(Some));
    let chain = quorate_sim("audit --chain --seed 5").out;
    assert!(500 < chain.lines().count() && chain.contains("Message"), "{chain}");
}

#[test]
fn everything_there_is_is_listed() {
    let all = quorate_sim("list").out;
    for part in ["faults", "N16", "V1", "oracles", "O10", "scenarios", "sometimes", "Siblings"] {
        assert!(all.contains(part), "{part}:\n{all}");
    }
    assert_eq!(quorate_sim("list faults").out.lines().count(), 39);
}

#[test]
fn scenarios_are_listed_and_run_by_name() {
    assert!(quorate_sim("list scenarios").out.contains("bridge"));
    let directory = directory();
    let told = quorate_sim_in(directory.path(), "scenario bridge --plan-out bridge.toml");
    assert_eq!(told.status, Some(0), "{}", told.out);
    assert!(told.out.contains("prevented by") && told.out.contains("passed  bridge"), "{}", told.out);
    assert_eq!(quorate_sim_in(directory.path(), "replay bridge.toml").status, Some(0));
}

#[test]
fn an_unknown_scenario_is_answered_with_the_nearest() {
    refuses("scenario bridges", &["no scenario is called \"bridges\"", "nearest are bridge"]);
}

#[test]
fn what_does_not_fail_is_not_minimised() {
    refuses("minimise --seed 3", &["seed 3 does not fail"]);
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    for seed in ["x", "", "-1", "1.5", "18446744073709551615"] {
        let ended = Command::new(env!("CARGO_BIN_EXE_quorate-sim")).args(["run", &format!("--seed={seed}")]).output();
        let ended = ended.expect("it can be run");
        assert_eq!(ended.status.code(), Some(2), "{seed}");
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(seed.is_empty() || error.contains("a seed is a whole number"), "{error}");
    }
}

#[test]
fn an_unknown_fault_is_answered_with_the_nearest() {
    refuses("campaign --seeds 1 --faults N77", &["no fault is called \"N77\"", "N7"]);
    refuses("run --seed 1 --faults N7,,P2", &["no fault is called"]);
}

#[test]
fn contradictions_are_refused() {
    refuses("campaign", &["--seeds", "--seconds"]);
    refuses("campaign --seeds 0", &["whole number from 1"]);
    refuses("campaign --seeds 10 --threads 0", &["whole number from 1"]);
    refuses("campaign --seconds -3", &[]);
    refuses("audit --seed 3 --seeds 4", &["cannot be used with"]);
    refuses("audit --chain --seeds 4", &["cannot be used with"]);
    refuses("minimise some.toml --seed 4", &["cannot be used with"]);
    refuses("minimise", &["required"]);
    refuses("", &["Usage"]);
    refuses("rum", &["'run'"]);
    refuses("list nonsense", &["faults", "oracles"]);
    refuses("zoo no-such-bug-at-all", &["no planted bug named"]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    refuses("replay nowhere.toml", &["nowhere.toml", "No such file"]);
    refuses("minimise nowhere.toml", &["nowhere.toml", "No such file"]);
    refuses("run --seed 1 --plan-out no/such/directory.toml", &["no/such/directory.toml"]);
    refuses("run --seed 1 --html no/such/directory.html", &["no/such/directory.html"]);
}

#[test]
fn a_bad_line_of_a_plan_is_named_with_what_was_expected() {
    let directory = directory();
    for (good, bad, expected) in [
        ("nodes = ", "nodes = \"many\" # ", "expected u32"),
        ("durability = ", "durability = \"carved\" # ", "unknown variant `carved`, expected"),
        ("shards = ", "shards = 1\nshreds = ", "unknown field `shreds`, expected"),
        ("[disk]", "[disk", "expected"),
        ("faults = [", "faults = [\n { at = \"3 parsecs\", fault = { crash = { node = 1 } } },", "3 parsecs"),
        ("faults = [", "faults = [\n { at = \"1s\", fault = { crush = { node = 1 } } },", "unknown variant `crush`"),
    ] {
        let text = plan_with(directory.path(), good, bad);
        let ended = quorate_sim_in(directory.path(), "replay 3.toml");
        let word = bad.split(['\n', '"', ' ']).find(|word| ["many", "carved", "shreds", "[disk"].contains(word));
        let line = word.and_then(|word| text.lines().position(|line| line.contains(word))).map(|line| line + 1);
        assert_eq!(ended.status, Some(2), "{bad}");
        assert!(ended.error.contains("3.toml") && ended.error.contains(expected), "{}", ended.error);
        let number = line.map_or("line ".to_owned(), |line| format!("line {line}"));
        assert!(ended.error.contains(&number), "{number}: {}", ended.error);
    }
}

#[test]
fn a_plan_that_cannot_be_is_refused_with_its_place() {
    let directory = directory();
    plan_with(directory.path(), "faults = [", "faults = [\n { at = \"1s\", fault = { crash = { node = 77 } } },");
    let ended = quorate_sim_in(directory.path(), "replay 3.toml");
    assert_eq!(ended.status, Some(2));
    assert!(ended.error.contains("fault 1: node 77"), "{}", ended.error);
}

#[test]
fn a_plan_of_another_version_is_refused() {
    let directory = directory();
    plan_with(directory.path(), "quorate-plan = 1", "quorate-plan = 2");
    let ended = quorate_sim_in(directory.path(), "replay 3.toml");
    assert_eq!(ended.status, Some(2));
    assert!(ended.error.contains("a plan of format 2"), "{}", ended.error);
    plan_with(directory.path(), "quorate-plan = 1", "");
    assert!(quorate_sim_in(directory.path(), "replay 3.toml").error.contains("no plan"));
}

#[test]
fn the_nodes_that_a_rate_needs_are_told_and_the_same_each_time() {
    let asked = "capacity --rate 20000 --p99 20ms --reads 1 --requests 500 --records 300 --json";
    let (ended, again) = (quorate_sim(asked), quorate_sim(asked));
    assert_eq!((ended.status, &ended.out), (Some(0), &again.out), "{}", ended.error);
    let answer: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert!(answer["nodes"].as_u64().is_some_and(|nodes| (3..=20).contains(&nodes)), "{answer}");
    assert!(answer["carried"] == true && answer["latency_micros"]["p99"].as_u64() <= Some(20_000), "{answer}");
}

#[test]
fn what_a_cluster_carries_is_told_for_people() {
    let ended = quorate_sim("capacity --nodes 3 --rate 2000 --p99 20ms --requests 500 --records 300");
    assert_eq!(ended.status, Some(0), "{}{}", ended.out, ended.error);
    for part in
        ["3 nodes of 2 cores each", "carried with a p99 of 20ms", "p99.9", "busiest thread", "highest rate with"]
    {
        assert!(ended.out.contains(part), "{part}:\n{}", ended.out);
    }
    let ended = quorate_sim("capacity --nodes 3 --rate 200000 --requests 500 --records 300");
    assert!(ended.status == Some(1) && ended.out.contains("not carried"), "{}{}", ended.out, ended.error);
}

#[test]
fn measurements_make_a_profile_with_which_they_come_out() {
    let directory = directory();
    let bench = r#"{"clients":64,"rate":15000.0,"latency_micros":{"p50":3000,"p99":9000},
        "kinds":{"read":{"operations":90000}},"cpu_micros_nodes":60.0,"cpu_micros_bench":12.0}"#;
    std::fs::write(directory.path().join("gets.json"), bench).expect("it can be written");
    let shared = "capacity --machine-cores 2 --requests 500 --records 500";
    let fitted = quorate_sim_in(directory.path(), &format!("{shared} --calibrate 1000=gets.json"));
    assert_eq!(fitted.status, Some(0), "{}", fitted.error);
    assert!(fitted.out.contains("# gets.json: CPU of nodes 60.0 us measured"), "{}", fitted.out);
    std::fs::write(directory.path().join("mine.toml"), &fitted.out).expect("it can be written");
    let compared = format!("{shared} --profile mine.toml --compare 1000=gets.json --json");
    let compared = quorate_sim_in(directory.path(), &compared);
    let rows: serde_json::Value = serde_json::from_str(&compared.out).expect("JSON");
    let near = |of: &str| rows[0][of][1].as_f64().zip(rows[0][of][0].as_f64());
    for of in ["cpu_micros_nodes", "cpu_micros_client"] {
        assert!(near(of).is_some_and(|(one, other)| (one / other - 1.0).abs() < 0.1), "{of}: {rows}");
    }
}

#[test]
fn a_capacity_that_cannot_be_is_refused_with_the_reason() {
    let few = "capacity --requests 300 --records 300";
    refuses("capacity", &["expected --rate, --clients or --p99"]);
    refuses(&format!("{few} --p99 5ms"), &["expected --rate or --nodes"]);
    refuses(&format!("{few} --rate 1000 --p99 1us"), &["p99 of 1us cannot be kept", "already"]);
    refuses(&format!("{few} --rate 9000000 --p99 50ms"), &["more than 200 nodes would be needed"]);
    refuses(&format!("{few} --nodes 2 --rate 100"), &["2 nodes cannot hold 3 replicas"]);
    refuses(&format!("{few} --r 4 --rate 100"), &["r = 4 is not possible with n = 3"]);
    refuses("capacity --rate 0", &["requests a second, 0.1 to"]);
    refuses("capacity --rate 10 --clients 4", &["cannot be used with"]);
    refuses("capacity --cores 0 --rate 10", &["how many cores"]);
    refuses("capacity --nodes 3 --rate 10 --profile no.toml", &["cannot read no.toml"]);
    refuses("capacity --calibrate gets.json", &["such as 1000=gets.json"]);
    refuses("capacity --compare 1000=gets.json", &["cannot read gets.json"]);
}
