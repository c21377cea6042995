//! What a run is: its cluster, its load, its network and disks, and which faults it meets. Drawn from the seed, each seed another
//! mix (swarm testing): faults that are always all on hide each other.

use quorate_ring::wire::Durability;
use quorate_ring::{PartitionCount, Quorum};

use crate::choices::{Choices, Stream};
use crate::delay::{Delay, Shape};

/// A run, before it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many nodes.
    pub nodes: u32,
    /// How many shards each has.
    pub shards: u8,
    /// N, and the default R and W.
    pub quorum: Quorum,
    /// Q.
    pub partitions: PartitionCount,
    /// Where a write must be to count, unless it says otherwise.
    pub durability: Durability,
    /// The load.
    pub load: Load,
    /// How messages travel.
    pub network: NetworkPlan,
    /// How disks work.
    pub disk: DiskPlan,
    /// What goes wrong.
    pub faults: FaultPlan,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many clients, each doing one thing after the other.
    pub clients: u32,
    /// How many things each does.
    pub operations: u32,
    /// On how many keys. Few keys meet more concurrency.
    pub keys: u32,
    /// Between two things.
    pub think: Delay,
    /// Shortest and longest time that a request is given, in milliseconds.
    pub timeout_millis: (u64, u64),
    /// How often each kind of operation is done, beside the others.
    pub mix: Mix,
    /// Whether requests ask for R, W and durability of their own.
    pub own_quorums: bool,
}

/// Weights of the kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Reads.
    pub get: u64,
    /// Writes without context.
    pub blind_put: u64,
    /// Writes with the context of the last read or write of the client, however old.
    pub put: u64,
    /// Reads, each followed by a write of what was read.
    pub update: u64,
    /// Deletes with the last context.
    pub delete: u64,
    /// Reads of several keys.
    pub get_many: u64,
    /// Writes of several keys.
    pub put_many: u64,
    /// Pages of scans.
    pub scan: u64,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    /// What carries them.
    pub carrier: Carrier,
    /// How long they take.
    pub delay: Delay,
    /// How long it takes to notice that a connection is gone.
    pub detection: Delay,
}

/// What carries messages between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Streams as of QUIC: in order, nothing lost but with the connection.
    Streams,
    /// Worse than what the core is made for: each message on its own. The core must never be wrong even so.
    Datagrams {
        /// Lost, of a thousand.
        lost: u64,
        /// Arrive twice, of a thousand.
        duplicated: u64,
    },
}

/// How disks work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskPlan {
    /// Until a turn's operations are done.
    pub write: Delay,
    /// From then until the shard learns of it.
    pub completion: Delay,
    /// From the wish to sync to the sync.
    pub sync: Delay,
    /// Between two syncs that nobody waits for, in microseconds.
    pub background_sync_micros: u64,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// Which kinds.
    pub kinds: Vec<FaultKind>,
    /// Between the starts of two faults.
    pub between: Delay,
    /// How long one lasts.
    pub lasting: Delay,
    /// How many faults.
    pub count: u32,
    /// How many different nodes may ever lose power or their disks. What an acknowledgement promises holds for fewer than W.
    pub losing_nodes: u32,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A process dies and starts again; what it flushed is there.
    ProcessCrash,
    /// The same, somewhere between the outputs of one turn.
    CrashInTurn,
    /// A node is stopped in order and starts again.
    CleanRestart,
    /// A machine dies; of what was flushed and not synced only a prefix is there.
    PowerLoss,
    /// All machines die at once, as far as the plan lets them lose power.
    Blackout,
    /// A machine gets empty disks: the node is the same, and remembers nothing.
    ReplacedDisk,
    /// A write fails: the store stops until the process starts again.
    WriteFailure,
    /// A sync fails: likewise.
    SyncFailure,
    /// One read fails.
    ReadFailure,
    /// A process stands still.
    Pause,
    /// A disk is slow.
    SlowDisk,
    /// The nodes are split in two.
    Partition,
    /// Some links, any of them, are cut.
    CutLinks,
    /// A client is cut off from some nodes.
    CutClient,
    /// A connection between nodes breaks.
    Reset,
    /// A connection of a client breaks: requests and replies on their way are lost.
    ClientReset,
}

