//! A simulated machine: the process with its production shards, their disks, and what lies beside them. Starting is judged by the
//! production rules, on the evidence that a real disk would show.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quorate_node::replica::Recovered;
use quorate_node::shard::split::Slices;
use quorate_node::start::{self, Evidence, Expected, Forced, Identity, MadeBy, Marker, Standing};
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Batch, Change, Column, Operation, OperationId, Storage};
use quorate_node::{Shard, ShardConfig, Time};
use quorate_ring::version::{Actor, ContextKey, Incarnation};
use quorate_ring::wire::Durability;
use quorate_ring::{ClusterName, NodeId, Ring};

use crate::choices::Stream;
use crate::plan::Plan;

/// One shard's disk: a store, and what is on its way to it.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What is stored.
    pub(crate) store: MemoryStore,
    /// Operations of turns, oldest first, that the disk has not begun.
    pub(crate) queue: VecDeque<Vec<(OperationId, Operation)>>,
    /// Entries of the dot log that are flushed and not synced.
    pub(crate) unsynced: Vec<Bytes>,
    /// When the last turn in the queue will be done.
    pub(crate) busy_until: Time,
}

/// A running process.
pub(crate) struct Process {
    /// Its shards.
    pub(crate) shards: Vec<Shard>,
    /// For each shard, when it will be told the time.
    pub(crate) wakes: Vec<Option<Time>>,
    /// Who its events are by.
    pub(crate) actor: Actor,
    /// Its decisions.
    pub(crate) stream: Stream,
    /// It stands still until then.
    pub(crate) paused_until: Time,
    /// It dies within its next turn.
    pub(crate) doomed: bool,
}

/// What the identity says of the process that began.
struct Begun {
    incarnation: Incarnation,
    ancestors: Vec<Incarnation>,
    standing: Standing,
}

/// A machine.
pub(crate) struct Node {
    /// Which node it is.
    pub(crate) id: NodeId,
    /// The process, while it runs.
    pub(crate) process: Option<Process>,
    /// How many processes there have been; what was meant for an earlier one is dropped.
    pub(crate) life: u32,
    /// The disks, one for each shard.
    pub(crate) disks: Vec<Disk>,
    /// Whether its disks are slow until then.
    pub(crate) slow_until: Time,
    /// Whether one of its disks has failed, or is about to.
    pub(crate) failing: bool,
    /// How often it was booted.
    pub(crate) boot: u32,
    /// Whether a sync is under way.
    pub(crate) syncing: bool,
    /// The content of the marker file.
    marker: Option<u64>,
}

impl Node {
    /// A machine with empty disks, switched off.
    pub(crate) fn new(id: NodeId, shards: u8) -> Self {
        let disk = |_| Disk {
            store: MemoryStore::new(SyncPolicy::Explicit),
            queue: VecDeque::new(),
            unsynced: Vec::new(),
            busy_until: Time::default(),
        };
        let disks = (0..shards).map(disk).collect();
        Self {
            id,
            process: None,
            life: 0,
            disks,
            slow_until: Time::default(),
            failing: false,
            boot: 0,
            syncing: false,
            marker: None,
        }
    }

    /// Starts a process on what the disks hold.
    pub(crate) fn start(&mut self, plan: &Plan, ring: &Arc<Ring>, mut stream: Stream) {
        assert!(self.process.is_none(), "one process at a time");
        let identity = self.identity(ring);
        let evidence = Evidence { nonce: self.marker, place: "here".to_owned(), boot: self.boot.to_string() };
        let fresh = Incarnation::new(stream.number("incarnation"));
        let verdict = start::judge(identity.as_ref(), &evidence, fresh, Forced::No);
        let begun =
            Begun { incarnation: verdict.incarnation, ancestors: verdict.ancestors, standing: verdict.standing };
        let nonce = stream.number("marker");
        self.mark(ring, &begun, MadeBy::Start, nonce);
        let actor = Actor::new(self.id, verdict.incarnation);
        let seed = stream.number("shards' seed");
        let shard = |(index, disk): (usize, &Disk)| {
            let config = ShardConfig {
                actor,
                quorum: plan.quorum,
                durability: plan.durability,
                context_key: ContextKey::new([7; 32]),
                shard: u8::try_from(index).expect("at most 256 shards"),
                standing: verdict.standing,
                ancestors: begun.ancestors.iter().copied().collect(),
                seed: seed ^ index as u64,
            };
            Shard::new(config, ring.clone(), recovered(&disk.store))
        };
        let shards: Vec<Shard> = self.disks.iter().enumerate().map(shard).collect();
        let wakes = vec![None; shards.len()];
        self.process = Some(Process { shards, wakes, actor, stream, paused_until: Time::default(), doomed: false });
    }

    fn identity(&self, ring: &Ring) -> Option<Identity> {
        let stored = self.disks[0].store.value(Column::Metadata, start::IDENTITY_KEY)?;
        let expected =
            Expected { cluster: cluster(), node: self.id, partitions: ring.partitions(), ring: ring.fingerprint() };
        Some(start::check(stored, &expected).expect("a machine keeps its own disks"))
    }

