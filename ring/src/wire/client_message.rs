//! What clients ask and nodes answer.

use serde::{Deserialize, Serialize};

use super::bounded::{PARTITIONS_MAX, at_most, batch_answers, consistent_ring, page_limit};
use super::{LayoutChange, RequestError};
use crate::layout::Layout;
use crate::limits::{BATCH_ITEMS_MAX, NODES_MAX, SCAN_ITEMS_MAX, SIBLINGS_MAX};
use crate::version::{ContextToken, Incarnation};
use crate::{BucketName, Capacity, ClusterName, NodeId, ObjectKey, PartitionCount, PartitionId, Value, ZoneName};

/// A request's number on its connection, chosen by the client; the reply carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// From a client to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMessage {
    /// Comes back with the reply.
    pub id: RequestId,
    /// How long from now the client will wait, in milliseconds. Work that nobody waits for any more is dropped.
    pub timeout_millis: u32,
    /// What is asked.
    pub request: Request,
}

/// From a node to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMessage {
    /// Of the request that this answers.
    pub id: RequestId,
    /// The answer. A batch may be answered in several [`Response::Many`], which together answer each item once.
    pub result: Result<Response, RequestError>,
}

/// Where a write is before it counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Durability {
    /// In the write-ahead log, handed to the operating system: survives the process. Synced in the background.
    #[default]
    #[serde(rename = "b")]
    Buffered,
    /// On the disk, by an fsync that many writes share: survives the machine.
    #[serde(rename = "s")]
    Synced,
}

/// What a client asks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Read a key from R replicas. Answered by [`Response::Found`].
    #[serde(rename = "g")]
    Get {
        /// What to read.
        key: ObjectKey,
        /// R, or the cluster's default.
        r: Option<u8>,
        /// Whether only the key's primaries may answer for it. If not, the next nodes of the preference list stand in for primaries
        /// that are away.
        #[serde(default, skip_serializing_if = "is_false")]
        strict: bool,
    },
    /// Read a key from all its primaries, and have those that are behind store what they lack before the answer: after it they
    /// all hold what it shows, or newer. Answered by [`Response::Found`]; by [`RequestError::ReadQuorum`] if one of them cannot be read or
    /// does not store it.
    #[serde(rename = "gr")]
    GetRepaired {
        /// What to read.
        key: ObjectKey,
    },
    /// Write a key to W replicas. Answered by [`Response::Stored`].
    #[serde(rename = "p")]
    Put {
        /// What to write.
        item: PutItem,
        /// W, or the cluster's default.
        w: Option<u8>,
        /// Where it must be to count, or the cluster's default.
        durability: Option<Durability>,
        /// Whether only the key's primaries may answer for it. If not, the next nodes of the preference list stand in for primaries
        /// that are away.
        #[serde(default, skip_serializing_if = "is_false")]
        strict: bool,
    },
    /// Delete what the context covers. Answered by [`Response::Stored`].
    #[serde(rename = "d")]
    Delete {
        /// What to delete.
        key: ObjectKey,
        /// Of a read: exactly what it covers is deleted.
        context: ContextToken,
        /// W, or the cluster's default.
        w: Option<u8>,
        /// Where it must be to count, or the cluster's default.
        durability: Option<Durability>,
        /// Whether only the key's primaries may answer for it. If not, the next nodes of the preference list stand in for primaries
        /// that are away.
        #[serde(default, skip_serializing_if = "is_false")]
        strict: bool,
    },
    /// Several gets. Answered by [`Response::Many`].
    #[serde(rename = "gm")]
    GetMany {
        /// What to read.
        #[serde(deserialize_with = "at_most::<BATCH_ITEMS_MAX, _, _>")]
        keys: Vec<ObjectKey>,
        /// R, or the cluster's default.
        r: Option<u8>,
        /// Whether only the key's primaries may answer for it. If not, the next nodes of the preference list stand in for primaries
        /// that are away.
        #[serde(default, skip_serializing_if = "is_false")]
        strict: bool,
    },
    /// Several puts, each on its own: some may fail. Answered by [`Response::Many`].
    #[serde(rename = "pm")]
    PutMany {
        /// What to write.
        #[serde(deserialize_with = "at_most::<BATCH_ITEMS_MAX, _, _>")]
        items: Vec<PutItem>,
        /// W, or the cluster's default.
        w: Option<u8>,
        /// Where each must be to count, or the cluster's default.
        durability: Option<Durability>,
        /// Whether only the key's primaries may answer for it. If not, the next nodes of the preference list stand in for primaries
        /// that are away.
        #[serde(default, skip_serializing_if = "is_false")]
        strict: bool,
    },
    /// One page of a bucket's live keys in one partition, in ring order. Answered by [`Response::Page`].
    #[serde(rename = "s")]
    Scan {
        /// Which bucket.
        bucket: BucketName,
        /// Which partition.
        partition: PartitionId,
        /// The last key of the page before, or the partition's start.
        after: Option<ObjectKey>,
        /// Most items of the page, 1 to [`SCAN_ITEMS_MAX`].
        #[serde(deserialize_with = "page_limit")]
        limit: u32,
        /// R, or the cluster's default.
        r: Option<u8>,
    },
    /// The ring. Answered by [`Response::Ring`].
    #[serde(rename = "ring")]
    Ring,
    /// How this node is. Answered by [`Response::Status`].
    #[serde(rename = "status")]
    Status,
    /// This node's copy of the layout. Answered by [`Response::Layout`].
    #[serde(rename = "layout")]
    Layout,
    /// Change the layout. Answered by [`Response::Layout`] once the change is on this node's disk; others hear of it by and by.
    #[serde(rename = "change")]
    ChangeLayout(LayoutChange),
}

