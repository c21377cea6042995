//! A simulated machine: the process with its production shards, their disks, and what lies beside them. Starting is judged by the
//! production rules, on the evidence that a real disk would show.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::handoff::hint::layout as hint;
use quorate_node::limits::{EXCHANGE_INTERVAL, TRANSFER_PAGE};
use quorate_node::membership::{Pace, Standing as Opinion};
use quorate_node::replica::{Recovered, layout};
use quorate_node::scrub::ScrubPace;
use quorate_node::shard::split::Slices;
use quorate_node::start::{self, Evidence, Expected, Forced, Identity, MadeBy, Marker, Standing};
use quorate_node::storage::memory::{MemoryStore, SyncPolicy};
use quorate_node::storage::{Batch, Change, Column, Operation, OperationId, Owner, Storage};
use quorate_node::{Shard, ShardConfig, Time};
use quorate_ring::layout::Layout;
use quorate_ring::version::{Actor, ContextKey, Incarnation};
use quorate_ring::wire::{Durability, Protocol};
use quorate_ring::{ClusterName, NodeId, PartitionCount, Position, Quorum, Ring, WallTime};

use crate::choices::Stream;
use crate::clock::LocalClock;
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

impl Disk {
    /// The entries of the dot log for all events that are stored, for this node or for others.
    pub(crate) fn logged(&self, partitions: PartitionCount) -> Vec<Bytes> {
        let own = self.store.entries(Column::DotLog).map(|(key, _)| key.clone());
        let kept = self.store.entries(Column::Hints).flat_map(|(place, value)| hinted(partitions, place, value));
        own.chain(kept).collect()
    }
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
    /// How it will die, if it will.
    pub(crate) doom: Option<Doom>,
    /// What each shard was last told of the wall clock.
    pub(crate) walls: Vec<WallTold>,
    /// The next write that it sends to its peers reaches so many only.
    pub(crate) fan_out: Option<usize>,
    /// What it thinks of the others.
    pub(crate) opinions: Arc<BTreeMap<NodeId, Opinion>>,
}

/// What a shard has been told of the wall clock, and so takes it to show: the oracles' own reckoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallTold {
    /// The last reading.
    reading: WallTime,
    /// When it was told, by the monotonic clock; the first one counts from the first turn.
    at: Option<Time>,
    /// The largest that it has come to.
    shown: WallTime,
}

impl WallTold {
    /// Whether it is time for another reading.
    pub(crate) fn is_old(&self, local: Time) -> bool {
        self.at.is_some_and(|at| READING_EVERY <= local.since(at))
    }

    /// It is told a reading.
    pub(crate) fn tell(&mut self, local: Time, reading: WallTime) {
        (self.reading, self.at) = (reading, Some(local));
    }

    /// What the shard takes its wall clock to show now.
    pub(crate) fn shows(&mut self, local: Time) -> WallTime {
        let at = *self.at.get_or_insert(local);
        self.shown = self.shown.max(self.reading + local.since(at));
        self.shown
    }
}

/// The end of a process within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doom {
    /// How many inputs it still takes before.
    pub(crate) inputs: u32,
    /// How much of the last one's output it brings out, of a thousand.
    pub(crate) outputs: u16,
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
    /// Which version of the protocol its process speaks, or the last did.
    pub(crate) protocol: Protocol,
    /// Which the next one will.
    pub(crate) protocol_next: Protocol,
    /// The disks, one for each shard.
    pub(crate) disks: Vec<Disk>,
    /// Its clocks.
    pub(crate) clock: LocalClock,
    /// Its disks are slow until then.
    pub(crate) slow_until: Time,
    /// Its disks do nothing until then.
    pub(crate) stalled_until: Time,
    /// Its disks are full until then.
    pub(crate) full_until: Time,
    /// Its disks' syncs lie until then.
    pub(crate) lying_until: Time,
    /// Whether a sync lied since the last that did not.
    pub(crate) lied: bool,
    /// Whether one of its disks has failed, or is about to.
    pub(crate) failing: bool,
    /// Whose disks it has, if they are not its own: it must not start on them.
    pub(crate) disks_of: Option<NodeId>,
    /// A copy of its stores, and of the marker beside them.
    copy: Option<(Vec<MemoryStore>, Option<u64>)>,
    /// Where its files lie, which a restored copy does not share.
    place: u32,
    /// How often it was booted.
    pub(crate) boot: u32,
    /// Whether a sync is under way.
    pub(crate) syncing: bool,
    /// The content of the marker file.
    marker: Option<u64>,
    /// How many partitions the ring has.
    pub(crate) partitions: PartitionCount,
}

