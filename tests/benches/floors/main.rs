//! What the parts below a node cost when nothing else is done with them, and so what no node gets below: RocksDB, QUIC, and UDP in the kernel; and
//! for how long the machine itself holds up whoever wants to run.
//!
//! ```text
//! cargo bench -p quorate-tests --bench floors -- rocks quic udp machine
//! ```
//!
//! CPU is that of the whole process, in user and kernel mode, with RocksDB's own threads and both ends of a connection. It hardly depends on
//! what else the machine does; rates do.

mod machine;
mod quic;
mod rocks;
mod udp;

use std::time::{Duration, Instant};

use quorate_tests::process::cpu_time;

/// As in a node.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Sizes of values.
const VALUE_BYTES: [usize; 5] = [16, 100, 1024, 10_000, 100_000];
/// How many are done at once: where one is waited for, and where a node has gathered some, the more the busier it is.
const BATCHES: [usize; 4] = [1, 4, 16, 64];
const MEASURED: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(300);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    println!("| what | CPU for each | a second |\n|---|---|---|");
    if asked("rocks") {
        rocks::measure();
    }
    if asked("quic") {
        quic::measure();
    }
    if asked("udp") {
        udp::measure();
    }
    if asked("machine") {
        machine::measure();
    }
}

/// Does rounds of so many operations for a while, and prints a row.
fn measured(what: &str, operations_of_round: usize, mut round: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        round();
    }
    let own = std::process::id();
    let (begun, before, mut rounds) = (Instant::now(), cpu_time(own), 0);
    while begun.elapsed() < MEASURED {
        round();
        rounds += 1;
    }
    let (time, busy) = (begun.elapsed(), cpu_time(own) - before);
    let operations = (rounds * operations_of_round) as f64;
    let micros = busy.as_secs_f64() * 1e6 / operations;
    println!("| {what} | {micros:.2} µs | {:.0} |", operations / time.as_secs_f64());
}
