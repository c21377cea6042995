//! For small clusters, where N successive owners are most of all nodes: a node that leaves takes the spacing of the whole ring
//! along, and no single swap mends it without spoiling something else. Simulated annealing (Kirkpatrick, Gelatt, Vecchi 1983)
//! passes through worse rings on its way to ones that move hardly more data than must move.
//!
//! Only additions, multiplications and divisions of floats: `exp` is not the same to the last bit on all machines, and a plan is.

use super::arrangement::{Arrangement, Faults};
use super::generator::Generator;

/// Swaps tried for each partition.
const SWAPS_PER_PARTITION: usize = 600;
/// A larger ring is left alone: it would take seconds.
const PARTITIONS_MAX: usize = 4096;
/// With more nodes than this times N single swaps do: most nodes fit in most places.
const NODES_PER_REPLICA_MAX: usize = 4;
/// From often accepting what is worse by one moved replica to hardly ever.
const TEMPERATURES: (f64, f64) = (0.35, 0.15);
/// What a repeated node or a crowded zone weighs in moved replicas: so little that the search can pass through it.
const CROWDING: f64 = 1.2;
/// How many of ten swaps are of neighbours, which change few replicas. The others carry owners to where they are missing.
const NEAR_OF_TEN: u64 = 7;

/// Shakes the ring and lets it settle, with at most so many swaps. The outcome may be worse than the beginning.
pub(super) fn anneal(arrangement: &mut Arrangement, generator: &mut Generator, swaps_max: usize) {
    let partitions = arrangement.partitions();
    if PARTITIONS_MAX < partitions || NODES_PER_REPLICA_MAX * arrangement.n() < arrangement.members() {
        return;
    }
    let swaps = swaps_max.min(partitions * SWAPS_PER_PARTITION);
    let near = 2 * arrangement.n() as u64;
    for swap in 0..swaps {
        let temperature = TEMPERATURES.0 + (TEMPERATURES.1 - TEMPERATURES.0) * swap as f64 / swaps as f64;
        let partition = generator.number() as usize % partitions;
        let other = match generator.number() % 10 < NEAR_OF_TEN {
            true => arrangement.step(partition, 1 + (generator.number() % near) as isize),
            false => generator.number() as usize % partitions,
        };
        if arrangement.owners()[partition] == arrangement.owners()[other] {
            continue;
        }
        let before = energy(arrangement.faults_around_both(partition, other));
        arrangement.swap(partition, other);
        let worse = energy(arrangement.faults_around_both(partition, other)) - before;
        if 0.0 < worse && likelihood(worse / temperature) <= generator.fraction() {
            arrangement.swap(partition, other);
        }
    }
}

fn energy(faults: Faults) -> f64 {
    CROWDING * (faults.repeated_nodes() + faults.crowded_zones()) as f64 + faults.moved_replicas() as f64
}

/// About e to the power of -x, for x from 0: (1 + x / 16) to the power of -16.
fn likelihood(x: f64) -> f64 {
    let mut root = 1.0 / (1.0 + x / 16.0);
    for _ in 0..4 {
        root *= root;
    }
    root
}
