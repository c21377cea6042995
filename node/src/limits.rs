//! The bounds of one shard, in one place, and what happens beyond each. Those of messages are in [`quorate_ring::limits`].

use std::time::Duration;

/// Most client requests and forwarded writes that a shard coordinates at once, batch items counted singly. One more is answered
/// `Overloaded`.
pub const COORDINATIONS_MAX: usize = 16 * 1024;
/// How much longer than usual even the quickest request of a shard may take before its limit of requests comes down: for so long a
/// request may queue.
///
/// People notice a quarter of a second, and most timeouts are far longer.
pub const STANDING_QUEUE: Duration = Duration::from_millis(200);
/// How long the quickest is looked for. A burst that is over by then made no queue that stands.
pub const LIMIT_WINDOW: Duration = Duration::from_millis(200);
/// The least that the limit of a shard's requests comes down to: too few to queue for long anywhere, and enough to learn what is usual.
pub const LIMIT_MIN: usize = 64;
/// Most bytes of values that the requests of a shard hold while they are worked on: what replicas answered, and what is sent to them. With
/// more, a further request is answered `Overloaded`.
pub const COORDINATION_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most operations that wait for one key. One more is answered `Overloaded`: a hot key must not eat the shard's memory.
pub const KEY_QUEUE_MAX: usize = 1024;
/// Most changes of one key that are written as one; the next wait for that write. So a hot key holds up the others of its shard for a bounded
/// time, and still writes its siblings for one of so many changes only.
pub const KEY_CHANGES_MAX: usize = 64;
/// Most operations of the replica side in a shard, waiting or running. One more is answered `Overloaded`.
///
/// Three times the coordinations: at N = 3 a node that coordinates a third of the requests stores all of them.
pub const REPLICA_OPERATIONS_MAX: usize = 3 * COORDINATIONS_MAX;
/// Most bytes of values that wait for a shard's store. What would take it beyond is answered `Overloaded`.
pub const REPLICA_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most keys of a shard that are remembered to be stored with less once their partition's clock has grown. Those beyond are found by
/// the sweep.
pub const UNSTRIPPED_MAX: usize = 64 * 1024;
/// After how long without an answer a read asks another replica in the place of one of which little is known yet. Of others it is their
/// own 95th percentile.
///
/// Some twenty times a usual round trip in one data centre, and well within what a person notices.
pub const HEDGE_DELAY: Duration = Duration::from_millis(20);
/// The least of that, however quick a replica is: below it, a hedge would come as often from a busy scheduler as from a slow replica.
pub const HEDGE_DELAY_MIN: Duration = Duration::from_millis(1);
/// The most of that, however slow a replica is.
pub const HEDGE_DELAY_MAX: Duration = Duration::from_millis(200);
/// How many of a hundred reads may ask one more because those asked are slow. About as many are slower than the 95th percentile of one of
/// two that they ask. Beyond, a read waits longer; in the last quarter of its time, and in the place of who is silent on everything, it asks
/// all the same.
pub const HEDGE_SHARE_PERCENT: u32 = 10;
/// How many reads may ask one more at once, when no other has for a while.
pub const HEDGE_BURST: u32 = 64;
/// How often at most a replica that is known to be slow is asked besides, to see whether it still is.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How many times as slow as those asked it is then.
pub const PROBE_SLOWER: u64 = 2;
/// For how long a replica is passed over that said to be overloaded, as long as there are others.
pub const OVERLOAD_PAUSE: Duration = Duration::from_millis(100);
/// With more operations than this waiting for its own store a node ranks its own replica as any other, and not first.
pub const OWN_QUEUE_SHORT: usize = 1024;
/// Bytes per second of background work of a shard at its start, and after it had none for a while.
pub const PACE_START: u64 = 16 * 1024 * 1024;
/// The least, however slow the foreground is: what was missed is brought in bounded time.
pub const PACE_FLOOR: u64 = 1024 * 1024;
/// The most.
pub const PACE_MAX: u64 = 512 * 1024 * 1024;
/// How much more is allowed after each window in which the allowed was used, and the foreground was as quick as usual.
pub const PACE_STEP: u64 = 2 * 1024 * 1024;
/// How long the foreground is looked at before the rate is changed: some hundred answers of a busy shard, and soon enough that a bad
/// half second is not followed by another.
pub const PACE_WINDOW: Duration = Duration::from_millis(500);
/// How soon the rate is doubled again while nobody asks anything, after one window in which nobody did: what a disk can do is found within half a
/// second.
pub const PACE_WINDOW_ALONE: Duration = Duration::from_millis(100);
/// With fewer answers in a window there is no percentile to go by.
pub const PACE_SAMPLES_MIN: u32 = 20;
/// A p99 of the foreground that is no reason to slow anything down, whatever is usual.
pub const PACE_TARGET_MIN: Duration = Duration::from_millis(2);
/// What a batch of background work costs at least, in bytes: a small one costs a look into the log, reads and a message, too.
pub const PACE_BATCH_BYTES: u64 = 64 * 1024;
/// For how long what is not spent is saved.
pub const PACE_BURST: Duration = Duration::from_millis(50);
/// Longest that a batch waits for those before it to be paid for, at the floor.
pub const PACE_WAIT_MAX: Duration = Duration::from_secs(4);
/// How long a read that has been answered goes on waiting for the replicas that have not, to repair them. Then it makes room, so that
/// one replica that is silent does not fill its peers with reads that nobody waits for.
pub const LATE_REPLY_TIME: Duration = Duration::from_millis(250);
/// For how long a peer may be silent on everything, while it is asked something, before it is taken to be away.
///
/// Some thousand usual round trips: a pause that nobody meant, and not a queue.
pub const SILENCE: Duration = Duration::from_secs(1);
/// Longest pause between two questions whether a peer is still silent.
pub const SILENCE_PROBE_MAX: Duration = Duration::from_secs(64);
/// Most nodes that may stand in for the primaries of one write, tried in preference order.
pub const STAND_INS_MAX: usize = 32;
/// Most hints that a shard keeps for one node, and their bytes. One more is answered `Overloaded`, and the next node stands in.
pub const HINT_TARGET_MAX: u64 = 1_000_000;
/// See [`HINT_TARGET_MAX`].
pub const HINT_TARGET_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Most hints that a shard keeps in all, and their bytes. One more is answered `Overloaded`.
pub const HINTS_MAX: u64 = 4_000_000;
/// See [`HINTS_MAX`].
pub const HINT_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Most operations on hints in a shard, waiting or running. One more is answered `Overloaded`.
pub const HINT_OPERATIONS_MAX: usize = COORDINATIONS_MAX;
/// Most keys whose last event is remembered in tenures. Beyond, all tenures of the shard end, and new ones begin.
pub const TENURE_KEYS_MAX: usize = 64 * 1024;
/// Most bytes of the first batch of hints that is handed to a node, before it has said what it can take.
pub const HAND_BYTES_FIRST: u32 = 64 * 1024;
/// How long an answer to handed hints is waited for before they are handed over again; twice as long after each silence.
pub const HAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an answer to handed hints.
pub const HAND_TIMEOUT_MAX: Duration = Duration::from_secs(32);
/// How long nothing more is handed to a node that refused hints, or after a pass that did not deliver all.
pub const HAND_PAUSE: Duration = Duration::from_secs(1);
/// Most batches of hints that a shard takes at once. One more is answered `Overloaded`.
pub const TAKINGS_MAX: usize = 64;
/// From so many operations on that wait for its store, a node takes no hints: three quarters of what may wait.
pub const TAKING_OPERATIONS_MAX: usize = REPLICA_OPERATIONS_MAX / 4 * 3;
/// Least bytes of a batch of hints that a node asks for, however slow it is. One hint is a batch, however large it is.
pub const HAND_BYTES_MIN: u32 = 4 * 1024;
/// How long a node means to work on a batch of hints: a request that comes meanwhile may have to wait for all of it, for a disk works in
/// order. Some ten syncs of a usual disk.
pub const TAKING_TIME: Duration = Duration::from_millis(50);
/// Longest pause that a node asks for between two batches of hints.
pub const TAKING_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest a request may take, whatever it asks for.
pub const TIMEOUT_MAX: Duration = Duration::from_millis(quorate_ring::limits::TIMEOUT_MILLIS_MAX as u64);
/// A batch's answers are sent on when they reach this many bytes, in as many parts as it takes.
pub const BATCH_REPLY_BYTES: usize = 4 * 1024 * 1024;
/// Most shards of a node: an exchange's number carries its shard in a byte.
pub const SHARDS_MAX: usize = 256;

