//! What placement costs: nanoseconds of a preference list; and, as a table, balance, data moved by a join and by a leave, and
//! the time to plan, for clusters of 3 to 1,000 equal nodes.
//!
//! `cargo bench -p quorate-ring --bench placement`; with `-- table` only the table, with `-- lists` only the lists.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use quorate_ring::{Capacity, Member, NodeId, PartitionCount, Position, Ring, claim};

fn members(count: u32) -> Vec<Member> {
    let node = |number| NodeId::new(number).expect("numbered from 1");
    (1..=count).map(|number| Member { node: node(number), zone: None, capacity: Capacity::default() }).collect()
}

fn planned(previous: Option<&Ring>, partitions: PartitionCount, members: Vec<Member>) -> (claim::Plan, Duration) {
    let began = Instant::now();
    let plan = claim::plan(previous, partitions, 3, members).expect("enough members");
    (plan, began.elapsed())
}

/// Moved data beside what must move, in percent of all, and how many partitions are crowded afterwards.
fn movement(plan: &claim::Plan) -> String {
    let replicas = f64::from(plan.ring.partitions().get()) * f64::from(plan.ring.replicas());
    let least = 100.0 * plan.moved_replicas_min as f64 / replicas;
    format!("{:6.2} {least:6.2} {:7.4} {:4}", 100.0 * plan.moved_fraction(), plan.balance, plan.crowded_nodes)
}

fn print_table() {
    println!("n = 3, equal nodes; moved and least in % of all data; crowded in partitions; times in ms");
    println!(
        "{:>5} {:>6} | {:>7} {:>4} {:>7} | {:>7} {:>6} {:>6} {:>7} {:>4} {:>7} | {:>6} {:>6} {:>7} {:>4} {:>7}",
        "nodes",
        "Q",
        "balance",
        "crwd",
        "time",
        "1/(S+1)",
        "join",
        "least",
        "balance",
        "crwd",
        "time",
        "leave",
        "least",
        "balance",
        "crwd",
        "time"
    );
    let (small, middle, large) = (1024, 16_384, 65_536);
    let sizes = [3, 4, 5, 6, 7, 10, 30, 100].map(|nodes| (nodes, small));
    let larger = [(30, 4096), (100, middle), (300, middle), (1000, middle), (1000, large)];
    for (nodes, count) in sizes.into_iter().chain(larger) {
        let partitions = PartitionCount::new(count).expect("a power of two");
        let (first, first_time) = planned(None, partitions, members(nodes));
        let (join, join_time) = planned(Some(&first.ring), partitions, members(nodes + 1));
        let mut fewer = members(nodes + 1);
        fewer.remove(nodes as usize / 2);
        let (leave, leave_time) = planned(Some(&join.ring), partitions, fewer);
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{nodes:>5} {count:>6} | {:7.4} {:4} {:7.1} | {:7.2} {} {:7.1} | {} {:7.1}",
            first.balance,
            first.crowded_nodes,
            millis(first_time),
            100.0 / f64::from(nodes + 1),
            movement(&join),
            millis(join_time),
            movement(&leave),
            millis(leave_time),
        );
    }
}

fn measure_lists(criterion: &mut Criterion) {
    for nodes in [3, 30, 1000] {
        let partitions = PartitionCount::new(16_384).expect("a power of two");
        let (plan, _) = planned(None, partitions, members(nodes));
        let ring = plan.ring;
        let mut position = 0_u64;
        let mut next = || {
            position = position.wrapping_add(0x9e37_79b9_7f4a_7c15);
            ring.preference_list(ring.partition_of(Position::new(position)))
        };
        criterion.bench_function(&format!("{nodes} nodes: 3 primaries"), |bencher| {
            bencher.iter(|| next().primaries().for_each(|node| _ = black_box(node)));
        });
        criterion.bench_function(&format!("{nodes} nodes: 3 primaries, first fallback"), |bencher| {
            bencher.iter(|| next().iter().take(4).for_each(|replica| _ = black_box(replica)));
        });
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if asked("table") {
        print_table();
    }
    if asked("lists") {
        let quick = Duration::from_secs(1);
        measure_lists(&mut Criterion::default().measurement_time(quick).warm_up_time(quick / 2));
    }
}
