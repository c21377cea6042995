//! The bounds that everybody who speaks to a Quorate cluster must keep, in one place. What happens beyond each is said with it.

/// Longest bucket name in bytes. A longer one is refused by [`crate::BucketName`].
pub const BUCKET_BYTES_MAX: usize = 64;
/// Longest key in bytes (4 KiB). A longer or empty one is refused by [`crate::Key`].
pub const KEY_BYTES_MAX: usize = 4 * 1024;
/// Largest value in bytes (8 MiB). A larger one is refused by [`crate::Value`].
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most siblings that a container in a message or on disk may carry; a decoder refuses more.
pub const SIBLINGS_MAX: usize = 4096;
/// A write that replaces nothing is refused when the key already has this many siblings. Replication and repair are not, so replicas
/// still converge: on no more than this from each of the primaries, all writing at once without seeing the others.
pub const SIBLINGS_WRITE_MAX: usize = 256;
/// Most bytes that the siblings of one key may have together. A write that would take them above it, and does not replace any,
/// is refused; replication and repair are not, so replicas still converge.
pub const SIBLINGS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most items of one `get_many` or `put_many` message; the client splits larger batches.
pub const BATCH_ITEMS_MAX: usize = 1024;
/// Most bytes of keys and values in one batch message; the client splits larger batches.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most entries that one page of a scan may hold; a request for more is refused.
pub const SCAN_ITEMS_MAX: usize = 1024;
/// A page of a scan ends after the entry that takes it to this many bytes or over.
pub const SCAN_BYTES_MAX: usize = 1024 * 1024;
/// Largest frame on the wire. The length is checked before anything is allocated for it; a longer frame ends the connection.
///
/// Room for the largest value beside a few siblings of its size.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest context token in bytes: some three thousand actors. A longer one is refused.
pub const CONTEXT_BYTES_MAX: usize = 64 * 1024;
/// Most incarnations of a peer that a node remembers and tells it of; the oldest are forgotten.
pub const KNOWN_INCARNATIONS_MAX: usize = 64;
/// Most hints that one message hands over; what is beyond is handed over by the next.
pub const HAND_HINTS_MAX: usize = 1024;
/// Most events that one hint may vouch for. A node that holds a hint of so many takes no further event of its key until it is handed
/// over.
pub const HAND_DOTS_MAX: usize = 4096;
/// Most bytes that a receiver of hints may grant for one batch. The batch ends after the hint that takes it to its grant or over.
pub const HAND_BYTES_MAX: u32 = 1024 * 1024;
/// Most partitions whose clocks are compared by one message of anti-entropy; what is beyond is compared by the next.
pub const COMPARE_PARTITIONS_MAX: usize = 4096;
/// Most partitions that one message of anti-entropy asks the missing events of.
pub const FETCH_PARTITIONS_MAX: usize = 64;
/// Most missing events that one message of anti-entropy brings; what is beyond is asked for again.
pub const FETCH_DOTS_MAX: usize = 1024;
/// One message of anti-entropy ends after the object that takes it to this many bytes or over.
pub const FETCH_BYTES_MAX: usize = 512 * 1024;
/// Most keys that one message of the scrub speaks of. Its answers end, too, after the object that takes them to
/// [`SCRUB_BYTES_MAX`] or over.
pub const SCRUB_KEYS_MAX: usize = 1024;
/// See [`SCRUB_KEYS_MAX`].
pub const SCRUB_BYTES_MAX: usize = 512 * 1024;
/// Most actors whose gaps are closed at once. Those of the others are closed after these.
pub const CLOSING_ACTORS_MAX: usize = 64;
/// Most nodes of a cluster.
pub const NODES_MAX: usize = 4096;
/// Most epochs of a layout that are live at once. Each is a change that is being carried out, and writes go to the replicas of all of them.
pub const LIVE_EPOCHS_MAX: usize = 8;
/// Longest address of a node, in bytes: a host name of 253, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 259;
/// Longest name of a cluster or a zone in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// Longest time a request may ask to be worked on, in milliseconds (ten minutes). More is cut to this.
pub const TIMEOUT_MILLIS_MAX: u32 = 600_000;
/// Longest time that a value may be given to live, in milliseconds (ten years of 365 days). More is refused by [`crate::Ttl`]: who
/// means for ever gives none.
pub const TTL_MILLIS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

const _: () = assert!(VALUE_BYTES_MAX + BATCH_BYTES_MAX < FRAME_BYTES_MAX, "a full batch fits a frame");
const _: () =
    assert!(SIBLINGS_WRITE_MAX * crate::Quorum::N_MAX as usize <= SIBLINGS_MAX, "what may be written can be read");
const _: () = assert!(3 * SIBLINGS_BYTES_MAX + VALUE_BYTES_MAX < FRAME_BYTES_MAX, "the largest key fits a frame");
const _: () = assert!(
    HAND_BYTES_MAX as usize + 3 * SIBLINGS_BYTES_MAX + VALUE_BYTES_MAX < FRAME_BYTES_MAX,
    "a batch that ends with the largest hint fits a frame"
);
const _: () = assert!(BUCKET_BYTES_MAX <= u8::MAX as usize, "an object key stores the bucket's length in a byte");
