//! O13: what a shard keeps is within its bounds at every step, and when all is done, nothing is left over.

use quorate_node::Shard;
use quorate_node::handoff::hint::bounds::HintBounds;
use quorate_node::limits::{
    COORDINATION_BYTES_MAX, COORDINATIONS_MAX, HINT_OPERATIONS_MAX, REPLICA_BYTES_MAX, REPLICA_OPERATIONS_MAX,
    TAKINGS_MAX,
};
use quorate_ring::NodeId;
use quorate_ring::limits::HAND_HINTS_MAX;

use super::{Oracle, Violation};

/// Checks a shard after a step.
///
/// # Errors
/// If it works on more than it may.
pub fn check(node: NodeId, shard: &Shard, bounds: &HintBounds) -> Result<(), Violation> {
    let (requests, operations) = (shard.in_flight(), shard.replica().waiting());
    let kept = shard.hints().all(|kept| kept.count <= bounds.of_target && kept.bytes <= bounds.of_target_bytes);
    let all: u64 = shard.hints().map(|kept| kept.count).sum();
    let within = shard.hints_waiting() <= HINT_OPERATIONS_MAX + HAND_HINTS_MAX + TAKINGS_MAX;
    // What a request is answered comes after it was let in, so its bytes go over the bound by that much.
    let bytes =
        shard.replica().waiting_bytes() <= REPLICA_BYTES_MAX && shard.held_bytes() <= 2 * COORDINATION_BYTES_MAX;
    let (shared, open) = shard.open_requests();
    let counted = shared == open;
    let hints = kept && all <= bounds.all && within;
    if requests <= COORDINATIONS_MAX && operations <= REPLICA_OPERATIONS_MAX && hints && bytes && counted {
        return Ok(());
    }
    Err(Violation::new(Oracle::Bounds, format_args!("{node} works on {requests} requests and {operations} operations")))
}

/// Checks a shard that has learnt that the connection to a peer is gone.
///
/// # Errors
/// If it goes on waiting for what was asked there, which will not be answered.
pub fn check_disconnected(node: NodeId, shard: &Shard, peer: NodeId) -> Result<(), Violation> {
    match shard.waiting_for(peer).max(shard.open_questions(peer).0) {
        0 => Ok(()),
        requests => Err(Violation::new(
            Oracle::Bounds,
            format_args!("{requests} requests of {node} wait for {peer}, which is gone"),
        )),
    }
}

/// Checks a shard when nobody wants anything any more.
///
/// # Errors
/// If it still works on something, or waits for a time other than that of the next comparison of clocks. The scrub never rests for long.
pub fn check_idle(node: NodeId, shard: &Shard) -> Result<(), Violation> {
    let waiting = shard.replica().waiting() + shard.hints_waiting() + shard.background_waiting();
    let operations = waiting - shard.scrub().reading();
    let bytes = shard.replica().waiting_bytes() + shard.held_bytes();
    let (requests, deadline) = (shard.in_flight(), shard.next_request_deadline());
    if (requests, operations, bytes, deadline) == (0, 0, 0, None) {
        return Ok(());
    }
    let what = format!(
        "{node} still works on {requests} requests and {operations} operations of {bytes} bytes, and waits until {deadline:?}"
    );
    Err(Violation::new(Oracle::Bounds, what))
}