/// How long after a comparison of clocks with a peer the next one begins unless configured otherwise, give or take a quarter. Replicas that
/// lack something have it after about this long; being in sync costs a hash each time.
pub const EXCHANGE_INTERVAL: Duration = Duration::from_secs(2);
/// How often a node tells one of its peers, drawn by chance, which copy of the layout it has, give or take a quarter. A change is told at once to a
/// few; this is for what was lost.
pub const LAYOUT_INTERVAL: Duration = Duration::from_secs(1);
/// How many writes and questions, and how many bytes of values, a shard keeps for later that come from a peer with a newer layout: by that it may
/// be to hold them.
pub const LAYOUT_PARKED_MAX: usize = 1024;
/// See [`LAYOUT_PARKED_MAX`].
pub const LAYOUT_PARKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many peers are told at once that the layout has changed: word of it goes round in about log3 n steps.
pub const LAYOUT_FANOUT: usize = 3;
/// For how long after that none is told again, for each member: what changes meanwhile is told together. While members change every node says
/// several times how far it is; told one by one, that would be as many messages a node as there are nodes, and for each a synced write at all
/// whom it reaches. In a cluster of three these are 3 ms, less than two syncs of a usual disk; with a thousand, a second, as often as is told
/// anyway.
pub const LAYOUT_PAUSE_PER_MEMBER: Duration = Duration::from_millis(1);
/// How soon after a connection comes up clocks are compared, at most: not all at once where many come up together.
pub const EXCHANGE_DELAY: Duration = Duration::from_millis(100);
/// How long an exchange waits for an answer; then it is given up and begins anew. A peer may have to sync its disk before it answers.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most comparisons that wait until everything is durable. One more is not answered, and asked for again later.
pub const COMPARISONS_MAX: usize = 4096;
/// Of so many partitions the log of dots is pruned at once, and of the next after [`PRUNE_PAUSE`], so that requests come between. Under load each
/// of a thousand has something to prune every second, and all at once took a shard 20 to 40 ms.
pub const PRUNE_PARTITIONS_MAX: usize = 32;
/// See [`PRUNE_PARTITIONS_MAX`].
pub const PRUNE_PAUSE: Duration = Duration::from_millis(1);
/// Most keys that are read at once for one peer's answer, so that requests for other keys come between.
pub const ANSWER_READS_MAX: usize = 32;

