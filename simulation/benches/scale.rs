//! How word of a change of the members goes round among ten, a hundred and a thousand nodes, and what it costs each.
//!
//! All of it but the memory is in virtual time, so the figures are the same on every machine. A thousand nodes take some minutes of the
//! processor; `cargo bench -p quorate-simulation --bench scale -- 100` goes as far as a hundred.

#![expect(clippy::disallowed_methods, reason = "a bench reads what the system knows of its process")]

mod process;

use std::ops::Range;
use std::time::Duration;

use quorate_node::Time;
use quorate_node::limits::LAYOUT_INTERVAL;
use quorate_simulation::choices::Choices;
use quorate_simulation::plan::file;
use quorate_simulation::{Outcome, Plan, Trace, run_plan};

/// The number of the epoch that the change makes.
const CHANGED: u64 = 2;
/// When all have long heard of each other, and nothing changes any more: what their failure detectors send then they always send.
const SETTLED_SECONDS: Range<u64> = 50..65;
/// Most rounds until all know of it.
const ROUNDS_MAX: f64 = 20.0;

fn main() {
    let most: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000);
    println!("one node joins; a round of gossip is {} s", LAYOUT_INTERVAL.as_secs());
    println!(
        "{:>6} {:>22} {:>20} {:>24} {:>18} {:>22} {:>14}",
        "nodes",
        "known by half, all",
        "carried out",
        "layout KiB a node",
        "messages a node",
        "detector B/s a node",
        "resident MiB"
    );
    for nodes in [10, 100, 1_000].into_iter().filter(|nodes| *nodes <= most) {
        let outcome = run(nodes);
        assert_eq!(outcome.violation, None);
        print(nodes, &outcome);
    }
}

fn run(nodes: u32) -> Outcome {
    let plan = plan(nodes);
    let choices = Choices::new(plan.seed);
    run_plan(plan, choices, Trace::Off)
}

fn print(nodes: u32, outcome: &Outcome) {
    let spread = &outcome.spread;
    let known = &spread.known[&CHANGED];
    let rounds = |at: Time| at.since(known[0]).as_secs_f64() / LAYOUT_INTERVAL.as_secs_f64();
    let (half, all) = (rounds(known[known.len() / 2]), rounds(*known.last().expect("one made it")));
    let carried_out = rounds(*spread.alone[&CHANGED].last().expect("it was carried out"));
    let of_each = |all: u64| all as f64 / f64::from(nodes);
    println!(
        "{nodes:>6} {:>22} {:>20} {:>24.1} {:>18.0} {:>22.0} {:>14.0}{}",
        format!("{half:.1}, {all:.1} rounds"),
        format!("{carried_out:.1} rounds"),
        of_each(spread.bytes) / 1024.0,
        of_each(spread.messages),
        of_each(spread.detector_bytes.range(SETTLED_SECONDS).map(|(_, bytes)| bytes).sum())
            / SETTLED_SECONDS.count() as f64,
        process::peak_memory_bytes() as f64 / f64::from(1 << 20),
        if all <= ROUNDS_MAX { "" } else { "  (all should know within 20)" },
    );
}

fn plan(nodes: u32) -> Plan {
    let partitions = (nodes * 8).next_power_of_two();
    let (members, wait) = (nodes - 1, Duration::from_secs(60).as_secs());
    let text = format!(
        r#"
quorate-plan = 1
seed = 1
faults = [ {{ at = "10s", fault = {{ members = {{ by = 1, join = [{nodes}] }} }} }} ]
[cluster]
durability = "buffered"
keys = 1
members = {members}
n = 3
nodes = {nodes}
partitions = {partitions}
r = 2
shards = 1
sweeps = false
w = 2
[network]
carrier = "streams"
delay = {{ median = "1ms", shape = "exponential" }}
detection = {{ median = "60ms", shape = "log-normal" }}
[disk]
background-sync = "5s"
completion = {{ median = "100us", shape = "constant" }}
sync = {{ median = "2ms", shape = "constant" }}
write = {{ median = "100us", shape = "constant" }}
[[clients]]
steps = [
  {{ do = {{ put = {{ key = 0 }} }}, within = "500ms" }},
  {{ after = "{wait}s", do = {{ get = {{ key = 0 }} }}, within = "500ms" }},
]
"#
    );
    file::read(&text).unwrap_or_else(|error| panic!("{error}"))
}
