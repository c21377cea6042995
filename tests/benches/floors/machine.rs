//! What the machine takes for itself: for how long somebody who wants to run does not, with nobody else there.
//!
//! On a machine that is shared a core is away for milliseconds at a time, however little a process does, and all latencies have that in them.

use std::thread;
use std::time::{Duration, Instant};

const MEASURED: Duration = Duration::from_secs(20);
/// Of each so long a thread is busy for a part, and sleeps for the rest.
const PERIOD: Duration = Duration::from_millis(1);
/// What is shorter has to do with looking at the clock, and with waking up.
const PAUSE_MIN: Duration = Duration::from_micros(50);

pub(super) fn measure() {
    println!("\n| what the machine takes | p99 | p99.9 | longest |\n|---|---|---|---|");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for tenths in [10, 7, 5] {
        let threads: Vec<_> = (0..cores).map(|_| thread::spawn(move || pauses(PERIOD * tenths / 10))).collect();
        let pauses: Vec<Duration> =
            threads.into_iter().flat_map(|thread| thread.join().expect("it only looks at the clock")).collect();
        let all = MEASURED * u32::try_from(cores).expect("few");
        let ms = |wait: Duration| format!("{:.2} ms", wait.as_secs_f64() * 1e3);
        println!(
            "| {cores} threads that want to run {tenths} tenths of the time: how long they do not when they want to | {} | {} | {} |",
            ms(longest_but_for(&pauses, all, 0.01)),
            ms(longest_but_for(&pauses, all, 0.001)),
            ms(pauses.iter().copied().max().unwrap_or_default()),
        );
    }
}

/// How long a thread did not run, each time that it wanted to and did not.
fn pauses(busy: Duration) -> Vec<Duration> {
    let asleep = PERIOD - busy;
    let mut pauses = Vec::new();
    let mut note = |pause: Duration| pauses.extend((PAUSE_MIN < pause).then_some(pause));
    let begun = Instant::now();
    while begun.elapsed() < MEASURED {
        let busy_from = Instant::now();
        let mut last = busy_from;
        while last - busy_from < busy {
            let now = Instant::now();
            note(now - last);
            last = now;
        }
        if !asleep.is_zero() {
            thread::sleep(asleep);
            note(last.elapsed().saturating_sub(asleep));
        }
    }
    pauses
}

/// What such a part of all moments has to wait for longer than: who comes amid a pause has the rest of it before him.
fn longest_but_for(pauses: &[Duration], all: Duration, part: f64) -> Duration {
    let longer_than = |wait: Duration| pauses.iter().map(|pause| pause.saturating_sub(wait)).sum::<Duration>();
    let (mut short, mut long) = (Duration::ZERO, pauses.iter().copied().max().unwrap_or_default());
    while Duration::from_micros(1) < long - short {
        let wait = (short + long) / 2;
        if all.mul_f64(part) < longer_than(wait) { short = wait } else { long = wait }
    }
    long
}
