//! What the core costs: a quorum put and a quorum get from the client's request to its answer, through the shards of three nodes with stores
//! in memory and no network; and what replicas encode.
//!
//! `cargo bench -p quorate-node --no-default-features --bench micro`; with `-- put` only the operations with that in their name.

// Makes the nodes; what tests do with them beyond is not used here.
#[allow(dead_code, reason = "a module of two programs")]
#[path = "../../tests/core_scenarios/harness.rs"]
mod cluster;
#[path = "../../../ring/benches/micro/harness.rs"]
mod harness;
mod nodes;
mod stored;

fn main() {
    harness::measure(nodes::operations().into_iter().chain(stored::operations()).collect());
}