/// For fields that an encoder leaves out while they say nothing: what older releases wrote stays as it is.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// One write of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutItem {
    /// What to write.
    pub key: ObjectKey,
    /// The value.
    pub value: Value,
    /// Of a read: the write replaces exactly what it covers. Without one it replaces nothing and lives beside what there is.
    pub context: Option<ContextToken>,
    /// How long the value lives, in milliseconds from its write, 1 to [`crate::limits::TTL_MILLIS_MAX`]; for ever without one.
    /// Checked by the node that it is asked of, as [`crate::Ttl`], so that a wrong one is told what is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_millis: Option<u64>,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To a get.
    #[serde(rename = "f")]
    Found {
        /// The siblings, in the order of their dots; empty if there is nothing.
        #[serde(deserialize_with = "at_most::<SIBLINGS_MAX, _, _>")]
        values: Vec<Value>,
        /// Covers exactly these values; pass it to the write that replaces them.
        context: ContextToken,
    },
    /// To a put or delete: W replicas have it.
    #[serde(rename = "w")]
    Stored {
        /// How many values the key now has at the coordinator, this one included.
        siblings: u32,
        /// Covers the value just written, if nothing else is there: the next write of the same client may pass it instead of
        /// reading. `None` if there are siblings that the writer has not seen.
        context: Option<ContextToken>,
    },
    /// To a batch, or part of one: the index of an item, and its answer.
    #[serde(rename = "m")]
    Many(#[serde(deserialize_with = "batch_answers")] Vec<(u32, Result<Response, RequestError>)>),
    /// To a scan.
    #[serde(rename = "s")]
    Page {
        /// Live keys in ring order.
        #[serde(deserialize_with = "at_most::<SCAN_ITEMS_MAX, _, _>")]
        items: Vec<ScanItem>,
        /// Where the next page starts; `None` at the partition's end.
        next: Option<ObjectKey>,
    },
    /// To a question for the ring.
    #[serde(rename = "ring")]
    Ring(#[serde(deserialize_with = "consistent_ring")] RingDescription),
    /// To a question for the status.
    #[serde(rename = "status")]
    Status(Box<NodeStatus>),
    /// To a question for the layout, and to a change of it.
    #[serde(rename = "layout")]
    Layout(Box<Layout>),
}

/// One live key of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanItem {
    /// The key.
    pub key: ObjectKey,
    /// Its siblings; at least one.
    #[serde(deserialize_with = "at_most::<SIBLINGS_MAX, _, _>")]
    pub values: Vec<Value>,
    /// Covers exactly these values.
    pub context: ContextToken,
}

/// A ring as told to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingDescription {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// N.
    pub replicas: u8,
    /// Q.
    pub partitions: PartitionCount,
    /// The members, by rising id.
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    pub members: Vec<MemberDescription>,
    /// For each partition its owner, as an index into `members`.
    #[serde(deserialize_with = "at_most::<PARTITIONS_MAX, _, _>")]
    pub owners: Vec<u16>,
}

/// A member as told to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDescription {
    /// Which node.
    pub node: NodeId,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// Its zone, if it has one.
    pub zone: Option<ZoneName>,
    /// Its weight.
    pub capacity: Capacity,
}