impl Node {
    /// A machine with empty disks, switched off.
    pub(crate) fn new(id: NodeId, shards: u8, partitions: PartitionCount, protocol: Protocol) -> Self {
        let disk = |_| Disk {
            store: MemoryStore::new(SyncPolicy::Explicit),
            queue: VecDeque::new(),
            unsynced: Vec::new(),
            busy_until: Time::default(),
        };
        Self {
            id,
            process: None,
            life: 0,
            protocol,
            protocol_next: protocol,
            disks: (0..shards).map(disk).collect(),
            clock: LocalClock::starting_at(Time::from_micros(u64::from(id.number()) * CLOCKS_APART_MICROS)),
            slow_until: Time::default(),
            stalled_until: Time::default(),
            full_until: Time::default(),
            lying_until: Time::default(),
            lied: false,
            failing: false,
            disks_of: None,
            copy: None,
            place: 0,
            boot: 0,
            syncing: false,
            marker: None,
            partitions,
        }
    }

    /// Starts a process on what the disks hold.
    pub(crate) fn start(
        &mut self,
        now: Time,
        plan: &Plan,
        quorum: Quorum,
        members: (&Arc<Ring>, Option<&Layout>),
        mut stream: Stream,
    ) {
        let (ring, founding) = members;
        assert!(self.process.is_none(), "one process at a time");
        self.protocol = self.protocol_next;
        let identity = self.identity(ring);
        let evidence = Evidence { nonce: self.marker, place: self.place.to_string(), boot: self.boot.to_string() };
        let fresh = Incarnation::new(stream.number("incarnation"));
        let verdict = start::judge(identity.as_ref(), &evidence, fresh, Forced::No);
        let begun =
            Begun { incarnation: verdict.incarnation, ancestors: verdict.ancestors, standing: verdict.standing };
        let nonce = stream.number("marker");
        self.mark(ring, &begun, MadeBy::Start, nonce);
        let actor = Actor::new(self.id, verdict.incarnation);
        let seed = stream.number("shards' seed");
        let reading = self.clock.wall_at(now);
        let told = WallTold { reading, at: None, shown: reading };
        let shards = u8::try_from(self.disks.len()).expect("at most 256 shards");
        let stored = founding.and_then(|_| recovered(&self.disks[0].store).layout);
        let layout = stored.or_else(|| founding.cloned());
        let shard = |(index, disk): (usize, &Disk)| {
            let config = ShardConfig {
                actor,
                quorum,
                durability: plan.durability(),
                context_key: ContextKey::new([7; 32]),
                shard: u8::try_from(index).expect("at most 256 shards"),
                shards,
                standing: verdict.standing,
                ancestors: begun.ancestors.iter().copied().collect(),
                seed: seed ^ index as u64,
                wall: reading,
                hints: plan.cluster.hints.bounds(),
                exchange_interval: EXCHANGE_INTERVAL,
                transfer_page: plan.cluster.transfer_page.unwrap_or(TRANSFER_PAGE),
                scrub: plan.cluster.sweeps.then_some(SCRUB),
                pace: pace(),
            };
            let mut recovered = recovered(&disk.store);
            recovered.layout = layout.clone().filter(|_| index == 0);
            let placement = layout.as_ref().map_or_else(|| ring.clone().into(), |layout| layout.placement(self.id));
            Shard::new(config, placement.into(), recovered)
        };
        let shards: Vec<Shard> = self.disks.iter().enumerate().map(shard).collect();
        let wakes = vec![None; shards.len()];
        let walls = vec![told; shards.len()];
        let paused_until = Time::default();
        let opinions = Arc::default();
        let doom = None;
        self.process =
            Some(Process { shards, wakes, actor, stream, paused_until, doom, walls, fan_out: None, opinions });
    }

