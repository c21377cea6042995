//! What R = 1, W = 1 costs in staleness on a network whose latencies were measured.
//!
//! How likely is a read, so long after a write was acknowledged, to miss it? Bailis, Venkataraman, Franklin, Hellerstein and Stoica
//! asked so in *Probabilistically Bounded Staleness for Practical Partial Quorums* (VLDB 2012) and answered with a model of
//! Dynamo's messages; here the production core answers, with its coordinators, hedged reads and read repair, on the latencies of
//! a trace. Each key has one writer, which writes again and again; readers ask any of the key's replicas at any time.
//!
//! `cargo run --release -p quorate-simulation --example staleness [TRACE [SEED]]`
//!
//! A trace is a text with one delay of a message in each line, such as `1.3ms`. Without one, the made-up sample beside this file is
//! used.

#![expect(clippy::disallowed_methods, reason = "it reads a trace from a file")]

use std::process::ExitCode;
use std::time::Duration;

use quorate_simulation::choices::Stream;
use quorate_simulation::delay::Delay;
use quorate_simulation::insight::Staleness;
use quorate_simulation::workload::{InvalidKey, Key, Step};
use quorate_simulation::{Cluster, Workload, latency};

const SAMPLE: &str = include_str!("latency-sample.txt");
const QUORUMS: [(u8, u8); 4] = [(1, 1), (1, 2), (2, 1), (2, 2)];
const KEYS: u32 = 8;
const READERS: u32 = 24;
const LASTING: Duration = Duration::from_secs(60);
/// Longest time since a write in the plot.
const PLOTTED: Duration = Duration::from_millis(16);

/// The first clients write a key each; the others read any.
struct WritersAndReaders {
    keys: Vec<Key>,
}

impl WritersAndReaders {
    fn new() -> Result<Self, InvalidKey> {
        let key = |number: u32| Key::new(format!("key {number}"));
        Ok(Self { keys: (0..KEYS).map(key).collect::<Result<_, _>>()? })
    }
}

impl Workload for WritersAndReaders {
    fn next(&mut self, client: usize, _now: Duration, draw: &mut Stream) -> Option<Step> {
        Some(match self.keys.get(client) {
            Some(own) => {
                let pause = Duration::from_micros(draw.choose("until the next write", 30_000..=60_000));
                Step::put(own, "a newer value").after(pause)
            }
            None => {
                let pause = Duration::from_micros(draw.choose("until the next read", 0..=5_000));
                Step::get(&self.keys[draw.index("key", self.keys.len())]).after(pause)
            }
        })
    }
}

fn staleness(latency: &Delay, (r, w): (u8, u8), seed: u64) -> Result<Staleness, Box<dyn std::error::Error>> {
    let cluster = Cluster::of(5).n(3).r(r).w(w).latency(latency.clone());
    let cluster = cluster.clients(KEYS + READERS).lasting(LASTING);
    let report = cluster.workload(WritersAndReaders::new()?).run(seed)?;
    report.verdict()?;
    Ok(report.insight.staleness)
}

/// The chances of missing a write, by time since it: in steps that grow.
fn table(curves: &[Staleness]) {
    println!("Chance that a read misses a key's last acknowledged write, by the time since that:\n");
    print!("  time since        ");
    QUORUMS.iter().for_each(|(r, w)| print!("  R={r}, W={w}"));
    println!("      reads");
    let edges = [0, 500, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 20_000, 40_000].map(Duration::from_micros);
    for range in edges.windows(2) {
        let (from, to) = (range[0], range[1]);
        print!("  {:>5} to {:>5} ms  ", millis(from), millis(to));
        for curve in curves {
            let share =
                curve.share_missed(from, to).map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0));
            print!("{share:>10}");
        }
        println!(" {:>10}", curves.iter().map(|curve| curve.since_write.between(from, to)).sum::<u64>());
    }
    print!("\n  all reads         ");
    for curve in curves {
        print!("{:>10}", format!("{:.2} %", curve.share().unwrap_or_default() * 100.0));
    }
    println!(" {:>10}", curves.iter().map(|curve| curve.reads).sum::<u64>());
    print!("  99 % are younger  ");
    for curve in curves {
        let age = if curve.stale == 0 { "-".to_owned() } else { format!("{} ms", millis(curve.age.percentile(990))) };
        print!("{age:>10}");
    }
    println!("  (the writes that stale reads missed)\n");
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

/// Width and height of the plot. Each row stands for half the chance of the row above it.
const COLUMNS: u32 = 64;
const ROWS: u32 = 9;

fn plot(curves: &[Staleness]) {
    let marks = ['1', 'w', 'r', '2'];
    let step = PLOTTED / COLUMNS;
    let share =
        |curve: &Staleness, column: u32| curve.share_missed(step * column, step * (column + 1)).unwrap_or_default();
    let shares = curves.iter().flat_map(|curve| (0..COLUMNS).map(|column| share(curve, column)));
    let highest = shares.fold(0.01, f64::max);
    for row in 0..ROWS {
        let [high, low] = [row, row + 1].map(|row| highest / f64::from(1 << row));
        let cell = |column: u32| {
            let index = curves.iter().position(|curve| low < share(curve, column) && share(curve, column) <= high);
            index.map_or(' ', |index| marks[index])
        };
        println!("  {:>6.3} % |{}", high * 100.0, (0..COLUMNS).map(cell).collect::<String>());
    }
    println!("           +{}", "-".repeat(COLUMNS as usize));
    println!("            0 ms{:>width$}", format!("{} ms", millis(PLOTTED)), width = COLUMNS as usize - 4);
    let legend: Vec<String> = marks.iter().zip(QUORUMS).map(|(mark, (r, w))| format!("{mark}: R={r}, W={w}")).collect();
    println!("            {}  (N = 3; nothing is drawn for a chance of 0)", legend.join("  "));
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (text, name) = match arguments.next() {
        Some(path) => (std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?, path),
        None => (SAMPLE.to_owned(), "the sample trace".to_owned()),
    };
    let seed = arguments.next().map_or(Ok(1), |text| text.parse()).map_err(|error| format!("the seed: {error}"))?;
    let latency = latency::measured(&text).map_err(|error| format!("{name}: {error}"))?;
    println!("Five nodes, N = 3, one-way delays as in {name}, {} s for each R and W.\n", LASTING.as_secs());
    let curves = QUORUMS.map(|quorum| staleness(&latency, quorum, seed)).into_iter().collect::<Result<Vec<_>, _>>()?;
    table(&curves);
    plot(&curves);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