/// Most objects in a page of a partition that is received as a whole: as many as a page may have. What it weighs ends it sooner, most often.
#[expect(clippy::cast_possible_truncation, reason = "a page has few entries")]
pub const TRANSFER_PAGE: u32 = quorate_ring::limits::SCAN_ITEMS_MAX as u32;

/// How long the sweep of the scrub rests between two pages. A page of [`SCRUB_PAGE_BYTES`] each second is a quarter of a mebibyte of each
/// shard's disk and of those of its peers: nothing measurable, and a hundred gibibytes in eight shards in half a day.
pub const SCRUB_PAUSE: Duration = Duration::from_secs(1);
/// How long after the beginning of a round the next one begins, at the soonest.
pub const SCRUB_ROUND: Duration = Duration::from_secs(6 * 60 * 60);
/// Most keys of a page of the sweep.
pub const SCRUB_PAGE_KEYS: u32 = 256;
/// A page of the sweep ends after the object that takes it to this many bytes or over.
pub const SCRUB_PAGE_BYTES: usize = 256 * 1024;
/// How often a page is read anew because a peer's clock was another just then. On a partition that is written to all the time it is left
/// for the next round.
pub const SCRUB_REPEATS_MAX: u32 = 3;
/// How long an answer of a peer is waited for.
pub const SCRUB_TIMEOUT: Duration = Duration::from_secs(10);
/// Most questions of peers' scrubs whose page is being read. One more is answered that it cannot be said now.
pub const SCRUB_QUESTIONS_MAX: usize = 64;
/// Values that expire within this time are not compared: two clocks may differ about when that is, by hours if they are wrong.
pub const SCRUB_EXPIRY_MARGIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys of a shard that are known to be unreadable. Those beyond are refused all the same, and found again later.
pub const UNREADABLE_MAX: usize = 4096;
/// Most keys of a shard that others are asked for, or that are written anew, at once. The others wait.
pub const MENDS_MAX: usize = 16;
/// How long after an attempt to mend a key that came to nothing the next one begins; twice as long after each.
pub const MEND_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const MEND_PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long a key is unreadable at least before an event of it that nobody else has is given up. Whatever was on its way when it was found
/// has arrived by then, or its connection has broken.
pub const MEND_GIVE_UP: Duration = Duration::from_secs(30);
/// For how long gaps in a clock stand, and all nodes are connected with each other in the same lives, before they may be closed. By then what
/// was begun before is over, which takes [`TIMEOUT_MAX`] at most, and what it sent has arrived or its connection has broken, which is given
/// as long again.
pub const CLOSING_HORIZON: Duration = TIMEOUT_MAX.saturating_mul(2);
/// Most events that are closed at once in a partition. The others are, later.
pub const CLOSING_DOTS_MAX: usize = 64 * 1024;

