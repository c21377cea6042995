//! The bounds of one shard, in one place, and what happens beyond each. Those of messages are in [`quorate_ring::limits`].

use std::time::Duration;

/// Most client requests and forwarded writes that a shard coordinates at once, batch items counted singly. One more is answered
/// `Overloaded`.
pub const COORDINATIONS_MAX: usize = 16 * 1024;
/// Most operations that wait for one key. One more is answered `Overloaded`: a hot key must not eat the shard's memory.
pub const KEY_QUEUE_MAX: usize = 1024;
/// Most operations of the replica side in a shard, waiting or running. One more is answered `Overloaded`.
///
/// Three times the coordinations: at N = 3 a node that coordinates a third of the requests stores all of them.
pub const REPLICA_OPERATIONS_MAX: usize = 3 * COORDINATIONS_MAX;
/// After how long without enough answers a read asks one more replica; and after as long again one more, while that does not help.
///
/// Some twenty times a usual round trip in one data centre, and well within what a person notices.
pub const HEDGE_DELAY: Duration = Duration::from_millis(20);
/// How long a read that has been answered goes on waiting for the replicas that have not, to repair them. Then it makes room, so that
/// one replica that is silent does not fill its peers with reads that nobody waits for.
pub const LATE_REPLY_TIME: Duration = Duration::from_millis(250);
/// Longest a request may take, whatever it asks for.
pub const TIMEOUT_MAX: Duration = Duration::from_millis(quorate_ring::limits::TIMEOUT_MILLIS_MAX as u64);
/// A batch's answers are sent on when they reach this many bytes, in as many parts as it takes.
pub const BATCH_REPLY_BYTES: usize = 4 * 1024 * 1024;
/// Most shards of a node: an exchange's number carries its shard in a byte.
pub const SHARDS_MAX: usize = 256;

const _: () = assert!(quorate_ring::limits::BATCH_ITEMS_MAX <= COORDINATIONS_MAX, "a full batch fits");
const _: () = assert!(
    BATCH_REPLY_BYTES + quorate_ring::limits::SIBLINGS_BYTES_MAX + quorate_ring::limits::VALUE_BYTES_MAX
        < quorate_ring::limits::FRAME_BYTES_MAX,
    "a part of a batch's answer fits a frame"
);