/// How a node's process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartKind {
    /// With an empty store.
    #[serde(rename = "f")]
    First,
    /// After a stop that left everything on disk: the same actor goes on, if the machine has not been booted since.
    #[serde(rename = "c")]
    Clean,
    /// After a crash of the process only: nothing acknowledged was lost, but a new actor begins.
    #[serde(rename = "p")]
    ProcessCrash,
    /// After a stop that may have lost writes not yet synced, or with a store that was restored or moved: a new actor begins, and
    /// the node does not count towards reads until it has caught up.
    #[serde(rename = "l")]
    PossibleLoss,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Which node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// The release it runs.
    pub release: String,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// How it began.
    pub start: StartKind,
    /// Whether its store has all that was ever acknowledged from it. If not, it takes writes, but does not count towards reads.
    pub complete: bool,
    /// Milliseconds since it began.
    pub uptime_millis: u64,
    /// How many shards it runs.
    pub shards: u16,
    /// How many partitions it holds a replica of.
    pub partitions: u32,
    /// How it sees its peers.
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    pub peers: Vec<PeerStatus>,
    /// Gets, puts and deletes it coordinated since its start.
    pub gets: u64,
    /// See `gets`.
    pub puts: u64,
    /// See `gets`.
    pub deletes: u64,
    /// Requests it answered with an error since its start.
    pub errors: u64,
    /// Requests of clients and peers that it refused before anything was done for them, as it had too many already.
    pub overloads: u64,
    /// Replicas it found stale while coordinating, and sent the newer state.
    pub repairs: u64,
    /// Requests being worked on now.
    pub in_flight: u64,
    /// Keys stored, about (RocksDB's estimate).
    pub keys_about: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// CPU time of the process since its start, in microseconds.
    pub cpu_micros: u64,
    /// How far it and its peers hold the same.
    pub sync: SyncStatus,
    /// What it keeps for nodes that could not be reached.
    #[serde(deserialize_with = "at_most::<NODES_MAX, _, _>")]
    pub hints: Vec<HintStatus>,
    /// Whether that is all: after a start, what was kept before must be found first.
    pub hints_counted: bool,
    /// The least number that a hint made from now on may get. What was kept before is delivered when each
    /// [`HintStatus::outstanding_from`] that the node tells later is at least this, and it has counted all.
    pub hints_mark: u64,
    /// What it has used. One that speaks version 2 of the protocol does not say, and is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What a node's process has used of its machine since its start; what its kernel does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// How often one of its threads left a core, to wait for something or because another had its turn.
    pub context_switches: Option<u64>,
    /// Bytes that had to come from disks: what the kernel still had in memory is not in it.
    pub disk_bytes_read: Option<u64>,
    /// Bytes that it has had the kernel write to disks.
    pub disk_bytes_written: Option<u64>,
    /// Bytes of UDP datagrams to peers, with all that is in them.
    pub peer_bytes_sent: u64,
    /// Bytes of UDP datagrams from peers.
    pub peer_bytes_received: u64,
    /// Bytes of UDP datagrams to clients, also to nodes that ask what clients may.
    pub client_bytes_sent: u64,
    /// Bytes of UDP datagrams from clients.
    pub client_bytes_received: u64,
}

/// How far a node and its peers hold the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Since how many milliseconds ago it may lack something that some peer has: the age of the last comparison with each peer that found
    /// their clocks the same, of the peer with which that is longest ago. `None` if with some peer none has since this start.
    pub age_millis: Option<u64>,
    /// Partitions of which something that was once acknowledged from here may be missing. Reads do not count on them.
    pub partitions_behind: u32,
    /// Partitions in which it differed from a peer when they were last compared, counted once for each peer.
    pub partitions_differing: u32,
    /// Comparisons of clocks that it asked for and that came to their end.
    pub exchanges: u64,
    /// Keys it was sent because it had missed an event of theirs.
    pub keys_received: u64,
    /// Bytes of their values.
    pub bytes_received: u64,
    /// Whole partitions it received because nobody could say any more what it had missed.
    pub transfers: u64,
    /// How far it has looked through its own disk.
    pub scrub: ScrubStatus,
}

/// How far a node has looked through what its disk holds, and what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Partitions that this round has been through, of all it holds a replica of.
    pub partitions_scrubbed: u32,
    /// All it holds a replica of.
    pub partitions: u32,
    /// Rounds through all of them since the start.
    pub rounds: u64,
    /// How many milliseconds ago the last round ended; `None` if none has since the start.
    pub round_age_millis: Option<u64>,
    /// Keys that cannot be read now. Others answer for them until they are mended; without other replicas they stay so.
    pub keys_unreadable: u64,
    /// Ranges that differed from a peer's though the clocks were the same. Each is a fault of a disk, or of this program.
    pub ranges_differing: u64,
    /// Keys mended, that could not be read or lacked a value. Each is a fault, too.
    pub faults_mended: u64,
    /// Pages that it passed without having compared them with every other replica: one was away or catching up, or the clocks were never the
    /// same while it looked, as where much is written.
    pub pages_uncompared: u64,
    /// Pages that could not be read, not even a key at a time. The disk is damaged there, and stays so when the keys are mended.
    pub pages_unreadable: u64,
}

/// What a node keeps for one that could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintStatus {
    /// For whom.
    pub target: NodeId,
    /// How many keys.
    pub count: u64,
    /// How large together.
    pub bytes: u64,
    /// How long ago the oldest was made, in milliseconds; of those from before the node's start, how long ago that was.
    pub age_millis: u64,
    /// Those with a smaller number are delivered; see [`NodeStatus::hints_mark`]. 0 while some may be left from before the node's start.
    pub outstanding_from: u64,
}

/// How a node sees a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Which peer.
    pub node: NodeId,
    /// Whether there is a connection.
    pub connected: bool,
    /// What was last wrong with it, if it is not connected and something is known.
    pub problem: Option<String>,
}