/// Most bytes of a datagram of the failure detector. One that is longer is refused.
///
/// The least that QUIC asks of every path (RFC 9000, section 14) is 1,200 bytes of UDP; so much is left of them when QUIC's own header and seal
/// are on top, on a connection that has not yet found out whether its path carries more.
pub const SWIM_DATAGRAM_BYTES_MAX: usize = 1_150;
/// Most nodes that the failure detector knows of. A datagram that would make it know more is refused.
pub const SWIM_NODES_MAX: usize = quorate_ring::limits::NODES_MAX;
/// In how many of a node's datagrams each change that it hears of is passed on. A change reaches all of n nodes for sure when each
/// passes it on some multiple of log n times (SWIM, section 4.1): this is four times the decimal logarithm of a thousand.
pub const SWIM_TRANSMISSIONS: u8 = 12;
/// To how many nodes at once changes are passed on between probes.
pub const SWIM_GOSSIP_TARGETS: usize = 3;

const _: () = assert!(
    HEDGE_DELAY_MIN.as_micros() <= HEDGE_DELAY.as_micros() && HEDGE_DELAY.as_micros() <= HEDGE_DELAY_MAX.as_micros(),
    "what is taken for usual is within the bounds"
);
const _: () = assert!(
    HEDGE_DELAY_MAX.as_micros() < LATE_REPLY_TIME.as_micros(),
    "a replica that is as slow as is told apart is heard before it is given up"
);
const _: () = assert!(
    4 * quorate_ring::limits::FRAME_BYTES_MAX <= REPLICA_BYTES_MAX
        && 4 * quorate_ring::limits::FRAME_BYTES_MAX <= COORDINATION_BYTES_MAX,
    "what one message brings has room"
);
const _: () = assert!(
    PACE_FLOOR <= PACE_START && PACE_START <= PACE_MAX && PACE_BATCH_BYTES < PACE_FLOOR,
    "the rate of background work begins within its bounds"
);
const _: () = assert!(
    2 * PACE_WAIT_MAX.as_millis() < EXCHANGE_TIMEOUT.as_millis(),
    "a question and its answer may both wait for the budget before the exchange is given up"
);
const _: () = assert!(
    quorate_ring::limits::FETCH_BYTES_MAX as u128 <= PACE_FLOOR as u128 * PACE_WAIT_MAX.as_millis() / 1_000,
    "a batch is paid for at the floor in the longest wait"
);
const _: () = assert!(0 < HEDGE_SHARE_PERCENT && HEDGE_SHARE_PERCENT <= 100 && 0 < HEDGE_BURST, "a share of reads");
const _: () = assert!(OWN_QUEUE_SHORT < REPLICA_OPERATIONS_MAX, "a short queue is not a full one");
const _: () = assert!(SCRUB_PAGE_KEYS as usize <= quorate_ring::limits::SCRUB_KEYS_MAX, "a page fits a message");
const _: () = assert!(
    2 * SCRUB_PAGE_BYTES <= quorate_ring::limits::SCRUB_BYTES_MAX,
    "a peer reads twice as much as a page before it says that it has more than fits"
);
const _: () = assert!(quorate_ring::limits::BATCH_ITEMS_MAX <= COORDINATIONS_MAX, "a full batch fits");
const _: () = assert!(HINT_TARGET_MAX <= HINTS_MAX && HINT_TARGET_BYTES_MAX <= HINT_BYTES_MAX, "one of all");
const _: () = assert!(HAND_BYTES_FIRST <= quorate_ring::limits::HAND_BYTES_MAX, "a first batch is a batch");
const _: () = assert!(
    TAKINGS_MAX * quorate_ring::limits::HAND_HINTS_MAX <= 2 * REPLICA_OPERATIONS_MAX,
    "hints leave room for others; beyond the store's own bound they are answered `Overloaded`"
);
const _: () = assert!(
    BATCH_REPLY_BYTES + quorate_ring::limits::SIBLINGS_BYTES_MAX + quorate_ring::limits::VALUE_BYTES_MAX
        < quorate_ring::limits::FRAME_BYTES_MAX,
    "a part of a batch's answer fits a frame"
);
const _: () = assert!(
    16 <= SWIM_DATAGRAM_BYTES_MAX / 64 && SWIM_DATAGRAM_BYTES_MAX <= u16::MAX as usize,
    "a datagram has room for a head and a good dozen changes"
);
