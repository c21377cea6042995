//! What the kernel knows of a process: its CPU time and its memory.

use std::fs;
use std::time::Duration;

/// The kernel counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads of a process, in user and kernel mode.
///
/// # Panics
/// If there is no such process.
pub fn cpu_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The second field is the program's name in parentheses, which may hold spaces; times are the 14th and 15th field.
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
    TICK * ticks.sum::<u32>()
}

/// Memory of a process that is in RAM, in bytes.
///
/// # Panics
/// If there is no such process.
pub fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Has all threads of a process run on one core, and those that they start. Where there are fewer cores, nothing is done.
///
/// # Panics
/// If there is no such process.
pub fn pin(process: u32, core: usize) {
    use rustix::thread::{CpuSet, Pid, sched_setaffinity};
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() <= core) {
        return;
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    for task in fs::read_dir(format!("/proc/{process}/task")).expect("the process runs") {
        let name = task.expect("its threads can be listed").file_name();
        let thread = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        // It may have ended meanwhile.
        let _ = sched_setaffinity(thread, &cores);
    }
}