impl FaultKind {
    /// Those that [`Plan::swarm`] draws from.
    pub const DRAWN: [Self; 16] = [
        Self::ProcessCrash,
        Self::CrashInTurn,
        Self::CleanRestart,
        Self::PowerLoss,
        Self::Blackout,
        Self::ReplacedDisk,
        Self::WriteFailure,
        Self::SyncFailure,
        Self::ReadFailure,
        Self::Pause,
        Self::SlowDisk,
        Self::Partition,
        Self::CutLinks,
        Self::CutClient,
        Self::Reset,
        Self::ClientReset,
    ];
}

impl Plan {
    /// The plan of a seed.
    pub fn swarm(choices: &mut Choices) -> Self {
        let mut stream = choices.stream("plan");
        let draw = &mut stream;
        let n = draw.pick("n", &[3, 3, 3, 3, 5, 1, 2]);
        let nodes = u32::from(n) + draw.pick("further nodes", &[0, 1, 2, 2]);
        let quorum = Quorum::majority(n).expect("n is from 1 to 16");
        Self {
            nodes,
            shards: draw.pick("shards", &[1, 1, 2]),
            quorum,
            partitions: PartitionCount::new(draw.pick("partitions", &[8, 8, 16])).expect("a power of two"),
            durability: draw.pick("durability", &[Durability::Buffered, Durability::Buffered, Durability::Synced]),
            load: load(draw),
            network: network(draw),
            disk: disk(draw),
            faults: faults(draw, quorum),
        }
    }
}

fn load(draw: &mut Stream) -> Load {
    let mut weight = |label| draw.pick(label, &[0, 1, 2, 4]);
    let mix = Mix {
        get: 1 + weight("gets"),
        blind_put: 1 + weight("blind puts"),
        put: weight("puts"),
        update: weight("updates"),
        delete: weight("deletes"),
        get_many: weight("get many") / 2,
        put_many: weight("put many") / 2,
        scan: draw.pick("scans", &[0, 0, 2, 8]),
    };
    let longest = draw.pick("longest timeout", &[60, 300, 300, 1_000]);
    Load {
        clients: draw.pick("clients", &[2, 3, 4, 6]),
        operations: draw.pick("operations", &[20, 30]),
        keys: draw.pick("keys", &[1, 2, 4, 12, 60]),
        think: delay(draw, &[100, 2_000, 10_000]),
        timeout_millis: (longest / 3, longest),
        mix,
        own_quorums: draw.chance("own quorums", 500),
    }
}

fn network(draw: &mut Stream) -> NetworkPlan {
    let datagrams = Carrier::Datagrams {
        lost: draw.pick("lost", &[0, 20, 100]),
        duplicated: draw.pick("duplicated", &[0, 50, 200]),
    };
    NetworkPlan {
        carrier: draw.pick("carrier", &[Carrier::Streams, Carrier::Streams, datagrams]),
        delay: delay(draw, &[100, 500, 3_000]),
        detection: delay(draw, &[200, 5_000, 60_000]),
    }
}

fn disk(draw: &mut Stream) -> DiskPlan {
    DiskPlan {
        write: delay(draw, &[20, 100, 1_000]),
        completion: delay(draw, &[0, 20, 500]),
        sync: delay(draw, &[500, 4_000]),
        background_sync_micros: draw.pick("background sync", &[20_000, 200_000, 5_000_000]),
    }
}

fn faults(draw: &mut Stream, quorum: Quorum) -> FaultPlan {
    let kinds = FaultKind::DRAWN.into_iter().filter(|_| draw.chance("fault on", 350)).collect();
    let within_promise = u32::from(quorum.w()) - 1;
    FaultPlan {
        kinds,
        between: delay(draw, &[5_000, 30_000, 100_000]),
        lasting: delay(draw, &[10_000, 80_000, 300_000]),
        count: draw.pick("faults", &[0, 3, 6, 10]),
        losing_nodes: draw
            .pick("nodes that lose something", &[within_promise, within_promise, 2 * u32::from(quorum.n())]),
    }
}

fn delay(draw: &mut Stream, medians: &[u64]) -> Delay {
    Delay { shape: draw.pick("shape", &Shape::ALL), median_micros: draw.pick("median", medians) }
}