    /// Tries to start on another's disks.
    ///
    /// # Errors
    /// Whose they are. That it could start is an error as well: it must not.
    pub(crate) fn start_on_foreign_disks(&self, ring: &Ring) -> Result<(), String> {
        let Some(stored) = self.disks[0].store.value(Column::Metadata, start::IDENTITY_KEY) else { return Ok(()) };
        match start::check(stored, &self.expected(ring)) {
            Err(start::NotOurs::Node { .. }) => Ok(()),
            other => Err(format!("{} on another's disks: {other:?}", self.id)),
        }
    }

    /// Makes a copy of the stores, as a backup does.
    pub(crate) fn copy(&mut self) {
        let synced = |disk: &Disk| disk.store.clone().crash(disk.store.unsynced());
        self.copy = Some((self.disks.iter().map(synced).collect(), self.marker));
    }

    /// Puts the copy in the place of the stores; the process is dead. `false` if there is none.
    pub(crate) fn restore(&mut self) -> bool {
        assert!(self.process.is_none(), "the process died first");
        let Some((stores, marker)) = self.copy.take() else { return false };
        self.disks.iter_mut().zip(stores).for_each(|(disk, store)| {
            disk.store = store;
            disk.unsynced.clear();
        });
        self.marker = marker;
        self.place += 1;
        true
    }

    /// Two machines, whose processes are dead, get each other's disks.
    pub(crate) fn swap_disks(&mut self, other: &mut Self) {
        assert!(self.process.is_none() && other.process.is_none(), "the processes died first");
        std::mem::swap(&mut self.disks, &mut other.disks);
        std::mem::swap(&mut self.marker, &mut other.marker);
        // Whoever carries disks to another machine has switched them off in order.
        self.disks.iter_mut().chain(&mut other.disks).for_each(|disk| disk.store.sync());
    }

    fn expected(&self, ring: &Ring) -> Expected {
        Expected { cluster: cluster(), node: self.id, partitions: ring.partitions(), ring: ring.fingerprint() }
    }

