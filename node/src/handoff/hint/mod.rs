//! Hinted handoff (the Dynamo paper, section 4.6; Riak's `riak_core_handoff`): what was written while a node was away is kept by others and
//! handed over when it is back.
//!
//! | file | what |
//! |---|---|
//! | [`store`] | what is kept: merged for each key and node, one operation per key at a time |
//! | [`counts`] | how much of it there is, for whom |
//! | [`bounds`] | how much there may be |
//! | [`tenure`] | the actors of events that are made in the place of the primaries |
//! | [`delivery`] | handing over, one batch at a time for each node |
//! | [`taking`] | the other side of it |
//! | [`layout`] | how it is stored |
//!
//! A hint is dropped only when the node that it is for has it on its disk, and only if it has not changed since it was handed over.
//! What a hint brings is merged as a late replicate would be: nothing here knows a clock of the partition, and nothing is filled.

pub mod bounds;
pub mod counts;
pub mod delivery;
pub mod layout;
mod operation;
pub mod store;
pub mod taking;
pub mod tenure;

use std::collections::BTreeMap;

use quorate_ring::NodeId;

use self::delivery::Delivery;
use self::store::HintStore;
use self::taking::Takings;

/// All about hints in one shard.
pub struct Hints {
    /// What is kept.
    pub store: HintStore,
    /// Its delivery, by whom it is for.
    pub deliveries: BTreeMap<NodeId, Delivery>,
    /// What others hand over.
    pub takings: Takings,
}

impl Hints {
    /// Those of a store, of which nothing is under way.
    pub fn new(store: HintStore) -> Self {
        Self { store, deliveries: BTreeMap::new(), takings: Takings::default() }
    }
}