    /// Makes the marker anew and has the identity remember it, synced.
    fn mark(&mut self, ring: &Ring, begun: &Begun, made_by: MadeBy, nonce: u64) {
        self.marker = Some(nonce);
        let identity = Identity {
            cluster: cluster(),
            node: self.id,
            partitions: ring.partitions(),
            ring: ring.fingerprint(),
            incarnation: begun.incarnation,
            ancestors: begun.ancestors.clone(),
            standing: begun.standing,
            previous: None,
            marker: Marker { made_by, nonce, place: "here".to_owned(), boot: self.boot.to_string() },
        };
        self.write_identity(&identity);
        let store = &mut self.disks[0].store;
        store.sync();
        while store.poll_completion().is_some() {}
    }

    /// The peers have told whether the store is what it was: this is remembered across restarts, once it is synced.
    pub(crate) fn note_standing(&mut self, ring: &Ring, standing: Standing) {
        if let Some(identity) = self.identity(ring) {
            self.write_identity(&Identity { standing, ..identity });
        }
    }

    fn write_identity(&mut self, identity: &Identity) {
        let mut batch = Batch::default();
        batch.put(Column::Metadata, Bytes::from_static(start::IDENTITY_KEY), start::encode(identity));
        let store = &mut self.disks[0].store;
        store.submit(OperationId(u64::MAX), Operation::Write { batch, durability: Durability::Synced });
        store.flush();
    }

    /// The process dies. Of the turns that its disks had not begun, the first `begun` of each are done all the same.
    pub(crate) fn die(&mut self, begun: usize) -> Option<Process> {
        let process = self.process.take()?;
        self.life += 1;
        self.syncing = false;
        self.failing = false;
        for disk in &mut self.disks {
            for turn in disk.queue.drain(..).take(begun) {
                disk.unsynced.extend(logged(&turn));
                turn.into_iter().for_each(|(id, operation)| disk.store.submit(id, operation));
                disk.store.flush();
            }
            disk.store = std::mem::take(&mut disk.store).process_crash();
            disk.busy_until = Time::default();
        }
        Some(process)
    }

    /// The process is stopped in order: everything submitted is stored and synced, and the marker says so, unless a store fails even
    /// now.
    pub(crate) fn stop(&mut self, ring: &Ring) -> Option<Process> {
        let Identity { incarnation, ancestors, standing, .. } = self.identity(ring)?;
        for shard in 0..self.disks.len() {
            while !self.disks[shard].queue.is_empty() {
                self.do_turn(shard);
            }
        }
        self.sync();
        let failed = self.disks.iter().any(|disk| disk.store.poisoned().is_some());
        let mut process = self.die(0)?;
        if failed {
            return Some(process);
        }
        let nonce = process.stream.number("marker");
        self.mark(ring, &Begun { incarnation, ancestors, standing }, MadeBy::CleanStop, nonce);
        Some(process)
    }

    /// The machine, whose process is dead, loses power. Gives how many flushes were lost.
    pub(crate) fn lose_power(&mut self, stream: &mut Stream) -> usize {
        assert!(self.process.is_none(), "the process died first");
        self.boot += 1;
        let mut lost = 0;
        for disk in &mut self.disks {
            let unsynced = disk.store.unsynced();
            let kept = stream.index("flushes that reached the disk", unsynced + 1);
            lost += unsynced - kept;
            disk.store = std::mem::take(&mut disk.store).crash(kept);
            disk.unsynced.clear();
        }
        lost
    }

    /// The machine, whose process is dead, gets new disks.
    pub(crate) fn replace_disks(&mut self) {
        assert!(self.process.is_none(), "the process died first");
        self.marker = None;
        for disk in &mut self.disks {
            disk.store.wipe();
            disk.unsynced.clear();
        }
    }

    /// The disk of a shard does the oldest turn in its queue. Gives the entries of the dot log that are flushed by it.
    pub(crate) fn do_turn(&mut self, shard: usize) -> Vec<Bytes> {
        let disk = &mut self.disks[shard];
        let Some(turn) = disk.queue.pop_front() else { return Vec::new() };
        let entries: Vec<Bytes> = logged(&turn).collect();
        turn.into_iter().for_each(|(id, operation)| disk.store.submit(id, operation));
        disk.store.flush();
        if disk.store.poisoned().is_some() {
            return Vec::new();
        }
        disk.unsynced.extend(entries.iter().cloned());
        entries
    }

    /// All disks sync. Gives the entries of the dot log that are durable by it.
    pub(crate) fn sync(&mut self) -> Vec<Bytes> {
        let mut synced = Vec::new();
        for disk in &mut self.disks {
            disk.store.sync();
            if disk.store.poisoned().is_none() {
                synced.append(&mut disk.unsynced);
            }
        }
        synced
    }

    /// How its requests are dealt to its shards.
    pub(crate) fn slices(&self, ring: &Ring) -> Slices {
        Slices::new(ring.partitions(), u8::try_from(self.disks.len()).expect("at most 256 shards"))
    }
}

/// The cluster of all runs.
pub(crate) fn cluster() -> ClusterName {
    ClusterName::new("simulated").expect("a valid name")
}

/// What a store remembers.
fn recovered(store: &MemoryStore) -> Recovered {
    let entries = store.recover().expect("a store in memory can be read");
    Recovered::read(&entries).expect("what was encoded can be decoded")
}

fn logged(turn: &[(OperationId, Operation)]) -> impl Iterator<Item = Bytes> + '_ {
    let changes = turn.iter().flat_map(|(_, operation)| match operation {
        Operation::Write { batch, .. } => &batch.changes[..],
        Operation::Read { .. } | Operation::Scan(_) => &[],
    });
    changes.filter_map(|change| match change {
        Change::Put { column: Column::DotLog, key, .. } => Some(key.clone()),
        _ => None,
    })
}