    fn identity(&self, ring: &Ring) -> Option<Identity> {
        let stored = self.disks[0].store.value(Column::Metadata, start::IDENTITY_KEY)?;
        Some(start::check(stored, &self.expected(ring)).expect("a machine keeps its own disks"))
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
            marker: Marker { made_by, nonce, place: self.place.to_string(), boot: self.boot.to_string() },
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

    /// Peers have met these incarnations of the node, which its store did not know.
    pub(crate) fn note_lost(&mut self, ring: &Ring, lost: &[Incarnation]) {
        if let Some(mut identity) = self.identity(ring) {
            start::remember_lost(&mut identity.ancestors, identity.incarnation, lost);
            self.write_identity(&identity);
        }
    }

    fn write_identity(&mut self, identity: &Identity) {
        let mut batch = Batch::default();
        batch.put(Column::Metadata, Bytes::from_static(start::IDENTITY_KEY), start::encode(identity));
        let store = &mut self.disks[0].store;
        store.submit(IDENTITY_OPERATION, Operation::Write { batch, durability: Durability::Synced });
        store.flush();
    }

    /// The process dies. Of the turns that its disks had not begun, the first so many of a thousand are done all the same.
    pub(crate) fn die(&mut self, begun: u16) -> Option<Process> {
        let process = self.process.take()?;
        self.life += 1;
        self.syncing = false;
        self.failing = false;
        for disk in &mut self.disks {
            let begun = share(disk.queue.len(), begun);
            for turn in disk.queue.drain(..).take(begun) {
                disk.unsynced.extend(logged(&turn, self.partitions));
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
    pub(crate) fn stop(&mut self, now: Time, ring: &Ring) -> Option<Process> {
        let Identity { incarnation, ancestors, standing, .. } = self.identity(ring)?;
        for shard in 0..self.disks.len() {
            while !self.disks[shard].queue.is_empty() {
                self.do_turn(now, shard);
            }
        }
        self.sync(now);
        let failed = self.disks.iter().any(|disk| disk.store.poisoned().is_some());
        let mut process = self.die(0)?;
        if failed {
            return Some(process);
        }
        let nonce = process.stream.number("marker");
        self.mark(ring, &Begun { incarnation, ancestors, standing }, MadeBy::CleanStop, nonce);
        Some(process)
    }

    /// The machine, whose process is dead, loses power, and all but this part of a thousand of the flushes that were not synced. Gives
    /// how many flushes were lost.
    pub(crate) fn lose_power(&mut self, keeps: u16) -> usize {
        assert!(self.process.is_none(), "the process died first");
        self.boot += 1;
        let mut lost = 0;
        for disk in &mut self.disks {
            let unsynced = disk.store.unsynced();
            let kept = share(unsynced, keeps);
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
    pub(crate) fn do_turn(&mut self, now: Time, shard: usize) -> Vec<Bytes> {
        let disk = &mut self.disks[shard];
        let Some(turn) = disk.queue.pop_front() else { return Vec::new() };
        if now < self.full_until && turn.iter().any(|(_, operation)| matches!(operation, Operation::Write { .. })) {
            disk.store.fail_next_write("no space left on device");
            self.failing = true;
        }
        let entries: Vec<Bytes> = logged(&turn, self.partitions).collect();
        turn.into_iter().for_each(|(id, operation)| disk.store.submit(id, operation));
        disk.store.flush();
        if disk.store.poisoned().is_some() {
            return Vec::new();
        }
        disk.unsynced.extend(entries.iter().cloned());
        entries
    }

    /// All disks sync. Gives the entries of the dot log that are durable by it.
    pub(crate) fn sync(&mut self, now: Time) -> Vec<Bytes> {
        let lies = now < self.lying_until;
        let mut synced = Vec::new();
        for disk in &mut self.disks {
            if lies {
                self.lied |= 0 < disk.store.unsynced();
                disk.store.pretend_sync();
                // What the disk says is all that an acknowledgement can go by.
                synced.extend(disk.unsynced.iter().cloned());
                continue;
            }
            disk.store.sync();
            self.lied = false;
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

/// The number of a write that no shard has asked for. Its completion comes to one all the same, which does not know it.
const IDENTITY_OPERATION: OperationId = OperationId::new(Owner::Replica, (1 << 56) - 1);

/// A scrub that has been through everything soon after a run is healed.
///
/// The horizon is twice as long as any request takes here; what is late on the network is later by less.
pub(crate) const SCRUB: ScrubPace =
    ScrubPace { pause: Duration::from_millis(100), round: Duration::from_secs(20), horizon: Duration::from_secs(10) };

/// How the failure detector goes here: four times as fast as usual, so that a run of less than a second under faults sees it decide; any faster,
/// and idle nodes would be most of what there is to simulate.
pub(crate) fn pace() -> Pace {
    let (period, round_trip) = (Duration::from_millis(250), Duration::from_millis(80));
    let indirect = NonZeroUsize::new(3).expect("some");
    Pace::new(period, round_trip, indirect, Duration::from_millis(500)).expect("a third, and twice")
}

/// After how long a shard is told its wall clock again.
const READING_EVERY: Duration = Duration::from_millis(100);
/// By how much the monotonic clocks of two machines differ at the start.
const CLOCKS_APART_MICROS: u64 = 7_919_000_000;

/// So many of a thousand.
pub(crate) fn share(whole: usize, per_mille: u16) -> usize {
    (whole * usize::from(per_mille) + 500) / 1_000
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

/// The entries of the dot log for the events that a turn stores: its own, and those that it would have for the hints of the turn.
fn logged(turn: &[(OperationId, Operation)], partitions: PartitionCount) -> impl Iterator<Item = Bytes> + '_ {
    let changes = turn.iter().flat_map(|(_, operation)| operation.changes());
    changes.flat_map(move |change| match change {
        Change::Put { column: Column::DotLog, key, .. } => vec![key.clone()],
        Change::Put { column: Column::Hints, key, value } => hinted(partitions, key, value).collect(),
        _ => Vec::new(),
    })
}

fn hinted(partitions: PartitionCount, place: &Bytes, value: &[u8]) -> impl Iterator<Item = Bytes> {
    let (_, key) = hint::target_and_key(place).expect("a shard stores hints under their keys");
    let stored = hint::decode(value).expect("what was encoded can be decoded");
    let partition = partitions.partition_of(Position::of(&key));
    stored.dots.into_iter().map(move |dot| layout::dot_log(partition, dot))
}
