//! How the node is, for whoever asks.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use quorate_ring::wire::{HintStatus, NodeStatus, ScrubStatus, SyncStatus, Usage};
use tokio::sync::oneshot;

use super::shared::Shared;
use super::turn::{Event, Figures};

/// The kernel counts a process's CPU time in hundredths of a second.
const MICROS_PER_TICK: u64 = 10_000;

/// Asks the shards, the store and the kernel.
pub(super) async fn status(shared: &Shared) -> NodeStatus {
    let mut status = NodeStatus {
        node: shared.node,
        cluster: shared.cluster.clone(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        incarnation: shared.verdict.incarnation,
        start: shared.verdict.kind,
        complete: true,
        uptime_millis: shared.clock.now().as_micros() / 1000,
        shards: u16::try_from(shared.shards.len()).unwrap_or(u16::MAX),
        partitions: u32::try_from(shared.view().placement.partitions_of(shared.node).count()).unwrap_or(u32::MAX),
        peers: shared.peers.statuses(),
        gets: 0,
        puts: 0,
        deletes: 0,
        errors: 0,
        overloads: 0,
        repairs: 0,
        in_flight: 0,
        keys_about: shared.store.keys_about(),
        disk_bytes: shared.store.disk_bytes(),
        memory_bytes: memory_bytes().unwrap_or_default(),
        cpu_micros: cpu_micros().unwrap_or_default(),
        // What is summed by its minimum or maximum begins with the other end.
        sync: SyncStatus {
            age_millis: Some(0),
            scrub: ScrubStatus { rounds: u64::MAX, round_age_millis: Some(0), ..ScrubStatus::default() },
            ..SyncStatus::default()
        },
        hints: Vec::new(),
        hints_counted: true,
        hints_mark: 0,
        usage: Some(usage(shared)),
    };
    for shard in &shared.shards {
        let (asker, answer) = oneshot::channel();
        if shard.send(Event::Report(asker)).await.is_ok()
            && let Ok(figures) = answer.await
        {
            add(&mut status, figures);
        }
    }
    status
}

fn add(status: &mut NodeStatus, figures: Figures) {
    status.complete &= figures.complete;
    status.gets += figures.counters.gets;
    status.puts += figures.counters.puts;
    status.deletes += figures.counters.deletes;
    status.errors += figures.counters.errors;
    status.overloads += figures.counters.overloads;
    status.repairs += figures.counters.repairs;
    status.in_flight += figures.in_flight as u64;
    add_sync(&mut status.sync, figures.sync);
    status.hints_counted &= figures.hints_counted;
    status.hints_mark = status.hints_mark.max(figures.hints_mark);
    add_hints(&mut status.hints, figures.hints);
}

/// A node is the same as its peers since all its shards are.
fn add_sync(sum: &mut SyncStatus, shard: SyncStatus) {
    sum.age_millis = sum.age_millis.zip(shard.age_millis).map(|(one, other)| one.max(other));
    sum.partitions_behind += shard.partitions_behind;
    sum.partitions_differing += shard.partitions_differing;
    sum.exchanges += shard.exchanges;
    sum.keys_received += shard.keys_received;
    sum.bytes_received += shard.bytes_received;
    sum.transfers += shard.transfers;
    add_scrub(&mut sum.scrub, shard.scrub);
}

/// A node's round has ended since all its shards' have.
fn add_scrub(sum: &mut ScrubStatus, shard: ScrubStatus) {
    sum.partitions_scrubbed += shard.partitions_scrubbed;
    sum.partitions += shard.partitions;
    sum.rounds = sum.rounds.min(shard.rounds);
    sum.round_age_millis = sum.round_age_millis.zip(shard.round_age_millis).map(|(one, other)| one.max(other));
    sum.keys_unreadable += shard.keys_unreadable;
    sum.ranges_differing += shard.ranges_differing;
    sum.faults_mended += shard.faults_mended;
    sum.pages_uncompared += shard.pages_uncompared;
    sum.pages_unreadable += shard.pages_unreadable;
}

fn add_hints(sum: &mut Vec<HintStatus>, shard: Vec<HintStatus>) {
    for hints in shard {
        match sum.iter_mut().find(|known| known.target == hints.target) {
            Some(known) => {
                known.count += hints.count;
                known.bytes += hints.bytes;
                known.age_millis = known.age_millis.max(hints.age_millis);
                known.outstanding_from = known.outstanding_from.min(hints.outstanding_from);
            }
            None => sum.push(hints),
        }
    }
}

fn usage(shared: &Shared) -> Usage {
    let (peers, clients) = (shared.traffic.bytes(), shared.client_traffic.bytes());
    let disk = disk_bytes();
    Usage {
        context_switches: context_switches(),
        disk_bytes_read: disk.map(|(read, _)| read),
        disk_bytes_written: disk.map(|(_, written)| written),
        peer_bytes_sent: peers.sent,
        peer_bytes_received: peers.received,
        client_bytes_sent: clients.sent,
        client_bytes_received: clients.received,
    }
}

/// Of all threads of this process, of their own accord or not; `None` where the kernel does not say.
fn context_switches() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let switches = usage.voluntary_context_switches() + usage.involuntary_context_switches();
    u64::try_from(switches).ok()
}

/// Bytes read from disks and written to them; `None` where the kernel does not say.
fn disk_bytes() -> Option<(u64, u64)> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    Some((field("read_bytes:")?, field("write_bytes:")?))
}

/// Resident memory; `None` where the kernel does not say.
fn memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// CPU time of all threads of this process, in user and kernel mode; `None` where the kernel does not say.
pub fn cpu_micros() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold spaces; times are the 14th and 15th field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * MICROS_PER_TICK)
}
